"""An exported file at work: batches to hypotheses, as the task itself makes them of the same rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, SPECIAL
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.decoding import ctc
from seq2seq.decoding.beam import NEVER
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.decoding.sampling import uniform
from seq2seq.exporting.frames import hearing_of
from seq2seq.models.ctc import FIRST
from seq2seq.models.word_embedding import taken_apart
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.transcription import Transcription
from seq2seq_runtime import description
from seq2seq_runtime.fields import Fields
from seq2seq_runtime.model import Network
from seq2seq_runtime.npz_file import opened
from seq2seq_runtime.onnx_file import OnnxNetwork
from seq2seq_runtime.transcribing import Transcriber

Arrays = dict[str, np.ndarray]


class Exported:
    """A file, and the task that it came from."""

    def __init__(self, file: Path, task: Task, decoding: Decoding) -> None:
        data = file.read_bytes()
        arrays = data.startswith(b"PK")
        self.network: Network = opened(data)[1] if arrays else OnnxNetwork(data, torch.get_num_threads())
        self.task, self.decoding = task, decoding
        self.transcriber = transcriber_of(task, self.network) if isinstance(task, Transcription) else None

    def predict(self, batch: Batch) -> list[list[Hypothesis]]:
        """The hypotheses of each row, best first."""
        if self.transcriber is not None:
            texts = self.transcriber.found(self.steps(batch), self.decoding.beam_size)
            return [[self.transcribed(*one) for one in row] for row in texts]
        given = inputs(self.task, batch, self.decoding)
        found = self.network.run({name: given[name] for name in self.network.inputs})
        if isinstance(self.task, Forecasting):
            return self.task.hypotheses(torch.from_numpy(found["forecasts"]))
        if isinstance(self.task, Classification):
            return self.task.chosen(torch.from_numpy(found["logits"]), self.decoding)
        return hypotheses(found, self.task.row_format.target_ends)

    def steps(self, batch: Batch) -> list[np.ndarray]:
        """What the steps of each row of a transcription say."""
        assert self.transcriber is not None
        rows = zip(batch.source.numpy(), batch.source_lengths.tolist(), strict=True)
        return self.transcriber.steps([row[:length] for row, length in rows])

    def transcribed(self, ids: tuple[int, ...], score: float) -> Hypothesis:
        """A text of a row."""
        return Hypothesis([*ids], score / self.decoding.divisor(len(ids)), [score])

    def by_rounding(self, batch: Batch, place: int, tokens: list[int], near: float) -> bool:
        """Whether torch would write the tokens that the file has written at a place of a batch if its probabilities
        were those of the file, no further than `near` from its own."""
        if self.transcriber is None or not isinstance(self.task, Transcription) or self.task.writer is not None:
            return False
        theirs = self.steps(batch)[place].astype(np.float64)
        with without_gradients():
            frames = self.task.log_probs(self.task.states(batch)).index_fill(-1, self.task.unwritable, -torch.inf)
        ours = frames[place, : len(theirs)].double().numpy()
        finite = np.isfinite(ours)
        alike = np.array_equal(finite, np.isfinite(theirs)) and np.abs(ours[finite] - theirs[finite]).max() <= near
        texts = [text for text, _ in ctc.search(theirs, self.decoding.beam_size)]
        return bool(alike) and [one - SPECIAL + FIRST for one in tokens] in [[*text] for text in texts]


def transcriber_of(task: Transcription, network: Network) -> Transcriber:
    """What the runtime makes of a network over frames."""
    of = description.hearing(Fields(hearing_of(task, None), "settings"))
    return Transcriber(of, network, task.tokenizers.source.width or 0, task.output.weight.shape[0])


def inputs(task: Task, batch: Batch, decoding: Decoding) -> Arrays:
    """All that a file may read of a batch."""
    rows, size = len(batch.rows), decoding.beam_size
    lengths, sources = batch.source_lengths, {"source": batch.source.numpy()}
    if isinstance(task.tokenizers.source, Spelled):
        sources, lengths = spelled(task.tokenizers.source, batch)
    limits = task.limits(batch.source_lengths, decoding) if task.row_format.target_ends else lengths + 1
    longest = int(limits.max())
    begin = EOS if isinstance(task, Generation) and task.running else BOS
    draw = decoding.draw()
    scalars = {
        "min_length": np.array(decoding.min_length),
        "length_penalty": np.array(decoding.length_penalty, np.float32),
        "temperature": np.array(draw.temperature, np.float32),
        "top_k": np.array(draw.top_k or len(task.tokenizers.target)),
        "top_p": np.array(draw.top_p or 2.0, np.float32),
    }
    if decoding.temperature is not None:
        scalars["numbers"] = uniform(draw.seed, batch.row_keys, size, longest).numpy()
    return (
        scalars
        | sources
        | {
            "lengths": lengths.numpy(),
            "limits": limits.numpy(),
            "prompt": np.full((rows, 1), begin),
            "room": np.zeros((size, longest), np.float32),
        }
    )


def spelled(tokenizer: Spelled, batch: Batch) -> tuple[Arrays, torch.Tensor]:
    """The different words of a batch (U, F), the number of each in its rows (B, S), and the words of each row (B,)."""
    sections = tokenizer.sections
    parts = taken_apart(batch.source, sections.words, 1 + len(sections.ends), PAD)
    columns = torch.cat((parts.heads, parts.letters), 1) if tokenizer.letters else parts.heads
    words, which = torch.unique(columns, dim=0, return_inverse=True)
    source = torch.zeros(len(batch.rows), max(1, int(parts.counts.max())), dtype=torch.long)
    source[parts.places[0], parts.places[1]] = which
    return {"words": words.numpy(), "source": source.numpy()}, parts.counts


def hypotheses(found: Mapping[str, np.ndarray], ends: bool) -> list[list[Hypothesis]]:
    """The outputs of a search as hypotheses; ends: whether an end follows the tokens."""
    columns = zip(*(found[name].tolist() for name in ("tokens", "counts", "scores", "token_scores")), strict=True)
    return [
        [
            Hypothesis(tokens[:count], score, each[: count + ends])
            for tokens, count, score, each in zip(*several, strict=True)
            if score > NEVER
        ]
        for several in columns
    ]


def in_torch(task: Task, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
    """What the task itself predicts; each row of running text as if the text began with it."""
    if not isinstance(task, Generation) or not task.running:
        return task.predict(batch, decoding)
    with without_gradients():
        start: Any = task.state_from(task.first_state(len(batch.rows)))
    return task.generate(start, batch.row_keys, decoding)
