"""The papers' networks: presets have the parameters that the papers' equations give, and train at 1/50 of the width."""

import re
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from jsonargparse import Namespace
from torch import nn

from seq2seq.cli import command
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.models.initial_values import draw
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation
from seq2seq.training.optimizers import SGD, Adadelta, Algorithm
from seq2seq.training.schedules import PlateauState, TrainingLength
from tests.support import PAIRS, ROOT, batch_of

FOLDER = ROOT / "configs" / "papers"
WIDTHS = ("embedding_size", "hidden_size", "attention_size", "readout_size")


def lstm(inputs: int, units: int) -> int:
    """Weights of a layer without its biases: four gates of the input and of the state."""
    return 4 * units * (inputs + units)


def gru(inputs: int, units: int) -> int:
    """The same with three."""
    return 3 * units * (inputs + units)


class Paper(NamedTuple):
    """What a paper says about the size of its network."""

    vocabulary: tuple[int, int]
    matrices: dict[str, int]
    """Weights of each part, without biases, as its equations give them."""
    more: dict[str, int]
    """What ours has more, or less; the preset says why."""
    printed: int | None = None
    """Parameters in all, where the paper gives the number."""
    tolerance: float = 0.001
    """Of the printed number, or of all matrices where there is none: what is left are biases, below 0.1 %."""


PAPERS = {
    # Section 3.4 prints 384 M and of these 64 M recurrent, 32 M on each side: matrices alone. Ours has 144,000 biases.
    "sutskever2014": Paper(
        (160_000, 80_000),
        {
            "source embedding": 160_000 * 1000,
            "encoder": 4 * lstm(1000, 1000),
            "target embedding": 80_000 * 1000,
            "decoder": 4 * lstm(1000, 1000),
            "output": 80_000 * 1000,
        },
        more={},
        printed=384_000_000,
    ),
    # Appendix A: c = tanh(V h), h' = tanh(V' c), of which ours has one; C in each gate, O_h, O_c and O_y for 500
    # units of maxout over two, and a G of rank 100, which in ours is a full matrix. No number is printed.
    "cho2014": Paper(
        (15_000, 15_000),
        {
            "source embedding": 15_000 * 100,
            "encoder": gru(100, 1000),
            "bridge": 2 * 1000 * 1000,
            "target embedding": 15_000 * 100,
            "decoder": gru(100 + 1000, 1000),
            "readout": 2 * 500 * (1000 + 1000 + 100),
            "output": 15_000 * 100 + 100 * 500,
        },
        more={"bridge": -1000 * 1000, "output": 15_000 * 500 - (15_000 * 100 + 100 * 500)},
        tolerance=0.002,  # a smaller network has relatively more biases: 29,000 beside 18 M
    ),
    # Appendix A.2: W_s reads the backward state alone, ours both directions. No number is printed.
    "bahdanau2015": Paper(
        (30_000, 30_000),
        {
            "source embedding": 30_000 * 620,
            "encoder": 2 * gru(620, 1000),
            "bridge": 1000 * 1000,
            "target embedding": 30_000 * 620,
            "attention": 1000 * 1000 + 1000 * 2000 + 1000,
            "decoder": gru(620 + 2000, 1000),
            "readout": 2 * 500 * (1000 + 620 + 2000),
            "output": 30_000 * 500,
        },
        more={"bridge": 1000 * 1000},
    ),
    # Sections 3 and 4.1: W_a, W_p and v_p of the attention, W_c of eq. 5, the bottom layer twice as wide for its
    # second input. No number is printed.
    "luong2015": Paper(
        (50_000, 50_000),
        {
            "source embedding": 50_000 * 1000,
            "encoder": 4 * lstm(1000, 1000),
            "target embedding": 50_000 * 1000,
            "attention": 1000 * 1000 + 1000 * 1000 + 1000,
            "decoder": lstm(2000, 1000) + 3 * lstm(1000, 1000),
            "readout": 2000 * 1000,
            "output": 50_000 * 1000,
        },
        more={},
    ),
    # Section 6 prints 21,499,600 for the baseline, 1,153 more for the pointer, 512 for coverage. The paper and its
    # code: one embedding; [x; context] is mapped to 128 before the decoder's LSTM, where ours gives it x and what the
    # output saw; the attention reads both states of the LSTM (512), ours the first (256), and so does the pointer.
    # Left are a second bias of each gate in torch (3,072) without that of the map to 128: 0.014 %.
    "see2017": Paper(
        (50_000, 50_000),
        {
            "source embedding": 50_000 * 128,
            "encoder": 2 * lstm(128, 256),
            "bridge": 2 * 512 * 256,
            "attention": 512 * 512 + 512 * 512 + 512 + 512,
            "decoder": (128 + 512) * 128 + lstm(128, 256),
            "readout": (512 + 256) * 256,
            "output": 50_000 * 256,
            "pointer": 512 + 256 + 256 + 128,
        },
        more={
            "attention": -256 * 512,
            "decoder": lstm(128 + 256, 256) - lstm(128, 256) - (128 + 512) * 128,
            "pointer": -256,
        },
        printed=21_499_600 + 1_153 + 512,
        tolerance=0.0002,
    ),
    # Table 4 prints 378.9 M, rounded to 0.03 %; biases, gains and shifts are what it counts besides matrices. Section
    # 3: 2 x 1024 units a layer, projected to 1024 on top; every layer of the decoder and the output see the context.
    # Ours makes keys and values from the 2048, one map of 1024 x 1024 more.
    "rnmtplus2018": Paper(
        (32_000, 32_000),
        {
            "source embedding": 32_000 * 1024,
            "encoder": 2 * (lstm(1024, 1024) + 5 * lstm(2048, 1024)),
            "target embedding": 32_000 * 1024,
            "attention": 2048 * 1024 + 1024 * 1024 + 1024 * 1024 + 1024,
            "decoder": 8 * lstm(1024 + 1024, 1024),
            "output": 32_000 * (1024 + 1024),
        },
        more={"attention": 1024 * 1024},
        printed=378_900_000,
    ),
}

