"""A line of the check, and parts that are run one after the other."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch

Part = Callable[[torch.device], Iterator["DeviceCheck"]]


class DeviceCheck(NamedTuple):
    """What was expected of the device and what was found."""

    what: str
    expected: str
    found: str
    ok: bool | None = True
    """None for what could not be checked here; `found` says why."""
    part: str = ""
    seconds: float = 0.0


def within(what: str, found: float, most: float, where: str = "") -> DeviceCheck:
    """A difference with its bound; not a number is above every bound."""
    return DeviceCheck(what, f"at most {most:g}", f"{found:.1e}{where and f' ({where})'}", found <= most)


def unchecked(what: str, why: str) -> DeviceCheck:
    """What could not be checked here."""
    return DeviceCheck(what, "", f"not checked: {why}", None)


def all_of(parts: Mapping[str, Part], device: torch.device) -> Iterator[DeviceCheck]:
    """The lines of all parts; a part that fails is a line, and the others go on."""
    for name, part in parts.items():
        before = time.monotonic()
        try:
            for line in part(device):
                now = time.monotonic()
                yield line._replace(part=name, seconds=round(now - before, 2))
                before = now
        except Exception as problem:
            what = f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"
            yield DeviceCheck("the rest of this part", "no error", what, False, name, time.monotonic() - before)
