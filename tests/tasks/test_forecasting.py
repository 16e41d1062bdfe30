"""Forecasts: the loss, the windows of a series, and that nothing but the history matters."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import predict, train
from seq2seq.cli import command
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import Rows
from seq2seq.data.batching.split import TrainingSteps
from seq2seq.data.corpora.series import Series
from seq2seq.data.corpora.tables import Tsv
from seq2seq.data.datamodule import DataModule
from seq2seq.data.number_text import text_of_array
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError
from seq2seq.inference.predict_texts import predict as forecasts
from seq2seq.inference.predictor import Predicted, Predictor, in_order
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.forecast_errors import IntervalCoverage, MeanAbsoluteScaledError
from seq2seq.models.attention import Additive
from seq2seq.models.cells import GRU, LSTM
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Zeros
from seq2seq.models.forecaster import pinball, rising
from seq2seq.runs import checkpoint
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from tests import support
from tests.support import ROOT

split_of = partial(support.split_of, row_format=Forecasting.row_format)
batch_of = partial(support.batch_of, row_format=Forecasting.row_format)
tiny = partial(support.small, Forecasting, embedding_size=8)


HORIZON = 4
Pairs = list[tuple[str, str]]


def learnt(rows: Pairs) -> Tokenizers:
    return support.learnt(rows, Vectors(), Vectors())


def waves(rows: int = 16, width: int = 2, seed: int = 0, level: float = 100.0) -> Pairs:
    """Histories of several lengths of noisy sines, and what follows."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        steps = int(random.integers(8, 14)) + HORIZON
        times = np.arange(steps)[:, None] + random.uniform(0, 6, (1, width))
        values = level + 10 * np.sin(times) + random.normal(0, 1, (steps, width))
        made.append((text_of_array(values[:-HORIZON]), text_of_array(values[-HORIZON:])))
    return made


def forecast_of(task: Forecasting, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = task.eval()(batch)
    return found


KINDS: list[dict[str, Any]] = [
    {"relative": "none"},
    {"relative": "last", "rescale": True, "layers": 2, "cell": LSTM()},
    {"relative": "season", "season": 6, "attention": Additive(), "encoder": EncoderOptions(bidirectional=False)},
    {"relative": "season", "season": 3, "rescale": True, "quantiles": None},
]
kinds = pytest.mark.parametrize("settings", KINDS, ids=lambda kind: f"{kind['relative']}-{len(kind)}")


# --- the network -----------------------------------------------------------------------------------------------------


@kinds
def test_overfits_sixteen_rows(settings: dict[str, Any]) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    batch = batch_of(rows, tokenizers)
    task = tiny(tokenizers, hidden_size=32, **settings)
    optimizer = torch.optim.Adam(task.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        found = task(batch)[..., task.forecaster.middle]
        if (found - batch.target).abs().mean() < 0.2:  # of the standard deviation
            return
        (task.loss(batch) / batch.target_lengths.sum()).backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    pytest.fail("sixteen rows are not learnt by heart")


@kinds
def test_every_parameter_gets_a_gradient(settings: dict[str, Any]) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task = tiny(tokenizers, **settings)
    task.loss(batch_of(rows, tokenizers)).backward()
    assert [name for name, parameter in task.named_parameters() if parameter.grad is None] == []


@kinds
def test_neighbours_and_padding_never_matter(settings: dict[str, Any]) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task, batch = tiny(tokenizers, **settings), batch_of(rows, tokenizers)
    together = forecast_of(task, batch)
    for row, pair in enumerate(rows):
        torch.testing.assert_close(forecast_of(task, batch_of([pair], tokenizers))[0], together[row], atol=1e-5, rtol=0)
    steps = torch.arange(batch.source.shape[1])
    padding = steps >= batch.source_lengths.unsqueeze(1)
    soiled = batch._replace(source=batch.source.masked_fill(padding.unsqueeze(-1), 7.0))
    assert torch.equal(forecast_of(task, soiled), together)


@kinds
def test_the_target_is_never_seen(settings: dict[str, Any]) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task, batch = tiny(tokenizers, **settings), batch_of(rows, tokenizers)
    other = batch._replace(target=torch.randn_like(batch.target))
    assert torch.equal(forecast_of(task, batch), forecast_of(task, other))


@kinds
def test_a_checkpoint_alone_forecasts_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task, batch = tiny(tokenizers, **settings).eval(), batch_of(rows, tokenizers)
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"seq2seq": checkpoint.packed(task, DataModule()), "state_dict": states}, tmp_path / "one.ckpt")
    again = checkpoint.load(tmp_path / "one.ckpt")
    assert isinstance(again, Forecasting)
    assert again.specification() == task.specification()
    assert torch.equal(forecast_of(again, batch), forecast_of(task, batch))
    assert [again.text(row[0]) for row in again.predict(batch, again.decoding)] == [
        task.text(row[0]) for row in task.predict(batch, task.decoding)
    ]


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("relative", ["last", "season"])
def test_a_level_never_seen_shifts_the_forecast(relative: str, rescale: bool) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task = tiny(tokenizers, relative=relative, rescale=rescale, season=6)
    higher = [tuple(text_of_array(np.array([step.split() for step in side.split("\t")], dtype=float) + 5000) for side in pair) for pair in rows]  # fmt: skip
    shift = torch.from_numpy(5000 / tokenizers.target.deviation).float().view(1, 1, -1, 1)  # type: ignore[attr-defined]
    expected = forecast_of(task, batch_of(rows, tokenizers)) + shift
    torch.testing.assert_close(forecast_of(task, batch_of(higher, tokenizers)), expected, atol=1e-2, rtol=1e-4)  # type: ignore[arg-type]


