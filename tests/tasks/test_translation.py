"""The translation task: loss, search and checkpoint agree with each other."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from seq2seq.data.batching.plan import Rows
from seq2seq.data.batching.split import TrainingSteps
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizers
from seq2seq.errors import InputError
from seq2seq.models.attention import Additive, Attention, Dot
from seq2seq.models.cells import GRU, LSTM, RNN
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Linear
from seq2seq.runs import checkpoint
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests import support
from tests.support import PAIRS, batch_of, split_of

tiny = partial(support.small, Translation, embedding_size=16, hidden_size=48)


KINDS: list[dict[str, object]] = [
    {"cell": GRU(), "attention": Dot()},
    {"cell": LSTM(), "decoder": DecoderOptions(context_every_step=True, tied_output=True), "bridge": Linear()},
    {"cell": RNN(), "encoder": EncoderOptions(reverse=True, bidirectional=False), "layers": 2},
    {"cell": LSTM(), "attention": Additive(), "layers": 2, "decoder": DecoderOptions(tied_output=True)},
]


@pytest.mark.parametrize("settings", KINDS, ids=lambda kind: type(kind["cell"]).__name__)
def test_overfits_sixteen_pairs(tokenizers: Tokenizers, settings: dict[str, object]) -> None:
    task, batch = tiny(tokenizers, **settings), batch_of(PAIRS, tokenizers)
    optimizer = torch.optim.Adam(task.parameters(), 0.01)
    for _ in range(240):
        optimizer.zero_grad()
        loss = task.loss(batch) / int((batch.target_lengths - 1).sum())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    task.eval()
    assert loss < 0.5
    for beam_size in (1, 3):
        found = task.predict(batch, Decoding(beam_size, max_length_ratio=4.0))
        assert [task.text(row[0]) for row in found] == [target for _, target in PAIRS]


@pytest.mark.parametrize("settings", KINDS, ids=lambda kind: type(kind["cell"]).__name__)
def test_every_parameter_gets_a_gradient(tokenizers: Tokenizers, settings: dict[str, object]) -> None:
    task = tiny(tokenizers, **settings)
    task.loss(batch_of(PAIRS, tokenizers)).backward()
    assert [name for name, parameter in task.named_parameters() if parameter.grad is None] == []


def test_loss_is_the_sum_over_real_tokens(tokenizers: Tokenizers) -> None:
    task, batch = tiny(tokenizers, label_smoothing=0.1), batch_of(PAIRS, tokenizers)
    logits, labels = task(batch), batch.target[:, 1:]
    expected = cross_entropy(logits.transpose(1, 2), labels, ignore_index=PAD, reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(task.loss(batch), expected)
    single = sum(task.loss(batch_of([pair], tokenizers)) for pair in PAIRS)
    torch.testing.assert_close(task.loss(batch), single)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_scores_are_the_log_probabilities_of_the_forward_pass(tokenizers: Tokenizers, beam_size: int) -> None:
    task, batch = tiny(tokenizers, attention=Dot()).eval(), batch_of(PAIRS[:5], tokenizers)
    for row, found in enumerate(task.predict(batch, Decoding(beam_size, max_length_ratio=0.5))):
        for one in found:
            target = torch.tensor([[BOS, *one.tokens, EOS]])
            source = batch.source[row : row + 1, : batch.source_lengths[row]]
            alone = batch._replace(source=source, source_lengths=batch.source_lengths[row : row + 1], target=target)
            log_probs = task(alone).log_softmax(-1)[0].gather(1, target[0, 1:, None]).squeeze(1)
            torch.testing.assert_close(torch.tensor(one.token_scores), log_probs.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_neighbours_do_not_matter(tokenizers: Tokenizers, beam_size: int) -> None:
    task, decoding = tiny(tokenizers, attention=Dot()).eval(), Decoding(beam_size)
    alone = [task.predict(batch_of([pair], tokenizers), decoding)[0][0].tokens for pair in PAIRS]
    together = task.predict(batch_of(PAIRS, tokenizers), decoding)
    assert [row[0].tokens for row in together] == alone


@pytest.mark.parametrize("attention", [Dot(), Additive(coverage=True)])
def test_the_coverage_penalty_is_that_of_wu_et_al(tokenizers: Tokenizers, attention: Attention) -> None:
    """Eq. 14, from the weights with the hypothesis as a known target; a wide beam has the best of all lengths."""
    task, batch = tiny(tokenizers, attention=attention).eval(), batch_of(PAIRS[:4], tokenizers)
    usual = Decoding(5, length_penalty=0.4, length_offset=5.0, max_length=5)
    found, other = (task.predict(batch, replace(usual, coverage_penalty=weight)) for weight in (0.3, 0.0))
    assert [row[0].score for row in found] != [row[0].score for row in other]
    for row, several in enumerate(found):
        assert [one.score for one in several] == sorted((one.score for one in several), reverse=True)
        length = int(batch.source_lengths[row])
        state = task.encode(
            batch._replace(source=batch.source[row : row + 1], source_lengths=batch.source_lengths[row : row + 1])
        )
        for one in several:
            target = torch.tensor([[BOS, *one.tokens]])
            weights = task.network.decoder(target, state).weights[0, :, :length].detach()
            left_out = weights.sum(0).clamp(max=1).log().sum()
            divided = ((5 + len(one.token_scores)) / 6) ** 0.4
            assert one.score == pytest.approx(sum(one.token_scores) / divided + 0.3 * float(left_out), abs=1e-4)
    with pytest.raises(InputError, match=r"decoding\.coverage_penalty is 0\.2.*model\.attention"):
        tiny(tokenizers).check_decoding(Decoding(coverage_penalty=0.2))


def test_no_token_that_is_no_text_is_predicted(tokenizers: Tokenizers) -> None:
    task = tiny(tokenizers).eval()
    with torch.no_grad():
        task.network.decoder.output.layer.bias[[PAD, UNK, BOS]] = 50.0
    for beam_size in (1, 3):
        for found in task.predict(batch_of(PAIRS, tokenizers), Decoding(beam_size)):
            assert all(not {PAD, UNK, BOS} & set(one.tokens) for one in found)


def test_predictions_end_within_the_limit(tokenizers: Tokenizers) -> None:
    task, batch = tiny(tokenizers).eval(), batch_of(PAIRS, tokenizers)
    with torch.no_grad():
        task.network.decoder.output.layer.bias[EOS] = -50.0
    for beam_size in (1, 3):
        decoding = Decoding(beam_size, max_length_ratio=0.5)
        limits = decoding.limits(batch.source_lengths).tolist()
        assert limits == [math.floor(0.5 * length) + 10 for length in batch.source_lengths.tolist()]
        assert [len(found[0].tokens) + 1 for found in task.predict(batch, decoding)] == limits


@pytest.mark.parametrize("settings", KINDS, ids=lambda kind: type(kind["cell"]).__name__)
def test_a_checkpoint_alone_predicts_the_same(
    tokenizers: Tokenizers, settings: dict[str, object], tmp_path: Path
) -> None:
    task, batch = tiny(tokenizers, **settings).eval(), batch_of(PAIRS, tokenizers)
    task.decoding = Decoding(2, length_penalty=0.5)
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"seq2seq": checkpoint.packed(task, DataModule()), "state_dict": states}, tmp_path / "one.ckpt")
    again = checkpoint.load(tmp_path / "one.ckpt")
    assert again.specification() == task.specification()
    assert again.decoding == task.decoding
    assert again.predict(batch, again.decoding) == task.predict(batch, task.decoding)
    assert torch.load(tmp_path / "one.ckpt", weights_only=True).keys() == {"seq2seq", "state_dict", "sha256"}


def test_a_failed_save_keeps_the_previous_checkpoint(
    tokenizers: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, path = tiny(tokenizers), tmp_path / "last.ckpt"
    content = {
        "seq2seq": checkpoint.packed(task, DataModule()),
        "state_dict": {f"task.{k}": v for k, v in task.state_dict().items()},
    }
    checkpoint.write(content, path)
    before = path.read_bytes()

    def full(_: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        InputError, match=r"cannot save .*last\.ckpt.*No space left.*--resume true; the previous one is kept"
    ):
        checkpoint.write(content, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    torch.save({"seq2seq": {"format": 99}, "state_dict": {}}, tmp_path / "new.ckpt")
    for name, message in (("text", "is no checkpoint"), ("other", "holds no task"), ("new", "format 99")):
        with pytest.raises(InputError, match=message):
            checkpoint.load(tmp_path / f"{name}.ckpt")
    with pytest.raises(InputError, match="does not exist"):
        checkpoint.load(tmp_path / "absent")
    with pytest.raises(InputError, match=r"has no checkpoints/best\.ckpt"):
        checkpoint.load(tmp_path)


class Evil:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a checkpoint has run",)


def test_a_checkpoint_cannot_run_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tokenizers: Tokenizers
) -> None:
    torch.save({"seq2seq": Evil(), "state_dict": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="is no checkpoint"):
        checkpoint.load(tmp_path / "evil.ckpt")
    content = {"seq2seq": checkpoint.packed(tiny(tokenizers), DataModule()), "state_dict": {}}
    content["seq2seq"]["task"] = '{"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}'
    checkpoint.write(content, tmp_path / "class.ckpt")
    with pytest.raises(InputError, match=r"subprocess\.Popen is no known Task"):
        checkpoint.load(tmp_path / "class.ckpt")
    assert capsys.readouterr().out == ""


def test_an_idle_device_weighs_nothing(tokenizers: Tokenizers) -> None:
    task, split = tiny(tokenizers), split_of(PAIRS, tokenizers)
    rows = Rows(0, np.arange(2), np.arange(2))
    step = TrainingSteps(split, None, 0, 3, None)[rows]  # the first of three devices has none of two rows
    assert len(step.batches) == 1
    loss = task.loss(step.batches[0])
    loss.backward()
    assert loss == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in task.parameters())


def test_odd_sizes_are_refused(tokenizers: Tokenizers) -> None:
    with pytest.raises(InputError, match="hidden_size 7 is odd"):
        tiny(tokenizers, hidden_size=7)
    with pytest.raises(InputError, match="beam_size"):
        Decoding(beam_size=0)
