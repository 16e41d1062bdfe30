"""`fit`: a training from a script or a notebook, and `Run`, what it leaves; the commands do the work."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seq2seq import evaluate, train
from seq2seq.api.answers import html_table
from seq2seq.api.model import Model, load
from seq2seq.api.process_state import kept
from seq2seq.api.scores import ScoreTable
from seq2seq.api.settings import as_arguments, nested
from seq2seq.errors import InputError
from seq2seq.runs.config_file import find, read_yaml, to_yaml
from seq2seq.runs.run_directory import RunDirectory


class Run:
    """A finished training: its directory, scores, curves and model."""

    def __init__(self, path: str | Path) -> None:
        """path: the run directory."""
        self.path = Path(path)
        self._directory = RunDirectory(self.path)

    @property
    def results(self) -> dict[str, Any]:
        """What results.json holds."""
        try:
            content = json.loads(self._directory.results.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise InputError(f"{self.path} holds no readable results.json: {problem}") from problem
        if not isinstance(content, dict):
            raise InputError(f"{self.path} holds no readable results.json: it is no object")
        return content

    @property
    def scores(self) -> ScoreTable:
        """The scores of the test split, as the training has taken them."""
        return ScoreTable(self.results, "test")

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self._directory.report

    def load(self, device: str = "cpu") -> Model:
        """The best model."""
        return load(self.path, device)

    def evaluate(self, split: str = "test", **settings: Any) -> ScoreTable:
        """Decode a split anew and score it; see `seq2seq.evaluate`."""
        return evaluate.evaluation(self.path, split, **settings)

    def __repr__(self) -> str:
        return f"run {self.path}\n{self.scores!r}"

    def _repr_html_(self) -> str:
        rows = [{"run": str(self.path), "report": str(self.report)}]
        return html_table(rows) + self.scores._repr_html_()


def fit(config: str | Path | Mapping[str, Any], run: str | Path | None = None, **overrides: Any) -> Run:
    """Train, score the best checkpoint on the test split, and write the report, as `python -m seq2seq.train` does.

    It may be called several times in a process and in a notebook: signals, random numbers and settings of torch are
    afterwards as they were. Ctrl-C stops and saves; `resume=True` continues.

    Args:
        config: a configuration file, or its settings as a dictionary, in which parts may be objects: `{"cell": GRU()}`.
        run: directory to write to; runs/NAME OF THE FILE if it is left out.
        overrides: settings that differ, by group, `trainer={"max_steps": 100}`, or by dotted name, `**{"seed": 2}`.
    """
    settings = nested(config) if isinstance(config, Mapping) else read_yaml(find(str(config)))
    run = run or settings.get("run") or (None if isinstance(config, Mapping) else f"runs/{Path(config).stem}")
    if not run:
        raise InputError('fit: a configuration that is no file has no name; give run="runs/NAME"')
    refuse_several_devices(settings, nested(overrides))
    with tempfile.TemporaryDirectory() as folder, kept():
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(settings), encoding="utf-8")
        train.main(["--config", str(file), "--run", str(run), *as_arguments(overrides)])
    return Run(run)


def refuse_several_devices(*settings: Mapping[str, Any]) -> None:
    """Lightning starts the other processes with the command line of this one, which is no command of ours."""
    for group in settings:
        trainer = group.get("trainer") or {}
        for name in ("devices", "num_nodes"):
            value = trainer.get(name, 1) if isinstance(trainer, Mapping) else 1
            several = len(value) > 1 if isinstance(value, list) else value not in (1, "1")
            if several:
                raise InputError(f"fit: trainer.{name} is {value!r}; of several: python -m seq2seq.train --config FILE")
