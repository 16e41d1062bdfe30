"""Checks of the data before training: each looks at what a split holds and returns findings.

`scan` reads the texts once, some thousand rows at a time, and keeps numbers; the checks compare those. Texts are
compared by 64-bit hashes, so that a million rows cost some megabytes.
"""

import math
import re
import shlex
from collections.abc import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from seq2seq.data.checks.findings import (
    EXAMPLES,
    SEVERITIES,
    Encoded,
    Finding,
    Scan,
    Severity,
    around,
    examples_of,
    noted,
    pair_shown,
    pieces,
    rows_with_unknown,
    shown,
)
from seq2seq.data.checks.tag_schemes import scheme_of, spans
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import UNK, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.units import Labels, Listed

LOOKED_AT = 100_000
"""Rows of each split that are looked at before every training."""

CHUNK = 5_000
"""Rows read at once; few, because some texts are long."""

RATIO = 9.0
"""A length ratio that is this many times the usual one is odd."""

UNKNOWN = {"source": 0.5, "target": 0.1}
"""A larger share of unknown tokens is an error. Words of a source are often rare names; an unknown target is wrong."""

LONG = 40
"""Characters of the longer side, below which no length ratio is odd."""

EMPTY, BREAK, DAMAGED, MOJIBAKE, LINE_FEED, CAPITALS = 1, 2, 4, 8, 16, (32, 64)
"""Marks of a row, one bit each; the last is one for each side."""

INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff\xad"
"""Spaces of any width."""

