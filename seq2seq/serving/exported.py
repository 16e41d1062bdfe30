"""Exported files as the server asks them, through `seq2seq_runtime`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import seq2seq_runtime
from seq2seq.errors import InputError
from seq2seq.serving.models import Fields, Item, Stream, checked, number, refuse_lines, tokens_of
from seq2seq.serving.questions import Question
from seq2seq_runtime.description import Description
from seq2seq_runtime.problems import FileError, RequestError
from seq2seq_runtime.tokenizers import Vectors

KNOWN = ("beam_size", "seed")
"""The settings of decoding that a file leaves open."""


class FileModel:
    """A file, which predicts and nothing else."""

    def __init__(self, name: str, model: seq2seq_runtime.Model) -> None:
        self.name, self.model = name, model

    @property
    def of(self) -> Description:
        """What the file says of itself."""
        return self.model.description

    @property
    def separator(self) -> str | None:
        """What stands between the tokens of a source that are labelled; None where nothing is labelled."""
        return str(getattr(self.model.source, "separator", "")) if self.of.task == "Tagging" else None

    def described(self) -> Fields:
        labelled, source = self.of.task in ("Tagging", "Classification"), self.model.source
        return {
            "name": self.name,
            "task": self.of.task,
            "reads": "nothing" if source is None else "numbers" if isinstance(source, Vectors) else "text",
            "separator": self.separator,
            "searches": self.model.searches,
            "predicts_once": self.of.multi_label or self.of.outputs == "forecasts" or self.of.task == "Tagging",
            **dict.fromkeys(("attention", "encodes", "streams", "running", "carries"), False),
            "beam_size": self.of.search.beam_size,
            "temperature": self.of.search.temperature,
            "labels": list(getattr(self.model.target, "units", []))[:200] if labelled else [],
        }

    def joins(self, question: Question) -> bool:
        return not self.model.draws

    def check(self, question: Question, items: Sequence[Item]) -> None:
        if question.method != "predict" or question.attention:
            what = "shows no attention" if question.attention else f"does not {question.method}"
            raise InputError(f"a file predicts, and {what}; serve its run for that")
        for name in question.decoding:
            if name not in KNOWN:
                raise InputError(f"{name} is fixed in a file; leave it out, or serve its run")
        checked(lambda _: self.settings(question), "", "settings")
        for place, (text,) in enumerate(items):
            refuse_lines(text, f"texts[{place}]")
            checked(self.check_text, text, f"texts[{place}]")

    def settings(self, question: Question) -> None:
        """Raise InputError for what the file cannot do."""
        given = question.decoding
        try:
            self.model.settings(question.n_best, given.get("beam_size"), given.get("seed"))
        except RequestError as problem:
            raise InputError(str(problem)) from problem

    def check_text(self, text: str) -> None:
        """Raise InputError for a text that cannot be read whole."""
        try:
            self.model.reader.row(text, 0, 0)
        except RequestError as problem:
            raise InputError(str(problem)) from problem
        most, source = self.of.max_length, self.model.source
        if most is None or source is None or self.of.keep_last_steps or len(text.encode()) < most:
            return
        count = text.count("\t") + 1 if isinstance(source, Vectors) else len(source.encode(text)) + self.of.source_end
        if count > most:
            raise InputError(f"it has {count:,} tokens, and this model reads {most:,}; cut it")

    def answers(self, question: Question, items: Sequence[Item]) -> list[Fields]:
        found = self.model.predict([text for (text,) in items], question.n_best, **question.decoding)
        return [self.predicted(one) for one in found]

    def predicted(self, answer: seq2seq_runtime.Answer) -> Fields:
        """The predictions for a text."""
        predictions = []
        for one in answer.n_best:
            scores = list(map(number, one.token_scores))
            fields: Fields = {"text": one.text, "score": number(one.score), "token_scores": scores}
            fields |= {"quantiles": dict(one.quantiles)} if one.quantiles is not None else {}
            fields |= {"at_limit": True} if one.at_limit else {}
            fields |= {"labels": list(one.labels)} if self.separator is not None else {}
            fields |= {} if one.sentence is None else {"sentence": one.sentence}
            predictions.append(fields)
        tokens = {} if self.separator is None else {"tokens": tokens_of(answer.source, self.separator)}
        return {"predictions": predictions, **tokens}

    def stream(self) -> Stream:
        raise InputError("a file predicts whole texts; serve its run for a stream")

    def follow(
        self, stream: Stream, text: str, question: Question, end: bool, tell: Callable[[str, Fields], None]
    ) -> Fields:
        raise InputError("a file has no stream")


def opened(file: Path) -> FileModel:
    """The model of a file."""
    try:
        return FileModel(f"{file.resolve().parent.name}/{file.name}", seq2seq_runtime.load(file))
    except FileError as problem:
        raise InputError(str(problem)) from problem
    except ImportError as problem:
        raise InputError(f"{file} needs {problem.name}: pip install 'recurrent-seq2seq[export]'") from problem
