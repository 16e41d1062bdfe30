"""Which rows of a network's parameters belong to which token, feature or label, whatever the vocabulary's order."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn

from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.models.embedding import Embedding
from seq2seq.models.word_embedding import WordEmbedding


class TokenRows(NamedTuple):
    """What the rows of one parameter stand for."""

    names: Sequence[Hashable]
    """Of each row; equal names mean the same in two vocabularies."""
    square: bool = False
    """Whether its columns stand for the same as its rows."""


Tables = Mapping[str, TokenRows]
"""Of parameters by their names in the task."""


def of_embedding(name: str, module: nn.Module | None, tokenizer: Tokenizer) -> dict[str, TokenRows]:
    """The tables of what reads the ids of a tokenizer; `name`: of the module in the task."""
    names = tokenizer.row_names
    if isinstance(module, WordEmbedding):
        words, *others = names[: 1 + len(module.others)]
        found = {"own": words} | {f"others.{index}": units for index, units in enumerate(others)}
        if module.letters is not None:
            found["letters.table"] = names[-1]
    elif isinstance(module, Embedding):
        found = {"": names[0]} | {f"tables.{index}": units for index, units in enumerate(names[1:])}
    else:  # vectors have no rows for tokens
        return {}
    return {".".join(filter(None, (name, inner, "weight"))): TokenRows(units) for inner, units in found.items()}


def of_linear(name: str, names: Sequence[Hashable]) -> dict[str, TokenRows]:
    """Weight and bias of a linear map to one number for each name."""
    return {f"{name}.{part}": TokenRows(names) for part in ("weight", "bias")}


def of_output(name: str, tokenizer: Tokenizer) -> dict[str, TokenRows]:
    """The output over all ids of a tokenizer, whose tokens change fastest and its last feature slowest."""
    tokens, *features = tokenizer.row_names
    if not features:
        return of_linear(name, tokens)
    return of_linear(name, [combined[::-1] for combined in product(*reversed(features), tokens)])


def shared_rows(ours: TokenRows, theirs: TokenRows) -> tuple[list[int], list[int]]:
    """The rows of ours that stand for what a row of theirs stands for, and those of theirs."""
    places = {name: place for place, name in reversed([*enumerate(theirs.names)])}
    pairs = [(place, places[name]) for place, name in enumerate(ours.names) if name in places]
    return [own for own, _ in pairs], [other for _, other in pairs]


def carry(ours: Tensor, theirs: Tensor, rows: tuple[TokenRows, TokenRows]) -> int:
    """Put the rows that two parameters share into ours; how many these are."""
    own, other = shared_rows(*rows)
    if rows[0].square:
        for place, from_where in zip(own, other, strict=True):
            ours[place, own] = theirs[from_where, other]
    else:
        ours[own] = theirs[other]
    return len(own)
