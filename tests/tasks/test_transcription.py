"""Transcription: its loss, its predictions, what it refuses, and from a configuration to the report."""

import base64
import io
import itertools
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import seq2seq
from seq2seq import evaluate, train
from seq2seq.data.batching.split import refuse_wrong_lengths
from seq2seq.data.corpora.builtin.tones import Tones
from seq2seq.data.corpora.recordings import Recordings
from seq2seq.data.datamodule import DataModule
from seq2seq.data.sound import samples_in
from seq2seq.data.tokenizers.base import BOS, EOS
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.errors import InputError
from seq2seq.models.attention import Additive
from seq2seq.models.cells import GRU, RNN, Cell, LayerNormLSTM, MinLSTM
from seq2seq.models.decoder import SourceMemory, present
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.frames import Masking
from seq2seq.models.perturbation import Perturbation
from seq2seq.models.transducer import Transducer
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import pack_task, unpack_task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.transcription import UNKNOWN, Transcription, classes_of
from seq2seq.testing import check_task
from seq2seq.training.preparation import refuse_perturbed
from tests import support
from tests.support import ROOT, fitted, learnt, results_of

batch_of = partial(support.batch_of, row_format=Transcription.row_format)
tiny = partial(support.small, Transcription, stacking=2)


def frames(*values: float) -> str:
    """A source of two numbers a frame."""
    return "\t".join(f"{value} {1 - value}" for value in values)


ROWS = [
    (frames(0, 0, 0.1, 1, 1, 0.9, 0.1, 0), "b"),
    (frames(1, 0.9, 1, 0, 0, 0.1, 0, 1, 1, 1, 1, 0), "a a"),
    (frames(0, 0.1, 0, 0, 0.5), "c"),
    (frames(1, 1, 0, 0, 1, 0.9, 0.5, 0.4, 0.3, 1), "a b c"),
]


LONG = [*ROWS, (frames(0.5, 0.2), "c b b a")]
"""One of them has more tokens than steps."""


@pytest.fixture(scope="module")
def task() -> Transcription:
    """A network that knows its rows."""
    torch.manual_seed(1)
    tokenizers = learnt(ROWS, Vectors(), Words())
    return fitted(tiny(tokenizers), batch_of(ROWS, tokenizers), 60)


@pytest.mark.parametrize("cell", [GRU(), RNN(), LayerNormLSTM(), MinLSTM()], ids=lambda cell: type(cell).__name__)
def test_contract(cell: Cell) -> None:
    """A sum over rows, blind to padding; gradients; a checkpoint."""
    torch.manual_seed(2)
    one = isinstance(cell, GRU)
    layers = {"layers": 2, "encoder": EncoderOptions(bidirectional=False)} if one else {}
    check_task(tiny(learnt(ROWS, Vectors(), Characters()), cell=cell, stacking=1, **layers), ROWS)


def test_contract_of_a_transducer() -> None:
    torch.manual_seed(2)
    tokenizers = learnt(ROWS, Vectors(), Characters())
    check_task(tiny(tokenizers, alignment=Transducer(4, 5, 1, 6)), ROWS)


@pytest.fixture(scope="module")
def transducer() -> Transcription:
    """A network that knows its rows, one of which has more tokens than steps."""
    torch.manual_seed(1)
    tokenizers = learnt(LONG, Vectors(), Words())
    return fitted(tiny(tokenizers, alignment=Transducer(8, 12, 1, 12)), batch_of(LONG, tokenizers), 60)


def test_a_transducer_writes_several_tokens_at_a_step(transducer: Transcription) -> None:
    batch = batch_of(LONG, transducer.tokenizers)
    scores, _ = transducer.score_targets(batch, ())
    for size in (1, 3):
        found = transducer.predict(batch, Decoding(beam_size=size))
        assert [transducer.text(several[0]) for several in found] == [text for _, text in LONG]
        for several, [score] in zip(found, scores, strict=True):
            assert several[0].token_scores == pytest.approx([score], abs=1e-4)
            own = [one.token_scores[0] for one in several]
            assert own == sorted(own, reverse=True)
    measured = transducer.predict_and_measure(batch, (), Decoding(beam_size=1))
    assert float(measured.loss) == pytest.approx(-sum(score for [score] in scores), abs=1e-4)
    again = unpack_task(pack_task(transducer))
    assert isinstance(again, Transcription)
    assert again.alignment is not None
    again.load_state_dict(transducer.state_dict())
    assert again.loss(batch).equal(transducer.loss(batch))
    assert set(transducer.token_rows()) == {"output.weight", "output.bias", "writer.embedding.weight"}


