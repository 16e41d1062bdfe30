"""Training curves for the page: pictures over steps and over minutes, and the same in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.plots import Marks, Point
from seq2seq.report.wording import SCORES, duration, finite, is_number, label, metric_of, number, part, parts

OF_MEMORY = {"effective_rank", "gradient_arriving", "saturated_gates"}
"""Curves that have a chapter of their own."""


class TrainingCurves(NamedTuple):
    """The curves: pictures shown at once, pictures kept folded, and all of them as numbers."""

    best: str
    resumed: str
    earlier: list[str]
    """The finished parts of a run that was continued, in words."""
    problems: str
    """Steps with a non-finite loss or gradient and micro-batches that did not fit, in words."""
    other_loss: str
    """From which step on the loss of training is another one, in words."""
    pictures: list[Markup]
    over_minutes: list[Markup]
    more_pictures: list[Markup]
    numbers: list[list[str]]


def training(results: Mapping[str, Any]) -> TrainingCurves:
    """The curves, those of one kind in one picture: losses, scores from 0 to 100, and each other curve by itself."""
    measured = {key: points_of(rows) for key, rows in part(results, "curves").items() if rows}
    drawn = {key: points for key, points in measured.items() if points and key not in OF_MEMORY}
    losses = {key: drawn[key] for key in sorted(drawn) if key.endswith("loss")}  # that of training first
    scores = {key: points for key, points in drawn.items() if metric_of(key.removeprefix("validation_")) in SCORES}
    unit = "loss" if results.get("task") == "Forecasting" else "nats per token"
    first = [("Loss", unit, losses), ("Validation score", "score", scores)]
    others = [(label(key), label(key), {key: drawn[key]}) for key in drawn if key not in losses and key not in scores]
    resumed = [step for step in results.get("resumed") or () if is_number(step)]
    best = part(results, "best")

    epoch = steps_of_epoch(results)

    def draw(title: str, unit: str, series: Mapping[str, Sequence[Point]], minutes: bool = False) -> Markup:
        step, value = finite(best.get("step")), finite(best.get("value"))
        mark = (step, value) if step is not None and value is not None and best.get("metric") in series else None
        named = {curve_name(key): points for key, points in series.items()}
        bounds = (0.0, 100.0) if unit == "score" else (0.0, math.inf) if "loss" in unit or "nats" in unit else None
        title += " over minutes" * minutes
        return plots.curves(named, title, unit, Marks(mark, resumed), minutes, epoch, bounds)

    return TrainingCurves(
        best=best_checkpoint(best),
        resumed=", ".join(number(step, 0) for step in resumed),
        earlier=[part_in_words(one) for one in parts(results, "parts")],
        problems=problems(part(results, "skipped")),
        other_loss=other_loss(part(results, "length")),
        pictures=[draw(*panel) for panel in first if panel[-1]],
        over_minutes=[draw(*panel, minutes=True) for panel in first if panel[-1]],
        more_pictures=[draw(*panel) for panel in others],
        numbers=[in_numbers(key, points) for key, points in measured.items()],
    )


def steps_of_epoch(results: Mapping[str, Any]) -> float | None:
    """How many steps an epoch has, by the planned epochs or by the tokens of an epoch; None where it is not known."""
    length = part(results, "length")
    steps, tokens, batch = (finite(length.get(key)) for key in ("steps", "epoch_tokens", "batch_tokens"))
    trainer = part(part(results, "config"), "trainer")
    epochs, bounded = finite(trainer.get("max_epochs")), (finite(trainer.get("max_steps")) or -1) > 0
    if steps and epochs and epochs > 0 and not bounded and length.get("fitted") is False:
        return steps / epochs
    return max(1.0, tokens / batch) if tokens and batch else None


def part_in_words(earlier: Mapping[str, Any]) -> str:
    """A finished part of a training that was continued: its length, its best checkpoint, its scores."""
    scores = [f"{label(str(key))} {number(value)}" for key, value in part(earlier, "test").items()]
    seconds = finite(earlier.get("seconds"))
    took = "" if seconds is None else f" after {duration(seconds)} of training"
    best = best_checkpoint(part(earlier, "best"))
    words = [f"finished at step {number(earlier.get('until'), 0)}{took}", best and f"best checkpoint {best}"]
    return "; ".join([*filter(None, words), *([f"test {', '.join(scores)}"] if scores else [])])


def problems(skipped: Mapping[str, Any]) -> str:
    """What went wrong during training; nothing where nothing did."""
    kinds = {
        "steps": "steps skipped because a loss or gradient was non-finite",
        "split": "micro-batches split because they did not fit into memory",
    }
    counts = {words: skipped.get(key) for key, words in kinds.items()}
    return "; ".join(f"{number(count, 0)} {words}" for words, count in counts.items() if is_number(count) and count)


def other_loss(length: Mapping[str, Any]) -> str:
    """From which step on training follows the expected risk (optimizer.minimum_risk); nothing where it never does."""
    first = finite(length.get("risk_from"))
    return (
        ""
        if first is None
        else f"From step {number(first, 0)} on the train loss is that of minimum risk, no nats per token"
    )


def points_of(rows: Sequence[Sequence[Any]]) -> list[Point]:
    """The measurements that are finite, in their own order."""
    return [Point(*map(float, row)) for row in rows if len(row) == 3 and all(map(is_number, row))]


def in_numbers(key: str, points: Sequence[Point]) -> list[str]:
    """A curve's name, number of points, first, last, lowest and highest value."""
    values = [point.value for point in points] or [math.nan]
    return [curve_name(key), number(len(points), 0), *map(number, (values[0], values[-1], min(values), max(values)))]


def curve_name(key: str) -> str:
    """`validation_bleu` reads `validation BLEU`."""
    head, _, metric = key.partition("_")
    return f"{head} {label(metric)}" if metric_of(metric) else label(key)


def best_checkpoint(best: Mapping[str, Any]) -> str:
    """Step and score of the best checkpoint."""
    if not is_number(best.get("step")):
        return ""
    metric = f", {curve_name(str(best['metric']))} {number(best.get('value'))}" if best.get("metric") else ""
    return f"step {number(best['step'], 0)}{metric}"
