"""The paragraph on top: every clause comes from numbers, and none where they do not say it."""

from typing import Any

import pytest

from seq2seq.report.digest import digest

LOSSES = {
    "overfitting": [1.0, 0.5, 0.9],
    "converged": [1.0, 0.9, 0.4],
    "settled": [1.0, 0.5, 0.505],
}


def said(results: dict[str, Any], main: dict[str, Any]) -> str:
    found = digest(results, main)
    return f"GOOD {'; '.join(found.good)} BAD {'; '.join(found.bad)} NEXT {'; '.join(found.next)}"


def groups(*values: tuple[str, int, float]) -> dict[str, Any]:
    listed = [{"label": label, "rows": rows, "value": value} for label, rows, value in values]
    return {"metric": "bleu", "by": "source_length", "title": "Source length", "groups": listed}


@pytest.mark.parametrize("kind", list(LOSSES))
def test_training_is_judged_by_its_validation_losses(kind: str) -> None:
    losses = [[step * 10, step, value] for step, value in enumerate(LOSSES[kind])]
    words = said({"curves": {"validation_loss": losses}, "best": {"step": 20}}, {})
    assert [name for name in LOSSES if name in words] == [kind]
    assert ("trainer.patience" in words, "trainer.max_steps" in words) == (kind == "overfitting", kind == "converged")


def test_the_worst_group_is_named_unless_it_is_small_or_near() -> None:
    metrics = {"bleu": {"value": 50.0}}
    words = said({}, {"metrics": metrics, "breakdowns": [groups(("1–5", 90, 60.0), ("51+", 20, 11.0))]})
    assert "BLEU is 11.0 where source length is 51+, 50.0 on average" in words
    for other in (groups(("1–5", 90, 60.0), ("51+", 9, 11.0)), groups(("1–5", 90, 52.0), ("51+", 20, 45.0))):
        assert "51+" not in said({}, {"metrics": metrics, "breakdowns": [other]})


def test_accuracy_stands_beside_the_most_frequent_label() -> None:
    labels = {"yes": {"support": 60, "f1": 90.0}, "no": {"support": 40, "f1": 50.0}}
    confusion = {"labels": ["yes", "no"], "counts": [[55, 5], [20, 20]]}
    main = {
        "metrics": {"accuracy": {"value": 75.0}},
        "details": {"macro_f1": {"labels": labels, "confusion": confusion}},
    }
    words = said({"task": "Classification"}, main)
    assert "GOOD accuracy is 75.0 %, where always the most frequent label reaches 60.0 % BAD" in words
    assert "the label no is found worst: F1 50.0, taken for yes in 50.0 % of its places" in words
    main["metrics"]["accuracy"]["value"] = 59.0
    assert "GOOD  BAD accuracy is 59.0 %" in said({"task": "Classification"}, main)
    assert "most frequent" not in said({"task": "Tagging"}, main), "supports of spans are no counts of words"


def test_nothing_known_says_nothing() -> None:
    assert said({}, {}) == "GOOD  BAD  NEXT "
    assert "hardly anything" in said({}, {"metrics": {"span_f1": {"value": 0.0, "higher_is_better": True}}})
    assert said({}, {"metrics": {"wer": {"value": 0.0, "higher_is_better": False}}}) == "GOOD  BAD  NEXT "
