"""Settings that change nothing are told; those that do are not."""

from typing import Any

import pytest

from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.factored import RowFeatures
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Max
from seq2seq.models.tagger import AutoregressiveTagger
from seq2seq.models.word_embedding import WordOptions
from seq2seq.tasks import idle
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from seq2seq.training.idle import of_training
from seq2seq.training.options import DistillationOptions
from tests.support import Rows, learnt, small

PAIRS: Rows = [("a b", "x y"), ("b c", "y"), ("c", "z"), ("a", "x")]
FEATURED: Rows = [("en\ta b", "x y"), ("de\tb c", "y"), ("en\tc", "z"), ("de\ta", "x")]
CLASSES: Rows = [("a\tb", "x"), ("b\tc", "y"), ("c", "x")]
TAGS: Rows = [("a\tb", "x y"), ("b\tc", "y x"), ("c", "x")]
ASKED: Rows = [("a b", "x ‖ N V"), ("b", "y ‖ N")]


@pytest.mark.parametrize(
    ("kind", "rows", "tokenizers", "settings", "decoding", "told"),
    [
        (Classification, CLASSES, (Words(separator="\t"), Labels()), {"words": WordOptions(word_dropout=0.2)}, {}, ["model.words"]),
        (Classification, CLASSES, (Spelled(), Labels()), {"words": WordOptions(word_dropout=0.2)}, {}, []),
        (Classification, CLASSES, (Words(separator="\t"), Labels()), {"encoder": EncoderOptions(pooling=Max())}, {}, []),
        (Tagging, TAGS, (Spelled(), Labels()), {"encoder": EncoderOptions(pooling=Max())}, {}, ["model.encoder.pooling"]),
        (Tagging, TAGS, (Spelled(), Labels()), {"sentence_weight": 2.0}, {}, ["model.sentence_weight"]),
        (Tagging, ASKED, (Words(), Labels()),
         {"sentence_weight": 2.0, "encoder": EncoderOptions(pooling=Max())}, {}, []),
        (Translation, PAIRS, (Words(), Words()), {"encoder": EncoderOptions(feature_size=8)}, {},
         ["model.encoder.feature_size"]),
        (Translation, FEATURED, (RowFeatures(Words()), Words()), {"encoder": EncoderOptions(feature_size=8)}, {}, []),
        (Classification, CLASSES, (Words(separator="\t"), Labels()), {}, {"temperature": 0.9, "min_length": 2},
         ["decoding.min_length", "decoding.temperature"]),
        (Tagging, TAGS, (Spelled(), Labels()), {"tagger": AutoregressiveTagger()}, {"temperature": 0.9, "seed": 3}, []),
        (Translation, PAIRS, (Words(), Words()), {}, {"min_length": 2, "max_length": 9, "no_repeat_ngram": 2}, []),
        (Translation, PAIRS, (Words(), Words()), {}, {"seed": 3}, ["decoding.seed"]),
        (Translation, PAIRS, (Words(), Words()), {}, {"diversity": 2.0, "lm_weight": 0.1},
         ["decoding.diversity", "decoding.lm_weight"]),
        (Translation, PAIRS, (Words(), Words()), {}, {"length_penalty": 0.0, "length_offset": 5.0},
         ["decoding.length_offset"]),
        (Translation, PAIRS, (Words(), Words()), {}, {"length_penalty": 0.6, "length_offset": 5.0}, []),
    ],
)  # fmt: skip
def test_only_what_changes_nothing_is_told(
    kind: Any, rows: Rows, tokenizers: tuple[Tokenizer, Tokenizer], settings: Any, decoding: Any, told: list[str]
) -> None:
    task = small(kind, learnt(rows, *tokenizers), **settings)
    task.decoding = Decoding(**decoding)
    assert [one.name for one in of_training(task, DataModule(), DistillationOptions())] == told


@pytest.mark.parametrize("running", [True, False])
def test_streams_belong_to_running_text(running: bool) -> None:
    task = small(Generation, learnt([("", "ab"), ("", "ba")], NoSource(), Characters()), running=running)
    told = [one.name for one in of_training(task, DataModule(lanes=4, segment=16), DistillationOptions())]
    assert told == ([] if running else ["data.lanes", "data.segment"])


@pytest.mark.parametrize(("teacher", "told"), [("runs/teacher", []), (None, ["distillation"])])
def test_a_weight_without_a_teacher(teacher: str | None, told: list[str]) -> None:
    task = small(Translation, learnt(PAIRS, Words(), Words()))
    options = DistillationOptions(teacher=teacher, weight=0.2)
    assert [one.name for one in of_training(task, DataModule(), options)] == told


def test_of_a_trained_task_only_what_is_new_is_told(caplog: pytest.LogCaptureFixture) -> None:
    task = small(Classification, learnt(CLASSES, Spelled(), Labels()))
    task.decoding = Decoding(min_length=2)
    idle.warn_of_new(task, Decoding(min_length=2))
    assert not caplog.records
    idle.warn_of_new(task, Decoding(min_length=2, temperature=0.9))
    [record] = caplog.records
    assert "decoding.temperature" in record.getMessage()
