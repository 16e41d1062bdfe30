"""What a file says of itself, checked entry by entry; docs/export.md of seq2seq has what each one means."""

import base64
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seq2seq_runtime.fields import Fields
from seq2seq_runtime.problems import FileError
from seq2seq_runtime.sound import SoundFrames

KEY = "seq2seq"
"""The entry of a file's metadata that holds all of it, as JSON."""

FORMAT = 1
PADDING, UNKNOWN, BEGIN, END = range(4)
SPECIAL = 4
"""Ids before those of the vocabulary."""

LONGEST = 1_000_000
"""Tokens of a source or prediction in any limit that is believed."""

OUTPUTS = {
    "Translation": "hypotheses",
    "Generation": "hypotheses",
    "Tagging": "hypotheses",
    "Classification": "logits",
    "Forecasting": "forecasts",
    "Transcription": "log_probs",
}
"""What a file of each task computes."""


@dataclass(frozen=True)
class TokenizerState:
    """A tokenizer as a file holds it."""

    kind: str
    settings: Fields
    sizes: tuple[int, ...]
    """Of the vocabulary and of each feature; of vectors their width."""
    state: bytes


@dataclass(frozen=True)
class Limits:
    """The most tokens of a prediction, its end included."""

    ratio: float
    rounded_up: bool
    offset: int
    least: int | None
    most: int | None

    def of(self, lengths: np.ndarray) -> np.ndarray:
        """(B,) tokens of the sources to (B,) tokens."""
        tokens = np.maximum(lengths, 1)
        if self.rounded_up:
            product = np.ceil(tokens * self.ratio)
        else:
            product = np.floor(tokens.astype(np.float32) * np.float32(self.ratio))
        limits: np.ndarray = np.minimum(product, LONGEST).astype(np.int64) + self.offset
        limits = limits if self.least is None else np.maximum(limits, self.least)
        return limits if self.most is None else np.minimum(limits, self.most)


@dataclass(frozen=True)
class Search:
    """The settings of search, as the file was written with them."""

    beam_size: int
    length_penalty: float
    length_offset: float
    min_length: int
    no_repeat_ngram: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int

    def divisor(self, length: int) -> float:
        """What the log-probability of so many tokens is divided by; with offset 5 Wu et al. 2016, eq. 14."""
        length = max(length, 1)
        scaled = (self.length_offset + length) / (self.length_offset + 1) if self.length_offset else float(length)
        return float(scaled**self.length_penalty)


@dataclass(frozen=True)
class Written:
    """How a network remembers what it has written (a transducer)."""

    joint: int
    """Numbers by which it is joined with a step."""
    states: tuple[tuple[int, int], ...]
    """Layers and units of each tensor of its state."""


@dataclass(frozen=True)
class Hearing:
    """How a network reads frames."""

    stacking: int
    """Neighbouring frames of a step."""
    lookahead: int
    """Steps that are read before one writes."""
    forwards: bool
    """Whether it gives its state, to be continued."""
    streams: bool
    """Whether words can be told of a stream."""
    running: bool
    """Whether it subtracts a running mean, whose sum it carries on."""
    states: tuple[tuple[int, int], ...]
    """Layers and units of each tensor of its state."""
    sound: SoundFrames | None
    """What a frame is, where it is one of sound."""
    written: Written | None = None
    """Where a step's tokens hang on those before it."""


@dataclass(frozen=True)
class Description:
    """All that a reader must know."""

    task: str
    outputs: str
    source: TokenizerState | None
    target: TokenizerState
    shared: bool
    source_end: bool
    target_end: bool
    max_length: int | None
    keep_last_steps: bool
    limits: Limits | None
    search: Search
    multi_label: bool = False
    quantiles: tuple[float, ...] = ()
    median: int = 0
    season: int = 1
    begin: int = BEGIN
    hearing: Hearing | None = None
    card: dict[str, Any] = field(default_factory=dict)
    """`version`, `fingerprint` and `scores`, as they are."""


