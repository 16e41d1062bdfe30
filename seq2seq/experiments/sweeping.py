"""A sweep: trials of a space, one after the other, each a resumable run; the best one meets the test split."""

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seq2seq.analysis.results_files import as_json
from seq2seq.atomic_files import write_text
from seq2seq.errors import InputError, Interrupted, Stopped
from seq2seq.experiments.one_run import begin_or_resume
from seq2seq.experiments.space import SEED, options_of
from seq2seq.experiments.study import REASON, SCORED, Pruned, StudyFolder, Taken
from seq2seq.inference.device import out_of_memory
from seq2seq.report import sweep as page
from seq2seq.report.reading import read_results
from seq2seq.report.wording import label
from seq2seq.report.wording import number as digits
from seq2seq.runs.config_file import read_yaml, to_yaml
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.signals import Requests

if TYPE_CHECKING:
    import optuna

HOPELESS = 3
"""Trials that fail one after the other, after which a sweep ends."""

TESTED = "tested"
"""Where a study keeps which trials have met the test split."""


def work(folder: StudyFolder, base: Sequence[str], wanted: int) -> None:
    """Train trials until there are enough.

    base: the options of the training that the space varies.
    """
    failures: list[str] = []
    while (taken := folder.take(wanted)) is not None:
        try:
            reason = train_trial(folder, taken, base)
        finally:
            taken.lock.release()
            free_memory()
        failures = [*failures, reason] if reason else []
        publish(folder)
        if len(failures) == HOPELESS:
            raise InputError(f"{HOPELESS} trials in a row have failed, the last with: {reason}")


def train_trial(folder: StudyFolder, taken: Taken, base: Sequence[str]) -> str:
    """Train one trial, or what is left of it; why it failed, nothing if it did not."""
    number, run = taken.trial.number, taken.run
    print(f"trial {number}: {in_words(taken.values)}", file=sys.stderr)
    own = ["--run", str(run.path), "--resume", "auto", "--score", "validation"]
    requests = Requests()
    requests.install()
    try:
        arguments = [*base, *options_of(taken.values), *own]
        begin_or_resume(arguments, time.monotonic(), requests, lambda *seen: folder.observe(taken, *seen))
        scored = score_of(run)
        folder.finish(taken, scored)
        score = f"{label(scored['metric'])} {digits(scored['value'])}"
        print(f"trial {number}: {score} on the validation split", file=sys.stderr)
    except Pruned as pruned:
        folder.prune(taken)
        print(pruned, file=sys.stderr)
    except (Stopped, Interrupted) as stopped:
        requests.ignore()
        raise type(stopped)(f"trial {number} {stopped or 'stopped'}; the same command continues the sweep") from stopped
    except InputError as problem:
        if isinstance(problem.__cause__, OSError):  # the disk, not the settings
            raise InputError(f"trial {number}: {problem}; the same command continues the sweep") from problem
        folder.fail(taken, str(problem))
        return str(problem)
    except OSError:
        raise
    except Exception as problem:
        reason = "not enough memory" if no_memory(problem) else f"{type(problem).__name__}: {problem}"
        folder.fail(taken, reason)  # else the next process would stumble over it again
        if not no_memory(problem):
            raise
        return reason
    finally:
        requests.restore()
    return ""


