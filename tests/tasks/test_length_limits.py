"""Limits of length: learnt, stored, kept to by every search, counted and reported; settings still rule."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq import evaluate, lint, predict, train
from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.errors import InputError
from seq2seq.models.tagger import AutoregressiveTagger, Crf
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task, pack_task, unpack_task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.length_limits import LONGEST, learnt, longer
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, SENTENCES, batch_of, fitted, results_of, small, split_of
from tests.support import learnt as tokenizers_of

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
SPELLED = [(letter, ALPHABET[number:]) for number, letter in enumerate(ALPHABET[:6])]
"""A short source with a target of more than 2 x 2 + 10 tokens."""

CONFIG = """
data:
  corpus: {class_path: Parallel, init_args: {source: en, target: de}}
  tokenizer: Words
  target_tokenizer: Characters
  batch_tokens: 500
model: {cell: GRU, embedding_size: 12, hidden_size: 32, dropout: 0.0, metrics: [ExactMatch]}
optimizer: {learning_rate: 0.02}
trainer: {max_epochs: 25, accelerator: cpu, val_check_interval: 50, precision: 32-true}
patience: null
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of letters and the rest of the alphabet."""
    folder = tmp_path_factory.mktemp("letters")
    for split, times in (("train", 15), ("validation", 1), ("test", 1)):
        for side, ending in enumerate(("en", "de")):
            (folder / f"{split}.{ending}").write_text("".join(f"{pair[side]}\n" for pair in SPELLED) * times)
    (folder / "letters.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> RunDirectory:
    """A training with all defaults of decoding."""
    run = RunDirectory(place / "run")
    train.main(arguments(place, "--run", str(run.path)))
    return run


def arguments(place: Path, *more: str) -> list[str]:
    return ["--config", str(place / "letters.yaml"), "--data.path", str(place), *more]


def test_targets_far_longer_than_sources_are_learnt_with_all_defaults(run: RunDirectory) -> None:
    results = results_of(run)
    tested = results["splits"]["test"]
    assert tested["metrics"]["exact_match"]["value"] == 100
    assert tested["length_limit"] | {"limit": ""} == {"limit": "", "ended": 0, "longer": 0, "rows": 6}
    assert [value for *_, value in results["curves"]["validation_exact_match"]][-1] == 100, "selection sees it too"
    assert checkpoint.load(run.path).length_bound == LengthBound(0.0, 44)
    assert "44 (from the training targets)" in run.report.read_text()


@pytest.mark.parametrize("limit", ["max_length_ratio", "max_length"])
def test_an_explicit_limit_rules_and_what_it_cuts_is_counted(
    run: RunDirectory, limit: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    evaluate.main([str(run.path), f"--decoding.{limit}", "2", "--decoding.beam_size", "1", "--json"])
    tested = json.loads(capsys.readouterr().out)["splits"]["test"]
    assert tested["metrics"]["exact_match"]["value"] == 0
    assert (tested["length_limit"]["ended"], tested["length_limit"]["longer"]) == (6, 6)
    assert f"decoding.{limit}" in caplog.text
    assert "6 of 6" in caplog.text
    evaluate.main([str(run.path), f"--decoding.{limit}", "2"])
    assert f"decoding.{limit} 2" in capsys.readouterr().out
    rows = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
    assert [row["at_limit"] for row in rows] == [False] * 6


def test_a_long_max_length_alone_is_the_limit_of_each_row(run: RunDirectory) -> None:
    task, lengths = checkpoint.load(run.path), torch.tensor([2, 90])
    assert task.limits(lengths, Decoding(max_length=500)).tolist() == [501, 501]
    assert task.limits(lengths, Decoding(max_length=500, max_length_ratio=2.0)).tolist() == [14, 190]
    assert task.limits(lengths, Decoding(min_length=70)).tolist() == [71, 71]
    task.length_bound = None  # a run made before
    assert task.limits(lengths, Decoding()).tolist() == [14, 190]


def test_training_and_lint_say_what_they_allow(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.main(
        arguments(place, "--run", str(place / "short"), "--trainer.max_steps", "1", "--decoding.max_length", "24")
    )
    told = capsys.readouterr().err
    assert "33.3 % of the validation targets" in told
    assert "decoding.max_length" in told
    lint.main([*arguments(place), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["header"]["limit"].startswith("44 ")
    assert not [one for one in found["findings"] if one["kind"] == "over limit"]
    lint.main([*arguments(place), "--json", "--decoding.max_length", "24"])
    found = json.loads(capsys.readouterr().out)
    over = {one["split"]: one for one in found["findings"] if one["kind"] == "over limit"}
    assert {name: one["share"] for name, one in over.items()} == dict.fromkeys(("train", "validation", "test"), 1 / 3)


def test_predict_counts_what_the_limit_ends(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert said(run.path, "a\nb\n", capsys=capsys) == [ALPHABET, ALPHABET[1:]]
    assert "2 of" not in caplog.text
    said(run.path, "a\n\nb\n", "--decoding.max_length", "5", "--decoding.beam_size", "1", capsys=capsys)
    assert "2 of 3" in caplog.text
    assert "decoding.max_length" in caplog.text


def said(run: Path, text: str, *options: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command answers to some lines."""
    path = run.parent / "asked"
    path.write_text(text)
    with path.open() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", file)
        predict.main([str(run), "--device", "cpu", *options])
    return capsys.readouterr().out.split("\n")[:-1]


