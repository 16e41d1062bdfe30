"""Predictions outside training: a loaded task, rows, a device."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import consecutive, evaluation_batches
from seq2seq.data.batching.split import Split, fitting
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError, check_range
from seq2seq.inference import device
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` means here."""
    return device.find(name, f"--device {name}", "--device auto or cpu")


def own_device(name: str, local: int, per_node: int) -> torch.device:
    """What `--device` means for one of several processes on this machine: of GPUs each has its own."""
    if name == "auto" and torch.cuda.is_available():
        name = "cuda"
    if per_node == 1 or name == "cpu" or (name == "auto" and not torch.backends.mps.is_available()):
        return choose_device(name)
    if name != "cuda":
        raise InputError(f"--device {name} cannot be shared by {per_node} processes; set --device cuda or --device cpu")
    if (there := torch.cuda.device_count()) < per_node and there:
        raise InputError(f"--devices {per_node}, but there are {there} GPUs here; set --devices {there}")
    return choose_device(f"cuda:{local}")


def batches(split: Split, decoding: Decoding, device: torch.device, share: slice = slice(None)) -> Iterator[Batch]:
    """Every row of a split once, in the same batches as during training; those of running text in order.

    share: which of these batches.
    """
    order = consecutive(len(split), decoding.sources) if split.row_format.consecutive else None
    for rows in (order or evaluation_batches(split.source_lengths(), decoding.sources))[share]:
        yield split.batch_with_texts(rows).to(device)


def blank(task: Task, text: str) -> bool:
    """Whether a text holds nothing to predict from; to a tagger wide spaces, such as U+00A0, are tokens."""
    return not text.strip(" \t\r\n" if task.row_format.aligned else None)


def predict(
    task: Task,
    texts: Sequence[str],
    decoding: Decoding,
    device: torch.device,
    max_length: int = 512,
    before: int = 0,
    share: slice = slice(None),
) -> list[list[Hypothesis]]:
    """The hypotheses of each text, best first; none for an empty source.

    Longer sources are cut to max_length tokens. before: texts that came earlier; sampling depends on the row number.
    share: which of their batches to decode; the other texts get none.
    """
    if task.has_no_source:
        return task.generate_from_prompts(texts, before, (), decoding, share)[0]
    filled = [row for row, text in enumerate(texts) if not blank(task, text)]
    split = split_of(task, [texts[row] for row in filled], max_length)
    if share.start in (None, 0):  # once for all processes
        split.warn_of_cuts()
    result: list[list[Hypothesis]] = [[] for _ in texts]
    for batch in batches(split, decoding, device, share):
        batch = batch._replace(row_keys=torch.tensor([filled[row] + before for row in batch.rows.tolist()]))
        for row, hypotheses in zip(batch.rows.tolist(), task.predict(batch, decoding), strict=True):
            result[filled[row]] = hypotheses
    return result


def split_of(task: Task, texts: Sequence[str], max_length: int) -> Split:
    """Sources without targets, cut to max_length tokens."""
    source = Ragged.of(task.tokenizers.source.encode(texts))
    no_tokens = np.zeros((0, *([] if (width := task.tokenizers.target.width) is None else [width])))
    target = Ragged(no_tokens, np.zeros(len(texts) + 1, dtype=np.int64))
    return Split(Texts(texts, texts), source, target, max_length, fitting(task.row_format, task.tokenizers))


def decoding_for(task: Task, decoding: Decoding, n_best: int, asked: str, beam: str) -> Decoding:
    """How to search for so many predictions; asked, beam: the names of the two settings, for a refusal."""
    check_range(asked, n_best, 1)
    task.check_decoding(decoding)
    if n_best > 1 and task.predicts_once:
        raise InputError(f"{asked} {n_best}: this {type(task).__name__} predicts once for a line; leave it out")
    if not task.searches or (decoding.temperature is not None and decoding.risk is None):
        decoding = replace(decoding, beam_size=n_best)
    if n_best > decoding.beam_size:
        raise InputError(f"{asked} {n_best} needs {beam} {n_best} or more")
    return decoding


def translate(task: Task, texts: Sequence[str]) -> list[str]:
    """The best prediction for each text, with the decoding stored in the checkpoint, where the task is."""
    device = next(task.parameters()).device
    predictions = predict(task, texts, task.decoding, device)
    return [task.text(hypotheses[0]) if hypotheses else "" for hypotheses in predictions]
