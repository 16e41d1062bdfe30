"""Spans written as labels, B-person I-person O, and the schemes that such labels follow."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.data.checks.findings import EXAMPLES, Encoded, Finding, noted, pieces, rows_at, shown
from seq2seq.data.ragged import Ragged
from seq2seq.data.tokenizers.base import SPECIAL, Tokenizer
from seq2seq.data.tokenizers.units import Labels

SPAN = re.compile("([BIESLU])(?:-(.+))?")
"""A label that begins a span, is inside, or ends it; S and U are whole spans, L ends like E."""

OUTSIDE, BEGIN, INSIDE, END, WHOLE, ANY = range(6)
PREFIXES = {"B": BEGIN, "I": INSIDE, "E": END, "L": END, "S": WHOLE, "U": WHOLE}


class Tags(NamedTuple):
    """What each id of a label vocabulary means for spans."""

    names: Sequence[str]
    prefix: np.ndarray
    """(V,) OUTSIDE, BEGIN, ...; ANY for special ids."""
    kind: np.ndarray
    """(V,) numbers of the types of spans."""


def tags_of(tokenizer: Tokenizer) -> Tags | None:
    """The tags of a vocabulary; None when its labels are not spans."""
    if not isinstance(tokenizer, Labels):
        return None
    names = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    labels = names[SPECIAL : tokenizer.first_class]  # classes of sentences are outside of every span
    matches = [SPAN.fullmatch(name) for name in labels] + [None] * len(tokenizer.classes)
    prefixes = {match[1] for match in matches if match}
    others = {name for name, match in zip(labels, matches, strict=False) if not match}
    if not {"B", "I"} & prefixes or others - {"O"}:
        return None
    kinds: dict[str | None, int] = {}
    prefix = [ANY] * SPECIAL + [PREFIXES[match[1]] if match else OUTSIDE for match in matches]
    kind = [0] * SPECIAL + [kinds.setdefault(match[2] if match else None, len(kinds)) for match in matches]
    return Tags(names, np.array(prefix), np.array(kind))


def breaches(ids: Ragged, tags: Tags, scheme: str) -> np.ndarray:
    """The indices of the flat ids whose label breaks the scheme."""
    wrong = []
    for starts, flat, offset in pieces(ids):
        prefix, kind = tags.prefix[flat], tags.kind[flat]
        first = np.zeros(len(flat) + 1, dtype=bool)
        first[starts] = first[-1] = True
        joined = ~first[1:-1] & (kind[1:] == kind[:-1])  # the same type as the label before
        opened = np.append(False, joined & np.isin(prefix[:-1], (BEGIN, INSIDE)))
        before = np.append(ANY, prefix[:-1])
        before[first[:-1]] = OUTSIDE
        if scheme == "IOB1":
            bad = (prefix == BEGIN) & ~opened & (before != ANY)
        else:
            bad = np.isin(prefix, (INSIDE, END)) & ~opened & (before != ANY)
        if scheme == "BIOES":
            after = np.append(prefix[1:], ANY)
            after[first[1:]] = OUTSIDE
            continues = np.append(joined & np.isin(prefix[1:], (INSIDE, END)), False)
            bad |= np.isin(prefix, (BEGIN, INSIDE)) & ~continues & (after != ANY)
        wrong.append(np.flatnonzero(bad) + offset)
    return np.concatenate(wrong) if wrong else np.empty(0, dtype=np.int64)


def scheme_of(train: Encoded) -> str | None:
    """The scheme that the training labels follow best; None when they are not spans."""
    tags = tags_of(train.tokenizers.target)
    if tags is None:
        return None
    if np.isin(tags.prefix, (END, WHOLE)).any():
        return "BIOES"
    counts = {scheme: len(breaches(train.split.target, tags, scheme)) for scheme in ("IOB2", "IOB1")}
    return min(counts, key=counts.__getitem__)  # the first of equals


def spans(encoded: Encoded, scheme: str | None) -> list[Finding]:
    """Labels that break the scheme; a span score does not expect IOB1."""
    tags = tags_of(encoded.tokenizers.target)
    if tags is None or scheme is None:
        return []
    ids, classes = encoded.split.target, getattr(encoded.tokenizers.target, "classes", ())
    indices = breaches(ids, tags, "IOB2" if scheme == "IOB1" else scheme)
    rows, firsts = np.unique(rows_at(ids, [indices]), return_index=True)
    examples = []
    for row, wrong in zip(rows[:EXAMPLES], indices[firsts], strict=False):
        start, end = ids.starts[row], ids.starts[row + 1]
        near = range(max(start, wrong - 1), min(end, wrong + 2))
        names = " ".join(f"[{tags.names[ids.flat[at]]}]" if at == wrong else tags.names[ids.flat[at]] for at in near)
        words = shown(encoded.split.texts.source[int(row)], longest=40)
        examples.append(encoded.example(row, f"label {wrong - start + 1 - bool(classes)}: {names}  in  {words}"))
    if scheme == "IOB1":
        text = "labels are IOB1, where I- may begin a span"
        return noted(encoded, "bio", "warning", rows, text, examples=examples)
    return noted(encoded, "bio", "error", rows, f"labels break {scheme}, which most of them follow", examples=examples)
