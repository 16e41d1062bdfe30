"""Paired tests equal sacreBLEU's command line, find differences that are there, and seldom others."""

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.metrics.accuracy import Accuracy, ExactMatch
from seq2seq.metrics.base import Metric
from seq2seq.metrics.bleu import Bleu, Chrf, Ter
from seq2seq.metrics.significance import TRIALS, Difference, adjusted, clustered, compare, scored
from seq2seq.metrics.spans import SpanF1
from tests.support import rows_of

NAMES = ("BLEU", "chrF2", "TER")

WORDS = [f"w{number}" for number in range(40)]


def differ(metric: Metric, system: list[np.ndarray], other: list[np.ndarray]) -> Difference:
    return compare(metric, scored(metric, system), scored(metric, other))


def noisy(text: str, share: float, source: random.Random) -> str:
    return " ".join(word if source.random() > share else source.choice(WORDS) for word in text.split())


def corpus(rows: int, shares: tuple[float, float], seed: int = 3) -> tuple[list[str], list[str], list[str]]:
    """References, and two systems that get so large a share of the words wrong."""
    source = random.Random(seed)
    references = [" ".join(source.choices(WORDS, k=source.randint(1, 20))) for _ in range(rows)]
    one, other = ([noisy(text, share, source) for text in references] for share in shares)
    return references, one, other


def sacrebleu(folder: Path, test: str, *texts: list[str]) -> dict[str, list[float]]:
    """Score, middle and half of its interval where there is one, and p-value, of the second system, by sacreBLEU's command line."""
    files = [folder / name for name in ("references", "one", "other")]
    for file, lines in zip(files, texts, strict=True):
        file.write_text("".join(line + "\n" for line in lines))
    command = [sys.executable, "-m", "sacrebleu", str(files[0]), "-i", *map(str, files[1:]), test, "-f", "text"]
    surroundings = {name: value for name, value in os.environ.items() if name != "SACREBLEU_SEED"}
    more = ["-m", "bleu", "chrf", "ter", "-w", "6"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, env=surroundings, check=True)
    lines = done.stdout.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("│") and str(files[2]) in line)
    scores, p_values = (
        re.findall(r"\d+\.\d+", line.partition("other")[2] or line) for line in lines[place : place + 2]
    )
    each = len(scores) // 3
    return {
        name: [*map(float, scores[each * at : each * (at + 1)]), float(p_values[at])] for at, name in enumerate(NAMES)
    }


@pytest.mark.parametrize(("test", "key"), [("--paired-bs", "p_bootstrap"), ("--paired-ar", "p_randomised")])
def test_the_numbers_are_those_of_sacrebleus_command_line(tmp_path: Path, test: str, key: str) -> None:
    references, one, other = corpus(101, (0.30, 0.27))
    expected = sacrebleu(tmp_path, test, references, one, other)
    for metric, name in zip((Bleu(), Chrf(), Ter()), NAMES, strict=True):
        base, system = (metric.statistics(rows_of(texts, references)) for texts in (one, other))
        score, *interval, p_value = expected[name]
        found = metric.scored(system, interval=True)
        assert found.value == pytest.approx(score, abs=1e-5)
        if interval:
            middle, half = interval
            assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-4)
        assert getattr(differ(metric, [system], [base]), key) == pytest.approx(p_value, abs=5.1e-5)


def right(random: np.random.Generator, rows: int, share: float) -> np.ndarray:
    return np.stack([(random.random(rows) < share).astype(float), np.ones(rows)], axis=1)


def ngrams(random: np.random.Generator, rows: int) -> np.ndarray:
    """Statistics of BLEU as some system might have them."""
    lengths = random.integers(4, 20, size=rows)
    found = np.stack([lengths - order for order in range(4)], axis=1)
    matched = random.binomial(found, [0.6, 0.4, 0.3, 0.2])
    return np.concatenate([lengths[:, None], lengths[:, None], matched, found], axis=1).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("metric", [ExactMatch(), Bleu()], ids=lambda metric: metric.name)
