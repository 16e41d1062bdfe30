"""Settings of a network and of its search that change nothing, so that nobody builds on them."""

import logging
from collections.abc import Iterator
from dataclasses import fields
from typing import NamedTuple

from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.word_embedding import WordOptions
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription

log = logging.getLogger(__name__)

OF_A_SEARCH = (
    "groups", "max_length_ratio", "max_length", "min_length", "no_repeat_ngram", "temperature", "top_k", "top_p",
)  # fmt: skip
"""Settings of decoding for tasks that write step by step."""

PARTNERS = (
    ("diversity", "groups", 1), ("length_offset", "length_penalty", 0), ("lm_weight", "lm", None),
    ("seed", "temperature", None),
)  # fmt: skip
"""Settings of decoding, the one that each belongs to, and the value with which that one is switched off."""


class Idle(NamedTuple):
    """A setting that is not as usual, and why that changes nothing."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} changes nothing here: {self.reason}; leave it out"


def of_model(task: Task) -> Iterator[Idle]:
    """Those of the network."""
    source, words = task.tokenizers.source, getattr(task, "words", None)
    if isinstance(words, WordOptions) and words != WordOptions() and not isinstance(source, Spelled):
        yield Idle("model.words", f"data.tokenizer is {type(source).__name__}, and only Spelled takes words apart")
    encoder, plain = getattr(task, "encoder", None), source.width is not None or len(source.sizes) == 1
    if plain and isinstance(encoder, EncoderOptions) and encoder.feature_size != EncoderOptions().feature_size:
        yield Idle(
            "model.encoder.feature_size", f"data.tokenizer {type(source).__name__} adds no features to tokens or rows"
        )
    if isinstance(task, Tagging) and task.sentence is None:
        if task.encoder.pooling is not None:
            yield Idle("model.encoder.pooling", "each token gets its own label")
        if task.sentence_weight != 1:
            yield Idle("model.sentence_weight", "the data has no class of the sentence")


def of_decoding(task: Task, own: Decoding) -> Iterator[Idle]:
    """Those of a search."""
    usual = Decoding()
    different = {one.name for one in fields(Decoding) if getattr(own, one.name) != getattr(usual, one.name)}
    if not task.searches and not isinstance(task, Transcription):
        of_search = sorted(different & {*OF_A_SEARCH})
        yield from (Idle(f"decoding.{name}", f"a {type(task).__name__} does not search") for name in of_search)
    for name, partner, off in PARTNERS:
        if name in different and getattr(own, partner) == off:
            yield Idle(f"decoding.{name}", f"decoding.{partner} is {'null' if off is None else off}")


def warn_of_new(task: Task, decoding: Decoding) -> None:
    """Warn of settings that are given for a trained task and change nothing."""
    for one in of_decoding(task, decoding):
        name = one.name.removeprefix("decoding.")
        if getattr(decoding, name) != getattr(task.decoding, name):
            log.warning("%s", one)
