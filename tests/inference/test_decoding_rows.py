"""Rows decoded at once: as set, the usual number on a CPU, what fits on a GPU."""

from dataclasses import replace

import pytest
import torch

from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from seq2seq.inference import decoding_rows
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from tests.support import PAIRS, learnt, small

TASK = small(Translation, learnt(PAIRS, Words(), Words()))
GIB = 1 << 30


def test_a_number_that_is_set_stands() -> None:
    assert decoding_rows.chosen(TASK, Decoding(rows=7), 80 * GIB, 50).rows == 7


def test_a_cpu_keeps_the_usual_number() -> None:
    assert decoding_rows.memory_of(torch.device("cpu")) is None
    assert decoding_rows.chosen(TASK, Decoding(), None, 50).at_once == 256


def test_a_gpu_takes_what_fits() -> None:
    rows = [decoding_rows.chosen(TASK, Decoding(), memory, 512).rows for memory in (1 << 20, 1 << 28, 80 * GIB)]
    assert rows == sorted(rows)  # type: ignore[type-var]
    assert rows[0] == 256
    assert rows[-1] == 2048
    longer = [decoding_rows.chosen(TASK, Decoding(), 1 << 28, longest).rows for longest in (10, 10_000)]
    assert longer[0] > longer[1]  # type: ignore[operator]


def test_predictions_do_not_depend_on_it() -> None:
    from seq2seq.inference.predict_texts import predict

    texts, cpu = [source for source, _ in PAIRS], torch.device("cpu")
    several = [predict(TASK.eval(), texts, replace(TASK.decoding, rows=rows), cpu) for rows in (None, 5)]
    assert [[one.tokens for one in row] for row in several[0]] == [[one.tokens for one in row] for row in several[1]]


def test_none_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"decoding\.rows"):
        Decoding(rows=0)


def test_a_run_made_with_a_number_resumes_without() -> None:
    from seq2seq.runs.resuming import matters

    assert not matters("decoding.rows", needs_total=True)
    assert matters("decoding.beam_size", needs_total=True)
