"""Text to ids and back. PAD, UNK, BOS and EOS are 0 to 3 everywhere."""

import io
import logging
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from seq2seq.errors import InputError
from seq2seq.parts import Part

PAD, UNK, BOS, EOS = range(4)

log = logging.getLogger(__name__)


class Tokenizer(Part):
    """Text to ids and back. Trained on the training split only; its state travels inside the checkpoint."""

    def train(self, texts: Sequence[str]) -> None:
        """Learn the vocabulary."""
        raise TypeError(f"{type(self).__name__} does not say how to train")

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without beginning and end."""
        raise TypeError(f"{type(self).__name__} does not say how to encode")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, on one line."""
        raise TypeError(f"{type(self).__name__} does not say how to decode")

    def __len__(self) -> int:
        """Size of the vocabulary, special tokens included."""
        raise TypeError(f"{type(self).__name__} does not say how large its vocabulary is")

    @property
    def state(self) -> bytes:
        """What `restore` needs."""
        raise TypeError(f"{type(self).__name__} does not say what it has learnt")

    def restore(self, state: bytes) -> None:
        """Be as trained."""
        raise TypeError(f"{type(self).__name__} does not say how to restore")


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; the same object twice when the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer


class SentencePiece(Tokenizer):
    """Subwords learnt from raw text (Kudo and Richardson 2018); the text itself is not normalised."""

    def __init__(self, vocabulary_size: int = 8000, model_type: Literal["unigram", "bpe"] = "unigram") -> None:
        """vocabulary_size: pieces, special tokens included; reduced, with a warning, when the text supports fewer."""
        self.vocabulary_size, self.model_type = vocabulary_size, model_type
        self._model: Any = None

    def train(self, texts: Sequence[str]) -> None:
        from sentencepiece import SentencePieceProcessor

        size, state = self.vocabulary_size, b""
        while not state:
            try:
                state = self._learn(texts, size)
            except RuntimeError as problem:
                supported = re.search(r"value <= (\d+)", str(problem))
                if not supported or int(supported[1]) >= size:
                    raise InputError(f"SentencePiece cannot learn {size} pieces from this text: {problem}") from problem
                size = int(supported[1])
        self._model = SentencePieceProcessor(model_proto=state)
        if len(self) < self.vocabulary_size:
            log.warning(
                "vocabulary reduced from %d to %d pieces: the text supports no more", self.vocabulary_size, len(self)
            )

    def _learn(self, texts: Sequence[str], size: int) -> bytes:
        from sentencepiece import SentencePieceTrainer

        model = io.BytesIO()
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            model_type=self.model_type,
            character_coverage=1.0,
            normalization_rule_name="identity",
            hard_vocab_limit=False,
            num_threads=2,  # the result depends on it, so it does not follow the machine
            minloglevel=2,
            max_sentence_length=1 << 20,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
        )
        return model.getvalue()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._model.encode(list(texts))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._model.decode(list(ids))
        return " ".join(text.splitlines())

    def __len__(self) -> int:
        return int(self._model.get_piece_size())

    @property
    def state(self) -> bytes:
        proto: bytes = self._model.serialized_model_proto()
        return proto

    def restore(self, state: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            self._model = SentencePieceProcessor(model_proto=state)
        except RuntimeError as problem:
            raise InputError(f"the stored SentencePiece model is damaged: {problem}") from problem
