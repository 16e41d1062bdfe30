"""Where curves, settings and sample predictions go besides metrics.csv: TensorBoard, W&B, MLflow.

A service that fails, for lack of its package, of a network or of room, is left out with one line; training goes on.
"""

import logging
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from seq2seq.configurable import flatten
from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.runs.config_file import to_yaml
from seq2seq.runs.run_directory import RunDirectory

log = logging.getLogger(__name__)

COLUMNS = ["source", "reference", "prediction"]


class Board(Protocol):
    """One service."""

    id: str
    """By which it knows the run; empty where it is known by its directory."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves."""
        ...

    def texts(self, rows: Sequence[Prediction], step: int) -> None:
        """Sample predictions."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class TensorBoard:
    """Event files in the run directory."""

    id = ""

    def __init__(self, run: RunDirectory, settings: Mapping[str, Any], known: str, step: int) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        self._writer = SummaryWriter(str(run.tensorboard), purge_step=step + 1 if step else None)
        self._writer.add_text("settings", f"```yaml\n{to_yaml(dict(settings))}\n```", step)
        for summary in hparams(flat(settings), {"validation_loss": 0.0}):
            self._writer.file_writer.add_summary(summary)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def texts(self, rows: Sequence[Prediction], step: int) -> None:
        lines = [f"    {name:<10} {text}" for row in rows for name, text in zip(COLUMNS, shown(row), strict=True)]
        self._writer.add_text("predictions", "\n".join(lines), step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """Weights and Biases, through Lightning's logger; WANDB_MODE=offline keeps all in the run directory."""

    def __init__(self, run: RunDirectory, settings: Mapping[str, Any], known: str, step: int) -> None:
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        self.id = known or uuid.uuid4().hex[:8]
        self._logger = WandbLogger(
            name=run.path.name,
            save_dir=str(run.path),
            id=self.id,
            project=os.environ.get("WANDB_PROJECT", "seq2seq"),
            offline=os.environ.get("WANDB_MODE") == "offline",
            resume="allow",
            settings=wandb.Settings(init_timeout=30, silent=True),
        )
        self._logger.log_hyperparams(flat(settings))

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self._logger.log_metrics(dict(values), step)

    def texts(self, rows: Sequence[Prediction], step: int) -> None:
        self._logger.log_text("predictions", columns=COLUMNS, data=[shown(row) for row in rows], step=step)

    def close(self) -> None:
        self._logger.experiment.finish()


class Mlflow:
    """MLflow, through Lightning's logger; without MLFLOW_TRACKING_URI in files in the run directory."""

    def __init__(self, run: RunDirectory, settings: Mapping[str, Any], known: str, step: int) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # else a dead server is asked for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a run is one folder of files, without a database
        from pytorch_lightning.loggers import MLFlowLogger

        place = os.environ.get("MLFLOW_TRACKING_URI") or (run.path / "mlflow").resolve().as_uri()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "seq2seq")
        self._logger = MLFlowLogger(name, run.path.name, place, run_id=known or None)
        if not known:
            self._logger.log_hyperparams(flat(settings))
        self.id = str(self._logger.run_id)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self._logger.log_metrics(dict(values), step)

    def texts(self, rows: Sequence[Prediction], step: int) -> None:
        lines = ["\t".join(COLUMNS), *("\t".join(shown(row)) for row in rows)]
        self._logger.experiment.log_text(self.id, "\n".join(lines) + "\n", f"predictions/step-{step}.tsv")

    def close(self) -> None:
        self._logger.finalize("success")


KINDS: dict[str, Callable[[RunDirectory, Mapping[str, Any], str, int], Board]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
}


class Loggers:
    """The services that trainer.loggers names."""

    def __init__(self, names: Sequence[str], run: RunDirectory, settings: Mapping[str, Any]) -> None:
        """settings: the whole configuration as plain values."""
        self.names, self.run, self.settings = list(dict.fromkeys(names)), run, settings
        self.ids: dict[str, str] = {}
        """By which services know the run: kept in its checkpoints, so that a resumed one goes on there."""
        self._boards: dict[str, Board] = {}

    def restore(self, ids: Mapping[str, str]) -> None:
        """The ids of a checkpoint, which is not trusted."""
        for name, known in ids.items():
            if name not in KINDS or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", known):
                raise InputError(f"last.ckpt is damaged: {known!r:.80} is no id of {name!r:.20}")
        self.ids = dict(ids)

    def start(self, step: int) -> None:
        """Open all of them after an optimiser step, 0 for a new run."""
        for name in self.names:
            self._guarded(name, lambda name=name: self._open(name, step))  # type: ignore[misc]

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves."""
        self._each(lambda board: board.numbers(values, step))

    def texts(self, rows: Sequence[Prediction], step: int) -> None:
        """Sample predictions."""
        self._each(lambda board: board.texts(rows, step))

    def close(self) -> None:
        """Nothing more comes."""
        self._each(lambda board: board.close())
        self._boards = {}

    def _open(self, name: str, step: int) -> None:
        board = KINDS[name](self.run, self.settings, self.ids.get(name, ""), step)
        self._boards[name] = board
        if board.id:
            self.ids[name] = board.id

    def _each(self, call: Callable[[Board], None]) -> None:
        for name, board in list(self._boards.items()):
            self._guarded(name, lambda board=board: call(board))  # type: ignore[misc]

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        """Call a service, and leave it out from now on if it fails."""
        try:
            call()
        except Exception as problem:
            self._boards.pop(name, None)
            text = " ".join(str(problem).split())[:200] or type(problem).__name__
            log.warning("trainer.loggers: %s is left out from here on, and training goes on: %s", name, text)


def shown(row: Prediction) -> list[str]:
    """The texts of a validated row."""
    return [row.source, row.reference, row.prediction]


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted names, as services take them."""
    plain = (bool, int, float, str)
    return {name: value if isinstance(value, plain) else str(value) for name, value in flatten(settings).items()}
