"""Errors of numbers equal numpy's, and scaled ones those of the formula."""

import math

import numpy as np
import pytest

from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.forecast_errors import (
    MeanAbsoluteError,
    MeanAbsoluteScaledError,
    RootMeanSquaredError,
    RootMeanSquaredScaledError,
    ScaledError,
    WeightedQuantileLoss,
)


def text(values: np.ndarray) -> str:
    return "\t".join(" ".join(map(repr, map(float, step))) for step in values)


def row_of(source: np.ndarray, reference: np.ndarray, guess: np.ndarray, row: int = 0) -> Prediction:
    return Prediction(row, text(source), text(reference), text(guess), 0.0, [])


def drawn(width: int, count: int = 20) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Sources, references and predictions of several lengths."""
    random = np.random.default_rng(width)
    steps = [(int(random.integers(14, 30)), int(random.integers(1, 9))) for _ in range(count)]
    return [tuple(random.normal(5, 2, (length, width)) for length in (past, ahead, ahead)) for past, ahead in steps]  # type: ignore[misc]


@pytest.mark.parametrize("width", [1, 3])
def test_errors_are_over_all_numbers(width: int) -> None:
    series = drawn(width)
    rows = [row_of(*one) for one in series]
    errors = np.concatenate([(guess - reference).ravel() for _, reference, guess in series])
    assert MeanAbsoluteError().score(rows).value == pytest.approx(np.abs(errors).mean())
    assert RootMeanSquaredError().score(rows).value == pytest.approx(np.sqrt(np.square(errors).mean()))
    assert MeanAbsoluteError().unit == RootMeanSquaredError().unit == ""


@pytest.mark.parametrize("season", [1, 4, 12])
@pytest.mark.parametrize("width", [1, 2])
def test_scaled_errors_follow_the_formula(width: int, season: int) -> None:
    expected, naive, squared = [], [], []
    series = drawn(width)
    for source, reference, guess in series:
        for column in range(width):
            history, future = source[:, column], reference[:, column]
            scale = np.mean([abs(history[t] - history[t - season]) for t in range(season, len(history))])
            expected.append(
                np.mean([abs(one - other) for one, other in zip(guess[:, column], future, strict=True)]) / scale
            )
            steps = [(history[t] - history[t - season]) ** 2 for t in range(season, len(history))]
            squared.append(np.sqrt(np.mean((guess[:, column] - future) ** 2) / np.mean(steps)))
            extended = list(history)
            for _ in future:
                extended.append(extended[-season])
            naive.append(np.mean(np.abs(np.array(extended[len(history) :]) - future)) / scale)
    score = MeanAbsoluteScaledError(season).score([row_of(*one) for one in series])
    assert score.value == pytest.approx(np.mean(expected))
    assert score.signature == f"mase|season:{season}|scale:source|naive:{np.mean(naive):.4g}"
    assert RootMeanSquaredScaledError(season).score([row_of(*one) for one in series]).value == pytest.approx(
        np.mean(squared)
    )


def test_repeating_the_last_season_scores_what_the_signature_says() -> None:
    rows = [row_of(source, reference, np.resize(source[-4:], reference.shape)) for source, reference, _ in drawn(1)]
    score = MeanAbsoluteScaledError(4).score(rows, interval=True)
    assert f"|naive:{score.value:.4g}|bs:1000" in score.signature


def test_a_history_that_repeats_itself_is_left_out_and_told() -> None:
    constant, moving = np.full((6, 1), 3.0), np.arange(6.0)[:, None]
    one, two = np.ones((2, 1)), np.full((2, 1), 2.0)
    rows = [row_of(constant, one, two, 0), row_of(moving, one, two, 1)]
    score = MeanAbsoluteScaledError().score(rows, interval=True)
    assert score.value == pytest.approx(1.0)
    assert score.signature == "mase|season:1|scale:source|naive:4|left_out:1|bs:1000|seed:12345"
    assert np.isfinite([score.low, score.high]).all()  # type: ignore[list-item]
    both = row_of(np.hstack([constant, moving]), np.hstack([one, one]), np.hstack([two, two]))
    assert MeanAbsoluteScaledError().statistics([both]).tolist() == [[1.0, 4.0, 1.0, 1.0]], "only one of two series"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Prediction(7, "1\t2", "1", "x", 0.0, []), "row 7: .*prediction.*'x'"),
        (Prediction(7, "1\t2", "1\t2 3", "1\t2", 0.0, []), "row 7: .*reference"),
        (Prediction(7, "1\t2", "1", "nan", 0.0, []), "row 7: .*prediction.*finite"),
        (
            Prediction(7, "1\t2", "1\t2", "1", 0.0, []),
            "row 7: .*prediction.* 1 x 1 .*reference.* 2 x 1",
        ),
        (Prediction(7, "1\t2", "1", "", 0.0, []), "row 7: .*prediction.* 0 x 0 "),
        (Prediction(7, "1\t2\t3", "1", "1", 0.0, []), "row 7: .*source.* 3 .*season 3 .*4"),
        (Prediction(7, "1 1\t2 1\t3 1\t4 1", "1", "1", 0.0, []), "row 7: .* 2 .*source.* 1 .*reference"),
    ],
)
def test_mistakes_name_the_row(row: Prediction, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MeanAbsoluteScaledError(3).score([row])


def test_season_is_at_least_a_step() -> None:
    with pytest.raises(InputError, match=r"season.*0"):
        MeanAbsoluteScaledError(0)


@pytest.mark.parametrize("metric", [MeanAbsoluteScaledError(), RootMeanSquaredScaledError()], ids=repr)
def test_constant_histories_alone_have_no_score(metric: ScaledError) -> None:
    constant = np.zeros((6, 1))
    rows = [row_of(constant, np.array([[0.0], [3.0]]), np.zeros((2, 1)), row) for row in range(3)]
    score = metric.score(rows, interval=True)
    assert math.isnan(score.value)
    assert score.low is None
    assert "naive:n/a" in score.signature
    assert metric.rank(score.value) == -math.inf


def test_the_weighted_quantile_loss_follows_the_formula() -> None:
    random = np.random.default_rng(1)
    rows, above, below = [], [], 0.0
    for row in range(9):
        truth = random.normal(0, 3, (5, 2))
        forecasts = {"0.1": truth * 0 - 1, "0.5": truth * 0, "0.9": truth * 0 + 2}
        rows.append(row_of(truth, truth, truth, row)._replace(quantiles={q: text(one) for q, one in forecasts.items()}))
        below += float(np.abs(truth).sum())
        for name, one in forecasts.items():
            q = float(name)
            above.append(
                sum(q * (y - f) if y >= f else (1 - q) * (f - y) for y, f in zip(truth.flat, one.flat, strict=True))
            )
    assert WeightedQuantileLoss().score(rows).value == pytest.approx(2 * sum(above) / 3 / below)
    half = [row._replace(quantiles={"0.5": row.quantiles["0.5"]}) for row in rows]  # type: ignore[index]
    assert WeightedQuantileLoss().score(half).value == pytest.approx(1.0), "of the median alone: errors over values"
    zero = rows[0]._replace(reference="0 0\t0 0\t0 0\t0 0\t0 0")
    assert math.isnan(WeightedQuantileLoss().score([zero]).value)
    with pytest.raises(InputError, match=r"wql .*model\.quantiles"):
        WeightedQuantileLoss().score([zero._replace(quantiles=None)])
