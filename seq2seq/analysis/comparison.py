"""Which of several systems is better, by how much, and is the difference significant? Plain values for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seq2seq.analysis.breakdown import breakdowns
from seq2seq.analysis.systems import System
from seq2seq.configurable import flatten
from seq2seq.errors import InputError
from seq2seq.metrics.base import TOLERANCE, Metric, Prediction, settled
from seq2seq.metrics.significance import Difference, Scored, adjusted, clustered, compare, scored

LEVEL = 0.05
"""Of significance."""

SHOWN = 20
"""Rows that differ most."""

Seeds = list[np.ndarray]
"""Statistics (N, K) of each seed of a system."""


def comparison(
    systems: Sequence[System], metrics: Sequence[Metric], split: str, asked_for: bool = False
) -> dict[str, Any]:
    """Compare every system with the first, as plain values.

    asked_for: whether the user chose the metrics; else those that not all systems have are left out, with a note.
    """
    metrics = settled(metrics, [row.references for row in systems[0].outputs[0].rows])
    kept, statistics, notes = measured(systems, metrics, asked_for)
    speakers = [row.speaker or "" for row in systems[0].outputs[0].rows]
    return {
        "format": 1,
        "split": split,
        "rows": len(systems[0].outputs[0].rows),
        "level": LEVEL,
        "systems": [
            about(system) | {"breakdowns": several}
            for system, several in zip(systems, dependence(systems, kept[0], statistics[0], split), strict=True)
        ],
        "metrics": [
            compared(metric, [system.name for system in systems], seeds, speakers)
            for metric, seeds in zip(kept, statistics, strict=True)
        ],
        "notes": notes,
        "differing": differing(systems, kept, statistics),
        "settings": different_settings(systems),
        "curves": training_curves(systems, kept[0].name),
    }


def measured(
    systems: Sequence[System], metrics: Sequence[Metric], asked_for: bool
) -> tuple[list[Metric], list[list[Seeds]], list[str]]:
    """The metrics that all systems have, their statistics of each system, and what was left out."""
    kept, statistics, notes = [], [], []
    for metric in metrics:
        try:
            statistics.append(statistics_of(metric, systems))
            kept.append(metric)
        except InputError as problem:
            if asked_for:
                raise
            notes.append(f"{metric.name} is left out: {problem}")
    if not kept:
        raise InputError(f"no metric fits these systems; {'; '.join(notes)}")
    return kept, statistics, notes


def statistics_of(metric: Metric, systems: Sequence[System]) -> list[Seeds]:
    """Of every seed of every system, counted together so that the columns mean the same."""
    outputs = [output for system in systems for output in system.outputs]
    together = metric.statistics([row for output in outputs for row in output.rows])
    parts = iter(np.split(together, len(outputs)))
    return [[next(parts) for _ in system.outputs] for system in systems]


def dependence(
    systems: Sequence[System], metric: Metric, statistics: Sequence[Seeds], split: str
) -> list[list[dict[str, Any]]]:
    """What the first metric depends on in each system's first output: as stored, where all have it, else of texts."""
    first = [system.outputs[0] for system in systems]
    stored = [one.part(split).get("breakdowns") or [] for one in first]
    if all(any(one.get("metric") == metric.name for one in several) for several in stored):
        return stored
    return [
        breakdowns(one.rows, metric, seeds[0], words_in, words_in, counts=None, aligned=False)
        for one, seeds in zip(first, statistics, strict=True)
    ]


def words_in(text: str) -> int:
    """Words separated by whitespace."""
    return len(text.split())


def training_curves(systems: Sequence[System], metric: str) -> list[dict[str, Any]]:
    """The validation score of each system's first run over its training, where it is known."""
    name = f"validation_{metric}"
    known = ((system.name, (system.outputs[0].results.get("curves") or {}).get(name)) for system in systems)
    return [{"system": system, "metric": name, "points": points} for system, points in known if points]


def about(system: System) -> dict[str, Any]:
    """A system's card."""
    known: Mapping[str, Any] = system.outputs[0].results
    model = known.get("model") or {}
    return {
        "name": system.name,
        "files": [str(output.path) for output in system.outputs],
        "seeds": [(output.results.get("config") or {}).get("seed") for output in system.outputs],
        "task": known.get("task"),
        "parameters": (model.get("parameters") or {}).get("total"),
        "seconds": known.get("seconds"),
        "attention": attention_of(known),
        "validation": {name: (known.get("best") or {}).get(name) for name in ("metric", "value")},
    }


def attention_of(results: Mapping[str, Any]) -> str | bool | None:
    """What kind of attention a run has, False for none; None where it is not known or there cannot be any."""
    model = (results.get("config") or {}).get("model")
    if not model or results.get("task") != "Translation":
        return None
    kind = model.get("attention")
    return str(kind["class_path"]).rpartition(".")[2] if isinstance(kind, Mapping) else False


