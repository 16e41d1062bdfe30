"""Inspection: what only the network can tell about an evaluated split.

Exposure bias (`exposure.py`), attention (`attention_statistics.py`), and what the fixed vectors hold (`probes.py`).
All of it is plain JSON.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.analysis import probes
from seq2seq.analysis.attention_statistics import AttentionStatistics, alignment, in_text_order
from seq2seq.analysis.exposure import Exposure
from seq2seq.analysis.gradient_flow import network_of, rounded
from seq2seq.analysis.vector_space import FixedVectors, evenly_spread, geometry
from seq2seq.analysis.word_swaps import swap_words, word_pattern
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import evaluation_batches
from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, Tokenizer
from seq2seq.metrics.base import Prediction
from seq2seq.models.cells import inside
from seq2seq.models.decoder import Decoder, DecoderOutputs, SourceMemory, State, present
from seq2seq.pinned_copy import to_device
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

MOST_ROWS = 1000
"""Rows that the decoder reads again, evenly spread, at most: with 16 tokens a row enough for exact means."""

MOST_VECTORS = 1000
"""Rows whose fixed vectors are probed, evenly spread, at most."""

ROWS = 64
"""Rows of a batch, so that numbers do not depend on the beam; fewer where decoding.rows is less."""


class Inspection(NamedTuple):
    """The results; None where a task has none."""

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
    """Inspect a task on `device` that has predicted a split.

    predictions: of every row, in order; decoding: how they were made; shown: rows whose alignments are wanted.
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
            vectors = vectors_of(task, split, min(ROWS, decoding.at_once), device)
    finally:
        task.train(was_training)
    return Inspection(rounded(exposure), rounded(attention), aligned, rounded(vectors))


class Reading(NamedTuple):
    """A batch whose predictions the decoder reads."""

    indices: np.ndarray
    """(B,) of its rows among all that are read."""
    batch: Batch
    state: State
    """The decoder's initial state."""
    tokens: Tensor
    """(B, T) its inputs: the beginning and the prediction."""
    steps: Tensor
    """(B,) how many of them, on the CPU; after the last one it predicts the end."""
    outputs: DecoderOutputs
    """What it makes at each step."""
    weights: Tensor | None
    """(B, T, S) of its attention, of latent alignments given the predictions, in the order of the text."""


def readings(
    task: Task,
    split: Split,
    rows: np.ndarray,
    predictions: Sequence[Prediction],
    decoding: Decoding,
    device: torch.device,
) -> Iterator[Reading]:
    """Batches of some rows (R,), in which the decoder has read its own predictions.

    Predictions are encoded anew from their texts, which may give other subwords than those that were predicted.
    """
    texts = [predictions[row].prediction for row in rows.tolist()]
    own, network = Ragged.of(task.tokenizers.target.encode(texts)), network_of(task)
    for indices in evaluation_batches(split.source_lengths(rows), min(ROWS, decoding.at_once)):
        batch = split.batch(rows[indices]).to(device)
        state, (tokens, steps) = network.encode(batch.source, batch.source_lengths), own.pad(indices, PAD, BOS)
        outputs = network.decoder(tokens.to(device), state)
        labels = functional.pad(tokens[:, 1:], (0, 1), value=PAD)
        labels[torch.arange(len(labels)), steps - 1] = EOS
        weights = network.decoder.looked_at(outputs, state.source, labels.to(device))
        if network.encoder.reverse and weights is not None:
            weights = in_text_order(weights, batch.source_lengths)
        yield Reading(indices, batch, state, tokens, steps, outputs, weights)


