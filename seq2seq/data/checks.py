"""Checks of the data before training: each looks at what a split holds and returns findings.

`scan` reads the texts once, some thousand rows at a time, and keeps numbers; the checks compare those. Texts are
compared by 64-bit hashes, so that a million rows cost some megabytes.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from seq2seq.data.batch import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.split import Split
from seq2seq.data.tokenizers import SPECIAL, UNK, Labels, Listed, Tokenizer, Tokenizers

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""

EXAMPLES = 3
"""Rows shown for each finding."""

LOOKED_AT = 100_000
"""Rows of each split that are looked at before every training."""

CHUNK = 5_000
"""Rows read at once; few, because some texts are long."""

RATIO = 9.0
"""A length ratio so many times the usual one is odd."""

UNKNOWN = {"source": 0.5, "target": 0.1}
"""More unknown tokens are an error. Words of a source are often rare names, but no unknown target is ever right."""

LONG = 40
"""Characters of the longer side, below which no length ratio is odd."""

EMPTY, BREAK, DAMAGED, MOJIBAKE, LINE_FEED, CAPITALS = 1, 2, 4, 8, 16, (32, 64)
"""Marks of a row, one bit each; the last is one for each side."""

INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff\xad"
"""Blanks of any width."""

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


class Example(NamedTuple):
    """A row that a finding is about."""

    place: str
    """file:line"""
    excerpt: str
    like: str = ""
    """The place of the earlier row, or the one in train, that this row repeats."""


class Finding(NamedTuple):
    """Something that may be wrong with a split."""

    kind: str
    severity: Severity
    split: str
    rows: int
    share: float
    """Of the split's rows."""
    text: str
    """What it is, in half a line."""
    examples: Sequence[Example] = ()


class Scan(NamedTuple):
    """What one reading of a split has found, row by row."""

    name: str
    texts: Texts
    source: np.ndarray
    """(rows,) hashes of the sources"""
    target: np.ndarray
    pair: np.ndarray
    """(rows,) hashes of source and target together"""
    lengths: np.ndarray
    """(rows, 2) characters"""
    marks: np.ndarray
    """(rows,) bits"""

    def marked(self, mark: int) -> np.ndarray:
        """The rows that have a mark."""
        return np.flatnonzero(self.marks & mark)


class Encoded(NamedTuple):
    """A split as ids, and what made them."""

    name: str
    split: Split
    tokenizers: Tokenizers

    def sides(self) -> Iterator[tuple[str, Ragged, Tokenizer, Sequence[str]]]:
        """Name, ids, tokenizer and texts of source and target."""
        ids, texts = (self.split.source, self.split.target), self.split.texts
        yield from zip(Tokenizers._fields, ids, self.tokenizers, texts[:2], strict=True)


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
            found = [match.start() for match in pattern.finditer(joined)]
            marks[np.searchsorted(ends, found, side="right")] |= mark
    return marks


# What is wrong inside one split


def empty(one: Scan) -> list[Finding]:
    """Rows without a source or a target."""
    return found(one, "empty", "error", one.marked(EMPTY), "source or target is empty or blank")


def hidden_breaks(one: Scan) -> list[Finding]:
    """Characters that other programs take for line ends, so that they count more lines than there are rows."""
    text = "a line break other than \\n in a text"
    return found(one, "hidden break", "warning", one.marked(BREAK), text, around(BREAK_PATTERN))


def line_feeds(one: Scan) -> list[Finding]:
    """Targets of several lines, as JSON and CSV allow."""
    text = "target of several lines; predictions are one"
    return found(
        one, "line feed", "note", one.marked(LINE_FEED), text, lambda _, target: shown(target, target.index("\n"))
    )


def damaged(one: Scan) -> list[Finding]:
    """Text that went through the wrong encoding."""
    lost = "U+FFFD, the mark of characters lost earlier"
    misread = "UTF-8 read as Latin-1, such as Ã¤ for ä"
    return [
        *found(one, "damaged", "error", one.marked(DAMAGED), lost, around(DAMAGE_PATTERN)),
        *found(one, "mojibake", "warning", one.marked(MOJIBAKE), misread, around(MOJIBAKE_PATTERN)),
    ]


def copied(one: Scan) -> list[Finding]:
    """Targets that repeat the source."""
    rows = np.flatnonzero((one.source == one.target) & (one.marks & EMPTY == 0))
    severity: Severity = "warning" if len(rows) > 0.01 * len(one.pair) else "note"
    return found(one, "copied", severity, rows, "target is the same as its source")


