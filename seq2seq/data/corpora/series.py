"""Time series cut into windows: a history to the values that follow it, in the order of time.

Of each series the last values are those of the test split, those before them of the validation split, the others of the
training split. A window belongs to the split in which all the values that it forecasts lie; its history may begin
before, as it would when a forecast is made. So training sees no value that validation or test asks for.
"""

import copy
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seq2seq.data.corpora.corpus import SPLITS, Corpus
from seq2seq.data.corpora.series_files import Repair, SeriesFormat, Values, read_series
from seq2seq.data.corpora.tables import ColumnNames
from seq2seq.data.lines import as_list, check_delimiter
from seq2seq.data.number_text import STEP
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

log = logging.getLogger(__name__)


class Series(Corpus):
    """Windows of one time series or several: those of a file, or one of two that come with statsmodels.

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
        past_covariates: ColumnNames | None = None,
        future_covariates: ColumnNames | None = None,
        delimiter: str = ",",
        header: bool = False,
        encoding: str = "utf-8",
        time: int | str | None = None,
        group: ColumnNames | None = None,
        sort: bool = False,
        gaps: Repair = "refuse",
        fill: Repair = "refuse",
        stride: int = 1,
        decimal: Literal[".", ","] = ".",
    ) -> None:
        """Which series, and how it is cut.

        Args:
            name: sunspots or co2, which come with statsmodels; null for the file data.path, one step a line.
            history: steps that are known.
            horizon: steps that are forecast.
            validation_share: of all values of a series, those before the test's that are kept for validation.
            test_share: of all values of a series, the last ones, which are kept for the test.
            columns: of the file, counted from 1 or named by its first line; the numbers of several make a vector.
            past_covariates: columns of other numbers, known up to now: readings of other sensors, say.
            future_covariates: columns known in advance: a calendar, prices, holidays, a weather forecast. Their values
                in the horizon are read too. Rows at the end of a series with these alone are what `predict` forecasts.
            delimiter: what separates columns.
            header: whether the first line names the columns; it does where a setting holds a name.
            encoding: of the file.
            time: the column of dates, times or whole numbers, which must rise by even steps (months count as even,
                and weekdays where there is no weekend); null for rows that are known to be in order without gaps.
            group: the column, or the columns, that tell several series of a file apart. No window has values of two.
            sort: order the rows of each series by time.
            gaps: what stands for the rows that are missing in time: nothing, so that the file is refused (refuse),
                the value before (previous), values on the line to the next one (linear) or zero.
            fill: the same for empty fields and NaN in rows of the file.
            stride: steps from one forecast to the next: 1 for one at each step, 24 for one a day of hourly values.
            decimal: what stands before the decimals of a number.
        """
        check_range("data.corpus.history", history, 1)
        check_range("data.corpus.horizon", horizon, 1)
        check_range("data.corpus.stride", stride, 1)
        for what, share in (("validation_share", validation_share), ("test_share", test_share)):
            check_range(f"data.corpus.{what}", share, 0, 1)
        check_delimiter(delimiter)
        if time is None and (sort or gaps != "refuse"):
            raise InputError(f"data.corpus.{'sort' if sort else 'gaps'} needs data.corpus.time, the column of the time")
        more = (time, group, past_covariates, future_covariates)
        if name is not None and (any(one is not None for one in more) or fill != "refuse"):
            raise InputError(f"data.corpus.name {name} has no columns; leave out data.corpus.time, group, fill and "
                             "covariates")  # fmt: skip
        self.name, self.history, self.horizon = name, history, horizon
        self.validation_share, self.test_share = validation_share, test_share
        self.past_covariates, self.future_covariates = past_covariates, future_covariates
        self.columns, self.delimiter, self.header, self.encoding = columns, delimiter, header, encoding
        self.time, self.group, self.sort, self.gaps, self.fill = time, group, sort, gaps, fill
        self.stride, self.decimal = stride, decimal

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        several = self.series(path, split == "train")
        short = [one for one in several if self.windows(split, one).stop <= self.windows(split, one).start]
        if len(short) == len(several):
            raise InputError(f"{self.too_short(split, several[0])}; change data.corpus")
        if short:
            more = f", and of {len(short) - 1:,} more groups" if len(short) > 1 else ""
            log.warning("%s%s; the %s split is without them", self.too_short(split, short[0]), more, split)
        for one in several:
            _, after = self.span(split, len(one.texts))
            for step in self.windows(split, one):
                known = one.between(step - self.history, step, step)
                known += one.covariates(step, step + self.horizon)
                wanted = one.series(step, step + self.horizon, after)
                yield Row(STEP.join(known), STEP.join(wanted), one.lines[step], one.name)

    def of_one_file(self) -> Corpus | None:
        corpus = copy.copy(self)
        corpus.validation_share = corpus.test_share = 0.0
        return corpus

    def span(self, split: str, count: int) -> tuple[int, int]:
        """The first value that a split forecasts, and the first after them, of `count` values."""
        sizes = [round(share * count) for share in (self.validation_share, self.test_share)]
        ends = [0, count - sum(sizes), count - sizes[1], count]
        first, after = ends[SPLITS.index(split) :][:2]
        return first, after

    def windows(self, split: str, series: Values) -> range:
        """The steps at which forecasts of a split begin."""
        first, after = self.span(split, len(series.texts))
        return range(max(first, self.history), after - self.horizon + 1, self.stride)

    def too_short(self, split: str, series: Values) -> str:
        """That a series has no window."""
        count = len(series.texts)
        first, after = self.span(split, count)
        group = f" of the group {series.group}" if series.group else ""
        return (
            f"the {split} split has {max(0, after - first)} of {count} values{group}, too few for a history of "
            f"{self.history} and a horizon of {self.horizon}"
        )

    def series(self, path: str | None, warn: bool = False) -> list[Values]:
        """All values of each series; warn: of dates that rows do not follow."""
        if self.name is None:
            if path is None or not Path(path).is_file():
                raise InputError(f"data.path is {path}; give the file of the series, or data.corpus.name co2")
            form = SeriesFormat(
                *(self.columns, self.past_covariates, self.future_covariates, self.time, self.group, self.sort),
                *(self.gaps, self.fill, self.delimiter, self.header, self.encoding, self.decimal),
            )
            return read_series(Path(path), form, warn)
        self.refuse_path(path)
        values = sunspots() if self.name == "sunspots" else co2()
        return [Values([f"{value:.7g}" for value in values.tolist()], range(1, len(values) + 1), self.name)]

    def newest(self, file: Path) -> list[tuple[Values, str]]:
        """Each series of a file, with the text to forecast from: its last values, and what is known of the future."""
        corpus = copy.copy(self)
        corpus.name = None
        several = corpus.series(str(file))
        found = []
        for one in several:
            count, group = len(one.texts), f" of the group {one.group}" if one.group else ""
            if count < self.history:
                raise InputError(f"{file}: {count} values{group}, fewer than data.corpus.history {self.history}; give "
                                 "earlier ones")  # fmt: skip
            if one.future and len(one.ahead) < self.horizon:
                names = ", ".join(map(str, as_list(self.future_covariates)))
                raise InputError(
                    f"{file}:{one.lines[-1]}: {len(one.ahead)} rows follow the last value{group}, and a forecast of "
                    f"{self.horizon} steps needs {names} of each; add rows that have these and leave "
                    f"{', '.join(map(str, as_list(self.columns)))} empty"
                )
            steps = one.between(count - self.history, count, count) + one.covariates(count, count + self.horizon)
            found.append((one, STEP.join(steps)))
        return found

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
