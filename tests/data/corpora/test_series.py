"""Series of files: times that must rise evenly, groups, and what stands for missing rows and values."""

import logging
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.data.corpora.series import Series
from seq2seq.data.corpora.time_steps import counted, step_name, usual_step
from seq2seq.errors import InputError


def days(count: int, first: date = date(2024, 1, 1)) -> list[str]:
    return [str(first + timedelta(row)) for row in range(count)]


def file_of(folder: Path, lines: list[str], header: str = "day,units") -> str:
    (folder / "s.csv").write_text("\n".join([header, *lines]) + "\n")
    return str(folder / "s.csv")


def numbers_of(corpus: Series, path: str) -> list[list[str]]:
    return [[*one.texts] for one in corpus.series(path)]


def dated(time: str = "day", **settings: Any) -> Series:
    return Series(history=4, horizon=2, columns="units", time=time, **settings)


MONTHS = [f"{2020 + row // 12}-{row % 12 + 1:02}" for row in range(30)]
STEPS = [
    (days(10), "a day"),
    (MONTHS, "a month"),
    ([f"{month}-01 00:00:00" for month in MONTHS], "a month"),
    ([str(date.fromisoformat(f"{month}-01") - timedelta(1)) for month in MONTHS], "a month"),
    ([f"{2001 + row // 4}Q{row % 4 + 1}" for row in range(9)], "a quarter"),
    ([f"{1990 + row}-06-30" for row in range(9)], "a year"),
    ([str(1990 + row) for row in range(9)], "1"),
    ([str(10 * row) for row in range(9)], "10"),
    ([f"{row // 24 + 1:02}.03.2024 {row % 24}:00".replace(" ", " 0" if row % 24 < 10 else " ") for row in range(50)], "an hour"),
    ([f"1/{row + 1}/2024" for row in range(20)], "a day"),
    ([text.replace("-", "") for text in days(40)], "a day"),
    ([month.replace("-", "") for month in MONTHS], "a month"),
    ([text for text in days(30) if date.fromisoformat(text).weekday() < 5], "a weekday"),
    (days(60)[::7], "a week"),
    ([(datetime(2024, 1, 1) + timedelta(minutes=15 * row)).isoformat() + "Z" for row in range(99)], "15 minutes"),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "name"), STEPS, ids=lambda one: one if isinstance(one, str) else one[0])
def test_steps_of_times_are_recognised(texts: list[str], name: str) -> None:
    times, unit = counted(texts, str)
    step = usual_step([times])
    assert step_name(step, unit) == name
    assert (np.diff(times) == step).all()


WRONG = [
    (lambda rows: rows[::-1], {}, r"s\.csv:3: .*newest.*data\.corpus\.sort"),
    (lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]], {}, r"s\.csv:6: .*01-04 follows .*01-05.*data\.corpus\.sort"),
    (lambda rows: [*rows[:5], *rows[8:]], {}, r"s\.csv:7: 3 steps .*01-05 .*01-09.*a day.*data\.corpus\.gaps"),
    (lambda rows: [*rows[:5], rows[4], *rows[5:]], {}, r"s\.csv:7: .*01-05 .*line 6 .*data\.corpus\.group"),
    (lambda rows: rows + rows, {}, r"s\.csv:32: .*data\.corpus\.group"),
    (lambda rows: [*rows[:5], "soon,3", *rows[5:]], {}, r"s\.csv:7: 'soon' .*2024-01-31"),
    (lambda rows: [*rows[:5], "2024-01-05 13:00,3", *rows[5:]], {}, r"s\.csv:7: 2024-01-05 13:00 .*01-05.*a day"),
    (lambda rows: [*rows, "9924-01-01,2"], {"gaps": "zero"}, r"s\.csv:32: .*too many"),
    (lambda rows: ["1/2/2024,3", "1/3/2024,4"], {}, r"s\.csv:2: '1/2/2024' .*day .*month"),
    (lambda rows: [*rows[:5], "2024-01-06,", *rows[6:]], {}, r"s\.csv:7: .*units.*data\.corpus\.fill"),
    (lambda rows: [rows[0][:11], *rows[1:]], {"fill": "linear"}, r"s\.csv:2: .*data\.corpus\.fill to zero"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "settings", "message"), WRONG)
def test_wrong_times_are_named_with_line_and_remedy(
    tmp_path: Path, change: Any, settings: dict[str, Any], message: str
) -> None:
    rows = [f"{day},{row}" for row, day in enumerate(days(30))]
    with pytest.raises(InputError, match=message) as caught:
        dated(**settings).series(file_of(tmp_path, change(rows)))
    assert "\n" not in str(caught.value)


