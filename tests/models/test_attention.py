"""Attention: equal to the papers' equations, blind to padding and neighbours, exact gradients."""

import copy
import json

import pytest
import torch
from torch import Tensor

from seq2seq.configurable import build
from seq2seq.errors import InputError
from seq2seq.models import attention as module
from seq2seq.models.attention import (
    Additive,
    Attention,
    Dot,
    General,
    LocalP,
    Location,
    MultiHeadAdditive,
    Normalizer,
    ScaledDot,
    normalize,
)
from tests.models.oracle_attention import attend

QUERY, LENGTHS = 6, [7, 1, 4]
ANY_SIZE = [General(), Additive(5), Additive(5, coverage=True), Location(4), LocalP(2), MultiHeadAdditive(2, 4)]
EQUAL_SIZE = [Dot(), ScaledDot(), LocalP(2, "dot")]
NORMALIZERS: list[Normalizer] = ["softmax", "sparsemax", "entmax15"]


def with_normalizer(attention: Attention, normalizer: Normalizer) -> Attention:
    other = copy.copy(attention)
    other.normalizer = normalizer
    return other


KINDS = [with_normalizer(one, normalizer) for one in EQUAL_SIZE + ANY_SIZE for normalizer in NORMALIZERS]
every_kind = pytest.mark.parametrize("attention", KINDS, ids=repr)


def sizes(attention: Attention) -> tuple[int, int]:
    """Of the queries and of the memory: unequal wherever a kind can."""
    equal = isinstance(attention, (Dot, ScaledDot)) or (isinstance(attention, LocalP) and attention.score == "dot")
    return QUERY, QUERY if equal else 3


def case(
    attention: Attention, kind: torch.dtype = torch.double
) -> tuple[Attention, Tensor, Tensor, Tensor, Tensor | None]:
    """A built attention with weights large enough to matter; queries, values, padding and coverage."""
    query_size, memory_size = sizes(attention)
    scorer = attention.build(query_size, memory_size).to(kind)
    for parameter in scorer.parameters():
        torch.nn.init.normal_(parameter)
    queries = torch.randn(len(LENGTHS), 5, query_size, dtype=kind)
    values = torch.randn(len(LENGTHS), max(LENGTHS), memory_size, dtype=kind)
    padding = torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS).unsqueeze(1)
    coverage = 3 * torch.rand(len(LENGTHS), 5, max(LENGTHS), dtype=kind) if attention.coverage else None
    return scorer, queries, values, padding, coverage


@every_kind
def test_equal_to_the_papers_equations(attention: Attention) -> None:
    scorer, queries, values, padding, coverage = case(attention)
    contexts, weights = scorer(queries, scorer.memory(values, padding), coverage)
    assert contexts.shape == (3, 5, scorer.context_size)
    parameters = {name: tensor.numpy() for name, tensor in scorer.state_dict().items()}
    for row, length in enumerate(LENGTHS):
        for time in range(5):
            seen = None if coverage is None else coverage[row, time, :length].numpy()
            context, weight = attend(
                attention, parameters, queries[row, time].numpy(), values[row, :length].numpy(), seen
            )
            torch.testing.assert_close(contexts[row, time], torch.from_numpy(context), rtol=0, atol=1e-9)
            torch.testing.assert_close(weights[row, time, :length], torch.from_numpy(weight), rtol=0, atol=1e-9)


@every_kind
def test_padding_does_not_matter(attention: Attention) -> None:
    scorer, queries, values, padding, coverage = case(attention)
    contexts, weights = scorer(queries, scorer.memory(values, padding), coverage)
    assert weights[padding.unsqueeze(1).expand_as(weights)].eq(0).all()
    garbage = values.masked_fill(padding.unsqueeze(-1), 1e4)
    longer = torch.cat((garbage, torch.full_like(garbage, -1e4)), 1)
    hidden = torch.cat((padding, torch.ones_like(padding)), 1)
    seen = None if coverage is None else torch.cat((coverage.masked_fill(padding.unsqueeze(1), 9), coverage), 2)
    again, more = scorer(queries, scorer.memory(longer, hidden), seen)
    torch.testing.assert_close(again, contexts)
    torch.testing.assert_close(more, torch.cat((weights, torch.zeros_like(weights)), 2))


