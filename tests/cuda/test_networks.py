"""Tasks and their parts on the pretended device: losses, gradients and predictions are the CPU's."""

import itertools

import pytest
import torch

from tests.cuda.cases import mostly_slow, slow
from tests.cuda.networks import (
    assert_close_step,
    assert_same_predictions,
    assert_same_step,
    batch_of,
    task_of,
)
from tests.support import ROOT

pytestmark = pytest.mark.cuda_rules

CELLS = ("RNN", "GRU", "LSTM", "LayerNormLSTM", "MinGRU", "MinLSTM")
ATTENTIONS = ("Dot", "ScaledDot", "General", "Additive", "Location", "LocalP", "MultiHeadAdditive", "null")
BRIDGES = ("Copy", "Linear", "Zeros", "Learned")
POOLINGS = ("null", "Last", "Max", "Mean", "Attentive")
SEARCHES = {
    "greedy": {"beam_size": 1, "temperature": None},
    "beam": {"beam_size": 2, "temperature": None},
    "sampling": {"beam_size": 2, "temperature": 1.0, "top_k": 4, "top_p": 0.9},
    "rules": {"beam_size": 2, "temperature": None, "min_length": 3, "no_repeat_ngram": 2},
}


def checked(name: str, *options: str, mixed: bool = False) -> None:
    """One training step, greedy and beam search; in bf16 besides where asked for."""
    task, split = task_of(name, *options)
    batch = batch_of(split)
    if mixed:
        assert_close_step(task, batch, torch.bfloat16)
        return
    assert_same_step(task, batch)
    for search in ("greedy", "beam"):
        assert_same_predictions(task, batch, **SEARCHES[search])


def model(**options: str | int) -> list[str]:
    """Options of the model; nested ones with __ for the point."""
    return [part for key, value in options.items() for part in (f"--model.{key.replace('__', '.')}", str(value))]


TASKS = ("classification_cldr", "forecasting_sunspots", "generation_cldr", "generation_melodies",
         "summarization_cldr", "tagging_cldr", "transcription_tones", "translation_cldr")  # fmt: skip


@pytest.mark.parametrize("mixed", mostly_slow([False, True], [False]), ids=["32", "bf16"])
@pytest.mark.parametrize("name", mostly_slow(TASKS, [name for name in TASKS if name not in TASKS[3:5]]))
def test_a_task(name: str, mixed: bool) -> None:
    checked(name, mixed=mixed)


@slow
@pytest.mark.parametrize("mixed", [False, True], ids=["32", "bf16"])
def test_a_transducer(mixed: bool) -> None:
    checked("transcription_tones", *model(alignment="Transducer"), mixed=mixed)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", mostly_slow(["translation_cldr", "generation_cldr"], ["translation_cldr"]))
def test_a_search(name: str, search: str) -> None:
    task, split = task_of(name)
    assert_same_predictions(task, batch_of(split), **SEARCHES[search])


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell(cell: str) -> None:
    checked("translation_cldr", *model(cell=cell))


@slow
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_is_fed_what_the_output_saw(cell: str) -> None:
    checked("translation_cldr", *model(cell=cell, layers=2, decoder__input_feeding="true"))


@slow
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM", "LayerNormLSTM"])
def test_recurrent_dropout(cell: str) -> None:
    checked("translation_cldr", *model(cell=cell, recurrent_dropout=0.2, dropout=0.2))


@pytest.mark.parametrize("attention", mostly_slow(ATTENTIONS, ["Additive", "LocalP"]))
def test_an_attention(attention: str) -> None:
    checked("translation_cldr", *model(attention=attention))


@slow
@pytest.mark.parametrize("attend_from", ["before", "bottom"])
def test_a_place_to_attend_from(attend_from: str) -> None:
    checked("translation_cldr", *model(decoder__attend_from=attend_from, decoder__layers=2, layers=2, bridge="Linear"))


@slow
@pytest.mark.parametrize("normalizer", ["sparsemax", "entmax15"])
def test_a_normalizer(normalizer: str) -> None:
    checked("translation_cldr", *model(attention="General", attention__normalizer=normalizer))


