"""Files that are the old or the whole new one at any moment, whatever fails or is killed meanwhile."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Inside, a name beside `path` for a new file or folder; afterwards that takes the place of `path` in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    remove(temporary)  # it may be a link to somewhere else
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Replace a text file; a lone surrogate, which JSON may hold and UTF-8 lacks, becomes a question mark."""
    with replacing(path) as temporary, open(temporary, "x", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(text)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that it holds, if it is there; links inside are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
