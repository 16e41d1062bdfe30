"""Transcription as tensors: steps of frames to the probabilities of each class, for whole rows or piece by piece."""

from typing import Any, cast

import torch
from torch import Tensor

from seq2seq.data.sound import SoundFrames
from seq2seq.decoding.beam import NEVER
from seq2seq.errors import InputError
from seq2seq.models.cells import Cell, at_least_32_bits, inside
from seq2seq.models.frames import Frames, centred, steps_of
from seq2seq.models.recurrent import Recurrent
from seq2seq.tasks.transcription import Transcription

Tensors = tuple[Tensor, ...]


def refuse_more(task: Transcription) -> None:
    """Raise InputError for what a file does not have."""
    if task.attention is not None:
        raise InputError(
            f"model.attention is {type(task.attention).__name__}, which a file cannot hold; predict with seq2seq.load, "
            "predict or serve, or train without it"
        )


def reads_forwards(task: Transcription) -> bool:
    """Whether the network may be given its frames piece by piece."""
    return not task.encoder.bidirectional and not task.centre_rows


def state_shapes(recurrent: Recurrent) -> list[tuple[int, int]]:
    """Layers and units of each tensor of a state."""
    return [(recurrent.layers, recurrent.hidden_size)] * cast(Cell, recurrent.stack[0]).states


def carried(task: Transcription) -> dict[str, tuple[int, ...]]:
    """The name of each tensor that a piece leaves to the next one, with its shape for three rows."""
    if not reads_forwards(task):
        return {}
    states = {
        f"state_{place}": (layers, 3, units)
        for place, (layers, units) in enumerate(state_shapes(task.reader.recurrent))
    }
    width = task.tokenizers.source.width or 0
    return states | ({"total": (3, width)} if task.centre_running else {})


def written(task: Transcription) -> dict[str, tuple[int, ...]]:
    """What the part of a transducer reads that knows the tokens, with its shape for two hypotheses and eight pairs."""
    if task.writer is None or task.alignment is None:
        return {}
    shapes = state_shapes(task.writer.recurrent)
    states = {f"written_{place}": (layers, 2, units) for place, (layers, units) in enumerate(shapes)}
    return {"classes": (2,), "joined": (8, task.alignment.joint_size), **states}


def outputs_of(task: Transcription) -> tuple[str, ...]:
    """The names of what is computed."""
    after = [f"{name}_after" for name in carried(task)]
    if task.writer is None:
        return ("log_probs", *after)
    return ("frames", *after, "log_probs", "vector", *(f"{name}_after" for name in written(task) if "_" in name))


def computed(task: Transcription, given: dict[str, Tensor]) -> Tensors:
    """All of it: of a transducer the steps, and besides what two other inputs ask of the part that has written."""
    if task.writer is None:
        return heard(task, given)
    states = tuple(given[name] for name in written(task) if "_" in name)
    after = task.writer.step(given["classes"], states)
    logits = at_least_32_bits(task.output(given["joined"].tanh()))
    return (*heard(task, given), logits.log_softmax(-1) + never(task), after.vector, *after.recurrent)


def heard(task: Transcription, given: dict[str, Tensor]) -> Tensors:
    """(B, T, C) in nats, of a transducer (B, T, J), at the steps of a source (B, T, stacking x D), and what is carried.

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
        return (said(task, task.reader.encoding(vectors, steps, None).states), *after)
    recurrent = task.reader.recurrent
    begun = (given["before"] > 0).view(1, -1, 1)
    first = recurrent.first_state(rows, vectors)
    state = tuple(torch.where(begun, given[f"state_{place}"], one) for place, one in enumerate(first))
    states, last = recurrent(vectors * inside(steps, vectors).unsqueeze(-1), state)
    return (said(task, states), *last, *after)


def said(task: Transcription, states: Tensor) -> Tensor:
    """States (B, T, H) to log-probabilities (B, T, C) or, of a transducer, to what is joined with tokens (B, T, J)."""
    if task.writer is None:
        return task.log_probs(states) + never(task)
    joined: Tensor = task.writer.from_frames(states)
    return joined


def never(task: Transcription) -> Tensor:
    """(C,) minus infinity for classes that are no text."""
    return torch.zeros(task.output.weight.shape[0]).index_fill(0, task.unwritable, NEVER)


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
        "states": [{"layers": layers, "units": units} for layers, units in state_shapes(task.reader.recurrent)],
        "sound": sound and sound._asdict(),
        "written": writer_of(task),
    }


def writer_of(task: Transcription) -> dict[str, Any] | None:
    """What a reader must know of a transducer."""
    if task.writer is None or task.alignment is None:
        return None
    shapes = [{"layers": layers, "units": units} for layers, units in state_shapes(task.writer.recurrent)]
    return {"joint": task.alignment.joint_size, "states": shapes}


def tells_words(task: Transcription) -> bool:
    """Whether what is written of a stream stays."""
    try:
        task.word_stream(1)
        return task.tokenizers.target.boundary is not None
    except InputError:
        return False
