"""Forecasts of the series of a file: a row for each step after the last value of each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from seq2seq.data.corpora.series import Series
from seq2seq.data.corpora.series_files import Values
from seq2seq.data.lines import as_list
from seq2seq.data.number_text import STEP
from seq2seq.errors import InputError
from seq2seq.inference.table_files import Record, TableFile, form_of


def reads(file: Path, columns: Sequence[str]) -> bool:
    """Whether a file is read as the series of a training were; not where a column is named that holds histories."""
    return not columns and form_of(file, "--input") in ("csv", "tsv")


class SeriesTable(TableFile):
    """The last values of each series of one file, and the file that forecasts are written to."""

    def __init__(self, source: Path, target: Path, corpus: Series) -> None:
        """corpus: of training, whose settings say how the file is read."""
        super().__init__(source, target, [], "source")
        self._corpus = corpus
        self._several: list[Values] = []

    def chunks(self, check: Callable[[str], None]) -> Iterator[tuple[list[str], int]]:
        """The texts of all series; check: raises InputError for a wrong one."""
        found = self._corpus.newest(self.source)
        self._several = [one for one, _ in found]
        for one, text in found:
            try:
                check(text)
            except InputError as problem:
                raise InputError(f"{self.source}:{one.lines[-1]}: {problem}") from problem
        yield [text for _, text in found], 0

    def write(self, number: int, answers: Sequence[Record]) -> None:
        """The steps of each series with their forecasts."""
        records = [row for one, answer in zip(self._several[number:], answers, strict=False)
                   for row in self._steps(one, answer)]  # fmt: skip
        if records:
            self._writer = self._writer or self._opened(records[0])
            self._writer(records)

    def _steps(self, one: Values, answer: Record) -> Iterator[Record]:
        """A row for each step: group and time as in the file, its number, and each number that was forecast."""
        keys, names = ([str(name) for name in as_list(side) if side is not None] for side in
                       (self._corpus.group, self._corpus.columns))  # fmt: skip
        columns = {name: text.split(STEP) for name, text in answer.items() if text is not None}
        for step in range(len(columns["prediction"])):
            row: Record = dict(zip(keys, one.keys, strict=True))
            if one.times:
                row[str(self._corpus.time)] = one.times[step]
            row["step"] = step + 1
            for name, steps in columns.items():
                numbers = steps[step].split()
                several = [name] if len(numbers) == 1 else [f"{name}_{column}" for column in names]
                row |= {column: float(text) for column, text in zip(several, numbers, strict=True)}
            yield row
