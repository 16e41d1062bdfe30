"""Another vocabulary: a token, feature or label that both have keeps what the parent has learnt of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.errors import InputError
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.token_rows import TokenRows, shared_rows
from seq2seq.tasks.translation import Translation
from seq2seq.training.parent import Parent, Start
from tests.support import Rows, batch_of, learnt, small

OLD: Rows = [("the cat sat", "die Katze"), ("a dog runs", "ein Hund"), ("the cat runs", "die Katze"), ("a cat", "Hund")]
NEW: Rows = [("zebra the a cat", "Affe Hund die"), ("a cat runs", "ein Hund"), ("the aardvark", "Affe")]
SHARED: Rows = [("a cat runs", "ein Hund"), ("the cat", "Hund die")]
FEATURED: Rows = [(f"{'de' if row % 2 else 'fr'}\t{source}", target) for row, (source, target) in enumerate(OLD)]
MORE_FEATURED: Rows = [(f"{language}\t{source}", target) for language in ("cs", "fr") for source, target in NEW]
TAGGED: Rows = [("the\tcat\tsat", "D N V"), ("a\tdog\truns", "D N V"), ("cat\truns", "N V")]
MORE_TAGGED: Rows = [("a\tcat\truns", "D N V"), ("zebra\tcat\tdog", "A N N"), ("the\tdog", "D N")]
SHARED_TAGGED: Rows = [("a\tcat\truns", "D N V"), ("the\tdog", "D N")]
SIGNED: Rows = [(source, " ".join(f"{tag}￨{tag.lower()}" for tag in target.split())) for source, target in TAGGED]
MORE_SIGNED: Rows = [
    (source, " ".join(f"{tag}￨{tag.lower()}" for tag in labels.split())) for source, labels in MORE_TAGGED
]
SHARED_SIGNED: Rows = [(MORE_SIGNED[row]) for row in (0, 2)]


def child_of(task: Task, fresh: Task, folder: Path, partly: bool = False, carried: bool = True) -> Any:
    """What the fresh task has of the other one, as a training starts; it is changed."""
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(torch.randn_like(parameter))
    content = {
        "seq2seq": checkpoint.packed(task, DataModule()),
        "state_dict": {f"task.{name}": one for name, one in task.state_dict().items()},
    }
    checkpoint.write(content, folder / "parent.ckpt")
    return Parent(Start(str(folder / "parent.ckpt"), partly, carried)).give(fresh)


@pytest.mark.parametrize(
    ("kind", "rows", "sides", "settings"),
    [
        (Translation, (OLD, NEW, SHARED), (Words, Words), {}),
        (Translation, (OLD, NEW, SHARED), (Characters, lambda: SentencePiece(60, "bpe")), {}),
        (Translation, (OLD, NEW, SHARED), (Words, Words), {"decoder": DecoderOptions(tied_output=True)}),
        (Translation, (FEATURED, MORE_FEATURED, MORE_FEATURED[-2:-1]), (lambda: RowFeatures(Words()), Words), {}),
        (Translation, (FEATURED, MORE_FEATURED, MORE_FEATURED[-2:-1]), (lambda: Columns([Labels(), Words()]), Words), {}),
        (Generation, (FEATURED, MORE_FEATURED, MORE_FEATURED[-2:-1]), (lambda: RowFeatures(Words()), Words), {}),
        (Generation, (OLD, NEW, SHARED), (NoSource, Words), {}),
        (Classification, (OLD, NEW, SHARED[:1]), (Words, Labels), {}),
        (Tagging, (TAGGED, MORE_TAGGED, SHARED_TAGGED), (lambda: Words(separator="\t"), Labels), {"tagger": Crf()}),
        (Tagging, (TAGGED, MORE_TAGGED, SHARED_TAGGED), (Spelled, Labels), {"tagger": Softmax()}),
        (Tagging, (TAGGED, MORE_TAGGED, SHARED_TAGGED), (Spelled, Labels), {"tagger": AutoregressiveTagger()}),
        (Tagging, (SIGNED, MORE_SIGNED, SHARED_SIGNED),
         (Spelled, lambda: TokenFeatures(Labels())), {"tagger": Softmax()}),
    ],
)  # fmt: skip
def test_shared_tokens_and_labels_mean_what_they_meant(
    kind: Callable[..., Task],
    rows: tuple[Rows, Rows, Rows],
    sides: tuple[Callable[[], Tokenizer], Callable[[], Tokenizer]],
    settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Rows by name are the parent's; what no vocabulary counts is the parent's too."""
    old, new = (learnt(some, *(side() for side in sides)) for some in rows[:2])
    torch.manual_seed(0)
    task, fresh = small(kind, old, **settings), small(kind, new, **settings)
    first = {name: one.clone() for name, one in fresh.state_dict().items()}
    record = child_of(task, fresh, tmp_path)
    assert record.new == record.left == []
    state, given, tables = fresh.state_dict(), task.state_dict(), fresh.token_rows()
    assert record.carried.keys() <= tables.keys()
    for name, one in state.items():
        if name not in record.carried:
            assert one.equal(given[name])
            continue
        own, other = shared_rows(tables[name], task.token_rows()[name])
        kept = [row for row in range(len(one)) if row not in own]
        if tables[name].square:
            assert one[own][:, own].equal(given[name][other][:, other])
        else:
            assert one[own].equal(given[name][other])
            assert one[kept].equal(first[name][kept])
        assert len(own) > 0
        assert record.carried[name] == f"{len(own)} of {len(one)} rows"
    assert not any(side.unknown_among(torch.tensor(side.encode([text])[0]).numpy()).any()
                   for pair in rows[2] for side, text in zip(old, pair, strict=True)), "these must be known"  # fmt: skip


