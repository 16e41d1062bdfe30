"""Given targets get the probability that the loss and the search give them, and what has none is said."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from seq2seq import score
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts, score_texts
from seq2seq.models.attention import Additive, Dot
from seq2seq.models.crf import ConditionalRandomField, constraints
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, SPANS, Rows, batch_of, learnt, saved, small

CPU = torch.device("cpu")
TAGGED = [(source.replace("\t", " "), target.replace("\t", " ")) for source, target in SPANS]
LABELLED = [("a b c", "x"), ("b b", "y"), ("c", "x"), ("a a a a", "z")]
SETS = [("a b c", "x y"), ("b b", "y"), ("c", "z x"), ("a a a a", "z")]


def made(name: str) -> tuple[Task, Rows]:
    """A network with random parameters, and its rows."""
    words = learnt(PAIRS, Words(), Words())
    if name == "translation":
        return small(Translation, words, attention=Dot()), PAIRS
    if name == "feeding":
        attention = Additive(coverage=True)
        return small(Translation, words, attention=attention, decoder=DecoderOptions(input_feeding=True)), PAIRS
    if name in ("generation", "running"):
        return small(Generation, learnt(PAIRS, NoSource(), Characters()), running=name == "running"), PAIRS
    if name in ("classification", "sets"):
        rows = LABELLED if name == "classification" else SETS
        return small(Classification, learnt(rows, Words(), Labels()), multi_label=name == "sets"), rows
    tagger = {"softmax": Softmax(), "crf": Crf("BIO"), "autoregressive": AutoregressiveTagger()}[name]
    return small(Tagging, learnt(TAGGED, Words(), Labels()), tagger=tagger), TAGGED


def scored(task: Task, rows: Rows) -> list[score_texts.ScoredTarget]:
    texts = Texts(*map(list, zip(*rows, strict=True)))
    return score_texts.score(task, texts, CPU, 512, task.first_state(1))[0]


@pytest.mark.parametrize(
    "name",
    ["translation", "feeding", "generation", "running", "classification", "sets", "softmax", "crf", "autoregressive"],
)
def test_the_scores_of_targets_add_up_to_minus_the_loss(name: str) -> None:
    task, rows = made(name)
    batch = batch_of(rows, task.eval().tokenizers, task.row_format)
    found = [one.log_probs for one in scored(task, rows)]
    if name == "running":  # its rows are read one after the other
        assert found == task.predict_and_score(batch, task.first_state(1), Decoding(1, max_length=1))[1]
        return
    with torch.no_grad():
        assert math.fsum(map(math.fsum, found)) == pytest.approx(-float(task.validation_loss(batch)), rel=1e-5)
    for one, other in zip(found, scored(task, rows[::-1])[::-1], strict=True):
        assert one == pytest.approx(other.log_probs, abs=1e-5)


def test_a_prediction_has_the_scores_that_the_search_gave_it() -> None:
    task, rows = made("feeding")
    task.eval()
    found = task.predict(batch_of(rows, task.tokenizers), Decoding(3, length_penalty=0.0))
    pairs = [(source, task.text(best)) for (source, _), (best, *_) in zip(rows, found, strict=True)]
    for one, (best, *_) in zip(scored(task, pairs), found, strict=True):
        assert one.log_probs == pytest.approx(best.token_scores, abs=1e-4)
        assert one.log_prob == pytest.approx(best.score, abs=1e-4)
        assert one.tokens == [*task.text(best).split(), "</s>"]


def test_labels_of_a_field_have_their_conditional_probabilities() -> None:
    """Of each tag given those before it: by brute force over all sequences."""
    field = ConditionalRandomField(3, *constraints(["O", "B-x", "I-x"], "BIO"))
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter)
    emissions, lengths = torch.randn(2, 4, 3), torch.tensor([4, 2])
    for row, length in enumerate(lengths.tolist()):
        ways = list(itertools.product(range(3), repeat=length))
        padded = torch.tensor([[*way, *[0] * (4 - length)] for way in ways])
        many, sizes = emissions[row].expand(len(ways), -1, -1), torch.full((len(ways),), length)
        whole = field.score(many, padded, sizes).exp().tolist()
        found = field.log_probs(many, padded, sizes)
        for way, own in zip(ways, found.tolist(), strict=True):
            for place in range(length):
                begins = [
                    math.fsum(p for p, other in zip(whole, ways, strict=True) if other[:n] == way[:n])
                    for n in (place, place + 1)
                ]
                expected = math.log(begins[1] / begins[0]) if begins[1] else -math.inf
                assert own[place] == pytest.approx(expected, abs=1e-4)
            assert not any(own[length:])


def test_a_label_that_training_lacks_is_impossible() -> None:
    for name, row in (("classification", ("a b", "nothing")), ("softmax", ("he met", "O nothing"))):
        task, rows = made(name)
        one, two = scored(task.eval(), [row, rows[0]])
        assert one.log_prob == -math.inf
        assert two.log_prob > -math.inf
        assert json.loads(score.as_json(one))["log_prob"] is None


def test_the_command_writes_a_line_for_each_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "AT_ONCE", 3)
    task, rows = made("translation")
    for side, name in enumerate(("in", "out")):
        (tmp_path / name).write_text("".join(f"{row[side]}\n" for row in rows[:5]))
    command = [
        str(saved(task, tmp_path / "one.ckpt")),
        "--sources",
        str(tmp_path / "in"),
        "--targets",
        str(tmp_path / "out"),
    ]
    score.main([*command, "--device", "cpu"])
    printed = capsys.readouterr()
    expected = scored(task.eval(), rows[:5])
    assert [float(line) for line in printed.out.splitlines()] == pytest.approx(
        [one.log_prob for one in expected], abs=1e-3
    )
    tokens, total = sum(len(one.tokens) for one in expected), math.fsum(one.log_prob for one in expected)
    assert f"5 targets, {tokens} tokens" in printed.err
    assert float(printed.err.split()[-1]) == pytest.approx(math.exp(-total / tokens), abs=1e-3)
    score.main([*command, "--json"])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["tokens"][-1] for answer in answers] == ["</s>"] * 5
    for answer in answers:
        assert answer["log_prob"] == pytest.approx(sum(answer["token_log_probs"]))

    (tmp_path / "out").write_text("one\n" * 4)
    with pytest.raises(InputError, match=r"out ends before line 5\b"):
        score.main(command)
    (tmp_path / "in").write_text("the cat\n \nthe\nthe\n")
    with pytest.raises(InputError, match=r"in:2: "):
        score.main(command)
    with pytest.raises(InputError, match="--sources"):
        score.main([*command[:1], *command[3:]])


def test_what_cannot_be_scored_is_refused() -> None:
    numbers = learnt([("1 2 3", "4 5 6"), ("2 2 9", "4 7 7")], Vectors(), Vectors())
    with pytest.raises(InputError, match=r"Forecasting.*seq2seq\.evaluate"):
        scored(small(Forecasting, numbers), [("1 2 3", "4 5 6")])
    task, _ = made("softmax")
    with pytest.raises(InputError, match="2 tokens but 1 labels"):
        scored(task, [("he met", "O")])


def test_to_a_tagger_a_wide_space_is_a_token() -> None:
    task = made("softmax")[0].eval()
    found = predict_texts.predict(task, ["\u00a0", " ", "", TAGGED[0][0]], task.decoding, CPU)
    assert [bool(one) for one in found] == [True, False, False, True]
    translator = made("translation")[0].eval()
    assert predict_texts.predict(translator, ["\u00a0"], translator.decoding, CPU) == [[]]