every = pytest.mark.parametrize("name", PAPERS)


@cache
def parsed(name: str, *arguments: str) -> tuple[Namespace, dict[str, Any]]:
    """A preset as objects and as plain values."""
    parser = command.training_parser()
    config = command.parse(parser, ["--config", str(FOLDER / f"{name}.yaml"), *arguments])
    return command.instantiate(parser, config), command.plain_settings(parser, config)


def published(parts: Namespace) -> Tokenizers:
    """As much of two tokenizers as a network is built from: as many tokens as the preset lets them have."""
    kinds = (parts.data.tokenizer, parts.data.target_tokenizer or parts.data.tokenizer)
    sizes = [vars(kind).get("max_size") or kind.vocabulary_size for kind in kinds]
    source, target = (SimpleNamespace(sizes=(size,), width=None, unwritable=np.arange(3)) for size in sizes)
    return Tokenizers(source, source if parts.data.shared_vocabulary else target)  # type: ignore[arg-type]


def matrices(task: Translation) -> dict[str, int]:
    """Weights of each part of a network without biases, gains and shifts; what two parts share counts once."""
    encoder, decoder = task.network.encoder, task.network.decoder
    parts: dict[str, list[nn.Module | None]] = {
        "source embedding": [encoder.embedding],
        "encoder": [encoder.recurrent],
        "bridge": [task.network.bridge],
        "target embedding": [] if decoder.embedding is encoder.embedding else [decoder.embedding],
        "attention": [decoder.attention],
        "decoder": [decoder.recurrent, decoder.above],
        "readout": [decoder.readout],
        "output": [decoder.output],
        "pointer": [decoder.pointer],
    }
    counts = {
        name: sum(p.numel() for one in part if one is not None for p in one.parameters() if p.dim() > 1)
        for name, part in parts.items()
    }
    return {name: count for name, count in counts.items() if count}