def replay(
    task: Task, split: Split, predictions: Sequence[Prediction], decoding: Decoding, device: torch.device
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Exposure and attention: the decoder reads references and its own predictions once more."""
    rows, decoder = evenly_spread(len(split), MOST_ROWS), network_of(task).decoder
    exposure, statistics = Exposure(len(rows)), AttentionStatistics(len(rows))
    for indices, batch, state, _, steps, outputs, weights in readings(task, split, rows, predictions, decoding, device):
        both = torch.minimum(steps, batch.target_lengths - 1)
        labels = batch.target[:, 1 : 1 + int(both.max())]
        labels = labels.masked_fill(~inside(both, labels), PAD)
        references = decoder(batch.target[:, : labels.shape[1]], state)
        forced, free = (nats(decoder, one, state.source, labels) for one in (references, outputs))
        exposure.add(indices, forced, free, both)
        if weights is not None:
            lengths = batch.source_lengths
            statistics.add(indices, weights, steps, lengths, lengths - int(split.source_end is not None))
    prefix = len(task.prefix_tokens(decoding.prefix)) if decoding.prefix else 0
    results = exposure.results([predictions[row].token_scores for row in rows.tolist()], prefix)
    if decoder.attention is None:
        return results, None
    wrong = np.array([predictions[row].prediction not in predictions[row].references for row in rows.tolist()])
    return results, statistics.results(
        rows, lambda row: source_pieces(task.tokenizers.source, split.batch(np.array([row])), 0), wrong
    )


def nats(decoder: Decoder, outputs: DecoderOutputs, source: SourceMemory, labels: Tensor) -> Tensor:
    """Minus the log-probabilities (B, T) of labels (B, T) by the first T outputs; zero for padding; on the CPU."""
    first = outputs.first(labels.shape[1])
    real = (labels != PAD).cpu()
    result = torch.zeros(labels.shape, dtype=torch.double)
    positions = to_device(real.flatten().nonzero().squeeze(1), labels.device)
    result[real] = -decoder.label_log_probs(first, source, labels, positions).cpu().double()
    return result


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
    results = {}
    for _, batch, _, tokens, steps, _, weights in readings(task, split, rows, predictions, decoding, device):
        for index, row in enumerate(batch.rows.tolist()):
            written = target.pieces([*tokens[index, 1 : int(steps[index])].tolist(), EOS])
            read = source_pieces(source, batch, index)
            results[row] = alignment(row, read, written, present(weights)[index])
    return [results[row] for row in rows.tolist()]


def source_pieces(tokenizer: Tokenizer, batch: Batch, index: int) -> list[str]:
    """The source tokens of a row as they are shown, the end included; of vectors their numbers, from 1."""
    length = int(batch.source_lengths[index])
    if tokenizer.width is not None:
        return [str(step + 1) for step in range(length)]
    return tokenizer.pieces(batch.source[index, :length].tolist())


def vectors_of(task: Task, split: Split, batch_rows: int, device: torch.device) -> dict[str, Any] | None:
    """What the fixed vectors of some rows hold; None without such vectors."""
    rows = evenly_spread(len(split), MOST_VECTORS)
    vectors = read(task, split, rows, batch_rows, device)
    if vectors is None:
        return None
    kept = np.isfinite(vectors).all(1)
    rows, vectors = rows[kept], vectors[kept]
    if len(rows) < 3:
        return None
    texts = [split.texts.source[row] for row in rows.tolist()]
    kept_vectors = FixedVectors(rows, vectors, texts, split.source_lengths(rows))
    tokenizer = task.tokenizers.source
    if tokenizer.width is not None:
        return geometry(kept_vectors) | {"probes": probes.all_probes(kept_vectors, None, None)}
    pattern = word_pattern(tokenizer, texts)
    whole = split.whole_lengths(rows) == split.source_lengths(rows)
    swaps = swap_words(kept_vectors, pattern, tokenizer, whole)
    nothing = Ragged(np.zeros(0, dtype=np.int32), np.zeros(len(swaps.indices) + 1, dtype=np.int64))
    other = Split(Texts(swaps.texts, swaps.texts), Ragged.of(swaps.ids), nothing, split.longest, split.row_format)
    changed = read(task, other, np.arange(len(swaps.indices)), batch_rows, device)
    changed = np.zeros((0, 0)) if changed is None else changed
    return geometry(kept_vectors) | {"probes": probes.all_probes(kept_vectors, pattern, (swaps.indices, changed))}


def read(task: Task, split: Split, rows: np.ndarray, at_once: int, device: torch.device) -> np.ndarray | None:
    """The fixed vectors (R, H) of rows (R,), in double precision; None without rows or without such vectors."""
    batches = evaluation_batches(split.source_lengths(rows), at_once)
    parts: list[Tensor] = []
    for indices in batches:
        vector = task.fixed_vector(split.batch(rows[indices]).to(device))
        if vector is None:
            return None
        parts.append(vector)
    if not parts:
        return None
    vectors = torch.cat(parts).cpu().double().numpy()
    ordered = np.empty_like(vectors)
    ordered[np.concatenate(batches)] = vectors
    return ordered
