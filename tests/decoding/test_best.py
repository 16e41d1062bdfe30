"""The best continuations, block by block: the same as by sorting everything."""

import pytest
import torch

from seq2seq.decoding.best import BLOCK, LEAST, best_continuations, best_token


@pytest.mark.parametrize("vocabulary", [5, LEAST, LEAST + 1, LEAST + BLOCK - 1])
@pytest.mark.parametrize("impossible", [False, True])
def test_blocks_find_what_sorting_finds(vocabulary: int, impossible: bool) -> None:
    totals, log_probs = torch.randn(3, 2), torch.randn(3, 2, vocabulary) * 3
    if impossible:
        totals[:, 1] = -torch.inf
        log_probs[..., ::2] = -torch.inf
    log_probs[0, 0, -1] = 99.0  # behind the last block
    found = best_continuations(totals, log_probs, 4)
    sums = (totals.unsqueeze(-1) + log_probs).flatten(1)
    assert torch.equal(found.totals, sums.topk(4)[0])
    place = found.parents * vocabulary + found.tokens
    assert torch.equal(sums.gather(1, place), found.totals)
    assert torch.equal(log_probs.flatten(1).gather(1, place), found.scores)
    assert all(len(set(row)) == 4 for row in place.tolist())


@pytest.mark.parametrize("vocabulary", [5, LEAST, LEAST + 1, LEAST + BLOCK - 1])
def test_the_best_token_is_the_first_of_equals(vocabulary: int) -> None:
    log_probs = torch.randint(0, 40, (6, vocabulary)).float()
    best, token = best_token(log_probs)
    assert torch.equal(best, log_probs.amax(1, keepdim=True))
    assert token.squeeze(1).tolist() == [row.index(max(row)) for row in log_probs.tolist()]
