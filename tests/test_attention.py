"""Attention: equal to the papers' equations, blind to padding and neighbours."""

import pytest
import torch

from seq2seq.models.attention import Additive, Attention, Dot, General, Location, MultiHeadAdditive, ScaledDot

KINDS: list[Attention] = [Dot(), ScaledDot(), General(), Additive(5), Location(7), MultiHeadAdditive(2)]


@pytest.mark.parametrize("attention", KINDS, ids=repr)
def test_weights_are_a_distribution_over_real_tokens(attention: Attention) -> None:
    scorer = attention.module(8, 8)
    values, padding = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = padding[2, 1:] = True
    context, weights = scorer(torch.randn(3, 4, 8), scorer.memory(values, padding))
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
    assert weights[padding.unsqueeze(1).expand_as(weights)].eq(0).all()
    assert context.shape == (3, 4, scorer.context_size)