def odd_lengths(one: Scan) -> list[Finding]:
    """Rows one side of which is far too long for the other; where lengths vary anyway, farther than they usually do."""
    filled = one.marks & EMPTY == 0
    if not filled.any():
        return []
    logs = np.diff(np.log(np.maximum(one.lengths, 1)), axis=1)[:, 0]
    usual = np.median(logs[filled])
    away = np.abs(logs - usual)
    spread = 1.4826 * float(np.median(away[filled]))  # a normal distribution's standard deviation
    odd = (away > max(math.log(RATIO), 5 * spread)) & (one.lengths.max(axis=1) >= LONG)
    rows = np.flatnonzero(odd & filled)
    text = f"{RATIO:g}x off the usual target/source length of {math.exp(usual):.2g}"
    return found(one, "odd length", "warning", rows, text, lambda source, target: f"{len(source)} : {len(target)} "
                 f"characters: {pair_shown(source, target)}")  # fmt: skip


def duplicates(one: Scan) -> list[Finding]:
    """Rows that repeat an earlier one."""
    order, same = repeated(one.pair)
    rows = np.sort(order[1:][same])
    examples = [
        example._replace(like=one.texts.place(first_with(one.pair, one.pair[row])))
        for row, example in zip(rows, examples_of(one.texts, rows), strict=False)
    ]
    return found(one, "duplicate", "note", rows, "same source and target as an earlier row", examples=examples)


def ambiguous(one: Scan) -> list[Finding]:
    """Sources with several targets."""
    _, firsts = np.unique(one.pair, return_index=True)
    order, same = repeated(one.source[firsts])
    several = np.zeros(len(order), dtype=bool)
    several[1:] |= same
    several[:-1] |= same
    rows = np.sort(firsts[order[several]])
    _, heads, groups = np.unique(one.source[rows], return_index=True, return_inverse=True)
    rows = rows[np.argsort(heads[groups], kind="stable")]  # rows of one source stand together
    return found(one, "ambiguous", "note", rows, "same source as another row, another target")


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

    Not of its rows, for "Thank you." stands in every split of many corpora.
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
        hashes, known = (getattr(one, ours) for one in (other, train))
        rows = np.flatnonzero(these)
        examples = [
            example._replace(like=train.texts.place(first_with(known, hashes[row])))
            for row, example in zip(rows, examples_of(other.texts, rows), strict=False)
        ]
        findings += found(other, kind, level, rows, text, examples=examples)
    return findings


def casing(train: Scan, other: Scan, sides: Iterable[int] = (0, 1)) -> list[Finding]:
    """Capitals where the training text, though of a script that has them, is all lower-case."""
    findings = []
    for side in sides:
        rows = other.marked(CAPITALS[side])
        if len(rows) > 0.01 * len(other.pair) and not len(train.marked(CAPITALS[side])):
            text = f"{Tokenizers._fields[side]} has capitals, but none in train"
            findings += found(other, "casing", "warning", rows, text)
    return findings


# What is wrong after tokenising


def misaligned(one: Encoded) -> list[Finding]:
    """Sentences with more or fewer labels than words."""
    tokenizers, lengths = one.tokenizers, one.split.target.lengths
    separators = [getattr(tokenizer, "separator", None) for tokenizer in tokenizers]
    if not isinstance(tokenizers.target, Labels) or separators[0] != separators[1] or lengths.max(initial=0) <= 1:
        return []  # one label a row is a class, not a tag of each word
    rows = np.flatnonzero(one.split.source.lengths != lengths)
    text = "a word without a label or a label without a word"
    return found(one, "misaligned", "error", rows, text, lambda source, target: (
        f"{sum(map(bool, source.split(separators[0])))} words, "
        f"{sum(map(bool, target.split(separators[0])))} labels: {pair_shown(source, target)}"
    ))  # fmt: skip


def unseen_labels(one: Encoded) -> list[Finding]:
    """Labels that cannot be predicted, because training has none of them."""
    tokenizer = one.tokenizers.target
    if one.name == "train" or not isinstance(tokenizer, Labels):
        return []
    rows = rows_with(one.split.target, UNK)
    labels = sorted({unit for row in rows for unit in unknown_units(tokenizer, one.split.texts.target[int(row)])})
    named = ", ".join(labels[:4]) + ", ..." * (len(labels) > 4)
    text = f"{len(labels)} label{'s' * (len(labels) != 1)} never seen in train: {named}"
    return found(one, "unseen label", "error", rows, text)


def unknown(one: Encoded) -> list[Finding]:
    """What the vocabulary lacks."""
    findings = []
    for side, ids, tokenizer, texts in one.sides():
        rows = rows_with(ids, UNK)
        rate = unknown_rate(ids)
        if one.name == "train" or rate <= 0.01 or isinstance(tokenizer, Labels):
            continue
        examples = [
            Example(one.split.texts.place(int(row)), lacking(tokenizer, texts[int(row)])) for row in rows[:EXAMPLES]
        ]
        text = f"{rate:.1%} of the {side} tokens are unknown"
        severity: Severity = "error" if rate > UNKNOWN[side] else "warning"
        findings += found(one, "unknown", severity, rows, text, examples=examples)
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


