"""What is answered for a text."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Alternative:
    """One of several predictions for a text."""

    text: str
    score: float
    """What the search ranks by: the sum of the log-probabilities in nats, divided by the length penalty."""
    token_scores: tuple[float, ...] = ()
    """Log-probability of each token or label in nats, the end included."""
    labels: tuple[str, ...] = ()
    """Of a tagger the label of each token, of a classifier those of the text."""
    quantiles: Mapping[str, str] | None = None
    """The forecast of each quantile, where there are several."""
    at_limit: bool | None = None
    """Whether it is as long as the limit lets it be; None where there is no limit."""
    sentence: str | None = None
    """The class of the sentence, where a tagger tells one."""


@dataclass(frozen=True)
class Answer:
    """What is predicted for a text: nothing for an empty one, unless the model reads no source."""

    source: str
    n_best: tuple[Alternative, ...]
    """Best first."""
    probabilities: Mapping[str, float] | None = None
    """Of each label, by a classifier; where a text may have several labels, that it has this one."""

    @property
    def text(self) -> str:
        """The best prediction."""
        return self.n_best[0].text if self.n_best else ""

    @property
    def score(self) -> float:
        """Of the best prediction; NaN where there is none."""
        return self.n_best[0].score if self.n_best else float("nan")

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the best prediction."""
        return self.n_best[0].labels if self.n_best else ()

    @property
    def quantiles(self) -> Mapping[str, str] | None:
        """Of the best prediction."""
        return self.n_best[0].quantiles if self.n_best else None
