"""Inspection: what only the network can tell about an evaluated split.

How much likelier a reference is after itself than after the network's own words (exposure bias), where the decoder
looks while it writes (`attended.py`), and what the fixed vectors hold (`probes.py`). All of it is plain JSON.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.analysis import probes
from seq2seq.analysis.attention_statistics import POSITIONS, Attended, alignment, in_text_order, ratio, reached
from seq2seq.analysis.gradient_flow import network_of, rounded
from seq2seq.analysis.vector_space import Studied, geometry, spread
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import evaluation_batches
from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, Tokenizer
from seq2seq.metrics.base import Prediction
from seq2seq.models.cells import inside
from seq2seq.models.decoder import Decoder, DecoderOutputs, SourceMemory, State, present
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

MOST_ROWS = 1000
"""Rows that the decoder reads again, evenly spread, at most; 16 thousand tokens of 16 a row make means exact enough."""

MOST_VECTORS = 1000
"""Rows whose fixed vectors are looked at, evenly spread, at most."""

ROWS = 64
"""Rows of a batch, so that numbers do not depend on the beam; fewer where decoding.rows is less."""


class Inspection(NamedTuple):
    """What was found, None where a task has none of it."""

    exposure: dict[str, Any] | None
    attention: dict[str, Any] | None
    alignments: list[dict[str, Any]] | None
    vectors: dict[str, Any] | None


def inspect(
    task: Task,
    split: Split,
    predictions: Sequence[Prediction],
    decoding: Decoding,
    device: torch.device,
    shown: Collection[int],
) -> Inspection:
    """Looks at a task on `device` that has predicted a split.

    predictions: of every row, in order; decoding: how they were found; shown: rows whose alignments are wanted.
    """
    was_training = task.training
    task.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            exposure = attention = aligned = None
            if task.encoder_decoder is not None and len(split):
                exposure, attention = replay(task, split, predictions, decoding, device)
                if attention is not None:
                    aligned = alignments(task, split, predictions, decoding, device, shown)
            vectors = vectors_of(task, split, min(ROWS, decoding.rows), device)
    finally:
        task.train(was_training)
    return Inspection(rounded(exposure), rounded(attention), aligned, rounded(vectors))


class Reading(NamedTuple):
    """A batch whose predictions the decoder reads."""

    places: np.ndarray
    """(B,) of the rows among those that were asked for."""
    batch: Batch
    state: State
    """The decoder's first one."""
    tokens: Tensor
    """(B, T) what it reads: the beginning and the prediction."""
    steps: Tensor
    """(B,) how many of them, on the CPU; after the last one it writes the end."""
    outputs: DecoderOutputs
    """What it has found at each step."""
    weights: Tensor | None
    """(B, T, S) of its attention, in the order of the text."""


def readings(
    task: Task,
    split: Split,
    rows: np.ndarray,
    predictions: Sequence[Prediction],
    decoding: Decoding,
    device: torch.device,
) -> Iterator[Reading]:
    """Batches of some rows (R,), in which the decoder has read its own predictions.

    Predictions are encoded anew from their texts. Where that gives other subwords than those that were predicted, the
    network reads the same text cut otherwise.
    """
    texts = [predictions[row].prediction for row in rows.tolist()]
    own, network = Ragged.of(task.tokenizers.target.encode(texts)), network_of(task)
    for places in evaluation_batches(split.source_lengths(rows), min(ROWS, decoding.rows)):
        batch = split.batch(rows[places]).to(device)
        state, (tokens, steps) = network.encode(batch.source, batch.source_lengths), own.pad(places, PAD, BOS)
        outputs = network.decoder(tokens.to(device), state)
        weights = outputs.weights
        if network.encoder.reverse and weights is not None:
            weights = in_text_order(weights, batch.source_lengths)
        yield Reading(places, batch, state, tokens, steps, outputs, weights)


