"""The settings of decoding: how a task searches for its output."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from seq2seq.configurable import Part
from seq2seq.decoding.beam import Advance
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.diverse import Diversity
from seq2seq.decoding.hypotheses import divisor
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.decoding.sampling import Draw
from seq2seq.errors import InputError, check_range
from seq2seq.metrics.base import Metric

USUAL_ROWS = 256
"""decoding.rows where neither settings nor a GPU's memory say otherwise."""

USUAL_RATIO = 2.0
"""Target tokens for each source token in runs that have learnt no limit."""


@final
@dataclass(frozen=True)
class Decoding(Part):
    """How a task searches for its output.

    Args:
        beam_size: hypotheses kept for each source; 1 is greedy search.
        groups: groups of a beam, which divide beam_size and of which each avoids what those before it choose
            (Vijayakumar et al. 2016), so that n best differ more; 1 for a usual beam.
        diversity: what a token loses, in nats, for each hypothesis of an earlier group that takes it at the same step.
        length_penalty: hypotheses are ranked by log-probability / length ** length_penalty.
        length_offset: the length counts there as (length_offset + length) / (length_offset + 1); 5 with a
            length_penalty of 0.2 to 0.8 is what Wu et al. 2016, eq. 14, do.
        coverage_penalty: weight of what attention has left out of the source in a hypothesis that a beam has ended (Wu
            et al. 2016, eq. 14, take 0.2); 0 for none.
        max_length_ratio: the most target tokens for each source token (10 more are always allowed); null for max_length
            or, without it, for a limit learnt from the training targets, all of which it has room for.
        max_length: the most target tokens of all, the end and prefix not counted; null for no such limit.
        min_length: the fewest target tokens, the end and prefix not counted.
        prefix: text that every prediction begins with.
        no_repeat_ngram: no sequence of n tokens occurs twice in a prediction, prefix included; 0 allows all. A
            prediction to which nothing may be added ends, even below min_length.
        include: words or phrases that every prediction holds, as the tokens that they are made of (Post and Vilar
            2018); needs a beam, a wider one for more of them. null for none.
        avoid: words or phrases that no prediction holds, however they are made of tokens; null for none.
        wait_k: source tokens that are read before the first target token is chosen, one more before each further one
            (Ma et al. 2019); null for what model.wait_k says.
        replace_unknown: let predictions hold unknown words, and write in place of each the source word that attention
            looks at most (Luong et al. 2015b; Jean et al. 2015); for whole words and models with attention.
        dictionary: file with two columns, source words and what is written for them then; null to copy every word.
        temperature: draw beam_size predictions at random, with log-probabilities divided by this, instead of searching
            for the best; null to search.
        top_k: draw from the k most likely tokens; null for all.
        top_p: draw from the smallest set of most likely tokens with this probability in sum; null for all.
        seed: of the random draws.
        risk: a metric such as Chrf: of the beam_size predictions those come first that agree best with all of them, the
            most likely ones or, with a temperature, drawn ones (minimum Bayes risk, Kumar and Byrne 2004; Eikema and
            Aziz 2020); null to rank by probability.
        rows: hypotheses of all sources computed at once; more are faster and need more memory. null for 256 or, on a
            GPU, as many as its memory holds, up to 2048.
    """

    beam_size: int = 5
    groups: int = 1
    diversity: float = 0.5
    length_penalty: float = 1.0
    length_offset: float = 0.0
    coverage_penalty: float = 0.0
    max_length_ratio: float | None = None
    max_length: int | None = None
    min_length: int = 0
    prefix: str = ""
    no_repeat_ngram: int = 0
    include: list[str] | None = None
    avoid: list[str] | None = None
    wait_k: int | None = None
    replace_unknown: bool = False
    dictionary: str | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 1
    risk: Metric | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        check_range("decoding.beam_size", self.beam_size, 1)
        if self.rows is not None:
            check_range("decoding.rows", self.rows, 1)
        check_range("decoding.groups", self.groups, 1)
        check_range("decoding.diversity", self.diversity, 0, 100)
        if self.beam_size % self.groups or (self.groups > 1 and (self.include or self.temperature is not None)):
            raise InputError(
                f"decoding.groups {self.groups} must divide decoding.beam_size {self.beam_size}, and decoding.include "
                "and temperature be null; choose other numbers, or set decoding.groups to 1"
            )
        check_range("decoding.length_penalty", self.length_penalty, 0, 10)
        check_range("decoding.length_offset", self.length_offset, 0, 1000)
        check_range("decoding.coverage_penalty", self.coverage_penalty, 0, 10)
        check_range("decoding.min_length", self.min_length, 0)
        check_range("decoding.no_repeat_ngram", self.no_repeat_ngram, 0)
        check_range("decoding.seed", self.seed, 0)
        if self.max_length_ratio is not None:
            check_range("decoding.max_length_ratio", self.max_length_ratio, 0, 1000)
        if self.max_length is not None:
            check_range("decoding.max_length", self.max_length, max(1, self.min_length))
        if self.dictionary is not None and not self.replace_unknown:
            raise InputError(
                f"decoding.dictionary {self.dictionary} is for unknown words; set decoding.replace_unknown to true"
            )
        if self.wait_k is not None:
            check_range("decoding.wait_k", self.wait_k, 1)
        if self.top_k is not None:
            check_range("decoding.top_k", self.top_k, 1)
        for name in ("temperature", "top_p"):
            value, most = getattr(self, name), 1 if name == "top_p" else 100
            if value is not None and not 0 < value <= most:
                raise InputError(f"decoding.{name} is {value}; it must be above 0 and at most {most}")
        if self.risk is not None and self.beam_size < 3:
            raise InputError(
                f"decoding.risk compares predictions, and decoding.beam_size is {self.beam_size}; set it to 3 or more"
            )
        for name in ("include", "avoid"):
            if any(not phrase.strip() for phrase in getattr(self, name) or ()):
                raise InputError(f"decoding.{name} is {getattr(self, name)}; an empty one has no meaning, drop it")
        if self.include and (self.beam_size == 1 or self.temperature is not None):
            raise InputError(
                f"decoding.include is {self.include}, for which a beam searches; set decoding.beam_size to 2 or more "
                "and decoding.temperature to null"
            )
        if self.temperature is None and (self.top_k is not None or self.top_p is not None):
            raise InputError("decoding.top_k and decoding.top_p draw at random; set decoding.temperature, such as 1.0")

    @property
    def at_once(self) -> int:
        """Hypotheses decoded at once."""
        return USUAL_ROWS if self.rows is None else self.rows

    @property
    def sources(self) -> int:
        """Sources decoded at once."""
        return max(1, self.at_once // self.beam_size)

    def limits(self, source_lengths: Tensor, learnt: LengthBound | None = None) -> Tensor:
        """(B,) source lengths, on the CPU, to (B,) the most target tokens, the end included.

        learnt: what the training targets say, None for a run made before they were asked.
        """
        if self.max_length_ratio is None and self.max_length is not None:
            return torch.full_like(source_lengths, self.max_length + 1)
        if self.max_length_ratio is None and learnt is not None:
            limits = learnt.of(source_lengths)
        else:
            ratio = USUAL_RATIO if self.max_length_ratio is None else self.max_length_ratio
            limits = (source_lengths * ratio).long() + 10
        limits = limits.clamp(min=self.min_length + 1)
        return limits if self.max_length is None else limits.clamp(max=self.max_length + 1)

    def limit_in_words(self, learnt: LengthBound | None = None) -> str:
        """The most target tokens, and which setting says so."""
        given = {"max_length_ratio": self.max_length_ratio, "max_length": self.max_length}
        named = " and ".join(f"decoding.{name} {value:g}" for name, value in given.items() if value is not None)
        if named or learnt is None:
            return named or f"{USUAL_RATIO:g} x source tokens + 10"
        return f"{learnt} (from the training targets)"

    def rules(self, limits: Tensor, prefix: Sequence[int] = ()) -> Constraints | None:
        """Further constraints on predictions; None for none. limits (B,) as above; prefix: tokens before them."""
        if not self.min_length and not self.no_repeat_ngram:
            return None
        return Constraints(torch.full_like(limits, self.min_length), self.no_repeat_ngram, tuple(prefix))

    def growing(self) -> Advance | None:
        """What chooses the hypotheses that live on where groups shall differ."""
        return Diversity(self.groups, self.diversity).advance if self.groups > 1 else None

    @property
    def plainly_greedy(self) -> bool:
        """Whether the most likely token is taken at each step and nothing else has a say."""
        free = ("length_penalty", "length_offset", "max_length_ratio", "max_length", "seed", "rows")
        return self == Decoding(beam_size=1, **{name: getattr(self, name) for name in free})

    def divisor(self, length: int) -> float:
        """What the log-probability of this many labels is divided by."""
        return divisor(max(length, 1), self.length_penalty, self.length_offset)

    def draw(self) -> Draw:
        """The distribution that tokens are drawn from."""
        return Draw(self.temperature or 1.0, self.top_k, self.top_p, self.seed)

    def greedy(self) -> "Decoding":
        """Greedy search with the other settings unchanged."""
        one = replace(self, temperature=None, top_k=None, top_p=None, coverage_penalty=0.0, include=None, risk=None)
        return replace(one, beam_size=1, groups=1)
