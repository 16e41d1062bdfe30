"""A study in a folder: which trials there are, and which one a process takes next. Several processes may share it."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from seq2seq.configurable import flatten
from seq2seq.errors import InputError, Stopped
from seq2seq.experiments.space import SEED, Space
from seq2seq.runs.resuming import changed, matters
from seq2seq.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    import optuna

NAME = "sweep"
"""Of the study in its file."""

IDENTITY = "sweep"
"""Where a study keeps what it is a study of."""

SCORED = "scored"
"""Where a trial keeps its score with its interval."""

REASON = "reason"
"""Where a trial keeps why it failed."""

Sampler = Literal["grid", "random", "tpe"]
Pruner = Literal["none", "median", "halving"]


class Pruned(Stopped):
    """A trial that is not worth finishing."""


class SweepPlan(NamedTuple):
    """What a study is a study of."""

    space: Space
    settings: Mapping[str, Any]
    """The configuration that the space varies, as plain values."""
    sampler: Sampler
    pruner: Pruner
    seed: int
    """Of the suggestions."""

    def identity(self) -> dict[str, Any]:
        """What must be the same for trials to belong together, by dotted names."""
        varied = tuple(self.space.settings)
        kept = {name: value for name, value in flatten(self.settings).items()
                if matters(name, needs_total=True) and name not in varied}  # fmt: skip
        search = {"sampler": self.sampler, "pruner": self.pruner, "seed of the sweep": self.seed}
        space = {f"space of {name}": value for name, value in self.space.plain().items()}
        return json.loads(json.dumps(kept | search | space))  # type: ignore[no-any-return]


class Taken(NamedTuple):
    """A trial that belongs to this process until its lock is released."""

    trial: "optuna.Trial"
    values: dict[str, Any]
    """Its settings by their dotted names."""
    run: RunDirectory
    lock: FileLock


def import_optuna() -> Any:
    """The package, quiet; InputError where it is missing."""
    try:
        import optuna
    except ImportError as problem:
        raise InputError("a sweep needs Optuna: pip install optuna, or this package with its extra sweep") from problem
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class StudyFolder:
    """The folder of a sweep: study.jsonl, a run for each trial, and what is made of them."""

    def __init__(self, path: Path, plan: SweepPlan) -> None:
        self.path, self.plan = path, plan
        self.file = path / "study.jsonl"
        self.optuna = import_optuna()
        self.lock = FileLock(path / ".sweep.lock")
        self.study: optuna.Study

    def open(self) -> None:
        """Read the study, or begin it; one of another space or configuration is refused."""
        self._refuse_foreign()
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / ".trials").mkdir(exist_ok=True)
        with self.lock:
            self.study = self._loaded()
            known, now = self.study.user_attrs.get(IDENTITY), self.plan.identity()
            if known is None:
                self._begin(now)
            elif known != now:
                self._refuse_other(known, now)

    def _loaded(self) -> "optuna.Study":
        from seq2seq.experiments.journal import Journal

        try:
            storage = self.optuna.storages.JournalStorage(Journal(self.file))
            names = [one.study_name for one in storage.get_all_studies()]
        except (InputError, OSError):
            raise
        except Exception as problem:  # whatever a line of a stranger makes of Optuna
            raise InputError(
                f"{self.file} is no study that Optuna can read ({type(problem).__name__}: {problem!s:.80}); "
                "bring it back, or choose another --folder"
            ) from problem
        if names not in ([], [NAME]):
            raise InputError(
                f"{self.file} holds {len(names)} studies ({', '.join(map(str, names))[:80]}), and a sweep has one, "
                f"called {NAME}; choose another --folder"
            )
        if names:
            study: optuna.Study = self.optuna.load_study(storage=storage, study_name=NAME)
        else:
            study = self.optuna.create_study(storage=storage, study_name=NAME, direction="maximize")
        return study

    def _begin(self, identity: Mapping[str, Any]) -> None:
        """Note what the study is of; a grid waits in it whole."""
        if self.plan.sampler == "grid":
            there = len(self.study.get_trials(deepcopy=False))  # a process may have been killed right here
            for point in self.plan.space.grid()[there:]:
                self.study.enqueue_trial(point)
        self.study.set_user_attr(IDENTITY, dict(identity))

    def _refuse_other(self, known: Any, now: Mapping[str, Any]) -> None:
        differing = [str(change) for change in changed(known, now)] if isinstance(known, dict) else ["unreadable"]
        raise InputError(
            f"{self.file} is of another sweep: {', '.join(differing)[:400]}; choose another --folder, or give "
            "configuration and space as they were"
        )

    def _refuse_foreign(self) -> None:
        others = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        if others and self.file.name not in others and ".sweep.lock" not in others:
            raise InputError(f"{self.path} holds {others[0]!r} and is no folder of a sweep; choose another --folder")
        studies = sorted({*self.path.glob("*.jsonl")} - {self.file}) if self.path.is_dir() else []
        if studies:
            raise InputError(f"{self.path} holds {studies[0].name} beside study.jsonl; one study in each --folder")

    def wanted(self, trials: int | None) -> int:
        """How many trials there shall be; a grid has its own number."""
        if self.plan.sampler != "grid":
            return trials or 0
        points = len(self.plan.space.grid())
        return points if trials is None else min(trials, points)

    def begun(self) -> "list[optuna.trial.FrozenTrial]":
        """All trials that have been taken, in order."""
        waiting = self.optuna.trial.TrialState.WAITING
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != waiting]

    def take(self, wanted: int) -> Taken | None:
        """The next trial for this process: one that was killed, or a new one; None where there is none."""
        with self.lock:
            begun = self.begun()
            for trial in begun:
                if not trial.state.is_finished() and (lock := self._locked(trial.number)) is not None:
                    return self._taken(self.optuna.Trial(self.study, trial._trial_id), lock)
            if len(begun) >= wanted:
                return None
            if (run := self.run(len(begun)).path).exists():
                raise InputError(
                    f"{run} is there and {self.file} does not know it; bring the study back, or choose another --folder"
                )
            self.study.sampler = self._sampler(len(begun))
            new = self.study.ask()
            lock = self._locked(new.number)
            if lock is None:
                raise InputError(f"trial {new.number} of {self.path} is in use; remove {self.path / '.trials'}")
            return self._taken(new, lock)

    def _locked(self, number: int) -> FileLock | None:
        """The lock of a trial; None where another process has it."""
        lock = FileLock(self.path / ".trials" / f"{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _taken(self, trial: "optuna.Trial", lock: FileLock) -> Taken:
        self.study.sampler, self.study.pruner = self._sampler(trial.number), self._pruner()
        return Taken(trial, self.plan.space.suggested(trial), self.run(trial.number), lock)

    def run(self, number: int) -> RunDirectory:
        """The run of a trial."""
        return RunDirectory(self.path / "trials" / f"{number:04d}")

    def _sampler(self, number: int) -> Any:
        """What suggests the settings of a trial: a function of seed, number and earlier trials."""
        seed = int(np.random.SeedSequence([self.plan.seed, number]).generate_state(1)[0])
        kinds = self.optuna.samplers
        return kinds.TPESampler(seed=seed) if self.plan.sampler == "tpe" else kinds.RandomSampler(seed=seed)

    def _pruner(self) -> Any:
        kinds = self.optuna.pruners
        return {"none": kinds.NopPruner, "median": kinds.MedianPruner, "halving": kinds.SuccessiveHalvingPruner}[
            self.plan.pruner
        ]()

    def observe(self, taken: Taken, step: int, rank: float) -> None:
        """Note a validation of a trial; raise Pruned where others were better at that step."""
        known = self.study._storage.get_trial(taken.trial._trial_id).intermediate_values
        if step in known or not math.isfinite(rank):
            return
        taken.trial.report(rank, step)
        if self.plan.pruner != "none" and taken.trial.should_prune():
            raise Pruned(f"trial {taken.trial.number} is pruned at step {step:,}")

    def finish(self, taken: Taken, scored: Mapping[str, Any]) -> None:
        """Note the score of a trial."""
        value = scored["value"]
        if value is None or not math.isfinite(value):
            return self.fail(taken, f"{scored['metric']} is no number")
        taken.trial.set_user_attr(SCORED, dict(scored))
        self.study.tell(taken.trial, value if scored["higher_is_better"] else -value)

    def prune(self, taken: Taken) -> None:
        """Note that a trial was not worth finishing."""
        self.study.tell(taken.trial, state=self.optuna.trial.TrialState.PRUNED)

    def fail(self, taken: Taken, reason: str) -> None:
        """Note that a trial could not be trained."""
        taken.trial.set_user_attr(REASON, reason)
        self.study.tell(taken.trial, state=self.optuna.trial.TrialState.FAIL)
        print(f"trial {taken.trial.number} failed: {reason}", file=sys.stderr)

    def importance(self) -> dict[str, float]:
        """The share of each setting in reaching the best scores; empty where too little is known."""
        varied = [name for name in self.plan.space.settings if name != SEED]
        complete = self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.COMPLETE,))
        if len(complete) < 4 or not varied or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = self.optuna.importance.PedAnovaImportanceEvaluator()
        shares = self.optuna.importance.get_param_importances(self.study, evaluator=evaluator, params=varied)
        return {name: float(share) for name, share in shares.items() if math.isfinite(share)}
