"""Data sets of the Hugging Face Hub with a column of sound."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.corpora.hub import Hub, class_names
from seq2seq.data.corpora.json_rows import columns_of, text_of
from seq2seq.data.corpora.recordings import RecordingEntry, Remarks, check_sound
from seq2seq.data.number_text import text_of_array
from seq2seq.data.rows import Row, Texts
from seq2seq.data.sound import SoundFrames, samples_in, samples_of
from seq2seq.errors import InputError


class HubRecordings(Hub):
    """A data set of the Hugging Face Hub, or one saved to disk, whose rows hold a sound (`Audio`) and a text."""

    def __init__(
        self,
        name: str,
        source: str = "audio",
        target: str = "text",
        speaker: str | None = None,
        configuration: str | None = None,
        splits: dict[str, str | None] | None = None,
        rate: int = 16_000,
        bands: int = 40,
        coefficients: int = 0,
        deltas: int = 0,
    ) -> None:
        """name, configuration: the data set, or a folder that `save_to_disk` has written.

        source, target, speaker: columns of the sound, the text or class, and who speaks; null for no speaker. splits:
        what train, validation and test are called there, where it differs; null for one that is missing. rate: samples
        a second; others are resampled. bands: numbers of a frame, on the mel scale. coefficients: of the cepstrum
        (MFCC) in place of the bands; 0 for the bands. deltas: 1 puts the change over time of each number behind them,
        2 the change of that too.
        """
        super().__init__(name, source, target, configuration, splits)
        check_sound(rate, bands, coefficients, deltas)
        self.speaker, self.rate, self.bands = speaker, rate, bands
        self.coefficients, self.deltas = coefficients, deltas

    @property
    def sound(self) -> SoundFrames:
        return SoundFrames(self.rate, self.bands, self.coefficients, self.deltas)

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        dataset = self.encoded(split, path)
        names = class_names(dataset.features[self.target])
        place = f"{self.name} {split}"
        found = Remarks(Path(place), self.rate)
        for number, content in enumerate(dataset, 1):
            where = f"{place}:{number}"
            value = content[self.target] if names is None else names(content[self.target])
            text = text_of(value, where, str(self.target))
            if not text.strip():
                raise InputError(f"{where}: the text is empty; give what is said, or drop the row")
            who = "" if self.speaker is None else str(content[self.speaker])
            samples, own = self.samples(content, where)
            found.note(RecordingEntry(Path(where), text, None, None, number, who), samples, own)
            yield Row(text_of_array(self.sound.of(samples)), text, number, place, speaker=who)
        found.tell()

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        return Corpus.stream(self, split, path, order)

    def recorded(self, split: str, texts: Texts, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        places = {row: place for row in rows if (place := texts.place(row)) is not None}
        for own in dict.fromkeys(name for name, _ in places.values()):
            dataset = self.encoded(own.removeprefix(f"{self.name} "), None)
            for row, (name, number) in places.items():
                if name == own:
                    yield row, self.samples(dataset[number - 1], texts.location(row))[0]

    def encoded(self, split: str, path: str | None) -> Any:
        """The split with its sounds as the bytes of their files."""
        import datasets  # takes two seconds to import

        dataset = self.dataset(split, path)
        wanted = [str(self.source), str(self.target), *([self.speaker] if self.speaker else [])]
        columns = columns_of(wanted, dataset.column_names, repr(self.name))
        if not isinstance(dataset.features[self.source], datasets.Audio):
            raise InputError(
                f"the column {self.source!r} of {self.name!r} is {type(dataset.features[self.source]).__name__}, not "
                "Audio; set data.corpus.source"
            )
        return dataset.select_columns(columns).cast_column(self.source, datasets.Audio(decode=False))

    def samples(self, content: dict[str, Any], where: str) -> tuple[np.ndarray, int]:
        """The samples of a row's sound, and its own rate."""
        sound = content[str(self.source)] or {}
        try:
            if sound.get("bytes"):
                return samples_in(io.BytesIO(sound["bytes"]), "the sound", self.rate)
            return samples_of(Path(str(sound.get("path"))), self.rate)
        except InputError as problem:
            raise InputError(f"{where}: {problem}") from problem
