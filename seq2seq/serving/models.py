"""Models as the server asks them: a run in torch; `exported.py` has files of `seq2seq.export`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from seq2seq.api import pairs
from seq2seq.api.answers import Answer
from seq2seq.api.model import Model
from seq2seq.data.batching.split import fitting
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.units import parted
from seq2seq.errors import InputError
from seq2seq.inference import score_texts
from seq2seq.inference.device import tf32
from seq2seq.inference.text_stream import TextStream
from seq2seq.serving.questions import Question
from seq2seq.tasks.base import Task
from seq2seq.tasks.label_stream import LabelStream

Item = tuple[str, ...]
"""A text, or a source and its target."""

Fields = dict[str, Any]
"""What JSON says of something."""

Stream = LabelStream | TextStream


class ServedModel(Protocol):
    """What answers questions; one thread asks it."""

    name: str

    def described(self) -> Fields:
        """What clients may ask of it."""
        ...

    def joins(self, question: Question) -> bool:
        """Whether the answer does not depend on which items are asked about together."""
        ...

    def check(self, question: Question, items: Sequence[Item]) -> None:
        """Raise InputError if nothing can be said of some items."""
        ...

    def answers(self, question: Question, items: Sequence[Item]) -> list[Fields]:
        """What is to be said of each item."""
        ...

    def stream(self) -> Stream:
        """A new stream."""
        ...

    def follow(
        self, stream: Stream, text: str, question: Question, end: bool, tell: Callable[[str, Fields], None]
    ) -> Fields:
        """Continue a stream, telling events as they come; what is to be said at last."""
        ...


class RunModel:
    """A run."""

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model, self.task = name, model, model.task
        self.row_format = fitting(self.task.row_format, self.task.tokenizers)

    @property
    def running(self) -> bool:
        """Whether each text continues the one before it."""
        return bool(self.task.first_state(1))

    @property
    def separator(self) -> str | None:
        """What stands between the tokens of a source that are labelled; None where nothing is labelled."""
        return pairs.separator_of(self.task) if self.row_format.aligned else None

    def described(self) -> Fields:
        task = self.task
        network = task.encoder_decoder
        decoding = self.model.decoding
        return {
            "name": self.name,
            "task": type(task).__name__,
            "reads": "nothing" if task.has_no_source else "numbers" if task.tokenizers.source.width else "text",
            "separator": self.separator,
            "searches": task.searches,
            "predicts_once": task.predicts_once,
            "attention": network is not None and network.decoder.attention is not None,
            "encodes": hasattr(type(task), "fixed_vector") and type(task).fixed_vector is not Task.fixed_vector,
            "streams": self.streams(),
            "running": self.running,
            "carries": self.running or (self.separator is not None and self.streams()),
            "beam_size": decoding.beam_size,
            "temperature": decoding.temperature,
            "labels": list(getattr(task.tokenizers.target, "vocabulary", []))[:200] if self.row_format.labels else [],
        }

    def streams(self) -> bool:
        """Whether a stream can be made."""
        try:
            self.stream()
        except InputError:
            return False
        return True

    def joins(self, question: Question) -> bool:
        drawn = question.draws or self.model.decoding.temperature is not None
        return not self.running and not (question.method == "predict" and drawn)

    def check(self, question: Question, items: Sequence[Item]) -> None:
        for number, item in enumerate(items):
            place = f"sources[{number}]" if question.method == "score" else f"texts[{number}]"
            self.check_text(item[0], place, question.method != "predict")
            if question.method == "score":
                refuse_lines(item[1], f"targets[{number}]")
                checked(self.task.tokenizers.target.check, item[1], f"targets[{number}]")

    def check_text(self, text: str, place: str, filled: bool = False) -> None:
        """Raise InputError for a source that cannot be read whole; filled: whether it may not be empty."""
        refuse_lines(text, place)
        if self.task.has_no_source:
            if text:
                checked(self.task.check, text, place)
            return
        if self.task.is_blank(text):
            if filled:
                raise InputError(f"{place} is empty")
            return
        checked(self.task.check, text, place)
        if self.row_format.aligned or self.row_format.keep_last_steps or len(text.encode()) < self.model.max_length:
            return  # no token has less than a byte
        count = len(self.task.tokenizers.source.encode([text])[0]) + self.row_format.source_end
        if count > self.model.max_length:
            raise InputError(f"{place} has {count:,} tokens, and this model reads {self.model.max_length:,}; cut it")

    def answers(self, question: Question, items: Sequence[Item]) -> list[Fields]:
        if question.method == "encode":
            return [{"vector": one.tolist()} for one in self.model.encode([text for (text,) in items])]
        if question.method == "score":
            return self.scores(items)
        found = self.model.predict([text for (text,) in items], question.n_best, **question.decoding)
        result = [self.predicted(one) for one in found]
        if question.attention:
            for fields, one in zip(result, found, strict=True):
                fields["attention"] = self.attention(one)
        return result

    def scores(self, items: Sequence[Item]) -> list[Fields]:
        """The log-probability of each target."""
        texts = Texts([source for source, _ in items], [target for _, target in items])
        with tf32(False):
            state = self.task.first_state(1)
            found, _ = score_texts.score(self.task, texts, self.model.device, self.model.max_length, state)
        return [
            {
                "log_prob": number(one.log_prob),
                "tokens": one.tokens,
                "token_log_probs": list(map(number, one.log_probs)),
            }
            for one in found
        ]

    def predicted(self, answer: Answer) -> Fields:
        """The predictions for a text."""
        predictions = []
        for one in answer.n_best:
            fields: Fields = {
                "text": one.text,
                "score": number(one.score),
                "token_scores": list(map(number, one.token_scores)),
            }
            if one.quantiles is not None:
                fields["quantiles"] = one.quantiles
            if one.at_limit:
                fields["at_limit"] = True
            predictions.append(fields)
        result: Fields = {"predictions": predictions}
        if self.separator is not None:
            result["tokens"] = tokens_of(answer.source, self.separator)
            separator = getattr(self.task.tokenizers.target, "separator", " ")
            for fields in predictions:
                name, labels = parted(fields["text"])
                fields["labels"] = labels.split(separator)
                fields |= {} if name is None else {"sentence": name}
        return result

    def attention(self, answer: Answer) -> Fields | None:
        """Where the decoder looks as it reads its best prediction."""
        if not answer.n_best:
            return None
        found = self.model.attention([(answer.source, answer.text)])[0]
        weights = [[round(one, 4) for one in row] for row in found.weights.tolist()]
        return {"source": list(found.source), "target": list(found.target), "weights": weights}

    def stream(self) -> Stream:
        if self.row_format.aligned:
            return self.task.label_stream()
        return TextStream(self.task, self.model.device, self.model.max_length)

    def follow(
        self, stream: Stream, text: str, question: Question, end: bool, tell: Callable[[str, Fields], None]
    ) -> Fields:
        if isinstance(stream, LabelStream):
            refuse_lines(text, "text")
            for token in tokens_of(text, stream.separator):
                for one in stream.push(token):
                    tell("label", one._asdict())
            for one in stream.end() if end else ():
                tell("label", one._asdict())
            return {"waiting": len(stream.waiting)}
        self.check_text(text, "text", not self.task.has_no_source)
        decoding = replace(self.model.decoding, **question.decoding)
        with tf32(False):
            best = stream.write(text, decoding, lambda so_far: tell("text", {"text": so_far}))
        scores = list(map(number, best.token_scores))
        return {"text": self.task.text(best), "score": number(best.score), "token_scores": scores}


def checked(check: Callable[[str], None], text: str, place: str) -> None:
    """InputError that names the place of a text that cannot be read."""
    try:
        check(text)
    except InputError as problem:
        raise InputError(f"{place}: {problem}") from problem


def refuse_lines(text: str, place: str) -> None:
    """A text is one line."""
    if (mark := next((one for one in "\n\r\0" if one in text), None)) is not None:
        raise InputError(f"{place} holds {mark!r}, but a text is one line; send several texts, or replace it")


def tokens_of(text: str, separator: str) -> list[str]:
    """The tokens that are labelled."""
    return list(filter(None, text.split(separator))) if separator else list(text)


def number(value: float) -> float | None:
    """A number as JSON has it, which lacks infinity."""
    return float(value) if math.isfinite(value) else None
