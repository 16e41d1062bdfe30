"""Model: a trained task that answers in Python; neither Lightning nor datasets is imported."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seq2seq.api import one_row, pairs
from seq2seq.api.answers import Alternative, Answer, AnswerTable, AttentionMap, PairScore, TaggedSentence
from seq2seq.data.batching.batch import Batch
from seq2seq.decoding.hypotheses import Hypothesis, without_gradients
from seq2seq.errors import InputError, check_range
from seq2seq.inference import decoding_rows, predict_texts, token_choices
from seq2seq.inference.device import tf32
from seq2seq.inference.precision import lower, lowered
from seq2seq.runs import checkpoint, hub
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


class Model:
    """A trained task that predicts, scores, encodes, and shows where it looks.

    It comes from a checkpoint alone, in which nothing can run code.
    """

    def __init__(self, task: Task, path: Path, max_length: int, precision: str = "fp32") -> None:
        """task: on its device; path: of the checkpoint; max_length: the most tokens of a source; precision: of what
        is predicted, for which the task is ready."""
        self.task, self.path, self.max_length, self.precision = task, path, max_length, precision

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.task.parameters()).device

    @property
    def decoding(self) -> Decoding:
        """How it searches unless a call says otherwise, as the checkpoint has it."""
        return self.task.decoding

    def __repr__(self) -> str:
        counts = self.task.parameter_counts()["total"]
        return f"{type(self.task).__name__} of {self.path}: {counts:,} parameters on {self.device}"

    def predict(
        self, texts: Sequence[str], n_best: int = 1, alternatives: int | None = None, **decoding: Any
    ) -> AnswerTable[Answer]:
        """The best predictions for each text, as `python -m seq2seq.predict` makes them.

        Args:
            texts: sources, or beginnings where the model reads no source.
            n_best: predictions for each.
            alternatives: how many tokens that might stand at the place of each token of the best prediction are told.
            decoding: settings of the search that differ from the checkpoint's, such as `beam_size=10`.
        """
        texts = pairs.list_of_texts(texts, "predict")
        for number, text in enumerate(texts):
            if text and (self.task.has_no_source or not self.task.is_blank(text)):
                pairs.checked(self.task, text, f"texts[{number}]")
        if alternatives is not None:
            token_choices.check(self.task, alternatives, "alternatives")
        found = self._hypotheses(texts, self._decoding(n_best, decoding), alternatives)
        rows = ((text, several[:n_best]) for text, several in zip(texts, found, strict=True))
        return AnswerTable(Answer(text, tuple(map(self._alternative, best))) for text, best in rows)

    def score(self, pairs_of_texts: Sequence[tuple[str, str]]) -> AnswerTable[PairScore]:
        """How likely the second text of each pair is after the first, by a model with an encoder and a decoder."""
        given = pairs.list_of_pairs(pairs_of_texts, "score")
        with tf32(False):
            scores = pairs.token_scores(self.task, given, self.max_length, self.device)
        return AnswerTable(PairScore(*pair, tuple(one)) for pair, one in zip(given, scores, strict=True))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The fixed vector of each text, (N, H): all that a decoder without attention knows of it."""
        texts = pairs.list_of_texts(texts, "encode")

        def vector(batch: Batch) -> list[np.ndarray]:
            found = self.task.fixed_vector(batch)
            if found is None:
                raise InputError(f"encode: a {type(self.task).__name__} compresses no source to a vector")
            return list(found.float().cpu().numpy())

        with tf32(False), without_gradients():
            rows = pairs.by_batch(self.task, [(text, "") for text in texts], self.max_length, self.device, vector)
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def attention(self, pairs_of_texts: Sequence[tuple[str, str]]) -> AnswerTable[AttentionMap]:
        """Where the decoder looks as it reads the second text of each pair after the first."""
        given = pairs.list_of_pairs(pairs_of_texts, "attention")
        with tf32(False):
            return AnswerTable(pairs.attention(self.task, given, self.max_length, self.device))

    def tag(self, tokens: Sequence[str] | Sequence[Sequence[str]]) -> AnswerTable[TaggedSentence]:
        """A label for each token of a sentence, or of each of several sentences."""
        sentences = pairs.list_of_sentences(self.task, tokens)
        separator = pairs.separator_of(self.task)
        found = self._hypotheses([separator.join(one) for one in sentences], self._decoding(1, {}))
        rows = zip(sentences, found, strict=True)
        return AnswerTable(pairs.tagged(self.task, sentence, best[0] if best else None) for sentence, best in rows)

    def _hypotheses(
        self, texts: Sequence[str], decoding: Decoding, alternatives: int | None = None
    ) -> list[list[Hypothesis]]:
        memory = decoding_rows.memory_of(self.device)
        fitting = decoding_rows.chosen(self.task, decoding, memory, self.max_length)
        with tf32(False), lowered(self.task, self.precision):
            found = predict_texts.predict(self.task, texts, fitting, self.device, self.max_length)
            if alternatives is None:
                return found
            own = self.device, self.max_length
            return token_choices.with_choices(self.task, texts, found, fitting, alternatives, *own)

    def _decoding(self, n_best: int, settings: dict[str, Any]) -> Decoding:
        """The checkpoint's search with some settings of this call."""
        known = [field.name for field in fields(Decoding)]
        for name in settings:
            if name not in known:
                raise InputError(f"predict: {name} is no setting of decoding; known: {', '.join(known)}")
        try:
            decoding = replace(self.decoding, **settings)
        except TypeError as problem:
            raise InputError(f"predict: a setting of decoding has the wrong type: {problem}") from problem
        return predict_texts.decoding_for(self.task, decoding, n_best, "n_best", "beam_size")

    def _alternative(self, one: Hypothesis) -> Alternative:
        quantiles = self.task.quantile_texts(one)
        return Alternative(
            self.task.text(one), one.score, tuple(one.token_scores), one.at_limit, quantiles, tuple(one.choices or ())
        )


def load(run: str | Path, device: str = "cpu", precision: str = "fp32") -> Model:
    """The trained model of a run directory, a checkpoint, or an exported folder, here or on the Hub.

    Args:
        run: what `python -m seq2seq.train` has written, or `export --to folder`; or OWNER/NAME or OWNER/NAME@REVISION
            of the Hub, where no folder OWNER is here.
        device: cpu, cuda, cuda:1, mps or auto.
        precision: of predictions: fp32, bf16, or on processors int8.
    """
    path = checkpoint.find(hub.pull(str(run)) if hub.is_name(str(run)) else run)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    where = predict_texts.choose_device(device)
    task.to(where)
    if where.type == "cpu":
        one_row.suit_one_row(task)
    lower(task, precision)
    max_length = checkpoint.data_specification(content, path)["init_args"]["max_length"]
    check_range("data.max_length", max_length, 1)
    return Model(task, path, max_length, precision)
