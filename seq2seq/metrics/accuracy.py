"""How often labels and whole rows are right: exact match, accuracy, macro- and micro-averaged F1."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric, Prediction, changed
from seq2seq.metrics.labels import check_separator, classes_of, described, in_column, labels_of
from seq2seq.metrics.ratios import F1, MacroAverage, Ratio, by_label, f1

SHOWN = 30
"""Labels of a confusion matrix; rarer ones are pooled."""

OTHER = "other"
"""What the pooled labels are called."""


class ExactMatch(Ratio):
    """Percent of rows equal to their reference, or to one of several, without outer whitespace."""

    name = "exact_match"

    def __init__(self, sets: bool | None = None, separator: str | None = None) -> None:
        """What is compared.

        Args:
            sets: whether a row is a set of labels in no order; null for what the task is about: yes where
                model.multi_label is true.
            separator: between the labels of a set; null for tabs where a reference has any, else whitespace.
        """
        check_separator(separator)
        self.sets, self.separator = sets, separator

    def of_sets(self) -> Metric:
        return changed(self, sets=True) if self.sets is None else self

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): whether it is right, and 1."""
        right = [any(self.same(row._replace(reference=one)) for one in row.references) for row in rows]
        return np.stack([np.array(right, dtype=float), np.ones(len(rows))], axis=1)

    def same(self, row: Prediction) -> bool:
        """Whether a prediction is its reference."""
        if self.sets:
            predicted, reference = map(set, labels_of(row, self.separator))
            return predicted == reference
        return row.prediction.strip() == row.reference.strip()

    def settings(self) -> str:
        return f"{self.name}|sets:yes|{described(self.separator)}" if self.sets else f"{self.name}|strip:yes"


class Accuracy(Ratio):
    """Percent of the labels of all references whose prediction, at the same position, is equal.

    Labels that a prediction lacks are wrong; labels beyond the reference do not count.
    """

    name = "accuracy"

    def __init__(self, column: int | None = None, separator: str | None = None) -> None:
        """What a label is.

        Args:
            column: look only at this column of each label, separated by ￨ and counted from 1; null for whole
                labels.
            separator: between labels; null for tabs where a reference has any, else whitespace.
        """
        if column is not None:
            check_range("column", column, 1)
            self.name = f"accuracy_{column}"
        check_separator(separator)
        self.column, self.separator = column, separator

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): right labels, and labels of the reference."""
        counts = np.zeros((len(rows), 2))
        for index, row in enumerate(rows):
            labels = labels_of(row, self.separator)
            if self.column is not None:
                labels = in_column(labels, self.column, row.id)
            counts[index] = sum(map(str.__eq__, labels.predicted, labels.reference)), len(labels.reference)
        return counts

    def settings(self) -> str:
        return f"accuracy|column:{self.column or 'all'}|{described(self.separator)}"


class MacroF1(MacroAverage):
    """The mean of the F1 of each label that occurs in the references, all labels weighing the same, percent.

    A label that is only ever predicted is not in the mean; its predictions still count against the labels of the
    references.
    """

    name = "macro_f1"
    kinds = 3

    def __init__(self, sets: bool | None = None, separator: str | None = None) -> None:
        """What is compared.

        Args:
            sets: whether a row has any number of labels in no order; else they are compared position by position.
                null for what the task is about: yes where model.multi_label is true.
            separator: between labels; null for tabs where a reference has any, else whitespace.
        """
        check_separator(separator)
        self.sets, self.separator = sets, separator

    def of_sets(self) -> Metric:
        return changed(self, sets=True) if self.sets is None else self

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3 * labels): of each label that occurs in these rows, in order, right, predicted and reference."""
        return self.counts(rows)[1].reshape(len(rows), -1) if rows else np.zeros((0, 0))

    def parts(self, totals: np.ndarray) -> np.ndarray:
        """(..., labels, 3) to the F1 of each label (..., labels); NaN for those that no reference has."""
        return np.where(totals[..., 2] > 0, f1(totals), np.nan)

    def settings(self) -> str:
        return f"{self.name}|labels:reference|sets:{'yes' if self.sets else 'no'}|{described(self.separator)}"

    def counts(self, rows: Sequence[Prediction]) -> tuple[list[str], np.ndarray]:
        """The labels of the rows in order, and right, predicted and reference of each (N, labels, 3)."""
        labelled = [labels_of(row, self.separator) for row in rows]
        names = sorted({label for labels in labelled for side in labels for label in side})
        index_of = {name: index for index, name in enumerate(names)}
        counts = np.zeros((len(rows), len(names), 3))
        for count, (predicted, reference) in zip(counts, labelled, strict=True):
            if self.sets:
                several, wanted = set(predicted), set(reference)
                kinds: Sequence[Iterable[str]] = several & wanted, several, wanted
            else:
                right = [one for one, other in zip(predicted, reference, strict=False) if one == other]
                kinds = right, predicted, reference
            for kind, labels in enumerate(kinds):
                for label in labels:
                    count[index_of[label], kind] += 1
        return names, counts

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """Precision, recall, F1 (percent) and support of each label, and the confusion matrix."""
        names, counts = self.counts(rows)
        details: dict[str, Any] = {"labels": by_label(names, counts.sum(axis=0))}
        if not self.sets:
            details["confusion"] = self.confusion(rows, list(details["labels"]))
        return details

    def confusion(self, rows: Sequence[Prediction], names: Sequence[str]) -> dict[str, Any]:
        """How often each label (row) was predicted as each (column); `names` start with the most frequent.

        Positions that prediction or reference lacks are left out.
        """
        shown = [*names[:SHOWN], OTHER] if len(names) > SHOWN else list(names)
        index_of = {name: min(index, SHOWN) for index, name in enumerate(names)}
        pairs: Counter[tuple[str, str]] = Counter()
        for row in rows:
            predicted, reference = labels_of(row, self.separator)
            pairs.update(zip(reference, predicted, strict=False))
        counts = np.zeros((len(shown), len(shown)), dtype=int)
        for (reference_label, predicted_label), count in pairs.items():
            counts[index_of[reference_label], index_of[predicted_label]] += count
        return {"labels": shown, "counts": counts.tolist()}


