"""Checks of the data before training: each looks at what a split holds and returns findings.

`scan` reads the texts once, some thousand rows at a time, and keeps numbers; the checks compare those. Texts are
compared by 64-bit hashes, so that a million rows cost some megabytes.
"""

import math
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.batching.split import tokens_and_labels
from seq2seq.data.checks.classes import rare_classes, twins, unseen_labels
from seq2seq.data.checks.copies import ambiguous, copied, duplicates, filled, near_duplicates, overlap
from seq2seq.data.checks.findings import (
    EXAMPLES,
    SEVERITIES,
    Encoded,
    Finding,
    Scan,
    Severity,
    noted,
    pair_shown,
    pieces,
    rows_with_unknown,
    shown,
    unknown_units,
)
from seq2seq.data.checks.scanning import scan
from seq2seq.data.checks.tag_schemes import scheme_of, spans
from seq2seq.data.checks.text_marks import CAPITALS, DECOMPOSED, EMPTY, LINE_FEED, signs_in
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.units import Labels

LOOKED_AT = 100_000
"""Rows of each split that are looked at before every training."""

RATIO = 9.0
"""A length ratio that is this many times the usual one is odd."""

UNKNOWN = {"source": 0.5, "target": 0.1}
"""A larger share of unknown tokens is an error. Words of a source are often rare names; an unknown target is wrong."""

FEW_STEPS = 400
"""Optimiser steps, below which hardly any network has learnt what it can."""

LONG = 40
"""Characters of the longer side, below which no length ratio is odd."""

# What is wrong inside one split


def empty(split: Scan, row_format: RowFormat) -> list[Finding]:
    """Rows without a source or a target, where that is none: a row may have no label where it may have several."""
    several = row_format.labels and not row_format.aligned and not row_format.single_token_target
    rows = split.marked(EMPTY[0] if several else EMPTY[0] | EMPTY[1])
    return noted(split, "empty", "error", rows, "source or target is empty or only spaces")


def line_feeds(split: Scan) -> list[Finding]:
    """Targets of several lines, as JSON and CSV allow."""
    text = "target of several lines; predictions are one"
    return noted(
        split, "line feed", "note", split.marked(LINE_FEED), text, lambda _, target: shown(target, target.index("\n"))
    )


def odd_lengths(split: Scan) -> list[Finding]:
    """Rows one side of which is far too long for the other; where lengths vary anyway, farther than they usually do."""
    some = filled(split)
    if not some.any():
        return []
    logs = np.diff(np.log(np.maximum(split.lengths, 1)), axis=1)[:, 0]
    usual = np.median(logs[some])
    away = np.abs(logs - usual)
    spread = 1.4826 * float(np.median(away[some]))  # a normal distribution's standard deviation
    odd = (away > max(math.log(RATIO), 5 * spread)) & (split.lengths.max(axis=1) >= LONG)
    rows = np.flatnonzero(odd & some)
    text = f"{RATIO:g}x off the usual target/source length of {math.exp(usual):.2g}"
    return noted(split, "odd length", "warning", rows, text, lambda source, target: f"{len(source)} : {len(target)} "
                 f"characters: {pair_shown(source, target)}")  # fmt: skip


# What is wrong between training and another split


def casing(train: Scan, other: Scan, sides: Iterable[int] = (0, 1)) -> list[Finding]:
    """Capitals where the training text, though of a script that has them, is all lower-case."""
    findings = []
    for side in sides:
        rows = other.marked(CAPITALS[side])
        if len(rows) > 0.01 * len(other.pair) and not len(train.marked(CAPITALS[side])):
            text = f"{Tokenizers._fields[side]} has capitals, but none in train"
            findings += noted(other, "casing", "warning", rows, text)
    return findings


def mixed_forms(train: Scan, other: Scan) -> list[Finding]:
    """Texts in another Unicode form than most of the training text: they look the same and are other words."""
    if not len(train.marked(DECOMPOSED)) and not len(other.marked(DECOMPOSED)):
        return []
    accents = composed(train)
    if len(train.marked(DECOMPOSED)) > len(accents):
        rows, text = composed(other), "composed characters (NFC), but most of train is decomposed"
    else:
        rows, text = other.marked(DECOMPOSED), "decomposed characters, such as e and U+0301 for U+00E9"
    return noted(other, "look-alike", "warning", rows, f"{text}; bring all to NFC", decomposed_shown)


