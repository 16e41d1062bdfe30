"""Inspection: every number is the one of a slow computation row by row, and probes find what was planted."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.analysis.attention_statistics import (
    AttentionStatistics,
    coverage,
    entropies,
    received,
    reported_positions,
    undertranslated_rows,
)
from seq2seq.analysis.gradient_flow import rounded
from seq2seq.analysis.inspection import Inspection, inspect
from seq2seq.analysis.probes import all_probes, area, wilson
from seq2seq.analysis.ridge import ridge
from seq2seq.analysis.vector_space import FixedVectors, evenly_spread, geometry, neighbours, plane
from seq2seq.analysis.word_swaps import swap, swap_words, word_pattern
from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import BOS, EOS, UNK, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.metrics.base import Prediction
from seq2seq.models.attention import Additive, Dot, General, LocalP, Location, Monotonic, MultiHeadAdditive
from seq2seq.models.cells import GRU, LSTM
from seq2seq.models.decoder import DecoderOptions, present
from seq2seq.models.encoder import EncoderOptions
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, batch_of, split_of, trained

CPU = torch.device("cpu")
ROWS = PAIRS[:8]
WRITTEN = [
    "die Katze",
    "ein Hund rennt schnell",
    "zwei Frauen in einem Auto in Rot",
    "",
    "Kinder spielen ein Lied",
    "Wasser trinkt der Mann",
    "Vogel",
    "drei Lieder",
]
"""A prediction for each of the eight rows: shorter, the same, longer, empty."""

KINDS: list[dict[str, Any]] = [
    {"cell": GRU(), "attention": Dot()},
    {"cell": LSTM()},
    {"attention": Additive(coverage=True), "encoder": EncoderOptions(reverse=True)},
    {"attention": General(), "decoder": DecoderOptions(input_feeding=True), "layers": 2},
    {"attention": Additive(), "decoder": DecoderOptions(copy=True), "encoder": EncoderOptions(reverse=True)},
    {"attention": LocalP(2)},
    {"attention": MultiHeadAdditive(2), "output": "sparsemax"},
    {"attention": Monotonic(5)},
    {"attention": General(), "decoder": DecoderOptions(latent_alignments=2)},
]
NAMES = ["dot", "none", "coverage", "feeding", "copying", "local", "heads", "latent", "divided"]


@pytest.fixture(scope="module")
def words() -> Tokenizers:
    """One vocabulary for both sides."""
    both = Words()
    both.train([text for pair in PAIRS for text in pair] + WRITTEN)
    return Tokenizers(both, both)


def made(tokenizers: Tokenizers, **settings: Any) -> Translation:
    torch.manual_seed(4)
    task = Translation(tokenizers, **{"embedding_size": 8, "hidden_size": 12, "dropout": 0.3, **settings})
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.mul_(3)
    return task


def predicted(
    texts: Sequence[str], pairs: Sequence[tuple[str, str]] = ROWS, scores: Sequence[float] = (-1.0,)
) -> list[Prediction]:
    rows = zip(pairs, texts, strict=True)
    return [Prediction(row, *pair, text, 0.0, list(scores)) for row, (pair, text) in enumerate(rows)]


def looked(task: Task, split: Split, texts: Sequence[str] = WRITTEN, shown: Sequence[int] = range(8)) -> Inspection:
    pairs = list(zip(split.texts.source, split.texts.target, strict=True))
    found = inspect(task, split, predicted(texts, pairs), Decoding(), CPU, shown)
    json.dumps(found, allow_nan=False)
    return found


def slow_nats(task: Translation, pair: tuple[str, str], written: str) -> tuple[list[float], list[float]]:
    """Of one row alone, with `forward`: each reference token after the reference, and after what is written."""
    batch = batch_of([pair], task.tokenizers)
    wanted = batch.target[0, 1:].tolist()
    own = torch.tensor([[BOS, *task.tokenizers.target.encode([written])[0], EOS]])
    with torch.no_grad():
        known, after = task(batch)[0], task(batch._replace(target=own))[0]
    both = min(len(known), len(after))
    return [[-float(table[place, wanted[place]]) for place in range(both)] for table in (known, after)]  # type: ignore[return-value]


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_exposure_is_what_forward_says_of_each_row(words: Tokenizers, settings: dict[str, Any]) -> None:
    task = made(words, **settings)
    found = looked(task, split_of(ROWS, words)).exposure
    task.eval()
    slow = [slow_nats(task, pair, text) for pair, text in zip(ROWS, WRITTEN, strict=True)]
    known, after = ([nats for row in slow for nats in row[side]] for side in (0, 1))
    assert found is not None
    assert found["tokens"] == len(known)
    assert found["rows"] == 8
    assert found["reference"] == pytest.approx(np.mean(known), rel=1e-3)
    assert found["reference_after_own"] == pytest.approx(np.mean(after), rel=1e-3)
    assert found["gap"] == pytest.approx(np.mean(after) - np.mean(known), rel=2e-3)
    for place, told in enumerate(found["by_position"]):
        rows = [row for row in slow if len(row[0]) > place]
        assert (told["position"], told["rows"]) == (place + 1, len(rows))
        assert told["reference"] == pytest.approx(np.mean([row[0][place] for row in rows]), rel=1e-3)
        assert told["reference_after_own"] == pytest.approx(np.mean([row[1][place] for row in rows]), rel=1e-3)
    assert len(found["by_position"]) == max(len(row[0]) for row in slow)


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_there_is_no_gap_where_the_reference_is_predicted(words: Tokenizers, settings: dict[str, Any]) -> None:
    """And the reference costs what the loss is made of."""
    task = made(words, **settings)
    found = looked(task, split_of(ROWS, words), [target for _, target in ROWS]).exposure
    assert found is not None
    assert found["gap"] == 0.0
    assert all(told["reference"] == told["reference_after_own"] for told in found["by_position"])
    if task.output == "softmax":
        loss = task.eval().loss(batch_of(ROWS, words))
        assert loss.requires_grad
        assert found["reference"] * found["tokens"] == pytest.approx(loss.item(), rel=1e-3)


def test_own_tokens_cost_what_the_search_said(words: Tokenizers) -> None:
    task, split = made(words), split_of(ROWS, words)
    rows = predicted(WRITTEN, scores=(-1.0, -2.0, -4.0))
    rows[0] = rows[0]._replace(token_scores=[-2.0])
    found = inspect(task, split, rows, Decoding(), CPU, []).exposure
    assert found is not None
    assert [told["own"] for told in found["by_position"]][:4] == [1.125, 2.0, 4.0, None]
    given = inspect(task, split, rows, Decoding(prefix="ein Hund"), CPU, []).exposure
    assert given is not None
    assert [told["own"] for told in given["by_position"]][:4] == [None, None, 1.167, 2.0]


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_alignments_are_the_weights_of_greedy_search(words: Tokenizers, settings: dict[str, Any]) -> None:
    """Step after step, each row alone; those of a source that is read from its end are turned around."""
    task, split = made(words, **settings).eval(), split_of(ROWS, words)
    shown = [5, 2, 6]
    batch = split.batch(np.arange(8))
    texts = [task.text(row[0]) for row in task.predict(batch, Decoding(1))]
    found = looked(task, split, texts, shown).alignments
    if task.attention is None:
        assert found is None
        return
    assert found is not None
    assert [one["id"] for one in found] == sorted(shown)
    for one in found:
        assert one["source"] == [*ROWS[one["id"]][0].split(), "</s>"]
        assert one["target"] == [*texts[one["id"]].split(), "</s>"]
        with torch.no_grad():
            state = task.encode(split.batch(np.array([one["id"]]))).counting()
            read, weights, decoder = torch.tensor([[BOS]]), [], task.network.decoder
            for piece in one["target"]:
                log_probs, after = task.step(read, state)
                step, last = present(after.coverage)[0] - present(state.coverage)[0], log_probs.argmax(-1)
                if task.decoder.latent_alignments:  # the token that was looked at follows from what was predicted
                    label = torch.tensor([[EOS]]) if piece == "</s>" else last
                    step = present(decoder.looked_at(decoder(read, state), state.source, label))[0, 0]
                weights.append(step)
                read, state = last, after
        expected = 100 * torch.stack(weights)
        expected = expected.flip(1) if task.encoder.reverse else expected
        told = torch.tensor(one["weights"])
        assert told.shape == expected.shape
        assert float((told - expected).abs().max()) < 0.51
        if not isinstance(task.attention, LocalP):
            assert float((told.sum(1) - 100).abs().max()) <= told.shape[1] / 2


def test_long_rows_are_cut_when_shown(words: Tokenizers) -> None:
    pairs = [("a dog " * 60, "ein")]
    found = looked(made(words, attention=Location(130)), split_of(pairs, words), ["ein Hund " * 50], [0]).alignments
    assert found is not None
    assert [len(found[0][side]) for side in ("source", "target", "weights")] == [80, 80, 80]
    assert {len(row) for row in found[0]["weights"]} == {80}


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_neighbours_and_padding_do_not_matter(words: Tokenizers, settings: dict[str, Any]) -> None:
    task, split = made(words, **settings), split_of(ROWS, words)
    whole = looked(task, split)
    alone = [looked(task, split_of([pair], words), [text], [0]) for pair, text in zip(ROWS, WRITTEN, strict=True)]
    assert whole.exposure is not None
    tokens = [one.exposure["tokens"] for one in alone]  # type: ignore[index]
    for name in ("reference", "gap"):
        values = [one.exposure[name] for one in alone]  # type: ignore[index]
        assert whole.exposure[name] == pytest.approx(np.average(values, weights=tokens), rel=2e-3)
    if whole.attention is None:
        return
    assert whole.alignments == [{**one.alignments[0], "id": row} for row, one in enumerate(alone)]  # type: ignore[index]
    steps = [len(text.split()) + 1 for text in WRITTEN]
    values = [one.attention["entropy"] for one in alone]  # type: ignore[index]
    assert whole.attention["entropy"] == pytest.approx(np.average(values, weights=steps), rel=2e-3)
    lengths = [len(source.split()) for source, _ in ROWS]
    for name in ("coverage", "never_attended"):
        values = [one.attention[name] for one in alone]  # type: ignore[index]
        assert whole.attention[name] == pytest.approx(np.average(values, weights=lengths), rel=2e-3)


def test_the_same_bit_for_bit_and_training_does_not_notice(words: Tokenizers) -> None:
    task, split = made(words, attention=Dot()), split_of(ROWS, words)
    task.train()
    state = torch.get_rng_state()
    first = looked(task, split)
    assert task.training
    assert torch.get_rng_state().equal(state)
    assert all(parameter.grad is None for parameter in task.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert looked(task.eval(), split) == first
    assert not task.training
    few = inspect(task, split, predicted(WRITTEN), Decoding(1, rows=3), CPU, range(8))
    assert few.alignments == first.alignments
    assert few.exposure is not None
    assert few.exposure["gap"] == pytest.approx(first.exposure["gap"], rel=1e-3)


def test_what_is_not_a_number_is_null(words: Tokenizers) -> None:
    task = made(words, attention=Dot())
    with torch.no_grad():
        task.network.encoder.recurrent.stack[0].torch.weight_hh_l0.fill_(torch.nan)
    found = looked(task, split_of(ROWS, words))
    assert found.exposure is not None
    assert found.exposure["gap"] is None
    assert found.attention is not None
    assert found.attention["coverage"] is None
    assert found.alignments is not None
    assert found.alignments[0]["weights"] is None
    assert found.vectors is None


def test_empty_sources_and_no_rows(words: Tokenizers) -> None:
    pairs = [("", "ein"), ("a", ""), ("", ""), ("a dog", "ein Hund")]
    found = looked(made(words, attention=Additive()), split_of(pairs, words), ["", "", "ein", ""], range(4))
    assert found.exposure is not None
    assert found.exposure["tokens"] == 4
    assert found.alignments is not None
    assert found.alignments[0] == {"id": 0, "source": ["</s>"], "target": ["</s>"], "weights": [[100]]}
    assert looked(made(words), split_of(pairs[:1], words), [""], []).vectors is None
    nothing = Split(Texts([], []), Ragged.of([]), Ragged.of([]), 9)
    assert looked(made(words, attention=Dot()), nothing, [], []) == (None, None, None, None)


def test_weights_made_by_hand() -> None:
    weights = torch.tensor(
        [
            [[0.5, 0.5, 0.0, 0.0], [0.9, 0.02, 0.08, 0.0], [0.0, 0.0, 0.0, 1.0]],
            [[0.25, 0.25, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
        ]
    )
    real = torch.tensor([[True, True, False], [True, True, True]])
    sums = [row.numpy() for row in received(weights, real)]
    assert sums[0] == pytest.approx([1.4, 0.52, 0.08, 0.0])
    found = entropies(weights)
    assert found[0, 0].item() == pytest.approx(math.log(2))
    assert found[1].tolist() == pytest.approx([math.log(2), 0.0, 0.0]), "scaled up, or nothing at all"
    sums[1] = sums[1][:2]
    assert coverage(sums) == pytest.approx({"coverage": (1 + 0.52 + 0.08 + 0.25 + 0.75) / 6, "never_attended": 100 / 3})
    assert coverage([np.zeros(0)]) == {"coverage": None, "never_attended": None}
    tokens = {3: ["a", "b", "c", "d", "</s>"], 7: ["e", "f", "</s>"], 9: ["g", "</s>"]}
    sums.append(np.array([0.05]))
    assert undertranslated_rows(sums, [3, 7, 9], tokens.__getitem__) == [
        {"id": 9, "tokens": ["g"], "share": 1.0},
        {"id": 3, "tokens": ["c", "d"], "share": 0.5},
    ]
    assert [one["id"] for one in undertranslated_rows([np.zeros(1)] * 30, range(30), lambda row: ["x"])] == list(
        range(20)
    )


def test_rows_that_equal_their_reference_leave_nothing_out() -> None:
    """However little they look at the source: bidirectional states know their neighbours."""
    statistics = AttentionStatistics(3)
    lengths = torch.tensor([2, 2, 2])
    weights = torch.tensor([[1.0, 0.0]]).expand(3, 1, 2)
    statistics.add(np.arange(3), weights, torch.tensor([1, 1, 1]), lengths, lengths)
    found = statistics.results(np.array([4, 5, 6]), lambda row: ["read", f"left{row}"], np.array([True, False, True]))
    assert [(one["id"], one["tokens"]) for one in found["under"]] == [(4, ["left4"]), (6, ["left6"])]
    assert found["never_attended"] == 50.0, "of all rows"


def test_uniform_attention_is_all_there_is(words: Tokenizers) -> None:
    """A decoder that fits every source token alike has the largest entropy."""
    task = made(words, attention=General())
    with torch.no_grad():
        task.network.decoder.attention.map.weight.zero_()  # type: ignore[union-attr]
    found = looked(task, split_of(ROWS, words)).attention
    assert found is not None
    assert found["entropy_share"] == 1.0
    lengths, steps = [len(source.split()) + 1 for source, _ in ROWS], [len(text.split()) + 1 for text in WRITTEN]
    assert found["entropy"] == pytest.approx(np.average(np.log(lengths), weights=steps), rel=1e-3)
    assert found["entropy_by_position"][0] == {
        "position": 1,
        "rows": 8,
        "entropy": found["entropy_by_position"][0]["entropy"],
    }
    assert found["entropy_by_position"][0]["entropy"] == pytest.approx(np.mean(np.log(lengths)), rel=1e-3)
    sums = [step / length for step, length in zip(steps, lengths, strict=True)]
    covered = np.average(np.minimum(1, sums), weights=np.array(lengths) - 1)
    assert found["coverage"] == pytest.approx(covered, rel=1e-3)
    assert found["under"] == []


def test_positions_are_told_while_rows_are_left() -> None:
    assert reported_positions(np.array([5, 2, 1])) == 5
    assert reported_positions(np.array([9] * 4 + [7] * 6 + [3] * 90)) == 7, "one in twenty of a hundred rows is five"
    assert reported_positions(np.array([90] * 20 + [1] * 980)) == 60
    assert reported_positions(np.array([90] * 19 + [2] * 981)) == 2
    assert reported_positions(np.zeros(0, dtype=np.int64)) == 0


def test_rows_are_evenly_spread() -> None:
    assert evenly_spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spread(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spread(0, 4).tolist() == []


def studied(
    vectors: np.ndarray, texts: Sequence[str] | None = None, lengths: Sequence[int] | None = None
) -> FixedVectors:
    count = len(vectors)
    texts = [str(row) for row in range(count)] if texts is None else texts
    return FixedVectors(np.arange(count) * 2, vectors, texts, np.array([1] * count if lengths is None else lengths))


def test_the_plane_is_found() -> None:
    random = np.random.default_rng(3)
    corners, _ = np.linalg.qr(random.normal(size=(9, 9)))
    places = random.normal(size=(200, 2)) * [5.0, 2.0]
    places -= places.mean(0)
    _, _, turn = np.linalg.svd(places, full_matrices=False)
    planted = places @ turn.T  # along its own axes
    vectors = planted @ corners[:2] + 1e-6 * random.normal(size=(200, 9)) + 7
    explained, found = plane(vectors)
    assert sum(explained) == pytest.approx(1.0)
    assert explained[0] == pytest.approx((planted[:, 0] ** 2).sum() / (planted**2).sum())
    for axis in (0, 1):
        largest = np.abs(corners[axis]).argmax()
        assert found[:, axis] == pytest.approx(planted[:, axis] * np.sign(corners[axis, largest]), abs=1e-4)
    order = random.permutation(200)
    assert plane(vectors[order])[1] == pytest.approx(found[order], abs=1e-6), "never turns over"
    assert plane(-vectors)[1] == pytest.approx(-found, abs=1e-6)
    assert plane(np.ones((4, 3)))[0] == [0.0, 0.0]
    line = plane(np.arange(4.0)[:, None])
    assert line[0] == [1.0, 0.0]
    assert line[1] == pytest.approx(np.array([[-1.5, 0], [-0.5, 0], [0.5, 0], [1.5, 0]]))


def test_the_nearest_are_found() -> None:
    vectors = np.random.default_rng(5).normal(size=(40, 6))
    texts = [str(row) for row in range(38)] + ["0", "0"]
    vectors[38] = vectors[0]
    rows = studied(vectors, texts)
    centred = vectors - vectors.mean(0)
    for one in neighbours(rows, np.array([0, 7])):
        place = one["id"] // 2
        cosines = {
            2 * other: float(
                centred[place] @ centred[other] / np.linalg.norm(centred[place]) / np.linalg.norm(centred[other])
            )
            for other in range(38)
            if other != place
        }
        best = sorted(cosines, key=lambda other: -cosines[other])[:3]
        assert [near["id"] for near in one["near"]] == best
        assert [near["cosine"] for near in one["near"]] == pytest.approx([cosines[other] for other in best])
    assert len(geometry(rows)["neighbours"]) == 8
    assert neighbours(studied(np.ones((3, 2))), np.array([0]))[0]["near"][0] == {"id": 2, "cosine": 0.0}


NOUNS = "cat dog man bird girl boy car song".split()


def sentences(count: int) -> list[str]:
    """Random sentences, all unlike, of some words of the middle and many that are rare."""
    random = np.random.default_rng(11)
    found: dict[str, None] = {}
    while len(found) < count:
        rare = [f"r{number}" for number in random.integers(0, 2000, size=random.integers(2, 9))]
        some = [noun for noun in NOUNS if random.random() < 0.15]
        found[" ".join([str(random.choice(["the", "a", "two"])), *some, *rare])] = None
    return list(found)


def told(rows: FixedVectors, swaps: tuple[np.ndarray, np.ndarray] | None = None) -> dict[str, dict[str, Any]]:
    units = word_pattern(Words(), rows.texts)
    return {one["name"]: one for one in all_probes(rows, units, swaps)}


def test_probes_find_what_is_planted_and_nothing_else() -> None:
    texts, random = sentences(600), np.random.default_rng(2)
    lengths = [len(text.split()) for text in texts]
    first = np.array([[text.startswith(f"{word} ") for word in ("the", "a", "two")] for text in texts])
    nouns = np.array([[noun in text.split() for noun in NOUNS] for text in texts])
    planted = np.concatenate((np.array(lengths)[:, None], first, nouns, np.zeros((600, 1))), axis=1).astype(float)
    corners = np.linalg.qr(random.normal(size=(40, 40)))[0][: planted.shape[1]]
    noise = 0.01 * random.normal(size=(600, 40))
    turned = planted.copy()
    turned[:, -1] = 1.0
    swaps = np.arange(600), turned @ corners + 0.01 * random.normal(size=(600, 40))
    found = told(studied(planted @ corners + noise, texts, lengths), swaps)
    assert list(found) == ["length", "first word", "word content", "word order"]
    assert 0.99 < found["length"]["low"] <= found["length"]["value"] <= found["length"]["high"] <= 1.0
    for name in ("first word", "word content", "word order"):
        assert found[name]["value"] > 99
        assert found[name]["low"] > 97
        assert found[name]["rows"] == 300
    blind, other = random.normal(size=(2, 600, 40))
    found = told(studied(blind, texts, lengths), (np.arange(600), other))
    for name in ("length", "first word", "word content", "word order"):
        assert (
            found[name]["low"] - 0.02 <= found[name]["baseline"] <= found[name]["high"] + 0.02 * (name == "length")
        ), name
    assert found["length"]["value"] < 0.05
    assert 30 < found["first word"]["baseline"] < 45


def test_probes_are_left_out_where_there_is_little_to_ask() -> None:
    texts, random = sentences(60), np.random.default_rng(2)
    vectors = random.normal(size=(60, 5))
    assert list(told(studied(vectors[:39], texts[:39], range(39)))) == []
    assert "length" not in told(studied(vectors, texts)), "all lengths are the same"
    assert "length" in told(studied(vectors, texts, range(60)))
    assert "first word" not in told(studied(vectors, ["the " + text for text in texts]))
    assert told(studied(np.tile(vectors[:20], (3, 1)), texts[:20] * 3, list(range(20)) * 3)) == {}, (
        "equal ones count once"
    )
    assert all_probes(studied(vectors, texts, range(60)), None, None)[0]["name"] == "length"


def test_ridge_is_the_closed_form_and_chooses_its_penalty() -> None:
    random = np.random.default_rng(8)
    for count, size in ((60, 5), (30, 80)):  # either of its two forms
        vectors, others = random.normal(size=(count, size)), random.normal(size=(7, size))
        wanted = vectors[:, :2] * [1.0, -3.0] + 5
        guessed = ridge(vectors, wanted, others)
        centred = vectors - vectors.mean(0)
        squares = np.trace(centred @ centred.T) / min(count, size)
        direct = [
            wanted.mean(0)
            + (others - vectors.mean(0))
            @ np.linalg.solve(
                centred.T @ centred + 10.0**power * squares * np.eye(size), centred.T @ (wanted - wanted.mean(0))
            )
            for power in range(-6, 3)
        ]
        assert min(np.abs(guessed - one).max() for one in direct) < 1e-6
        if count > size:
            assert np.abs(guessed - others[:, :2] * [1.0, -3.0] - 5).max() < 1e-3
    nothing = ridge(random.normal(size=(80, 60)), random.normal(size=(80, 1)), random.normal(size=(9, 60)))
    assert np.abs(nothing).max() < 0.5, "a large penalty where there is nothing to learn"


def test_the_area_under_the_curve() -> None:
    scores, wanted = np.array([3.0, 1.0, 2.0, 1.0, 0.0]), np.array([True, False, True, True, False])
    value, influence = area(scores, wanted)
    assert value == pytest.approx((2 + 2 + 1.5) / 6)
    assert influence.sum() == pytest.approx(0.0)
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(300):
        labels = random.random(80) < 0.3
        drawn.append(area(random.normal(size=80) + labels, labels))
    values, influences = zip(*drawn, strict=True)
    assert np.std(values) == pytest.approx(np.mean([one.std() for one in influences]) / 80**0.5, rel=0.15)


def test_the_interval_of_a_share() -> None:
    low, high = wilson(np.array([1.0] * 45 + [0.0] * 5))
    assert (low, high) == pytest.approx((78.64, 95.65), abs=0.01)
    assert wilson(np.ones(20))[1] == pytest.approx(100.0)


def test_two_words_are_swapped() -> None:
    words, random = word_pattern(Words(), ["a b c"]), np.random.default_rng(0)
    assert swap("a b", words, random) == "b a"
    assert {swap("a b c", words, random) for _ in range(20)} == {"b a c", "a c b"}
    assert swap("de\ta b", words, random) == "de\tb a", "a column stays"
    assert words.words("de\ta b") == ["a", "b"]
    assert swap("a a", words, random) is None
    assert swap("a  b", words, random) is None
    assert swap("", words, random) is None
    tabs = word_pattern(Words(separator="\t"), ["a b\tc"])
    assert swap("a b\tc", tabs, random) == "c\ta b"
    letters = word_pattern(Characters(), ["abc", "def"])
    assert (letters.name, swap("ab", letters, random)) == ("character", "ba")
    assert word_pattern(Characters(), ["a b", "c d"]).name == "word"


def test_a_swap_that_the_ids_hide_is_none() -> None:
    tokenizer = Words()
    tokenizer.train(["a b c"])
    rows = studied(np.zeros((4, 2)), ["a b", "x y", "c a b a c", "b"])
    found = swap_words(rows, word_pattern(tokenizer, rows.texts), tokenizer, np.array([True, True, False, True]))
    assert found.indices.tolist() == [0]
    assert found.texts == ["b a"]
    assert found.ids == tokenizer.encode(["b a"])


def test_vectors_are_those_of_each_row_alone(words: Tokenizers) -> None:
    """And all probes are there once there are rows enough."""
    texts = [text.replace("r", "") for text in sentences(90)]
    tokenizer = Words()
    tokenizer.train(texts)
    task = made(Tokenizers(tokenizer, words.target), cell=GRU(), encoder=EncoderOptions(reverse=True))
    split = split_of([(text, "ein") for text in texts], task.tokenizers)
    found = looked(task, split, ["ein"] * 90).vectors
    assert found is not None
    assert [one["name"] for one in found["probes"]] == ["length", "first word", "word content", "word order"]
    task.eval()
    with torch.no_grad():
        one_by_one = [split.batch(np.array([row])) for row in range(90)]
        vectors = torch.cat([task.network.encoder(one.source, one.source_lengths).vector for one in one_by_one])
    expected = geometry(FixedVectors(np.arange(90), vectors.double().numpy(), texts, split.source_lengths()))
    assert found["size"] == 12
    assert [point["id"] for point in found["points"]] == list(range(90))
    for point, other in zip(found["points"], expected["points"], strict=True):
        assert (point["x"], point["y"]) == pytest.approx((other["x"], other["y"]), rel=1e-3, abs=1e-4)
    assert [[near["id"] for near in one["near"]] for one in found["neighbours"]] == [
        [near["id"] for near in one["near"]] for one in expected["neighbours"]
    ]


def test_other_tasks_have_what_they_have(words: Tokenizers) -> None:
    sources = [source for source, _ in ROWS]
    labels = Tokenizers(words.source, trained(Labels(), ["x", "y"]))
    split = split_of([(source, "x") for source in sources], labels)
    split.row_format = Classification.row_format
    found = looked(Classification(labels, embedding_size=4, hidden_size=6), split, ["x"] * 8)
    assert found[:3] == (None, None, None)
    assert found.vectors is not None
    assert (found.vectors["size"], found.vectors["rows"]) == (6, 8)
    tagged = looked(Tagging(labels, embedding_size=4, hidden_size=6), split, ["x"] * 8)
    assert tagged == (None, None, None, None)
    written = looked(Generation(words, embedding_size=4, hidden_size=6), split_of(ROWS, words))
    assert written == (None, None, None, None)
    numbers = ["1 2 3 4", "2 1 2 5", "0 1 1 0", "4 4 2 1"]
    series = Tokenizers(trained(Vectors(), numbers), trained(Vectors(), numbers))
    read, wanted = (Ragged.of(side.encode(numbers)) for side in series)
    some = Split(Texts(numbers, numbers), read, wanted, 99, Forecasting.row_format._replace(source_end=False))
    forecast = looked(Forecasting(series, embedding_size=4, hidden_size=6), some, numbers)
    assert forecast[:3] == (None, None, None)
    assert forecast.vectors is not None
    assert forecast.vectors["probes"] == []


def test_pieces(tokenizers: Tokenizers) -> None:
    """Each id by itself."""
    text = "the cat sat"
    ids = tokenizers.source.encode([text])[0]
    assert "".join(tokenizers.source.pieces(ids)).replace("▁", " ").strip() == text
    assert tokenizers.source.pieces([*ids, EOS])[-1] == "</s>"
    assert trained(Characters(), ["ab"]).pieces([4, 5, UNK, EOS]) == ["a", "b", "\ufffd", "</s>"]
    assert trained(Words(), ["b a a"]).pieces([5, 4, UNK, BOS]) == ["b", "a", "<unk>", "<s>"]
    columns = trained(Columns([Words(), Characters()]), ["V PST\tgo"])
    assert columns.pieces([*columns.encode(["V PST\tgo"])[0], EOS]) == ["V", "PST", "g", "o", "</s>"]
    rows = trained(RowFeatures(Characters()), ["de\tab", "en\tba"])
    assert rows.pieces([*rows.encode(["en\tab"])[0], EOS]) == ["a", "b", "</s>"]
    tokens = trained(TokenFeatures(Words()), ["a￨X b￨Y"])
    assert tokens.pieces([*tokens.encode(["b￨X"])[0], EOS]) == ["b￨X", "</s>"]


def test_all_of_it_has_four_digits(words: Tokenizers) -> None:
    found = looked(made(words, attention=Dot()), split_of(ROWS, words))
    assert found == Inspection(*(rounded(part) for part in found))