def test_each_step_reads_the_forecast_before_it() -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task, batch = tiny(tokenizers, quantiles=None, relative="last"), batch_of(rows, tokenizers)
    before = forecast_of(task, batch)
    with torch.no_grad():
        task.forecaster.output.bias += 1.0
    moved = (forecast_of(task, batch) - before) / (forecast_of(task, batch) - before)[:, :1]
    assert bool(((moved[:, 1:] - 1).abs() > 1e-3).all(dim=(1, 2, 3)).all())


def test_an_untrained_correction_of_zero_is_the_naive_forecast() -> None:
    rows = waves()
    tokenizers = learnt(rows)
    for settings in (
        {"relative": "season", "season": 3},
        {"relative": "season", "season": 6, "rescale": True},
        {"relative": "last"},
    ):
        task = tiny(tokenizers, quantiles=None, **settings)
        torch.nn.init.zeros_(task.forecaster.output.weight)
        season = settings.get("season", 1)
        for (source, _), found in zip(rows, task.predict(batch_of(rows, tokenizers), Decoding()), strict=True):
            history = np.array([step.split() for step in source.split("\t")], dtype=float)
            naive = [history[len(history) - season + step % season] for step in range(HORIZON)]
            values = np.array([step.split() for step in task.text(found[0]).split("\t")], dtype=float)
            np.testing.assert_allclose(values, naive, atol=1e-3)


# --- the loss --------------------------------------------------------------------------------------------------------


def test_the_pinball_loss_finds_quantiles() -> None:
    values = torch.randn(4001, generator=torch.Generator().manual_seed(1))
    levels = [0.1, 0.5, 0.9]
    candidates = torch.linspace(-3, 3, 1201)
    losses = pinball(candidates.view(-1, 1, 1).expand(-1, len(values), 3), values.expand(1201, -1), levels).sum(1)
    best = candidates[losses.argmin(0)]
    torch.testing.assert_close(best, values.quantile(torch.tensor(levels)), atol=0.01, rtol=0)
    torch.testing.assert_close(pinball(torch.zeros(5, 1), torch.arange(5.0), [0.5]).sum(), torch.tensor(5.0))


def test_quantiles_never_cross() -> None:
    raw = torch.randn(1000, 5, generator=torch.Generator().manual_seed(1)) * 10
    for middle in range(5):
        found = rising(raw, middle)
        assert bool((found.diff(dim=-1) >= 0).all())
        assert torch.equal(found[:, middle], raw[:, middle])


@pytest.mark.parametrize("quantiles", [[0.1, 0.5, 0.9], None])
def test_the_loss_is_a_sum_over_rows(quantiles: list[float] | None) -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task, batch = tiny(tokenizers, quantiles=quantiles).eval(), batch_of(rows, tokenizers)
    alone = sum(task.loss(batch_of([pair], tokenizers)) for pair in rows)
    torch.testing.assert_close(task.loss(batch), alone)
    found = task(batch)
    errors = batch.target.unsqueeze(-1) - found
    expected = errors.square().sum()
    if quantiles is not None:
        levels = torch.tensor(quantiles)
        expected = torch.where(errors > 0, levels * errors, (levels - 1) * errors).sum()
    torch.testing.assert_close(task.loss(batch), expected)
    split = split_of(rows, tokenizers)
    assert split.row_format.loss_denominator(split.target_lengths()) == len(rows) * HORIZON


