"""Recordings: a table that names sound files and what is said in them."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seq2seq.data.corpora.tables import Csv, Tsv, index_of
from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row, Texts
from seq2seq.data.sound import SILENCE, SoundFrames, is_clipped, samples_of
from seq2seq.errors import InputError, check_range

log = logging.getLogger(__name__)


CLIPPED = "are clipped, cut off at the largest height a sample can have; record them more softly"
SILENT = "are silent though they have a text; check the microphone or drop the rows"
"""What is warned of."""


class RecordingEntry(NamedTuple):
    """A line of a table."""

    sound: Path
    text: str
    start: float | None
    """Seconds of the file where the row begins; None for its beginning."""
    end: float | None
    line: int
    speaker: str
    """Empty where the table does not say."""


class Recordings(Files):
    """Sound files and their texts: a table for each split, TSV or CSV, that says which file holds what.

    Its first line names the columns: that of the files, relative to the table, that of the texts and, where a row is
    part of a file, `start` and `end` in seconds; a column `speaker` is for scores by speaker. WAV, FLAC, OGG and
    whatever else soundfile reads.
    """

    endings = (".tsv", ".csv")

    def __init__(
        self,
        rate: int = 16_000,
        bands: int = 40,
        path: str = "path",
        text: str = "text",
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
        coefficients: int = 0,
        deltas: int = 0,
    ) -> None:
        """rate: samples a second; files of another rate are resampled. bands: numbers of a frame, on the mel scale.

        path, text: columns of the table. files: the tables of each split in the folder data.path; patterns may match
        many. coefficients: of the cepstrum (MFCC) in place of the bands; 0 for the bands. deltas: 1 puts the change
        over time of each number behind them, 2 the change of that too.
        """
        check_sound(rate, bands, coefficients, deltas)
        self.rate, self.bands, self.path, self.text = rate, bands, path, text
        self.files, self.encoding, self.coefficients, self.deltas = files, encoding, coefficients, deltas

    @property
    def sound(self) -> SoundFrames:
        return SoundFrames(self.rate, self.bands, self.coefficients, self.deltas)

    def recorded(self, split: str, texts: Texts, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        places = {place: row for row in rows if (place := texts.place(row)) is not None}
        for table in dict.fromkeys(file for file, _ in places):
            for entry in self.entries(Path(table)):
                if (row := places.get((table, entry.line))) is not None:
                    yield row, samples_of(entry.sound, self.rate, entry.start, entry.end)[0]

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        tables = [table for [table] in self.shards(split, path)]
        sounds = dict.fromkeys(entry.sound for table in tables for entry in self.entries(table))
        return [*tables, *sounds]

    def read(self, shard: Shard) -> Iterator[Row]:
        [table] = shard
        found = Remarks(table, self.rate)
        for entry in self.entries(table):
            yield Row(
                self.features(self.samples(entry, table, found)),
                entry.text,
                entry.line,
                str(table),
                speaker=entry.speaker,
            )
        found.tell()

    def samples(self, entry: RecordingEntry, table: Path, found: "Remarks") -> np.ndarray:
        """Those of a line of a table, (N,) at `rate`; found: notes what is odd about them."""
        try:
            samples, own = samples_of(entry.sound, self.rate, entry.start, entry.end)
        except InputError as problem:
            raise InputError(f"{table}:{entry.line}: {problem}") from problem
        found.note(entry, samples, own)
        return samples

    def features(self, samples: np.ndarray) -> str:
        """Samples (N,) at `rate` as the text of their frames."""
        return text_of_array(self.sound.of(samples))

    def line(self, sound: str | Path) -> str:
        """A sound file as a line that `predict` reads."""
        return self.features(samples_of(Path(sound), self.rate)[0])

    def entries(self, table: Path) -> Iterator[RecordingEntry]:
        """The lines of a table, each of which names a file that is there and has a text."""
        for entry in self.lines(table):
            if not entry.text.strip():
                raise InputError(f"{table}:{entry.line}: the text is empty; give what is said, or drop the row")
            yield entry

    def lines(self, table: Path) -> Iterator[RecordingEntry]:
        """The lines of a table, each of which names a file that is there."""
        records = self.records(table)
        header, _ = next(records, ([], 0))
        if not header:
            raise InputError(f"{table} is empty; its first line names columns, such as path and text")
        location, width = f"{table}:1", len(header)
        sound, text = (index_of(name, header, width, location) for name in (self.path, self.text))
        times = [index_of(name, header, width, location) if name in header else None for name in ("start", "end")]
        who = index_of("speaker", header, width, location) if "speaker" in header else None
        for fields, line in records:
            where = f"{table}:{line}"
            if len(fields) != width:
                raise InputError(f"{where}: {len(fields)} columns, but the header has {width}; fix the line")
            start, end = (seconds(fields, index, where) for index in times)
            speaker = "" if who is None else fields[who].strip()
            yield RecordingEntry(inside(table.parent, fields[sound], where), fields[text], start, end, line, speaker)

    def records(self, table: Path) -> Iterator[tuple[list[str], int]]:
        """The fields of each line of a table, by its ending: quotation marks protect fields of a CSV."""
        kind = Csv if table.name.removesuffix(".gz").endswith(".csv") else Tsv
        return kind(encoding=self.encoding).records(table)


def check_sound(rate: int, bands: int, coefficients: int, deltas: int) -> None:
    """Raise InputError for frames that cannot be."""
    check_range("data.corpus.rate", rate, 1000, 192_000)
    check_range("data.corpus.bands", bands, 1, 128)
    check_range("data.corpus.coefficients", coefficients, 0, bands + 1)
    check_range("data.corpus.deltas", deltas, 0, 3)


class Remarks:
    """What is odd about the recordings of a table, told once."""

    def __init__(self, table: Path, rate: int) -> None:
        self.table, self.rate = table, rate
        self.others = False
        self.clipped, self.silent = list[RecordingEntry](), list[RecordingEntry]()

    def note(self, entry: RecordingEntry, samples: np.ndarray, own: int) -> None:
        """Look at a recording's samples; own: its samples a second."""
        if own != self.rate and not self.others:
            self.others = True
            log.warning("%s has %d samples a second; resampled to data.corpus.rate %d, as all such files of %s are",
                        entry.sound, own, self.rate, self.table)  # fmt: skip
        if np.abs(samples).max() < SILENCE:
            self.silent.append(entry)
        elif is_clipped(samples):
            self.clipped.append(entry)

    def tell(self) -> None:
        """Warn of what was found."""
        for entries, what in ((self.clipped, CLIPPED), (self.silent, SILENT)):
            if entries:
                log.warning("%s: %d recordings %s, the first on line %d, %s", self.table, len(entries), what,
                            entries[0].line, entries[0].sound)  # fmt: skip


def inside(folder: Path, name: str, where: str) -> Path:
    """The file of that name in a folder; InputError where it would be elsewhere, or is missing."""
    path = Path(os.path.normpath(name))
    if not name.strip() or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InputError(f"{where}: {name!r} is no path inside {folder}; name files relative to the table")
    if not (folder / path).is_file():
        raise InputError(f"{where}: {folder / path} is missing; fix the line, or drop it")
    return folder / path


def seconds(fields: Sequence[str], index: int | None, where: str) -> float | None:
    """A time of a line; None where there is none."""
    if index is None or not fields[index].strip():
        return None
    try:
        value = float(fields[index])
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e9:
        raise InputError(f"{where}: {fields[index]!r} is no time in seconds; fix start and end")
    return value
