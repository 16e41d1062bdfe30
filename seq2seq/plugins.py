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


def installed() -> Iterator[metadata.Distribution]:
    """The distributions that are installed; not what merely lies in the folder where a command is started."""
    here = Path.cwd()
    return (one for one in metadata.distributions() if Path(str(one.locate_file(""))).resolve() != here)


def points(distribution: metadata.Distribution) -> list[metadata.EntryPoint]:
    """Where a distribution names its plug-ins; most name none, which is seen quickly."""
    if GROUP not in (distribution.read_text("entry_points.txt") or ""):
        return []
    return [point for point in distribution.entry_points if point.group == GROUP]


@functools.cache
def load() -> None:
    """Import the plug-ins, once; one that cannot be imported is warned of and harms nothing else."""
    for distribution in installed():
        for point in points(distribution):
            try:
                importlib.import_module(point.module)
            except (Exception, SystemExit) as problem:  # whatever a stranger's module may raise
                name = distribution.metadata["Name"]
                reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
                log.warning("the plug-in %s of %s cannot be imported (%s); update or uninstall %s",
                            point.name, name, reason, name)  # fmt: skip


@functools.cache
def distribution_of(module: str) -> str | None:
    """Name and version of the installed distribution that a module comes from; None if it is from none."""
    top = module.partition(".")[0]
    own = re.compile(rf"^{re.escape(top)}(/|\.py,|$)", re.MULTILINE)
    for distribution in installed():
        modules = {point.module.partition(".")[0] for point in points(distribution)}
        texts = (distribution.read_text(file) or "" for file in ("top_level.txt", "RECORD"))
        if top in modules or any(map(own.search, texts)):
            return f"{distribution.metadata['Name']} {distribution.version}"
    return None
