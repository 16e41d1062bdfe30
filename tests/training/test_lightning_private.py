"""Each private member of Lightning that is used: a release without it is refused by name."""

import copy
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.loops import _TrainingEpochLoop
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.strategies.launchers import subprocess_script
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from torch.distributed import distributed_c10d

from seq2seq.errors import InputError
from seq2seq.training import lightning_private as private


@pytest.fixture
def trainer() -> Trainer:
    return Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)


MEMBERS: list[tuple[Callable[[Trainer], Any], str, Callable[[Trainer], Any]]] = [
    (lambda trainer: trainer, "_signal_connector", private.leave_to_us),
    (lambda _: _SignalConnector, "register_signal_handlers", private.leave_to_us),
    (lambda _: _TrainingEpochLoop, "_broadcast_sigterm_tensor", private.leave_to_us),
    (lambda _: subprocess_script, "_launch_process_observer", private.leave_to_us),
    (lambda _: distributed_c10d, "_set_pg_timeout", lambda _: private.set_timeout(timedelta(1))),
    (lambda trainer: trainer, "val_check_batch", lambda trainer: private.validation_due(trainer, 1, 1)),
    (lambda trainer: trainer.fit_loop.epoch_loop, "val_loop", private.validate),
    (lambda _: _Loop, "restarting", private.validate),
]
"""Whose, which, and what uses it."""


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's function is put back afterwards."""
    monkeypatch.setattr(subprocess_script, "_launch_process_observer", subprocess_script._launch_process_observer)


@pytest.mark.parametrize(("owner", "name", "call"), MEMBERS, ids=[name for _, name, _ in MEMBERS])
def test_a_release_without_a_member_is_refused_by_name(
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
    owner: Callable[[Trainer], Any],
    name: str,
    call: Callable[[Trainer], Any],
) -> None:
    monkeypatch.delattr(owner(trainer), name)
    with pytest.raises(InputError, match=rf"pytorch-lightning .* {name}\b.*pytorch-lightning<"):
        call(trainer)


def test_a_launcher_without_processes_is_refused() -> None:
    launched: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=[1])))
    assert private.started_processes(launched) == [1]
    del launched.strategy.launcher.procs
    with pytest.raises(InputError, match="procs"):
        private.started_processes(launched)
    launched.strategy.launcher = None
    assert private.started_processes(launched) == ()


def test_signals_are_left_to_us(trainer: Trainer) -> None:
    private.leave_to_us(trainer)
    trainer._signal_connector.register_signal_handlers()
    assert trainer._signal_connector._original_handlers == {}


def test_every_counter_of_the_loops_is_checked(trainer: Trainer) -> None:
    loops = {"fit_loop": trainer.fit_loop.state_dict()}
    written = private.loops_at(7, 5, loops)["fit_loop"]
    assert written["epoch_loop.batch_progress"]["total"]["completed"] == 7
    assert written["epoch_loop.batch_progress"]["current"]["completed"] == 2
    assert written["epoch_progress"]["current"] == {"ready": 2, "started": 2, "processed": 1, "completed": 1}
    assert private.names_in(written) == private.names_in(loops["fit_loop"])
    for name in [name for name, value in written.items() if value != loops["fit_loop"][name]]:
        for change in (lambda fit, name: fit.pop(name), lambda fit, name: fit[name].update(another=1)):
            other = copy.deepcopy(loops)
            change(other["fit_loop"], name)
            with pytest.raises(InputError, match=rf"pytorch-lightning .* {name}\b"):
                private.loops_at(7, 5, other)
