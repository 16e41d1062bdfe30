"""Words that predictions must or must not hold: what decoding.include and decoding.avoid mean for a vocabulary."""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizer
from seq2seq.decoding import lexical
from seq2seq.decoding.beam import Advance
from seq2seq.decoding.constraints import LEAST
from seq2seq.decoding.hypotheses import Hypothesis, S, StepFunction
from seq2seq.errors import InputError
from seq2seq.metrics.scripts import TOKEN_ALONE
from seq2seq.tasks.decoding_options import Decoding


def check(decoding: Decoding, target: Tokenizer, row_format: RowFormat) -> None:
    """Raise InputError for words that cannot be included, or a vocabulary that does not tell what its tokens write."""
    if decoding.include and not row_format.target_ends:
        raise InputError(f"decoding.include is {decoding.include}, but labels belong to tokens; leave it out")
    growing(decoding, target)
    if decoding.avoid:
        try:
            target.written()
        except InputError as problem:
            raise InputError(f"decoding.avoid: {problem}") from problem


def growing(decoding: Decoding, target: Tokenizer) -> Advance | None:
    """What chooses the hypotheses that live on where the usual choice is not asked for."""
    if not decoding.include:
        return None
    ids = target.encode(decoding.include)
    for phrase, own in zip(decoding.include, ids, strict=True):
        if not own or target.unknown_among(torch.tensor(own).numpy()).any():
            raise InputError(f"decoding.include: no training target has all the tokens of {phrase!r}; leave it out")
    return lexical.PhraseBanks(list(dict.fromkeys(map(tuple, ids)))).advance


def avoiding(
    step: StepFunction[S],
    state: S,
    limits: Tensor,
    decoding: Decoding,
    target: Tokenizer,
    bonus: Callable[[S], Tensor] | None,
) -> tuple[StepFunction[Any], lexical.AvoidingState[S], Callable[[lexical.AvoidingState[S]], Tensor] | None]:
    """Step, first state and bonus of a search without the words to avoid; limits (B,)."""
    texts = [automaton(target, phrase, limits.device) for phrase in decoding.avoid or ()]
    watched, first = lexical.avoiding(step, state, len(limits), texts, BOS, EOS)
    return watched, first, None if bonus is None else lambda state: bonus(state.inner)


@lru_cache(maxsize=64)
def automaton(target: Tokenizer, phrase: str, device: torch.device) -> lexical.Spotted:
    """What spots a phrase: whole words of it, so that avoiding `cat` leaves `cats`, where words have blanks between."""
    joined = " ".join(phrase.split())
    parts = target.written()
    parts[EOS] = " "
    if not any(map(is_letter, joined)):
        return lexical.spotted(joined, parts, device)
    before, after = (" " * (is_letter(letter) and not TOKEN_ALONE.match(letter)) for letter in (joined[0], joined[-1]))
    return lexical.spotted(before + plain(joined) + after, [plain(part) for part in parts], device)


def plain(text: str) -> str:
    """A text with a blank for each letter that is no part of a word."""
    return "".join(letter if is_letter(letter) else " " for letter in text)


def is_letter(letter: str) -> bool:
    """Whether a character is part of a word."""
    return letter.isalnum() or unicodedata.category(letter).startswith("M")


REMEDY = "raise decoding.beam_size or decoding.max_length, or drop words"
"""Where predictions are broken."""


def is_broken(hypothesis: Hypothesis, decoding: Decoding) -> bool:
    """Whether a hypothesis had to end without a word to include, or with one to avoid."""
    asked = bool(decoding.include or decoding.avoid)
    return asked and min(hypothesis.token_scores, default=0.0) <= LEAST