@every_kind
def test_neighbours_do_not_matter(attention: Attention) -> None:
    """A source alone, and queries in another order, see what they see in the batch; so does a selected memory."""
    scorer, queries, values, padding, coverage = case(attention)
    memory = scorer.memory(values, padding)
    expected = scorer(queries, memory, coverage)
    order, turned = torch.tensor([2, 0, 0, 1]), torch.tensor([4, 1, 0, 3, 2])
    seen = None if coverage is None else coverage[order][:, turned]
    for some in (memory.select(order), scorer.memory(values[order], padding[order])):
        found = scorer(queries[order][:, turned], some, seen)
        torch.testing.assert_close(found, tuple(tensor[order][:, turned] for tensor in expected))
    for row, length in enumerate(LENGTHS):
        alone = scorer.memory(values[row : row + 1, :length], padding[row : row + 1, :length])
        seen = None if coverage is None else coverage[row : row + 1, 2:3, :length]
        context, weights = scorer(queries[row : row + 1, 2:3], alone, seen)
        torch.testing.assert_close(context[0, 0], expected[0][row, 2])
        torch.testing.assert_close(weights[0, 0], expected[1][row, 2, :length])


class Whole(torch.nn.Module):
    """From values to contexts, keys included."""

    def __init__(self, inner: Attention) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, queries: Tensor, values: Tensor, padding: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.inner(queries, self.inner.memory(values, padding), seen)
        return found


