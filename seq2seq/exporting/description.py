"""What a file says of itself, so that a program without torch can turn texts to ids and ids to texts.

docs/export.md documents every entry for those who read it.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import torch

import seq2seq
from seq2seq.configurable import plain
from seq2seq.data.batching.split import fitting
from seq2seq.data.sound import SoundFrames
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizer
from seq2seq.exporting.frames import hearing_of
from seq2seq.exporting.graphs import Graph
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import USUAL_RATIO, Decoding
from seq2seq.tasks.forecasting import MEDIAN, Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.length_limits import LONGEST
from seq2seq.tasks.transcription import Transcription

KEY = "seq2seq"
"""The entry of a file's metadata that holds all of it, as JSON."""

FORMAT = 1
"""Of what stands there."""


def described(
    graph: Graph,
    decoding: Decoding,
    max_length: int,
    fingerprint: str | None,
    scores: Mapping[str, Any],
    sound: SoundFrames | None = None,
) -> dict[str, Any]:
    """The entry of a graph's file.

    max_length: tokens to which sources are cut; fingerprint: SHA-256 of what the checkpoint holds; scores: of the run;
    sound: what a frame is, where sources are frames of sound.
    """
    task = graph.task
    row_format = fitting(task.row_format, task.tokenizers)
    source, target = task.tokenizers
    return {
        "format": FORMAT,
        "task": type(task).__name__,
        "outputs": graph.kind,
        "version": seq2seq.__version__,
        "torch": torch.__version__,
        "fingerprint": fingerprint,
        "scores": scores,
        "ids": {"padding": PAD, "unknown": UNK, "begin": BOS, "end": EOS},
        "source": None if task.has_no_source else of_tokenizer(source),
        "target": of_tokenizer(target),
        "shared": source is target,
        "source_end": row_format.source_end,
        "target_end": row_format.target_ends,
        "max_length": None if row_format.aligned else max_length,
        "keep_last_steps": row_format.keep_last_steps,
        "limits": limits_of(task, decoding) if row_format.target_ends else None,
        "decoding": {name: value for name, value in decoding.specification()["init_args"].items() if name != "rows"},
        "settings": settings_of(task, sound),
    }


def of_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """A tokenizer: its class, its settings and what it has learnt."""
    return {
        "kind": type(tokenizer).__name__,
        "settings": {name: value for name, value in plain(tokenizer)["init_args"].items() if name != "vectors"},
        "sizes": list(tokenizer.sizes) if tokenizer.width is None else [tokenizer.width],
        "state": base64.b64encode(tokenizer.state).decode(),
    }


def limits_of(task: Task, decoding: Decoding) -> dict[str, Any]:
    """The most tokens of a prediction, its end included, for a source of n tokens with its end.

    min(most, max(least, ratio x max(n, 1) + offset)), with the product rounded up or down.
    """
    bound, ratio, rounded = task.length_bound, decoding.max_length_ratio, "down"
    least: int | None = decoding.min_length + 1
    most = None if decoding.max_length is None else decoding.max_length + 1
    offset = 10
    if task.row_format.conditions:  # nothing follows from the condition
        offset = LONGEST + 1 if bound is None else math.ceil(bound.ratio) + bound.offset
        ratio = 0.0
    elif ratio is None and bound is not None:
        ratio, offset, rounded = bound.ratio, bound.offset, "up"
    if most is not None and (decoding.max_length_ratio is None or task.row_format.conditions):
        ratio, offset, least = 0.0, most, None  # max_length alone says it
    return {
        "ratio": USUAL_RATIO if ratio is None else ratio,
        "rounded": rounded,
        "offset": offset,
        "least": least,
        "most": most,
    }


def settings_of(task: Task, sound: SoundFrames | None) -> dict[str, Any]:
    """What a reader must know of a kind of task besides."""
    if isinstance(task, Classification):
        return {"multi_label": task.multi_label}
    if isinstance(task, Forecasting):
        return {"quantiles": task.levels, "median": task.levels.index(MEDIAN), "horizon": task.horizon,
                "season": task.season if task.relative == "season" else 1}  # fmt: skip
    if isinstance(task, Transcription):
        return hearing_of(task, sound)
    if isinstance(task, Generation):
        return {"running": task.running, "begin": EOS if task.running else BOS}
    return {}


def as_metadata(description: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a file."""
    return {KEY: json.dumps(description, ensure_ascii=True, allow_nan=False)}
