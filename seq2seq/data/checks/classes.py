"""Labels: those that only some splits have, those that are rare, those that look alike."""

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from seq2seq.data.checks.findings import (
    EXAMPLES,
    Encoded,
    Example,
    Finding,
    Severity,
    noted,
    pieces,
    rows_at,
    rows_with_unknown,
    shown,
    unknown_units,
)
from seq2seq.data.checks.text_marks import WITHOUT_WIDTH
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizer
from seq2seq.data.tokenizers.units import Labels

FEW = 5
"""Training rows (or tokens) of a label, below which it is rare."""

WRONG = 0.1
"""A larger share of labels that training lacks is an error: another set of labels, and no rare one of a benchmark."""


def unseen_labels(encoded: Encoded) -> list[Finding]:
    """Labels that cannot be predicted, because training has none of them."""
    tokenizer, ids = encoded.tokenizers.target, encoded.split.target
    if encoded.name == "train" or not isinstance(tokenizer, Labels):
        return []
    rows = rows_with_unknown(ids, tokenizer)
    labels = unseen(encoded)
    count = sum(int(tokenizer.unknown_among(flat).sum()) for _, flat, _ in pieces(ids))
    severity: Severity = "error" if count > WRONG * len(ids.flat) else "warning"
    text = f"{len(labels)} label{'s' * (len(labels) != 1)} never seen in train: {listed(labels)}"
    return noted(encoded, "unseen label", severity, rows, text)


def unseen(encoded: Encoded) -> list[str]:
    """The labels of a split that training lacks."""
    tokenizer = encoded.tokenizers.target
    rows = rows_with_unknown(encoded.split.target, tokenizer)
    return sorted({unit for row in rows for unit in unknown_units(tokenizer, encoded.split.texts.target[int(row)])})


def listed(labels: Sequence[str]) -> str:
    """The first of some labels."""
    return ", ".join(map(visible, labels[:4])) + ", ..." * (len(labels) > 4)


def rare_classes(splits: Sequence[Encoded]) -> list[Finding]:
    """Labels of which training has few, and those that validation or test lacks."""
    tokenizer = splits[0].tokenizers.target
    if not isinstance(tokenizer, Labels):
        return []
    counts = [np.bincount(one.split.target.flat, minlength=len(tokenizer))[SPECIAL:] for one in splits]
    row_format = splits[0].split.row_format
    unit = "tokens" if row_format.aligned else "rows"
    few = np.flatnonzero(counts[0] < FEW)
    severity: Severity = "note" if row_format.aligned else "warning"
    text = f"of {len(few)} label{'s' * (len(few) != 1)} train has fewer than {FEW} {unit}"
    findings = about_labels(splits[0], few, "rare class", severity, text)
    for one, count in zip(splits[1:], counts[1:], strict=True):
        absent = np.flatnonzero(count == 0)
        text = f"{one.name} has none of {len(absent)} label{'s' * (len(absent) != 1)} of train"
        findings += about_labels(splits[0], absent, "missing class", "note", text)
    return findings


def about_labels(train: Encoded, labels: np.ndarray, kind: str, severity: Severity, text: str) -> list[Finding]:
    """A finding about some labels of train, shown where they first are."""
    if not len(labels):
        return []
    names, ids = names_of(train.tokenizers.target), train.split.target
    flat = np.asarray(ids.flat)
    places = np.flatnonzero(np.isin(flat, labels + SPECIAL))
    examples = []
    for label in labels[:EXAMPLES]:
        [row] = rows_at(ids, [np.flatnonzero(flat == label + SPECIAL)[:1]])
        examples.append(train.example(int(row), f"{visible(names[label])}  in  "
                                      f"{shown(train.split.texts.source[int(row)], longest=40)}"))  # fmt: skip
    rows = np.unique(rows_at(ids, [places]))
    return noted(
        train, kind, severity, rows, f"{text}: {listed([names[label] for label in labels])}", examples=examples
    )


def names_of(tokenizer: Tokenizer) -> list[str]:
    """All labels, and classes of sentences, in the order of their ids."""
    return [str(name) for name in tokenizer.row_names[0][SPECIAL:]]


def twins(splits: Sequence[Encoded]) -> list[Finding]:
    """Labels that look alike: an error, unless they differ by case alone."""
    tokenizer = splits[0].tokenizers.target
    if not isinstance(tokenizer, Labels):
        return []
    findings = []
    known: dict[str, list[str]] = {}
    names = names_of(tokenizer)
    for label in names:
        known.setdefault(look(label), []).append(label)
    counts = np.bincount(splits[0].split.target.flat, minlength=len(tokenizer))[SPECIAL:].tolist()
    times = dict(zip(names, counts, strict=True))
    for split in splits:
        labels = names if split.name == "train" else unseen(split)
        pairs = [
            (label, other)
            for label in labels
            for other in known.get(look(label), ())
            if (times.get(label, 0), label) < (times[other], other)
        ]  # the rarer one of both
        for severity, alike in (("error", False), ("warning", True)):
            chosen = {one: other for one, other in pairs if (one.casefold() == other.casefold()) is alike}
            findings += about_twins(split, chosen, "error" if severity == "error" else "warning")
    return findings


def about_twins(split: Encoded, alike: dict[str, str], severity: Severity) -> list[Finding]:
    """A finding about labels, each with the one that it looks like."""
    if not alike:
        return []
    tokenizer: Tokenizer = split.tokenizers.target
    examples: list[Example] = []
    rows = []
    for row, text in enumerate(split.split.texts.target):
        for label in tokenizer.split(text):  # type: ignore[attr-defined]
            if label in alike:
                rows.append(row)
                if len(examples) < EXAMPLES:
                    examples.append(split.example(row, f"{visible(label)} looks like {visible(alike[label])}"))
    text = f"labels that look alike: {listed([*alike])}"
    return noted(split, "look-alike", severity, np.unique(rows), text, examples=examples)


def look(label: str) -> str:
    """What a label looks like, whatever its case."""
    return unicodedata.normalize("NFKC", WITHOUT_WIDTH.sub("", label)).casefold().strip()


def visible(label: str) -> str:
    """A label, with the numbers of its characters where it holds what cannot be told apart by eye."""
    odd = [f"U+{ord(sign):04X}" for sign in suspicious(label)]
    return f"{label} ({' '.join(odd)})" if odd else label


def suspicious(label: str) -> Iterator[str]:
    """The characters of a label that may look like others."""
    for sign in label:
        if unicodedata.combining(sign) or not sign.isprintable() or WITHOUT_WIDTH.match(sign) or (
            ord(sign) > 127 and unicodedata.normalize("NFD", sign) != sign
        ):  # fmt: skip
            yield sign
