"""Systems to compare: the predictions that runs have written, or plain text files of anybody's, over one test set."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.configurable import build, descendants, flatten
from seq2seq.data.lines import lines
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.metrics.bleu import Bleu, Chrf, Ter
from seq2seq.report import reading
from seq2seq.report.wording import shortened
from seq2seq.runs.run_directory import RunDirectory

OF_TEXTS = (Bleu(), Chrf(), Ter())
"""The metrics of texts where no run names any."""

ENDS = "-_. 0123456789"
"""What stands between a name and the number of a seed."""


class SystemOutput(NamedTuple):
    """What one training, or one file, predicts for the test set."""

    path: Path
    rows: Sequence[Prediction]
    results: Mapping[str, Any]
    """Its results.json; empty for a text file."""

    def part(self, split: str) -> Mapping[str, Any]:
        """What results.json says of a split; empty where it says nothing."""
        splits = self.results.get("splits")
        part = splits.get(split) if isinstance(splits, Mapping) else None
        return part if isinstance(part, Mapping) else {}


class System(NamedTuple):
    """Outputs that differ in nothing but their seed."""

    name: str
    outputs: Sequence[SystemOutput]


def read_run(path: Path, split: str) -> SystemOutput:
    """The written predictions of a run."""
    run = RunDirectory(path)
    file = run.predictions / f"{split}.jsonl"
    if not file.is_file():
        raise InputError(
            f"{path} holds no predictions/{split}.jsonl; write it with "
            f"python -m seq2seq.evaluate {path} --split {split} --output DIRECTORY, and compare DIRECTORY"
        )
    return SystemOutput(path, read_predictions(file), read_results(run.results))


def read_results(file: Path) -> dict[str, Any]:
    """results.json; empty where there is none."""
    return reading.read_results(file) if file.is_file() else {}


def read_predictions(file: Path) -> list[Prediction]:
    """The lines of predictions/<split>.jsonl; fields that an older version did not write are empty."""
    rows = [
        prediction_of(reading.row_of(line, file, number, reading.StoredRow), number - 1)
        for number, line in enumerate(lines(file), 1)
    ]
    if not rows:
        raise InputError(f"{file} is empty; there is nothing to score")
    return rows


def prediction_of(content: Mapping[str, Any], row: int) -> Prediction:
    """A line of predictions as it was before it was written; a missing score is NaN."""
    texts = content["source"], content["reference"], content["prediction"]
    score, reference = content.get("score"), content.get("reference_scores")
    more = known(content.get("token_scores") or []), None if reference is None else known(reference)
    rest = (content.get(name) for name in ("quantiles", "more_references", "at_limit", "speaker"))
    return Prediction(row, *texts, math.nan if score is None else score, *more, *rest)


def known(scores: Sequence[float | None]) -> list[float]:
    """Scores as they were before they were written: null was no number."""
    return [math.nan if score is None else score for score in scores]


def read_texts(file: Path, truth: Sequence[Prediction], truth_name: str) -> SystemOutput:
    """The lines of a text file as predictions for rows whose sources and references are known.

    Where each line begins with the source of its row and a tab, as shared tasks publish outputs, the rest is meant.
    """
    texts = list(lines(file))
    refuse_other_count(file, len(texts), truth_name, len(truth))
    if all(row.source and text.startswith(f"{row.source}\t") for row, text in zip(truth, texts, strict=True)):
        texts = [text[len(row.source) + 1 :] for row, text in zip(truth, texts, strict=True)]
    rows = [Prediction(row.id, row.source, row.reference, text, math.nan, [])
            for row, text in zip(truth, texts, strict=True)]  # fmt: skip
    return SystemOutput(file, rows, {})


def refuse_other_count(file: Path, count: int, truth_name: str, wanted: int) -> None:
    """Line n of every file must be about line n of the others."""
    if count != wanted:
        raise InputError(f"{file} has {count:,} lines but {truth_name} has {wanted:,}; line n must belong to line n")


def read_truth(references: Sequence[Path], sources: Path | None) -> list[Prediction]:
    """References, one or several of each row, and sources if there are any, as rows without predictions."""
    first, *others = references
    wanted, *more = [list(lines(file)) for file in references]
    if not wanted:
        raise InputError(f"{first} is empty; there is nothing to score")
    for file, texts in zip(others, more, strict=True):
        refuse_other_count(file, len(texts), str(first), len(wanted))
    given = [""] * len(wanted) if sources is None else list(lines(sources))
    if sources is not None:
        refuse_other_count(sources, len(given), str(first), len(wanted))
    return [
        Prediction(row, source, reference, "", math.nan, [], more_references=list(several) or None)
        for row, (source, reference, *several) in enumerate(zip(given, wanted, *more, strict=True))
    ]


def gather(named: Sequence[tuple[str | None, Path]], truth: Sequence[Prediction] | None, split: str) -> list[System]:
    """Systems from (name or None, run directory or text file); the same name or settings are seeds of one system.

    truth: rows with the references; None for those of the first run.
    """
    absent = next((path for _, path in named if not path.exists()), None)
    if absent is not None:
        raise InputError(f"there is no {absent}; give run directories, or files of predictions as --system NAME=FILE")
    outputs: list[SystemOutput | None] = [read_run(path, split) if path.is_dir() else None for _, path in named]
    first = next((one for one in outputs if one is not None), None)
    if truth is None and first is None:
        raise InputError("files of predictions need their references; add --references FILE, or a run first")
    rows, whose = (truth, "--references") if truth is not None else (first.rows, str(first.path))  # type: ignore[union-attr]
    read = [output or read_texts(path, rows, whose) for output, (_, path) in zip(outputs, named, strict=True)]
    for output in read:
        refuse_other_rows(output, rows, whose)
    return pooled([name for name, _ in named], [with_references(output, rows) for output in read])


def refuse_other_rows(output: SystemOutput, truth: Sequence[Prediction], whose: str) -> None:
    """Refuse predictions whose references or sources are not those of the first system."""
    refuse_other_count(output.path, len(output.rows), whose, len(truth))
    for row, other in zip(output.rows, truth, strict=True):
        for side in ("reference", "source"):
            mine, theirs = getattr(row, side), getattr(other, side)
            if mine != theirs and (side == "reference" or (mine and theirs)):
                raise InputError(
                    f"{output.path} and {whose} have different {side}s: row {row.id} is {shortened(mine, 60)!r} and "
                    f"{shortened(theirs, 60)!r}; only systems for the same test set can be compared"
                )


def with_references(output: SystemOutput, truth: Sequence[Prediction]) -> SystemOutput:
    """An output with all references of the rows."""
    rows = [row._replace(more_references=other.more_references) for row, other in zip(output.rows, truth, strict=True)]
    return output._replace(rows=rows)


def pooled(names: Sequence[str | None], outputs: Sequence[SystemOutput]) -> list[System]:
    """Outputs with one name, or with the same settings and another seed, as one system."""
    groups: dict[Any, list[SystemOutput]] = {}
    for index, (name, output) in enumerate(zip(names, outputs, strict=True)):
        key = name or settings_but_seed(output) or index
        seeds = [seed_of(one) for one in groups.get(key, ())]
        twice = name is None and seed_of(output) in seeds
        groups.setdefault((key, index) if twice else key, []).append(output)
    called = [names[outputs.index(group[0])] or common_name([one.path for one in group]) for group in groups.values()]
    return [System(name, group) for name, group in zip(distinct(called), groups.values(), strict=True)]


def seed_of(output: SystemOutput) -> Any:
    """The seed of its training; None where it is not known."""
    return (output.results.get("config") or {}).get("seed")


def settings_but_seed(output: SystemOutput) -> str | None:
    """The configuration without the seed; None where it is not known."""
    config = output.results.get("config")
    if not isinstance(config, Mapping) or not config:
        return None
    return json.dumps(flatten(config) | {"seed": None}, sort_keys=True)


def common_name(paths: Sequence[Path]) -> str:
    """What the names of runs begin with: those of seeds `base_seed1` and `base_seed2` are called `base`."""
    names = [path.resolve().name if path.is_dir() else path.name for path in paths]
    if len(names) == 1:
        return names[0]
    same = itertools.takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same).rstrip(ENDS).removesuffix("seed").rstrip(ENDS) or names[0]


def distinct(names: Iterable[str]) -> list[str]:
    """Names that occur twice get a number."""
    result: list[str] = []
    for name in names:
        copies = sum(one == name or one.startswith(f"{name} (") for one in result)
        result.append(f"{name} ({copies + 1})" if name in result else name)
    return result


def named(texts: Sequence[str]) -> list[tuple[str | None, Path]]:
    """`name=path` as it is given to --system."""
    result: list[tuple[str | None, Path]] = []
    for text in texts:
        name, _, path = text.partition("=")
        if not (name and path):
            raise InputError(f"--system {text} must be NAME=PATH, such as --system baseline=out.txt")
        result.append((name, Path(path)))
    return result


def metrics_of(systems: Sequence[System], split: str) -> list[Metric]:
    """The metrics of the first run that names some; else those of texts."""
    for output in (output for system in systems for output in system.outputs):
        stored = output.part(split).get("metrics")
        metrics = [metric_of(name, one) for name, one in stored.items()] if isinstance(stored, Mapping) else []
        if metrics:
            return metrics
    return list(OF_TEXTS)


def metric_of(name: str, stored: Any) -> Metric:
    """The metric behind a score of results.json; older versions wrote only its name."""
    specification = stored.get("specification") if isinstance(stored, Mapping) else None
    if isinstance(specification, Mapping):
        return build(Metric, dict(specification))
    for kind in descendants(Metric):
        if kind.name == name:
            return kind()
    raise InputError(f"results.json has a score {name!r} that is unknown; choose with --metrics [Bleu, Chrf]")
