"""What a model answers: small typed rows that print well, show as a table in a notebook, and become a data frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

import numpy as np

from seq2seq.decoding.hypotheses import TokenChoice
from seq2seq.errors import InputError

if TYPE_CHECKING:
    import pandas

MOST_SHOWN = 50
"""Rows of a table that a notebook shows; the others are counted."""


class Columned(Protocol):
    """What a table is made of."""

    def columns(self) -> dict[str, Any]:
        """The values by their names."""
        ...


R = TypeVar("R", bound=Columned)


class AnswerTable(Sequence[R], Generic[R]):
    """Rows of one kind, in the order in which they were asked for."""

    def __init__(self, rows: Iterable[R]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> "AnswerTable[R]": ...
    def __getitem__(self, index: int | slice) -> "R | AnswerTable[R]":
        return AnswerTable(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        lines = [str(row) for row in self._rows[:MOST_SHOWN]]
        return "\n".join(lines + more(len(self)))

    def _repr_html_(self) -> str:
        shown = [row.columns() for row in self._rows[:MOST_SHOWN]]
        return html_table(shown) + "".join(f"<p>{escape(line)}</p>" for line in more(len(self)))

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame with a line for each row."""
        try:
            import pandas
        except ImportError:
            raise InputError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        return pandas.DataFrame([row.columns() for row in self._rows])


def more(count: int) -> list[str]:
    """A line about the rows that are not shown."""
    return [f"... and {count - MOST_SHOWN:,} more"] if count > MOST_SHOWN else []


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(shown, value)) if isinstance(value, (tuple, list)) else str(value)


def html_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table; every text in it may come from a stranger."""
    if not rows:
        return "<p>no rows</p>"
    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in rows[0])
    cell = '<td style="text-align:left">'
    lines = ["".join(f"{cell}{escape(shown(value))}</td>" for value in row.values()) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


@dataclass(frozen=True)
class Alternative:
    """One of several predictions for a text."""

    text: str
    score: float
    """What the search ranks by: the sum of the log-probabilities in nats, divided by the length penalty."""
    token_scores: tuple[float, ...]
    """Log-probability of each token in nats, the end included."""
    at_limit: bool | None
    """Whether it is as long as the limit lets it be; None where there is no limit."""
    quantiles: dict[str, str] | None = None
    """The forecast of each quantile, of a task that makes several."""
    tokens: tuple[TokenChoice, ...] = ()
    """Of the best prediction, where alternatives are asked for: its tokens, the end included, each with its probability
    and the most likely ones at its place."""


@dataclass(frozen=True)
class Answer:
    """What is predicted for a text: nothing for an empty one, unless the model reads no source."""

    source: str
    n_best: tuple[Alternative, ...]
    """Best first."""

    @property
    def text(self) -> str:
        """The best prediction."""
        return self.n_best[0].text if self.n_best else ""

    @property
    def score(self) -> float:
        """Of the best prediction; NaN where there is none."""
        return self.n_best[0].score if self.n_best else float("nan")

    def columns(self) -> dict[str, Any]:
        values: dict[str, Any] = {"source": self.source, "prediction": self.text, "score": self.score}
        others = enumerate(self.n_best[1:], 2)
        return values | {name: value for number, one in others for name, value in self._other(number, one)}

    @staticmethod
    def _other(number: int, one: Alternative) -> list[tuple[str, Any]]:
        return [(f"prediction {number}", one.text), (f"score {number}", one.score)]

    def __str__(self) -> str:
        return f"{self.source} -> {self.text} ({self.score:.4g})"


@dataclass(frozen=True)
class PairScore:
    """How likely a target is after a source."""

    source: str
    target: str
    token_scores: tuple[float, ...]
    """Log-probability of each token of the target in nats, the end included."""

    @property
    def log_prob(self) -> float:
        """Of the whole target, in nats."""
        return float(sum(self.token_scores))

    @property
    def perplexity(self) -> float:
        """Of a token."""
        return float(np.exp(-self.log_prob / len(self.token_scores)))

    def columns(self) -> dict[str, Any]:
        values = {"log_prob": self.log_prob, "perplexity": self.perplexity}
        return {"source": self.source, "target": self.target, **values}

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}: {self.log_prob:.4g} nats, perplexity {self.perplexity:.4g}"


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence whose tokens have labels."""

    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    """Of each label."""
    sentence: str | None = None
    """The class of the sentence, by a model that tells one."""
    sentence_probability: float | None = None
    """Of that class."""

    def columns(self) -> dict[str, Any]:
        columns = {"tokens": self.tokens, "labels": self.labels, "probabilities": self.probabilities}
        of_sentence = {"sentence": self.sentence, "sentence_probability": self.sentence_probability}
        return columns | (of_sentence if self.sentence is not None else {})

    def __str__(self) -> str:
        labelled = "  ".join(f"{token}/{label}" for token, label in zip(self.tokens, self.labels, strict=True))
        return labelled if self.sentence is None else f"{self.sentence}: {labelled}"


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Where the decoder looked at each step of a target."""

    source: tuple[str, ...]
    """S tokens of the source, the end included where the model reads one."""
    target: tuple[str, ...]
    """T tokens of the target, the end included."""
    weights: np.ndarray
    """(T, S), each row the attention of one step."""

    def columns(self) -> dict[str, Any]:
        best = tuple(self.source[place] for place in self.weights.argmax(1).tolist())
        return {"source": self.source, "target": self.target, "looks most at": best}

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame (T, S): a row for each token of the target."""
        import pandas

        return pandas.DataFrame(self.weights, index=list(self.target), columns=list(self.source))

    def __str__(self) -> str:
        names = self.columns()
        return "  ".join(f"{token}<-{place}" for token, place in zip(self.target, names["looks most at"], strict=True))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(token)}</th>" for token in self.source)
        lines = []
        for token, row in zip(self.target, self.weights.tolist(), strict=True):
            cells = "".join(f'<td style="background:rgba(31,119,180,{one:.3f})" title="{one:.3f}"></td>' for one in row)
            lines.append(f"<tr><th>{escape(token)}</th>{cells}</tr>")
        return f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