def test_an_idle_device_weighs_nothing() -> None:
    rows = waves(2)
    tokenizers = learnt(rows)
    task = tiny(tokenizers)
    step = TrainingSteps(split_of(rows, tokenizers), None, 0, 3, None)[Rows(0, np.arange(2), np.arange(2))]
    loss = task.loss(step.batches[0])
    loss.backward()
    assert loss == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in task.parameters())


def test_a_long_history_keeps_its_newest_steps() -> None:
    rows = waves(4)
    tokenizers = learnt(rows)
    split = split_of(rows, tokenizers, longest=6)
    cut = split.batch(np.arange(4))
    for row, (source, _) in enumerate(rows):
        newest = tokenizers.source.encode(["\t".join(source.split("\t")[-6:])])[0]
        assert (cut.source[row].numpy() == newest).all()


# --- what the user sees ----------------------------------------------------------------------------------------------


def test_predictions_hold_every_quantile() -> None:
    rows = waves()
    tokenizers = learnt(rows)
    task = tiny(tokenizers).eval()
    split = split_of(rows, tokenizers)
    found: list[Predicted] = Predictor(task, task.decoding)(split.batch(np.arange(16)))
    predictions = in_order(found, split.texts)
    for row in predictions:
        assert row.quantiles is not None
        assert list(row.quantiles) == ["0.1", "0.5", "0.9"]
        assert row.quantiles["0.5"] == row.prediction
        low, middle, high = (np.array(text.split(), dtype=float) for text in row.quantiles.values())
        assert (low <= middle).all()
        assert (middle <= high).all()
    assert json.loads(json.dumps(predictions[0]._asdict()))["quantiles"]["0.1"] == predictions[0].quantiles["0.1"]  # type: ignore[index]


def row_with(low: str, high: str, reference: str) -> Prediction:
    return Prediction(0, "", reference, "", 0.0, [], None, {"0.05": low, "0.5": "0\t0", "0.95": high})


def test_coverage_counts_numbers() -> None:
    rows = [row_with("0\t0", "1\t1", "0.5\t2"), row_with("-1 0\t0 0", "1 1\t1 1", "0 0\t-1 1")]
    assert IntervalCoverage().score(rows).value == pytest.approx(100 * 4 / 6)
    with pytest.raises(InputError, match=r"coverage .*model\.quantiles"):
        IntervalCoverage().score([rows[0]._replace(quantiles=None)])
    with pytest.raises(InputError, match=r"row 0 .*\b1 numbers.*\b2$"):
        IntervalCoverage().score([rows[0]._replace(reference="1")])


CONFIG = """
task: Forecasting
data:
  corpus: {class_path: Series, init_args: {history: 8, horizon: 3, columns: [1, 2]}}
  tokenizer: Vectors
  target_tokenizer: Vectors
  batch_tokens: 200
model: {embedding_size: 4, hidden_size: 8, season: 4, relative: season}
trainer: {max_epochs: 2, accelerator: cpu}
"""


