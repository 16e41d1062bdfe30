"""Arithmetic of GPUs: scaled gradients are the same gradients, cumulative sums by additions are cumulative sums."""

import pytest
import torch
from torch import nn

from seq2seq.errors import InputError
from seq2seq.training import trainer
from seq2seq.training.arithmetic import MEAN_OVER, cumulative, described, gradient_scale, unscale
from seq2seq.training.options import TrainerOptions

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("tokens", [1, 255, 256, 300, 3000, 100_000, 1 << 20])
def test_the_scale_is_a_power_of_two_that_makes_large_steps_small(tokens: int) -> None:
    scale = gradient_scale(CUDA, "bf16-mixed", tokens)
    assert scale.is_integer()
    assert int(scale).bit_count() == 1
    assert scale == 1 or MEAN_OVER <= tokens / scale < 2 * MEAN_OVER
    assert gradient_scale(CPU, "bf16-mixed", tokens) == gradient_scale(CUDA, "32-true", tokens) == 1


def test_scaled_gradients_are_the_same_to_the_bit() -> None:
    torch.manual_seed(3)
    layer, inputs = nn.GRU(5, 7), torch.randn(4, 3, 5)
    found = []
    for scale in (1.0, 512.0):
        layer.zero_grad()
        for part in inputs.split(2):  # as micro-batches
            torch.autograd.backward(layer(part)[0].square().sum() / 3001 * scale)
        unscale(layer.parameters(), scale)
        found.append([one.grad.clone() for one in layer.parameters() if one.grad is not None])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("shape", [(1,), (9,), (3, 8), (2, 5, 3)])
@pytest.mark.parametrize("dim", [0, -1])
def test_sums_by_additions(shape: tuple[int, ...], dim: int) -> None:
    values = torch.randn(shape, dtype=torch.double, requires_grad=True)
    ours, theirs = cumulative(values, dim), values.cumsum(dim)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(shape, dtype=torch.double)
    mine, other = (torch.autograd.grad((one * weights).sum(), values)[0] for one in (ours, theirs))
    torch.testing.assert_close(mine, other)


def test_a_processor_has_one_arithmetic() -> None:
    assert described(CPU, "32-true", True) == "32-true"


@pytest.mark.parametrize(
    ("devices", "rank", "number"), [(1, 0, 0), (4, 3, 3), ([2, 5], 1, 5), ("2,5", 1, 5), ("auto", 2, 2), (-1, 1, 1)]
)
def test_each_process_has_its_own_device(
    devices: int | list[int] | str, rank: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(trainer, "find", lambda name, *_: asked.append(name) or torch.device(name))
    assert trainer.own_device(TrainerOptions(devices=devices)) == torch.device("cuda", number)
    assert asked == [f"cuda:{number}"]
    assert trainer.own_device(TrainerOptions("cpu", devices)) == CPU


def test_a_card_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(trainer, "find", lambda name, *_: torch.device(name))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(InputError, match=r"trainer\.precision bf16-mixed.*Tesla T4.*trainer\.precision 32-true"):
        trainer.own_device(TrainerOptions(precision="bf16-mixed"))
    assert trainer.own_device(TrainerOptions(precision="32-true")).type == "cuda"


def test_a_processor_that_is_slow_in_bfloat16_trains_in_32_bits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for slow, precision, said in ((True, "32-true", "trainer.precision bf16-mixed"), (False, "bf16-mixed", "")):
        monkeypatch.setattr(trainer, "slow_bfloat16", lambda device, slow=slow: slow)
        assert trainer.fast_precision(TrainerOptions(accelerator="cpu", precision="bf16-mixed")) == precision
        assert capsys.readouterr().err.startswith(said)
