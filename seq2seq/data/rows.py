"""Rows of text on the disk: an Arrow file, memory-mapped, in the form that `datasets` reads too."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar, overload

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from seq2seq.errors import InputError

CHUNK = 20_000
"""Rows handled at once."""

LINE_BITS = 40
"""Bits of a location that hold the line; those above them hold the index of the file."""

SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("target", pa.string()),
        ("location", pa.int64()),
        ("more", pa.list_(pa.string())),
        ("speaker", pa.string()),
    ]
)


T = TypeVar("T", str, int, list[str] | None)


class Row(NamedTuple):
    """One row as it was read."""

    source: str
    target: str
    line: int
    """Where it begins in its file, from 1."""
    file: str = ""
    """The name of that file."""
    corpus: int = 0
    """The number of its corpus in a mixture."""
    more_references: Sequence[str] = ()
    """Further targets that are as good, by which predictions are scored; training learns `target`."""
    speaker: str = ""
    """Who speaks, where that is known."""


class Origin(NamedTuple):
    """A file that rows were read from."""

    file: str
    checksum: str
    """SHA-256 of its bytes."""
    size: int
    """Bytes."""


class Texts(NamedTuple):
    """The rows of a split."""

    source: Sequence[str]
    target: Sequence[str]
    content: str = ""
    """A checksum of all texts; empty when it was not computed."""
    locations: Sequence[int] = ()
    """File and line of each row, packed; empty when the rows were never in a file."""
    files: Sequence[str] = ()
    """The names of the files."""
    corpora: Sequence[int] = ()
    """Rows of each corpus of a mixture, which follow one another."""
    origins: Sequence[Origin] = ()
    """Every file that the rows were read from, as it was then."""
    more_references: Sequence[list[str] | None] = ()
    """Of each row the references beside `target`; empty where no row has any."""
    speakers: Sequence[str] = ()
    """Of each row who speaks; empty where that is known of none."""

    def references(self) -> list[list[str]]:
        """All references of each row."""
        if not len(self.more_references):
            return [[text] for text in self.target]
        return [[text, *(more or ())] for text, more in zip(self.target, self.more_references, strict=True)]

    def place(self, row: int) -> tuple[str, int] | None:
        """The file and the line that a row comes from; None where it was never in a file."""
        if not len(self.locations):
            return None
        file, line = divmod(int(self.locations[row]), 1 << LINE_BITS)
        return self.files[file], line

    def location(self, row: int) -> str:
        """Where a row comes from, as file:line."""
        place = self.place(row)
        return f"row {row + 1}" if place is None else f"{place[0]}:{place[1]}"


class ArrowColumn(Sequence[T]):
    """A column that stays on the disk until it is read."""

    def __init__(self, values: pa.ChunkedArray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, rows: int) -> T: ...
    @overload
    def __getitem__(self, rows: slice) -> list[T]: ...
    def __getitem__(self, rows: int | slice) -> T | list[T]:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step < 0:
                return [self[row] for row in range(start, stop, step)]
            values: list[T] = self._values.slice(start, max(0, stop - start)).to_pylist()
            return values[::step]
        value: T = self._values[int(rows)].as_py()
        return value

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]


def tables(rows: Iterable[Row], described: dict[str, object]) -> Iterator[pa.RecordBatch]:
    """Rows as pieces of a table; `described` gets what belongs to them after the last."""
    content, corpora = hashlib.sha256(), np.zeros(1, dtype=np.int64)
    files: dict[str, int] = {}
    several = spoken = False
    stream = iter(rows)
    while chunk := list(itertools.islice(stream, CHUNK)):
        if strange := [row for row in chunk if not isinstance(row, Row)]:
            raise InputError(f"a corpus yields Row(source, target, line), not {strange[0]!r:.80}: docs/extending.md")
        sources, targets, lines, names, numbers, more, speakers = zip(*chunk, strict=True)
        for texts in (sources, targets):
            content.update(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)).tobytes())
            content.update("".join(texts).encode())
        if any(more):
            content.update(json.dumps(more).encode())
            several = True
        if any(speakers):
            content.update(json.dumps(speakers).encode())
            spoken = True
        counts = np.bincount(numbers, minlength=len(corpora))
        counts[: len(corpora)] += corpora
        corpora = counts
        file = np.array([files.setdefault(name, len(files)) for name in names], dtype=np.int64)
        locations = file << LINE_BITS | np.array(lines, dtype=np.int64)
        columns = [pa.array(sources), pa.array(targets), pa.array(locations)]
        references = pa.array([list(one) or None for one in more], SCHEMA.field("more").type)
        yield pa.record_batch([*columns, references, pa.array(speakers)], schema=SCHEMA)
    described |= {"several": several, "spoken": spoken, "content": content.hexdigest()}
    described |= {"corpora": corpora.tolist(), "files": list(files)}


def write(rows: Iterable[Row], folder: Path) -> None:
    """All rows as `rows.arrow` in `folder`, what belongs to them in `rows.json`; with a progress bar on a terminal."""
    described: dict[str, object] = {}
    rows = tqdm(rows, desc="reading", unit="row", unit_scale=True, leave=False, disable=None, delay=1)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        for piece in tables(rows, described):
            writer.write_batch(piece)
    (folder / "rows.json").write_text(json.dumps(described), encoding="utf-8")


def read(folder: Path) -> Texts:
    """What `write` has left, memory-mapped."""
    described = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    with pa.memory_map(str(folder / "rows.arrow")) as source, pa.ipc.open_stream(source) as reader:
        table = reader.read_all()
    return texts_of(table, described)


def in_memory(rows: Iterable[Row]) -> Texts:
    """Rows that were never in a file."""
    described: dict[str, object] = {}
    table = pa.Table.from_batches(list(tables(rows, described)), SCHEMA)
    return texts_of(table, described)._replace(locations=())


def texts_of(table: pa.Table, described: dict[str, object]) -> Texts:
    """A table's columns as texts."""
    files, corpora = described["files"], described["corpora"]
    if not isinstance(files, list) or not isinstance(corpora, list):
        raise InputError("the description of stored rows is damaged")
    source, target, locations, more, speakers = (table.column(name) for name in SCHEMA.names)
    columns = ArrowColumn[str](source), ArrowColumn[str](target)
    texts = Texts(*columns, str(described["content"]), ArrowColumn[int](locations), files, corpora)
    texts = texts._replace(more_references=ArrowColumn[list[str] | None](more)) if described["several"] else texts
    return texts._replace(speakers=ArrowColumn[str](speakers)) if described["spoken"] else texts