@every_kind
def test_gradients_are_exact(attention: Attention) -> None:
    scorer, queries, values, padding, coverage = case(attention)
    names = [f"inner.{name}" for name, _ in scorer.named_parameters()]
    whole = Whole(scorer)

    def run(queries: Tensor, values: Tensor, seen: Tensor | None, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        state = dict(zip(names, parameters, strict=True))
        found: tuple[Tensor, Tensor] = torch.func.functional_call(whole, state, (queries, values, padding, seen))
        return found

    leaves = [queries[:, :2], values, None if coverage is None else coverage[:, :2], *scorer.parameters()]
    inputs = [None if leaf is None else leaf.detach().clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(run, inputs)


@every_kind
def test_weights_are_a_distribution(attention: Attention) -> None:
    """Over real tokens, also over a single one; only the Gaussian of LocalP makes them less."""
    scorer, queries, values, padding, coverage = case(attention, torch.float32)
    _, weights = scorer(queries, scorer.memory(values, padding), coverage)
    assert weights.ge(0).all()
    total = weights.sum(-1)
    if isinstance(attention, LocalP):
        assert total.gt(0).all()
        assert total.lt(1).all()
    else:
        torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_scores_of_any_size_give_finite_weights_and_gradients(normalizer: Normalizer) -> None:
    scores = torch.tensor([[0.0, 1.0, 5e19], [-3e38, 3e38, 1.0], [1e4, 1e4 + 0.5, -torch.inf]], requires_grad=True)
    padding = torch.tensor([[False, False, True], [False, False, True], [False, False, False]])
    weights = normalize(scores, padding, normalizer)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    torch.testing.assert_close(
        weights[:2],
        normalize(torch.tensor([[0.0, 1.0, 0.0], [0.0, 9.0, 0.0]]), padding[:2], normalizer),
        rtol=0,
        atol=1e-3,
    )
    assert weights[0, 2] == weights[2, 2] == 0
    (weights * torch.arange(3)).sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("attention", EQUAL_SIZE + ANY_SIZE, ids=repr)
def test_sparse_normalizers_give_exact_zeros(attention: Attention) -> None:
    zeros = []
    for normalizer in NORMALIZERS:
        torch.manual_seed(1)
        scorer, queries, values, padding, coverage = case(with_normalizer(attention, normalizer))
        with torch.no_grad():
            for name, parameter in scorer.named_parameters():
                parameter *= 40 if name.startswith("vector") else 4  # scores far apart, so that no luck is needed
        weights = scorer.weights(2 * queries, scorer.memory(values, padding), coverage)  # of each head
        zeros.append(int(weights[0].eq(0).sum()))  # the first source has no padding
    assert zeros[0] < zeros[2] <= zeros[1]


@every_kind
def test_bfloat16_is_close(attention: Attention) -> None:
    if isinstance(attention, LocalP):  # a window without an edge, which a rounded position would cross
        attention = LocalP(20, attention.score, attention.normalizer)
    scorer, queries, values, padding, coverage = case(attention, torch.float32)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter *= 0.5
    queries = (queries / 2).requires_grad_()
    exact = scorer(queries, scorer.memory(values, padding), coverage)
    with torch.autocast("cpu", torch.bfloat16):
        rough = scorer(queries, scorer.memory(values, padding), coverage)
    assert rough[1].dtype == torch.float32
    torch.testing.assert_close(rough[1], exact[1], rtol=0, atol=0.03)
    torch.testing.assert_close(rough[0].float(), exact[0], rtol=0, atol=0.1)
    gradients = [torch.autograd.grad(contexts.float().square().sum(), queries)[0] for contexts, _ in (rough, exact)]
    if attention.normalizer == "softmax":
        assert (gradients[0] - gradients[1]).norm() < 0.1 * gradients[1].norm() + 1e-6


@pytest.mark.parametrize("attention", [a for a in KINDS if isinstance(a, (Additive, MultiHeadAdditive))], ids=repr)
@pytest.mark.parametrize("limit", [1, 300])
def test_pieces_change_nothing_but_memory(attention: Attention, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, queries, values, padding, coverage = case(attention)
    values.requires_grad_()
    size = attention.attention_size * queries.shape[1] * padding.numel()  # type: ignore[attr-defined]
    found, largest = [], []
    for some in (size, limit):
        monkeypatch.setitem(module.CHUNK, "cpu", some)
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one, kept=kept: kept.append(one.numel()) or one, lambda one: one
        ):  # type: ignore[misc]
            contexts, weights = scorer(queries, scorer.memory(values, padding), coverage)
        with torch.no_grad():
            torch.testing.assert_close(scorer(queries, scorer.memory(values, padding), coverage), (contexts, weights))
        loss = contexts.square().sum() + weights.square().sum()
        found.append((contexts, weights, *torch.autograd.grad(loss, [values, *scorer.parameters()])))
        largest.append(max(kept))
    torch.testing.assert_close(found[1], found[0])
    assert largest[1] < size <= largest[0]


def test_coverage_starts_at_zero_and_is_refused_elsewhere() -> None:
    scorer, queries, values, padding, coverage = case(Additive(5, coverage=True))
    memory = scorer.memory(values, padding)
    assert coverage is not None
    torch.testing.assert_close(scorer(queries, memory, torch.zeros_like(coverage)), scorer(queries, memory))
    assert not scorer(queries, memory, coverage)[1].allclose(scorer(queries, memory)[1])
    for attention in (Additive(5), *EQUAL_SIZE, General(), Location(4), LocalP(), MultiHeadAdditive(2)):
        assert not attention.coverage
        scorer, queries, values, padding, _ = case(attention)
        with pytest.raises(InputError, match="coverage"):
            scorer(queries, scorer.memory(values, padding), coverage)


def test_local_attention_looks_only_into_its_window() -> None:
    scorer, _, values, padding, _ = case(LocalP(2))
    queries = torch.randn(3, 200, QUERY, dtype=torch.double)
    _, weights = scorer(queries, scorer.memory(values, padding))
    assert weights.gt(0).sum(-1).max() <= 5
    assert weights.gt(0).any(-1).all()
    assert weights[0].argmax(-1).unique().numel() > 3  # the position follows the query


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dot().build(8, 6), "Dot.*8.*6.*General"),
        (lambda: ScaledDot().build(8, 6), "ScaledDot.*8.*6.*General"),
        (lambda: LocalP(3, "dot").build(8, 6), "LocalP.*8.*6.*General"),
        (lambda: MultiHeadAdditive(3).build(8, 6), "8.*heads 3"),
        (lambda: MultiHeadAdditive(4, 6).build(8, 6), "attention_size 6.*heads 4"),
        (lambda: MultiHeadAdditive(0), "heads is 0"),
        (lambda: Additive(0), "attention_size is 0"),
        (lambda: Location(0), "longest is 0"),
        (lambda: LocalP(0), "window is 0"),
    ],
)
def test_what_does_not_fit_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("attention", "count"),
    [
        (Dot(), 0),
        (General(), 60 * 40),
        (Additive(20), 60 * 20 + 40 * 20 + 2 * 20),
        (Additive(coverage=True), 60 * 60 + 40 * 60 + 3 * 60),
        (Location(50), 60 * 50),
        (LocalP(), 60 * 40 + 60 * 60 + 60),
        (MultiHeadAdditive(4, 20), 60 * 20 + 40 * 20 + 2 * 20 + 40 * 60),
    ],
    ids=repr,
)
def test_parameters(attention: Attention, count: int) -> None:
    scorer = attention.build(60, 60 if isinstance(attention, Dot) else 40)
    assert sum(parameter.numel() for parameter in scorer.parameters()) == count


@every_kind
def test_a_checkpoint_describes_it(attention: Attention) -> None:
    again = build(Attention, json.loads(json.dumps(attention.specification())))
    assert again.specification() == attention.specification()
    assert again.coverage == attention.coverage