def replay(
    task: Task, split: Split, predictions: Sequence[Prediction], decoding: Decoding, device: torch.device
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Exposure and attention: the decoder reads references and its own predictions once more."""
    rows, decoder = spread(len(split), MOST_ROWS), network_of(task).decoder
    exposure, attended = Exposure(len(rows)), Attended(len(rows))
    for places, batch, state, _, steps, outputs, weights in readings(task, split, rows, predictions, decoding, device):
        both = torch.minimum(steps, batch.target_lengths - 1)
        labels = batch.target[:, 1 : 1 + int(both.max())]
        labels = labels.masked_fill(~inside(both, labels), PAD)
        references = decoder(batch.target[:, : labels.shape[1]], state)
        known, after = (nats(decoder, one, state.source, labels) for one in (references, outputs))
        exposure.add(places, known, after, both)
        if weights is not None:
            lengths = batch.source_lengths
            attended.add(places, weights, steps, lengths, lengths - int(split.source_end is not None))
    opening = len(task.prefix_tokens(decoding.prefix)) if decoding.prefix else 0
    told = exposure.plain([predictions[row].token_scores for row in rows.tolist()], opening)
    if decoder.attention is None:
        return told, None
    return told, attended.plain(
        rows, lambda row: source_pieces(task.tokenizers.source, split.batch(np.array([row])), 0)
    )


def nats(decoder: Decoder, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor) -> Tensor:
    """Minus the log-probabilities (B, T) of labels (B, T) by the first T outputs; zero for padding; on the CPU."""
    first = outputs.first(labels.shape[1])
    real = labels != PAD
    found = torch.zeros(labels.shape, dtype=torch.double)
    found[real.cpu()] = -decoder.label_log_probs(first, source, labels, real).cpu().double()
    return found


def alignments(
    task: Task,
    split: Split,
    predictions: Sequence[Prediction],
    decoding: Decoding,
    device: torch.device,
    shown: Collection[int],
) -> list[dict[str, Any]]:
    """The weights of each source token at each step of a prediction, of the rows that are shown, in their order."""
    rows, (source, target) = np.array(sorted(set(shown)), dtype=np.int64), task.tokenizers
    found = {}
    for _, batch, _, tokens, steps, _, weights in readings(task, split, rows, predictions, decoding, device):
        for place, row in enumerate(batch.rows.tolist()):
            written = target.pieces([*tokens[place, 1 : int(steps[place])].tolist(), EOS])
            read = source_pieces(source, batch, place)
            found[row] = alignment(row, read, written, present(weights)[place])
    return [found[row] for row in rows.tolist()]


def source_pieces(tokenizer: Tokenizer, batch: Batch, place: int) -> list[str]:
    """The source tokens of a row as people look at them, the end included; of vectors their numbers, from 1."""
    length = int(batch.source_lengths[place])
    if tokenizer.width is not None:
        return [str(step + 1) for step in range(length)]
    return tokenizer.pieces(batch.source[place, :length].tolist())


class Exposure:
    """Gathers how likely references are, after themselves and after what the network has written in their place.

    Bengio et al. 2015 and Ranzato et al. 2016 call the difference between what a decoder reads in training and in use
    exposure bias. A row counts at the positions that both its reference and its prediction have, the end included.
    """

    def __init__(self, rows: int) -> None:
        """rows: how many there will be, R."""
        self.steps = np.zeros(rows, dtype=np.int64)
        self.known, self.after = np.zeros((rows, POSITIONS)), np.zeros((rows, POSITIONS))
        self.totals = np.zeros((rows, 2))

    def add(self, places: np.ndarray, known: Tensor, after: Tensor, steps: Tensor) -> None:
        """A batch.

        places (B,): its rows, from 0; known, after (B, T): nats of their references, zero beyond the steps (B,) that
        count.
        """
        told = min(POSITIONS, known.shape[1])
        self.steps[places] = steps.numpy()
        self.known[places, :told], self.after[places, :told] = known[:, :told].numpy(), after[:, :told].numpy()
        self.totals[places] = torch.stack((known.sum(1), after.sum(1)), dim=1).numpy()

    def plain(self, scores: Sequence[Sequence[float]], opening: int) -> dict[str, Any]:
        """All that was gathered.

        scores: log-probabilities in nats of the tokens that each row predicted, but for the first `opening` ones.
        """
        (known, after), tokens = self.totals.sum(0).tolist(), int(self.steps.sum())
        return {
            "rows": len(self.steps),
            "tokens": tokens,
            "reference": ratio(known, tokens),
            "reference_after_own": ratio(after, tokens),
            "gap": ratio(after - known, tokens),
            "by_position": [self.at(place, scores, opening) for place in range(reached(self.steps))],
        }

    def at(self, place: int, scores: Sequence[Sequence[float]], opening: int) -> dict[str, Any]:
        """The means in nats at one position, counted from 0."""
        kept = self.steps > place
        spoken = [scores[row] for row in np.flatnonzero(kept).tolist()]
        own = [-row[place - opening] for row in spoken if 0 <= place - opening < len(row)]
        return {
            "position": place + 1,
            "rows": int(kept.sum()),
            "reference": float(self.known[kept, place].mean()),
            "own": ratio(float(np.sum(own)), len(own)),
            "reference_after_own": float(self.after[kept, place].mean()),
        }


def vectors_of(task: Task, split: Split, batch_rows: int, device: torch.device) -> dict[str, Any] | None:
    """What the fixed vectors of some rows hold; None without such vectors."""
    rows = spread(len(split), MOST_VECTORS)
    vectors = read(task, split, rows, batch_rows, device)
    if vectors is None:
        return None
    kept = np.isfinite(vectors).all(1)
    rows, vectors = rows[kept], vectors[kept]
    if len(rows) < 3:
        return None
    texts = [split.texts.source[row] for row in rows.tolist()]
    studied = Studied(rows, vectors, texts, split.source_lengths(rows))
    tokenizer = task.tokenizers.source
    if tokenizer.width is not None:
        return geometry(studied) | {"probes": probes.answers(studied, None, None)}
    units = probes.units_of(tokenizer, texts)
    whole = split.whole_lengths(rows) == split.source_lengths(rows)
    swaps = probes.swapped(studied, units, tokenizer, whole)
    nothing = Ragged(np.zeros(0, dtype=np.int32), np.zeros(len(swaps.places) + 1, dtype=np.int64))
    other = Split(Texts(swaps.texts, swaps.texts), Ragged.of(swaps.ids), nothing, split.longest, split.row_format)
    changed = read(task, other, np.arange(len(swaps.places)), batch_rows, device)
    changed = np.zeros((0, 0)) if changed is None else changed
    return geometry(studied) | {"probes": probes.answers(studied, units, (swaps.places, changed))}


def read(task: Task, split: Split, rows: np.ndarray, at_once: int, device: torch.device) -> np.ndarray | None:
    """The fixed vectors (R, H) of rows (R,), in double precision; None without rows or without such vectors."""
    batches = evaluation_batches(split.source_lengths(rows), at_once)
    found: list[Tensor] = []
    for places in batches:
        vector = task.fixed_vector(split.batch(rows[places]).to(device))
        if vector is None:
            return None
        found.append(vector)
    if not found:
        return None
    vectors = torch.cat(found).cpu().double().numpy()
    ordered = np.empty_like(vectors)
    ordered[np.concatenate(batches)] = vectors
    return ordered
