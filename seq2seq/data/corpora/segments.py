"""Segments of recordings with labels, a line of a table for each, to a label for each frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from seq2seq.data.corpora.recordings import RecordingEntry, Recordings, Remarks
from seq2seq.data.corpora.text_files import Shard
from seq2seq.data.lines import JOINER
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row
from seq2seq.data.segments import Segment, labels_of
from seq2seq.errors import InputError

SLACK = 0.05
"""Seconds by which a segment may end after its file, as rounded times do."""


class Segments(Recordings):
    """Sound files whose parts have labels: who speaks when, what is heard when. A row is a file, a label a frame.

    The lines of a table hold a file, `start` and `end` in seconds, and a label. A file without any part has one line
    whose times and label are empty. A frame has the label of the segment in which its middle lies.
    """

    def __init__(
        self,
        rate: int = 16_000,
        bands: int = 40,
        path: str = "path",
        label: str = "label",
        other: str = "none",
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
        coefficients: int = 0,
        deltas: int = 0,
    ) -> None:
        """rate: samples a second; files of another rate are resampled. bands: numbers of a frame, on the mel scale.

        path, label: columns of the table. other: the label of frames outside all segments. files: the tables of each
        split in the folder data.path; patterns may match many. coefficients: of the cepstrum (MFCC) in place of the
        bands; 0 for the bands. deltas: 1 puts the change over time of each number behind them, 2 the change of that
        too.
        """
        super().__init__(rate, bands, path, label, files, encoding, coefficients, deltas)
        self.label, self.other = label, other
        if not other.strip() or JOINER in other:
            raise InputError(f"data.corpus.other is {other!r}; it must be a label without a tab")

    def entries(self, table: Path) -> Iterator[RecordingEntry]:
        """Each file of a table once, as its first line names it."""
        for several in self.by_file(table):
            yield whole(several[0])

    def by_file(self, table: Path) -> list[list[RecordingEntry]]:
        """The lines of a table, those of a file together."""
        files: dict[Path, list[RecordingEntry]] = {}
        for entry in self.lines(table):
            files.setdefault(entry.sound, []).append(entry)
        return list(files.values())

    def read(self, shard: Shard) -> Iterator[Row]:
        [table] = shard
        found = Remarks(table, self.rate)
        for entries in self.by_file(table):
            first = whole(entries[0])
            samples = self.samples(first, table, found)
            frames = self.sound.of(samples)
            segments = self.segments(entries, table, len(samples) / self.rate)
            labels = labels_of(segments, len(frames), self.sound, self.other)
            yield Row(text_of_array(frames), JOINER.join(labels), first.line, str(table), speaker=first.speaker)
        found.tell()

    def segments(self, entries: Sequence[RecordingEntry], table: Path, seconds: float) -> list[Segment]:
        """The segments of a file of so many seconds, in order; InputError where two meet."""
        result = list[tuple[Segment, int]]()
        for entry in entries:
            where, label = f"{table}:{entry.line}", entry.text.strip()
            if (entry.start, entry.end, label, len(entries)) == (None, None, "", 1):
                continue
            if entry.start is None or entry.end is None or not label or JOINER in label:
                raise InputError(f"{where}: a segment has a start, an end and a label; fill them in, or drop the line")
            if not entry.start < entry.end <= seconds + SLACK or entry.start >= seconds:
                raise InputError(
                    f"{where}: from {entry.start:.3f} to {entry.end:.3f} is no part of {entry.sound}, which has "
                    f"{seconds:.3f} seconds; fix start and end"
                )
            result.append((Segment(entry.start, entry.end, label), entry.line))
        result.sort()
        ends = np.array([one.end for one, _ in result])
        for place, (one, line) in enumerate(result[1:], 1):
            if one.start < ends[place - 1] - 1e-6:
                raise InputError(
                    f"{table}:{line}: this segment begins at {one.start:.3f}, before that of line "
                    f"{result[place - 1][1]} ends; a frame has one label, so cut one of them"
                )
        return [one for one, _ in result]


def whole(entry: RecordingEntry) -> RecordingEntry:
    """The line as one of its whole file."""
    return entry._replace(start=None, end=None)
