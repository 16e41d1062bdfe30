"""Words for the page: numbers, times, keys and settings as people read them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

NAMES = {
    "bleu": "BLEU", "chrf": "chrF", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "f1": "F1",
    "ter": "TER", "wer": "WER", "per": "PER", "mae": "MAE", "rmse": "RMSE", "mase": "MASE", "span_f1": "span F1",
    "macro_f1": "macro-F1", "micro_f1": "micro-F1",
}  # fmt: skip
"""Metrics whose usual spelling differs from their key; any other key is shown with spaces for underscores."""

SCORES = {*NAMES} - {"mae", "rmse", "mase"} | {"exact_match", "accuracy", "precision", "recall"}
"""Metrics from 0 to 100, drawn together on one scale and shown with one decimal."""

PERCENT = {"percent", "%"}
NOT_AVAILABLE = "n/a"


def number(value: object, places: int | None = None) -> str:
    """A number as people write it: thousands apart, a real minus, about three digits unless `places` says otherwise."""
    if not is_number(value):
        return NOT_AVAILABLE
    if places is None and isinstance(value, int):
        places = 0
    elif places is None and value != 0 and not 0.001 <= abs(value) < 1e9:
        return f"{value:.3g}".replace("-", "−")
    return f"{value:,.{places_of(value) if places is None else places}f}".replace("-", "−")


def places_of(value: float) -> int:
    """The decimals that leave about three digits."""
    size = abs(value)
    return 0 if size >= 1000 else 1 if size >= 10 or size == 0 else 2 if size >= 1 else 3


def count(value: object, noun: str) -> str:
    """`1 row`, `1,000 rows`, or nothing when the number is not known."""
    return f"{number(value, 0)} {noun}{'' if value == 1 else 's'}" if is_number(value) else ""


def duration(seconds: object) -> str:
    """A time in the unit a person would choose."""
    if not is_number(seconds):
        return NOT_AVAILABLE
    if seconds < 99.5:
        return f"{seconds:.1f} seconds"
    minutes = seconds / 60
    if minutes < 99.5:
        return f"{minutes:.1f} minutes"
    return f"{int(minutes) // 60:,} h {int(minutes) % 60} min"


def label(key: object) -> str:
    """A key as words: `max_length_ratio` reads `max length ratio`, `bleu` reads `BLEU`."""
    return NAMES.get(str(key), str(key).replace("_", " ").strip())


def heading(key: object) -> str:
    """A key at the start of a line: `exact_match` reads `Exact match`, `chrf` still reads `chrF`."""
    return NAMES.get(str(key)) or label(key)[:1].upper() + label(key)[1:]


def phrase(value: object) -> str:
    """Any plain value in one line: `train 20,000, test 1,000`."""
    if isinstance(value, Mapping):
        inner = ((label(key), item) for key, item in value.items())
        return ", ".join(f"{key} ({phrase(item)})" if _nested(item) else f"{key} {phrase(item)}" for key, item in inner)
    if isinstance(value, list | tuple):
        return ", ".join(phrase(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_AVAILABLE
    if isinstance(value, int):
        return number(value)
    return str(value)


def outline(value: Mapping[Any, Any], indent: int = 0) -> str:
    """Nested settings as YAML, in their own order."""
    return "".join(f"{'  ' * indent}{_scalar(str(key))}:{_below(item, indent)}" for key, item in value.items())


def _below(value: object, indent: int) -> str:
    """What follows `key:`, on the same line or in deeper lines."""
    if isinstance(value, Mapping) and value:
        return "\n" + outline(value, indent + 1)
    if isinstance(value, list | tuple) and any(_nested(item) for item in value):
        inner = (_below(item, indent + 1).lstrip() for item in value)  # the first key stands beside its dash
        return "\n" + "".join(f"{'  ' * (indent + 1)}- {text}" for text in inner)
    if isinstance(value, list | tuple):
        return f" [{', '.join(_scalar(item) for item in value)}]\n"
    return " {}\n" if isinstance(value, Mapping) else f" {_scalar(value)}\n"


def _scalar(value: object) -> str:
    """A single YAML value; text is quoted only where YAML would read it as something else."""
    if not isinstance(value, str):
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    plain = value.replace("_", "").replace(".", "").replace("/", "").replace("-", "").replace(" ", "")
    means_itself = plain.isalnum() and not plain[0].isdigit() and value[0].isalnum() and value == value.strip()
    if means_itself and value.lower() not in {"true", "false", "null", "yes", "no", "on", "off", "nan", "inf"}:
        return value
    return json.dumps(value, ensure_ascii=False)


def _nested(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def finite(value: object) -> float | None:
    return float(value) if is_number(value) else None


def percent(share: object) -> str:
    """A share of one as percent."""
    return f"{number(100 * share, 1)} %" if is_number(share) else number(share)


def part(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`; empty when an older file lacks it."""
    found = holder.get(key)
    return found if isinstance(found, Mapping) else {}


def parts(holder: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The mappings listed under `key`; empty when an older file lacks them."""
    found = holder.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []


def said(holder: Mapping[str, Any], key: str) -> str:
    """The value under `key` as text; empty when it is missing."""
    found = holder.get(key)
    return "" if found is None else str(found)