def unknown_rate(ids: Ragged) -> float:
    """The share of unknown ids."""
    total = sum(int(np.count_nonzero(flat == UNK)) for _, flat, _ in pieces(ids))
    return total / max(1, int(ids.starts[-1]))


def too_long(one: Encoded) -> list[Finding]:
    """Rows beyond data.max_length."""
    longest = one.split.longest
    over = one.split.source.lengths + 1 > longest
    text = f"source longer than data.max_length {longest}: cut"
    if one.name == "train":
        over |= one.split.target_lengths() > longest
        text = f"longer than data.max_length {longest}: left out"
    rows = np.flatnonzero(over)
    severity: Severity = "warning" if len(rows) > 0.01 * len(over) else "note"
    examples = [
        Example(one.split.texts.place(int(row)), f"{one.split.source.lengths[row]:,} and "
                f"{one.split.target.lengths[row]:,} tokens: {shown(one.split.texts.source[int(row)])}")
        for row in rows[:EXAMPLES]
    ]  # fmt: skip
    return found(one, "too long", severity, rows, text, examples=examples)


# Spans written as labels: B-person I-person O

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
    """The tags of a vocabulary; None when its labels are no spans."""
    if not isinstance(tokenizer, Labels):
        return None
    names = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    matches = [SPAN.fullmatch(name) for name in names[SPECIAL:]]
    prefixes = {match[1] for match in matches if match}
    others = {name for name, match in zip(names[SPECIAL:], matches, strict=True) if not match}
    if not {"B", "I"} & prefixes or others - {"O"}:
        return None
    kinds: dict[str | None, int] = {}
    prefix = [ANY] * SPECIAL + [PREFIXES[match[1]] if match else OUTSIDE for match in matches]
    kind = [0] * SPECIAL + [kinds.setdefault(match[2] if match else None, len(kinds)) for match in matches]
    return Tags(names, np.array(prefix), np.array(kind))


def breaches(ids: Ragged, tags: Tags, scheme: str) -> np.ndarray:
    """Where in the flat ids a label may not stand."""
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
            goes_on = np.append(joined & np.isin(prefix[1:], (INSIDE, END)), False)
            bad |= np.isin(prefix, (BEGIN, INSIDE)) & ~goes_on & (after != ANY)
        wrong.append(np.flatnonzero(bad) + offset)
    return np.concatenate(wrong) if wrong else np.empty(0, dtype=np.int64)


def scheme_of(train: Encoded) -> str | None:
    """The scheme that the training labels follow best; None when they are no spans."""
    tags = tags_of(train.tokenizers.target)
    if tags is None:
        return None
    if np.isin(tags.prefix, (END, WHOLE)).any():
        return "BIOES"
    counts = {scheme: len(breaches(train.split.target, tags, scheme)) for scheme in ("IOB2", "IOB1")}
    return min(counts, key=counts.__getitem__)  # the first of equals


def spans(one: Encoded, scheme: str | None) -> list[Finding]:
    """Labels that break the scheme; IOB1 is none that a span score expects."""
    tags = tags_of(one.tokenizers.target)
    if tags is None or scheme is None:
        return []
    ids = one.split.target
    places = breaches(ids, tags, "IOB2" if scheme == "IOB1" else scheme)
    owners = np.searchsorted(ids.starts, places, side="right") - 1
    rows, firsts = np.unique(owners, return_index=True)
    examples = []
    for row, place in zip(rows[:EXAMPLES], places[firsts], strict=False):
        start, end = ids.starts[row], ids.starts[row + 1]
        near = range(max(start, place - 1), min(end, place + 2))
        names = " ".join(f"[{tags.names[ids.flat[at]]}]" if at == place else tags.names[ids.flat[at]] for at in near)
        words = shown(one.split.texts.source[int(row)], longest=40)
        examples.append(Example(one.split.texts.place(int(row)), f"label {place - start + 1}: {names}  in  {words}"))
    if scheme == "IOB1":
        text = "labels are IOB1, where I- may begin a span"
        return found(one, "bio", "warning", rows, text, examples=examples)
    return found(one, "bio", "error", rows, f"labels break {scheme}, which most of them follow", examples=examples)


# Rows of ids, and findings


