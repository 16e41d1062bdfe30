"""What metrics of labels find between them."""

from collections.abc import Sequence

from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.units import Labels
from seq2seq.metrics.base import Metric


def told_apart(metrics: Sequence[Metric], target: Tokenizer, single: bool = False) -> list[Metric]:
    """The metrics for the labels of a tokenizer, which may hold spaces; single: whether each row has one."""
    if not isinstance(target, Labels) or target.splits_at_whitespace:
        return [*metrics]
    return [metric.split_at("\n" if single else target.separator) for metric in metrics]
