"""ScoreTable: the scores of a split as typed rows, over what results.json holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seq2seq.api.answers import AnswerTable, shown
from seq2seq.errors import InputError


@dataclass(frozen=True)
class MeasuredScore:
    """A score that can be quoted."""

    metric: str
    value: float | None
    """None where there is nothing to score."""
    low: float | None
    """Lower end of the 95 % bootstrap interval."""
    high: float | None
    signature: str
    """Everything that changes the number."""

    def columns(self) -> dict[str, Any]:
        return vars(self)

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.metric} n/a"
        interval = "" if self.low is None or self.high is None else f" [{shown(self.low)}, {shown(self.high)}]"
        return f"{self.metric} {shown(self.value)}{interval}"


class ScoreTable(AnswerTable[MeasuredScore]):
    """The scores of a split, one row for each metric."""

    def __init__(self, results: Mapping[str, Any], split: str) -> None:
        """results: what results.json holds."""
        try:
            metrics = results["splits"][split]["metrics"]
            names = ("value", "low", "high", "signature")
            rows = [MeasuredScore(name, *(one[part] for part in names)) for name, one in metrics.items()]
        except (KeyError, TypeError, AttributeError) as problem:
            raise InputError(f"the results hold no scores of the {split} split") from problem
        super().__init__(rows)
        self.results, self.split = results, split

    def score(self, metric: str) -> MeasuredScore:
        """The score of a metric by its name, such as bleu."""
        for row in self:
            if row.metric == metric:
                return row
        raise InputError(f"there is no score {metric}; known: {', '.join(row.metric for row in self)}")
