"""Several runs predict as one whose probabilities are their means; what cannot go together is refused."""

from pathlib import Path

import pytest
import torch

from seq2seq import predict
from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS, SPECIAL, Tokenizers
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.inference.ensemble import Ensemble, together
from seq2seq.models.attention import Additive, Dot
from seq2seq.models.cells import GRU, LSTM, RNN
from seq2seq.models.tagger import AutoregressiveTagger, ColumnTagger, Crf, Softmax
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of, learnt, saved, small


@pytest.fixture(scope="module")
def words() -> Tokenizers:
    return learnt(PAIRS, Words(), Words())


def networks(words: Tokenizers) -> list[Task]:
    """Three that have nothing in common but the vocabulary."""
    kinds = [{"cell": GRU(), "attention": Dot()}, {"cell": LSTM(), "attention": Additive(coverage=True)}, {"layers": 2}]
    return [small(Translation, words, **kind).eval() for kind in kinds]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_each_token_has_the_mean_of_the_probabilities(words: Tokenizers, beam_size: int) -> None:
    members, batch = networks(words), batch_of(PAIRS[:5], words)
    together_found = Ensemble(members).predict(batch, Decoding(beam_size, max_length=6))
    for row, found in enumerate(together_found):
        for one in found:
            target = torch.tensor([[BOS, *one.tokens, EOS]])
            alone = batch.part(slice(row, row + 1))._replace(
                target=target, target_lengths=torch.tensor([len(target[0])])
            )
            scores = torch.tensor([member.score_targets(alone, ())[0][0] for member in members])
            mean = scores.double().exp().mean(0).log().tolist()
            assert one.token_scores == pytest.approx(mean, abs=1e-4)
    for row, found in enumerate(together_found):
        assert (
            Ensemble(members).predict(batch.part(slice(row, row + 1)), Decoding(beam_size, max_length=6))[0][0].tokens
            == found[0].tokens
        )


def test_copies_of_one_predict_what_it_predicts(words: Tokenizers) -> None:
    task, batch = networks(words)[0], batch_of(PAIRS, words)
    alone, twice = (one.predict(batch, Decoding(3)) for one in (task, Ensemble([task, task])))
    assert [row[0].tokens for row in alone] == [row[0].tokens for row in twice]


def test_texts_from_a_condition_go_together_too() -> None:
    rows = [("de", "ein Hund"), ("en", "a dog")]
    tokenizers = learnt(rows, Labels(), Characters())
    members = [small(Generation, tokenizers).eval() for _ in range(2)]
    found = Ensemble(members).predict(batch_of(rows, tokenizers, members[0].row_format), Decoding(2, max_length=3))
    assert all(len(row) == 2 for row in found)


SENTENCES = [("a cat sat", "D N V"), ("the dog", "D N"), ("birds sing now", "N V A")]


@pytest.mark.parametrize("tagger", [Softmax(), Crf()], ids=repr)
def test_labels_have_the_mean_of_the_probabilities(tagger: ColumnTagger) -> None:
    tokenizers = learnt(SENTENCES, Words(separator=" "), Labels())
    members = [small(Tagging, tokenizers, tagger=tagger, cell=cell).eval() for cell in (GRU(), LSTM())]
    batch = batch_of(SENTENCES, tokenizers, members[0].row_format)
    with torch.no_grad():
        for member in members:
            for parameter in member.parameters():
                parameter.mul_(2)
        parts = [member.labeller.probabilities(*encoded(member, batch))[0] for member in members]  # type: ignore[union-attr]
    mean = torch.stack(parts).mean(0)
    for row, (found, length) in enumerate(zip(Ensemble(members).predict(batch, Decoding(1)), (3, 2, 3), strict=True)):
        assert found[0].tokens == (mean[row, :length].argmax(-1) + SPECIAL).tolist()
        expected = mean[row, :length].amax(-1).log().tolist()
        assert found[0].token_scores == pytest.approx(expected, abs=1e-5)
    assert len(Ensemble(members).predict(batch, Decoding(2))[0]) == 2


