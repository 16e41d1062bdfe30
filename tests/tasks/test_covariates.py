"""Covariates of series: what the decoder may know of the future, what only the encoder knows, and files with them."""

import csv
import json
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seq2seq
from seq2seq import evaluate, predict, train
from seq2seq.data.batching.batch import Batch
from seq2seq.data.corpora.series import Series
from seq2seq.data.datamodule import DataModule
from seq2seq.data.number_text import StepParts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.forecast_errors import MeanAbsoluteScaledError
from seq2seq.models.attention import Additive
from seq2seq.report import sparklines
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.forecasting import Forecasting
from tests import support

split_of = partial(support.split_of, row_format=Forecasting.row_format)
batch_of = partial(support.batch_of, row_format=Forecasting.row_format)
tiny = partial(support.small, Forecasting, embedding_size=8)

HORIZON, DAYS = 3, 90
SETTINGS: dict[str, Any] = {"columns": "units", "time": "day", "group": "shop", "history": 6, "horizon": HORIZON,
                            "past_covariates": "visitors", "future_covariates": ["promo", "price"]}  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {"relative": "none"},
    {"relative": "last", "rescale": True, "attention": Additive()},
    {"relative": "season", "season": 4},
]
kinds = pytest.mark.parametrize("settings", KINDS, ids=lambda kind: str(kind["relative"]))


def sales(file: Path, ahead: int = HORIZON, empty: tuple[int, str] | None = None) -> str:
    """A table of two shops: units follow a promotion of the same day, which chance decides; empty: a field left out."""
    random = np.random.default_rng(5)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["day", "shop", "units", "promo", "price", "visitors"])
        for shop in ("north", "south"):
            for day in range(DAYS + ahead):
                promo, known = int(random.random() < 0.5), day < DAYS
                row = {"day": day, "shop": shop, "units": 50 + 40 * promo + day % 2 if known else "", "promo": promo,
                       "price": 5 + day % 3, "visitors": 20 + day % 7 if known else ""}  # fmt: skip
                if empty is not None and empty[0] == day:
                    row[empty[1]] = ""
                writer.writerow(row.values())
    return str(file)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    path = sales(tmp_path_factory.mktemp("sales") / "sales.csv")
    return [(row.source, row.target) for row in Series(**SETTINGS).rows("train", path)]


@pytest.fixture(scope="module")
def tokenizers(rows: list[tuple[str, str]]) -> Tokenizers:
    return support.learnt(rows, Vectors(), Vectors())


