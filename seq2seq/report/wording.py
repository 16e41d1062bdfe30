"""Words for the page: numbers, times, keys and settings as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

NAMES = {
    "bleu": "BLEU", "chrf": "chrF", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "f1": "F1",
    "ter": "TER", "wer": "WER", "per": "PER", "mae": "MAE", "rmse": "RMSE", "mase": "MASE", "rmsse": "RMSSE",
    "wql": "WQL", "span_f1": "span F1", "macro_f1": "macro-F1", "micro_f1": "micro-F1",
}  # fmt: skip
"""Metrics whose usual spelling differs from their key; any other key is shown with spaces for underscores."""

SCORES = {*NAMES} - {"mae", "rmse", "mase", "rmsse", "wql"} | {
    "exact_match",
    "accuracy",
    "precision",
    "recall",
    "word_error_rate",
    "character_error_rate",
}
"""Metrics from 0 to 100, drawn together on one scale and shown with one decimal."""

PERCENT = {"percent", "%"}
NOT_AVAILABLE = "n/a"

OFF = (None, "", 0)
"""Values of settings of decoding that are switched off."""

PARTNERS = {"seed": "temperature", "lm_weight": "lm", "diversity": "groups", "length_offset": "length_penalty"}
"""Settings of decoding that mean something beside another one alone."""


def number(value: object, decimals: int | None = None) -> str:
    """A number as people write it: thousands apart, a real minus, about three digits if not as many `decimals`."""
    if not is_number(value):
        return NOT_AVAILABLE
    if decimals is None and isinstance(value, int):
        decimals = 0
    elif decimals is None and value != 0 and not 0.001 <= abs(value) < 1e9:
        return f"{value:.3g}".replace("-", "−")
    return f"{value:,.{decimals_of(value) if decimals is None else decimals}f}".replace("-", "−")


def decimals_of(value: float) -> int:
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
    """A key as words: `max_length_ratio` reads `max length ratio`, `bleu` and `bleu_char` read `BLEU`, `BLEU char`."""
    known = metric_of(str(key))
    name = NAMES.get(known, known.replace("_", " "))
    return f"{name} {str(key)[len(known) :].replace('_', ' ').strip()}".strip()


def metric_of(key: str) -> str:
    """The metric that a key begins with, which settings may follow as in `bleu_char`; nothing for none."""
    names = (name for name in {*NAMES, *SCORES} if key == name or key.startswith(f"{name}_"))
    return max(names, key=len, default="")


def heading(key: object) -> str:
    """A key at the start of a line: `exact_match` reads `Exact match`, `chrf` still reads `chrF`."""
    text = label(key)
    return text if metric_of(str(key)) in NAMES else text[:1].upper() + text[1:]


def phrase(value: object) -> str:
    """Any plain value in one line: `train 20,000, test 1,000`; a part of the model by its class: `GRU`."""
    if isinstance(value, Mapping) and "class_path" in value:
        kind, settings = str(value["class_path"]).rpartition(".")[2], value.get("init_args")
        return f"{kind} ({phrase(settings)})" if settings else kind
    if isinstance(value, Mapping):
        nested = (Mapping, list, tuple)
        inner = (
            (label(key), phrase(item), isinstance(item, nested) and "class_path" not in item)
            for key, item in value.items()
        )
        return ", ".join(f"{key} ({text})" if deep else f"{key} {text}" for key, text, deep in inner)
    if isinstance(value, list | tuple):
        return ", ".join(phrase(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_AVAILABLE
    if isinstance(value, int):
        return number(value)
    return str(value)


def limit_sentence(limit: Mapping[str, Any]) -> str:
    """How many predictions the limit of length has ended; empty where nothing is known of it."""
    ended, cut, rows = (limit.get(key) for key in ("ended", "longer", "rows"))
    if not all(is_number(one) for one in (ended, cut, rows)):
        return ""
    return (
        f"longest prediction {limit.get('limit')}: {number(ended)} of {number(rows)} predictions end there, "
        f"{number(cut)} references are longer"
    )


def delay_sentence(delay: Mapping[str, Any]) -> str:
    """How far a translation that is written while its source is read lags behind it; empty where nothing is known."""
    wait, lagging, proportion = (delay.get(key) for key in ("wait_k", "average_lagging", "average_proportion"))
    if not all(is_number(one) for one in (wait, lagging, proportion)):
        return ""
    return (
        f"wait-{number(wait)}: average lagging {number(lagging, 2)} source tokens, "
        f"average proportion {number(proportion, 2)}"
    )


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def finite(value: object) -> float | None:
    return float(value) if is_number(value) else None


def percent(share: object) -> str:
    """A share of one as percent."""
    return f"{number(100 * share, 1)} %" if is_number(share) else number(share)


def part(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`; empty when an older file lacks it."""
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


def parts(holder: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The mappings listed under `key`; empty when an older file lacks them."""
    values = holder.get(key)
    return [item for item in values if isinstance(item, Mapping)] if isinstance(values, list | tuple) else []


def text_of(holder: Mapping[str, Any], key: str) -> str:
    """The value under `key` as text; empty when it is missing."""
    value = holder.get(key)
    return "" if value is None else str(value)


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def said(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of decoding that change scores."""
    used = {key: value for key, value in decoding.items() if value not in OFF and key != "rows"}
    if used.get("groups") == 1:
        del used["groups"]
    return {key: value for key, value in used.items() if PARTNERS.get(key, key) in used}