def test_from_a_file_to_forecasts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.arange(120)
    lines = [f"{10 + np.sin(t * np.pi / 2):.4f},{5 + 0.1 * t:.2f}" for t in times]
    (tmp_path / "series.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.yaml").write_text(CONFIG)
    run = tmp_path / "run"
    arguments = ["--config", str(tmp_path / "c.yaml"), "--data.path", str(tmp_path / "series.csv"), "--run", str(run)]
    train.main(arguments)
    shown = capsys.readouterr()
    assert "vectors of 2 numbers and vectors of 2 numbers" in shown.err
    assert "8 steps of 2 numbers: " in shown.out
    results = json.loads((run / "results.json").read_text())
    assert list(results["splits"]["test"]["metrics"]) == ["mase", "rmsse", "mae", "rmse", "wql", "coverage"]
    assert results["data"]["numbers_of_a_step"] == {"source": 2, "target": 2}
    assert results["splits"]["test"]["breakdowns"] == [], "all rows are of one length, and numbers are no words"
    first = json.loads((run / "predictions" / "test.jsonl").read_text().splitlines()[0])
    assert first["source"].count("\t") == 7
    history = "\t".join(line.replace(",", " ") for line in lines[-8:])
    task = checkpoint.load(run)
    expected = task.quantile_texts(forecasts(task, [history], task.decoding, torch.device("cpu"))[0][0])
    (tmp_path / "in.txt").write_text(f"{history}\n\n")
    for extra, answer in ((["--quantiles"], json.dumps(expected)), ([], (expected or {})["0.5"])):
        with open(tmp_path / "in.txt") as given, open(tmp_path / "out.txt", "w") as written:
            monkeypatch.setattr("sys.stdin", given)
            monkeypatch.setattr("sys.stdout", written)
            predict.main([str(run), "--device", "cpu", *extra])
        assert (tmp_path / "out.txt").read_text() == f"{answer}\n\n"
    for text, message in (
        ("1 2\t3 x", "standard input:1: step 2 holds 'x'"),
        ("1 2\t3 4", "standard input:1: 2 steps, but model.season is 4"),
    ):
        (tmp_path / "in.txt").write_text(text)
        with (
            open(tmp_path / "in.txt") as given,
            open(tmp_path / "out.txt", "w") as written,
            pytest.raises(InputError, match=message),
        ):
            monkeypatch.setattr("sys.stdin", given)
            monkeypatch.setattr("sys.stdout", written)
            predict.main([str(run), "--device", "cpu"])


# --- windows ---------------------------------------------------------------------------------------------------------


def numbered(tmp_path: Path, count: int = 100) -> str:
    file = tmp_path / "series.csv"
    file.write_text("".join(f"{value}\n" for value in range(count)))
    return str(file)


def test_windows_follow_time_and_training_sees_no_value_of_another_split(tmp_path: Path) -> None:
    corpus, path = Series(history=7, horizon=4), numbered(tmp_path)
    asked: dict[str, set[int]] = {}
    for split, first, after in (("train", 7, 65), ("validation", 65, 80), ("test", 80, 100)):
        rows = list(corpus.rows(split, path))
        assert [row.line - 1 for row in rows] == list(range(first, after - 3))
        for row in rows:
            values = [int(number) for number in f"{row.source}\t{row.target}".split("\t")]
            assert values == list(range(row.line - 8, row.line + 3))
        asked[split] = {int(value) for row in rows for value in row.target.split("\t")}
        if split == "train":
            seen = asked[split] | {int(value) for row in rows for value in row.source.split("\t")}
    assert not seen & (asked["validation"] | asked["test"])
    assert not asked["validation"] & asked["test"]


BAD_FILES = [
    ("1\n2\nx\n", {}, r"series\.csv:3: step 1 .*'x'"),
    ("1\n1_003\n", {}, r"series\.csv:2: .*'1_003'"),
    ("1\ninf\n", {}, r"series\.csv:2: .*not finite"),
    ("1\nnan\n", {}, r"series\.csv:2: .*data\.corpus\.fill"),
    ("1\n\n3\n", {}, r"series\.csv:2: .*data\.corpus\.fill"),
    ("a,b\n1,2\n3\n", {"columns": "b"}, r"series\.csv:3: 1 columns.*\b2\b"),
    ("a,b\n1,2\n3,\n", {"columns": "b"}, r"series\.csv:3: "),
    ("a,b\n1,2\n", {"columns": "c"}, r"series\.csv:1: .*'c'.* a, b"),
    ("1\n2\n3\n", {}, r"train .*\b2 of 3 values.*\b36\b.*\b12"),
]


@pytest.mark.parametrize(("content", "settings", "message"), BAD_FILES)
def test_wrong_series_are_named(tmp_path: Path, content: str, settings: dict[str, Any], message: str) -> None:
    (tmp_path / "series.csv").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        list(Series(**settings).rows("train", str(tmp_path / "series.csv")))
    assert "\n" not in str(caught.value)