def test_attention_beside_the_alignment_shares_loss_and_score() -> None:
    torch.manual_seed(2)
    tokenizers = learnt(ROWS, Vectors(), Words())
    task = tiny(tokenizers, attention=Additive(), attention_weight=0.3)
    check_task(task, ROWS)
    batch, states = batch_of(ROWS, tokenizers), task.states(batch_of(ROWS, tokenizers)).detach()
    assert task.speller is not None
    spelled = []
    for row, (steps, length) in enumerate(zip(task.steps(batch).tolist(), batch.target_lengths.tolist(), strict=True)):
        ids = [BOS, *batch.target[row, :length].tolist(), EOS]  # token by token, as the definition has it
        decoder, memory = task.speller.decoder, states[row : row + 1, :steps]
        seen = present(decoder.attention).memory(memory, torch.zeros(1, steps, dtype=torch.bool))
        source = SourceMemory(torch.zeros(1, steps, dtype=torch.long), None, None, seen)
        state, total = decoder.start(decoder.recurrent.first_state(1, memory), source), 0.0
        for before, after in itertools.pairwise(ids):
            log_probs, state = decoder.step(torch.tensor([[before]]), state)
            total -= float(log_probs[0, 0, after].detach())
        spelled.append(total)
    alone = tiny(tokenizers)
    alone.load_state_dict(task.state_dict(), strict=False)
    expected = 0.7 * alone.losses(states, batch) + 0.3 * torch.tensor(spelled)
    torch.testing.assert_close(task.losses(states, batch), expected, rtol=1e-5, atol=1e-5)
    assert not task.loss_is_likelihood
    scores, _ = task.score_targets(batch, ())
    torch.testing.assert_close(torch.tensor(scores).squeeze(1), -expected, rtol=1e-5, atol=1e-5)
    found = task.predict(batch, Decoding(beam_size=3))
    for number, several in enumerate(found):
        own = [one.token_scores[0] for one in several]
        rows = [(ROWS[number][0], task.text(one)) for one in several if one.tokens]
        known, _ = task.score_targets(batch_of(rows, tokenizers), ())
        assert own == sorted(own, reverse=True)
        filled = [one.token_scores[0] for one in several if one.tokens]
        assert filled == pytest.approx([score for [score] in known], abs=1e-4)
    assert "speller.decoder.embedding.weight" in task.token_rows()


def test_stand_ins_of_a_transducer_have_no_loss_and_gradients_of_zero(transducer: Transcription) -> None:
    batch = batch_of(LONG, transducer.tokenizers)
    empty = batch._replace(target=batch.target[:, :0], target_lengths=torch.zeros_like(batch.target_lengths))
    transducer.zero_grad()
    loss = transducer.loss(empty)
    loss.backward()
    assert loss.item() == 0
    assert all(one.grad is not None and not one.grad.any() for one in transducer.parameters())


def test_an_empty_target_is_refused_whatever_the_alignment(transducer: Transcription) -> None:
    rows = [LONG[0], (LONG[1][0], "")]
    with pytest.raises(InputError, match="2: the target is empty"):
        refuse_wrong_lengths(
            support.split_of(rows, transducer.tokenizers, transducer.row_format), transducer.tokenizers
        )


@pytest.mark.parametrize("lookahead", [0, 3])
@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [1, 3]], ids=["much padding", "little"])
def test_states_of_what_reads_forwards_know_no_padding(chosen: list[int], lookahead: int) -> None:
    torch.manual_seed(3)
    settings = {"encoder": EncoderOptions(bidirectional=False), "lookahead": lookahead, "dropout": 0.3, "layers": 2}
    task = tiny(learnt(ROWS, Vectors(), Words()), cell=GRU(), **settings).train()
    batch, noise = batch_of([ROWS[row] for row in chosen], task.tokenizers), Noise(1, torch.tensor(chosen))
    expected = task.reader(batch.source, batch.source_lengths, noise).states
    found = task.reader.states(batch.source, batch.source_lengths, noise)
    for row, steps in enumerate(task.steps(batch).tolist()):
        torch.testing.assert_close(found[row, :steps], expected[row, :steps])
    assert found.equal(expected) == (len(chosen) > 2)


def test_loss_of_no_row_is_nothing_and_of_labels_that_training_lacks_finite(task: Transcription) -> None:
    batch = batch_of(ROWS, task.tokenizers)
    stand_in = batch._replace(
        target=torch.zeros_like(batch.target), target_lengths=torch.zeros_like(batch.target_lengths)
    )
    loss = task.loss(stand_in)
    loss.backward()
    assert loss.item() == 0
    unknown = batch_of([(ROWS[0][0], "new")], task.tokenizers)
    assert classes_of(unknown.target).tolist() == [[UNKNOWN]]
    assert task.loss(unknown).isfinite()
    assert task.score_targets(unknown, ())[0] == [[-math.inf]]