class SentenceAccuracy(Ratio):
    """Percent of sentences whose class is right, where it stands before the labels of their tokens."""

    name = "sentence_accuracy"

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 2): whether it is right, and 1."""
        pairs = [classes_of(row) for row in rows]
        for row, pair in zip(rows, pairs, strict=True):
            if not pair.reference:
                raise InputError(f"row {row.id} has no class of the sentence (data.corpus.sentence); drop "
                                 "sentence_accuracy from model.metrics")  # fmt: skip
        right = [pair.predicted == pair.reference for pair in pairs]
        return np.stack([np.array(right, dtype=float), np.ones(len(rows))], axis=1)

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """Precision, recall, F1 and support of each class, and the confusion matrix."""
        whole = []
        for row in rows:
            predicted, reference = ("".join(side) for side in classes_of(row))
            whole.append(row._replace(prediction=predicted, reference=reference))
        return MacroF1(separator="\n").details(whole)  # a class may hold spaces


class MicroF1(F1):
    """F1 over the labels of all rows together, each of which has any number of them in no order, percent.

    With one label in each row it would be the accuracy.
    """

    name = "micro_f1"

    def __init__(self, separator: str | None = None) -> None:
        """separator: between labels; null for tabs where a reference has any, else whitespace."""
        check_separator(separator)
        self.separator = separator

    def statistics(self, rows: Sequence[Prediction]) -> np.ndarray:
        """(N, 3): right, predicted and reference labels."""
        counts = np.zeros((len(rows), 3))
        for index, row in enumerate(rows):
            predicted, reference = map(set, labels_of(row, self.separator))
            counts[index] = len(predicted & reference), len(predicted), len(reference)
        return counts

    def settings(self) -> str:
        return f"{self.name}|sets:yes|{described(self.separator)}"
