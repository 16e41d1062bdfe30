"""From hypotheses to results.json: predictions, scores, examples, environment; plain JSON that the report shows."""

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seq2seq.analysis.breakdown import WordCounts, breakdowns, repetition
from seq2seq.analysis.inspection import inspect
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric, Prediction, Score
from seq2seq.models.cells import CellState
from seq2seq.runs.run_directory import RunDirectory, write_text
from seq2seq.tasks.base import Decoding, Task

Predicted = tuple[int, str, float, list[float], list[float] | None, dict[str, str] | None]
"""Row number, text, score, token scores, those of the reference, quantiles: what devices send each other."""


class Predictor:
    """Predicts batch after batch; of running text the state is carried over from one to the next."""

    def __init__(self, task: Task, decoding: Decoding) -> None:
        self.task, self.decoding = task, decoding if task.searches else decoding.greedy()
        self.state: CellState | None = None

    def __call__(self, batch: Batch) -> list[Predicted]:
        """Of each row of a batch the best hypothesis as text, and what the task says of its reference."""
        if not len(batch.rows):
            return []
        hypotheses, scores, self.state = self.task.followed(batch, self.state, self.decoding)
        found = best_texts(self.task, batch.rows.tolist(), hypotheses)
        if scores is None:
            return found
        return [(*row[:4], one, row[5]) for row, one in zip(found, scores, strict=True)]


def best_texts(task: Task, rows: Sequence[int], hypotheses: Sequence[list[Hypothesis]]) -> list[Predicted]:
    """The best hypothesis of each row as text."""
    lost = [row for row, found in zip(rows, hypotheses, strict=True) if not found]
    if lost:
        raise InputError(f"row {lost[0]} has no prediction: the network's output is not a number; train it anew")
    return [
        (row, task.text(best[0]), best[0].score, best[0].token_scores, None, task.quantile_texts(best[0]))
        for row, best in zip(rows, hypotheses, strict=True)
    ]


def in_order(predicted: Iterable[Predicted], texts: Texts) -> list[Prediction]:
    """Predictions of a split in row order; every row must be there exactly once."""
    by_row = sorted(predicted, key=lambda one: one[0])
    if [row for row, *_ in by_row] != list(range(len(texts.source))):
        raise RuntimeError(f"{len(by_row)} predictions for {len(texts.source)} rows: some are missing or double")
    return [Prediction(one[0], texts.source[one[0]], texts.target[one[0]], *one[1:]) for one in by_row]


