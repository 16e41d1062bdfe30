"""Several runs predict as one whose probabilities are their means; what cannot go together is refused."""

from pathlib import Path

import pytest
import torch

from seq2seq import predict
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizers
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.inference.ensemble import Ensemble, together
from seq2seq.models.attention import Additive, Dot
from seq2seq.models.cells import GRU, LSTM
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation
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


def test_runs_that_do_not_go_together_are_refused(words: Tokenizers) -> None:
    task = networks(words)[0]
    assert together([task], ["a"]) is task
    other = small(Translation, learnt(PAIRS[:4], Words(), Words()))
    with pytest.raises(InputError, match="first and second have different source vocabularies"):
        together([task, other], ["first", "second"])
    labels = learnt([("a", "x"), ("b", "y")], Words(), Labels())
    with pytest.raises(InputError, match="first is a Translation, second a Classification"):
        together([task, small(Classification, labels)], ["first", "second"])
    alone = [small(Classification, labels), small(Generation, learnt(PAIRS, NoSource(), Characters()))]
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