def forecast_of(task: Forecasting, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = task.eval()(batch)
    return found


# --- rows and their text ---------------------------------------------------------------------------------------------


def test_rows_hold_what_is_known(rows: list[tuple[str, str]], tokenizers: Tokenizers) -> None:
    steps = rows[0][0].split("\t")
    assert [step.count("|") for step in steps] == [1] * (6 + HORIZON)
    assert steps[0] == f"{steps[0].split()[0]} | 20 {steps[0].split()[3]} 5"
    for step, target in zip(steps[6:], rows[0][1].split("\t"), strict=True):
        promo, price = map(int, step.removeprefix("| ").split())
        assert 50 + 40 * promo <= int(target) <= 51 + 40 * promo
        assert 5 <= price <= 7
    source = tokenizers.source
    assert isinstance(source, Vectors)
    assert source.parts == StepParts(1, 1, 2, HORIZON)
    again = support.reborn(source)
    assert (again.parts, again.width) == (source.parts, 4)
    encoded = again.encode([rows[0][0]])[0]
    assert not encoded[6:, :2].any()
    wanted = np.array([step.split()[1:] for step in steps[6:]], dtype=float)
    np.testing.assert_allclose(encoded[6:, 2:] * source.deviation[2:] + source.mean[2:], wanted, rtol=1e-5)


WRONG_TEXTS = [
    ("1 | 2 3 4", "1 steps .* 0 without"),
    ("1 | 2 3 4\t| 3 4\t| 3 4", "2 without"),
    ("1 | 2 3 4\t| 3\t| 3 4\t| 3 4", r"step 2 has .* 1 after"),
    ("1 2 | 3 4\t| 3 4\t| 3 4\t| 3 4", r"step 1 has 2 .* 2 after"),
    ("1 2 3 4\t| 3 4\t| 3 4\t| 3 4", r"step 1 has 0 \|"),
    ("1 | 2 x 4\t| 3 4\t| 3 4\t| 3 4", "step 1 holds 'x'"),
    ("| 3 4\t| 3 4\t| 3 4", "0 steps"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG_TEXTS)
def test_wrong_texts_are_refused(tokenizers: Tokenizers, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tokenizers.source.check(text)
    assert "\n" not in str(caught.value)


def test_wrong_tables_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    for field in ("promo", "visitors"):
        sales(file, empty=(40, field))
        with pytest.raises(InputError, match=rf"sales\.csv:42: .*{field}.*data\.corpus\.fill"):
            list(Series(**SETTINGS).rows("train", str(file)))
        assert list(Series(**SETTINGS, fill="previous").rows("train", str(file)))
    sales(file)
    with pytest.raises(InputError, match=r"past_covariates.*data\.corpus\.columns.*units"):
        list(Series(**SETTINGS | {"past_covariates": "units"}).rows("train", str(file)))
    content = file.read_text().splitlines()
    content[30] = ",".join([*content[30].split(",")[:2], "", *content[30].split(",")[3:]])
    file.write_text("\n".join(content) + "\n")
    with pytest.raises(InputError, match=r"sales\.csv:31: .*data\.corpus\.fill"):
        list(Series(**SETTINGS).rows("train", str(file)))


def test_pictures_are_of_the_series_alone() -> None:
    text = "\t".join([*(f"{step}.5 | 7 {step % 2}" for step in range(20)), "| 1", "| 0"])
    assert sparklines.sequence(text) == [[step + 0.5] for step in range(20)]
    assert "20 steps, with covariates" in sparklines.in_brief(text)


def test_scores_look_at_the_series_alone() -> None:
    with_covariates = Prediction(0, "1 | 7 1\t3 | 7 0\t6 | 7 1\t| 1\t| 0", "7\t9", "7\t8", 0.0, [], None, None)
    alone = with_covariates._replace(source="1\t3\t6")
    mase = MeanAbsoluteScaledError()
    assert (mase.statistics([with_covariates]) == mase.statistics([alone])).all()


# --- the network -----------------------------------------------------------------------------------------------------


@kinds
def test_neighbours_and_padding_never_matter(
    rows: list[tuple[str, str]], tokenizers: Tokenizers, settings: dict[str, Any]
) -> None:
    shorter = [("\t".join(rows[0][0].split("\t")[2:]), rows[0][1]), *rows[1:4]]
    task, batch = tiny(tokenizers, **settings), batch_of(shorter, tokenizers)
    together = forecast_of(task, batch)
    for row, pair in enumerate(shorter):
        torch.testing.assert_close(forecast_of(task, batch_of([pair], tokenizers))[0], together[row], atol=1e-5, rtol=0)
    soiled = batch.source.clone()
    soiled[0, int(batch.source_lengths[0]) :] = 7.0
    assert torch.equal(forecast_of(task, batch._replace(source=soiled)), together)
    task.loss(batch).backward()
    assert [name for name, parameter in task.named_parameters() if parameter.grad is None] == []


@kinds
def test_a_step_knows_the_future_up_to_itself(
    rows: list[tuple[str, str]], tokenizers: Tokenizers, settings: dict[str, Any]
) -> None:
    task, batch = tiny(tokenizers, **settings), batch_of(rows[:4], tokenizers)
    before, first = forecast_of(task, batch), batch.source.shape[1] - HORIZON
    for step in range(HORIZON):
        other = batch.source.clone()
        other[:, first + step, 2:] += 1.0
        after = forecast_of(task, batch._replace(source=other))
        assert torch.equal(after[:, :step], before[:, :step])
        assert bool((after[:, step] != before[:, step]).any(dim=(1, 2)).all())
    for column in (1, 2, 3):  # of the past, all of them
        other = batch.source.clone()
        other[:, first - 2, column] += 1.0
        assert not torch.equal(forecast_of(task, batch._replace(source=other)), before)


def test_what_decides_is_learnt_from_the_covariate(rows: list[tuple[str, str]]) -> None:
    """Units follow a promotion that chance decides, so that the series alone does not tell them."""
    scores = []
    for known in (True, False):
        pairs = rows
        if not known:
            pairs = [("\t".join(step.split()[0] for step in one.split("\t")[:6]), target) for one, target in rows]
        tokenizers = support.learnt(pairs[:80], Vectors(), Vectors())
        task = support.fitted(tiny(tokenizers, hidden_size=16, relative="none"), batch_of(pairs[:80], tokenizers), 40)
        batch = batch_of(pairs[80:], tokenizers)
        texts = [task.text(row[0]) for row in task.eval().predict(batch, task.decoding)]
        predicted = [Prediction(number, source, target, text, 0.0, [], None, None)
                     for number, ((source, target), text) in enumerate(zip(pairs[80:], texts, strict=True))]  # fmt: skip
        metric = MeanAbsoluteScaledError()
        scores.append(float(metric.value(metric.statistics(predicted).sum(axis=0))))
    assert scores[0] < 0.5 * scores[1], scores


# --- what the user does ----------------------------------------------------------------------------------------------

CONFIG = """
task: Forecasting
data:
  corpus:
    class_path: Series
    init_args: {columns: units, time: day, group: shop, history: 6, horizon: 3, past_covariates: visitors,
                future_covariates: [promo, price]}
  tokenizer: Vectors
  target_tokenizer: Vectors
  batch_tokens: 200
model: {embedding_size: 8, hidden_size: 16, season: 2}
optimizer: {learning_rate: 0.01}
trainer: {max_epochs: 1, accelerator: cpu}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizers: Tokenizers) -> Path:
    """A checkpoint of a network that was never trained."""
    task = tiny(tokenizers)
    data = DataModule(Series(**SETTINGS), tokenizer=Vectors(), target_tokenizer=Vectors())
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    path = tmp_path_factory.mktemp("run") / "one.ckpt"
    checkpoint.write({"seq2seq": checkpoint.packed(task, data), "state_dict": states}, path)
    return path


def test_forecasts_of_a_table(run: Path, tmp_path: Path) -> None:
    path = sales(tmp_path / "sales.csv")
    out = tmp_path / "out.csv"
    predict.main([str(run), "--input", path, "--output", str(out), "--quantiles", "--device", "cpu"])
    with out.open() as opened:
        found = list(csv.DictReader(opened))
    assert [(row["shop"], row["day"], row["step"]) for row in found] == [
        (shop, f"{DAYS + step}", f"{step + 1}") for shop in ("north", "south") for step in range(HORIZON)
    ]
    [(_, north), (_, south)] = Series(**SETTINGS).newest(Path(path))
    again = seq2seq.load(run, device="cpu").predict([north, south])
    assert [row["prediction"] for row in found] == [
        f"{float(number)}" for one in again for number in one.text.split("\t")
    ]
    assert all(float(row["quantile_0.1"]) <= float(row["prediction"]) <= float(row["quantile_0.9"]) for row in found)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"ahead": 2}, rf"sales\.csv:{DAYS + 1}: 2 rows .*north.*\b3 steps.*promo, price.*units"),
        ({"empty": (DAYS + 1, "price")}, rf"sales\.csv:{DAYS + 3}: .*price.*data\.corpus\.fill"),
    ],
)
def test_a_future_that_is_not_known_is_refused(run: Path, tmp_path: Path, more: dict[str, Any], message: str) -> None:
    path = sales(tmp_path / "sales.csv", **more)
    with pytest.raises(InputError, match=message):
        predict.main([str(run), "--input", path, "--output", str(tmp_path / "out.csv"), "--device", "cpu"])


def test_a_backtest_in_fewer_bits(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seq2seq.inference.precision.lacks_bfloat16", lambda device: False)
    lowered = []
    monkeypatch.setattr(Forecasting, "forward", partialmethod(noting, lowered, Forecasting.forward))
    path = sales(tmp_path / "sales.csv", ahead=0)
    usual = [str(run), "--data.path", path, "--data.corpus.stride", "3", "--device", "cpu", "--json", "true"]
    evaluate.main([*usual, "--precision", "bf16", "--output", str(tmp_path / "scored")])
    assert set(lowered) == {True}
    results = support.results_of(RunDirectory(tmp_path / "scored"))
    found = results["splits"]["test"]["forecasts"]
    assert results["config"]["precision"] == "bf16"
    assert list(found["horizons"]) == ["1", "3"]
    assert found["windows"][0]["history"] == [float(step.split()[0]) for step in first_source(tmp_path, found)]
    with pytest.raises(InputError, match=r"precision int8.*Forecasting"):
        evaluate.main([*usual, "--precision", "int8"])


def noting(self: Forecasting, seen: list[bool], forward: Any, batch: Batch) -> torch.Tensor:
    """Note whether products are rounded."""
    seen.append(torch.is_autocast_enabled("cpu"))
    found: torch.Tensor = forward(self, batch)
    return found


def first_source(folder: Path, found: dict[str, Any]) -> list[str]:
    """The history of the first window that is drawn."""
    rows = (folder / "scored" / "predictions" / "test.jsonl").read_text().splitlines()
    source: str = json.loads(rows[found["windows"][0]["row"]])["source"]
    return source.split("\t")[:6]


@pytest.mark.slow
def test_the_same_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the covariates and without, and a training that was stopped and resumed."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    path = sales(tmp_path / "sales.csv", ahead=0)
    usual = ["--config", str(tmp_path / "c.yaml"), "--data.path", path, "--trainer.max_epochs", "30"]
    usual += ["--model.relative", "none"]
    scores = []
    for name, more in (("with", []), ("without", ["--data.corpus.future_covariates", "null"])):
        train.main([*usual, *more, "--run", str(tmp_path / name)])
        scores.append(support.results_of(RunDirectory(tmp_path / name))["splits"]["test"]["metrics"]["mase"]["value"])
    assert scores[0] < 0.5 * scores[1], scores
    support.train_until(20, [*usual, "--run", str(tmp_path / "again")], monkeypatch)
    train.main([*usual, "--run", str(tmp_path / "again"), "--resume", "true"])
    one, other = (RunDirectory(tmp_path / name) for name in ("with", "again"))
    support.assert_same_weights(one.last, other.last)
