"""What else was likely: for each token of the best predictions the most likely ones at its place."""

import math
from collections.abc import Sequence

import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS
from seq2seq.decoding.forced import forced
from seq2seq.decoding.hypotheses import Hypothesis, LikelyToken, TokenChoice
from seq2seq.errors import InputError, check_range
from seq2seq.inference.predict_texts import batches, split_of
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


def check(task: Task, count: int, asked: str) -> None:
    """Raise InputError where a task does not write token by token from a source; asked: the name of the setting."""
    check_range(asked, count, 1)
    if type(task).start_of_search is Task.start_of_search or task.has_no_source:
        raise InputError(
            f"{asked} {count} is for a run that writes a text token by token from a source, and this "
            f"{type(task).__name__} does not; leave it out"
        )


def with_choices(
    task: Task,
    texts: Sequence[str],
    found: list[list[Hypothesis]],
    decoding: Decoding,
    count: int,
    device: torch.device,
    max_length: int,
) -> list[list[Hypothesis]]:
    """Hypotheses of texts, the best one of each with `choices`: the `count` most likely tokens at each place."""
    result = list(found)
    rows = [row for row, several in enumerate(found) if several]
    split = split_of(task, [texts[row] for row in rows], max_length)
    for batch in batches(split, decoding, device):
        own = [rows[row] for row in batch.rows.tolist()]
        best = [found[row][0] for row in own]
        for row, one, choices in zip(own, best, choices_of(task, batch, best, decoding, count), strict=True):
            result[row] = [one._replace(choices=choices), *found[row][1:]]
    return result


def choices_of(
    task: Task, batch: Batch, best: Sequence[Hypothesis], decoding: Decoding, count: int
) -> list[list[TokenChoice]]:
    """Of each row of a batch, by the step of its search."""
    pieces, longest = task.tokenizers.target.pieces, max(len(one.tokens) for one in best) + 1
    ends = [[*one.tokens, *[EOS] * (longest - len(one.tokens))] for one in best]
    with torch.no_grad():
        step, state = task.start_of_search(batch, decoding)
        seen = forced(step, state, torch.tensor(ends, device=batch.source.device), BOS, count)
    choices = []
    for one, *row in zip(best, *(tensor.tolist() for tensor in seen), strict=True):
        written = [*one.tokens, EOS]
        columns = zip(pieces(written), *(column[: len(written)] for column in row), strict=True)
        choices.append([
            TokenChoice(text, math.exp(score), [
                LikelyToken(name, math.exp(value))
                for name, value in zip(pieces(likely), values, strict=True) if value > -math.inf
            ])
            for text, score, likely, values in columns
        ])  # fmt: skip
    return choices