BREAKS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What Python and many editors, but not this project, take for the end of a line."""

BREAK_PATTERN = re.compile(f"[{BREAKS}]")
DAMAGE_PATTERN = re.compile("\ufffd")

FOLLOWS = "\x80-\xaa\xac-\xba\xbc-\xbf€‚ƒ„†‡ˆ‰Š‹ŒŽ•–˜™š›œžŸ"
"""What a continuation byte of UTF-8 looks like in Latin-1 or Windows-1252, less what may stand after a capital."""

MOJIBAKE_PATTERN = re.compile(
    "[ÃÂâÎÏÐÑ\xe3-\xe9]"  # one set at the beginning, which the search skips to fast
    f"(?:(?<=Ã)[{FOLLOWS}]|(?<=Â)[\x80-\xbf]|(?<=â)€|(?<=[ÎÏÐÑ])[{FOLLOWS}][ÎÏÐÑ][{FOLLOWS}]"
    f"|(?<=[\xe3-\xe9])[{FOLLOWS}]{{2}}[\xe3-\xe9][{FOLLOWS}]{{2}})"
)
"""UTF-8 that was read as Latin-1: accents, quotation marks, and at least two letters of Greek, Cyrillic, CJK."""

SEARCHED = {
    BREAK: (BREAKS, BREAK_PATTERN),
    DAMAGED: ("\ufffd", DAMAGE_PATTERN),
    MOJIBAKE: ("ÃÂâÎÏÐÑ\xe3\xe4\xe5\xe6\xe7\xe8\xe9", MOJIBAKE_PATTERN),
}
"""Marks that a pattern finds, and the characters without any of which it need not be tried."""


def scan(name: str, texts: Texts) -> Scan:
    """Read a split once."""
    rows = len(texts.source)
    hashes, lengths = np.empty((2, rows), dtype=np.uint64), np.empty((rows, 2), dtype=np.int32)
    marks = np.zeros(rows, dtype=np.uint8)
    with tqdm(total=rows, desc=f"reading {name}", unit="row", leave=False, disable=None, delay=1) as bar:
        for start in range(0, rows, CHUNK):
            part = slice(start, start + CHUNK)
            for side, column in enumerate((texts.source, texts.target)):
                chunk = column[part]
                hashes[side, part] = np.fromiter(map(hash, chunk), dtype=np.int64, count=len(chunk)).view(np.uint64)
                lengths[part, side] = np.fromiter(map(len, chunk), dtype=np.int32, count=len(chunk))
                marks[part] |= marks_of(chunk, lengths[part, side], side)
            bar.update(len(chunk))
    pair = hashes[0] * np.uint64(0x9E3779B97F4A7C15) + hashes[1]  # modulo 2^64
    return Scan(name, texts, hashes[0], hashes[1], pair, lengths, marks)


def marks_of(chunk: Sequence[str], lengths: np.ndarray, side: int) -> np.ndarray:
    """The marks of some texts of one side, of which `lengths` says how many characters they have."""
    marks = np.zeros(len(chunk), dtype=np.uint8)
    for row, text in enumerate(chunk):
        if not text.strip(INVISIBLE):
            marks[row] |= EMPTY
        if text != text.lower():
            marks[row] |= CAPITALS[side]
    joined = "\n".join(chunk)
    if side == 1 and joined.count("\n") >= len(chunk):
        marks[[row for row, text in enumerate(chunk) if "\n" in text]] |= LINE_FEED
    ends = np.cumsum(lengths.astype(np.int64) + 1)
    for mark, (signs, pattern) in SEARCHED.items():
        if any(sign in joined for sign in signs):
            matches = [match.start() for match in pattern.finditer(joined)]
            marks[np.searchsorted(ends, matches, side="right")] |= mark
    return marks


# What is wrong inside one split


def empty(split: Scan) -> list[Finding]:
    """Rows without a source or a target."""
    return noted(split, "empty", "error", split.marked(EMPTY), "source or target is empty or only spaces")


def hidden_breaks(split: Scan) -> list[Finding]:
    """Characters that other programs take for line ends, so that they count more lines than there are rows."""
    text = "a line break other than \\n in a text"
    return noted(split, "hidden break", "warning", split.marked(BREAK), text, around(BREAK_PATTERN))


def line_feeds(split: Scan) -> list[Finding]:
    """Targets of several lines, as JSON and CSV allow."""
    text = "target of several lines; predictions are one"
    return noted(
        split, "line feed", "note", split.marked(LINE_FEED), text, lambda _, target: shown(target, target.index("\n"))
    )


def damaged(split: Scan) -> list[Finding]:
    """Text that went through the wrong encoding."""
    lost = "U+FFFD, the mark of characters lost earlier"
    misread = "UTF-8 read as Latin-1, such as Ã¤ for ä"
    return [
        *noted(split, "damaged", "error", split.marked(DAMAGED), lost, around(DAMAGE_PATTERN)),
        *noted(split, "mojibake", "warning", split.marked(MOJIBAKE), misread, around(MOJIBAKE_PATTERN)),
    ]


def copied(split: Scan) -> list[Finding]:
    """Targets that repeat the source."""
    rows = np.flatnonzero((split.source == split.target) & (split.marks & EMPTY == 0))
    severity: Severity = "warning" if len(rows) > 0.01 * len(split.pair) else "note"
    return noted(split, "copied", severity, rows, "target is the same as its source")


def odd_lengths(split: Scan) -> list[Finding]:
    """Rows one side of which is far too long for the other; where lengths vary anyway, farther than they usually do."""
    filled = split.marks & EMPTY == 0
    if not filled.any():
        return []
    logs = np.diff(np.log(np.maximum(split.lengths, 1)), axis=1)[:, 0]
    usual = np.median(logs[filled])
    away = np.abs(logs - usual)
    spread = 1.4826 * float(np.median(away[filled]))  # a normal distribution's standard deviation
    odd = (away > max(math.log(RATIO), 5 * spread)) & (split.lengths.max(axis=1) >= LONG)
    rows = np.flatnonzero(odd & filled)
    text = f"{RATIO:g}x off the usual target/source length of {math.exp(usual):.2g}"
    return noted(split, "odd length", "warning", rows, text, lambda source, target: f"{len(source)} : {len(target)} "
                 f"characters: {pair_shown(source, target)}")  # fmt: skip


def duplicates(split: Scan) -> list[Finding]:
    """Rows that repeat an earlier one."""
    order, same = repeated(split.pair)
    rows = np.sort(order[1:][same])
    examples = [
        example._replace(like=split.texts.location(first_with(split.pair, split.pair[row])))
        for row, example in zip(rows, examples_of(split.texts, rows), strict=False)
    ]
    return noted(split, "duplicate", "note", rows, "same source and target as an earlier row", examples=examples)


def ambiguous(split: Scan) -> list[Finding]:
    """Sources with several targets."""
    _, firsts = np.unique(split.pair, return_index=True)
    order, same = repeated(split.source[firsts])
    several = np.zeros(len(order), dtype=bool)
    several[1:] |= same
    several[:-1] |= same
    rows = np.sort(firsts[order[several]])
    _, heads, groups = np.unique(split.source[rows], return_index=True, return_inverse=True)
    rows = rows[np.argsort(heads[groups], kind="stable")]  # rows with the same source follow one another
    return noted(split, "ambiguous", "note", rows, "same source as another row, another target")


def repeated(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of hashes, and whether each but the first equals the one before it in that order."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    return order, ordered[1:] == ordered[:-1]


def first_with(hashes: np.ndarray, wanted: np.uint64) -> int:
    """The first row with a hash."""
    return int(np.argmax(hashes == wanted))


# What is wrong between training and another split


def overlap(train: Scan, other: Scan) -> list[Finding]:
    """Rows of another split that training has seen: an error when they are a hundredth of its text.

    Not of its rows, for "Thank you." is in every split of many corpora.
    """
    filled = other.marks & EMPTY == 0
    seen = np.isin(other.pair, train.pair) & filled
    half = np.isin(other.source, train.source) & filled & ~seen
    severity: Severity = "error" if other.lengths[seen].sum() > 0.01 * other.lengths.sum() else "warning"
    findings = []
    for kind, level, these, ours, text in (
        ("overlap", severity, seen, "pair", "source and target also in train"),
        ("known source", "warning", half, "source", "source also in train, with another target"),
    ):
        hashes, known = (getattr(split, ours) for split in (other, train))
        rows = np.flatnonzero(these)
        examples = [
            example._replace(like=train.texts.location(first_with(known, hashes[row])))
            for row, example in zip(rows, examples_of(other.texts, rows), strict=False)
        ]
        findings += noted(other, kind, level, rows, text, examples=examples)
    return findings


def casing(train: Scan, other: Scan, sides: Iterable[int] = (0, 1)) -> list[Finding]:
    """Capitals where the training text, though of a script that has them, is all lower-case."""
    findings = []
    for side in sides:
        rows = other.marked(CAPITALS[side])
        if len(rows) > 0.01 * len(other.pair) and not len(train.marked(CAPITALS[side])):
            text = f"{Tokenizers._fields[side]} has capitals, but none in train"
            findings += noted(other, "casing", "warning", rows, text)
    return findings


# What is wrong after tokenising


def misaligned(encoded: Encoded) -> list[Finding]:
    """Sentences with more or fewer labels than words."""
    tokenizers, lengths = encoded.tokenizers, encoded.split.target.lengths
    separators = [getattr(tokenizer, "separator", None) for tokenizer in tokenizers]
    if not isinstance(tokenizers.target, Labels) or separators[0] != separators[1] or lengths.max(initial=0) <= 1:
        return []  # one label a row is a class, not a tag of each word
    rows = np.flatnonzero(encoded.split.source.lengths != lengths)
    text = "a word without a label or a label without a word"
    return noted(encoded, "misaligned", "error", rows, text, lambda source, target: (
        f"{sum(map(bool, source.split(separators[0])))} words, "
        f"{sum(map(bool, target.split(separators[0])))} labels: {pair_shown(source, target)}"
    ))  # fmt: skip


def unseen_labels(encoded: Encoded) -> list[Finding]:
    """Labels that cannot be predicted, because training has none of them."""
    tokenizer = encoded.tokenizers.target
    if encoded.name == "train" or not isinstance(tokenizer, Labels):
        return []
    rows = rows_with_unknown(encoded.split.target, tokenizer)
    labels = sorted({unit for row in rows for unit in unknown_units(tokenizer, encoded.split.texts.target[int(row)])})
    named = ", ".join(labels[:4]) + ", ..." * (len(labels) > 4)
    text = f"{len(labels)} label{'s' * (len(labels) != 1)} never seen in train: {named}"
    return noted(encoded, "unseen label", "error", rows, text)


def unknown(encoded: Encoded) -> list[Finding]:
    """What the vocabulary lacks."""
    findings = []
    for side, ids, tokenizer, texts in encoded.sides():
        rows = rows_with_unknown(ids, tokenizer)
        rate = unknown_rate(ids, tokenizer)
        if encoded.name == "train" or rate <= 0.01 or isinstance(tokenizer, Labels):
            continue
        examples = [encoded.example(row, lacking(tokenizer, texts[int(row)])) for row in rows[:EXAMPLES]]
        text = f"{rate:.1%} of the {side} tokens are unknown"
        severity: Severity = "error" if rate > UNKNOWN[side] else "warning"
        findings += noted(encoded, "unknown", severity, rows, text, examples=examples)
    return findings


def lacking(tokenizer: Tokenizer, text: str) -> str:
    """A text after the units of it that a vocabulary lacks, where the tokenizer can name them."""
    units = ", ".join(dict.fromkeys(unknown_units(tokenizer, text)))
    return f"{shown(units, longest=30)}  in  {shown(text)}" if units else shown(text)


def unknown_units(tokenizer: Tokenizer, text: str) -> list[str]:
    """The units of a text that a vocabulary lacks."""
    if not isinstance(tokenizer, Listed):
        return []
    units = zip(tokenizer.split(text), tokenizer.encode([text])[0], strict=True)
    return [unit for unit, number in units if number == UNK]


def unknown_rate(ids: Ragged, tokenizer: Tokenizer) -> float:
    """The share of unknown ids."""
    total = sum(int(np.count_nonzero(tokenizer.unknown_among(flat))) for _, flat, _ in pieces(ids))
    return total / max(1, int(ids.starts[-1]))


def too_long(encoded: Encoded) -> list[Finding]:
    """Rows beyond data.max_length."""
    longest = encoded.split.longest
    if encoded.name == "train":
        over, text = ~encoded.split.fits(), f"longer than data.max_length {longest}: left out"
    else:
        over, text = encoded.split.source.lengths >= longest, f"source longer than data.max_length {longest}: cut"
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
    conditions = encoded[0].split.row_format.conditions
    scans = [scan(each.name, each.split.texts) for each in encoded]
    labels = isinstance(encoded[0].tokenizers.target, Labels)
    vectors = any(tokenizer.width is not None for tokenizer in encoded[0].tokenizers)
    findings = [item for split in scans for item in within(split, conditions)]
    scheme = scheme_of(encoded[0])
    for each in encoded:
        for check in (misaligned, unseen_labels, unknown, too_long):
            findings += check(each)
        findings += spans(each, scheme)
    for split in scans:
        findings += copied(split)
        if not labels and not vectors:  # a label is always short, and numbers are not counted in characters
            findings += odd_lengths(split)
    for other in scans[1:]:
        findings += [] if conditions else overlap(scans[0], other)
        findings += casing(scans[0], other, (0,) if labels else (0, 1))
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def within(split: Scan, conditions: bool = False) -> list[Finding]:
    """The quick checks of one split; conditions: its sources are conditions, which rows share or lack."""
    checks = [empty, damaged, hidden_breaks, line_feeds, duplicates, ambiguous]
    checks = checks[1:-1] if conditions else checks
    return [item for check in checks for item in check(split)]


def cheap(train: Texts, validation: Texts, conditions: bool = False) -> list[Finding]:
    """What training looks at first, worst first: the first rows of each split, in a second or two; it never fails.

    conditions: as in `within`.
    """
    try:
        scans = scan("train", first_rows(train)), scan("validation", first_rows(validation))
        findings = [item for split in scans for item in within(split, conditions)]
        findings += [] if conditions else overlap(*scans)
    except Exception as problem:  # a check that breaks is no reason not to train
        return [Finding("unchecked", "note", "train", 0, 0, f"not checked: {' '.join(str(problem).split())}")]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


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
