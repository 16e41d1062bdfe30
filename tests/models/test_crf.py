"""CRF: equal to enumerating all sequences, exact gradients, blind to padding and neighbours, never against rules."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

from seq2seq.errors import InputError
from seq2seq.models.crf import ConditionalRandomField, constraints

LENGTHS = torch.tensor([4, 1, 0, 3, 2])
TAGS = 4
Scheme = Literal["BIO", "BIOES"]
Masks = tuple[Tensor | None, Tensor | None, Tensor | None]


def dead_end() -> Masks:
    """Nothing may follow tag 1, which cannot be last; nothing leads to tag 2, which cannot be first."""
    start, end, allowed = torch.ones(4) > 0, torch.ones(4) > 0, torch.ones(4, 4) > 0
    start[2] = end[1] = False
    allowed[1] = allowed[:, 2] = False
    return start, end, allowed


MASKS: dict[str, Masks] = {
    "free": (None, None, None),
    "BIO": constraints(["O", "B-x", "I-x", "I-y"], "BIO"),
    "BIOES": constraints(["O", "B-x", "E-x", "S-y"], "BIOES"),
    "dead end": dead_end(),
    "one step only": (None, None, torch.zeros(4, 4) > 0),
    "nothing": (torch.zeros(4) > 0, None, None),
}
every_mask = pytest.mark.parametrize("name", MASKS)


def field(name: str) -> ConditionalRandomField:
    """With parameters large enough to matter, in double."""
    made = ConditionalRandomField(TAGS, *MASKS[name]).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def case(name: str) -> tuple[ConditionalRandomField, Tensor, Tensor]:
    """A field, emissions and tags, which mostly break the rules."""
    emissions = 2 * torch.randn(len(LENGTHS), int(LENGTHS.max()), TAGS, dtype=torch.double)
    return field(name), emissions, torch.randint(TAGS, emissions.shape[:2])


class Truth(NamedTuple):
    """What enumerating the sequences of one row gives."""

    scores: dict[tuple[int, ...], float]
    """Of each allowed one."""

    @property
    def log_partition(self) -> float:
        return math.log(sum(map(math.exp, self.scores.values()))) if self.scores else -math.inf


def score_of(crf: ConditionalRandomField, emissions: Tensor, tags: tuple[int, ...]) -> tuple[float, bool]:
    """A sequence's score, in which what is forbidden counts zero, and whether all of it is allowed."""
    first, last, between = (parameter.detach() for parameter in (crf.start, crf.end, crf.transitions))
    parts = [(float(emissions[time, tag]), True) for time, tag in enumerate(tags)]
    parts += [(float(first[tag]), bool(crf.start_allowed[tag])) for tag in tags[:1]]
    parts += [(float(last[tag]), bool(crf.end_allowed[tag])) for tag in tags[-1:]]
    parts += [(float(between[pair]), bool(crf.allowed[pair])) for pair in itertools.pairwise(tags)]
    return sum(value for value, legal in parts if legal), all(legal for _, legal in parts)


def truth(crf: ConditionalRandomField, emissions: Tensor, length: int) -> Truth:
    """Of one row's emissions (T, C)."""
    found = {tags: score_of(crf, emissions, tags) for tags in itertools.product(range(TAGS), repeat=length)}
    return Truth({tags: score for tags, (score, legal) in found.items() if legal})