def compared(
    metric: Metric, names: Sequence[str], statistics: Sequence[Seeds], speakers: Sequence[str]
) -> dict[str, Any]:
    """One metric: the score of every system, and how it differs from the first; speakers: of each row."""
    base, *others = systems = [scored(metric, seeds) for seeds in statistics]
    differences = [compare(metric, one, base) for one in others]
    p_values = adjusted([one.p_randomised for one in differences])
    by_speaker = over_speakers(metric, statistics, speakers)
    return {
        "name": metric.name,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "signature": metric.signature_of_bootstrap(),
        "scores": [{"system": name, **score_of(metric, one)} for name, one in zip(names, systems, strict=True)],
        "differences": [
            {"system": name, "baseline": names[0], **one._asdict(), "p_holm": p_value}
            | {"better": verdict(metric, one, p_value)}
            | counted(metric, other.seeds, base.seeds)
            | ({"by_speaker": speaker} if speaker else {})
            for name, one, p_value, other, speaker in zip(
                names[1:], differences, p_values, others, by_speaker, strict=True
            )
        ],
    }


def over_speakers(metric: Metric, statistics: Sequence[Seeds], speakers: Sequence[str]) -> list[dict[str, Any] | None]:
    """How each system differs from the first where whole speakers are drawn, which rows of one speaker need.

    None where fewer than two are known.
    """
    names, groups = np.unique(speakers, return_inverse=True)
    if len(names) < 2 or "" in names:
        return [None] * (len(statistics) - 1)
    base, *others = [scored(metric, [clustered(one, groups) for one in seeds]) for seeds in statistics]
    found = [compare(metric, one, base) for one in others]
    p_values = adjusted([one.p_randomised for one in found])
    return [
        {"speakers": len(names), "low": one.low, "high": one.high, "p_randomised": one.p_randomised, "p_holm": p_value}
        for one, p_value in zip(found, p_values, strict=True)
    ]


def score_of(metric: Metric, system: Scored) -> dict[str, Any]:
    """A system's score with its interval; of several seeds their mean, standard deviation and each of them."""
    values = [float(metric.value(one.sum(axis=0))) for one in system.seeds]
    if len(values) == 1:
        low, high = metric.interval(system.resampled)
        return {"value": values[0], "low": low, "high": high, "deviation": None, "seeds": values}
    deviation = float(np.std(values, ddof=1))
    return {"value": system.value, "low": None, "high": None, "deviation": deviation, "seeds": values}


def verdict(metric: Metric, difference: Difference, p_value: float) -> bool | None:
    """Whether the system is better than the first; None if the difference is not significant."""
    if not np.isfinite(difference.difference) or p_value >= LEVEL:
        return None
    return metric.rank(difference.difference) > 0


def counted(metric: Metric, seeds: Sequence[np.ndarray], base: Sequence[np.ndarray]) -> dict[str, int]:
    """On how many rows a system is better, worse, equal; rows are scored by the mean over seeds."""
    gain = gains(metric, seeds, base)
    better, worse = int((gain > TOLERANCE).sum()), int((gain < -TOLERANCE).sum())
    return {"wins": better, "losses": worse, "ties": len(gain) - better - worse}


def gains(metric: Metric, seeds: Sequence[np.ndarray], base: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) by how much each row is better than in the first system."""
    mine, theirs = (np.mean([metric.each_of(one) for one in side], axis=0) for side in (seeds, base))
    return np.asarray(np.nan_to_num(mine - theirs if metric.higher_is_better else theirs - mine))


def differing(
    systems: Sequence[System], metrics: Sequence[Metric], statistics: Sequence[Sequence[Seeds]]
) -> list[dict[str, Any]]:
    """The rows whose scores differ most between systems, by sentence chrF where there is one, with all predictions."""
    index = next((index for index, metric in enumerate(metrics) if metric.name == "chrf"), 0)
    metric = metrics[index]
    each = np.array([metric.each_of(seeds[0]) for seeds in statistics[index]])
    spread = np.nan_to_num(each.max(axis=0) - each.min(axis=0))
    order = np.argsort(-spread, kind="stable")[:SHOWN]
    first: Sequence[Prediction] = systems[0].outputs[0].rows
    sources = [next((r for r in (s.outputs[0].rows[row].source for s in systems) if r), "") for row in order]
    return [
        {
            "id": int(row),
            "source": source,
            "reference": first[row].reference,
            "metric": metric.name,
            "predictions": [
                {"system": system.name, "text": system.outputs[0].rows[row].prediction, "score": float(each[at, row])}
                for at, system in enumerate(systems)
            ],
        }
        for row, source in zip(order.tolist(), sources, strict=True)
        if spread[row] > TOLERANCE
    ]


def different_settings(systems: Sequence[System]) -> list[dict[str, Any]]:
    """The settings in which runs differ, with the value of each system."""
    flat = [flatten(system.outputs[0].results.get("config") or {}) for system in systems]
    known = [settings for settings in flat if settings]
    names = dict.fromkeys(name for settings in known for name in settings)
    return [
        {"name": name, "values": [settings.get(name) for settings in flat]}
        for name in names
        if name != "seed" and len({repr(settings.get(name)) for settings in known}) > 1
    ]
