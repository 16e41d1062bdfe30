"""In which script texts are written, by which metrics choose how to split them."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import NamedTuple

HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f"
    "\ua980-\ua9ff\uaa60-\uaadf\U00011700-\U0001174f"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, the Tai scripts, Balinese, Javanese, Ahom: no whitespace between words."""

LATIN = "A-Za-z\u00aa\u00ba\u00c0-\u024f\u0250-\u02af\u1d00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uff21-\uff5a"

COUNTED = {name: re.compile(f"[{ranges}]") for name, ranges in
           {"han": HAN, "kana": KANA, "hangul": HANGUL, "unspaced": UNSPACED, "latin": LATIN}.items()}  # fmt: skip
LETTER = re.compile(rf"[^\W\d_]|[{UNSPACED}]")
TOKEN_ALONE = re.compile(f"[{HAN}{KANA}{UNSPACED}]")

SAMPLE = 10_000
"""Texts that are looked at."""

ENOUGH = 0.2
"""Share of the letters from which on a script decides how texts are split."""


class Scripts(NamedTuple):
    """The share of all letters that each script has, 0 to 1."""

    han: float
    kana: float
    hangul: float
    unspaced: float
    """Of scripts other than those of Chinese and Japanese in which whitespace does not separate words."""
    other: float
    """Of all that are not Latin."""

    @property
    def language(self) -> str:
        """zh, ja or ko where such letters are frequent, `unspaced` for other scripts without spaces, else nothing."""
        shares = {"unspaced": self.unspaced, "ko": self.hangul, "zh": self.han + self.kana}
        name = max(shares, key=lambda one: shares[one])
        if shares[name] < ENOUGH:
            return ""
        return "ja" if name == "zh" and self.kana > 0.1 * shares[name] else name

    @property
    def spaced(self) -> bool:
        """Whether whitespace separates words."""
        return self.han + self.kana + self.unspaced < ENOUGH


def scripts_of(texts: Sequence[str]) -> Scripts:
    """The scripts of texts, of which at most SAMPLE are looked at, evenly spread."""
    step = max(1, len(texts) // SAMPLE)
    joined = "\n".join(texts[index] for index in range(0, len(texts), step))
    counts = {name: len(pattern.findall(joined)) for name, pattern in COUNTED.items()}
    letters = len(LETTER.findall(joined))
    counts["other"] = letters - counts.pop("latin")
    return Scripts(**{name: count / max(1, letters) for name, count in counts.items()})


@cache
def kind_of(character: str) -> str:
    """alone: a token by itself; word: part of a word in another script than Latin; mark: joins the letter before."""
    if TOKEN_ALONE.match(character):
        return "mark" if unicodedata.category(character).startswith("M") else "alone"
    if unicodedata.category(character).startswith("M"):
        return "mark"
    foreign = character.isalnum() and not character.isascii() and not COUNTED["latin"].match(character)
    return "word" if foreign else ""


def runs(text: str) -> Iterator[tuple[str, str]]:
    """(kind, part) of a text: parts alone and words of other scripts than Latin, and what stands between, kind ""."""
    marked, kind, number = [], "", 0
    for character in text:
        own = kind_of(character)
        kind = kind if own == "mark" else own
        number += kind == "alone" and own != "mark"  # each begins a part of its own
        marked.append((kind, number, character))
    for (kind, _), group in groupby(marked, key=lambda one: (one[0], one[1] if one[0] == "alone" else 0)):
        yield kind, "".join(character for *_, character in group)
