"""Random segmentations into the pieces of a SentencePiece model: subword regularisation and BPE-dropout.

Pieces never cross a space, so each word is drawn by itself, from the given generator alone: sentencepiece's own
sampling hangs on a hidden seed of each thread.
"""

import math
from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

SPACE = "\u2581"
"""How SentencePiece writes a space; each word begins with one."""

NEVER = math.inf
"""The rank of a pair that is not a piece."""

CACHED = 1 << 15
"""Entries of a cache, each of up to about two kilobytes; a full cache starts again from nothing."""


class Segmentations(NamedTuple):
    """What can become of a word, flat because there are many words."""

    ids: "array[int]"
    """All segmentations one after the other."""
    bounds: "array[int]"
    """Where each begins in `ids`, and the end of the last."""
    cumulative: "array[float]"
    """Probability of each together with those before it."""


class Regularisation:
    """Subword regularisation (Kudo 2018, sec. 3): one of a word's n best, in proportion to its probability^alpha."""

    def __init__(self, model: Any, alpha: float, best: int = 64) -> None:
        """model: a unigram SentencePieceProcessor; best: segmentations of a word to draw from."""
        self._model, self._alpha, self._best = model, alpha, best
        self._scores = [model.get_score(piece) for piece in range(len(model))]
        self._cache: dict[str, Segmentations] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._model, self._alpha, self._best)

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        """Ids of one segmentation of the text."""
        words = self._model.normalize(text).split(SPACE)[1:]
        ids: list[int] = []
        for word, draw in zip(words, random.random(len(words)).tolist(), strict=True):
            ways = self._cache.get(word) or self._segmentations(word)
            choice = bisect_right(ways.cumulative, draw)
            ids += ways.ids[ways.bounds[choice] : ways.bounds[choice + 1]]
        return ids

    def _segmentations(self, word: str) -> Segmentations:
        first = self._model.encode(word) if word else [self._model.piece_to_id(SPACE)]
        others = self._model.nbest_encode_as_ids(word, self._best) if word else []
        choices = [first, *(ids for ids in others if ids != first)]
        # Unknown characters would add the same to each score.
        scores = [sum(self._scores[piece] for piece in ids) for ids in choices]
        # What `encode` finds stands first; as good ones ("a aa", "aa a") count a hair less, so a large alpha takes it.
        below = [0.0, *(min(score - scores[0], 0.0) - 1e-6 for score in scores[1:])]
        cumulative = list(accumulate(math.exp(self._alpha * difference) for difference in below))
        segmentations = Segmentations(
            array("i", [piece for ids in choices for piece in ids]),
            array("i", accumulate(map(len, choices), initial=0)),
            array("d", [weight / cumulative[-1] for weight in cumulative]),
        )
        if len(self._cache) >= CACHED:
            self._cache.clear()
        self._cache[word] = segmentations
        return segmentations


class BpeDropout:
    """BPE-dropout (Provilkov et al. 2020, algorithm 1): at each step the best merge that is not skipped is made."""

    def __init__(self, model: Any, dropout: float) -> None:
        """model: a BPE SentencePieceProcessor; dropout: probability that a merge is skipped at a step."""
        self._model, self._dropout = model, dropout
        special = (model.is_unknown, model.is_control, model.is_byte, model.is_unused)
        ids = [piece for piece in range(len(model)) if not any(kind(piece) for kind in special)]
        self._ids = {model.id_to_piece(piece): piece for piece in ids}
        self._ranks = {text: -model.get_score(piece) for text, piece in self._ids.items()}
        self._bytes = [model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]  # all unknown without byte fallback
        self._unknown = model.unk_id()
        self._cache: dict[str, tuple[int, list[int]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._model, self._dropout)

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        """Ids of one segmentation of the text."""
        normal = self._model.normalize(text)
        # How many merges are skipped before one is made; a word takes at most as many draws as it has characters.
        draws = (np.log(1 - random.random(len(normal))) // math.log(self._dropout)).tolist()
        ids: list[int] = []
        start = 0
        for word in normal.split(SPACE)[1:]:
            merges, whole = self._cache.get(word) or self._undisturbed(word)
            skipped = draws[start : start + merges]
            ids += self._number(self._merge(word, draws[start : start + len(word)])) if any(skipped) else whole
            start += len(word)
        return ids

    def _undisturbed(self, word: str) -> tuple[int, list[int]]:
        """How many merges a word takes when none is skipped, and its ids then: most words, so these are kept."""
        pieces = self._merge(word, [0.0] * len(word))
        if len(self._cache) >= CACHED:
            self._cache.clear()
        self._cache[word] = 1 + len(word) - len(pieces), self._number(pieces)
        return self._cache[word]

    def _merge(self, word: str, draws: list[float]) -> list[str]:
        """The word's pieces; draws: the merges skipped at each step, of which there are at most its characters."""
        pieces, rank = [SPACE, *word], self._ranks.get
        ranks = [rank(pair, NEVER) for pair in map(str.__add__, pieces, word)]
        for skipped in draws:
            if skipped >= len(ranks):
                break
            order = sorted(range(len(ranks)), key=ranks.__getitem__) if skipped else [ranks.index(min(ranks))]
            merged = order[int(skipped)]
            if ranks[merged] == NEVER:
                break
            pieces[merged : merged + 2] = [pieces[merged] + pieces[merged + 1]]
            del ranks[merged]
            for pair in range(max(merged - 1, 0), min(merged + 1, len(ranks))):  # the only pairs that change
                ranks[pair] = rank(pieces[pair] + pieces[pair + 1], NEVER)
        return pieces

    def _number(self, pieces: list[str]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            own = [self._ids[piece]] if piece in self._ids else [self._bytes[byte] for byte in piece.encode()]
            if own[0] != self._unknown:
                ids += own
            elif ids[-1:] != own[:1]:  # a run of unknown characters is one id
                ids.append(self._unknown)
        return ids