def test_series_say_what_they_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="give the file of the series"):
        list(Series().rows("train", None))
    with pytest.raises(InputError, match=r"reads no data\.path"):
        list(Series("co2").rows("train", numbered(tmp_path)))
    with pytest.raises(InputError, match=r"data\.corpus\.test_share is 1"):
        Series(test_share=1.0)
    monkeypatch.setitem(__import__("sys").modules, "statsmodels", None)
    from seq2seq.data.corpora import series

    for find in (series.co2, series.sunspots):
        find.cache_clear()
    with pytest.raises(InputError, match="pip install statsmodels"):
        list(Series("co2").rows("train", None))


def test_the_series_of_statsmodels() -> None:
    pytest.importorskip("statsmodels")
    [yearly] = Series("sunspots", 33, 11).series(None)
    assert (len(yearly.texts), yearly.texts[0], yearly.texts[-1]) == (309, "5", "2.9")
    [monthly] = Series("co2").series(None)
    assert (len(monthly.texts), monthly.texts[0]) == (526, "316.1")
    assert monthly.texts[2:5] == ["317.4333", "316.5292", "315.625"]  # June 1958 lies between May and July


# --- settings and rows that are refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantiles": [0.1, 0.9]}, r"model\.quantiles is \[0\.1, 0\.9\]; .*hold 0\.5"),
        ({"quantiles": [0.5, 0.1]}, r"model\.quantiles is \[0\.5, 0\.1\]"),
        ({"quantiles": [0.0, 0.5]}, r"model\.quantiles is \[0\.0, 0\.5\]"),
        ({"season": 0}, r"model\.season is 0"),
        ({"relative": "season", "season": 30}, r"model\.relative season .*\b30 steps.*\b8\b"),
        ({"relative": "none", "rescale": True}, r"model\.rescale .*model\.relative"),
        ({"bridge": Zeros()}, r"model\.bridge Zeros\b"),
        ({"attention": Additive(coverage=True)}, r"model\.attention\.coverage"),
        ({"hidden_size": 7}, r"hidden_size 7 is odd"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(learnt(waves()), **settings)


def test_other_tokenizers_are_refused() -> None:
    source, _ = learnt(waves())
    letters = Characters()
    letters.train(["ab"])
    with pytest.raises(InputError, match=r"data\.target_tokenizer is Characters\b"):
        tiny(Tokenizers(source, letters))
    with pytest.raises(InputError, match=r"data\.shared_vocabulary\b"):
        tiny(Tokenizers(source, source))
    narrow = learnt(waves(width=1)).target
    with pytest.raises(InputError, match=r"model\.relative .*source has 2 .*target 1\b"):
        tiny(Tokenizers(source, narrow))
    task = tiny(Tokenizers(source, narrow), relative="none")
    rows = [(one[0], other[1]) for one, other in zip(waves(), waves(width=1), strict=True)]
    task.loss(batch_of(rows, Tokenizers(source, narrow))).backward()


def test_a_target_of_another_length_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("1 2 3|4 5\n1 2 3|4 5\n1 2 3|4\n".replace(" ", "\t"))
    data = DataModule(Tsv(delimiter="|"), str(tmp_path), tokenizer=Vectors(), target_tokenizer=Vectors(), holdout=0)
    texts = data.texts("train")
    with pytest.raises(InputError, match=r"train\.tsv:3: .*\b1 steps.*\b2\b"):
        data.encode(texts, data.train_tokenizers(texts), "train", Forecasting.row_format)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("sunspots", 0.95), ("co2", 0.5)])
def test_real_series_are_forecast_better_than_by_the_last_season(name: str, most: float, tmp_path: Path) -> None:
    pytest.importorskip("statsmodels")
    root = ROOT
    started = time.process_time()
    train.main(["--config", str(root / f"configs/forecasting_{name}.yaml"), "--run", str(tmp_path / "run")])
    assert time.process_time() - started < 120
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    score = results["splits"]["test"]["metrics"]["mase"]
    naive = float(score["signature"].partition("naive:")[2].partition("|")[0])
    assert score["value"] < min(most, naive)
    assert 65 < results["splits"]["test"]["metrics"]["coverage"]["value"] < 95


def test_the_metric_by_default_has_the_season_of_the_model() -> None:
    task = tiny(learnt(waves()), season=6)
    assert isinstance(task.metrics[0], MeanAbsoluteScaledError)
    assert task.metrics[0].season == 6
    assert isinstance(task.cell, GRU)
    assert command.task_class(["--task", "Forecasting"]) is Forecasting
