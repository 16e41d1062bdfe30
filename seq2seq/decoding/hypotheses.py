"""What search needs from a model (`StepFunction`, `SearchState`) and what it returns (`Hypothesis`)."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

CHECK_EVERY = {"cpu": 1}
"""Steps between two checks of which hypotheses are done, by device: a check makes an accelerator wait. Others: 8."""


def steps_between_checks(device: torch.device) -> int:
    """Of a search on a device."""
    return CHECK_EVERY.get(device.type, 8)


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Inference mode; under autocast `no_grad`, because inference mode casts every weight anew at each step."""
    cast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    with torch.no_grad() if cast else torch.inference_mode():
        yield


class LikelyToken(NamedTuple):
    """A token that might stand at a place."""

    text: str
    """As people look at it, the end as </s>."""
    probability: float
    """Given the source and the tokens before."""


class TokenChoice(NamedTuple):
    """A token of a hypothesis beside those that were the most likely at its place."""

    text: str
    probability: float
    alternatives: list[LikelyToken]
    """Best first, the token itself among them if it is one of the best."""


class Hypothesis(NamedTuple):
    """A decoded sequence."""

    tokens: list[int]
    """Ids without beginning and end."""
    score: float
    """What search ranks by: the sum of the log-probabilities in nats, divided by the length penalty."""
    token_scores: list[float]
    """Log-probability of each token in nats, the end of the sequence included."""
    values: Mapping[str, list[list[float]]] | None = None
    """In place of tokens, by tasks that forecast: of each quantile the vectors (steps, numbers)."""
    at_limit: bool | None = None
    """Whether it is as long as the limit lets it be, where there is one."""
    unknowns: list[str] | None = None
    """What stands in its text for each unknown token, where that was asked for."""
    choices: list[TokenChoice] | None = None
    """Its tokens, the end included, with those that might stand there, where that was asked for."""


L = TypeVar("L", float, Tensor)


def divisor(length: L, penalty: float, offset: float = 0.0) -> L:
    """What log-probabilities of this many tokens, the end included, are divided by to be ranked.

    length ** penalty or, with an offset of 5, lp(Y) of Wu et al. 2016, eq. 14.
    """
    scaled: L = length if not offset else (offset + length) / (offset + 1)
    return scaled**penalty  # type: ignore[no-any-return]


def finished(
    tokens: list[int], scores: list[float], end: int, length_penalty: float = 1.0, length_offset: float = 0.0
) -> Hypothesis:
    """The hypothesis that these tokens are up to their first end."""
    length = tokens.index(end) + 1
    total = sum(scores[:length]) / divisor(length, length_penalty, length_offset)
    return Hypothesis(tokens[: length - 1], total, scores[:length])


S = TypeVar("S", bound="SearchState")


class SearchState(Protocol):
    """A model's state in the middle of a search."""

    def select(self: S, rows: Tensor) -> S:
        """Keep, repeat or reorder hypotheses: rows (B', K') of hypothesis numbers, each row those of one source."""
        ...


class StepFunction(Protocol[S]):
    """One step of a model."""

    def __call__(self, tokens: Tensor, state: S, /) -> tuple[Tensor, S]:
        """The last tokens (B, K) to the log-probabilities (B, K, V) of the next, in nats, and the next state."""
        ...


def per_row(flat: Tensor, lengths: Tensor) -> list[list[float]]:
    """What belongs to the first lengths (B,) tokens of each row, from all of it one after the other (N,)."""
    values, ends = flat.tolist(), lengths.cumsum(0).tolist()
    return [values[first:last] for first, last in zip([0, *ends[:-1]], ends, strict=True)]