def read(text: str) -> Description:
    """The entry of a file; FileError for what is wrong in it."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise FileError(f"the entry {KEY!r} of its metadata is no JSON: {problem}") from problem
    of = Fields(values, "metadata")
    if of.value("format") != FORMAT or isinstance(of.value("format"), bool):
        raise FileError(
            f"its format is {of.value('format')!r:.40}, and this runtime reads {FORMAT}; install another one"
        )
    ids = of.inner("ids")
    for name, number in zip(("padding", "unknown", "begin", "end"), range(SPECIAL), strict=True):
        ids.whole(name, number, number)
    task = of.text("task")
    if OUTPUTS.get(task) != of.text("outputs"):
        raise FileError(f"a task {task!r:.40} with {of.text('outputs')!r:.40} is unknown; known: {', '.join(OUTPUTS)}")
    target = tokenizer(of.inner("target"))
    shared = of.flag("shared")
    return Description(
        task=task,
        outputs=OUTPUTS[task],
        source=tokenizer(of.inner("source")) if of.value("source") is not None else None,
        target=target,
        shared=shared,
        source_end=of.flag("source_end"),
        target_end=of.flag("target_end"),
        max_length=of.whole("max_length", 1, LONGEST) if of.value("max_length") is not None else None,
        keep_last_steps=of.flag("keep_last_steps"),
        limits=limits(of.inner("limits")) if of.value("limits") is not None else None,
        search=search(of.inner("decoding")),
        **settings(task, of.inner("settings")),
        card={name: of.values.get(name) for name in ("version", "fingerprint", "scores")},
    )


def tokenizer(of: Fields) -> TokenizerState:
    """A tokenizer."""
    try:
        state = base64.b64decode(of.text("state"), validate=True)
    except ValueError as problem:
        raise of.wrong("state", "base64") from problem
    sizes = of.value("sizes")
    if not isinstance(sizes, list) or not all(isinstance(one, int) and one > 0 for one in sizes):
        raise of.wrong("sizes", "a list of whole numbers above 0")
    return TokenizerState(of.text("kind"), of.inner("settings"), tuple(sizes), state)


def limits(of: Fields) -> Limits:
    """The rule of limits."""
    rounded = of.text("rounded")
    if rounded not in ("up", "down"):
        raise of.wrong("rounded", "'up' or 'down'")
    bounds = (of.whole(name, 1, LONGEST + 1) if of.value(name) is not None else None for name in ("least", "most"))
    return Limits(of.number("ratio", 0, LONGEST), rounded == "up", of.whole("offset", 0, LONGEST + 1), *bounds)


def search(of: Fields) -> Search:
    """The settings of search."""
    return Search(
        beam_size=of.whole("beam_size", 1),
        length_penalty=of.number("length_penalty", 0, 10),
        length_offset=of.number("length_offset", 0, 1000),
        min_length=of.whole("min_length", 0, LONGEST),
        no_repeat_ngram=of.whole("no_repeat_ngram", 0),
        temperature=of.number("temperature", 0, 100) if of.value("temperature") is not None else None,
        top_k=of.whole("top_k", 1) if of.value("top_k") is not None else None,
        top_p=of.number("top_p", 0, 1) if of.value("top_p") is not None else None,
        seed=of.whole("seed", 0, 1 << 64),
    )


def settings(task: str, of: Fields) -> dict[str, Any]:
    """What a kind of task says besides."""
    if task == "Classification":
        return {"multi_label": of.flag("multi_label")}
    if task == "Generation":
        return {"begin": of.whole("begin", 0, SPECIAL - 1)}
    if task == "Forecasting":
        quantiles = tuple(of.numbers("quantiles", 0, 1))
        if not quantiles or any(math.isnan(one) for one in quantiles):
            raise of.wrong("quantiles", "a list of numbers from 0 to 1")
        median = of.whole("median", 0, len(quantiles) - 1)
        return {"quantiles": quantiles, "median": median, "season": of.whole("season", 1)}
    if task == "Transcription":
        return {"hearing": hearing(of)}
    return {}


def hearing(of: Fields) -> Hearing:
    """How frames are read."""
    written = of.inner("written") if of.has("written") else None
    return Hearing(
        stacking=of.whole("stacking", 1, 100),
        lookahead=of.whole("lookahead", 0, 1000),
        forwards=of.flag("forwards"),
        streams=of.flag("streams"),
        running=of.flag("running"),
        states=shapes(of),
        sound=sound(of.inner("sound")) if of.value("sound") is not None else None,
        written=None if written is None else Written(written.whole("joint", 1, 1 << 20), shapes(written)),
    )


def shapes(of: Fields) -> tuple[tuple[int, int], ...]:
    """Layers and units of each tensor of a state."""
    listed = of.value("states")
    if not isinstance(listed, list) or len(listed) > 8 or not all(isinstance(one, dict) for one in listed):
        raise of.wrong("states", "a list of objects")
    each = [Fields(one, f"{of.name}: 'states'") for one in listed]
    return tuple((one.whole("layers", 1, 1000), one.whole("units", 1, 1 << 20)) for one in each)


def sound(of: Fields) -> SoundFrames:
    """What a frame is."""
    bands = of.whole("bands", 1, 128)
    return SoundFrames(
        of.whole("rate", 1000, 192_000), bands, of.whole("coefficients", 0, bands + 1), of.whole("deltas", 0, 3)
    )