def free_memory() -> None:
    """Give back what the trial held, which the next one may need: a trainer and its parts refer to each other."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def no_memory(problem: Exception) -> bool:
    """Whether a trial was too large for this machine."""
    return isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and out_of_memory(problem))


def in_words(values: Mapping[str, Any]) -> str:
    """Settings on one line."""
    return ", ".join(f"{name} {page.in_cell(value)}" for name, value in values.items())


def score_of(run: RunDirectory) -> dict[str, Any]:
    """The score of a finished run by which trials are compared, with what a table says of it."""
    results = read_results(run.results)
    split = (results.get("splits") or {}).get("validation") or {}
    for name, metric in (split.get("metrics") or {}).items():
        kept = {key: metric.get(key) for key in ("value", "low", "high", "unit", "signature")}
        higher = metric.get("higher_is_better") is not False
        step = (results.get("best") or {}).get("step")
        return kept | {"metric": name, "higher_is_better": higher, "step": step, "seconds": results.get("seconds")}
    raise InputError(f"{run.results} holds no score of the validation split; remove {run.path} and start again")


def described(folder: StudyFolder) -> dict[str, Any]:
    """The sweep as plain values, best first."""
    begun = folder.begun()
    known: Mapping[str, Any] = next((trial.user_attrs[SCORED] for trial in begun if SCORED in trial.user_attrs), {})
    about = {key: known.get(key) for key in ("metric", "unit", "signature", "higher_is_better")}
    trials = [trial_row(folder, trial, -1 if about["higher_is_better"] is False else 1) for trial in begun]
    ranked = ranked_configurations(trials)
    winner = ranked[0]["trials"][0] if ranked else None
    return {
        "format": 1,
        "name": folder.path.resolve().name,
        "space": folder.plan.space.plain(),
        "sampler": folder.plan.sampler,
        "pruner": folder.plan.pruner,
        **about,
        "configurations": ranked,
        "trials": trials,
        "importance": folder.importance(),
        "winner": winner,
        "configuration": None if winner is None else best_configuration(folder, winner),
        "tested": folder.study.user_attrs.get(TESTED, []),
    }


def trial_row(folder: StudyFolder, trial: "optuna.trial.FrozenTrial", sign: int) -> dict[str, Any]:
    """What is known of a trial; sign: 1 where a higher score is better, else -1."""
    scored = trial.user_attrs.get(SCORED) or {}
    values = {name: trial.params[name] for name in folder.plan.space.settings if name in trial.params}
    last = max(trial.intermediate_values, default=None)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "settings": values,
        "reason": trial.user_attrs.get(REASON),
        "step": last,
        "run": str(folder.run(trial.number).path.relative_to(folder.path)),
        "curve": [[step, sign * rank] for step, rank in sorted(trial.intermediate_values.items())],
        **scored,
    }


def ranked_configurations(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Complete trials that differ in nothing but their seed, by their mean, the best first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in trials:
        if row["state"] == "complete":
            groups.setdefault(repr(without_seed(row["settings"])), []).append(row)
    made = []
    for rows in groups.values():
        sign = 1 if rows[0]["higher_is_better"] else -1
        rows = sorted(rows, key=lambda row: -sign * row["value"])
        values = [row["value"] for row in rows]
        made.append(
            {
                "settings": without_seed(rows[0]["settings"]),
                "trials": [row["number"] for row in rows],
                "value": statistics.fmean(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "low": rows[0]["low"] if len(rows) == 1 else None,
                "high": rows[0]["high"] if len(rows) == 1 else None,
                "seconds": sum(row["seconds"] or 0 for row in rows),
                "rank": sign * statistics.fmean(values),
            }
        )
    return sorted(made, key=lambda one: (-one["rank"], one["trials"]))


def without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != SEED}


def best_configuration(folder: StudyFolder, winner: int) -> str | None:
    """The configuration of a trial as YAML, which trains it anew and tests it; None where its run is gone."""
    file = folder.run(winner).config
    return to_yaml(read_yaml(file) | {"score": "test"}) if file.is_file() else None


def publish(folder: StudyFolder) -> dict[str, Any]:
    """Write sweep.json, sweep.html and best.yaml."""
    with folder.lock:
        content = described(folder)
        write_text(folder.path / "sweep.json", as_json(content) + "\n")
        write_text(folder.path / "sweep.html", page.render(content))
        if content["configuration"] is not None:
            write_text(folder.path / "best.yaml", content["configuration"])
    return content


def test_winner(folder: StudyFolder, wanted: int, score: Callable[[Path, Path], object]) -> None:
    """Score the best trial on the test split, once; nothing while others are still being trained.

    score: writes what a run's checkpoint makes of the test split to a folder, as `seq2seq.evaluate --output` does.
    """
    with folder.lock:
        begun = folder.begun()
        if len(begun) < wanted or not all(trial.state.is_finished() for trial in begun):
            print("other processes are still training trials; the last one scores the winner", file=sys.stderr)
            return
        winner = described(folder)["winner"]
        tested = folder.study.user_attrs.get(TESTED, [])
        if winner is None or any(one["trial"] == winner for one in tested):
            return
        output = RunDirectory(folder.path / "test")
        score(folder.run(winner).path, output.path)
        results = read_results(output.results)
        name, metric = next(iter(results["splits"]["test"]["metrics"].items()))
        scored = {key: metric[key] for key in ("value", "low", "high")}
        finite = {key: value for key, value in scored.items() if value is not None and math.isfinite(value)}
        folder.study.set_user_attr(TESTED, [*tested, {"trial": winner, "metric": name, **finite}])


def folder_of(given: str | None, space: Path) -> Path:
    """The folder of a sweep, that is named or that the space gives its name."""
    if given == "":
        raise InputError("--folder is empty; name a directory, or leave it out for sweeps/NAME OF THE SPACE")
    return Path(given or f"sweeps/{space.stem}")