def test_a_source_of_shared_tokens_is_read_as_before(tmp_path: Path) -> None:
    """The encoder's vector does not depend on which numbers the words have."""
    old, new = (learnt(rows, Words(), Words()) for rows in (OLD, NEW))
    task, fresh = small(Translation, old), small(Translation, new)
    child_of(task, fresh, tmp_path)
    vectors = [one.eval().fixed_vector(batch_of(SHARED, one.tokenizers)) for one in (task, fresh)]
    torch.testing.assert_close(*vectors, rtol=0, atol=0)


def test_without_the_wish_nothing_is_carried_over(tmp_path: Path) -> None:
    old, new = (learnt(rows, Words(), Words()) for rows in (OLD, NEW))
    with pytest.raises(InputError, match="--start_from_new_vocabulary"):
        child_of(small(Translation, old), small(Translation, new), tmp_path, carried=False)
    record = child_of(small(Translation, old), small(Translation, new), tmp_path, partly=True, carried=False)
    assert record.carried == {}
    assert {name.rpartition(".")[0] for name in record.new} == {
        "network.encoder.embedding", "network.decoder.embedding", "network.decoder.output.layer",
    }  # fmt: skip


def test_vectors_count_no_tokens() -> None:
    rows = [("1 2\t3 4\t5 6", "7 1\t8 1"), ("2 2\t3 1\t5 7", "6 2\t8 1")]
    tokenizers = learnt(rows, Vectors(), Vectors())
    assert small(Forecasting, tokenizers).token_rows() == {}


def test_a_task_of_ones_own_must_say_which_rows_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Translation, "token_rows", Task.token_rows)
    old, new = (learnt(rows, Words(), Words()) for rows in (OLD, NEW))
    with pytest.raises(InputError, match=r"Translation has no token_rows\(\)"):
        child_of(small(Translation, old), small(Translation, new), tmp_path)


def test_what_is_no_text_is_matched_by_its_number() -> None:
    names = learnt([("<s> 0 1", "x")], Words(), Words()).source.row_names[0]
    assert shared_rows(TokenRows(names), TokenRows([0, 1, 2, 3, "1", "0"])) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4])


def test_names_are_those_of_the_ids() -> None:
    """Of each tokenizer as many as there are rows, each once."""
    for tokenizer, texts in (
        (Words(), ["a b c"]),
        (Characters(), ["a\n\r"]),
        (SentencePiece(60, "bpe"), [row[0] for row in OLD]),
        (Columns([Characters(), Characters()]), ["ab\tab"]),
        (RowFeatures(Words()), ["x\ta b"]),
    ):
        tokenizer.train(texts)
        assert [len(names) for names in tokenizer.row_names] == [*tokenizer.sizes]
        assert all(len({*names}) == len(names) for names in tokenizer.row_names)
