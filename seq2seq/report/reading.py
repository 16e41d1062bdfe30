"""Results and predictions as they are read from files of anybody: every field that is used is checked here."""

import json
from pathlib import Path
from typing import Any

from typing_extensions import NotRequired, TypedDict

from seq2seq.errors import InputError
from seq2seq.plain_types import misfit

Number = float | None
"""A number, or null for what is none."""

ANEW = "write it anew with seq2seq.evaluate --output"


class StoredMetric(TypedDict, total=False):
    """A score."""

    value: Number
    low: Number
    high: Number
    unit: str | None
    signature: str | None
    higher_is_better: bool | None
    specification: dict[str, Any] | None


class StoredGroup(TypedDict, total=False):
    """A bucket of a breakdown."""

    label: str | float | None
    rows: Number
    value: Number
    low: Number
    high: Number


class StoredBreakdown(TypedDict, total=False):
    """What a score depends on."""

    by: str | None
    title: str | None
    axis: str | None
    metric: str | None
    counted: str | None
    note: str | None
    groups: list[StoredGroup] | None


class StoredConfusion(TypedDict):
    """Which labels were taken for which."""

    labels: list[str]
    counts: list[list[float]]


class StoredDetails(TypedDict, total=False):
    """What lies behind a score."""

    labels: dict[str, dict[str, Any] | None] | None
    bins: list[dict[str, Number]] | None
    groups: dict[str, Number] | None
    temperature: dict[str, Number] | None
    confusion: StoredConfusion | None
    edits: dict[str, Any] | None


class StoredId(TypedDict):
    """Something about a row of the split."""

    id: NotRequired[int | None]


class StoredPoint(StoredId, total=False):
    """A fixed vector in the plane."""

    x: Number
    y: Number


class StoredNeighbours(StoredId, total=False):
    """The nearest fixed vectors."""

    near: list[StoredId]


class StoredVectors(TypedDict, total=False):
    """Fixed vectors."""

    points: list[StoredPoint] | None
    neighbours: list[StoredNeighbours] | None
    explained: list[Number] | None
    probes: list[dict[str, Any]] | None
    rows: Number
    size: Number


class StoredUnder(StoredId, total=False):
    """A row that may be under-translated."""

    tokens: list[str] | None
    share: Number


class StoredAttention(TypedDict, total=False):
    """How attention behaves."""

    under: list[StoredUnder] | None


class StoredRepetition(TypedDict, total=False):
    """Rows that repeat themselves."""

    rows: list[StoredId] | None


class StoredWindow(TypedDict, total=False):
    """A forecast to look at."""

    which: str | None
    row: int | None
    width: Number
    score: Number
    history: list[Number] | None
    reference: list[Number] | None
    prediction: list[Number] | None
    baseline: list[Number] | None
    quantiles: dict[str, list[Number] | None] | None


class StoredForecasts(TypedDict, total=False):
    """Forecasts beside those without a model."""

    metric: str | None
    best: str | None
    season: Number
    baselines: dict[str, dict[str, Number] | None] | None
    steps: dict[str, list[Number] | None] | None
    horizons: dict[str, dict[str, Number] | None] | None
    windows: list[StoredWindow] | None


class StoredSplit(TypedDict, total=False):
    """What is known of a split."""

    rows: Number
    metrics: dict[str, StoredMetric]
    decoding: dict[str, Any] | None
    breakdowns: list[StoredBreakdown] | None
    details: dict[str, StoredDetails | None] | None
    vectors: StoredVectors | None
    attention: StoredAttention | None
    repetition: StoredRepetition | None
    exposure: dict[str, Any] | None
    forecasts: StoredForecasts | None
    examples: dict[str, list[StoredId]] | None


class StoredBest(TypedDict, total=False):
    """The best checkpoint."""

    step: Number
    metric: str | None
    value: Number


class StoredDiagnosis(TypedDict, total=False):
    """What the encoder remembers at a validation."""

    step: Number
    gradient_norm: dict[str, list[Number] | None] | None
    saturation: dict[str, list[Number] | None] | None


class StoredModel(TypedDict, total=False):
    """The network."""

    parameters: dict[str, Number] | None


class StoredResults(TypedDict, total=False):
    """The fields of results.json that reports and comparisons use; others may be anything."""

    task: str | None
    name: str | None
    splits: dict[str, StoredSplit] | None
    config: dict[str, Any] | None
    changed: list[str] | None
    curves: dict[str, list[tuple[Number, Number, Number]] | None] | None
    memory: list[StoredDiagnosis] | None
    best: StoredBest | None
    resumed: list[Number] | None
    skipped: dict[str, Any] | None
    environment: dict[str, Any] | None
    data: dict[str, Any] | None
    model: StoredModel | None
    seconds: Number
    timing: dict[str, Number] | None


class StoredRow(StoredId):
    """A line of predictions/<split>.jsonl; older ones lack the last fields."""

    source: str
    reference: str
    prediction: str
    score: NotRequired[Number]
    token_scores: NotRequired[list[Number] | None]
    reference_scores: NotRequired[list[Number] | None]
    quantiles: NotRequired[dict[str, str] | None]
    speaker: NotRequired[str | None]


class StoredAlignment(StoredId, total=False):
    """A line of predictions/<split>.alignments.jsonl."""

    source: list[str] | None
    target: list[str] | None
    weights: list[list[Number]] | None


class StoredHeard(StoredId, total=False):
    """A line of predictions/<split>.heard.jsonl."""

    hop: Number
    begin: Number
    step: Number
    posteriors: list[dict[str, Any]] | None
    words: list[list[Any]] | None
    segments: dict[str, list[list[Any]]] | None
    aligned: list[list[str | None]] | None
    clip: str | None


def read_results(file: Path) -> dict[str, Any]:
    """results.json; InputError names the key that is wrong."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{file} is not JSON: {problem}; {ANEW}") from problem
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no results; {ANEW}")
    if wrong := misfit(content, StoredResults, "results"):
        raise InputError(f"{file}: {wrong}; {ANEW}")
    return content


def read_rows(file: Path, kind: type) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, each of a kind; none where there is no such file."""
    if not file.is_file():
        return []
    lines = enumerate(file.read_bytes().split(b"\n"), 1)
    return [row_of(line, file, number, kind) for number, line in lines if line.strip()]


def row_of(line: bytes | str, file: Path, number: int, kind: type) -> dict[str, Any]:
    """A line as an object of a kind; InputError names file, line and field."""
    try:
        content: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{file}:{number}: no JSON ({problem}); write the file anew") from problem
    if wrong := misfit(content, kind, "row"):
        raise InputError(f"{file}:{number}: {wrong}; write the file anew")
    return content
