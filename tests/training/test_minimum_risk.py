"""Minimum risk training: the loss is the paper's, by hand; following it raises the score; others are refused."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seq2seq import train
from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.bleu import Chrf
from seq2seq.metrics.edit_distance import EditDistance
from seq2seq.models.attention import Additive, General, Monotonic
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.fixed_vector import Zeros
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from seq2seq.training import minimum_risk, training_loss
from seq2seq.training.learner import Learner
from seq2seq.training.minimum_risk import WEIGHT
from seq2seq.training.options import RISK_RATE, OptimizerOptions
from seq2seq.training.schedules import Cosine, PlateauState, TrainingLength
from tests.support import REVERSAL, assert_same_weights, fitted, results_of, train_until
from tests.training.made import Made, classifying, generating, gradients, made, translating

WORDY = [("a b c", "x y z"), ("b", "y"), ("c a", "z x"), ("b b a c", "y y x z")]


def risky(maker: Any = translating, metric: Any = None, **decoding: Any) -> Made:
    task, batch = maker()
    task.metrics, task.decoding = [metric or Chrf()], Decoding(**{"beam_size": 4, "max_length": 9, **decoding})
    return task, batch


MAKERS = [
    risky, partial(risky, metric=ExactMatch()), partial(risky, metric=EditDistance()), partial(risky, beam_size=2),
    partial(risky, partial(translating, attention=Monotonic(8))),
    partial(risky, partial(translating, attention=General(), decoder=DecoderOptions(latent_alignments=2))),
    partial(risky, partial(translating, attention=General(), decoder=DecoderOptions(input_feeding=True))),
    partial(risky, partial(translating, attention=Additive(coverage=True), coverage_loss=0.5, bridge=Zeros())),
    partial(risky, partial(translating, decoder=DecoderOptions(context_every_step=True)), temperature=1.0),
    partial(risky, partial(made, Translation, WORDY, Words(), Words(), label_smoothing=0.1)),
]  # fmt: skip


def expected_risk(task: Any, alone: Batch) -> Tensor:
    """Of a row, by the losses of its predictions as targets."""
    task.eval()
    found = task.predict(alone, task.decoding)[0]
    task.train()
    reference = task.tokenizers.target.decode(alone.target[0].tolist())
    risks, log_probs = [], []
    smoothing, task.label_smoothing, looking, task.coverage_loss = task.label_smoothing, 0.0, task.coverage_loss, 0.0
    for one in found:
        row = Prediction(0, "", reference, task.tokenizers.target.decode(one.tokens), 0.0, [])
        score = task.metrics[0].each([row])[0] / 100
        risks.append(1 - score if task.metrics[0].higher_is_better else score)
        ids = torch.tensor([[BOS, *one.tokens, EOS]])
        log_probs.append(-task.loss(alone._replace(target=ids, target_lengths=torch.tensor([ids.shape[1]]))))
    task.label_smoothing, task.coverage_loss = smoothing, looking
    return torch.stack(log_probs).softmax(0) @ torch.tensor(risks, dtype=torch.double)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_loss_is_that_of_the_paper(maker: Any) -> None:
    """Shen et al. 2016, sec. 3, a row and a prediction at a time, beside the usual loss."""
    task, batch = maker()
    found = minimum_risk.loss(task, batch)
    wanted = (1 - WEIGHT) * task.loss(batch)
    for row, tokens in enumerate((batch.target_lengths - 1).tolist()):
        wanted = wanted + WEIGHT * tokens * expected_risk(task, batch.part(slice(row, row + 1)))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)  # scores have 32 bits
    assert task.training
    for one, by_hand in zip(gradients(found, task), gradients(wanted, task), strict=True):
        torch.testing.assert_close(one, by_hand, rtol=1e-5, atol=1e-5)


def test_following_it_lowers_the_expected_risk() -> None:
    task, batch = risky(partial(translating, attention=General()))
    fitted(task, batch, 20).train()

    def risk() -> float:
        return sum(
            float(expected_risk(task, batch.part(slice(row, row + 1))).detach()) for row in range(len(batch.rows))
        )

    before = risk()
    optimizer = torch.optim.SGD(task.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        ((minimum_risk.loss(task, batch) - (1 - WEIGHT) * task.loss(batch)) / WEIGHT).backward()
        optimizer.step()
    assert risk() < before - 0.1


def test_what_it_does_not_go_with_is_refused() -> None:
    options = OptimizerOptions(minimum_risk=0.1)
    for maker in (generating, classifying):
        with pytest.raises(InputError, match=r"optimizer\.minimum_risk .* Translation, not"):
            training_loss.check(maker()[0], options, None)
    with pytest.raises(InputError, match=r"decoding\.beam_size is 1"):
        training_loss.check(risky(beam_size=1)[0], options, None)
    with pytest.raises(InputError, match=r"model\.output softmax .* entmax15"):
        training_loss.check(translating(output="entmax15")[0], options, None)
    for wrong in (-0.1, 1.1):
        with pytest.raises(InputError, match=r"optimizer\.minimum_risk"):
            OptimizerOptions(minimum_risk=wrong)
    with pytest.raises(InputError, match=r"set trainer\.max_steps"):
        options.check(TrainingLength(0, -1, None))
    OptimizerOptions(minimum_risk=1).check(TrainingLength(0, -1, None))
    training_loss.check(risky()[0], OptimizerOptions(minimum_risk=0.1, r_drop=2), None)


def test_only_the_last_steps_follow_it() -> None:
    task, batch = risky()
    options = OptimizerOptions(minimum_risk=0.25)
    assert training_loss.training_loss(task, batch, options, None).equal(task.loss(batch))
    assert training_loss.training_loss(task, batch._replace(risk=True), options, None).equal(
        minimum_risk.loss(task, batch)
    )
    assert [step for step in range(10) if options.teaches_predictions(step, 10)] == [8, 9]
    assert not any(OptimizerOptions().teaches_predictions(step, steps) for step in range(10) for steps in (-1, 10))
    assert OptimizerOptions(minimum_risk=1).teaches_predictions(0, -1)


def test_the_schedule_begins_anew_with_them() -> None:
    plain = OptimizerOptions(0.1, schedule=Cosine())
    options = OptimizerOptions(0.1, schedule=Cosine(), minimum_risk=0.25)
    rates = [options.rate(step, TrainingLength(5, 80, 40), PlateauState()) for step in range(80)]
    assert rates[:60] == [plain.rate(step, TrainingLength(5, 60, 40), PlateauState()) for step in range(60)]
    fine = OptimizerOptions(0.1 * RISK_RATE, schedule=Cosine())
    assert rates[60:] == [fine.rate(step, TrainingLength(0, 20, 40), PlateauState()) for step in range(20)]
    alone = OptimizerOptions(0.1, schedule=Cosine(), minimum_risk=1)
    course = TrainingLength(5, 80, 40), PlateauState()
    assert [alone.rate(step, *course) for step in range(80)] == [plain.rate(step, *course) for step in range(80)]
    for total in (-1, 5):  # where nobody knows the length, or the training goes on after it
        assert OptimizerOptions(0.1).rate(7, TrainingLength(2, total, None), PlateauState()) == 0.1


def test_a_training_with_it_resumes_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(REVERSAL)
    own = ["--config", str(tmp_path / "config.yaml"), "--optimizer.minimum_risk", "0.5", "--trainer.max_steps",
           "8"]  # fmt: skip
    seen: list[bool] = []
    loss = Learner.loss
    monkeypatch.setattr(Learner, "loss", lambda self, batch: (seen.append(batch.risk), loss(self, batch))[1])
    whole, parts = (RunDirectory(tmp_path / name) for name in ("whole", "parts"))
    train.main([*own, "--run", str(whole.path)])
    assert seen == sorted(seen)
    assert {False, True} == set(seen)
    assert "from step 5 on predictions are taught by chrf" in capsys.readouterr().err
    assert results_of(whole)["length"]["risk_from"] == 5
    train_until(6, [*own, "--run", str(parts.path)], monkeypatch)
    train.main([*own, "--run", str(parts.path), "--resume", "true"])
    assert_same_weights(whole.last, parts.last)