def score(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> dict[str, Score]:
    """Every metric over raw references, without intervals: what a validation needs."""
    return {metric.name: metric.score(predictions) for metric in metrics}


class Examined(NamedTuple):
    """A split that has been predicted and looked at."""

    predictions: list[Prediction]
    results: dict[str, Any]
    """The part of results.json about it."""
    scores: list[float]
    """Of each row by itself, by the metric that ranks rows."""
    metric: str
    """Its name."""
    alignments: list[dict[str, Any]]
    """Of some rows."""

    def rows(self) -> list[dict[str, Any]]:
        """Predictions with their scores, as they are written."""
        more = ({"metric": self.metric, self.metric: score} for score in self.scores)
        return [{**row._asdict(), **score} for row, score in zip(self.predictions, more, strict=True)]


def examine(
    task: Task,
    split: Split,
    predictions: list[Prediction],
    decoding: Decoding,
    device: torch.device,
    count: Callable[[bool], WordCounts | None],
) -> Examined:
    """Score the predictions of a split, and find out what the scores depend on and what the network does.

    count: counts the words of the training rows, where that is possible, told whether targets are sentences.
    """
    statistics = {metric.name: metric.statistics(predictions) for metric in task.metrics}
    metric = next((one for one in task.metrics if one.name == "chrf"), task.metrics[0])
    each = metric.each_of(statistics[metric.name]) if predictions else []
    chosen = examples(predictions, each, metric)
    shown = sorted({row for rows in chosen.values() for row in rows})
    seen = inspect(task, split, predictions, decoding, device, shown)
    first, layout, (source, target) = task.metrics[0], task.layout, task.tokenizers
    sentences = not layout.labels and target.width is None
    results = {
        "rows": len(predictions),
        "metrics": {
            one.name: {**one.scored(statistics[one.name], interval=True)._asdict(), **about_metric(one)}
            for one in task.metrics
        },
        "details": {one.name: found for one in task.metrics if (found := one.details(predictions))},
        "breakdowns": breakdowns(
            predictions,
            first,
            statistics[first.name],
            (lambda text: 0) if layout.conditions else source.length,
            target.length,
            count(sentences),
            layout.aligned,
            sentences,
        ),
        "repetition": repetition(predictions) if sentences else {},
        **{name: found for name, found in seen._asdict().items() if found and name != "alignments"},
        "examples": {name: [shown_row(predictions[row], each[row], metric, task.tokenizers) for row in rows]
                     for name, rows in chosen.items()},
        "decoding": decoding.specification()["init_args"],
    }  # fmt: skip
    return Examined(predictions, results, each, metric.name, seen.alignments or [])


def about_metric(metric: Metric) -> dict[str, Any]:
    """What a reader of a score must know, and what makes the metric again."""
    return {"unit": metric.unit, "higher_is_better": metric.higher_is_better, "specification": metric.specification()}


def examples(
    predictions: Sequence[Prediction], scores: Sequence[float], metric: Metric, count: int = 8
) -> dict[str, list[int]]:
    """The best, worst, middling, longest and some random rows, by their scores."""
    rows = range(len(predictions))
    # Longer rows first among equals: a long sentence that is right says more than a short one.
    ranked = sorted(rows, key=lambda row: (-metric.rank(scores[row]), -len(predictions[row].source), row))
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
    told = {"id": row.id, "source": row.source, "reference": row.reference, "prediction": row.prediction}
    return {**readable(told, tokenizers), "score": row.score, "metric": metric.name, metric.name: score}


def readable(row: Mapping[str, Any], tokenizers: Tokenizers) -> dict[str, Any]:
    """The same row as people look at it: of long sequences of numbers the first ones."""
    source, target = tokenizers
    sides = {"source": source, "reference": target, "prediction": target}
    return {**row, **{name: tokenizer.shown(row[name]) for name, tokenizer in sides.items()}}


def lined_up(texts: Sequence[str], width: int = 160) -> list[str]:
    """Texts with as many tokens between tabs, each token above the same one of the next text; cut at `width`."""
    rows = [text.split("\t") for text in texts]
    if len(rows[0]) == 1 or len({len(row) for row in rows}) > 1:
        return list(texts)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [line if len(line) <= width else line[: width - 3] + "..." for line in lines]


def write_predictions(examined: Examined, folder: Path, split: str) -> None:
    """predictions/<split>.jsonl, the plain texts beside it for other tools, and where the decoder looked."""
    predictions = examined.predictions
    write_text(folder / f"{split}.jsonl", json_lines(examined.rows()))
    if examined.alignments:
        write_text(folder / f"{split}.alignments.jsonl", json_lines(examined.alignments))
    write_text(folder / f"{split}.prediction.txt", "".join(one_line(row.prediction) + "\n" for row in predictions))
    write_text(folder / f"{split}.reference.txt", "".join(one_line(row.reference) + "\n" for row in predictions))


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """An object a line."""
    return "".join(json.dumps(without_nan(row), ensure_ascii=False) + "\n" for row in rows)


def one_line(text: str) -> str:
    """A text without the characters at which a reader of lines would break it."""
    return text.replace("\r", " ").replace("\n", " ")


def publish(results: Mapping[str, Any], examined: Examined, run: RunDirectory, split: str) -> None:
    """Write predictions, results.json and report.html."""
    from seq2seq.report import page  # takes a moment to import

    write_predictions(examined, run.predictions, split)
    write_text(run.results, as_json(results) + "\n")
    page.write_run(run.path)


def as_json(value: Any) -> str:
    """Plain values as JSON that every reader takes: what is no number becomes null."""
    return json.dumps(without_nan(value), ensure_ascii=False, indent=1)


def without_nan(value: Any) -> Any:
    """The same values; infinities and what is no number become None."""
    if isinstance(value, Mapping):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(results: Mapping[str, Any], split: str) -> str:
    """The score table and five examples, for the terminal."""
    from seq2seq.report import tables  # takes a moment to import

    head = f"{results['task']} {results['name']}: {results['splits'][split]['rows']:,} {split} rows"
    return "\n".join([head, "", tables.scores(results, split).terminal(), shown(results, split)])


def shown(results: Mapping[str, Any], split: str) -> str:
    """Five examples, for the terminal."""
    lines = []
    for row in results["splits"][split]["examples"]["random"][:5]:
        source, reference, prediction = lined_up([row[name] for name in ("source", "reference", "prediction")])
        lines += ["", *([f"  source      {source}"] if source else [])]
        lines += [f"  reference   {reference}", f"  prediction  {prediction}"]
    return "\n".join(lines)
