"""Forecasts without a model: what they are, that they are scored as the model's, and what is drawn of them."""

import math

import numpy as np
import pytest

from seq2seq.analysis.baselines import baselines, by_step, forecasts
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.forecast_errors import IntervalCoverage, MeanAbsoluteError, MeanAbsoluteScaledError
from seq2seq.report import forecasts as pictures


def row(number: int, history: list[float], truth: list[float], forecast: list[float]) -> Prediction:
    texts = ["\t".join(f"{value:g}" for value in values) for values in (history, truth, forecast)]
    lower = "\t".join(f"{value - 1:g}" for value in forecast)
    return Prediction(number, *texts, 0.0, [], None, {"0.1": lower, "0.5": texts[2], "0.9": texts[2]})


ROWS = [
    row(0, [1, 5, 2, 6, 3, 7], [4, 8, 5], [4, 7, 6]),
    row(1, [0, 4, 0, 4, 0, 5], [0, 4, 0], [1, 4, 0]),
    row(2, [1, 2, 3, 4, 5, 6], [7, 8, 9], [7, 8, 8]),
]
METRICS = [MeanAbsoluteScaledError(2), MeanAbsoluteError(), IntervalCoverage()]


def test_baselines_are_those_of_the_textbook() -> None:
    history, truth = [np.array([[1.0], [5.0], [2.0], [6.0]])], [np.zeros((5, 1))]
    found = baselines(history, truth, 2)
    assert found["last value"][0][:, 0].tolist() == [6] * 5
    assert found["seasonal naive"][0][:, 0].tolist() == [2, 6, 2, 6, 2]
    assert found["drift"][0][:, 0] == pytest.approx([6 + 5 / 3 * step for step in range(1, 6)])
    assert set(baselines(history, truth, 1)) == {"last value", "drift"}
    assert "seasonal naive" not in baselines(history, truth, 5), "a season that no history has"


def test_scores_of_baselines_are_those_of_the_metrics() -> None:
    found = forecasts(ROWS, METRICS, [1.0, 0.5, math.nan], 2)
    assert found is not None
    assert found["best"] == min(found["baselines"], key=lambda name: found["baselines"][name]["mase"])
    last = np.mean([abs(4 - 7), abs(8 - 7), abs(5 - 7), 5, 1, 5, 1, 2, 3])
    assert found["baselines"]["last value"]["mae"] == pytest.approx(last)
    assert "coverage" not in found["baselines"]["drift"]
    assert [one["row"] for one in found["windows"]] == [1, 0, 0, 2]
    assert [one["which"] for one in found["windows"]] == ["best", "median", "worst", "last"]
    assert forecasts(ROWS, METRICS, [1.0] * 3, None) is None, "what is read is not what is forecast"


def test_errors_stand_at_their_step() -> None:
    truth = [np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[3.0, 3.0]])]
    guess = [np.array([[2.0, 1.0], [9.0, 9.0]]), np.array([[3.0, 0.0]])]
    assert by_step({"model": guess}, truth) == {"model": [1.0]}, "steps that all rows have"


def test_the_page_says_whether_the_model_beats_the_best_baseline() -> None:
    found = forecasts(ROWS, METRICS, [1.0, 0.5, 0.7], 2)
    assert found is not None
    metrics = {"mase": {"value": 0.01, "higher_is_better": False}}
    assert f"beats the best baseline, {found['best']}" in pictures.verdict(found, metrics)
    metrics["mase"]["value"] = 99.0
    assert "does not beat" in pictures.verdict(found, metrics)
    metrics["mase"]["value"] = math.nan
    assert pictures.verdict(found, metrics) == ""
    drawn = pictures.pictures(found)
    assert len(drawn) == 4
    assert all(picture.count("band") == 2 for picture, _ in drawn), "a band with its sign in the legend"
    table, shorter, errors = pictures.section(found, {"mase": {"value": 0.5}, "mae": {"value": 1.0}}).panels
    assert [line[0] for line in table.rows] == ["model", "last value", "seasonal naive", "drift"]
    assert list(shorter.header[1:]) == ["1", "3"], "the first step and all three"
    whole = {name: scores["mase"] for name, scores in found["baselines"].items()} | {
        "model": METRICS[0].score(ROWS).value
    }
    assert found["horizons"]["3"] == pytest.approx(whole)
    assert found["horizons"]["1"]["model"] == pytest.approx(4 / 3)
    assert [line[0] for line in errors.rows] == ["1", "2", "3"]
