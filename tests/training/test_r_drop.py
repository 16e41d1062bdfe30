"""R-Drop: the loss is that of the paper, row by row; tasks without probabilities of single tokens are refused."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from seq2seq import train
from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, NoSource
from seq2seq.errors import InputError
from seq2seq.experiments import one_run
from seq2seq.models.attention import Additive, General, Monotonic
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Attentive
from seq2seq.models.tagger import AutoregressiveTagger, Crf
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation
from seq2seq.training import r_drop
from seq2seq.training.learner import Learner, step_seed
from seq2seq.training.r_drop import OTHER
from tests import support
from tests.support import PAIRS, REVERSAL, learnt
from tests.training.made import Made, classifying, generating, gradients, made, several, tagging, translating


def copying() -> Made:
    torch.manual_seed(1)
    shared = learnt([(source + target, target) for source, target in PAIRS[:6]], Characters(), Characters()).source
    task = support.small(
        Translation, Tokenizers(shared, shared), dropout=0.4, attention=General(), decoder=DecoderOptions(copy=True)
    )
    batch = support.batch_of(PAIRS[:6], task.tokenizers, task.row_format)
    return task.double().train(), batch._replace(seed=7, step=1)


MAKERS = [
    tagging, classifying, partial(classifying, encoder=EncoderOptions(pooling=Attentive()), label_smoothing=0.1),
    several, generating, partial(translating, label_smoothing=0.1), partial(translating, attention=Monotonic(8)),
    partial(translating, attention=General(), decoder=DecoderOptions(latent_alignments=2), label_smoothing=0.1),
    partial(translating, attention=Additive(coverage=True), coverage_loss=0.5), copying,
]  # fmt: skip


def distributions(task: Task, batch: Batch) -> list[Categorical]:
    """Of each token or label of the batch, by the public predictions of one pass."""
    if isinstance(task, Classification):
        logits = task.logits(batch)
        if task.multi_label:
            return [Categorical(probs=torch.stack((p, 1 - p))) for p in logits.sigmoid().flatten()]
        return [Categorical(logits=row) for row in logits]
    if isinstance(task, Tagging):
        states = task.reader(batch.source, batch.source_lengths, noise_of(batch)).states
        logits = task.labeller.maps[0](task.labeller.dropout(states, noise_of(batch)))
        counts = batch.target_lengths.tolist()
    else:
        logits, counts = task(batch), (batch.target_lengths - 1).tolist()
    return [Categorical(logits=logits[row, position]) for row, count in enumerate(counts) for position in range(count)]


def noise_of(batch: Batch) -> Noise:
    return Noise(batch.seed, batch.row_keys)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_loss_is_that_of_the_paper(maker: Any) -> None:
    """Liang et al. 2021, eq. 1 to 4, divided by two; twice the distance where both passes learn from it."""
    task, batch = maker()
    other = batch._replace(seed=batch.seed ^ OTHER)
    found = r_drop.loss(task, batch, 3.0)
    pairs = list(zip(distributions(task, batch), distributions(task, other), strict=True))
    distance = torch.stack([kl_divergence(p, q) + kl_divergence(q, p) for p, q in pairs]).sum()
    wanted = (task.loss(batch) + task.loss(other) + 3.0 * distance / 2) / 2
    torch.testing.assert_close(found, wanted)
    assert distance.detach() > 0.01, "the masks differ"
    for one, by_hand in zip(gradients(found, task), gradients(wanted, task), strict=True):
        torch.testing.assert_close(one, by_hand)


@pytest.mark.parametrize("maker", MAKERS)
def test_it_is_a_sum_over_rows(maker: Any) -> None:
    task, batch = maker()
    apart = [batch.part(slice(row, row + 1)) for row in range(len(batch.rows))]
    total = sum(r_drop.loss(task, one, 2.0) for one in apart)
    torch.testing.assert_close(r_drop.loss(task, batch, 2.0), total)


@pytest.mark.parametrize("maker", MAKERS)
def test_without_dropout_both_passes_agree(maker: Any) -> None:
    task, batch = maker()
    task.eval()
    torch.testing.assert_close(r_drop.loss(task, batch, 5.0), task.loss(batch))


def test_what_has_no_distance_is_refused() -> None:
    for tagger in (Crf(), AutoregressiveTagger(8)):
        with pytest.raises(InputError, match=f"Softmax .* and it is {type(tagger).__name__}"):
            r_drop.check(tagging(tagger=tagger)[0], 1.0)
    with pytest.raises(InputError, match=r"model\.output softmax .* entmax15"):
        r_drop.check(translating(output="entmax15")[0], 1.0)
    running = made(Generation, [("", "abc")], NoSource(), Characters(), running=True)[0]
    with pytest.raises(InputError, match=r"r_drop .*model\.running"):
        r_drop.check(running, 1.0)
    for maker in MAKERS:
        r_drop.check(maker()[0], 1.0)
    numbers = [("1 2", "3 4"), ("2 3", "4 5")]
    forecasting = made(Forecasting, numbers, Vectors(), Vectors())[0]
    for task in (forecasting, made(Transcription, [("1 2 3", "a"), ("2 3 4", "b")], Vectors(), Characters())[0]):
        with pytest.raises(InputError, match=f"a {type(task).__name__} gives no probabilities"):
            r_drop.check(task, 1.0)


def test_training_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(REVERSAL)
    found: list[Learner] = []
    monkeypatch.setattr(one_run, "fit_and_test", lambda job, learner, *_: found.append(learner))
    train.main(["--config", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run"), "--optimizer.r_drop", "4"])
    learner = found[0].train()
    assert learner.plan is not None
    tokenizers = learner.task.tokenizers
    steps = learner.data.training_steps(learner.splits["train"], tokenizers, learner.plan, lambda: 0)
    batch = next(iter(steps)).batches[0]._replace(seed=step_seed(1, 0))
    assert learner.loss(batch).equal(r_drop.loss(learner.task, batch, 4.0))
    assert not learner.loss(batch).equal(learner.task.loss(batch))
