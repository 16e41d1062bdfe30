"""`fit` trains in this process as the command does, as often as one likes, and leaves no trace in it."""

import json
import logging
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import seq2seq
from seq2seq.api.process_state import kept
from seq2seq.api.scores import ScoreTable
from seq2seq.api.settings import as_arguments, nested
from seq2seq.api.training import Run
from seq2seq.configurable import flatten
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from seq2seq.metrics.bleu import Chrf
from seq2seq.models.cells import GRU
from seq2seq.models.encoder import EncoderOptions
from seq2seq.training.signals import CATCHES
from tests.support import REVERSAL, assert_same_weights

CONFIG = REVERSAL


def process() -> tuple[Any, ...]:
    """What a training might leave changed."""
    handlers = [signal.getsignal(number) for number in CATCHES]
    root = logging.getLogger()
    numbers = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    settings = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.is_grad_enabled()
    return handlers, numbers, settings, dict(os.environ), root.level, list(root.handlers)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same training twice in a process: from a dictionary with objects, and from a file with other settings."""
    folder = tmp_path_factory.mktemp("fit")
    settings = yaml.safe_load(CONFIG)
    settings["model"] |= {"cell": GRU(), "metrics": [Chrf()], "encoder": EncoderOptions()}
    settings["data"]["tokenizer"] = Words()
    before = process()
    first = seq2seq.fit(settings, run=folder / "first", trainer={"max_steps": 4})
    assert process() == before
    file = folder / "tiny.yaml"
    file.write_text(CONFIG)
    second = seq2seq.fit(file, folder / "second", **{"trainer.max_steps": 4, "data.corpus.test": 20})
    assert process() == before
    return first, second


def test_a_dictionary_with_objects_and_a_file_are_the_same_training(runs: tuple[Run, Run]) -> None:
    first, second = (run.path / "checkpoints" / "best.ckpt" for run in runs)
    assert_same_weights(first, second)
    one, other = (flatten(yaml.safe_load((run.path / "config.yaml").read_text())) for run in runs)
    assert one.pop("model.metrics")[0]["class_path"] == other.pop("model.metrics")[0]["class_path"]
    assert one == other


def test_a_run_knows_its_scores_and_its_model(runs: tuple[Run, Run]) -> None:
    run = runs[0]
    stored = json.loads((run.path / "results.json").read_text())["splits"]["test"]["metrics"]["chrf"]
    assert run.scores.score("chrf").value == stored["value"]
    assert run.report.is_file()
    assert str(run.path) in repr(run)
    assert "chrf" in run._repr_html_()
    assert len(run.load().predict(["1 2 3"])) == 1
    with pytest.raises(InputError, match="known: chrf"):
        run.scores.score("bleu")


def test_evaluate_is_the_command_and_callable(runs: tuple[Run, Run]) -> None:
    import seq2seq.evaluate

    run = runs[0]
    assert callable(seq2seq.evaluate.main)
    scores = seq2seq.evaluate(run.path, device="cpu")
    assert isinstance(scores, ScoreTable)
    assert scores.score("chrf") == run.scores.score("chrf")
    other = run.evaluate("validation", decoding={"beam_size": 1}, device="cpu")
    assert other.split == "validation"
    assert other.results["config"]["decoding"]["beam_size"] == 1
    with pytest.raises(InputError, match="json and demands"):
        seq2seq.evaluate(run.path, json=True)


def test_mistakes_are_one_line(runs: tuple[Run, Run], tmp_path: Path) -> None:
    settings = yaml.safe_load(CONFIG)
    mistakes = {
        "run=": lambda: seq2seq.fit(settings),
        "absent.yaml": lambda: seq2seq.fit(tmp_path / "absent.yaml"),
        "trainer.devices is 2": lambda: seq2seq.fit(settings, tmp_path / "a", trainer={"devices": 2}),
        "trainer.devices is 'auto'": lambda: seq2seq.fit(settings, tmp_path / "a", **{"trainer.devices": "auto"}),
        "modl": lambda: seq2seq.fit(settings, tmp_path / "a", modl=1),
        "object": lambda: seq2seq.fit(settings, tmp_path / "a", seed=object()),
        "finished run": lambda: seq2seq.fit(settings, runs[0].path),
        "results.json": lambda: Run(tmp_path).scores,
    }
    before = process()
    for words, call in mistakes.items():
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert process() == before
    assert not (tmp_path / "a").exists()


def test_a_stopped_training_leaves_ctrl_c_working() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), kept():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is before


def test_settings_become_those_of_a_file_and_of_a_command() -> None:
    assert nested({"trainer.max_steps": 3, "trainer": {"devices": 1}}) == {"trainer": {"max_steps": 3, "devices": 1}}
    assert nested({"model": {"cell": GRU()}})["model"]["cell"] == GRU().specification()
    assert nested({"model": {"encoder": EncoderOptions()}})["model"]["encoder"]["bidirectional"] is True
    given = as_arguments({"data": {"path": "my text", "rows": None}, "decoding.beam_size": 2})
    assert given == ["--data.path=my text", "--data.rows=null", "--decoding.beam_size=2"]