def test_the_bound_of_a_stopped_run_and_of_a_stream(place: Path, tmp_path: Path) -> None:
    streamed = ["--data.window", "30", "--data.max_length", "100", "--trainer.max_epochs", "1000"]
    steps = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
    run = RunDirectory(tmp_path / "streamed")
    train.main(arguments(place, "--run", str(run.path), *streamed, *steps))
    assert checkpoint.load(run.path).length_bound == LengthBound(0.0, 44)
    content = checkpoint.read(run.last)
    content["seq2seq"]["length_bound"] = "[0.0, 31]"  # as if it had been learnt from other rows
    checkpoint.write({name: value for name, value in content.items() if name != checkpoint.DIGEST}, run.last)
    run.results.unlink()
    train.main(arguments(place, "--run", str(run.path), *streamed, *steps[2:], "--trainer.max_steps", "2",
                         "--resume", "true"))  # fmt: skip
    assert checkpoint.read(run.last)["seq2seq"]["length_bound"] == "[0.0, 31]", "it is learnt once"


def test_other_processes_get_it_from_the_first(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.announce("one", ready=LengthBound(1.5, 12))
    assert run.wait("one", "ready") == [1.5, 12]


# The rows it is learnt from


def split_for(rows: list[tuple[str, str]], row_format: RowFormat | None = None, longest: int = 512) -> Any:
    return split_of(rows, tokenizers_of(rows, Words(), Characters()), row_format, longest)


def test_rows_that_are_not_trained_on_do_not_count() -> None:
    rows = [("a b", "x" * 5), ("a b", "x" * 90)]
    assert learnt(split_for(rows, longest=20), Characters()) == learnt(split_for(rows[:1]), Characters())
    running = RowFormat(source_end=False, conditions=True, consecutive=True)
    bound = learnt(split_for(rows, running, longest=40), Characters())
    assert bound == LengthBound(0.0, 60), "a line of running text may be longer than data.max_length"
    assert longer(split_for(rows, running), bound, Decoding()).tolist() == [False, True]


def test_only_targets_that_end_by_themselves_have_a_bound() -> None:
    assert learnt(split_for(PAIRS, Tagging.row_format), Characters()) is None
    assert not longer(split_for(PAIRS, Tagging.row_format), None, Decoding(max_length=1)).any()


def test_drawn_segmentations_are_longer() -> None:
    plain, drawn = (learnt(split_for(PAIRS), SentencePiece(20, sampling=share)) for share in (None, 0.1))
    assert plain is not None
    assert drawn is not None
    assert drawn.of(torch.tensor([5])) > plain.of(torch.tensor([5]))


def test_of_texts_without_sources_a_condition_says_nothing() -> None:
    rows = [("one two three", "x" * 9), ("one", "x" * 300)]
    tokenizers = tokenizers_of(rows, Words(), Characters())
    split = split_of(rows, tokenizers, Generation.row_format)
    task = small(Generation, tokenizers)
    assert task.limits(torch.tensor([1, 3]), Decoding(max_length_ratio=2.0)).tolist() == [LONGEST + 1] * 2
    task.length_bound = learnt(split, tokenizers.target)
    assert set(task.limits(torch.tensor([1, 3]), Decoding()).tolist()) == {387}
    task = fitted(task, split.batch(np.arange(2)), 1)
    with torch.no_grad():
        task.network.decoder.output.layer.bias[3] = -50.0  # it never ends
    found = task.predict(split.batch(np.arange(2)), Decoding(1))
    assert [(len(row[0].tokens), row[0].at_limit) for row in found] == [(386, True)] * 2


def test_a_checkpoint_holds_the_bound() -> None:
    task = small(Translation, tokenizers_of(PAIRS, Words(), Words()))
    task.length_bound = LengthBound(1.25, 17)
    packed = pack_task(task)
    assert unpack_task(packed).length_bound == task.length_bound
    del packed["length_bound"]
    assert unpack_task(packed).length_bound is None, "a run made before"


# What a command refuses instead of ignoring it


def written(task: Task, folder: Path, tokenizers: DataModule | None = None) -> Path:
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    packed = checkpoint.packed(task, tokenizers or DataModule())
    checkpoint.write({"seq2seq": packed, "state_dict": states}, folder / "one.ckpt")
    return folder / "one.ckpt"


def classifier(several: bool = True) -> Classification:
    rows = [("a b", "x y"), ("c", "y")]
    return small(Classification, tokenizers_of(rows, Words(), Labels(" ")), multi_label=several).eval()


def forecaster() -> Forecasting:
    rows = [("1\t2\t3\t4", "5\t6"), ("2\t3\t5\t1", "2\t8")]
    return small(Forecasting, tokenizers_of(rows, Vectors(), Vectors())).eval()


def tagger(kind: Any) -> Tagging:
    return small(Tagging, tokenizers_of(SENTENCES, Spelled(), Labels("\t")), tagger=kind).eval()


@pytest.mark.parametrize("make", [classifier, forecaster])
def test_n_best_of_one_prediction_is_refused(make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, line = written(make(), tmp_path), "a b\n" if make is classifier else "1\t2\t3\n"
    with pytest.raises(InputError, match="--n_best 2"):
        said(path, line, "--n_best", "2", capsys=capsys)
    assert len(said(path, line, capsys=capsys)) == 1


def test_a_prefix_of_what_is_not_searched_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tagger(Crf()), tmp_path)
    with pytest.raises(InputError, match=r"decoding\.prefix"):
        said(path, "a\tb\n", "--decoding.prefix", "DET", capsys=capsys)


@pytest.mark.parametrize("option", [["--n_best", "2"], ["--decoding.prefix", "DET"]], ids=" ".join)
def test_a_stream_has_one_label_for_each_token(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tagger(AutoregressiveTagger(8)), tmp_path)
    with pytest.raises(InputError, match=r"--stream .*--n_best.*decoding\.prefix"):
        said(path, "a\tb\n", "--stream", *option, capsys=capsys)


@pytest.mark.parametrize("kind", ["tagger", "language model"])
def test_a_line_of_megabytes_is_refused_after_those_before_it(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tokenizers_of([("", "some text"), ("", "more")], NoSource(), Characters())
    task = tagger(Crf()) if kind == "tagger" else small(Generation, texts, running=True).eval()
    path = written(task, tmp_path)
    with pytest.raises(InputError, match=r"input:2: 5,000,000 characters.* 100,000 "):
        said(path, "some\n" + "so\t" * 1_666_666 + "so\n", capsys=capsys)
    assert capsys.readouterr().out.count("\n") == 1


# Prefixes

SEARCHES = [Decoding(1), Decoding(3), Decoding(2, temperature=1.0)]


@pytest.mark.parametrize("decoding", SEARCHES, ids=["greedy", "beam", "drawn"])
@pytest.mark.parametrize("attention", [None, "Dot"])
def test_a_translation_begins_with_a_prefix(decoding: Decoding, attention: str | None) -> None:
    from seq2seq.models.attention import Dot

    tokenizers = tokenizers_of(PAIRS, Words(), Words())
    task = small(Translation, tokenizers, attention=Dot() if attention else None).eval()
    batch, (first, second) = batch_of(PAIRS, tokenizers), tokenizers.target.encode(["eine Frau"])[0]
    begun = task.predict(batch, decoding.__class__(**vars(decoding) | {"prefix": "eine Frau"}))
    assert all(one.tokens[:2] == [first, second] for row in begun for one in row)
    once = vars(decoding) | {"prefix": "eine Frau", "no_repeat_ngram": 1}
    for row in task.predict(batch, Decoding(**once)):
        assert all(len(set(one.tokens)) == len(one.tokens) for one in row), "the prefix counts too"


@pytest.mark.parametrize("decoding", SEARCHES, ids=["greedy", "beam", "drawn"])
def test_labels_begin_with_a_prefix_as_far_as_there_are_tokens(decoding: Decoding) -> None:
    task = tagger(AutoregressiveTagger(8))
    batch = batch_of(SENTENCES, task.tokenizers, Tagging.row_format)
    prefix = task.tokenizers.target.encode(["VERB\tNUM\tADP"])[0]
    found = task.predict(batch, Decoding(**vars(decoding) | {"prefix": "VERB\tNUM\tADP"}))
    for row, (source, _) in zip(found, SENTENCES, strict=True):
        length = source.count("\t") + 1
        assert all(len(one.tokens) == len(one.token_scores) == length for one in row)
        assert all(one.tokens[:3] == prefix[:length] for one in row)
        assert all(one.at_limit is None for one in row)


def test_the_command_takes_a_prefix(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(run.path, "a\nb\n", "--decoding.prefix", "xy", capsys=capsys)
    assert [line[:2] for line in lines] == ["xy", "xy"]
    evaluate.main([str(run.path), "--decoding.prefix", "xy", "--json"])
    assert json.loads(capsys.readouterr().out)["splits"]["test"]["rows"] == 6