def test_there_is_a_paper_for_each_preset() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(PAPERS)


@every
def test_parameters_are_those_of_the_paper(name: str) -> None:
    paper = PAPERS[name]
    parts, _ = parsed(name)
    tokenizers = published(parts)
    assert (tokenizers.source.sizes[0], tokenizers.target.sizes[0]) == paper.vocabulary
    with torch.device("meta"):
        task = Translation(tokenizers, **vars(parts.model))
    assert all(parameter.is_meta for parameter in task.parameters())
    assert matrices(task) == {part: count + paper.more.get(part, 0) for part, count in paper.matrices.items()}
    expected = paper.printed or sum(paper.matrices.values())
    total = sum(parameter.numel() for parameter in task.parameters()) - sum(paper.more.values())
    assert total == pytest.approx(expected, rel=paper.tolerance)


def test_the_pointer_generator_is_counted_to_the_last_parameter() -> None:
    """The equations in `PAPERS` with the biases of the authors' code give the printed number itself."""
    paper = PAPERS["see2017"]
    biases = 2 * 4 * 256 + 2 * 256 + 128 + 4 * 256 + 512 + 256 + 50_000 + 1
    assert sum(paper.matrices.values()) + biases == paper.printed


@every
def test_a_preset_says_what_to_expect(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
    for needed in (r"arXiv", r"Published: .*(BLEU|ROUGE)", r"(hours|days)", r"Not run at this size here", r"Differs: "):
        assert re.search(needed, comment), needed
    parts, settings = parsed(name)
    assert settings["data"]["corpus"]["class_path"] == "Hub"
    assert parts.data.path is None


def test_documented_commands_are_understood() -> None:
    """Those that would download something; tests/test_docs.py runs the others."""
    page = (FOLDER.parents[1] / "docs" / "papers.md").read_text()
    lines = "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).splitlines()
    assert len(lines) == 3
    for line in lines:
        program, _, arguments = line.partition(" --config configs/papers/")
        assert program == "python -m seq2seq.train"
        name, *rest = arguments.split()
        parts, _ = parsed(name.removesuffix(".yaml"), *rest)
        assert parts.data.corpus.configuration == (None if "multi30k" in line else "de-en")


class Training(NamedTuple):
    """How a paper trains, for a loss of a sentence (a sum over its tokens, a mean over sentences)."""

    algorithm: Algorithm
    rate: float
    clip: float
    tokens: int
    """In a sentence of the target."""


TRAININGS = {
    "sutskever2014": Training(SGD(), 0.7, 5.0, 30),
    "cho2014": Training(Adadelta(0.95, 1e-6), 1.0, 1.0, 25),
    "bahdanau2015": Training(Adadelta(0.95, 1e-6), 1.0, 1.0, 25),
    "luong2015": Training(SGD(), 1.0, 5.0, 25),
}


@pytest.mark.parametrize("size", [0.01, 10.0])
@pytest.mark.parametrize("name", TRAININGS)
def test_steps_are_those_of_the_paper(name: str, size: float) -> None:
    """A loss of a token has 1 / tokens of the gradient; the preset's rate, clip and stabiliser make up for it."""
    paper = TRAININGS[name]
    parts, _ = parsed(name)
    gradients = size * torch.randn(5, 7)
    moved = []
    for algorithm, rate, clip, scale in (
        (paper.algorithm, paper.rate, paper.clip, 1.0),
        (parts.optimizer.algorithm, parts.optimizer.learning_rate, parts.trainer.gradient_clip_val, 1 / paper.tokens),
    ):
        parameter = nn.Parameter(torch.zeros(7))
        optimizer = algorithm.optimizer([parameter], rate)
        for gradient in gradients:
            parameter.grad = scale * gradient
            nn.utils.clip_grad_norm_([parameter], clip)
            optimizer.step()
        moved.append(parameter.detach())
    assert moved[0].abs().min() > 0
    torch.testing.assert_close(moved[1], moved[0], rtol=0.005, atol=0)  # the presets' numbers have three digits


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("sutskever2014", {0: 1, 4.9: 1, 5.1: 1 / 2, 5.6: 1 / 4, 7.4: 1 / 32}),  # sec. 3.4
        ("luong2015", {0: 1, 7.9: 1, 8.1: 1 / 2, 9.1: 1 / 4, 11.9: 1 / 16}),  # sec. 4.1, with dropout
        ("bahdanau2015", {0: 1, 4.9: 1}),
        ("see2017", {0: 1, 12.9: 1}),
    ],
)
def test_schedules_are_those_of_the_paper(name: str, rates: dict[float, float]) -> None:
    options = parsed(name)[0].optimizer
    course = TrainingLength(options.warmup_steps or 0, 12_000, 1000)
    for epoch, share in rates.items():
        assert options.schedule.rate(
            options.learning_rate, round(epoch * 1000), course, PlateauState()
        ) == pytest.approx(share * options.learning_rate)


