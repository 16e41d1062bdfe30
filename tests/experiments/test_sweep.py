"""Sweeps: trials are ordinary runs that never see the test split; whatever is killed or full, nothing is lost."""

import errno
import itertools
import json
import multiprocessing.pool
from pathlib import Path
from typing import Any

import pytest

from seq2seq import sweep, train
from seq2seq.data.datamodule import DataModule
from seq2seq.errors import InputError, Interrupted
from seq2seq.experiments import space, study
from seq2seq.experiments.journal import Journal
from seq2seq.experiments.space import Choices, Range, Space
from seq2seq.experiments.study import Pruned, StudyFolder, SweepPlan
from seq2seq.report.sweep import render, table
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.learner import Learner
from tests.report.pages import ATTACKS
from tests.support import REVERSAL, assert_same_weights, python, results_of, surroundings

pytest.importorskip("optuna")
CONFIG = REVERSAL.replace("max_steps: 12", "max_steps: 6").replace("val_check_interval: 5", "val_check_interval: 3")
SPACE = "optimizer.learning_rate: {low: 1e-3, high: 1e-1, log: true}\nmodel.cell: [GRU, LSTM]\n"


def arguments_of(folder: Path, config: Path, text: str = SPACE, *more: str, sampler: str = "random") -> list[str]:
    """A sweep's options; the space is written beside the configuration."""
    file = config.with_name("space.yaml")
    file.write_text(text)
    own = ["--folder", str(folder), "--sampler", sampler]
    return ["--config", str(config), "--space", str(file), *own, *more]


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return content


