"""From hypotheses to results.json: predictions, scores, examples, environment; plain JSON that the report shows."""

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from seq2seq.analysis.baselines import forecasts
from seq2seq.analysis.breakdown import breakdowns
from seq2seq.analysis.delay import delay
from seq2seq.analysis.heard import Recorded, heard, written_segments
from seq2seq.analysis.inspection import inspect
from seq2seq.analysis.repetition import repetition
from seq2seq.analysis.words import WordCounts
from seq2seq.data.batching.split import Split
from seq2seq.data.segments import segments_of
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.units import Labels
from seq2seq.metrics.base import Metric, Prediction, settled
from seq2seq.report.terminal import lined_up
from seq2seq.report.wording import limit_sentence
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.length_limits import longer, remedy

log = logging.getLogger(__name__)


class Examined(NamedTuple):
    """A split that has been predicted and analysed."""

    predictions: list[Prediction]
    results: dict[str, Any]
    """The part of results.json about it."""
    scores: list[float]
    """Of each row by itself, by the metric that ranks rows."""
    metric: str
    """Its name."""
    alignments: list[dict[str, Any]]
    """Of some rows."""
    heard: list[dict[str, Any]]
    """Some rows of frames to look at and to listen to."""
    segments: list[dict[str, Any]]
    """Of each row, where frames have labels; else nothing."""

    def rows(self) -> list[dict[str, Any]]:
        """Predictions with their scores, as they are written."""
        more = [{"metric": self.metric, self.metric: score} for score in self.scores]
        segments = self.segments or [{}] * len(more)
        return [
            {**as_line(row), **several, **score}
            for row, several, score in zip(self.predictions, segments, more, strict=True)
        ]


def as_line(row: Prediction) -> dict[str, Any]:
    """A prediction as it is written; further references and a speaker only where there are any."""
    optional = ("more_references", "speaker")
    return {name: value for name, value in row._asdict().items() if name not in optional or value}


def between_labels(metric: Metric, predictions: Sequence[Prediction]) -> str:
    """What stands between the labels of a target, as a metric of labels splits them."""
    separator: str | None = getattr(metric, "separator", None)
    return separator or ("\t" if any("\t" in row.reference for row in predictions) else " ")


def examine(
    task: Task,
    split: Split,
    predictions: list[Prediction],
    decoding: Decoding,
    device: torch.device,
    count: Callable[[str], WordCounts | None],
    recorded: Recorded,
) -> Examined:
    """Score the predictions of a split, then analyse what the scores depend on and what the network does.

    count: counts the words of the training rows, where that is possible; its argument: what stands between labels.
    recorded: what the corpus knows of frames.
    """
    metrics = settled(task.metrics, [row.references for row in predictions])
    statistics = {metric.name: metric.statistics(predictions) for metric in metrics}
    metric = next((one for one in metrics if one.name == "chrf"), metrics[0])
    each = metric.each_of(statistics[metric.name]) if predictions else []
    chosen = examples(predictions, each, metric)
    shown = sorted({row for rows in chosen.values() for row in rows})
    seen = inspect(task, split, predictions, decoding, device, shown)
    first, row_format, (source, target) = metrics[0], task.row_format, task.tokenizers
    labels = between_labels(first, predictions) if row_format.labels or target.width is not None else ""
    results = {
        "rows": len(predictions),
        "metrics": {
            one.name: {**one.scored(statistics[one.name], interval=True)._asdict(), **about_metric(one)}
            for one in metrics
        },
        "details": {one.name: details for one in metrics if (details := one.details(predictions))},
        "breakdowns": breakdowns(
            predictions,
            first,
            statistics[first.name],
            (lambda text: 0) if row_format.conditions else source.length,
            target.length,
            count(labels),
            row_format.aligned,
            labels,
        ),
        "repetition": repetition(predictions) if not labels else {},
        **{name: part for name, part in seen._asdict().items() if part and name != "alignments"},
        "examples": {name: [shown_row(predictions[row], each[row], metric, task.tokenizers) for row in rows]
                     for name, rows in chosen.items()},
        "decoding": decoding.specification()["init_args"],
        "searches": task.searches,
        "length_limit": length_limit(task, split, predictions, decoding),
        "delay": delay(task, split, predictions, decoding),
        **beside_baselines(task, predictions, metrics, statistics),
    }  # fmt: skip
    listened = heard(task, split, predictions, chosen, recorded, device)
    labelled = row_format.aligned and source.width is not None
    segments = [written_segments(row, recorded.sound) for row in predictions] if labelled else []
    return Examined(predictions, results, each, metric.name, seen.alignments or [], listened, segments)


