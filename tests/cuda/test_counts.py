"""How often the host waits for the device: a wait costs some 20 us, and lets the device run dry."""

from pathlib import Path
from typing import Any

import pytest

from tests.cuda.cases import failing, slow
from tests.cuda.counts import Counts
from tests.cuda.workloads import LENGTH, WORKLOADS, decoding, diagnosis, training

pytestmark = pytest.mark.cuda_rules

TRANSLATION = "like multi30k, bf16"
FED = "input feeding, four layers, LocalP"


def later(today: str, *values: Any, marks: Any = ()) -> Any:
    """A bound that is not kept yet."""
    return failing(f"the host waits more often: {today}", *values, kind=AssertionError, marks=marks)


def waits_of(counts: Counts) -> int:
    """All of them; what they are is shown where a bound is not kept."""
    print(counts.summary())
    return sum(counts.waits.values())


@pytest.mark.parametrize(
    "name",
    [
        later("10", TRANSLATION),
        later("23", FED, marks=[slow]),
        later("10", "classification_cldr", marks=[slow]),
        later("20", "tagging_cldr, Crf", marks=[slow]),
        later("8", "generation_cldr"),
        later("14", "forecasting_sunspots", marks=[slow]),
        later("32", "Adafactor", marks=[slow]),
    ],
)
def test_a_training_step_waits_once(name: str, tmp_path: Path) -> None:
    counts = training(WORKLOADS[name], tmp_path)
    assert waits_of(counts) <= counts.calls


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        later("1.17", TRANSLATION, {"beam_size": 1}),
        later("2.39", TRANSLATION, {"beam_size": 5}),
        later("1.15", "generation_cldr", {"beam_size": 1, "temperature": 1.0}),
    ],
)
def test_a_decoding_step_hardly_waits(name: str, settings: dict[str, Any]) -> None:
    assert waits_of(decoding(WORKLOADS[name], **settings)) <= 0.3 * (LENGTH + 1)


@pytest.mark.parametrize(
    "name",
    [
        later("5", "classification_cldr"),
        later("16", "tagging_cldr"),
        later("23", "tagging_cldr, Crf"),
        later("6", "forecasting_sunspots"),
    ],
)
def test_a_batch_waits_at_most_three_times(name: str) -> None:
    assert waits_of(decoding(WORKLOADS[name], min_length=0, max_length=None)) <= 3


@pytest.mark.parametrize("name", [later("262", "MinGRU"), later("1262", FED, marks=[slow])])
def test_the_diagnosis_of_memory_waits_less_than_twenty_times(name: str) -> None:
    assert waits_of(diagnosis(WORKLOADS[name])) < 20


@pytest.mark.xfail(strict=True, reason="batches are not pinned", raises=AssertionError)
def test_no_copy_that_shall_not_block_comes_from_pageable_memory(tmp_path: Path) -> None:
    assert not training(WORKLOADS["generation_cldr"], tmp_path).pageable
