"""Rows of frames to look at and to listen to: posteriors over time, words and segments with their times, the sound."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from seq2seq.data.batching.split import Split
from seq2seq.data.segments import segments_of
from seq2seq.data.sound import SoundFrames, resampled, wav
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.edits import LONGEST, align
from seq2seq.metrics.labels import labels_of
from seq2seq.tasks.base import Task
from seq2seq.tasks.posteriors import Posteriors

WANTED = {"worst": 4, "random": 3, "best": 2, "longest": 1}
"""How many rows of each group of examples are shown."""

FRAMES = 3000
"""Of the longest row that is shown."""

CLASSES, LEAST = 12, 0.1
"""Classes whose posteriors are drawn: so many, and no less likely at their best step."""

RATE, SECONDS, BYTES = 16_000, 20.0, 1_500_000
"""Of a clip: samples a second at most, its longest, and the bytes of all clips together."""


class Recorded(NamedTuple):
    """What a corpus knows of its frames."""

    sound: SoundFrames | None
    """What a frame is; None where frames came from elsewhere."""
    samples: Callable[[Sequence[int]], Mapping[int, np.ndarray]]
    """Of some rows, where they are known."""


def heard(
    task: Task,
    split: Split,
    predictions: Sequence[Prediction],
    chosen: Mapping[str, Sequence[int]],
    recorded: Recorded,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Some rows of a task that transcribes or labels frames, plain values for a line of JSON each; chosen: examples."""
    aligned = task.row_format.aligned
    if task.tokenizers.source.width is None or not (aligned or task.row_format.frames):
        return []
    rows = list(dict.fromkeys(row for name, most in WANTED.items() for row in chosen.get(name, ())[:most]))
    rows = [row for row in rows if split.source_lengths(np.array([row]))[0] <= FRAMES]
    if not rows:
        return []
    sound = recorded.sound
    hop = None if sound is None else sound.hop / sound.rate
    begin = 0.0 if sound is None else sound.between(1) - sound.hop / sound.rate
    looks = {} if aligned else dict(zip(rows, posteriors(task, split, rows, device), strict=False))
    clips = clips_of(recorded.samples(rows), sound)
    result = []
    for row in rows:
        one: dict[str, Any] = {"id": row, "hop": hop, "begin": round(begin, 4), "step": task.row_format.frames or 1}
        if aligned:
            one["segments"] = both_segments(predictions[row], sound)
        else:
            one["aligned"] = aligned_words(predictions[row])
        if row in looks:
            one |= look(looks[row], (hop or 1) * one["step"])
        result.append(one | ({"clip": clips[row]} if row in clips else {}))
    return result


def posteriors(task: Task, split: Split, rows: Sequence[int], device: torch.device) -> list[Posteriors]:
    """What the network believes of rows."""
    was_training = task.training
    task.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            return [one for row in rows for one in task.posteriors(split.batch(np.array([row])).to(device))]
    finally:
        task.train(was_training)


def look(found: Posteriors, seconds: float) -> dict[str, Any]:
    """Posteriors as percent of the likeliest classes, and words with their times; seconds: of a step."""
    best = found.shares.max(0)
    likely = [place for place in np.argsort(-best, kind="stable").tolist() if found.names[place]]
    kept = [place for place in likely if best[place] >= LEAST][:CLASSES]
    shares = np.rint(100 * found.shares[:, kept].T).astype(int)
    return {
        "posteriors": [
            {"name": found.names[place], "shares": several.tolist()}
            for place, several in zip(kept, shares, strict=True)
        ],
        "words": [[round(seconds * one.first, 3), round(seconds * (one.last + 1), 3), one.text] for one in found.words],
    }


def clips_of(samples: Mapping[int, np.ndarray], sound: SoundFrames | None) -> dict[int, str]:
    """The sounds of rows as base64 of WAVs, as many as there is room for."""
    result: dict[int, str] = {}
    left = BYTES
    for row, values in samples.items() if sound is not None else ():
        if sound is None or len(values) > SECONDS * sound.rate:
            continue
        rate = min(sound.rate, RATE)
        data = wav(resampled(values, sound.rate, rate), rate)
        if len(data) <= left:
            left -= len(data)
            result[row] = base64.b64encode(data).decode()
    return result


def aligned_words(row: Prediction) -> list[list[str | None]]:
    """The words of a reference beside those of its prediction, None where a side has none; nothing of long texts."""
    reference, prediction = row.reference.split(), row.prediction.split()
    if max(len(reference), len(prediction)) > LONGEST:
        return []
    return [[place.reference, place.prediction] for place in align(reference, prediction)]


def written_segments(row: Prediction, sound: SoundFrames | None) -> dict[str, list[Any]]:
    """The same as a row's line of predictions has them."""
    found = both_segments(row, sound)
    return {"reference_segments": found["reference"], "segments": found["prediction"]}


def both_segments(row: Prediction, sound: SoundFrames | None) -> dict[str, list[Any]]:
    """The labels of frames as segments, of the reference and of the prediction."""
    predicted, reference = labels_of(row, None)
    return {"reference": list(segments_of(reference, sound)), "prediction": list(segments_of(predicted, sound))}