def encoded(member: Tagging, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """States and lengths."""
    encoding, lengths = member.states(batch)
    return encoding.states, lengths


def test_what_a_scheme_forbids_no_ensemble_predicts() -> None:
    rows = [("a b c", "O B-X I-X"), ("b c", "B-X I-X"), ("a", "O")]
    tokenizers = learnt(rows, Words(separator=" "), Labels())
    members = [small(Tagging, tokenizers, tagger=Crf("BIO"), cell=cell).eval() for cell in (GRU(), RNN())]
    inside = next(i for i, label in enumerate(tokenizers.target.vocabulary) if label == "I-X")  # type: ignore[attr-defined]
    with torch.no_grad():
        for member in members:  # everyone is sure of I-X everywhere
            member.labeller.maps[0].bias[inside] += 9.0  # type: ignore[union-attr, index]
    [found, *_] = Ensemble(members).predict(batch_of(rows, tokenizers, members[0].row_format), Decoding(1))
    assert tokenizers.target.decode(found[0].tokens).split() in (["B-X", "I-X", "I-X"], ["O", "B-X", "I-X"])


@pytest.mark.parametrize("several", [False, True])
def test_classes_have_the_mean_of_the_probabilities(several: bool) -> None:
    rows = [("a", "x"), ("b", "y"), ("c d", "z")]
    tokenizers = learnt(rows, Words(separator=" "), Labels())
    members = [small(Classification, tokenizers, multi_label=several, cell=cell).eval() for cell in (GRU(), LSTM())]
    batch = batch_of(rows, tokenizers, members[0].row_format)
    with torch.no_grad():
        logits = torch.stack([member.logits(batch) for member in members])
    mean = (logits.sigmoid() if several else logits.softmax(-1)).mean(0)
    for row, found in enumerate(Ensemble(members).predict(batch, Decoding(1))):
        if several:
            assert found[0].tokens == ((mean[row] > 0.5).nonzero()[:, 0] + SPECIAL).tolist()
        else:
            assert found[0].tokens == [int(mean[row].argmax()) + SPECIAL]
            assert found[0].score == pytest.approx(float(mean[row].max().log()), abs=1e-5)


def test_runs_that_do_not_go_together_are_refused(words: Tokenizers) -> None:
    task = networks(words)[0]
    assert together([task], ["a"]) is task
    other = small(Translation, learnt(PAIRS[:4], Words(), Words()))
    with pytest.raises(InputError, match="first and second have different source vocabularies"):
        together([task, other], ["first", "second"])
    labels = learnt([("a", "x"), ("b", "y")], Words(), Labels())
    with pytest.raises(InputError, match="first is a Translation, second a Classification"):
        together([task, small(Classification, labels)], ["first", "second"])
    one_by_one = small(Tagging, learnt(SENTENCES, Words(separator=" "), Labels()), tagger=AutoregressiveTagger())
    alone = [one_by_one, small(Generation, learnt(PAIRS, NoSource(), Characters()))]
    for one in alone:
        with pytest.raises(InputError, match=f"{type(one).__name__}.* one run"):
            together([one, one], ["first", "second"])
    with pytest.raises(InputError, match=r"decoding\.coverage_penalty"):
        together([task, task], ["first", "second"]).check_decoding(Decoding(coverage_penalty=0.2))


def test_the_command_takes_several_runs(
    words: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    members, lines = networks(words)[:2], [source for source, _ in PAIRS[:3]]
    runs = [str(saved(task, tmp_path / f"{number}.ckpt")) for number, task in enumerate(members)]
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines))
    for arguments, task in (([runs[0]], members[0]), (runs, Ensemble(members))):
        with open(tmp_path / "in") as stream:
            monkeypatch.setattr("sys.stdin", stream)
            predict.main([*arguments, "--device", "cpu", "--decoding.max_length", "7"])
        batch = batch_of([(line, line) for line in lines], words)
        expected = [task.text(row[0]) for row in task.predict(batch, Decoding(max_length=7))]
        assert capfdbinary.readouterr().out.decode().splitlines() == expected