@pytest.mark.parametrize("bridge", mostly_slow(BRIDGES, ["Linear", "Learned"]))
def test_a_bridge(bridge: str) -> None:
    checked("translation_cldr", *model(bridge=bridge))


@pytest.mark.parametrize(
    ("name", "pooling"),
    mostly_slow(
        [*itertools.product(("translation_cldr", "classification_cldr"), POOLINGS)], [("translation_cldr", "Attentive")]
    ),
)
def test_a_pooling(name: str, pooling: str) -> None:
    checked(name, *model(encoder__pooling=pooling))


TAGGERS = [*itertools.product(("Softmax", "Crf", "AutoregressiveTagger"), ("LSTM", "CNN"))]


@pytest.mark.parametrize(("tagger", "letters"), mostly_slow(TAGGERS, [("Crf", "LSTM")]))
def test_a_tagger(tagger: str, letters: str) -> None:
    checked("tagging_cldr", *model(tagger=tagger, words__letters_by=letters, words__word_dropout=0.3))


OTHERS = {
    "coverage": model(attention="Additive", attention__coverage="true", coverage_loss=1.0),
    "copying": model(decoder__copy="true"),
    "tied output": model(decoder__tied_output="true"),
    "context at every step": model(decoder__context_every_step="true", attention="null"),
    "label smoothing": model(label_smoothing=0.1),
    "residual": model(layers=3, residual_from=2),
    "scheduled sampling": model(
        scheduled_sampling='{"class_path": "ScheduledSampling", "init_args": {"decay_steps": 1.0}}'
    ),
    "maxout": model(decoder__readout="maxout"),
    "locked dropout": model(dropout=0.3, locked_dropout="true"),
    "backwards": model(encoder__bidirectional="false", encoder__reverse="true"),
    "learned first state": model(encoder__learned_first_state="true"),
}


@pytest.mark.parametrize("name", mostly_slow(OTHERS, ["coverage"]))
def test_an_option_of_translation(name: str) -> None:
    checked("summarization_cldr" if name == "copying" else "translation_cldr", *OTHERS[name])


@slow
@pytest.mark.parametrize("output", ["sparsemax", "entmax15"])
def test_an_output(output: str) -> None:
    checked("translation_cldr", *model(output=output))


PAPERS = sorted(f"papers/{path.stem}" for path in (ROOT / "configs" / "papers").glob("*.yaml"))
NARROW = {"papers/rnmtplus2018": model(encoder__hidden_size=8, attention__attention_size=8)}


@slow
@pytest.mark.parametrize("mixed", [False, True], ids=["32", "bf16"])
@pytest.mark.parametrize("name", PAPERS)
def test_the_network_of_a_paper(name: str, mixed: bool) -> None:
    checked(name, *NARROW.get(name, ()), mixed=mixed)


@slow
@pytest.mark.parametrize(("cell", "layers", "bridge"), [*itertools.product(CELLS, (1, 2), BRIDGES)])
def test_every_cell_with_every_bridge_and_pooling(cell: str, layers: int, bridge: str) -> None:
    for pooling, mixed in itertools.product(POOLINGS, (False, True)):
        if pooling == "null" or bridge in ("Copy", "Linear"):
            options = model(cell=cell, layers=layers, bridge=bridge, encoder__pooling=pooling)
            checked("translation_cldr", *options, mixed=mixed)


@slow
@pytest.mark.parametrize(
    ("attention", "attend_from"), [*itertools.product(ATTENTIONS[:-1], ("top", "before", "bottom"))]
)
def test_every_attention_from_every_place_with_every_normalizer(attention: str, attend_from: str) -> None:
    for normalizer, mixed in itertools.product(("softmax", "sparsemax", "entmax15"), (False, True)):
        options = model(attention=attention, attention__normalizer=normalizer, bridge="Linear", layers=2)
        checked("translation_cldr", *options, *model(decoder__attend_from=attend_from), mixed=mixed)
