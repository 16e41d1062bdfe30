"""Generation: likelihoods are exact, states are carried exactly, and what is asked for is written."""

import itertools
import json
import math
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from seq2seq import evaluate, predict, train
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.running_text import BpttStreams
from seq2seq.data.batching.split import Split, TrainingSteps
from seq2seq.data.corpora.corpus import SplitSelection
from seq2seq.data.corpora.text_files import Lines
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError, Interrupted
from seq2seq.inference.predict_texts import predict as predicted_by
from seq2seq.inference.predictor import Predictor, in_order, score
from seq2seq.models.cells import GRU, LSTM, RNN, CellState, MinGRU
from seq2seq.runs import checkpoint
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation
from seq2seq.training.learner import Learner, step_seed
from seq2seq.training.options import OptimizerOptions
from tests import support
from tests.support import python

split_of = partial(support.split_of, row_format=Generation.row_format)
batch_of = partial(support.batch_of, row_format=Generation.row_format)
tiny = partial(support.small, Generation, hidden_size=32)


TEXTS = ["die Katze saß", "ein Hund rennt", "zwei Männer", "", "eine Frau liest", "Kinder", "der Mann trinkt", "Vogel"]
SENTENCES = ["the cat sat on the mat", "", "a dog runs", "two men in a red car", "a bird", "x", "children play"]
ALONE = torch.device("cpu")
Pairs = Sequence[tuple[str, str]]
LABELLED = [(f"k{row}", text) for row, text in enumerate(TEXTS)]
DESCRIBED = [(" ".join("abc"[: row % 3 + 1]) + f" {row // 3}", text) for row, text in enumerate(TEXTS)]
POINTED = [(f"{row % 3 - 1} {row // 3 - 1}" + "\t2 -1" * (row % 2), text) for row, text in enumerate(TEXTS)]
FREE = [("", text) for text in SENTENCES]


def learnt(rows: Pairs, source: Tokenizer) -> Tokenizers:
    return support.learnt(rows, source, Characters())


