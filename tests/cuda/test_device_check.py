"""Parts of the device check on the pretended device, which computes what the CPU does."""

import pytest

from seq2seq.device_check import determinism, parity
from seq2seq.models.cells import MinGRU
from tests.cuda.device import CUDA

pytestmark = pytest.mark.cuda_rules


@pytest.mark.slow
def test_losses_gradients_and_predictions_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "ATTENTIONS", (None, parity.LocalP))
    lines = list(parity.parity(CUDA, [MinGRU]))
    found = [line for line in lines if "MinGRU" in line.what or "all cells" in line.what or "step by step" in line.what]
    assert [line for line in found if not line.ok] == []
    assert {"32 bits", "TF32", "bf16"} <= {line.what.rpartition(": ")[2].partition(",")[0] for line in lines}
    assert any("beam 5" in line.what for line in found)


def test_two_trainings_are_the_same() -> None:
    lines = list(determinism.determinism(CUDA, 2))
    assert len(lines) == 6
    assert all(line.ok for line in lines)


@pytest.mark.slow
def test_every_cell_attention_and_bridge_is_that_of_the_cpu() -> None:
    lines = list(parity.parity(CUDA))
    assert [line for line in lines if line.ok is False] == []
