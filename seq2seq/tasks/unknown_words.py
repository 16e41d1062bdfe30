"""Unknown words of predictions: what a source says where attention looks, or what a dictionary has for it."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from seq2seq.data.batching.batch import Batch
from seq2seq.data.lines import filled_lines
from seq2seq.data.tokenizers.base import BOS, PAD, UNK, Tokenizers
from seq2seq.data.tokenizers.units import Separated
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError
from seq2seq.models.cells import turned
from seq2seq.models.decoder import present
from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.tasks.decoding_options import Decoding


def check(decoding: Decoding, tokenizers: Tokenizers, attends: bool) -> None:
    """Raise InputError where no source word can stand for an unknown one, or the dictionary cannot be read."""
    if not decoding.replace_unknown:
        return
    if not attends:
        raise InputError(
            "decoding.replace_unknown takes the source word that attention looks at, and nothing here attends to a "
            "source; set it to false, or train a translation with model.attention"
        )
    for side, tokenizer in zip(("data.tokenizer", "data.target_tokenizer"), tokenizers, strict=True):
        if not isinstance(tokenizer, Separated):
            raise InputError(
                f"decoding.replace_unknown is for whole words, and {side} is {type(tokenizer).__name__}; set it to "
                "false (for rare words there are SentencePiece on both sides, or decoder.copy)"
            )
    if decoding.avoid or decoding.risk is not None:
        name = "avoid" if decoding.avoid else "risk"
        raise InputError(f"decoding.{name} looks at texts before decoding.replace_unknown fills them in; drop one")
    if decoding.dictionary is not None:
        dictionary(decoding.dictionary)


@lru_cache(maxsize=4)
def dictionary(path: str) -> dict[str, str]:
    """The words of a file with two columns, by a tab or else by blanks; the first line of a word counts."""
    entries: dict[str, str] = {}
    for number, line in enumerate(filled_lines(Path(path)), 1):
        columns = [column.strip() for column in (line.split("\t") if "\t" in line else line.split())]
        if len(columns) != 2 or not all(columns):
            raise InputError(
                f"{path}:{number}: not two columns; decoding.dictionary has a source word and its translation"
            )
        entries.setdefault(*columns)
    return entries


@without_gradients()
def replaced(
    network: EncoderDecoder,
    batch: Batch,
    found: list[list[Hypothesis]],
    decoding: Decoding,
    tokenizers: Tokenizers,
    wait: int | None,
) -> list[list[Hypothesis]]:
    """The hypotheses of a batch, those with unknown words with what stands in their place.

    wait: source tokens that are read before the first target token, None for all.
    """
    result = [list(several) for several in found]
    places = [(row, place) for row, several in enumerate(found) for place, one in enumerate(several)
              if UNK in one.tokens]  # fmt: skip
    for start in range(0, len(places), decoding.at_once):
        some = places[start : start + decoding.at_once]
        hypotheses = [found[row][place] for row, place in some]
        weights = attention(network, batch, [row for row, _ in some], hypotheses, wait)
        for (row, place), one, own in zip(some, hypotheses, weights, strict=True):
            result[row][place] = one._replace(unknowns=chosen(source_words(batch, row, tokenizers), one, own, decoding))
    return result


def attention(
    network: EncoderDecoder, batch: Batch, rows: Sequence[int], hypotheses: Sequence[Hypothesis], wait: int | None
) -> Tensor:
    """(N, T, S), on the CPU: how much each token of hypotheses of rows (N,) looks at each source token."""
    longest = max(len(one.tokens) for one in hypotheses)
    lengths, chosen = batch.source_lengths[list(rows)], torch.tensor(rows, device=batch.source.device)
    tokens = [[BOS, *one.tokens, *[PAD] * (longest - len(one.tokens))] for one in hypotheses]
    read = torch.tensor(tokens, device=chosen.device)
    state = network.encode(batch.source[chosen], lengths)
    state = state._replace(source=state.source._replace(wait=wait))
    outputs = network.decoder(read[:, :-1], state)
    weights = present(network.decoder.looked_at(outputs, state.source, read[:, 1:]))
    if network.encoder.reverse:
        weights = turned(weights.transpose(1, 2), lengths).transpose(1, 2)
    return weights.float().cpu()


def source_words(batch: Batch, row: int, tokenizers: Tokenizers) -> list[str]:
    """The words of a source as the network reads them, unknown ones too."""
    source = tokenizers.source
    if batch.texts is None or not isinstance(source, Separated):
        raise TypeError("the batch holds no texts of whole words")
    return list(source.split(batch.texts[row]))[: int(batch.source_lengths[row]) - source.ends]


def chosen(words: Sequence[str], one: Hypothesis, weights: Tensor, decoding: Decoding) -> list[str]:
    """What stands for each unknown token of a hypothesis; weights (T, S) of its attention."""
    known = {} if decoding.dictionary is None else dictionary(decoding.dictionary)
    looks = weights[:, : len(words)].argmax(-1).tolist() if words else []
    at = [words[looks[time]] if words else Separated.unknown for time, token in enumerate(one.tokens) if token == UNK]
    return [known.get(word, word) for word in at]