def test_the_schedule_of_rnmt_rises_to_32_times_its_beginning_and_falls() -> None:
    parts, _ = parsed("rnmtplus2018")
    course = TrainingLength(parts.optimizer.warmup_steps or 0, parts.trainer.max_steps, 1100)
    rates = [
        parts.optimizer.schedule.rate(parts.optimizer.learning_rate, step, course, PlateauState())
        for step in range(0, 37_500, 100)
    ]
    assert rates[160] == pytest.approx(32 * 1e-4) == max(rates)
    assert rates[:161] == sorted(rates[:161])
    assert rates[160:] == sorted(rates[160:], reverse=True)
    assert rates[-1] < 1e-4


def narrow(settings: dict[str, Any], prefix: str = "--model") -> Iterator[str]:
    """Arguments that make every width 1/50 of what it is, rounded to multiples of four for heads and directions."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from narrow(value.get("init_args", value), f"{prefix}.{name}")
        elif name in WIDTHS and value is not None:
            yield from (f"{prefix}.{name}", str(max(4, 4 * round(value / 200))))


@every
def test_a_narrow_one_takes_a_step_and_decodes(name: str, tokenizers: Tokenizers) -> None:
    parts, settings = parsed(name, *narrow(parsed(name)[1]["model"]))
    assert settings["model"]["hidden_size"] <= 20
    if parts.data.shared_vocabulary:
        tokenizers = Tokenizers(tokenizers.source, tokenizers.source)
    task = Translation(tokenizers, **vars(parts.model))
    draw(task)
    batch = batch_of(PAIRS[:6], tokenizers)
    tokens = int(batch.target_lengths.sum()) - len(batch.rows)
    before = task.eval().loss(batch).item() / tokens
    optimizer = parts.optimizer.algorithm.optimizer(task.parameters(), parts.optimizer.learning_rate)
    losses = []
    for _ in range(5):  # the first step of a narrow network with dropout may miss
        optimizer.zero_grad()
        (task.train().loss(batch) / tokens).backward()
        assert all(parameter.grad is not None for parameter in task.parameters()), "a part is built and not used"
        nn.utils.clip_grad_norm_(task.parameters(), parts.trainer.gradient_clip_val, error_if_nonfinite=True)
        optimizer.step()
        losses.append(task.eval().loss(batch).item() / tokens)
    assert min(losses) < before
    decoding = Decoding(beam_size=1, max_length_ratio=0.2)
    best = [hypotheses[0] for hypotheses in task.predict(batch, decoding)]
    assert len(best) == len(batch.rows)
    for one, limit in zip(best, decoding.limits(batch.source_lengths).tolist(), strict=True):
        assert -torch.inf < one.score < 0
        assert len(one.tokens) <= limit
        assert task.text(one).count("\n") == 0
