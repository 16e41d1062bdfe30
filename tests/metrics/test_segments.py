"""Segments are right within the collar, each once, and counted by label."""

import pytest

from seq2seq.errors import InputError
from seq2seq.metrics.segments import SegmentF1
from tests.support import rows_of


def score(prediction: str, reference: str, collar: int) -> float:
    return SegmentF1(collar).score(rows_of([prediction], [reference])).value


@pytest.mark.parametrize(
    ("prediction", "collar", "right"),
    [
        ("n n a a a n b b n", 0, 100),
        ("n a a a a n b b n", 1, 100),
        ("n a a a a n b b n", 0, 50),
        ("n n a a a n a a n", 5, 50),
        ("n n n n n n n n n", 5, 0),
        ("n n a n a n b b n", 2, 80),  # two for one: only one of them counts
    ],
)
def test_ends_may_be_wrong_by_the_collar(prediction: str, collar: int, right: float) -> None:
    names = {"n": "none", "a": "dog", "b": "cat"}
    texts = ["\t".join(names[one] for one in text.split()) for text in (prediction, "n n a a a n b b n")]
    assert score(*texts, collar) == pytest.approx(right)


def test_labels_have_their_own_scores_and_rows_add_up() -> None:
    rows = rows_of(["a none a", "none b none"], ["a none b", "none b none"])
    metric = SegmentF1(0)
    assert metric.statistics(rows).tolist() == [[1, 2, 2], [1, 1, 1]]
    assert metric.score(rows).value == pytest.approx(100 * 2 * 2 / 6)
    labels = metric.details(rows)["labels"]
    assert (labels["a"]["precision"], labels["b"]["recall"]) == (50, 50)
    assert metric.details(rows_of(["none"], ["none"])) == {}
    assert "collar:0" in metric.settings()
    with pytest.raises(InputError, match="collar"):
        SegmentF1(-1)