@every_mask
def test_log_partition_and_scores_equal_enumeration(name: str) -> None:
    crf, emissions, tags = case(name)
    sums, scores = crf.log_partition(emissions, LENGTHS), crf.score(emissions, tags, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert sums[row].item() == pytest.approx(truth(crf, emissions[row], length).log_partition)
        score, legal = score_of(crf, emissions[row], tuple(tags[row, :length].tolist()))
        assert scores[row].item() == pytest.approx(score if legal else -math.inf)
        assert crf.broken(tags, LENGTHS)[row].item() is not legal


@every_mask
def test_loss_equals_enumeration(name: str) -> None:
    """Also where the reference breaks the rules: it then competes with all that keep them."""
    crf, emissions, tags = case(name)
    expected = 0.0
    for row, length in enumerate(LENGTHS.tolist()):
        reference = tuple(tags[row, :length].tolist())
        score, _ = score_of(crf, emissions[row], reference)
        candidates = {**truth(crf, emissions[row], length).scores, reference: score}
        expected += math.log(sum(map(math.exp, candidates.values()))) - score
    assert crf.loss(emissions, tags, LENGTHS).item() == pytest.approx(expected)


@every_mask
@pytest.mark.parametrize("count", [1, 3, 300])
def test_best_sequences_equal_enumeration(name: str, count: int) -> None:
    crf, emissions, _ = case(name)
    tags, log_probs = crf.best(emissions, LENGTHS, count)
    assert tags.shape == (5, count, 4)
    assert log_probs.shape == (5, count)
    for row, length in enumerate(LENGTHS.tolist()):
        real = truth(crf, emissions[row], length)
        ranked = sorted(real.scores, key=real.scores.__getitem__, reverse=True)[:count]
        expected = [real.scores[one] - real.log_partition for one in ranked]
        assert log_probs[row].tolist() == pytest.approx(expected + [-math.inf] * (count - len(ranked)))
        padded = [list(one) + [0] * (4 - length) for one in ranked]
        assert tags[row].tolist() == padded + [[0] * 4] * (count - len(ranked))


@every_mask
def test_marginals_equal_enumeration(name: str) -> None:
    crf, emissions, _ = case(name)
    found = crf.marginals(emissions, LENGTHS)
    expected = torch.zeros_like(emissions)
    for row, length in enumerate(LENGTHS.tolist()):
        real = truth(crf, emissions[row], length)
        for tags, score in real.scores.items():
            for time, tag in enumerate(tags):
                expected[row, time, tag] += math.exp(score - real.log_partition)
    torch.testing.assert_close(found, expected)


@every_mask
def test_gradients_are_exact(name: str) -> None:
    crf, emissions, tags = case(name)
    inputs = (emissions.requires_grad_(), crf.start, crf.transitions, crf.end)

    def loss(emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
        values = {"start": start, "transitions": transitions, "end": end}
        return torch.func.functional_call(Loss(crf), {f"crf.{k}": v for k, v in values.items()}, (emissions, tags))

    assert torch.autograd.gradcheck(loss, inputs)
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    forbidden = zip(gradients[1:], (crf.start_allowed, crf.allowed, crf.end_allowed), strict=True)
    assert all(gradient[~mask].eq(0).all() for gradient, mask in forbidden)


class Loss(torch.nn.Module):
    """The loss as a module's forward."""

    def __init__(self, crf: ConditionalRandomField) -> None:
        super().__init__()
        self.crf = crf

    def forward(self, emissions: Tensor, tags: Tensor) -> Tensor:
        return self.crf.loss(emissions, tags, LENGTHS)


@every_mask
def test_single_precision_and_large_scores_give_no_nan(name: str) -> None:
    crf, emissions, tags = case(name)
    crf = crf.float()
    emissions = (3e4 * emissions).float().requires_grad_()
    loss = crf.loss(emissions, tags, LENGTHS)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert loss > -0.1  # of scores near 1e5, which 32 bits round
    assert all(one.grad is not None and one.grad.isfinite().all() for one in (emissions, *crf.parameters()))
    assert crf.marginals(emissions, LENGTHS).isfinite().all()
    assert not crf.best(emissions, LENGTHS, 3)[1].isnan().any()


def everything(crf: ConditionalRandomField, emissions: Tensor, tags: Tensor, lengths: Tensor) -> list[Tensor]:
    """All that is computed for each row, without the padded steps of longer rows."""
    best, log_probs = crf.best(emissions, lengths, 3)
    values = [crf.log_partition(emissions, lengths), crf.score(emissions, tags, lengths), log_probs]
    steps = int(lengths.max())
    return [*values, best[:, :, :steps], crf.marginals(emissions, lengths)[:, :steps]]


@every_mask
def test_padding_does_not_matter(name: str) -> None:
    crf, emissions, tags = case(name)
    padding = torch.arange(4) >= LENGTHS.unsqueeze(1)
    expected, loss = everything(crf, emissions, tags, LENGTHS), crf.loss(emissions, tags, LENGTHS)
    worse = torch.cat(
        (emissions.masked_fill(padding.unsqueeze(2), torch.nan), torch.full_like(emissions, torch.inf)), 1
    )
    other = torch.cat((tags.masked_fill(padding, -100), torch.full_like(tags, 9)), 1)
    torch.testing.assert_close(everything(crf, worse, other, LENGTHS), expected, rtol=0, atol=0)
    worse.requires_grad_()
    again = crf.loss(worse, other, LENGTHS)
    torch.testing.assert_close(again, loss, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(again, worse)
    assert gradient[:, 4:].eq(0).all()
    assert gradient[:, :4][padding].eq(0).all()


@every_mask
def test_neighbours_do_not_matter(name: str) -> None:
    crf, emissions, tags = case(name)
    expected = everything(crf, emissions, tags, LENGTHS)
    order = torch.tensor([3, 0, 4, 4, 1, 2])
    found = everything(crf, emissions[order], tags[order], LENGTHS[order])
    torch.testing.assert_close(found, [one[order] for one in expected])
    total = torch.zeros((), dtype=torch.double)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = (emissions[row : row + 1, :length], tags[row : row + 1, :length], LENGTHS[row : row + 1])
        total = total + crf.loss(*alone)
        found = everything(crf, *alone)
        torch.testing.assert_close(found[:3], [one[row : row + 1] for one in expected[:3]])
        torch.testing.assert_close(found[3], expected[3][row : row + 1, :, :length])
        torch.testing.assert_close(found[4], expected[4][row : row + 1, :length])
    torch.testing.assert_close(crf.loss(emissions, tags, LENGTHS), total)


def test_autocast_and_half_precision_lose_nothing() -> None:
    crf, emissions, tags = case("BIO")
    crf, rough = crf.float(), emissions.bfloat16()
    exact = [*everything(crf, rough.float(), tags, LENGTHS), crf.loss(rough.float(), tags, LENGTHS)]
    with torch.autocast("cpu", torch.bfloat16):
        found = [*everything(crf, rough, tags, LENGTHS), crf.loss(rough, tags, LENGTHS)]
    torch.testing.assert_close(found, exact, rtol=0, atol=0)
    assert {one.dtype for one in found} == {torch.float32, torch.int64}


def test_inference_mode() -> None:
    crf, emissions, tags = case("BIO")
    with torch.inference_mode():
        found = everything(crf, emissions, tags, LENGTHS)
    torch.testing.assert_close(found, everything(crf, emissions, tags, LENGTHS), rtol=0, atol=0)


class Calls(TorchFunctionMode):
    """Counts what torch is asked to do."""

    def __init__(self) -> None:
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_more_rows_need_no_more_calls() -> None:
    counts = []
    for rows in (2, 50):
        crf, lengths = field("BIO"), torch.full((rows,), 5)
        emissions, tags = torch.randn(rows, 5, TAGS), torch.zeros(rows, 5, dtype=torch.long)
        with Calls() as calls:
            everything(crf, emissions, tags, lengths)
            crf.loss(emissions, tags, lengths)
        counts.append(calls.count)
    assert counts[0] == counts[1] > 0


def follows(labels: tuple[str, ...], scheme: Scheme) -> bool:
    """Whether labels are spans by the scheme, as a regular expression says it."""
    text = "".join(f"{label.replace('L-', 'E-').replace('U-', 'S-')} " for label in labels)
    span = "|".join(
        f"B-{kind} (I-{kind} )*(E-{kind} )?" if scheme == "BIO" else f"B-{kind} (I-{kind} )*E-{kind} " for kind in "xy"
    )
    return re.fullmatch(f"(O |S-x |S-y |{span})*", text) is not None


SETS: list[tuple[Scheme, list[str]]] = [
    ("BIO", ["O", "B-x", "I-x", "B-y", "I-y"]),
    ("BIO", ["I-y", "S-x", "E-x", "B-x", "O"]),
    ("BIOES", ["O", "B-x", "I-x", "E-x", "S-x", "B-y", "E-y"]),
    ("BIOES", ["U-x", "L-x", "I-x", "B-x", "L-y", "B-y", "O"]),
]


@pytest.mark.parametrize(("scheme", "labels"), SETS)
def test_constraints_are_the_scheme(scheme: Scheme, labels: list[str]) -> None:
    crf = ConditionalRandomField(len(labels), *constraints(labels, scheme))
    for length in (1, 2, 3, 4):
        tags = torch.tensor(list(itertools.product(range(len(labels)), repeat=length)))
        broken = crf.broken(tags, torch.full((len(tags),), length))
        expected = [not follows(tuple(labels[tag] for tag in row), scheme) for row in tags.tolist()]
        assert broken.tolist() == expected
        assert {True, False} == set(expected)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SETS), st.integers(0, 1 << 30), st.integers(1, 12), st.sampled_from([0.1, 1.0, 100.0]))
def test_no_decoded_sequence_breaks_the_scheme(
    chosen: tuple[Scheme, list[str]], seed: int, steps: int, scale: float
) -> None:
    scheme, labels = chosen
    generator = torch.Generator().manual_seed(seed)
    crf = ConditionalRandomField(len(labels), *constraints(labels, scheme))
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, std=scale, generator=generator)
    emissions = scale * torch.randn(6, steps, len(labels), generator=generator)
    lengths = torch.randint(steps + 1, (6,), generator=generator)
    tags, log_probs = crf.best(emissions, lengths, 4)
    assert log_probs[:, 0].isfinite().all()  # O is always possible
    for row, length in enumerate(lengths.tolist()):
        for rank in range(4):
            if log_probs[row, rank] > -math.inf:
                found = tuple(labels[tag] for tag in tags[row, rank, :length].tolist())
                assert follows(found, scheme), found


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_other_labels_are_unrestricted(scheme: Scheme) -> None:
    labels = ["NOUN", "B-x", "I-x", "O", "Bx"]
    start, end, allowed = constraints(labels, scheme)
    for label in (0, 4):
        assert start[label]
        assert end[label]
        assert allowed[label].all()
        assert allowed[:, label].all()
    assert not start[2]
    assert not allowed[3, 2]
    assert allowed[1].tolist() == [True, scheme == "BIO", True, scheme == "BIO", True]
    nouns = constraints(["NOUN", "VERB"], scheme)
    assert all(mask.all() for mask in nouns)


def test_a_batch_of_nothing() -> None:
    crf, lengths = field("BIO"), torch.zeros(2, dtype=torch.long)
    emissions, tags = torch.zeros(2, 0, TAGS, dtype=torch.double), torch.zeros(2, 0, dtype=torch.long)
    assert crf.loss(emissions, tags, lengths).item() == 0
    found, log_probs = crf.best(emissions, lengths, 2)
    assert found.shape == (2, 2, 0)
    assert log_probs.tolist() == [[0, -math.inf]] * 2
    assert crf.marginals(emissions, lengths).shape == emissions.shape


def test_only_parameters_are_stored() -> None:
    assert set(field("BIO").state_dict()) == {"start", "end", "transitions"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConditionalRandomField(0), "tags is 0"),
        (lambda: ConditionalRandomField(3, *MASKS["BIO"]), r"start_allowed .*\(4,\).* 3 .*\(3,\)"),
        (lambda: ConditionalRandomField(4, None, None, torch.ones(4, 4)), "allowed .*float32"),
        (lambda: field("free").best(torch.zeros(1, 1, 4), torch.ones(1), 0), "count is 0"),
        (lambda: constraints(["O"], "IOB1"), "IOB1.*BIO or BIOES"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
