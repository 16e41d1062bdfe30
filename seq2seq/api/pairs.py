"""Texts, pairs and sentences as they are given in Python, to batches, and what a network makes of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from seq2seq.analysis.attention_statistics import in_text_order
from seq2seq.analysis.inspection import source_pieces
from seq2seq.api.answers import AttentionMap, TaggedSentence
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import evaluation_batches
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.units import parted
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError
from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.tasks.base import Task

ROWS = 64
"""Rows computed at once."""

T = TypeVar("T")
Pairs = Sequence[tuple[str, str]]


def list_of_texts(texts: Any, method: str) -> list[str]:
    """Texts, or InputError for anything else: a single text would be taken for a list of letters."""
    if isinstance(texts, str) or not hasattr(texts, "__iter__"):
        raise InputError(f'{method} takes a list of texts, not {texts!r:.40}: model.{method}(["..."])')
    given = list(texts)
    for number, text in enumerate(given):
        if not isinstance(text, str):
            raise InputError(f"{method}: texts[{number}] is {text!r:.40}, no text; drop or fill missing values first")
    return given


def list_of_pairs(pairs: Any, method: str) -> list[tuple[str, str]]:
    """Pairs of texts, or InputError for anything else."""
    remedy = f'model.{method}([("source", "target")])'
    if isinstance(pairs, str) or not hasattr(pairs, "__iter__"):
        raise InputError(f"{method} takes a list of pairs of texts, not {pairs!r:.40}: {remedy}")
    given = []
    for number, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputError(f"{method}: pairs[{number}] is {pair!r:.40}, no pair of texts: {remedy}")
        given.append((pair[0], pair[1]))
    return given


def checked(task: Task, text: str, place: str) -> None:
    """InputError that names the place of a text from which nothing can be predicted."""
    try:
        task.check(text)
    except InputError as problem:
        raise InputError(f"{place}: {problem}") from problem


def split_of(task: Task, pairs: Pairs, max_length: int) -> Split:
    """The pairs as rows, sources cut to max_length tokens."""
    texts = Texts([source for source, _ in pairs], [target for _, target in pairs])
    source = Ragged.of(task.tokenizers.source.encode(texts.source))
    target = (
        Ragged.of(task.tokenizers.target.encode(texts.target)) if any(texts.target) else no_targets(task, len(pairs))
    )
    split = Split(texts, source, target, max_length, fitting(task.row_format, task.tokenizers))
    split.warn_of_cuts()
    return split


def no_targets(task: Task, rows: int) -> Ragged:
    """A target without tokens for each row, where nothing but the sources counts."""
    width = task.tokenizers.target.width
    return Ragged(np.zeros((0, *([] if width is None else [width]))), np.zeros(rows + 1, dtype=np.int64))


def by_batch(
    task: Task, pairs: Pairs, max_length: int, device: torch.device, compute: Callable[[Batch], list[T]]
) -> list[T]:
    """What `compute` makes of each pair, in order, computed in batches of like length."""
    if task.has_no_source:
        raise InputError(f"this {type(task).__name__} reads no source")
    split, result = split_of(task, pairs, max_length), dict[int, T]()
    for rows in evaluation_batches(split.source_lengths(), ROWS):
        batch = split.batch(rows).to(device)
        result |= zip(rows.tolist(), compute(batch), strict=True)
    return [result[row] for row in range(len(pairs))]


def network_of(task: Task, method: str) -> EncoderDecoder:
    """The encoder and decoder of a task; InputError where it has none."""
    if task.encoder_decoder is None:
        raise InputError(f"{method} needs an encoder and a decoder, but this run is a {type(task).__name__}")
    return task.encoder_decoder


def token_scores(task: Task, pairs: Pairs, max_length: int, device: torch.device) -> list[list[float]]:
    """The log-probabilities in nats of each target's tokens, its end included."""
    network_of(task, "score")
    return by_batch(task, pairs, max_length, device, lambda batch: task.score_targets(batch, ())[0])


@without_gradients()
def attention(task: Task, pairs: Pairs, max_length: int, device: torch.device) -> list[AttentionMap]:
    """The attention's weights at each step of each target."""
    network = network_of(task, "attention")
    decoder, tokenizers = network.decoder, task.tokenizers
    if decoder.attention is None:
        raise InputError("attention: this run has none (model.attention is null); encode shows its fixed vectors")

    def compute(batch: Batch) -> list[AttentionMap]:
        state = network.encode(batch.source, batch.source_lengths)
        outputs = decoder(batch.target[:, :-1], state)
        weights = decoder.looked_at(outputs, state.source, batch.target[:, 1:])
        if weights is None:
            raise TypeError("a decoder with attention returns its weights")
        if network.encoder.reverse:
            weights = in_text_order(weights, batch.source_lengths)
        maps = []
        for row, steps in enumerate((batch.target_lengths - 1).tolist()):
            source = source_pieces(tokenizers.source, batch, row)
            target = tokenizers.target.pieces(batch.target[row, 1 : 1 + steps].tolist())
            maps.append(AttentionMap(tuple(source), tuple(target), weights[row, :steps, : len(source)].cpu().numpy()))
        return maps

    return by_batch(task, pairs, max_length, device, compute)


def separator_of(task: Task) -> str:
    """What stands between the tokens of a tagger's source; empty between characters."""
    if not task.row_format.aligned:
        raise InputError(f"tag labels tokens, but this run is a {type(task).__name__}; use predict")
    return str(getattr(task.tokenizers.source, "separator", ""))


def list_of_sentences(task: Task, tokens: Any) -> list[tuple[str, ...]]:
    """Sentences as tokens: of several, or of one that is given alone."""
    separator, example = separator_of(task), 'model.tag(["two", "words"])'
    if isinstance(tokens, str) or not hasattr(tokens, "__iter__"):
        raise InputError(f"tag takes a list of tokens, or a list of such lists, not {tokens!r:.40}: {example}")
    given = list(tokens)
    given = [given] if given and isinstance(given[0], str) else given
    for number, sentence in enumerate(given):
        if isinstance(sentence, str) or not all(isinstance(token, str) and token for token in sentence):
            raise InputError(f"tag: sentence {number} is {sentence!r:.40}, no list of tokens with letters: {example}")
        wrong = next((one for one in sentence if (separator and separator in one) or len(one.splitlines()) > 1), None)
        if wrong is not None:
            raise InputError(f"tag: {wrong!r} in sentence {number} holds what stands between tokens; split it first")
    return [tuple(sentence) for sentence in given]


def tagged(task: Task, sentence: tuple[str, ...], best: Hypothesis | None) -> TaggedSentence:
    """The labels of a sentence."""
    if best is None:
        return TaggedSentence(sentence, (), ())
    separator = getattr(task.tokenizers.target, "separator", " ")
    name, text = parted(task.text(best))
    probabilities = [math.exp(score) for score in best.token_scores]
    first = int(name is not None)
    return TaggedSentence(sentence, tuple(text.split(separator)), tuple(probabilities[first:]), name,
                          probabilities[0] if first else None)  # fmt: skip
