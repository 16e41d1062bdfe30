"""Several trained tasks that predict as one: at each step, or of each label, the mean of their probabilities."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.decoding.hypotheses import Hypothesis, StepFunction, without_gradients
from seq2seq.errors import InputError
from seq2seq.pinned_copy import to_device
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


class EnsembleState(NamedTuple):
    """The state of each member."""

    members: tuple[Any, ...]

    def select(self, rows: Tensor) -> "EnsembleState":
        """Keep, repeat or reorder hypotheses: rows (B', K') of hypothesis numbers, each row those of one source."""
        return EnsembleState(tuple(state.select(rows) for state in self.members))


class Ensemble(Task):
    """Tasks of one kind and one vocabulary (Sutskever et al. 2014, sec. 3.6); limits and texts are the first one's."""

    def __init__(self, members: Sequence[Task]) -> None:
        super().__init__(members[0].tokenizers)
        self.members = nn.ModuleList(members)
        first = members[0]
        self.row_format, self.decoding, self.length_bound = first.row_format, first.decoding, first.length_bound
        self.hidden_size = sum(getattr(member, "hidden_size", 0) for member in members)
        """Of all together, by which a GPU's memory is shared out."""

    @property
    def first(self) -> Task:
        """Whose settings are everyone's."""
        return cast(Task, self.members[0])

    @property
    def searches(self) -> bool:
        return self.first.searches

    @property
    def predicts_once(self) -> bool:
        return self.first.predicts_once

    def check(self, text: str) -> None:
        self.first.check(text)

    def distributions(self, batch: Batch) -> list[Tensor]:
        """The mean of the members' probabilities."""
        every = [cast(Task, member).distributions(batch) for member in self.members]
        return [torch.stack(kind).logsumexp(0) - math.log(len(every)) for kind in zip(*every, strict=True)]

    def start_of_search(self, batch: Batch, decoding: Decoding) -> tuple[StepFunction[EnsembleState], EnsembleState]:
        starts = (cast(Task, member).start_of_search(batch, decoding) for member in self.members)
        steps, states = zip(*starts, strict=True)

        def step(tokens: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
            total, *others = (one(tokens, own) for one, own in zip(steps, state.members, strict=True))
            log_probs, after = total[0], [total[1]]
            for more, own in others:
                log_probs = torch.logaddexp(log_probs, more)
                after.append(own)
            return log_probs - math.log(len(after)), EnsembleState(tuple(after))

        return step, EnsembleState(states)

    def predict(self, batch: Batch, decoding: Decoding) -> list[list[Hypothesis]]:
        if self.first.mixes:
            return self.first.predict_together(cast(Sequence[Task], list(self.members)), batch, decoding)
        with without_gradients():
            step, state = self.start_of_search(batch, decoding)
        limits = to_device(self.limits(batch.source_lengths, decoding), batch.source.device)
        return self.search(step, state, limits, batch.row_keys, decoding)


def together(tasks: Sequence[Task], names: Sequence[str]) -> Task:
    """The task, or several as one; InputError where they cannot be."""
    if len(tasks) == 1:
        return tasks[0]
    first = tasks[0]
    for task, name in zip(tasks, names, strict=True):
        if type(task) is not type(first):
            kinds = f"{names[0]} is a {type(first).__name__}, {name} a {type(task).__name__}"
            raise InputError(f"{kinds}; only runs of one task can predict together")
        alone = type(task).start_of_search is Task.start_of_search and not task.mixes
        if alone or task.has_no_source or task.mixes != first.mixes:
            raise InputError(f"{name}: a {type(task).__name__} that reads no source, or that neither writes step by "
                             "step nor gives each label a probability, predicts alone; give one run")  # fmt: skip
        for side, one, other in zip(("source", "target"), first.tokenizers, task.tokenizers, strict=True):
            if one.specification() != other.specification() or one.state != other.state:
                raise InputError(
                    f"{names[0]} and {name} have different {side} vocabularies, and an ensemble has one; train with "
                    "the same rows and data.tokenizer, and another seed"
                )
    return Ensemble(tasks)
