"""Run directories of systems that get some rows wrong."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.analysis.comparison import comparison
from seq2seq.analysis.systems import gather, metrics_of
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Metric

REFERENCES = [
    f"the {animal} {verb} ." for animal in ("cat", "dog", "bird", "cow") for verb in ("runs", "sleeps", "eats")
]
SOURCES = [text.upper() for text in REFERENCES]


def wrong(rows: Sequence[int]) -> list[str]:
    return ["no idea" if row in rows else text for row, text in enumerate(REFERENCES)]


def write_run(
    path: Path, texts: Sequence[str], config: Mapping[str, Any], metrics: Sequence[Metric] = (ExactMatch(),)
) -> Path:
    """A run directory as training leaves it, as far as comparisons look at it."""
    (path / "predictions").mkdir(parents=True)
    rows = [
        {"id": row, "source": source, "reference": reference, "prediction": text, "score": -0.5, "token_scores": [-0.5]}
        for row, (source, reference, text) in enumerate(zip(SOURCES, REFERENCES, texts, strict=True))
    ]
    (path / "predictions" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = {one.name: {"value": 1.0, "specification": one.specification()} for one in metrics}
    results = {"task": "Translation", "splits": {"test": {"metrics": scores}}, "config": config}
    (path / "results.json").write_text(json.dumps(results))
    return path


def compared(*paths: Path, metrics: Sequence[Metric] = ()) -> dict[str, Any]:
    systems = gather([(None, path) for path in paths], None, "test")
    return comparison(systems, metrics or metrics_of(systems, "test"), "test")
