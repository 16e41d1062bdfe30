"""Plug-ins: modules of installed distributions, whose classes configurations and checkpoints may name."""

import functools
import importlib
import logging
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

GROUP = "seq2seq.plugins"
"""The group of entry points in which a distribution names its modules."""

log = logging.getLogger(__name__)


def installed() -> Iterator[tuple[str, metadata.Distribution]]:
    """Each distribution once, under its name; not what merely lies in the folder where a command is started."""
    seen = set()
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and name.lower() not in seen and Path(str(distribution.locate_file(""))).resolve() != Path.cwd():
            seen.add(name.lower())
            yield name, distribution


@functools.cache
def load() -> None:
    """Import the plug-ins, once; one that cannot be imported is warned of and harms nothing else."""
    for name, distribution in installed():
        for point in distribution.entry_points:
            if point.group != GROUP:
                continue
            try:
                importlib.import_module(point.module)
            except (Exception, SystemExit) as problem:  # whatever a stranger's module may raise
                reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
                log.warning("the plug-in %s of %s cannot be imported (%s); update or uninstall %s",
                            point.name, name, reason, name)  # fmt: skip


@functools.cache
def distribution_of(module: str) -> str | None:
    """Name and version of the installed distribution that a module comes from; None if it is from none."""
    top = module.partition(".")[0]
    own = re.compile(rf"^{re.escape(top)}(/|\.py,|$)", re.MULTILINE)
    for name, distribution in installed():
        modules = {point.module.partition(".")[0] for point in distribution.entry_points if point.group == GROUP}
        texts = (distribution.read_text(file) or "" for file in ("top_level.txt", "RECORD"))
        if top in modules or any(map(own.search, texts)):
            return f"{name} {distribution.version}"
    return None
