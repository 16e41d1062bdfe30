"""Subwords by SentencePiece."""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from seq2seq.data.tokenizers.base import (
    BOS,
    EOS,
    MARKS,
    PAD,
    SPECIAL,
    UNK,
    Tokenizer,
    damaged,
    log,
    no_text,
    one_line,
)
from seq2seq.data.tokenizers.subword_sampling import BpeDropout, Regularisation
from seq2seq.errors import InputError, check_range

LEARNT_FROM = 200_000
"""Texts that suffice to learn subwords."""

LONGEST = 1 << 18
"""Characters of a text that are learnt from together: the library drops those of more than a megabyte."""

MOST = 0.9995
"""Share of the characters that have a piece of their own where not all of them can."""

FEW = 32
"""Texts that are encoded one by one: for a list the library starts threads at each call, which takes as long as 100."""

BLANK = "\u2581"
"""What the library writes for a blank."""

ESCAPE = "\uf8f0"
"""What stands before a private letter that is part of a text."""

HIDDEN = {"\u2581": "\uf8f1", "\u2585": "\uf8f2", "\x00": "\uf8f3"}
"""Letters that the library drops, or takes for a space, and the private ones that it gets instead."""

NAMES = {PAD: "\uf8f4", UNK: "\uf8f5", BOS: "\uf8f6", EOS: "\uf8f7"}
"""The names of special tokens in the library, which cuts them out of texts: no escaped text holds these letters."""

RESERVED = re.compile("[\u2581\u2585\x00\uf8f0-\uf8f7]")
WRITTEN = re.compile("\uf8f0([\uf8f8-\uf8ff])|([\uf8f1-\uf8f3])")
SHOWN = {letter: other for other, letter in HIDDEN.items()}


def escaped(text: str) -> str:
    """A text without letters that mean something to the library."""
    if RESERVED.search(text) is None:
        return text
    return RESERVED.sub(lambda match: HIDDEN.get(match[0]) or ESCAPE + chr(ord(match[0]) + 8), text)


def unescaped(text: str) -> str:
    """The text again."""
    return WRITTEN.sub(lambda match: chr(ord(match[1]) - 8) if match[1] else SHOWN[match[2]], text)


FEWEST_PIECES, SMALL, MOST_PIECES = 256, 2000, 8000
"""Pieces of a vocabulary whose size follows from the text: of the shortest, of short ones, of long ones."""

RARE = 30
"""Characters of a short text for each piece: of 60,000 characters (1,000 captions) 2,000 pieces gave a development BLEU
of 15.8, the 300 of one for each 200 characters 12.4, both with R-Drop."""

OCCURRENCES = 200
"""Characters of the text for each piece: a piece of four or five letters then occurs some forty times. Sennrich and
Zhang 2019 (sec. 4) find 2,000 pieces best for 100,000 words, Gowda and May 2020 that pieces should be frequent."""


