"""What can be wrong with a text by itself: marks of rows, one bit for each kind, found some thousand rows at a time."""

import re
import unicodedata
from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np

from seq2seq.data.checks.findings import Finding, Scan, Severity, around, noted

INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff\xad"
"""Spaces of any width."""

EMPTY, CAPITALS, LINE_FEED, DECOMPOSED = (1, 2), (4, 8), 16, 32
"""Marks of a row; those in pairs are one for each side."""

BREAKS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What Python and many editors, but not this project, take for the end of a line."""

CONTROLS = "\\x00-\\x08\\x0e-\\x1b\\x1f\\x7f\u202a-\u202e\u2066-\u2069"
"""C0 and DEL less tab, line feed and the above, and what overrides or embeds the direction of a text."""

UNSEEN = "\xad\u061c\u180e\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Characters without width that no script needs to spell a word; joiners and marks of direction are needed by some."""

FOLLOWS = "\x80-\xaa\xac-\xba\xbc-\xbf€‚ƒ„†‡ˆ‰Š‹ŒŽ•–˜™š›œžŸ"
"""What a continuation byte of UTF-8 looks like in Latin-1 or Windows-1252, less what may stand after a capital."""

MISREAD = (
    "[ÃÂâÎÏÐÑ\xe3-\xe9]"  # one set at the beginning, which the search skips to fast
    f"(?:(?<=Ã)[{FOLLOWS}]|(?<=Â)[\x80-\xbf]|(?<=â)€|(?<=[ÎÏÐÑ])[{FOLLOWS}][ÎÏÐÑ][{FOLLOWS}]"
    f"|(?<=[\xe3-\xe9])[{FOLLOWS}]{{2}}[\xe3-\xe9][{FOLLOWS}]{{2}})"
)
"""UTF-8 that was read as Latin-1: accents, quotation marks, and at least two letters of Greek, Cyrillic, CJK."""


class Sign(NamedTuple):
    """Something that a pattern finds in a text."""

    kind: str
    severity: Severity
    text: str
    """What it is, in half a line."""
    pattern: "re.Pattern[str]"
    triggers: Sequence[str] = ()
    """Texts without any of which the pattern need not be tried."""
    characters: str = ""
    """Of these and their neighbours a text must have one, or the pattern need not be tried."""

    def may_match(self, text: str, present: Set[int]) -> bool:
        """Whether the pattern has to be tried; present: the blocks of the text's characters."""
        if self.characters and present.isdisjoint(ord(character) >> BLOCK for character in self.characters):
            return False
        return not self.triggers or any(trigger in text for trigger in self.triggers)


BLOCK = 5
"""Bits of the number of a character within its block of neighbours."""


def blocks_of(text: str) -> Set[int]:
    """The blocks of the characters of a text; of ASCII none."""
    if text.isascii():
        return frozenset()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return set(np.flatnonzero(np.bincount((codes >> BLOCK).astype(np.int64))).tolist())


SIGNS = (
    Sign("damaged", "error", "U+FFFD, the mark of characters lost earlier", re.compile("\ufffd"), (), "\ufffd"),
    Sign("mojibake", "warning", "UTF-8 read as Latin-1, such as Ã¤ for ä", re.compile(MISREAD),
         (), FOLLOWS.replace("-", "")),
    Sign("c1 control", "warning", "C1 control, as when Windows-1252 is read as Latin-1: U+0092 for ’",
         re.compile("[\x80-\x84\x86-\x9f]"), (), "\x80"),
    Sign("hidden break", "warning", "a line break other than \\n in a text", re.compile(f"[{BREAKS}]"), BREAKS),
    Sign("control", "warning", "a control character, or one that turns the direction of the text",
         re.compile(f"[{CONTROLS}]")),
    Sign("invisible", "warning", "a character without width inside a text", re.compile(f"[{UNSEEN}]"), (),
         UNSEEN.replace("-", "")),
    Sign("html entity", "warning", "an HTML entity for a character",
         re.compile(r"&(?!apos;|#124;|#9[13];)(?:[A-Za-z][A-Za-z0-9]{1,7}|#[0-9]{2,6}|#[xX][0-9A-Fa-f]{2,6});"), "&"),
    Sign("tokenizer", "warning", "what another tokenizer has left, such as @-@, &apos;, a@@ b, ▁",
         re.compile(r"&apos;|&#124;|&#9[13];|@[-,.:/]@(?<!\S@.@)(?!\S)|@@(?<=\w@@)(?!\S)|▁|##(?<!\S##)\w"
                    r"|-[LR][RSC]B-(?<!\S-..B-)(?!\S)"),  # each begins with a letter that a search skips to fast
         ("&", "@", "▁", "##", "B-")),
    Sign("special symbol", "warning", "a tokenizer's special symbol as text",
         re.compile(r"</?(?:s|unk|pad|bos|eos|mask|sep|cls)>|\[(?:UNK|PAD|CLS|SEP|MASK|BOS|EOS)\]|<\|endoftext\|>"),
         "<["),
    Sign("mixed script", "warning", "Latin and Cyrillic letters in one word",
         re.compile("[A-Za-z\u00c0-\u024f][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z\u00c0-\u024f]"), (),
         "\u0400\u0420\u0440\u0460\u0480\u04a0\u04c0\u04e0"),
    Sign("spaces", "note", "runs of spaces, or spaces around a text, which most tokenizers lose",
         re.compile("  |^ | $"), ("  ", "\n ", " \n")),
)  # fmt: skip
"""What patterns find."""

