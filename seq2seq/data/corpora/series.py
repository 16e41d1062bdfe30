"""Time series cut into windows: a history to the values that follow it, in the order of time.

The last values of a series are those of the test split, those before them of the validation split, the others of the
training split. A window belongs to the split in which all the values that it forecasts lie; its history may begin
before, as it would when a forecast is made. So training sees no value that validation or test asks for.
"""

import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from seq2seq.data.corpora.corpus import SPLITS, Corpus
from seq2seq.data.corpora.tables import ColumnNames, Csv
from seq2seq.data.lines import as_list, check_delimiter
from seq2seq.data.number_text import STEP, parsed
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range


class Values(NamedTuple):
    """A series."""

    texts: Sequence[str]
    """The numbers of each step."""
    lines: Sequence[int]
    """Of each step."""
    name: str


class Series(Corpus):
    """Windows of one time series: that of a file, or one of two that come with statsmodels.

    sunspots: their number in each year from 1700 to 2008. co2: its share of the air at Mauna Loa in parts per million,
    means of the weekly values of each month from March 1958 to December 2001; 5 months without a value lie on the line
    between their neighbours.
    """

    def __init__(
        self,
        name: Literal["sunspots", "co2"] | None = None,
        history: int = 36,
        horizon: int = 12,
        validation_share: float = 0.15,
        test_share: float = 0.2,
        columns: ColumnNames = 1,
        delimiter: str = ",",
        header: bool = False,
        encoding: str = "utf-8",
    ) -> None:
        """Which series, and how it is cut.

        Args:
            name: sunspots or co2, which come with statsmodels; null for the file data.path, one step a line.
            history: steps that are known.
            horizon: steps that are forecast.
            validation_share: of all values, those before the test's that are kept for validation.
            test_share: of all values, the last ones, which are kept for the test.
            columns: of the file, counted from 1 or named by its first line; the numbers of several make a vector.
            delimiter: what separates columns.
            header: whether the first line names the columns; it does where `columns` holds a name.
            encoding: of the file.
        """
        check_range("data.corpus.history", history, 1)
        check_range("data.corpus.horizon", horizon, 1)
        for what, share in (("validation_share", validation_share), ("test_share", test_share)):
            check_range(f"data.corpus.{what}", share, 0, 1)
        check_delimiter(delimiter)
        self.name, self.history, self.horizon = name, history, horizon
        self.validation_share, self.test_share = validation_share, test_share
        self.columns, self.delimiter, self.header, self.encoding = columns, delimiter, header, encoding

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        series = self.series(path)
        first, after = self.span(split, len(series.texts))
        for step in range(max(first, self.history), after - self.horizon + 1):
            known, wanted = series.texts[step - self.history : step], series.texts[step : step + self.horizon]
            yield Row(STEP.join(known), STEP.join(wanted), series.lines[step], series.name)

    def of_one_file(self) -> Corpus | None:
        corpus = copy.copy(self)
        corpus.validation_share = corpus.test_share = 0.0
        return corpus

    def span(self, split: str, count: int) -> tuple[int, int]:
        """The first value that a split forecasts, and the first after them, of `count` values."""
        sizes = [round(share * count) for share in (self.validation_share, self.test_share)]
        ends = [0, count - sum(sizes), count - sizes[1], count]
        first, after = ends[SPLITS.index(split) :][:2]
        if after - max(first, self.history) < self.horizon:
            raise InputError(
                f"the {split} split has {max(0, after - first)} of {count} values, too few for a history of "
                f"{self.history} and a horizon of {self.horizon}; change data.corpus"
            )
        return first, after

    def series(self, path: str | None) -> Values:
        """All values."""
        if self.name is None:
            if path is None or not Path(path).is_file():
                raise InputError(f"data.path is {path}; give the file of the series, or data.corpus.name co2")
            return self.of_file(Path(path))
        self.refuse_path(path)
        values = sunspots() if self.name == "sunspots" else co2()
        return Values([f"{value:.7g}" for value in values.tolist()], range(1, len(values) + 1), self.name)

    def of_file(self, file: Path) -> Values:
        """The chosen columns of each line."""
        texts, lines = [], []
        width = len(as_list(self.columns))
        for row in Csv(self.columns, self.columns, self.delimiter, self.header, encoding=self.encoding).read((file,)):
            step = " ".join(row.source.split())
            try:
                parsed(step, width)
            except InputError as problem:
                raise InputError(f"{file}:{row.line}: {problem}") from problem
            texts.append(step)
            lines.append(row.line)
        return Values(texts, lines, str(file))

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        return [Path(path)] if self.name is None and path is not None and Path(path).is_file() else None


@functools.cache
def sunspots() -> np.ndarray:
    """Of each year from 1700 to 2008."""
    values: np.ndarray = statsmodels("sunspots")["SUNACTIVITY"].to_numpy(np.float64)
    return values


@functools.cache
def co2() -> np.ndarray:
    """Of each month from March 1958 to December 2001."""
    monthly = statsmodels("co2")["co2"].resample("MS").mean()
    values: np.ndarray = monthly.interpolate().to_numpy(np.float64)
    return values


def statsmodels(name: str) -> Any:
    """A data set of statsmodels as a table of pandas."""
    try:
        from statsmodels import datasets
    except ImportError as problem:
        raise InputError(f"the series {name} comes with statsmodels; pip install statsmodels") from problem
    return getattr(datasets, name).load_pandas().data
