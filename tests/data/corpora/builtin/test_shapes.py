"""Films of shapes: what a sentence says is what the frames show, and nothing but their order says what happens."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seq2seq import train
from seq2seq.data.corpora.builtin.shapes import COLOURS, MOVES, SIDE, SIZES, STEPS, Shapes
from seq2seq.data.number_text import parsed
from seq2seq.runs.run_directory import RunDirectory
from tests.support import ROOT, results_of


def film(text: str) -> np.ndarray:
    """(2 * STEPS, SIDE, SIDE, 3), where there is a shape."""
    return parsed(text, SIDE * SIDE * 3).reshape(2 * STEPS, SIDE, SIDE, 3) == 9


def test_a_sentence_says_what_the_frames_show() -> None:
    kinds = Counter[str]()
    for row in Shapes(train=150).rows("train", None):
        for text, frames in zip(row.target.split(" then "), np.split(film(row.source), 2), strict=True):
            _, size, colour, shape, verb = text.split(" ", 4)
            there = frames.any((1, 2, 3))
            channels = frames[there].any((0, 1, 2))
            assert channels.tolist() == [bool(one) for one in COLOURS[colour]]
            places = [np.argwhere(frame.any(-1)) for frame in frames[there]]
            for found in places:
                assert (found.max(0) - found.min(0) + 1).tolist() == [SIZES[size]] * 2
            steps = np.diff([found.min(0) for found in places], axis=0)
            assert (steps == MOVES.get(verb.partition(" ")[2], (0, 0))).all()
            expected = {"appears": [0, 0, 1, 1, 1], "disappears": [1, 1, 1, 0, 0]}.get(verb, [1] * STEPS)
            assert there.tolist() == [bool(one) for one in expected]
            pixels = {
                "square": SIZES[size] ** 2,
                "ring": 4 * SIZES[size] - 4,
                "cross": 2 * SIZES[size] - SIZES[size] % 2,
            }
            assert len(places[0]) == pixels[shape]
            kinds[verb] += 1
    assert set(kinds) == {*(f"moves {way}" for way in MOVES), "appears", "disappears"}


def test_without_order_the_frames_are_the_same() -> None:
    pairs = zip(*(list(Shapes(ordered, train=20).rows("train", None)) for ordered in (True, False)), strict=True)
    for one, other in pairs:
        assert one.target == other.target
        frames = [sorted(step.tobytes() for step in film(row.source)) for row in (one, other)]
        assert frames[0] == frames[1]
        assert one.source != other.source


def test_no_sentence_is_in_two_splits() -> None:
    sides = [{row.target for row in Shapes(train=80, validation=20, test=20).rows(split, None)}
             for split in ("train", "validation", "test")]  # fmt: skip
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]


def words(text: str, wanted: set[str]) -> list[str]:
    return sorted(word for word in text.split() if word in wanted)


@pytest.mark.slow
def test_captions_are_learnt_and_only_what_needs_order_is_lost_without_it(tmp_path: Path) -> None:
    right = {}
    for ordered in ("true", "false"):
        run = RunDirectory(tmp_path / ordered)
        given = ["--config", str(ROOT / "configs/translation_shapes.yaml"), "--data.corpus.ordered", ordered]
        train.main([*given, "--run", str(run.path)])
        rows = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
        shares = {"exact": results_of(run)["splits"]["test"]["metrics"]["exact_match"]["value"] / 100}
        for name, wanted in (("looks", {*COLOURS, *SIZES}), ("ways", {*MOVES})):
            kept = [row for row in rows if words(row["reference"], wanted)]
            same = [words(row["reference"], wanted) == words(row["prediction"], wanted) for row in kept]
            shares[name] = sum(same) / len(kept)
        right[ordered] = shares
    assert right["true"]["exact"] > 0.85
    assert right["false"]["exact"] < 0.15
    assert right["false"]["looks"] > 0.8, "colours and sizes need no order"
    assert right["true"]["ways"] > 0.9 > 0.6 > right["false"]["ways"], "directions do"