def pieces(ids: Ragged, rows: int = 50_000) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Where some rows begin in their own flat ids, these, and where they stand in all."""
    for start in range(0, len(ids), rows):
        starts = ids.starts[start : start + rows + 1]
        yield starts[:-1] - starts[0], ids.flat[starts[0] : starts[-1]], int(starts[0])


def rows_with(ids: Ragged, wanted: int) -> np.ndarray:
    """The rows that hold an id."""
    places = [np.flatnonzero(flat == wanted) + offset for _, flat, offset in pieces(ids)]
    return np.unique(
        np.searchsorted(ids.starts, np.concatenate([np.empty(0, dtype=np.int64), *places]), side="right") - 1
    )


Shown = Callable[[str, str], str]
"""What to show of a source and a target."""


def found(
    one: Scan | Encoded,
    kind: str,
    severity: Severity,
    rows: np.ndarray,
    text: str,
    show: Shown | None = None,
    examples: Sequence[Example] | None = None,
) -> list[Finding]:
    """One finding about these rows; none when there are none."""
    if not len(rows):
        return []
    texts = one.texts if isinstance(one, Scan) else one.split.texts
    examples = examples_of(texts, rows, show) if examples is None else examples
    return [Finding(kind, severity, one.name, len(rows), len(rows) / len(texts.source), text, examples)]


def examples_of(texts: Texts, rows: np.ndarray, show: Shown | None = None) -> list[Example]:
    """The first of some rows."""
    show = show or pair_shown
    chosen = [int(row) for row in rows[:EXAMPLES]]
    return [Example(texts.place(row), show(texts.source[row], texts.target[row])) for row in chosen]


def pair_shown(source: str, target: str) -> str:
    """The beginnings of both sides."""
    return " | ".join(shown(text, longest=36) or repr(text) for text in (source, target))


def around(pattern: "re.Pattern[str]") -> Shown:
    """Shows where a pattern is found first."""

    def show(source: str, target: str) -> str:
        for text in (source, target):
            if match := pattern.search(text):
                return shown(text, match.start())
        return pair_shown(source, target)

    return show


def shown(text: str, at: int = 0, longest: int = 60) -> str:
    """The part of a text about a place, on one line, what cannot be seen as escapes."""
    start = max(0, at - longest // 3)
    part = text[start : start + longest].replace("\t", " ")
    visible = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in part)
    return f"{'...' * (start > 0)}{visible.strip()}{'...' * (start + longest < len(text))}"


# All together


def thorough(encoded: Sequence[Encoded]) -> list[Finding]:
    """Every check of training, validation and test, worst first."""
    scans = [scan(one.name, one.split.texts) for one in encoded]
    labels = isinstance(encoded[0].tokenizers.target, Labels)
    findings = [finding for one in scans for finding in within(one)]
    scheme = scheme_of(encoded[0])
    for one in encoded:
        for check in (misaligned, unseen_labels, unknown, too_long):
            findings += check(one)
        findings += spans(one, scheme)
    for one_scan in scans:
        findings += copied(one_scan)
        if not labels:  # a label is short whatever the text
            findings += odd_lengths(one_scan)
    for other in scans[1:]:
        findings += overlap(scans[0], other) + casing(scans[0], other, (0,) if labels else (0, 1))
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def within(one: Scan) -> list[Finding]:
    """What is quickly seen of one split."""
    checks = (empty, damaged, hidden_breaks, line_feeds, duplicates, ambiguous)
    return [finding for check in checks for finding in check(one)]


def cheap(train: Texts, validation: Texts) -> list[Finding]:
    """What training looks at first, worst first: the first rows of each split, in a second or two; it never fails."""
    try:
        scans = scan("train", first_rows(train)), scan("validation", first_rows(validation))
        findings = [finding for one in scans for finding in within(one)] + overlap(*scans)
    except Exception as problem:  # a check that breaks is no reason not to train
        return [Finding("unchecked", "note", "train", 0, 0, f"not checked: {' '.join(str(problem).split())}")]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def first_rows(texts: Texts) -> Texts:
    """The rows that are looked at before every training."""
    if len(texts.source) <= LOOKED_AT:
        return texts
    return texts._replace(source=texts.source[:LOOKED_AT], target=texts.target[:LOOKED_AT])


def two_lines(findings: Sequence[Finding], config: str) -> str:
    """The findings for someone who wants to train."""
    counts: dict[str, int] = {}
    if [finding.kind for finding in findings] == ["unchecked"]:
        return f"data: {findings[0].text}"
    for finding in findings:
        counts[finding.kind] = counts.get(finding.kind, 0) + finding.rows
    if not counts:
        return "data: nothing to complain about"
    listed = ", ".join(f"{rows:,} {kind}" for kind, rows in counts.items())
    return f"data: rows to look at: {listed}\nsee all with python -m seq2seq.lint --config {config}"