def test_predictions_are_ranked_by_their_probability(task: Transcription) -> None:
    batch = batch_of(ROWS, task.tokenizers)
    for size in (1, 4):
        found = task.predict(batch, Decoding(beam_size=size))
        assert [task.text(several[0]) for several in found] == [text for _, text in ROWS]
        assert {len(several) for several in found} == {size}
    scores, _ = task.score_targets(batch, ())
    for several, [score] in zip(found, scores, strict=True):
        assert [sum(one.token_scores) for one in several] == sorted(
            (sum(one.token_scores) for one in several), reverse=True
        )
        assert sum(several[0].token_scores) == pytest.approx(score, abs=1e-5)
        assert several[0].score == pytest.approx(score / len(several[0].tokens), abs=1e-5)
        assert all(UNKNOWN not in classes_of(torch.tensor([one.tokens])) for one in several)


def test_validation_measures_and_a_checkpoint_keeps(task: Transcription) -> None:
    batch = batch_of(ROWS, task.tokenizers)
    measured = task.predict_and_measure(batch, (), Decoding(beam_size=2))
    assert float(measured.loss) == pytest.approx(-sum(sum(row) for row in task.score_targets(batch, ())[0]), abs=1e-4)
    again = unpack_task(pack_task(tiny(task.tokenizers, stacking=3, masking=Masking(bands=1))))
    assert isinstance(again, Transcription)
    assert (again.stacking, again.masking.bands, again.row_format.frames) == (3, 1, 3)