@pytest.fixture(scope="module")
def swept(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished sweep of two trials, and the splits that were encoded while it ran."""
    encoded: list[str] = []
    whole = DataModule.encode

    def spying(self: DataModule, texts: Any, tokenizers: Any, name: str, row_format: Any = None) -> Any:
        encoded.append(name)
        return whole(self, texts, tokenizers, name, row_format)

    folder = tmp_path_factory.mktemp("sweeps") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataModule, "encode", spying)
        sweep.main(arguments_of(folder, config, SPACE, "--trials", "2"))
    return folder, encoded


def test_trials_are_compared_by_validation_and_the_winner_alone_meets_the_test_split(
    swept: tuple[Path, list[str]],
) -> None:
    folder, encoded = swept
    content = content_of(folder)
    trials = content["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 2
    for trial in trials:
        results = results_of(RunDirectory(folder / trial["run"]))
        assert list(results["splits"]) == ["validation"]
        score = results["splits"]["validation"]["metrics"]["chrf"]
        assert (trial["value"], trial["low"], trial["high"]) == (score["value"], score["low"], score["high"])
        assert score["low"] < score["high"]
        assert not list((folder / trial["run"] / "predictions").glob("test*"))
    best = max(trials, key=lambda trial: trial["value"])
    assert content["winner"] == best["number"]
    assert [one["trial"] for one in content["tested"]] == [best["number"]]
    assert encoded.count("test") == 1
    assert encoded[-1] == "test"


def test_a_trial_is_the_plain_run_of_its_configuration(swept: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, content = swept[0], content_of(swept[0])
    train.main(["--config", str(folder / "best.yaml"), "--run", str(tmp_path / "run")])
    winner, plain = RunDirectory(folder / "trials" / f"{content['winner']:04d}"), RunDirectory(tmp_path / "run")
    assert_same_weights(winner.best, plain.best)
    assert results_of(plain)["splits"]["test"]["metrics"]["chrf"]["value"] == content["tested"][0]["value"]
    assert results_of(plain)["splits"] == results_of(RunDirectory(folder / "test"))["splits"]


def test_the_same_command_again_adds_nothing(
    swept: tuple[Path, list[str]], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, encoded = swept
    before = content_of(folder), len(encoded)
    sweep.main(arguments_of(folder, config, SPACE, "--trials", "2"))
    assert (content_of(folder), len(encoded)) == before
    out = capsys.readouterr().out
    assert "model.cell" in out
    assert "test split" in out


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (SPACE.replace("[GRU, LSTM]", "[GRU, RNN]"), [], r"space of model\.cell.*LSTM.*RNN.*--folder"),
        (SPACE, ["--", "--model.hidden_size", "20"], r"model\.hidden_size 16 -> 20.*--folder"),
    ],
)
def test_another_sweep_in_the_folder_is_refused(
    swept: tuple[Path, list[str]], config: Path, text: str, more: list[str], message: str
) -> None:
    before = (swept[0] / "study.jsonl").read_bytes()
    with pytest.raises(InputError, match=message):
        sweep.main(arguments_of(swept[0], config, text, "--trials", "3", *more))
    assert (swept[0] / "study.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("model.hiden_size: [8, 16]", [], r"model\.hiden_size.*did you mean model\.hidden_size"),
        ("model.cell: [GRU, LSTN]", [], r"model\.cell.*LSTN"),
        ("model.cell.forget_bias: [0.0, 1.0]", [], r"model\.cell\.forget_bias.*0\.0.*contradicts"),
        ("optimizer.learning_rate: {low: -1.0, high: 0.1}", [], r"optimizer\.learning_rate.*-1\.0"),
        ("optimizer.learning_rate: {low: 0.2, high: 0.1}", [], r"learning_rate.*0\.2.*0\.1"),
        ("optimizer.learning_rate: {low: 0, high: 0.1, log: true}", [], r"learning_rate.*log"),
        ("optimizer.learning_rate: {from: 0.2}", [], r"learning_rate.*low.*high"),
        ("optimizer.learning_rate: 0.1", [], r"learning_rate.*low"),
        ("model.hidden_size: {low: 16, high: 30, step: 16}", [], r"hidden_size.*30.*16.*16"),
        ("model.cell: [GRU, GRU]", [], r"model\.cell.*once"),
        ("model.cell: []", [], r"model\.cell"),
        ("model.cell: [GRU]\nmodel.cell: [LSTM]", [], r"model\.cell"),
        ("run: [a, b]", [], r"\brun\b"),
        ("model.metrics: [[Bleu], [Chrf]]", [], r"model\.metrics"),
        ("trainer.devices: [1, 2]", [], r"trainer\.devices"),
        ("model.cell: [GRU, LSTM]", ["--", "--model.cell", "RNN"], r"model\.cell.*--"),
        ("model.cell: [GRU, LSTM]", ["--", "--trainer.devices", "2"], r"trainer\.devices"),
        ("model.cell: [GRU, LSTM]", ["--", "--run", "x"], "--run"),
        ("seed: [1, 2]", ["--pruner", "median"], "--pruner"),
        ("{}", [], "names no setting"),
        ("[1, 2", [], r"space\.yaml.*YAML"),
    ],
)
def test_a_space_that_does_not_fit_is_one_line(
    config: Path, tmp_path: Path, text: str, more: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        sweep.main(arguments_of(tmp_path / "sweep", config, text, "--trials", "2", *more))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sweep").exists()


def test_the_number_of_trials_must_be_known(config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--trials"):
        sweep.main(arguments_of(tmp_path / "sweep", config))
    with pytest.raises(InputError, match=r"learning_rate.*step"):
        sweep.main(arguments_of(tmp_path / "sweep", config, sampler="grid"))


def test_a_killed_trial_goes_on_where_it_was(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds of one configuration on a grid; the second is stopped in the middle of its training."""
    folder, step = tmp_path / "sweep", Learner.training_step
    arguments = arguments_of(folder, config, "seed: [1, 2]\n", sampler="grid")

    def stopping(self: Learner, batch: Any, index: int) -> Any:
        if self.seed == 2 and self.global_step == 4:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=r"trial 1.*step 4.*continues the sweep"):
        patch.setattr(Learner, "training_step", stopping)
        sweep.main(arguments)
    assert [trial["state"] for trial in content_of(folder)["trials"]] == ["complete"]
    sweep.main(arguments)
    content = content_of(folder)
    assert [(trial["settings"], trial["state"]) for trial in content["trials"]] == [
        ({"seed": 1}, "complete"),
        ({"seed": 2}, "complete"),
    ]
    assert results_of(RunDirectory(folder / "trials/0001"))["resumed"] == [3]
    (one,) = content["configurations"]
    assert sorted(one["trials"]) == [0, 1]
    values = [trial["value"] for trial in content["trials"]]
    assert one["value"] == pytest.approx(sum(values) / 2)
    assert one["deviation"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_a_full_disk_ends_a_sweep_with_one_line_and_nothing_is_lost(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that fails is a failed trial; a disk that fails is none, and the trial is trained later."""
    folder, save, saved = tmp_path / "sweep", checkpoint.save, itertools.count()
    arguments = arguments_of(folder, config, "model.hidden_size: [16, 7]\n", sampler="grid")

    def full(content: Any, file: Path) -> None:
        if next(saved) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"trial 0.*No space left.*continues"):
        patch.setattr(checkpoint, "save", full)
        sweep.main(arguments)
    sweep.main(arguments)
    trials = content_of(folder)["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "fail"]
    assert "odd" in trials[1]["reason"]


# --- parts -----------------------------------------------------------------------------------------------------------


def test_half_a_line_is_dropped_and_a_full_disk_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "study.jsonl")
    journal.append_logs([{"a": 1}, {"b": 2}])
    with journal.file.open("ab") as file:
        file.write(b'{"c": ')  # a process was killed in the middle
    assert list(journal.read_logs(0)) == [{"a": 1}, {"b": 2}]
    journal.append_logs([{"d": 4}])
    assert list(journal.read_logs(2)) == [{"d": 4}]
    before = journal.file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("os.fsync", full)
        journal.append_logs([{"e": "5" * 5000}])
    assert journal.file.read_bytes() == before
    journal.append_logs([{"f": 6}])
    assert list(Journal(journal.file).read_logs(0)) == [{"a": 1}, {"b": 2}, {"d": 4}, {"f": 6}]


def opened(folder: Path, sampler: Any = "random", pruner: Any = "none", **settings: Any) -> StudyFolder:
    made = StudyFolder(folder, SweepPlan(Space(settings), {}, sampler, pruner, 1))
    made.open()
    return made


@pytest.mark.parametrize("line", [b"what\n", b"[1]\n", b'{"op_code": 99}\n', b'{"op_code": 4, "trial_id": 77}\n'])
def test_a_damaged_study_is_one_line(tmp_path: Path, line: bytes) -> None:
    with opened(tmp_path / "sweep", x=Range(0.0, 1.0)).file.open("ab") as file:
        file.write(line)
    with pytest.raises(InputError, match=r"study\.jsonl.*--folder") as caught:
        opened(tmp_path / "sweep", x=Range(0.0, 1.0))
    assert "\n" not in str(caught.value)


def test_two_studies_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = opened(tmp_path / "sweep", x=Range(0.0, 1.0)).path
    with pytest.raises(InputError, match=r"seed of the sweep 1 -> 2.*--folder"):
        StudyFolder(folder, SweepPlan(Space({"x": Range(0.0, 1.0)}), {}, "random", "none", 2)).open()
    (folder / "other.jsonl").write_bytes((folder / "study.jsonl").read_bytes())
    with pytest.raises(InputError, match=r"other\.jsonl.*--folder"):
        opened(folder, x=Range(0.0, 1.0))
    (folder / "other.jsonl").unlink()
    optuna = study.import_optuna()
    storage = optuna.storages.JournalStorage(Journal(folder / "study.jsonl"))
    optuna.create_study(storage=storage, study_name="second")
    with pytest.raises(InputError, match=r"2 studies.*second.*--folder"):
        opened(folder, x=Range(0.0, 1.0))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.tex").write_text("mine")
    with pytest.raises(InputError, match=r"text\.tex.*--folder"):
        opened(tmp_path / "thesis", x=Range(0.0, 1.0))


def test_a_run_of_another_study_is_not_taken_for_a_trial(tmp_path: Path) -> None:
    """Somebody has removed study.jsonl, and the runs are still there."""
    made = opened(tmp_path / "sweep", x=Range(0.0, 1.0))
    made.run(0).path.mkdir(parents=True)
    with pytest.raises(InputError, match=r"trials/0000.*study\.jsonl.*--folder"):
        made.take(3)
    assert made.begun() == []


def test_a_study_proposes_the_same_in_one_go_and_in_two(tmp_path: Path) -> None:
    """Also what several processes are given, which never is the same trial."""
    ranges = {"x": Range(0.0, 1.0), "y": Choices((1, 2, 3, "a", None, [1, 2]))}

    def taken(folder: StudyFolder, number: int) -> list[Any]:
        found = []
        for _ in range(number):
            one = folder.take(99)
            assert one is not None
            found.append(one.values)
            folder.finish(one, {"metric": "m", "value": one.values["x"], "higher_is_better": False})
            one.lock.release()
        return found

    for sampler in ("random", "tpe"):
        one = taken(opened(tmp_path / f"{sampler}-one", sampler, **ranges), 14)
        parts = tmp_path / f"{sampler}-two"
        assert taken(opened(parts, sampler, **ranges), 6) + taken(opened(parts, sampler, **ranges), 8) == one
        assert len({repr(values) for values in one}) == 14
    first, second = opened(tmp_path / "shared", **ranges), opened(tmp_path / "shared", **ranges)
    held = [folder.take(3) for folder in (first, second, first)]
    assert [one and one.trial.number for one in held] == [0, 1, 2]
    assert second.take(3) is None
    assert held[1] is not None
    held[1].lock.release()  # its process was killed
    again = first.take(3)
    assert again is not None
    assert (again.trial.number, again.values) == (1, held[1].values)


def test_the_worse_half_is_pruned(tmp_path: Path) -> None:
    folder = opened(tmp_path / "sweep", pruner="median", x=Range(0.0, 1.0))
    for rank in range(5):
        one = folder.take(9)
        assert one is not None
        folder.observe(one, 100, float(rank))
        folder.finish(one, {"metric": "m", "value": float(rank), "higher_is_better": True})
    better = folder.take(9)
    assert better is not None
    folder.observe(better, 100, 3.0)
    folder.observe(better, 200, float("-inf"))
    worse = folder.take(9)
    assert worse is not None
    with pytest.raises(Pruned, match=f"{worse.trial.number}.*100"):
        folder.observe(worse, 100, 1.0)
    folder.observe(worse, 100, 1.0)  # a resumed trial validates there again


def test_the_points_of_a_grid(tmp_path: Path) -> None:
    spaces = Space({"a": Range(2, 6, 2), "b": Range(0.1, 0.3, 0.1), "c": Choices((True, {"class_path": "GRU"}))})
    points = spaces.grid()
    assert len(points) == 3 * 3 * 2
    assert {point["a"] for point in points} == {2, 4, 6}
    assert {round(point["b"], 9) for point in points} == {0.1, 0.2, 0.3}
    made = StudyFolder(tmp_path / "sweep", SweepPlan(spaces, {}, "grid", "none", 1))
    made.open()
    assert made.wanted(None) == 18
    taken = [made.take(18) for _ in range(18)]
    values = [one.values for one in taken if one is not None]
    assert len({repr(one) for one in values}) == 18
    assert {repr(one["c"]) for one in values} == {"True", "{'class_path': 'GRU'}"}
    assert made.take(99) is None or made.wanted(99) == 18
    with pytest.raises(InputError, match="10,000"):
        Space({"a": Range(1, 200), "b": Range(1, 200)}).grid()


def test_a_grid_whose_process_was_killed_while_it_was_written_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna, written = study.import_optuna(), itertools.count()
    enqueue = optuna.Study.enqueue_trial

    def killed(self: Any, point: Any) -> None:
        if next(written) == 2:
            raise KeyboardInterrupt
        enqueue(self, point)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optuna.Study, "enqueue_trial", killed)
        opened(tmp_path / "sweep", "grid", x=Range(1, 4))
    made = opened(tmp_path / "sweep", "grid", x=Range(1, 4))
    taken = [made.take(4) for _ in range(4)]
    assert [one and one.values["x"] for one in taken] == [1, 2, 3, 4]


def test_settings_become_options_as_a_shell_would_give_them() -> None:
    values = {"a": None, "b": True, "c": 1e-05, "d": "no", "e": {"class_path": "LSTM"}, "f": [1, 2]}
    assert space.options_of(values) == [
        "--a=null", "--b=true", "--c=1e-05", "--d=no", '--e={"class_path": "LSTM"}', "--f=[1, 2]",
    ]  # fmt: skip


def test_a_page_of_anything_is_a_page() -> None:
    """Whatever stands in settings and reasons is escaped, and a sweep without a complete trial has a page too."""
    trials = [
        {"number": index, "state": "fail", "settings": {"model.cell": text}, "reason": text}
        for index, text in enumerate(ATTACKS)
    ]
    for more in ({}, {"configurations": [], "tested": None, "importance": None, "winner": None}):
        text = render({"name": ATTACKS[0], "space": {"model.cell": list(ATTACKS)}, "trials": trials, **more})
        assert "<script>alert" not in text
        assert "<img src" not in text
        assert table({"space": {"model.cell": list(ATTACKS)}, "trials": trials, **more}).terminal()


@pytest.mark.slow
def test_several_processes_share_a_sweep(config: Path, tmp_path: Path) -> None:
    """As the tasks of an array of jobs of SLURM do."""
    folder = tmp_path / "sweep"
    arguments = arguments_of(folder, config, SPACE, "--trials", "6")
    names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_ID")
    task = dict.fromkeys(names, "0") | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "sweep"}

    def one(number: int) -> Any:
        own = {"SLURM_JOB_ID": str(100 + number), "SLURM_ARRAY_TASK_ID": str(number)}
        return python("-m", "seq2seq.sweep", *arguments, env=surroundings(**task, **own), timeout=1800)

    with multiprocessing.pool.ThreadPool(3) as pool:
        done = pool.map(one, range(3))
    assert [one.returncode for one in done] == [0, 0, 0], [one.stderr[-800:] for one in done]
    content = content_of(folder)
    assert [trial["state"] for trial in content["trials"]] == ["complete"] * 6
    assert len(list((folder / "trials").iterdir())) == 6
    assert len(content["tested"]) == 1