def composed(split: Scan) -> np.ndarray:
    """The rows with characters that could be decomposed."""
    sides = zip(split.texts.source, split.texts.target, strict=True)
    return np.flatnonzero([not unicodedata.is_normalized("NFD", "\n".join(pair)) for pair in sides])


def decomposed_shown(source: str, target: str) -> str:
    """The text around the first character that is not in composed form, or else has an accent."""
    for form in ("NFC", "NFD"):
        for text in (source, target):
            if not unicodedata.is_normalized(form, text):
                other = unicodedata.normalize(form, text)
                at = next((at for at, pair in enumerate(zip(text, other, strict=False)) if len({*pair}) > 1), 0)
                numbers = " ".join(f"U+{ord(sign):04X}" for sign in text[at : at + 2])
                return f"{numbers}  in  {shown(text, at)}"
    return pair_shown(source, target)


# What is wrong after tokenising


def misaligned(encoded: Encoded) -> list[Finding]:
    """Sentences with more or fewer labels than words, or rows with none or several where there is one."""
    row_format, tokenizers = encoded.split.row_format, encoded.tokenizers
    if not row_format.aligned and not row_format.single_token_target:
        return []
    wanted, labels = tokens_and_labels(encoded.split, tokenizers)
    rows = np.flatnonzero(wanted != labels)
    text = "a word without a label or a label without a word"
    if row_format.single_token_target:
        text = "no label, or several, where a row has one"
    examples = [
        encoded.example(row, f"{wanted[row]} words, {labels[row]} labels: "
                f"{pair_shown(encoded.split.texts.source[int(row)], encoded.split.texts.target[int(row)])}")
        for row in rows[:EXAMPLES]
    ]  # fmt: skip
    return noted(encoded, "misaligned", "error", rows, text, examples=examples)


def few_steps(steps: int, warmup: int, rows: int) -> list[Finding]:
    """A training that ends before it has begun."""
    if steps >= FEW_STEPS and 3 * warmup < steps:
        return []
    text = f"the training has {steps:,} optimiser steps, {warmup:,} of them warm-up; raise trainer.max_epochs or lower "
    return [Finding("few steps", "warning", "train", rows, 1.0, f"{text}data.batch_tokens")]


def unknown(encoded: Encoded) -> list[Finding]:
    """What the vocabulary lacks."""
    findings = []
    for side, ids, tokenizer, texts in encoded.sides():
        rows = rows_with_unknown(ids, tokenizer)
        rate = unknown_rate(ids, tokenizer)
        if rate <= 0.01 or isinstance(tokenizer, Labels):
            continue
        examples = [encoded.example(row, lacking(tokenizer, texts[int(row)])) for row in rows[:EXAMPLES]]
        text = f"{rate:.1%} of the {side} tokens are unknown"
        wrong = rate > UNKNOWN[side] and encoded.name != "train"  # a vocabulary may leave rare words out
        severity: Severity = "error" if wrong else "warning"
        findings += noted(encoded, "unknown", severity, rows, text, examples=examples)
    return findings


def lacking(tokenizer: Tokenizer, text: str) -> str:
    """A text after the units of it that a vocabulary lacks, where the tokenizer can name them."""
    units = ", ".join(dict.fromkeys(unknown_units(tokenizer, text)))
    return f"{shown(units, longest=30)}  in  {shown(text)}" if units else shown(text)


def unknown_rate(ids: Ragged, tokenizer: Tokenizer) -> float:
    """The share of unknown ids."""
    total = sum(int(np.count_nonzero(tokenizer.unknown_among(flat))) for _, flat, _ in pieces(ids))
    return total / max(1, int(tokenizer.units(ids).sum()))


def too_long(encoded: Encoded) -> list[Finding]:
    """Rows beyond data.max_length."""
    longest = encoded.split.longest
    if encoded.name == "train":
        over, text = ~encoded.split.fits(), f"longer than data.max_length {longest}: left out"
    else:
        over = encoded.split.whole_lengths() > encoded.split.most
        text = f"source longer than data.max_length {longest}: cut"
    rows = np.flatnonzero(over)
    severity: Severity = "warning" if len(rows) > 0.01 * len(over) else "note"
    examples = [
        encoded.example(row, f"{encoded.split.source.lengths[row]:,} and "
                f"{encoded.split.target.lengths[row]:,} tokens: {shown(encoded.split.texts.source[int(row)])}")
        for row in rows[:EXAMPLES]
    ]  # fmt: skip
    return noted(encoded, "too long", severity, rows, text, examples=examples)


