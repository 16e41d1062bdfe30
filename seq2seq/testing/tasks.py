"""The contract of a task: its loss is a sum over rows, its predictions are of each row, a checkpoint makes it again."""

from collections.abc import Sequence

import numpy as np
import torch

from seq2seq.configurable import refuse_incomplete
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError
from seq2seq.tasks.base import Task, pack_task, unpack_task
from seq2seq.testing.demands import demand

TOLERANCE = 1e-4
"""Of sums in single precision."""


def check_task(task: Task, rows: Sequence[tuple[str, str]]) -> None:
    """Loss and predictions of a batch are those of its rows, gradients reach all, a checkpoint makes an equal task.

    task: small, with tokenizers that know the rows, which are sources with their targets, of different lengths.
    """
    refuse_incomplete(type(task))
    demand(bool(task.metrics) and all(one.name for one in task.metrics), task, "usual_metrics() names its scores")
    task.eval()
    together = batch_of(task, rows)
    apart = [batch_of(task, [row]) for row in rows]
    loss = task.loss(together)
    demand(loss.shape == () and bool(loss.isfinite()), task, "loss(batch) is one finite number", tuple(loss.shape))
    alone = sum(task.loss(one).item() for one in apart)
    near = abs(loss.item() - alone) <= TOLERANCE * (1 + abs(alone))
    demand(near, task, "the loss is a sum over rows and sees no padding", f"{loss.item()} together, {alone} apart")
    check_gradients(task, loss)
    texts = predicted(task, together, len(rows))
    single = [predicted(task, one, 1)[0] for one in apart]
    demand(
        all(map(alike, texts, single)),
        task,
        "a prediction does not depend on the other rows",
        f"{texts}, alone {single}",
    )
    try:
        again = unpack_task(pack_task(task))
    except (AttributeError, InputError) as problem:
        demand(False, task, "what a checkpoint keeps makes the task again", problem)
    again.load_state_dict(task.state_dict())
    again.eval()
    demand(predicted(again, together, len(rows)) == texts, task, "a task from a checkpoint predicts the same")
    check_vector(task, together)


def batch_of(task: Task, rows: Sequence[tuple[str, str]]) -> Batch:
    """The rows as the batch of an optimiser step."""
    texts = Texts([source for source, _ in rows], [target for _, target in rows])
    source, target = (Ragged.of(one.encode(side)) for one, side in zip(task.tokenizers, texts[:2], strict=True))
    split = Split(texts, source, target, 1 << 20, fitting(task.row_format, task.tokenizers))
    return split.batch(np.arange(len(rows)))


def check_gradients(task: Task, loss: torch.Tensor) -> None:
    """Of all parameters that learn."""
    task.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            kept = parameter.grad is not None and bool(parameter.grad.isfinite().all())
            demand(kept, task, "a finite gradient for every parameter", name)


def predicted(task: Task, batch: Batch, rows: int) -> list[str]:
    """The best prediction of each row as text, on one line."""
    hypotheses = task.predict(batch, task.decoding.greedy())
    demand(len(hypotheses) == rows, task, "predict gives a list for each row", f"{len(hypotheses)} for {rows} rows")
    demand(all(hypotheses), task, "predict gives at least one hypothesis for each row")
    texts = [task.text(several[0]) for several in hypotheses]
    demand(not any("\n" in text for text in texts), task, "a prediction is one line", texts)
    return texts


def alike(first: str, second: str) -> bool:
    """Whether two predictions are equal, numbers in them within the rounding of single precision."""
    pairs = list(zip(first.split(), second.split(), strict=False))
    try:
        close = all(abs(float(one) - float(other)) <= TOLERANCE * (1 + abs(float(other))) for one, other in pairs)
    except ValueError:  # words
        close = False
    return first == second or (close and len(first.split()) == len(second.split()))


def check_vector(task: Task, batch: Batch) -> None:
    """The fixed vector of each source, where there is one."""
    vectors = task.fixed_vector(batch)
    if vectors is not None:
        fits = vectors.dim() == 2 and len(vectors) == len(batch.rows)
        demand(fits, task, "fixed_vector(batch) is (B, H)", tuple(vectors.shape))
