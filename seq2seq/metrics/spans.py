"""Spans of tokens, such as names, that labels mark: F1 as the conlleval script counts it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.labels import check_separator, described, labels_of
from seq2seq.metrics.ratios import F1, by_label, divided

PREFIXES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S", "O": "O"}
"""What labels begin with: BILOU writes L for E (last) and U for S (a whole span)."""


class Span(NamedTuple):
    """A run of tokens."""

    kind: str
    start: int
    """Its first token."""
    stop: int
    """The token after its last."""


class SpanF1(F1):
    """F1 of spans, each right if its tokens and type are, percent (Tjong Kim Sang and De Meulder 2003).

    Labels are B-person, I-person, O and with them E- and S-, or L- and U-; where a span begins is decided as conlleval
    does, see `spans`, so that ill-formed sequences of labels count too and IOB1, IOB2 and BIOES need no setting.
    """

    name = "span_f1"

    def __init__(self, separator: str | None = None) -> None:
        """separator: between labels; null for tabs where a reference has any, else whitespace."""
        check_separator(separator)
        self.separator = separator

    def spans(self, rows: Sequence[Prediction]) -> list[tuple[set[Span], set[Span]]]:
        """Of each row the spans of the prediction and of the reference."""
        pairs = []
        for row in rows:
            predicted, reference = labels_of(row, self.separator)
            wrong = next((label for label in reference if label.partition("-")[0] not in PREFIXES), None)
            if wrong is not None:
                raise InputError(
                    f"row {row.id}: the label {wrong!r} is not part of a span; span_f1 is for labels such as B-person, "
                    "I-person and O (with E- and S-, or L- and U-): drop it from model.metrics, or set its separator"
                )
            pairs.append((spans(predicted), spans(reference)))
        return pairs

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3): right, predicted and reference spans."""
        counts = [(len(one & other), len(one), len(other)) for one, other in self.spans(rows)]
        return np.array(counts, dtype=float).reshape(len(rows), 3)

    def settings(self) -> str:
        return f"{self.name}|rules:conlleval|{described(self.separator)}"

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """Precision and recall in percent, and the same with F1 and support of each type."""
        pairs = self.spans(rows)
        names = sorted({span.kind for pair in pairs for side in pair for span in side})
        index_of, counts = {name: index for index, name in enumerate(names)}, np.zeros((len(names), 3))
        for predicted, reference in pairs:
            for column, several in enumerate((predicted & reference, predicted, reference)):
                for span in several:
                    counts[index_of[span.kind], column] += 1
        totals = counts.sum(axis=0)
        precision, recall = (100.0 * float(divided(totals[0], totals[index])) for index in (1, 2))
        return {"precision": precision, "recall": recall, "labels": by_label(names, counts)}


def spans(labels: Sequence[str]) -> set[Span]:
    """The spans of a row by the rules of conlleval (Tjong Kim Sang and Buchholz 2000), for which nothing is ill-formed.

    I or E continue the span of the label before if that is B or I and has the same type; whatever else is not O begins
    a span. The script itself does not know S, and joins E with a B of the same type that follows; like its usual
    extensions (seqeval), here E and S always end a span. A label without any known prefix is outside, like O.
    """
    result: set[Span] = set()
    before, kind, start = "O", "", 0
    for index, label in enumerate((*labels, "O")):
        first, _, current = label.partition("-")
        prefix = PREFIXES.get(first, "O")
        if prefix in "IE" and before in "BI" and current == kind:
            before = prefix
            continue
        if before != "O":
            result.add(Span(kind, start, index))
        before, kind, start = prefix, current, index
    return result