def test_posteriors_are_those_of_the_loss_and_words_have_their_times(task: Transcription) -> None:
    found = task.posteriors(batch_of(ROWS, task.tokenizers))
    log_probs = task.log_probs(task.states(batch_of(ROWS, task.tokenizers)))
    for row, (one, (_, text)) in enumerate(zip(found, ROWS, strict=True)):
        steps = -(-(ROWS[row][0].count("\t") + 1) // 2)
        assert one.shares.shape == (steps, len(one.names))
        np.testing.assert_allclose(one.shares, log_probs[row, :steps].detach().exp().numpy(), atol=1e-6)
        assert [word.text for word in one.words] == text.split()
        for word in one.words:
            assert one.names[int(one.shares[word.first].argmax())] == word.text
        assert [word.first for word in one.words] == sorted(word.first for word in one.words)


def test_masking_changes_training_alone(task: Transcription) -> None:
    batch, masked = batch_of(ROWS, task.tokenizers), tiny(task.tokenizers, masking=Masking(times=3, time_width=3))
    masked.load_state_dict(task.state_dict())
    assert masked.eval().loss(batch).equal(task.loss(batch))
    masked.train()
    losses = [masked.loss(batch._replace(seed=seed)).item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_perturbation_changes_training_alone_and_leaves_room_for_the_target(task: Transcription) -> None:
    batch, other = batch_of(ROWS, task.tokenizers), tiny(task.tokenizers, perturbation=Perturbation(0.4, 0.1, 6, 10))
    other.load_state_dict(task.state_dict())
    assert other.eval().loss(batch).equal(task.loss(batch))
    other.train()
    losses = [other.loss(batch._replace(seed=seed)).item() for seed in (1, 1, 2, 3, 4, 5)]
    assert losses[0] == losses[1] != losses[2]
    assert all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stacking": 0}, r"model\.stacking"),
        ({"attention_weight": 1.0}, r"model\.attention_weight is 1\.0"),
        ({"centre_running": -1}, r"model\.centre_running"),
        ({"centre_running": 9, "centre_rows": True}, r"model\.centre_rows.*model\.centre_running 9"),
        ({"encoder": EncoderOptions(reverse=True)}, r"model\.encoder\.reverse"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str, task: Transcription) -> None:
    with pytest.raises(InputError, match=message):
        tiny(task.tokenizers, **settings)


def test_tokenizers_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"data\.tokenizer.*Words"):
        tiny(learnt([("a", "b")], Words(), Words()))
    with pytest.raises(InputError, match=r"data\.target_tokenizer.*Vectors"):
        tiny(learnt([("1", "2")], Vectors(), Vectors()))
    assert tiny(learnt([("1", "2")], Vectors(), Labels())).stacking == 2


@pytest.mark.parametrize("name", ["temperature", "prefix", "min_length", "no_repeat_ngram"])
def test_decoding_that_cannot_be(name: str, task: Transcription) -> None:
    value = {"temperature": 1.0, "prefix": "a"}.get(name, 2)
    with pytest.raises(InputError, match=rf"decoding\.{name}"):
        task.check_decoding(Decoding(**{name: value}))  # type: ignore[arg-type]


CONFIG = """
task: Transcription
data:
  corpus: {class_path: Tones, init_args: {shortest: 1, longest: 3, train: 60, validation: 8, test: 8}}
  tokenizer: Vectors
  target_tokenizer: Words
  batch_tokens: 600
model: {cell: GRU, embedding_size: 8, hidden_size: 12, masking: {bands: 1, times: 1}}
trainer: {max_steps: 3, accelerator: cpu}
decoding: {beam_size: 2}
"""


def test_from_a_configuration_to_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, run = tmp_path / "tones.yaml", RunDirectory(tmp_path / "run")
    config.write_text(CONFIG)
    train.main(["--config", str(config), "--run", str(run.path)])
    tested = results_of(run)["splits"]["test"]["metrics"]
    assert {"word_error_rate", "character_error_rate", "exact_match"} <= set(tested)
    report = run.report.read_text()
    assert "Word error rate" in report
    kinds = results_of(run)["splits"]["test"]["details"]["word_error_rate"]["edits"]
    rate = 100 * (kinds["inserted"] + kinds["deleted"] + kinds["replaced"]) / kinds["words"]
    assert rate == pytest.approx(tested["word_error_rate"]["value"])
    assert all(kind in report for kind in ("inserted", "deleted", "replaced"))
    heard = [json.loads(line) for line in (run.predictions / "test.heard.jsonl").read_text().splitlines()]
    assert 4 <= len(heard) <= 10
    assert report.count('src="data:audio/wav;base64,') == len(heard)
    assert report.count('href="data:image/png;base64,') == len(heard)
    for one in heard:
        [call] = [call for row, call in enumerate(Tones(1, 3, test=8).dialled("test")) if row == one["id"]]
        samples, rate = samples_in(io.BytesIO(base64.b64decode(one["clip"])), "clip", 4000)
        assert (len(samples), rate) == (len(call.samples), 4000)
        assert np.abs(samples - call.samples.clip(-1, 1)).max() < 1e-4
        assert " ".join(pair[0] for pair in one["aligned"] if pair[0]) == " ".join(map(str, call.digits))
    capsys.readouterr()
    evaluate.main([str(run.path), "--json"])
    assert json.loads(capsys.readouterr().out)["splits"]["test"]["metrics"] == tested
    texts = [row.source for row in Tones(1, 3, train=1, validation=1, test=8).rows("test", None)]
    answers = seq2seq.load(str(run.path)).predict(texts)
    stored = (run.path / "predictions" / "test.jsonl").read_text().splitlines()
    assert [one.text for one in answers] == [json.loads(line)["prediction"] for line in stored]


def test_a_text_that_its_frames_cannot_hold_is_refused_before_training(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "validation", "test")):
        values = frames(1, 2, 3, 4, 5 + place)
        (tmp_path / f"{split}.tsv").write_text(f"{values};a b\n{values};a a\n")
    corpus = "{class_path: Tsv, init_args: {delimiter: ';'}}"
    (tmp_path / "config.yaml").write_text(CONFIG.replace(CONFIG.splitlines()[3].partition(": ")[2], corpus))
    files = {"config": tmp_path / "config.yaml", "data.path": tmp_path, "run": tmp_path / "run"}
    arguments = [part for name, value in files.items() for part in (f"--{name}", str(value))]
    with pytest.raises(
        InputError, match=r"train\.tsv:2: .* 2 tokens.* 3 steps.* 5 frames make 2.*model\.stacking \(3\)"
    ):
        train.main(arguments)
    (tmp_path / "train.tsv").write_text(f"{frames(1, 2, 3, 4, 5)};a b\n{frames(1, 2, 3, 4, 5)};\n")
    with pytest.raises(InputError, match=r"train\.tsv:2"):
        train.main([*arguments, "--model.stacking", "1"])


@pytest.mark.slow
@pytest.mark.parametrize("alignment", ["null", "Transducer"])
def test_the_configuration_without_files_learns(alignment: str, tmp_path: Path) -> None:
    run, options = RunDirectory(tmp_path / "run"), ["--model.alignment", alignment]
    train.main(["--config", str(ROOT / "configs/transcription_tones.yaml"), "--run", str(run.path), *options])
    assert results_of(run)["splits"]["test"]["metrics"]["word_error_rate"]["value"] < (2 if alignment == "null" else 4)


def test_perturbation_of_bands_is_refused_where_frames_hold_no_bands(task: Transcription) -> None:
    changed = tiny(task.tokenizers, perturbation=Perturbation(warp=0.1))
    for settings in ({"coefficients": 13}, {"deltas": 1}):
        with pytest.raises(InputError, match=r"model\.perturbation.*data\.corpus\.coefficients"):
            refuse_perturbed(changed, DataModule(Recordings(**settings)))
        refuse_perturbed(tiny(task.tokenizers, perturbation=Perturbation(0.1)), DataModule(Recordings(**settings)))
    refuse_perturbed(changed, DataModule(Recordings()))