def test_two_systems_from_one_distribution_seldom_differ(metric: Metric) -> None:
    alarms, bootstrap = 0, 0
    for trial in range(400):
        random = np.random.default_rng(trial)
        one, other = (right(random, 60, 0.8) if isinstance(metric, ExactMatch) else ngrams(random, 60) for _ in "ab")
        found = differ(metric, [one], [other])
        alarms += found.p_randomised < 0.05
        bootstrap += found.p_bootstrap < 0.05
    assert alarms <= 0.07 * 400
    assert bootstrap > alarms, "the bootstrap of Moses is known to be too easily convinced; verdicts must not use it"


def test_a_difference_is_found_with_its_size_and_sign() -> None:
    random = np.random.default_rng(1)
    one, other = right(random, 2000, 0.80), right(random, 2000, 0.70)
    found = differ(ExactMatch(), [one], [other])
    assert found.p_randomised == 1 / (TRIALS + 1)
    assert found.low < found.difference < found.high
    assert found.difference == pytest.approx(10, abs=3)
    again = differ(ExactMatch(), [other], [one])
    assert again.difference == -found.difference
    assert (again.low, again.high) == pytest.approx((-found.high, -found.low))
    # The interval of a difference of shares (Wald).
    half = 196 * np.sqrt((0.8 * 0.2 + 0.7 * 0.3) / 2000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize("metric", [Bleu(), Chrf(), Ter(), Accuracy(), SpanF1()], ids=lambda metric: metric.name)
def test_a_system_does_not_differ_from_itself(metric: Metric) -> None:
    texts = ["B-a I-a O", "O O B-b"] * 10
    counts = metric.statistics(rows_of(texts, texts[::-1]))
    found = differ(metric, [counts], [counts])
    assert found[:3] == (0, 0, 0)
    assert found.p_randomised == 1


def test_few_rows_that_differ_are_judged_by_the_exact_test() -> None:
    """Of 9 rows in which one system alone is right it has 8: the sign test says 2 * (1 + 9) / 2 ** 9."""
    one, other = np.tile([[1.0, 1.0]], (40, 1)), np.tile([[1.0, 1.0]], (40, 1))
    other[:8, 0], one[8, 0] = 0, 0
    assert differ(ExactMatch(), [one], [other]).p_randomised == pytest.approx(20 / 512, abs=0.006)


def test_seeds_are_pooled_as_the_mean_of_their_scores() -> None:
    random = np.random.default_rng(2)
    one, two, three = (right(random, 300, share) for share in (0.9, 0.7, 0.75))
    found = differ(ExactMatch(), [one, two], [three])
    scores = [100 * counts[:, 0].mean() for counts in (one, two, three)]
    assert found.difference == pytest.approx((scores[0] + scores[1]) / 2 - scores[2])
    assert found.low < found.difference < found.high


def test_rows_of_one_speaker_are_drawn_together() -> None:
    """Of twenty speakers one is worse by far: rows alone would call that a difference of the systems."""
    references = ["a"] * 400
    texts = ["b" if row < 20 else "a" for row in range(400)]
    speakers = np.arange(400) // 20
    metric = ExactMatch()
    one, other = (metric.statistics(rows_of(side, references)) for side in (texts, references))
    assert differ(metric, [one], [other]).p_randomised < 0.001
    both = [clustered(side, speakers) for side in (one, other)]
    assert both[0].shape == (20, one.shape[1])
    assert both[0].sum(axis=0).tolist() == one.sum(axis=0).tolist()
    found = differ(metric, both[:1], both[1:])
    assert found.difference == -5
    assert found.p_randomised == 1.0
    assert found.high == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holms_correction(p_values: list[float]) -> None:
    found = adjusted(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = [min(1.0, (len(p_values) - rank) * p_values[place]) for rank, place in enumerate(order)]
    assert [found[place] for place in order] == np.maximum.accumulate(steps).tolist()


def test_a_thousand_resamples_of_a_thousand_sentences_take_less_than_a_second() -> None:
    random = np.random.default_rng(1)
    one, other = ngrams(random, 1000), ngrams(random, 1000)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        differ(Bleu(), [one], [other])
        times.append(time.perf_counter() - started)
    assert min(times) < 1