def fitting_size(texts: Sequence[str]) -> int:
    """How many pieces suit a text: one for each 200 characters, of short texts for each 30 until there are 2,000; at
    least 256 and twice the different characters, at most 8,000 unless the latter are more."""
    letters, length = set().union(*texts), sum(map(len, texts))
    enough = max(min(SMALL, length // RARE), min(MOST_PIECES, length // OCCURRENCES))
    return max(FEWEST_PIECES, 2 * len(letters) + SPECIAL, enough)


def spread(texts: Iterable[str], enough: int) -> list[str]:
    """All texts or, of more than twice `enough`, every second, fourth, eighth ... so that `enough` are left."""
    chosen: list[str] = []
    stride = 1
    for number, text in enumerate(texts):
        if number % stride == 0:
            chosen.append(text)
        if len(chosen) > 2 * enough:
            chosen, stride = chosen[::2], 2 * stride
    return chosen


class SentencePiece(Tokenizer):
    """Subwords learnt from raw text (Kudo and Richardson 2018); the text itself is not normalised.

    Every text on one line whose characters occur in the training text, or any with `byte_fallback`, comes back from
    its ids as it was: with runs of blanks, outer blanks, and whatever looks like a special symbol. (Models of older
    checkpoints squeeze blanks, as they were trained to.)

    Of a large corpus 200,000 to 400,000 texts, evenly spread, are learnt from: more change little and take minutes.
    """

    def __init__(
        self,
        vocabulary_size: int | None = None,
        model_type: Literal["unigram", "bpe"] = "unigram",
        byte_fallback: bool = False,
        sampling: float | None = None,
    ) -> None:
        """How the subwords are learnt.

        Args:
            vocabulary_size: pieces, special tokens included; reduced, with a warning, when the text supports fewer;
                null for one for each 200 characters of the text, of short texts for each 30 until there are 2,000: at
                least 256 and twice its different characters, at most 8,000 unless the latter are more, and 256 besides
                with byte_fallback.
            model_type: how pieces are found: the most probable (unigram) or the most frequent pairs (bpe).
            byte_fallback: write characters never seen as bytes, 256 pieces more, instead of as unknown.
            sampling: train on random segmentations, for unigram drawn with probability^sampling (Kudo 2018, sec. 3,
                takes 0.1 to 0.5), for bpe each merge is skipped with this probability (Provilkov et al. 2020 take 0.1).
        """
        check_range(
            "data.tokenizer.vocabulary_size", MOST_PIECES if vocabulary_size is None else vocabulary_size, SPECIAL + 1
        )
        if byte_fallback and vocabulary_size is not None and vocabulary_size <= SPECIAL + 256:
            raise InputError(
                f"data.tokenizer.vocabulary_size is {vocabulary_size}; with byte_fallback it must exceed 260, "
                "the 256 bytes and 4 special tokens"
            )
        if sampling is not None:
            check_range("data.tokenizer.sampling", sampling, 0, 1 if model_type == "bpe" else float("inf"))
        if sampling == 0:
            raise InputError("data.tokenizer.sampling is 0; leave it out (null) to always segment in the same way")
        self.vocabulary_size, self.model_type = vocabulary_size, model_type
        self.byte_fallback, self.sampling = byte_fallback, sampling
        self._model: Any = None
        self._whole = True
        """Whether the model keeps every text whole, as those of older checkpoints do not."""
        self._sampler: BpeDropout | Regularisation | None = None

    def train(self, texts: Iterable[str]) -> None:
        texts = spread(texts, LEARNT_FROM)
        if not any(text.strip(" ") for text in texts):
            raise no_text()
        texts = [escaped(text[start : start + LONGEST]) for text in texts for start in range(0, len(text), LONGEST)]
        size = self.vocabulary_size or fitting_size(texts) + 256 * self.byte_fallback
        state, coverage = b"", 1.0
        while not state:
            try:
                state = self._learn(texts, size, coverage)
            except RuntimeError as problem:
                supported = re.search(r"value <= (\d+)", str(problem))
                if supported and int(supported[1]) < size:
                    size = int(supported[1])
                elif self.byte_fallback and coverage == 1 and "required_chars" in str(problem):
                    coverage = MOST  # the rarest characters are written as bytes
                else:
                    raise self._refusal(str(problem), size) from problem
        self.restore(state)
        if self.vocabulary_size is not None and len(self) < self.vocabulary_size:
            log.warning(
                "vocabulary reduced from %d to %d pieces: the text supports no more", self.vocabulary_size, len(self)
            )

    def _refusal(self, problem: str, size: int) -> InputError:
        """What the library says, in words of this project."""
        needed = re.search(r"required_chars\. \d+ vs (\d+)", problem)
        if needed is None:
            reason = re.sub(r"^\w+: |\S+\.cc\(\d+\) |\[.*?\] ", "", " ".join(problem.split()))
            return InputError(f"SentencePiece cannot learn {size} pieces from this text: {reason}")
        others = "" if self.byte_fallback else ", set data.tokenizer.byte_fallback: true for the rare ones"
        return InputError(
            f"data.tokenizer.vocabulary_size is {size}, but the training text has so many different characters that "
            f"{needed[1]} are needed; raise it above {needed[1]}{others}, or choose Characters"
        )

    def _learn(self, texts: Sequence[str], size: int, coverage: float) -> bytes:
        from sentencepiece import SentencePieceTrainer

        model = io.BytesIO()
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            model_type=self.model_type,
            byte_fallback=self.byte_fallback,
            character_coverage=coverage,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            hard_vocab_limit=False,
            num_threads=2,  # the result depends on it, so it does not follow the machine
            minloglevel=2,
            max_sentence_length=4 * 2 * LONGEST,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            pad_piece=NAMES[PAD],
            unk_piece=NAMES[UNK],
            bos_piece=NAMES[BOS],
            eos_piece=NAMES[EOS],
        )
        return model.getvalue()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        given = [self._given(text) for text in texts]
        if len(given) <= FEW:
            return [self._model.encode(text) for text in given]
        ids: list[list[int]] = self._model.encode(given)
        return ids

    def _given(self, text: str) -> str:
        """A text as the library gets it."""
        return escaped(text) if self._whole else text

    def decode(self, ids: Sequence[int]) -> str:
        text = self._model.decode(list(ids))
        return one_line(unescaped(text) if self._whole else text)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each piece, with ▁ where a word begins."""
        pieces: list[str] = self._model.id_to_piece(list(ids))
        if not self._whole:
            return pieces
        names = {**MARKS, UNK: "<unk>"}
        return [names.get(number) or unescaped(piece) for number, piece in zip(ids, pieces, strict=True)]

    def written(self) -> list[str]:
        pieces = self._model.id_to_piece(list(range(len(self))))
        return [*[""] * SPECIAL, *(unescaped(piece.replace("▁", " ")) for piece in pieces[SPECIAL:])]

    @property
    def boundary(self) -> str:
        """A blank, where every merge stays within a word: the best unigrams of a word depend on its neighbours' sums,
        whose rounding decides between those that are almost as good."""
        pieces: list[str] = self._model.id_to_piece(list(range(len(self))))
        if self.model_type != "bpe" or not self._whole:
            raise InputError(
                f"--stream reads word by word, and SentencePiece with model_type {self.model_type} segments a whole "
                "source; train with model_type bpe"
            )
        if BLANK not in pieces or any(BLANK in piece[1:] for piece in pieces):
            raise InputError(
                "--stream reads word by word, and pieces of this SentencePiece model reach across blanks, or none is a "
                "blank; train with more text, or with Words"
            )
        return " "

    def encode_part(self, part: str) -> list[int]:
        return self.encode([part])[0] if part else [self._model.piece_to_id(BLANK)]

    def settled(self, text: str) -> str:
        return text.rstrip(f"\ufffd{ESCAPE}")  # bytes of a character, and the first of two letters that stand for one

    @property
    def samples(self) -> bool:
        return self.sampling is not None

    def sample(self, text: str, random: np.random.Generator) -> list[int]:
        return self._sampler.sample(self._given(text), random) if self._sampler else super().sample(text, random)

    def __len__(self) -> int:
        return int(self._model.get_piece_size())

    @property
    def state(self) -> bytes:
        proto: bytes = self._model.serialized_model_proto()
        return proto

    def restore(self, state: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        if not state:
            raise damaged(self, "it is empty")
        try:
            self._model = SentencePieceProcessor(model_proto=state)
        except RuntimeError as problem:
            raise damaged(self, problem) from problem
        if len(self) <= SPECIAL:
            raise damaged(self, f"it has {len(self)} pieces")
        self._whole = self._model.id_to_piece(UNK) == NAMES[UNK]
        if self.sampling is not None:
            kind = BpeDropout if self.model_type == "bpe" else Regularisation
            self._sampler = kind(self._model, self.sampling)