def test_sorting_and_filling_are_declared(tmp_path: Path) -> None:
    rows = [f"{day},{row}" for row, day in enumerate(days(12))]
    path = file_of(tmp_path, rows[::-1])
    assert numbers_of(dated(sort=True), path) == [[str(row) for row in range(12)]]
    path = file_of(tmp_path, [*rows[:3], *rows[6:8], "2024-01-09,NaN", "2024-01-10,", "2024-01-11,20"])
    for gaps, fill, expected in (
        ("previous", "linear", [0, 1, 2, 2, 2, 2, 6, 7, 7 + 13 / 3, 7 + 26 / 3, 20]),
        ("linear", "zero", [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 20]),
        ("zero", "previous", [0, 1, 2, 0, 0, 0, 6, 7, 7, 7, 20]),
    ):
        [found] = numbers_of(dated(gaps=gaps, fill=fill), path)
        assert [float(text) for text in found] == pytest.approx(expected)
    (tmp_path / "one.csv").write_text("1\n\n3\n\n")
    assert numbers_of(Series(fill="linear"), str(tmp_path / "one.csv")) == [["1", "2", "3"]], (
        "lines at the end are none"
    )
    (tmp_path / "two.csv").write_text("1,5\n,6\n3,NA\n")
    assert numbers_of(Series(columns=[1, 2], fill="linear"), str(tmp_path / "two.csv")) == [["1 5", "2 6", "3 6"]]


def test_what_is_filled_never_comes_from_behind_a_forecast_or_a_split(tmp_path: Path) -> None:
    """Changing all values from the first that is forecast on leaves the history; those of later splits, the window."""
    random = np.random.default_rng(3)
    values = [
        f"{value:.3f}" if keep else ""
        for value, keep in zip(random.normal(size=80), random.random(80) < 0.6, strict=True)
    ]
    values[0] = "1"
    corpus = Series(history=6, horizon=4, columns="units", fill="linear")

    def rows(values: list[str], split: str) -> list[tuple[str, str]]:
        path = file_of(tmp_path, [f"{row},{value}" for row, value in enumerate(values)])
        return [(row.source, row.target) for row in corpus.rows(split, path)]

    for split in ("train", "validation", "test"):
        _, after = corpus.span(split, 80)
        known = rows(values, split)
        later = rows(
            [value and (f"{float(value) + 50}" if at >= after else value) for at, value in enumerate(values)], split
        )
        assert known == later, "a window knows nothing of a later split"
        for number, step in enumerate(corpus.windows(split, corpus.series(str(tmp_path / "s.csv"))[0])):
            changed = [value and (f"{float(value) + 50}" if at >= step else value) for at, value in enumerate(values)]
            assert rows(changed, split)[number][0] == known[number][0], "a history knows nothing of its forecast"


def test_forecasts_begin_as_far_apart_as_is_said(tmp_path: Path) -> None:
    path = file_of(tmp_path, [f"{day},{row}" for row, day in enumerate(days(60))])
    for split, first in (("train", 4), ("validation", 39), ("test", 48)):
        every = [row.target for row in dated().rows(split, path)]
        spaced = [row.target for row in dated(stride=5).rows(split, path)]
        assert spaced == every[::5]
        assert spaced[0] == f"{first}\t{first + 1}"
    with pytest.raises(InputError, match=r"data\.corpus\.stride is 0"):
        dated(stride=0)


def test_windows_never_cross_groups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lengths = {"a": 60, "b": 90, "c": 7}
    panel = [
        (day, group, 1000 * number + row)
        for number, (group, count) in enumerate(lengths.items())
        for row, day in enumerate(days(count))
    ]
    for order in (panel, sorted(panel)):
        path = file_of(tmp_path, [f"{day},{group},{value}" for day, group, value in order], "day,shop,units")
        corpus = dated(group="shop")
        with caplog.at_level(logging.WARNING):
            rows = {split: list(corpus.rows(split, path)) for split in ("train", "validation", "test")}
        assert "group c" in caplog.text
        asked: dict[str, set[int]] = {}
        for split, several in rows.items():
            for row in several:
                values = [int(text) for text in f"{row.source}\t{row.target}".split("\t")]
                assert values == list(range(values[0], values[0] + 6)), "neighbours in time, of one group"
                assert len({value // 1000 for value in values}) == 1
                assert int(Path(path).read_text().splitlines()[row.line - 1].split(",")[2]) == values[4]
            asked[split] = {int(text) for row in several for text in row.target.split("\t")}
        assert asked["test"] == {*range(48, 60), *range(1072, 1090)}, "the last values of each"
        assert not asked["test"] & asked["validation"]
        assert not asked["train"] & asked["validation"]
    with pytest.raises(InputError, match=r"train .*of the group a.*\b90\b"):
        list(Series(history=90, columns="units", group="shop").rows("train", path))


def test_dates_that_are_not_asked_for_but_do_not_rise_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{day},{row}" for row, day in enumerate(days(30))]
    corpus = Series(history=4, horizon=2, columns="units")
    for lines, warned in ((rows, False), (rows[::-1], True), (rows + rows, True)):
        caplog.clear()
        list(corpus.rows("train", file_of(tmp_path, lines)))
        list(corpus.rows("test", file_of(tmp_path, lines)))
        assert [("data.corpus.time" in record.message) for record in caplog.records] == [True] * warned


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sort": True}, r"data\.corpus\.sort .*data\.corpus\.time"),
        ({"gaps": "zero"}, r"data\.corpus\.gaps .*data\.corpus\.time"),
        ({"name": "co2", "fill": "zero"}, r"data\.corpus\.name co2"),
    ],
)
def test_settings_that_do_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Series(**settings)
