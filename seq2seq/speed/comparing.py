"""Two files of measurements side by side: what moved beyond noise, and which ratios have fallen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seq2seq.errors import InputError

LEAST = 0.03
"""A share that a figure must move by to be named, besides leaving the spread."""

GUARDED = ("over plain torch", "over packing", "over the floor")
"""How the names of the ratios end that a change must not let fall."""


def read(path: Path) -> dict[str, Any]:
    """A file that `bench --json` has written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = content["figures"]
        for name, one in figures.items():
            for key in ("value", "low", "high"):
                one[key] = float(one[key])
            str(one["unit"]), str(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise InputError(f"--compare {path}: no file of bench --json: {' '.join(str(problem).split())}") from problem
    found: dict[str, Any] = content
    return found


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Lines: what left its spread and changed by more than a share, and what cannot be compared."""
    lines, then, both = [], before["figures"], 0
    for name, one in now["figures"].items():
        if name not in then:
            continue
        both, other = both + 1, then[name]
        apart = one["low"] > other["high"] or one["high"] < other["low"]
        change = one["value"] / other["value"] - 1 if other["value"] else 0.0
        if apart and abs(change) > LEAST:
            lines.append(f"{name}: {other['value']:.3g} -> {one['value']:.3g} {one['unit']} ({change:+.0%})")
    differs = [key for key in ("processor", "threads", "torch")
               if before.get("machine", {}).get(key) != now["machine"].get(key)]  # fmt: skip
    note = f"; another {' and another '.join(differs)}, so compare ratios only" if differs else ""
    head = f"{len(lines)} of {both} figures moved beyond noise{note}"
    return "\n".join([head, *(f"  {line}" for line in lines)])


def guarded(content: Mapping[str, Any]) -> dict[str, float]:
    """The ratios that must not fall."""
    return {name: one["value"] for name, one in content["figures"].items() if name.endswith(GUARDED)}


def fallen(baseline: Mapping[str, float], now: Mapping[str, float], share: float) -> list[str]:
    """Ratios of the baseline that are lower by more than a share, or gone."""
    return [
        f"{name}: {now.get(name, 0):.3f} instead of {value:.3f}"
        for name, value in baseline.items()
        if now.get(name, 0) < (1 - share) * value
    ]
