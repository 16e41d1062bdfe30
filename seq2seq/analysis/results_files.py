"""What an evaluated split leaves on the disk: predictions, results.json, report.html."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seq2seq.analysis.examine import Examined
from seq2seq.atomic_files import write_text
from seq2seq.runs.run_directory import RunDirectory


def write_predictions(examined: Examined, folder: Path, split: str) -> None:
    """predictions/<split>.jsonl, the plain texts beside it for other tools, and what the page shows of some rows."""
    predictions = examined.predictions
    write_text(folder / f"{split}.jsonl", json_lines(examined.rows()))
    if examined.alignments:
        write_text(folder / f"{split}.alignments.jsonl", json_lines(examined.alignments))
    if examined.heard:
        write_text(folder / f"{split}.heard.jsonl", json_lines(examined.heard))
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
