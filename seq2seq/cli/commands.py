"""The commands of the package, found by what their files say of themselves; nothing is imported, so it is quick."""

import pkgutil
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

FIRST_LINE = r'"""python -m seq2seq\.{name}\b(.*?): (.*)'
"""How the file of a command begins: how it is called, and what it does."""


def found() -> dict[str, str]:
    """The name of each command, in order, and what it does: modules of the root, and packages that can be run."""
    commands = {}
    for module in pkgutil.iter_modules([str(PACKAGE)]):
        file = PACKAGE / module.name / "__main__.py" if module.ispkg else PACKAGE / f"{module.name}.py"
        if not file.is_file():
            continue
        with file.open(encoding="utf-8") as opened:
            first = opened.readline()
        if match := re.match(FIRST_LINE.format(name=module.name), first):
            commands[module.name] = match[2].strip().removesuffix('"""').removesuffix(".")
    return commands
