"""Reading a split once: what the checks compare afterwards."""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from seq2seq.data.checks.findings import Scan
from seq2seq.data.checks.text_marks import canonical, letters, marks_of
from seq2seq.data.rows import Texts

CHUNK = 5_000
"""Rows read at once; few, because some texts are long."""

SHINGLE = 8
"""Bytes of a shingle, a piece of the letters of a row: near-duplicates share most of them."""

FACTORS = (
    0x9E3779B97F4A7C15,
    0xC2B2AE3D27D4EB4F,
    0xD6E8FEB86659FD93,
    0xA0761D6478BD642F,
    0xE7037ED1A0B428DB,
    0x8EBC6AF09C88C6E3,
)
"""Odd numbers, each of which makes another order of the shingles."""


def scan(name: str, texts: Texts) -> Scan:
    """Read a split once."""
    rows = len(texts.source)
    hashes, lengths = np.empty((2, rows), dtype=np.uint64), np.empty((rows, 2), dtype=np.int32)
    marks = np.zeros(rows, dtype=np.uint32)
    least = np.empty((len(FACTORS), rows), dtype=np.uint64)
    with tqdm(total=rows, desc=f"reading {name}", unit="row", leave=False, disable=None, delay=1) as bar:
        for start in range(0, rows, CHUNK):
            part, read = slice(start, start + CHUNK), []
            for side, column in enumerate((texts.source, texts.target)):
                chunk = column[part]
                lengths[part, side] = np.fromiter(map(len, chunk), dtype=np.int32, count=len(chunk))
                marks[part] |= marks_of(chunk, lengths[part, side], side)
                plain = canonical(chunk)
                hashes[side, part] = np.fromiter(map(hash, plain), dtype=np.int64, count=len(plain)).view(np.uint64)
                read.append(letters(plain))
            least[:, part] = least_shingles([b"\t".join(pair) for pair in zip(*read, strict=True)])
            bar.update(len(chunk))
    pair = hashes[0] * np.uint64(0x9E3779B97F4A7C15) + hashes[1]  # modulo 2^64
    return Scan(name, texts, hashes[0], hashes[1], pair, lengths, marks, least)


def least_shingles(rows: Sequence[bytes]) -> np.ndarray:
    """(FACTORS, rows) the least of the numbers of a row's shingles in each order (Broder 1997); the same in rows that
    are alike with the probability of a shingle being in both."""
    joined = b"\n".join(rows) + b"\n" * SHINGLE
    pieces = np.ndarray((len(joined) - SHINGLE + 1,), "<u8", joined, strides=(1,))
    starts = np.cumsum([0, *(len(row) + 1 for row in rows[:-1])])
    least = np.empty((len(FACTORS), len(rows)), dtype=np.uint64)
    for number, factor in enumerate(FACTORS):
        mixed = pieces * np.uint64(factor)
        least[number] = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(29)), starts)
    return least