def beside_baselines(
    task: Task, predictions: Sequence[Prediction], metrics: Sequence[Metric], statistics: Mapping[str, Any]
) -> dict[str, Any]:
    """What forecasts without a model reach, by tasks that forecast; it is warned of where the model is not better."""
    each = metrics[0].each_of(statistics[metrics[0].name]) if predictions else []
    found = forecasts(predictions, metrics, each, task.baseline_season)
    if found is None:
        return {}
    best = found["baselines"][found["best"]].get(found["metric"])
    own = float(metrics[0].value(statistics[metrics[0].name].sum(axis=0)))
    if best is not None and metrics[0].rank(best) >= metrics[0].rank(own) > -math.inf:
        log.warning(
            "the model does not beat the best baseline, %s: %s %.4g against %.4g; train longer, give longer histories "
            "or set model.relative and model.season",
            found["best"], found["metric"], own, best,
        )  # fmt: skip
    return {"forecasts": found}


def length_limit(
    task: Task, split: Split, predictions: Sequence[Prediction], decoding: Decoding
) -> dict[str, Any] | None:
    """How long predictions may be, how many end there, and how many references are longer, which is warned of."""
    if not split.row_format.target_ends:
        return None
    ended, cut = (
        sum(row.at_limit or False for row in predictions),
        int(longer(split, task.length_bound, decoding).sum()),
    )
    found = {"limit": task.limit_in_words(decoding), "ended": ended, "longer": cut, "rows": len(predictions)}
    if ended or cut:
        log.warning("%s; %s", limit_sentence(found), remedy(decoding))
    return found


def about_metric(metric: Metric) -> dict[str, Any]:
    """What a reader of a score must know, and the specification of the metric."""
    return {"unit": metric.unit, "higher_is_better": metric.higher_is_better, "specification": metric.specification()}


def examples(
    predictions: Sequence[Prediction], scores: Sequence[float], metric: Metric, count: int = 8
) -> dict[str, list[int]]:
    """The best, worst, median, longest and some random rows, by their scores where they have one."""
    rows = range(len(predictions))
    # Longer rows first among equals: a long sentence that is right says more than a short one.
    ranked = [row for row in rows if not math.isnan(scores[row])]
    ranked.sort(key=lambda row: (-metric.rank(scores[row]), -len(predictions[row].source), row))
    middle = max(0, (len(ranked) - count) // 2)
    longest = sorted(rows, key=lambda row: (-len(predictions[row].source or predictions[row].reference), row))
    drawn = random.Random(1).sample(rows, min(count, len(rows)))
    return {
        "best": ranked[:count],
        "worst": ranked[::-1][:count],
        "median": ranked[middle : middle + count],
        "longest": longest[:count],
        "random": drawn,
    }


def shown_row(row: Prediction, score: float, metric: Metric, tokenizers: Tokenizers) -> dict[str, Any]:
    """A row as an example."""
    texts = {"id": row.id, "source": row.source, "reference": row.reference, "prediction": row.prediction}
    return {**readable(texts, tokenizers), "score": row.score, "metric": metric.name, metric.name: score}


def readable(row: Mapping[str, Any], tokenizers: Tokenizers) -> dict[str, Any]:
    """The same row as it is shown: of long sequences of numbers the first ones, of labels of frames their runs."""
    source, target = tokenizers
    sides = {"source": source, "reference": target, "prediction": target}
    shown = {name: tokenizer.shown(row[name]) for name, tokenizer in sides.items()}
    if source.width is not None and isinstance(target, Labels):
        shown |= {name: in_runs(row[name], target.separator) for name in ("reference", "prediction")}
    return {**row, **shown}


def in_runs(text: str, separator: str) -> str:
    """Labels, of which neighbours that are equal are written once with their number."""
    runs = segments_of(text.split(separator), None)
    return separator.join(f"{label} ×{end - start:g}" if end - start > 1 else label for start, end, label in runs)


def example_lines(row: Prediction, tokenizers: Tokenizers) -> str:
    """A row on two or three lines for the terminal during training."""
    shown = readable(row._asdict(), tokenizers)
    source, reference, prediction = lined_up([shown[name] for name in ("source", "reference", "prediction")])
    return f"      {source}\n" * bool(source) + f"    = {reference}\n    > {prediction}"