BITS = {sign.kind: 256 << number for number, sign in enumerate(SIGNS)}
"""The mark of each."""

PUNCTUATION = "“”„‟‘’‚‛«»‹›–—―…¡¿、。，．！？：；「」『』（）·"
"""Punctuation besides that of ASCII, without which near-duplicates are compared."""

DELETED = bytes(range(9)) + bytes(range(11, 48)) + bytes(range(58, 65)) + bytes(range(91, 97)) + bytes(range(123, 128))
"""All of ASCII but line feeds, digits and letters."""


def marks_of(chunk: Sequence[str], lengths: np.ndarray, side: int) -> np.ndarray:
    """The marks of some texts of one side, of which `lengths` says how many characters they have."""
    marks = np.zeros(len(chunk), dtype=np.uint32)
    joined = "\n".join(chunk)
    plain, present = joined.isascii(), blocks_of(joined)
    for row, text in enumerate(chunk):
        if not text.strip(INVISIBLE):
            marks[row] |= EMPTY[side]
    if joined != joined.lower():
        marks[[row for row, text in enumerate(chunk) if text != text.lower()]] |= CAPITALS[side]
    if side == 1 and joined.count("\n") >= len(chunk):
        marks[[row for row, text in enumerate(chunk) if "\n" in text]] |= LINE_FEED
    if not plain and not unicodedata.is_normalized("NFC", joined):
        marks[[row for row, text in enumerate(chunk) if not unicodedata.is_normalized("NFC", text)]] |= DECOMPOSED
    ends = np.cumsum(lengths.astype(np.int64) + 1)
    for sign in SIGNS:
        if sign.kind == "spaces":  # too many in some texts to find each
            if sign.may_match(f"\n{joined}\n", present):
                marks[[row for row, text in enumerate(chunk) if loose(text)]] |= BITS[sign.kind]
        elif sign.may_match(joined, present):
            matches = [match.start() for match in sign.pattern.finditer(joined)]
            marks[np.searchsorted(ends, matches, side="right")] |= BITS[sign.kind]
    return marks


def loose(text: str) -> bool:
    """Whether there are several spaces in a row, or some around the text."""
    return "  " in text or text[:1] == " " or text[-1:] == " "


def signs_in(split: Scan) -> list[Finding]:
    """What patterns have found in a split."""
    found = []
    for sign in SIGNS:
        rows = split.marked(BITS[sign.kind])
        if sign.kind == "c1 control":
            rows = np.setdiff1d(rows, split.marked(BITS["mojibake"]))  # of which they are a part
        found += noted(split, sign.kind, sign.severity, rows, sign.text, around(sign.pattern))
    return found


def canonical(chunk: Sequence[str]) -> Sequence[str]:
    """The texts in composed form, without characters that cannot be seen."""
    joined = "\n".join(chunk)
    if joined.isascii():
        return chunk
    composed = unicodedata.normalize("NFC", joined)
    composed = WITHOUT_WIDTH.sub("", composed) if WITHOUT_WIDTH.search(composed) else composed
    if composed == joined:
        return chunk
    lines = composed.split("\n")
    return lines if len(lines) == len(chunk) else [canonical([text])[0] if "\n" not in text else text for text in chunk]


WITHOUT_WIDTH = re.compile(f"[{UNSEEN}\u200c-\u200f]")
"""All that cannot be seen inside a text."""


def letters(chunk: Sequence[str]) -> list[bytes]:
    """The letters and digits of texts, small, as bytes: what near-duplicates share."""
    joined = "\n".join(chunk)
    plain = joined.isascii()
    small = joined.lower().encode("utf-8", "surrogatepass")
    if not plain:
        for mark in filter(joined.__contains__, PUNCTUATION):
            small = small.replace(mark.encode(), b"")
    rows = small.translate(None, DELETED).split(b"\n")
    return rows if len(rows) == len(chunk) else [letters([text.replace("\n", " ")])[0] for text in chunk]
