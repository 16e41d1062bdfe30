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


LAUNCHES = {"training": 330, "greedy": 46, "beam 5": 84}
"""At most, of an optimiser step and of a step of the decoder: those of docs/gpu.md."""


def waits_of(counts: Counts) -> int:
    """All of them; what they are is shown where a bound is not kept."""
    print(counts.summary())
    return sum(counts.waits.values())


@pytest.mark.parametrize(
    "name",
    [
        TRANSLATION,
        pytest.param(FED, marks=slow),
        pytest.param("classification_cldr", marks=slow),
        pytest.param("tagging_cldr, Crf", marks=slow),
        "generation_cldr",
        pytest.param("forecasting_sunspots", marks=slow),
        failing(
            "torch's Adafactor asks for two norms of each parameter", "Adafactor", kind=AssertionError, marks=[slow]
        ),
    ],
)
def test_a_training_step_waits_once(name: str, tmp_path: Path) -> None:
    counts = training(WORKLOADS[name], tmp_path)
    assert waits_of(counts) <= counts.calls


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (TRANSLATION, {"beam_size": 1}),
        (TRANSLATION, {"beam_size": 5}),
        ("generation_cldr", {"beam_size": 1, "temperature": 1.0}),
    ],
)
def test_a_decoding_step_hardly_waits(name: str, settings: dict[str, Any]) -> None:
    assert waits_of(decoding(WORKLOADS[name], **settings)) <= 0.3 * (LENGTH + 1)


@pytest.mark.parametrize(
    "name",
    [
        "classification_cldr",
        "tagging_cldr",
        "tagging_cldr, Crf",
        "tagging_cldr, AutoregressiveTagger",
        "forecasting_sunspots",
    ],
)
def test_a_batch_waits_at_most_three_times(name: str) -> None:
    assert waits_of(decoding(WORKLOADS[name], min_length=0, max_length=None)) <= 3


@pytest.mark.parametrize("name", ["MinGRU", pytest.param(FED, marks=slow)])
def test_the_diagnosis_of_memory_waits_less_than_twenty_times(name: str) -> None:
    assert waits_of(diagnosis(WORKLOADS[name])) < 20


def test_no_copy_that_shall_not_block_comes_from_pageable_memory(tmp_path: Path) -> None:
    assert not training(WORKLOADS["generation_cldr"], tmp_path).pageable


def test_a_step_launches_no_more_than_the_page_says(tmp_path: Path) -> None:
    step = training(WORKLOADS[TRANSLATION], tmp_path)
    found = {"training": sum(step.launches.values()) / step.calls}
    for name, size in (("greedy", 1), ("beam 5", 5)):
        found[name] = sum(decoding(WORKLOADS[TRANSLATION], beam_size=size).launches.values()) / (LENGTH + 1)
    assert {name: number for name, number in found.items() if number > LAUNCHES[name]} == {}