def over_limit(encoded: Encoded, cut: np.ndarray, limit: str) -> list[Finding]:
    """Targets that are longer than predictions may be; cut (rows,) says which, `limit` in words how long that is."""
    rows = np.flatnonzero(cut)
    severity: Severity = "warning" if len(rows) > 0.01 * len(cut) else "note"
    lengths, texts = encoded.split.target.lengths, encoded.split.texts.target
    examples = [encoded.example(row, f"{lengths[row]:,} tokens: {shown(texts[int(row)])}") for row in rows[:EXAMPLES]]
    return noted(
        encoded, "over limit", severity, rows, f"target longer than any prediction ({limit})", examples=examples
    )


# All together


def thorough(encoded: Sequence[Encoded]) -> list[Finding]:
    """Every check of training, validation and test, worst first."""
    row_format = encoded[0].split.row_format
    scans = [scan(each.name, each.split.texts) for each in encoded]
    labels = isinstance(encoded[0].tokenizers.target, Labels)
    vectors = any(tokenizer.width is not None for tokenizer in encoded[0].tokenizers)
    findings = [item for split in scans for item in within(split, row_format)]
    findings += [*twins(encoded), *rare_classes(encoded)]
    scheme = scheme_of(encoded[0])
    for each in encoded:
        for check in (misaligned, unseen_labels, unknown, too_long):
            findings += check(each)
        findings += spans(each, scheme)
    for split in scans:
        findings += copied(split)
        if not labels and not vectors:  # a label is always short, and numbers are not counted in characters
            findings += odd_lengths(split)
        findings += mixed_forms(scans[0], split)
    for other in scans[1:]:
        findings += between(scans[0], other, row_format)
        findings += casing(scans[0], other, (0,) if labels else (0, 1))
        if not row_format.conditions and not vectors:  # windows of a series are all alike
            findings += near_duplicates(scans[0], other)
    return worst_first(findings)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """The findings by severity."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def within(split: Scan, row_format: RowFormat) -> list[Finding]:
    """The quick checks of one split; sources that are conditions are shared by rows, or lacking."""
    findings = [*signs_in(split), *line_feeds(split), *duplicates(split)]
    return findings if row_format.conditions else [*empty(split, row_format), *findings, *ambiguous(split)]


def between(train: Scan, other: Scan, row_format: RowFormat) -> list[Finding]:
    """The quick checks of training and another split."""
    found = [] if row_format.conditions else overlap(train, other)
    if not row_format.fixed_target_length:
        return found
    # Windows of a series come again where it does, and nobody can remove them.
    return [one._replace(severity="warning") if one.severity == "error" else one for one in found]


def cheap(splits: Mapping[str, Texts], row_format: RowFormat) -> list[Finding]:
    """What training looks at first, worst first: the first rows of each split, in a second or two; it never fails."""
    try:
        train, *others = (scan(name, first_rows(texts)) for name, texts in splits.items())
        findings = [item for split in (train, *others) for item in within(split, row_format)]
        findings += [item for other in others for item in between(train, other, row_format)]
    except Exception as problem:  # a check that breaks is no reason not to train
        return [Finding("unchecked", "note", "train", 0, 0, f"not checked: {' '.join(str(problem).split())}")]
    return worst_first(findings)


def first_rows(texts: Texts) -> Texts:
    """The rows that are looked at before every training."""
    if len(texts.source) <= LOOKED_AT:
        return texts
    return texts._replace(source=texts.source[:LOOKED_AT], target=texts.target[:LOOKED_AT])


def two_lines(findings: Sequence[Finding], arguments: Sequence[str]) -> str:
    """The findings for someone who wants to train."""
    counts: dict[str, int] = {}
    if [finding.kind for finding in findings] == ["unchecked"]:
        return f"data: {findings[0].text}"
    for finding in findings:
        counts[finding.kind] = counts.get(finding.kind, 0) + finding.rows
    if not counts:
        return "data: no problems found"
    listed = ", ".join(f"{rows:,} {kind}" for kind, rows in counts.items())
    errors = " (errors among them)" if any(finding.severity == "error" for finding in findings) else ""
    return f"data: rows to look at{errors}: {listed}\nsee all with python -m seq2seq.lint {shlex.join(arguments)}"
