"""Forecasts that need no model, on the windows of a split, beside those of the model; and some windows to look at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seq2seq.data.number_text import STEP, text_of_array
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.metrics.forecast_errors import IntervalCoverage, numbers

MOST_HISTORY = 120
"""Steps of a history that are drawn, at most."""

DIGITS = 6
"""Significant digits of what is drawn."""


def forecasts(
    predictions: Sequence[Prediction], metrics: Sequence[Metric], scores: Sequence[float], season: int | None
) -> dict[str, Any] | None:
    """The scores of each baseline, errors by step, and windows; None for what is no forecast of its own source.

    scores: of each row, by the first metric.
    """
    if season is None or not predictions:
        return None
    sources = [numbers(row.source, row.id, "source") for row in predictions]
    references = [numbers(row.reference, row.id, "reference") for row in predictions]
    guessed = baselines(sources, references, season)
    texts = {name: [text_of_array(one) for one in values] for name, values in guessed.items()}
    usable = [metric for metric in metrics if not isinstance(metric, IntervalCoverage)]
    scored = {}
    for name, several in texts.items():
        rows = [
            row._replace(prediction=text, quantiles=row.quantiles and dict.fromkeys(row.quantiles, text))
            for row, text in zip(predictions, several, strict=True)
        ]
        scored[name] = {one.name: float(one.value(one.statistics(rows).sum(axis=0))) for one in usable}
    own = [numbers(row.prediction, row.id, "prediction") for row in predictions]
    best = min(scored, key=lambda name: -metrics[0].rank(scored[name].get(metrics[0].name, float("nan"))))
    chosen = windows_of(scores, metrics[0])
    return {
        "metric": metrics[0].name,
        "season": season,
        "baselines": scored,
        "best": best,
        "horizons": by_horizon(predictions, texts, metrics[0]),
        "steps": by_step({"model": own} | guessed, references),
        "windows": [
            {"which": which, "score": scores[row], **window(predictions[row], sources[row], guessed[best][row])}
            for which, row in chosen.items()
        ],
    }


def baselines(
    sources: Sequence[np.ndarray], references: Sequence[np.ndarray], season: int
) -> dict[str, list[np.ndarray]]:
    """Forecasts (steps, width) of each row (Hyndman and Athanasopoulos 2021, section 5.2)."""
    pairs = [*zip(sources, (len(one) for one in references), strict=True)]
    found = {"last value": [np.repeat(one[-1:], steps, axis=0) for one, steps in pairs]}
    if season > 1 and all(len(one) >= season for one in sources):
        found["seasonal naive"] = [one[np.arange(steps) % season - season] for one, steps in pairs]
    slopes = [(one[-1] - one[0]) / max(1, len(one) - 1) for one in sources]
    found["drift"] = [
        one[-1] + np.arange(1, steps + 1)[:, None] * slope for (one, steps), slope in zip(pairs, slopes, strict=True)
    ]
    return found


def by_horizon(
    predictions: Sequence[Prediction], baselines: Mapping[str, Sequence[str]], metric: Metric
) -> dict[str, dict[str, float]]:
    """The score of the first step, a quarter, half and all of them, of the model and each baseline."""
    longest = max(row.reference.count(STEP) + 1 for row in predictions)
    systems = {"model": [(row.prediction, row.quantiles) for row in predictions]}
    systems |= {
        name: [(text, row.quantiles and dict.fromkeys(row.quantiles, text))
               for row, text in zip(predictions, several, strict=True)]
        for name, several in baselines.items()
    }  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    for steps in sorted({1, max(1, longest // 4), max(1, longest // 2), longest}):
        for name, several in systems.items():
            rows = [
                row._replace(
                    prediction=first_steps(text, steps),
                    reference=first_steps(row.reference, steps),
                    quantiles=quantiles and {level: first_steps(one, steps) for level, one in quantiles.items()},
                )
                for row, (text, quantiles) in zip(predictions, several, strict=True)
            ]
            found.setdefault(f"{steps}", {})[name] = float(metric.value(metric.statistics(rows).sum(axis=0)))
    return found


def first_steps(text: str, steps: int) -> str:
    """The beginning of a sequence of numbers."""
    return STEP.join(text.split(STEP, steps)[:steps])


def by_step(systems: Mapping[str, Sequence[np.ndarray]], references: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """The mean absolute error of each system at each step of the horizon, over rows and numbers of a step."""
    horizon = min(map(len, references))
    truth = np.stack([one[:horizon] for one in references])
    return {
        name: np.abs(np.stack([one[:horizon] for one in several]) - truth).mean(axis=(0, 2)).tolist()
        for name, several in systems.items()
    }


def windows_of(scores: Sequence[float], metric: Metric) -> dict[str, int]:
    """Rows to look at: the best, the median and the worst one, and the last."""
    known = [row for row, score in enumerate(scores) if not np.isnan(score)]
    ranked = sorted(known, key=lambda row: -metric.rank(scores[row]))
    if not ranked:
        return {"first": 0, "last": len(scores) - 1}
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1], "last": len(scores) - 1}


def window(row: Prediction, source: np.ndarray, baseline: np.ndarray) -> dict[str, Any]:
    """The first number of each step of a row, as it is drawn."""

    def first(values: np.ndarray) -> list[float]:
        return [float(f"{value:.{DIGITS}g}") for value in values[:, 0].tolist()]

    sides = {name: first(numbers(getattr(row, name), row.id, name)) for name in ("reference", "prediction")}
    quantiles = row.quantiles or {}
    levels = [min(quantiles, key=float), max(quantiles, key=float)] if len(quantiles) > 1 else []
    band = {name: first(numbers(quantiles[name], row.id, f"quantile {name}")) for name in levels}
    return {"row": row.id, "width": source.shape[1], "history": first(source[-MOST_HISTORY:]), **sides,
            "quantiles": band, "baseline": first(baseline)}  # fmt: skip
