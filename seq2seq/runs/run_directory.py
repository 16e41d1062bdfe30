"""The run directory: everything that a training writes, never overwritten silently."""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from seq2seq.atomic_files import remove, write_text
from seq2seq.errors import Finished, InputError

OWNED = (
    "config.yaml",
    "metrics.csv",
    "results.json",
    "report.html",
    "badge.svg",
    "badge.json",
    "checkpoints",
    "predictions",
    "dumps",
    "parts",
    "tensorboard",
    "wandb",
    "mlflow",
    ".ready",
    ".job",
    ".processes",
)
"""What a training writes, and so what `overwrite` removes."""

REPORTED = ("predictions", "results.json", "report.html")
"""What an evaluation writes."""


class RunDirectory:
    """Paths of a run, and the right to write there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.results, self.report = path / "config.yaml", path / "results.json", path / "report.html"
        self.best, self.last = path / "checkpoints" / "best.ckpt", path / "checkpoints" / "last.ckpt"
        self.metrics, self.predictions, self.tensorboard = (
            path / "metrics.csv",
            path / "predictions",
            path / "tensorboard",
        )
        self.dumps, self._parts = path / "dumps", path / "parts"
        self._job, self._ready, self._marker = path / ".job", path / ".ready", path / ".lock"
        self.processes = path / ".processes"
        self._lock, self._made = FileLock(self._marker), False

    def at_step(self, step: int) -> Path:
        """The parameters of an optimiser step, while they wait for their mean."""
        return self.last.with_name(f"step-{step}.ckpt")

    def at_steps(self) -> list[Path]:
        """All of these that are there."""
        return sorted(self.last.parent.glob("step-*.ckpt"))

    def forget_steps(self, but: Sequence[int] = ()) -> None:
        """Remove the parameters of all steps but some."""
        for file in {*self.at_steps()} - {self.at_step(step) for step in but}:
            file.unlink(missing_ok=True)

    def keep_part(self, step: int) -> None:
        """Move the results of a finished run aside, which is continued after an optimiser step."""
        self._parts.mkdir(exist_ok=True)
        os.replace(self.results, self._parts / f"{step}.json")

    def parts(self) -> dict[int, dict[str, Any]]:
        """The results of earlier parts of a run that was continued, by their last optimiser step."""
        found = {}
        for file in self._parts.glob("*.json"):
            try:
                found[int(file.stem)] = dict(json.loads(file.read_text()))
            except (ValueError, TypeError, RecursionError) as problem:
                raise InputError(f"{file} is damaged, remove it: {problem}") from problem
        return dict(sorted(found.items()))

    def is_restarted(self, overwrite: bool, job: str | None) -> bool:
        """Whether a job that a scheduler has started again goes on with what it has begun here."""
        return job is not None and (not overwrite or self._begun_by(job))

    def claim(
        self, overwrite: bool, resume: bool | Literal["auto"], job: str | None = None, further: bool = False
    ) -> bool:
        """Take the directory for this process alone, or say why not and what to do; nothing is removed yet.

        job: a job that a scheduler has started again, which resumes what it has begun; further: a finished run is to be
        continued.

        Returns:
            Whether to resume the run that is there.
        """
        if overwrite and resume:
            raise InputError("--overwrite starts anew and --resume continues; choose one")
        if self.is_restarted(overwrite, job):
            resume, overwrite = resume or "auto", False
        self._refuse_links(OWNED if resume else ())
        self._refuse_unwritable_name()
        if resume == "auto" and not further:
            self._finished()  # before anything is written: the disk of a finished run may be read-only
        if not resume and not self._marker.exists():
            self._refuse_foreign()  # before the lock, whose file is the mark
        try:
            new = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._made = new
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path} is in use by another training; wait for it or choose another --run"
            ) from None
        except OSError as problem:
            raise InputError(
                f"cannot write to the run directory {self.path}: {problem}; choose another --run"
            ) from problem
        self._ready.unlink(missing_ok=True)
        self._sweep()
        if resume == "auto" and not further:
            self._finished()
        if resume == "auto":
            resume = self.last.is_file()
        elif resume:
            self._refuse_to_resume(further)
        elif not overwrite:
            self._refuse_used()
        return resume

    def _finished(self) -> None:
        """Raise Finished where another training has left its results."""
        if self.results.exists():
            raise Finished(f"{self.path} is finished already; there is nothing to resume, and nothing was trained")

    def _refuse_unwritable_name(self) -> None:
        """Results and reports hold the name."""
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"the name of the run directory {os.fsencode(self.path)!r} is no UTF-8; choose another --run"
            ) from None

    def mend(self, config: str) -> bool:
        """Bring back what marks the directory as a run, where somebody has removed it meanwhile; whether it was so."""
        if self.config.is_file() and self._marker.exists():
            return False
        write_text(self.config, config)
        self._marker.touch()
        return True

    def _begun_by(self, job: str) -> bool:
        return self._job.is_file() and self._job.read_text() == job

    def begun_by(self, job: str) -> None:
        """Note the scheduler's job, so that its next start recognises its own run."""
        write_text(self._job, job)

    def release(self) -> None:
        """Let others have the directory."""
        there = self._made and self.path.is_dir()
        if there and [entry.name for entry in self.path.iterdir()] == [self._marker.name]:
            self._marker.unlink()  # a refused run leaves nothing behind
            with contextlib.suppress(OSError):
                self.path.rmdir()
        self._lock.release()

    def _sweep(self) -> None:
        """Remove what a killed training was writing; the files it would have replaced are whole."""
        for folder in (self.path, self.last.parent, self.predictions):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)

    def _refuse_links(self, names: Sequence[str]) -> None:
        """What a run writes stays in its directory: a link among `names`, or for the lock, would lead elsewhere."""
        for entry in (self.path / name for name in (self._marker.name, *names)):
            if entry.is_symlink():
                raise InputError(
                    f"{entry} is a link, through which a run would write elsewhere; remove it, or give the directory "
                    "that it leads to as --run"
                )

    def _refuse_to_resume(self, further: bool) -> None:
        if not self.last.is_file():
            raise InputError(f"{self.path} holds no checkpoints/last.ckpt to resume from; start without --resume")
        if self.results.exists() and not further:
            raise InputError(
                f"{self.path} is finished already; there is nothing to resume. Continue it with a larger "
                f"trainer.max_epochs or trainer.max_steps, or start another run from it: --start_from {self.path}"
            )

    def _refuse_used(self) -> None:
        choices = "replace it with --overwrite true, or choose another --run"
        if self.results.exists():
            raise InputError(f"{self.path} holds a finished run; {choices}")
        if self.last.is_file():
            raise InputError(f"{self.path} holds a half-finished run; continue it with --resume true, {choices}")

    def _refuse_foreign(self) -> None:
        """No run has claimed this directory before, so its files are somebody else's, --overwrite or not."""
        others = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        if others:
            raise InputError(f"{self.path} holds {others[0]!r} and is no run directory; choose another --run")

    def clear(self, names: Sequence[str] = OWNED) -> None:
        """Remove what a run has written, right before another writes."""
        for name in names:
            remove(self.path / name)

    def announce(self, launch: str, **news: Any) -> None:
        """Tell the other processes of this launch: resume (true or false), ready, finished or failed."""
        write_text(self._ready, json.dumps({"launch": launch, **news}))

    def wait(self, launch: str, for_what: str, seconds: float = 3600.0) -> Any:
        """Wait for a piece of news from the first process of this launch, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            news = self._news(launch)
            if "finished" in news:
                raise Finished(news["finished"])
            if "failed" in news:
                raise InputError(f"the first process has failed: {news['failed']}")
            if for_what in news:
                return news[for_what]
            time.sleep(0.2)
        raise InputError(f"{self.path} was not prepared within {seconds:.0f} s by the first process")

    def _news(self, launch: str) -> dict[str, Any]:
        try:
            news = json.loads(self._ready.read_text())
            return news if news["launch"] == launch else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
