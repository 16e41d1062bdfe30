"""Examples: labels under their words, numbers as pictures and in few digits."""

import pytest

from seq2seq.report.examples import example, labelled, searchable
from seq2seq.report.sparklines import in_brief, sequence, spark

HISTORY, TRUTH, FORECAST = "1\t2\t3\t4\t5", "6\t7", "6.123456789\t7.5"


def test_labels_stand_under_their_words() -> None:
    words = labelled("New York\tis\tbig", "B-LOC\tO\tO", "O\tO\tO")
    assert words == [("New York", "B-LOC", "O"), ("is", "O", "O"), ("big", "O", "O")]
    assert labelled("a b", "X Y", "X Y") == [("a", "X", "X"), ("b", "Y", "Y")]
    assert labelled("a b c", "X Y", "X Y") == []
    row = {"id": 1, "source": "a\tb", "reference": "X\tY", "prediction": "X\tX"}
    assert example(row, {}, "Tagging").words
    assert not example(row, {}, "Translation").words


def test_forecasts_are_pictures_and_their_numbers_few() -> None:
    whole = {
        "source": HISTORY,
        "reference": TRUTH,
        "prediction": FORECAST,
        "quantiles": {"0.1": TRUTH, "0.9": FORECAST},
    }
    shown = example({"id": 3, "source": "5 numbers: 1 ...", "prediction": FORECAST, "mase": 0.12345, "metric": "mase", "score": 0.0}, {3: whole}, "Forecasting")  # fmt: skip
    assert shown.picture is not None
    assert "quantiles 0.1 to 0.9" in shown.picture
    assert shown.source == "1 2 3 4 5 (5 steps)"
    assert shown.facts == ["row 3", "MASE 0.123"], "no score of a search that there was not"


@pytest.mark.parametrize("text", ["1\t2\t3", "a\t2\t3\t4", "1 2\t3\t4\t5", "1\tnan\t3\t4", "the cat sat", ""])
def test_texts_that_are_no_long_numbers_stay(text: str) -> None:
    assert sequence(text) is None
    assert in_brief(text) == text


def test_numbers_become_lines_or_shades() -> None:
    steps = [[float(step), -step / 2] for step in range(500)]
    picture = spark(steps, "Source")
    assert picture.count("<path") == 2
    assert len(picture) < 4000
    picture = spark([[float(step * place) for place in range(40)] for step in range(500)], "Source")
    assert "cell" in picture
    assert len(picture) < 60_000
    assert spark([[1.0]] * 5, "Source"), "a constant"


def test_searched_rows_are_short_where_they_are_numbers() -> None:
    text = "\t".join(f"{step / 3}" for step in range(1000))
    (row,) = searchable([{"id": 0, "source": text, "reference": "x", "prediction": "y", "metric": "wer", "wer": 1.0}])
    assert row[1] == "0 0.333 0.667 1 1.33 1.67 … (1000 steps)"
