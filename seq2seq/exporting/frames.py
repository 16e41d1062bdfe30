"""Transcription as tensors: steps of frames to the probabilities of each class, for whole rows or piece by piece."""

from typing import Any, cast

import torch
from torch import Tensor

from seq2seq.data.sound import SoundFrames
from seq2seq.decoding.beam import NEVER
from seq2seq.errors import InputError
from seq2seq.models.cells import Cell, inside
from seq2seq.models.frames import Frames, centred, steps_of
from seq2seq.tasks.transcription import Transcription

Tensors = tuple[Tensor, ...]


def refuse_more(task: Transcription) -> None:
    """Raise InputError for what a file does not have."""
    for name in ("alignment", "attention"):
        if (value := getattr(task, name)) is not None:
            raise InputError(
                f"model.{name} is {type(value).__name__}, which a file cannot hold; predict with seq2seq.load, predict "
                f"or serve, or train without it"
            )


def reads_forwards(task: Transcription) -> bool:
    """Whether the network may be given its frames piece by piece."""
    return not task.encoder.bidirectional and not task.centre_rows


def state_shapes(task: Transcription) -> list[tuple[int, int]]:
    """Layers and units of each tensor of the state."""
    recurrent = task.reader.recurrent
    return [(recurrent.layers, recurrent.hidden_size)] * cast(Cell, recurrent.stack[0]).states


def carried(task: Transcription) -> dict[str, tuple[int, ...]]:
    """The name of each tensor that a piece leaves to the next one, with its shape for three rows."""
    if not reads_forwards(task):
        return {}
    states = {f"state_{place}": (layers, 3, units) for place, (layers, units) in enumerate(state_shapes(task))}
    width = task.tokenizers.source.width or 0
    return states | ({"total": (3, width)} if task.centre_running else {})


def log_probs(task: Transcription, given: dict[str, Tensor]) -> Tensors:
    """(B, T, C) in nats at each step of a source (B, T, stacking x D), and what is carried on.

    A network that reads forwards reads all T steps, zeros after the end of a row, whose length is that of its frames.
    """
    source, lengths, reader = given["source"], given["lengths"], cast(Frames, task.reader.embedding)
    rows, count = source.shape[:2]
    frames = source.reshape(rows, count * reader.stacking, source.shape[2] // reader.stacking)
    if reader.centred:
        frames = centred(frames, lengths)
    after: list[Tensor] = []
    if reader.running:
        frames, total = less_running_mean(reader.running, frames, lengths, given)
        after = [total] if "total" in given else []
    vectors, steps = reader.projection(frames.reshape(source.shape)), steps_of(lengths, reader.stacking)
    if "before" not in given:
        return (classes(task, task.reader.encoding(vectors, steps, None).states), *after)
    recurrent = task.reader.recurrent
    begun = (given["before"] > 0).view(1, -1, 1)
    first = recurrent.first_state(rows, vectors)
    state = tuple(torch.where(begun, given[f"state_{place}"], one) for place, one in enumerate(first))
    states, last = recurrent(vectors * inside(steps, vectors).unsqueeze(-1), state)
    return (classes(task, states), *last, *after)


def classes(task: Transcription, states: Tensor) -> Tensor:
    """States (B, T, H) to log-probabilities (B, T, C), minus infinity for classes that are no text."""
    never = torch.zeros(task.output.weight.shape[0]).index_fill(0, task.unwritable, NEVER)
    return task.log_probs(states) + never


def less_running_mean(prior: int, frames: Tensor, lengths: Tensor, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """As `models.frames.less_running_mean`, with as many frames before each row as `before` says."""
    total = given["total"] if "total" in given else frames.new_zeros(frames.shape[0], frames.shape[2])
    before = given["before"] if "before" in given else torch.zeros_like(lengths)
    sums = total.unsqueeze(1) + frames.cumsum(1)
    counts = before.view(-1, 1, 1) + torch.arange(1, frames.shape[1] + 1).view(1, -1, 1)
    return (frames - sums / (prior + counts)) * inside(lengths, frames).unsqueeze(-1), sums[:, -1]


def hearing_of(task: Transcription, sound: SoundFrames | None) -> dict[str, Any]:
    """What a reader must know; sound: what a frame is, where it is one of sound."""
    return {
        "stacking": task.stacking,
        "lookahead": task.lookahead,
        "forwards": reads_forwards(task),
        "streams": reads_forwards(task) and tells_words(task) and not (sound and sound.deltas),
        "running": task.centre_running > 0,
        "states": [{"layers": layers, "units": units} for layers, units in state_shapes(task)],
        "sound": sound and sound._asdict(),
    }


def tells_words(task: Transcription) -> bool:
    """Whether what is written of a stream stays."""
    try:
        task.word_stream(1)
        return task.tokenizers.target.boundary is not None
    except InputError:
        return False