KINDS: dict[str, tuple[Pairs, Tokenizer, dict[str, Any]]] = {
    "label": (LABELLED, Labels(), {"condition_every_step": True}),
    "label-tied": (LABELLED, Labels(), {"layers": 2, "tied_output": True, "cell": GRU()}),
    "words": (DESCRIBED, Words(), {}),
    "vector": (POINTED, Vectors(), {"condition_every_step": True, "layers": 2, "residual_from": 2}),
    "vector-once": (POINTED, Vectors(), {"cell": MinGRU()}),
    "nothing": (FREE, NoSource(), {"layers": 2}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def made(kind: str, **more: Any) -> tuple[Generation, Batch, Pairs]:
    rows, source, settings = KINDS[kind]
    tokenizers = learnt(rows, source)
    return tiny(tokenizers, **settings, **more), batch_of(rows, tokenizers), rows


def fit(task: Generation, batch: Batch, steps: int = 150, rate: float = 0.02) -> float:
    optimizer = torch.optim.Adam(task.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = task.loss(batch) / int((batch.target_lengths - 1).sum())
        loss.backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    task.eval()
    return float(loss.detach())


# --- one row, or many that have nothing to do with each other -------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nothing"])
def test_overfits_its_rows(kind: str) -> None:
    rows, source, settings = KINDS[kind]
    tokenizers = learnt(rows, source)
    task, batch = tiny(tokenizers, **{**settings, "hidden_size": 64}), batch_of([*rows, *rows], tokenizers)
    assert fit(task, batch) < 0.1
    for decoding in (Decoding(1), Decoding(3, length_penalty=0.0), Decoding(2, temperature=0.2)):
        found = predicted_by(task, [source for source, _ in rows], decoding, ALONE)
        assert [task.text(row[0]) for row in found] == [text for _, text in rows]


def test_a_prompt_is_gone_on_from() -> None:
    task, batch, _ = made("nothing")
    fit(task, batch)
    asked = ["the", "chi", "two men", "x", "a d"]
    found = predicted_by(task, asked, Decoding(1), ALONE)
    assert [task.text(row[0]) for row in found] == [
        "the cat sat on the mat", "children play", "two men in a red car", "x", "a dog runs"
    ]  # fmt: skip
    drawn = predicted_by(task, ["", "a ", "", "a "], Decoding(1, temperature=1.0), ALONE)
    assert all(task.text(row[0]).startswith("a ") for row in drawn[1::2])
    one_by_one = [predicted_by(task, [text], Decoding(1, temperature=1.0), ALONE, before=place)[0]
                  for place, text in enumerate(["", "a ", "", "a "])]  # fmt: skip
    assert [row[0].tokens for row in one_by_one] == [row[0].tokens for row in drawn]
    all_alike = predicted_by(task, ["", ""], Decoding(1, prefix="two"), ALONE)
    assert [task.text(row[0]) for row in all_alike] == ["two men in a red car"] * 2


def test_what_is_asked_for_is_written() -> None:
    """Classes and vectors that training has not seen decide between words, at random within a class."""
    random = np.random.default_rng(0)
    words = {-1: ("no", "never"), 1: ("yes", "always")}
    points = [
        (sign, f"{random.uniform(0.3, 1) * sign:.3f} {random.normal():.3f}") for sign in (-1, 1) for _ in range(20)
    ]
    vectors = [(point, text) for sign, point in points for text in words[sign]]  # no point tells its words apart
    classes = [("on" if sign > 0 else "off", text) for sign, _ in points for text in words[sign]]
    for rows, source, asked in ((vectors, Vectors(), ["-0.7 0.4", "0.6 -1"]), (classes, Labels(), ["off", "on"])):
        tokenizers = learnt(rows, source)
        task = tiny(tokenizers)
        assert fit(task, batch_of(rows, tokenizers), 80) < 0.25
        drawn = predicted_by(task, asked, Decoding(60, temperature=1.0), ALONE)
        for sign, row in zip((-1, 1), drawn, strict=True):
            texts = [task.text(one) for one in row]
            assert set(texts) == set(words[sign])
            assert 12 < texts.count(words[sign][0]) < 48


@kinds
def test_every_parameter_gets_a_gradient(kind: str) -> None:
    task, batch, _ = made(kind)
    task.loss(batch).backward()
    assert [name for name, parameter in task.named_parameters() if parameter.grad is None] == []


@kinds
def test_loss_likelihood_and_forward_are_one(kind: str) -> None:
    task, batch, rows = made(kind)
    log_probs, labels = task(batch), batch.target[:, 1:]
    expected = cross_entropy(log_probs.transpose(1, 2), labels, ignore_index=PAD, reduction="sum")
    torch.testing.assert_close(task.loss(batch), expected)
    scores = task.eval().reference_scores(batch)
    assert [len(row) for row in scores] == [len(text) + 1 for _, text in rows]
    assert sum(map(sum, scores)) == pytest.approx(-float(expected.detach()), rel=1e-5)
    alone = [task.reference_scores(batch_of([row], task.tokenizers))[0] for row in rows]  # neighbours never matter
    for one, other in zip(alone, scores, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@kinds
@pytest.mark.parametrize("decoding", [Decoding(1), Decoding(4), Decoding(3, temperature=0.8)], ids=str)
def test_step_is_forward(kind: str, decoding: Decoding) -> None:
    task, batch, _ = made(kind)
    task.eval()
    task.decoding = Decoding(max_length=12)
    found = task.predict(batch, decoding)
    for row, hypotheses in enumerate(found):
        for one in hypotheses:
            target = torch.tensor([[BOS, *one.tokens, EOS]])
            source = batch.source[row : row + 1]
            lengths = batch.source_lengths[row : row + 1]
            alone = batch._replace(source=source, source_lengths=lengths, target=target)
            alone = alone._replace(target_lengths=torch.tensor([target.shape[1]]))
            expected = task.reference_scores(alone)[0]
            assert one.token_scores == pytest.approx(expected, abs=1e-4)
            assert not {PAD, UNK, BOS} & set(one.tokens)


def test_predictions_end_within_the_limit() -> None:
    task, batch, _ = made("label")
    with torch.no_grad():
        task.network.decoder.output.layer.bias[EOS] = -50.0
    for most, expected in ((None, 200), (7, 7)):
        found = task.eval().predict(batch, Decoding(1, max_length=most))
        assert {len(row[0].tokens) for row in found} == {expected}
    with torch.no_grad():
        task.network.decoder.output.layer.bias[EOS] = 50.0
    assert {len(row[0].tokens) for row in task.predict(batch, Decoding(2, min_length=5))} == {5}


@kinds
def test_a_checkpoint_alone_writes_the_same(kind: str, tmp_path: Path) -> None:
    task, batch, _ = made(kind, running=kind == "nothing")
    task.eval().decoding = Decoding(2, temperature=0.9, top_p=0.9, max_length=9)
    states = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"seq2seq": checkpoint.packed(task, DataModule()), "state_dict": states}, tmp_path / "one.ckpt")
    again = checkpoint.load(tmp_path / "one.ckpt")
    assert isinstance(again, Generation)
    assert again.specification() == task.specification()
    assert again.predict(batch, again.decoding) == task.predict(batch, task.decoding)


@torch.no_grad()
def test_perplexity_is_what_a_loop_by_hand_says() -> None:
    task, batch, rows = made("label")
    task.eval()
    predictions = in_order(Predictor(task, Decoding(1))(batch), Texts(*zip(*rows, strict=True)))
    nats = characters = 0.0
    for row, (_, text) in enumerate(rows):
        state = task.network.start(batch.source[row : row + 1], batch.source_lengths[row : row + 1])
        tokens = [BOS, *task.tokenizers.target.encode([text])[0], EOS]
        for before, after in itertools.pairwise(tokens):
            log_probs, state = task.network.decoder.step(torch.tensor([[before]]), state)
            nats -= float(log_probs[0, 0, after])
        characters += len(text) + 1
    scores = score(predictions, task.metrics)
    assert scores["perplexity"].value == pytest.approx(math.exp(nats / characters), rel=1e-5)
    assert scores["bits_per_character"].value == pytest.approx(nats / characters / math.log(2), rel=1e-5)


# --- running text ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def characters() -> Tokenizers:
    return learnt(FREE, NoSource())


def lanes_of(tokenizers: Tokenizers, lanes: int, segment: int, rows: Pairs = FREE) -> BpttStreams:
    split = split_of(rows, tokenizers)
    return BpttStreams(split.texts, split.target, lanes, segment)


@pytest.mark.parametrize(("lanes", "segment"), [(1, 1000), (1, 7), (3, 5), (4, 9), (5, 1), (7, 3), (9, 4), (79, 2)])
def test_lanes_part_the_stream_without_loss_or_overlap(characters: Tokenizers, lanes: int, segment: int) -> None:
    plan = lanes_of(characters, lanes, segment)
    stream = [EOS]
    for text in SENTENCES:
        stream += [*characters.target.encode([text])[0], EOS]
    assert plan.flat.tolist() == stream
    read: list[list[int]] = [[] for _ in range(lanes)]
    for number in range(len(plan)):
        rows = plan.step(number)
        assert rows.row_keys.tolist() == list(range(lanes))
        batch = plan.batch(rows.numbers, rows.row_keys, 1)
        for lane, (target, length) in enumerate(zip(batch.target, batch.target_lengths.tolist(), strict=True)):
            assert not target[length:].any()
            assert length - 1 <= segment
            before = read[lane][-1:] or [int(target[0])]
            assert before == target[:1].tolist(), "a segment begins with the token before it"
            read[lane] += target[int(bool(read[lane])) : length].tolist()
    assert [lane[0] for lane in read] == [EOS, *(lane[-1] for lane in read[:-1])]
    assert [token for lane in read for token in lane[1:]] == stream[1:]
    assert max(map(len, read)) - min(map(len, read)) <= 1
    again = plan.step(2 * len(plan))
    assert (again.epoch, again.numbers.tolist()) == (2, plan.step(0).numbers.tolist())


def by_hand(task: Generation, stream: Tensor, segment: int) -> tuple[Tensor, float]:
    """The gradient and loss of one lane in plain torch: segment by segment, the state detached between them."""
    embedding, output = task.network.decoder.embedding, task.network.decoder.output.layer
    plain = nn.LSTM(embedding.embedding_dim, task.hidden_size, task.layers, batch_first=True).to(embedding.weight)
    loaded = [list(plain.parameters())[place] for place in range(4 * task.layers)]
    own = list(task.network.decoder.recurrent.stack.parameters())
    assert [one.shape for one in own] == [one.shape for one in loaded]
    with torch.no_grad():
        for one, other in zip(loaded, own, strict=True):
            one.copy_(other)
    gradients = [torch.zeros_like(one) for one in (embedding.weight, output.weight, *loaded)]
    zero = torch.zeros(task.layers, 1, task.hidden_size).to(embedding.weight)
    state, total = (zero, zero), 0.0
    for start in range(0, len(stream) - 1, segment):
        inputs, labels = stream[start : start + segment], stream[start + 1 : start + segment + 1]
        hidden, state = plain(embedding(inputs[: len(labels)].unsqueeze(0)), state)
        loss = cross_entropy(output(hidden[0]), labels, reduction="sum")
        found = torch.autograd.grad(loss, [embedding.weight, output.weight, *loaded])
        for gradient, new in zip(gradients, found, strict=True):
            gradient += new
        state, total = (state[0].detach(), state[1].detach()), total + float(loss.detach())
    return torch.cat([gradient.flatten() for gradient in gradients]), total


def learner_of(task: Generation, rows: Pairs, world: int = 1, **data: Any) -> Learner:
    """What trains running text, without a trainer."""
    split = split_of(rows, task.tokenizers, row_format=task.row_format)
    learner = Learner(task, DataModule(Lines(), **data), split, split, OptimizerOptions(), 3)
    learner._trainer = SimpleNamespace(world_size=world, global_step=0)  # type: ignore[assignment]
    return learner


def read_epoch(
    learner: Learner, world: int = 1, device_tokens: int | None = None
) -> tuple[list[float], Tensor, list[CellState]]:
    """The losses of an epoch's steps, the sum of their gradients, and the states after each.

    On one device, or on several that are simulated.
    """
    plan, losses, states = learner.plan, [], []
    assert isinstance(plan, BpttStreams)
    devices = [TrainingSteps(plan, None, rank, world, device_tokens) for rank in range(world)]
    learner.task.zero_grad()
    for number in range(len(plan)):
        learner._trainer.global_step = number  # type: ignore[union-attr]
        carried = learner.carried
        assert carried is not None
        carried.begin_step(ALONE)
        losses.append(0.0)
        shares = []
        for device in devices:
            carried.begin_step(ALONE)
            for piece in device[plan.step(number)].batches:
                loss = learner.loss(piece._replace(seed=step_seed(3, number), step=number))
                loss.backward()
                losses[-1] += float(loss.detach()) / piece.step_tokens
            shares.append(carried.after)
        carried.after = tuple(torch.stack(tensors).sum(0) for tensors in zip(*shares, strict=True))
        carried.end_step(number, True, 1)
        states.append(carried.before)
    gradients = [parameter.grad.flatten() for parameter in learner.task.parameters() if parameter.grad is not None]
    return losses, torch.cat(gradients), states


@pytest.mark.parametrize("segment", [1, 8, 1000])
def test_truncated_back_propagation_by_hand(characters: Tokenizers, segment: int) -> None:
    task = tiny(characters, layers=2, running=True).double()
    learner = learner_of(task, FREE, lanes=1, segment=segment)
    losses, *_ = read_epoch(learner)
    assert isinstance(learner.plan, BpttStreams)
    stream = torch.from_numpy(learner.plan.flat).long()
    expected, total = by_hand(task, stream, segment)
    decoder = task.network.decoder
    parameters = [decoder.embedding.weight, decoder.output.layer.weight, *decoder.recurrent.stack.parameters()]
    found = torch.cat([parameter.grad.flatten() for parameter in parameters])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    tokens = [min(segment, len(stream) - 1 - start) for start in range(0, len(stream) - 1, segment)]
    assert sum(loss * count for loss, count in zip(losses, tokens, strict=True)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("cell", [RNN(), GRU(), LSTM(), MinGRU()], ids=lambda cell: type(cell).__name__)
def test_segments_add_up_to_the_whole_text(characters: Tokenizers, cell: Any) -> None:
    task = tiny(characters, cell=cell, layers=2, running=True).double()
    with torch.no_grad():
        losses = []
        for segment in (1000, 10, 1):
            plan = lanes_of(characters, 3, segment)
            state, total = task.first_state(3), 0.0
            for number in range(len(plan)):
                loss, state = task.loss_and_state(plan.batch(plan.step(number).numbers), state)
                total += float(loss)
            losses.append(total)
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-12)


@pytest.mark.parametrize(
    ("world", "device_tokens", "segment"),
    [(1, 6, 2), (1, 14, 2), (2, None, 2), (2, 6, 2), (3, 12, 2), (8, None, 2), (1, 14, 13), (8, None, 13)],
)
def test_slicing_lanes_changes_nothing(
    characters: Tokenizers, world: int, device_tokens: int | None, segment: int
) -> None:
    """With dropout: its masks belong to lanes. 79 tokens in 6 lanes: in the last step some lanes have less, or none."""
    results = []
    for ranks, tokens in ((1, None), (world, device_tokens)):
        torch.manual_seed(0)
        task = tiny(characters, layers=2, dropout=0.3, recurrent_dropout=0.2, running=True).double()
        learner = learner_of(task, FREE, lanes=6, segment=segment)
        results.append(read_epoch(learner, ranks, tokens))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-12)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-9, atol=1e-11)
    assert results[1][2][-1] == results[0][2][-1] == ()
    for one, other in zip(results[0][2], results[1][2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
        assert all(tensor.shape == (2, 6, 32) and not tensor.requires_grad for tensor in one)


def followed(task: Generation, split: Split, rows: int, decoding: Decoding) -> list[Any]:
    predictor, found = Predictor(task, decoding), []
    for start in range(0, len(split), rows):
        found += predictor(split.batch(np.arange(start, min(start + rows, len(split)))))
    return found


@torch.no_grad()
def test_running_perplexity_is_that_of_the_whole_text(characters: Tokenizers) -> None:
    task, split = tiny(characters, layers=2, running=True).eval(), split_of(FREE, characters)
    found = followed(task, split, 3, Decoding(1, max_length=5))
    stream, state, expected = lanes_of(characters, 1, 1).flat.tolist(), task.state_from(()), []
    for before, after in itertools.pairwise(stream):
        log_probs, state = task.network.decoder.step(torch.tensor([[before]]), state)
        expected.append(float(log_probs[0, 0, after]))
    assert [value for row in found for value in row[4]] == pytest.approx(expected, abs=1e-5)
    predictions = in_order(found, split.texts)
    perplexity = score(predictions, task.metrics)["perplexity"].value
    assert perplexity == pytest.approx(math.exp(-np.mean(expected)), rel=1e-5)
    for rows in (1, 2, 100):  # how many are decoded at once changes nothing at all
        again = followed(task, split, rows, Decoding(1, max_length=5))
        assert [row[4] for row in again] == [row[4] for row in found]
        assert [row[1] for row in again] == [row[1] for row in found]


def test_each_row_continues_the_row_before(characters: Tokenizers) -> None:
    task = tiny(characters, layers=2, running=True).eval()
    decoding = Decoding(1, temperature=1.0, max_length=8)
    prompts = ["", "a d", "", "", "the"]
    whole, _ = task.generate_from_prompts(prompts, 0, (), decoding)
    first, state = task.generate_from_prompts(prompts[:2], 0, (), decoding)
    rest, _ = task.generate_from_prompts(prompts[2:], 2, state, decoding)
    assert [row[0].tokens for row in (*first, *rest)] == [row[0].tokens for row in whole]
    texts = [("", task.text(row[0])) for row in whole]
    assert texts[1][1].startswith("a d")
    assert texts[4][1].startswith("the")
    for row, scores in zip(whole, followed(task, split_of(texts, characters), 9, decoding), strict=True):
        assert row[0].token_scores == pytest.approx(scores[4][-len(row[0].token_scores) :], abs=1e-5)


RUNNING = """
task: Generation
data:
  corpus: {class_path: Lines, init_args: {running: true}}
  tokenizer: NoSource
  target_tokenizer: Characters
  lanes: 5
  segment: 12
model: {running: true, cell: GRU, embedding_size: 8, hidden_size: 24, layers: 2, dropout: 0.2}
decoding: {beam_size: 1, temperature: 0.8, max_length: 20}
optimizer: {learning_rate: 0.02}
trainer: {max_steps: 33, accelerator: cpu, log_every_n_steps: 1, val_check_interval: 11}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and its text: 120 lines, 20 steps an epoch."""
    folder = tmp_path_factory.mktemp("running")
    (folder / "text").mkdir()
    lines = [SENTENCES[(7 * row + row // 5) % 7] for row in range(120)]
    (folder / "text" / "train.txt").write_text("".join(line + "\n" for line in lines))
    (folder / "tiny.yaml").write_text(RUNNING)
    return folder / "tiny.yaml"


def arguments_of(config: Path, run: Path) -> list[str]:
    return ["--config", str(config), "--run", str(run), "--data.path", str(config.parent / "text")]


@pytest.fixture(scope="module")
def run(config: Path) -> RunDirectory:
    """One finished training on running text."""
    train.main(arguments_of(config, config.parent / "run"))
    return RunDirectory(config.parent / "run")


def losses_of(run: RunDirectory) -> list[tuple[int, float]]:
    return [(step, value) for step, _, value in json.loads(run.results.read_text())["curves"]["train_loss"]]


def interrupted(arguments: list[str], stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and press Ctrl-C before an optimiser step."""
    step = Learner.training_step

    def stopping(self: Learner, batch: Any, index: int) -> None:
        if self.global_step == stop:
            raise KeyboardInterrupt
        step(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="--resume true"):
        patch.setattr(Learner, "training_step", stopping)
        train.main(arguments)


def test_a_run_on_running_text(run: RunDirectory, tmp_path: Path) -> None:
    results = json.loads(run.results.read_text())
    assert results["splits"]["test"]["rows"] == 6
    assert results["data"]["rows"] == {"train": 108, "validation": 6, "test": 6}
    losses = [value for _, value in losses_of(run)]
    assert losses[-1] < 0.75 * losses[0]
    again = {}
    for rows in ("null", "2"):
        evaluate.main([str(run.best), "--output", str(tmp_path / rows), "--decoding.rows", rows])
        again[rows] = json.loads(RunDirectory(tmp_path / rows).results.read_text())["splits"]
    assert again["null"] == results["splits"]
    assert again["2"]["test"]["metrics"] == results["splits"]["test"]["metrics"]


@pytest.mark.parametrize("stop", [12, 15])
def test_a_resumed_run_is_the_uninterrupted_one(
    run: RunDirectory, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """It goes on at step 11, in the middle of an epoch and of every lane."""
    arguments = arguments_of(config, tmp_path / "run")
    interrupted(arguments, stop, monkeypatch)
    train.main([*arguments, "--resume", "true"])
    again = RunDirectory(tmp_path / "run")
    assert losses_of(again) == losses_of(run)
    for one, other in ((again.last, run.last), (again.best, run.best)):
        first, second = checkpoint.read(one), checkpoint.read(other)
        assert all(first["state_dict"][name].equal(value) for name, value in second["state_dict"].items())
        for mine, whole in zip(first.get("carried", []), second.get("carried", []), strict=True):
            assert mine.equal(whole)
    results = [json.loads(one.results.read_text())["splits"] for one in (again, run)]
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_run_goes_on_on_two_devices(
    run: RunDirectory, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = arguments_of(config, tmp_path / "run")
    interrupted(arguments, 13, monkeypatch)
    elsewhere = "--trainer.devices 2 --trainer.strategy ddp --data.device_tokens 26 --data.workers 1".split()
    done = python("-m", "seq2seq.train", *arguments, "--resume", "true", *elsewhere)
    assert done.returncode == 0, done.stderr[-2000:]
    again = RunDirectory(tmp_path / "run")
    values = [[value for _, value in losses_of(one)] for one in (again, run)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    scores = [json.loads(one.results.read_text())["splits"]["test"]["metrics"]["perplexity"] for one in (again, run)]
    assert scores[0]["value"] == pytest.approx(scores[1]["value"], rel=1e-3)
    carried = [checkpoint.read(one.last)["carried"] for one in (again, run)]
    assert carried[0][0].shape == (2, 5, 24)
    torch.testing.assert_close(carried[0][0], carried[1][0], atol=1e-3, rtol=0)


def said(run: RunDirectory, text: str, *options: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command answers to some lines."""
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    with os.fdopen(read) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", file)
        predict.main([str(run.path), "--device", "cpu", *options])
    return capsys.readouterr().out.split("\n")[:-1]


def test_the_command_writes_a_text(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = said(run, "\n\nthe c\n\n", capsys=capsys)
    assert len(lines) == 4
    assert lines[2].startswith("the c")
    assert said(run, "\n", capsys=capsys) == lines[:1]
    monkeypatch.setattr(predict, "CHUNK", 1)  # lines that arrive one by one go on from each other too
    assert said(run, "\n\nthe c\n\n", capsys=capsys) == lines
    assert said(run, "\n\n", "--decoding.seed", "2", capsys=capsys) != lines[:2]
    five = said(run, "\n", "--n_best", "5", capsys=capsys)[0].split("\t")
    assert len(five) == 5
    assert len(set(five)) > 2
    assert five[0] == lines[0]
    with pytest.raises(InputError, match=r"standard input:2: .*'the Q'"):
        said(run, "\nthe Q\n", capsys=capsys)
    with pytest.raises(InputError, match="'7'"):
        said(run, "\n", "--decoding.prefix", "7", capsys=capsys)


# --- data and mistakes ----------------------------------------------------------------------------------------------


def test_lines_are_held_out_in_one_piece_or_by_hash(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("".join(f"line {row % 50}\n" for row in range(200)))
    kept = {}
    for running in (True, False):
        data = DataModule(Lines(running=running), path=str(tmp_path), holdout=0.1)
        kept[running] = {name: list(data.texts(name).target) for name in ("train", "validation", "test")}
        assert sum(map(len, kept[running].values())) == 200
    whole = [f"line {row % 50}" for row in range(200)]
    assert [kept[True][name] for name in ("validation", "train", "test")] == [whole[:20], whole[20:180], whole[180:]]
    sets = {name: set(lines) for name, lines in kept[False].items()}
    assert all(sets.values())
    assert not sets["train"] & sets["validation"]
    assert not sets["train"] & sets["test"]
    limited = Lines(running=True).selected_rows(SplitSelection("train", 0.1, 0.9, 5), str(tmp_path))
    assert [row.target for row in limited] == whole[20:25]


def test_lines_that_are_streamed_are_held_out_too(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("".join(f"line {row}\n" for row in range(200)))
    held = [row.target for row in Lines().selected_rows(SplitSelection("train", 0.0, 0.3), str(tmp_path))]
    streamed = [row["target"] for row in Lines().streamed(SplitSelection("train", 0.0, 0.3), str(tmp_path), [1, 0])]
    assert streamed == held
    assert 20 < len(held) < 100


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (Labels(), {"running": True}, "model.running .*data.tokenizer"),
        (NoSource(), {"condition_every_step": True}, "condition_every_step needs a condition"),
        (Labels(), {"dropout": 1.5}, "model.dropout is 1.5"),
        (Labels(), {"hidden_size": 0}, "model.hidden_size is 0"),
    ],
)
def test_settings_that_do_not_go_together(source: Tokenizer, settings: dict[str, Any], message: str) -> None:
    tokenizers = learnt(LABELLED, source)
    with pytest.raises(InputError, match=message):
        tiny(tokenizers, **settings)


def test_targets_that_are_no_text() -> None:
    target = Vectors()
    target.train(["1 2"])
    with pytest.raises(InputError, match=r"data\.target_tokenizer is Vectors\b"):
        tiny(Tokenizers(NoSource(), target))


def test_a_condition_that_training_lacks(tmp_path: Path) -> None:
    task, _, _ = made("label")
    with pytest.raises(InputError, match=r"'k99'.* k0, k1, k2"):
        task.check("k99")
    words = tiny(learnt([(f"{text} x", text) for text in "abcdefghijklmnopqrstuvwxyz"], Words()))
    with pytest.raises(InputError, match=r"'a Y'; known are x, a, .*, s, \.\.\."):
        words.check("a Y")
    words.check("z x")
    vector, _, _ = made("vector")
    with pytest.raises(InputError, match="3 numbers"):
        vector.check("1 2 3")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"lanes": 80}, "79 tokens.*data.lanes 80"),
        ({"segment": 20, "device_tokens": 20}, "21 tokens .*data.device_tokens 20"),
        ({"device_tokens": "auto"}, "model.running .*data.device_tokens"),
        ({"window": 5000}, "model.running .*data.window"),
    ],
)
def test_lanes_that_cannot_be(characters: Tokenizers, data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        learner_of(tiny(characters, running=True), FREE, **{"lanes": 2, "segment": 9, **data})


def test_running_text_has_no_teacher(run: RunDirectory, config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"distillation\.teacher .*model\.running"):
        train.main([*arguments_of(config, tmp_path / "run"), "--distillation.teacher", str(run.path)])
