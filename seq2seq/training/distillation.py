"""Knowledge distillation: a student learns from a stronger run, from its probabilities token by token or its lines."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed
from tqdm import tqdm

from seq2seq.data import rows
from seq2seq.data.batching.batch import Batch
from seq2seq.data.cache import Cache, checksum, digest
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Row, Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts
from seq2seq.inference.device import tf32
from seq2seq.inference.ensemble import Ensemble, together
from seq2seq.inference.predictor import Predictor
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.training.options import DistillationOptions

log = logging.getLogger(__name__)

VERSION = 2
"""Of the cached lines of teachers; a new version leaves the old ones unused."""

CHUNK = 1 << 24
"""Log-probabilities whose differences are held at once."""


class Teacher:
    """A trained run. No module, so that it is no part of the student or of its checkpoints."""

    def __init__(self, options: DistillationOptions, data: DataModule) -> None:
        """Read the run that the options name; data: of the student."""
        if options.teacher is None:
            raise TypeError("distillation.teacher is null")
        if options.sequences and data.window is not None:
            raise InputError(
                "distillation.sequences needs all training rows at hand; drop data.window, or set sequences false"
            )
        names = [options.teacher] if isinstance(options.teacher, str) else options.teacher
        self.paths, self.options = [checkpoint.find(name) for name in names], options
        self.path = " and ".join(map(str, self.paths))
        contents = [checksum(path) for path in self.paths]
        self.content = contents[0] if len(contents) == 1 else digest(contents)
        """Of the checkpoint's file, or of all."""
        tasks = [checkpoint.load(path) for path in self.paths]
        self.task = together(tasks, [str(path) for path in self.paths]).requires_grad_(False)
        self.tokenizers = self.taken_over(data)
        """Its vocabularies, made anew for the student."""

    def taken_over(self, data: DataModule) -> Tokenizers:
        """The vocabularies, refused where the student's settings ask for others."""
        source, target = self.task.tokenizers
        if data.shared_vocabulary != (source is target):
            shared = "true" if source is target else "false"
            raise InputError(
                f"the teacher {self.path} needs data.shared_vocabulary {shared}: its tokens are the student's"
            )
        for name, mine, theirs in zip(("tokenizer", "target_tokenizer"), data.kinds, (source, target), strict=True):
            if mine.specification() != theirs.specification():
                raise InputError(
                    f"data.{name} is {mine} but that of the teacher {self.path} is {theirs}; a student needs its "
                    "teacher's tokens, so write the same"
                )
        return data.restore_tokenizers([source.state, target.state])

    def check(self, student: Task) -> None:
        """Refuse tasks between which there is no distance."""
        if student.row_format.consecutive:
            raise InputError("model.running learns from a text as it is; drop distillation.teacher or model.running")
        if not self.options.weight:
            return
        members = self.task.members if isinstance(self.task, Ensemble) else [self.task]
        reasons = [("distillation.teacher", cast(Task, one).without_distributions) for one in members]
        for name, reason in (*reasons, ("the student", student.without_distance)):
            if reason:
                raise InputError(
                    f"{name}: {reason}; change that, or set distillation.weight to 0 and sequences to true"
                )
        if type(student) is not type(members[0]):
            kinds = f"a {type(members[0]).__name__} cannot teach a {type(student).__name__}"
            raise InputError(f"{kinds} its probabilities; give a teacher of the same task")

    def to(self, device: torch.device) -> None:
        """Compute on `device`; without use for its probabilities it makes room there."""
        self.task.to(device if self.options.weight else "cpu")

    def loss(self, student: Task, batch: Batch) -> Tensor:
        """The student's loss on a batch, summed over its real target tokens, in nats.

        (1 - w) loss + w t^2 KL(teacher || student), both softened by the temperature t (Hinton et al. 2015, sec. 2;
        Kim and Rush 2016, sec. 3.1, up to the teacher's entropy, which has no gradient).
        """
        weight, temperature = self.options.weight, self.options.temperature
        if not weight:
            return student.loss(batch)
        with torch.no_grad():
            theirs = self.task.distributions(batch)
        if weight == 1:
            return temperature**2 * divergence(theirs, student.distributions(batch), temperature)
        loss, ours = student.loss_and_distributions(batch)
        return (1 - weight) * loss + weight * temperature**2 * divergence(theirs, ours, temperature)

    def texts(self, texts: Texts, data: DataModule, device: torch.device) -> Texts:
        """The training rows with the teacher's lines as targets (Kim and Rush 2016, sec. 3.2), or these after them.

        They are decoded on `device` as the teacher's checkpoint says and kept with the prepared data, under the
        checksums of the checkpoint and of the rows: a resumed run reads the same ones.
        """
        beside = self.options.sequences == "beside"
        if beside and len(texts.corpora) > 1:
            raise InputError("distillation.sequences beside does not go with a Mixture, whose shares it would change")
        key = [VERSION, self.content, texts.content, data.max_length]
        folder = Cache(data.cache).folder("taught", key, lambda folder: self._write(texts, data, device, folder))
        made = rows.read(folder)
        if not beside:
            return texts._replace(target=made.target, content=made.content)
        both = Cache(data.cache).folder("taught", [*key, "beside"], lambda folder: write_both(texts, made, folder))
        taught = rows.read(both)
        return taught._replace(origins=texts.origins, locations=taught.locations if len(texts.locations) else ())

    @tf32(False)
    def _write(self, texts: Texts, data: DataModule, device: torch.device, folder: Path) -> None:
        count = len(texts.source)
        print(f"{count:,} training rows are predicted by {self.path}, and kept for other runs", file=sys.stderr)
        split, task = data.encode(texts, self.task.tokenizers, "train"), self.task.to(device)
        lines, predict, ended = [""] * count, Predictor(task, task.decoding), 0
        with tqdm(total=count, desc="predicting", unit="row", leave=False, disable=None) as bar:
            for batch in predict_texts.batches(split, task.decoding, device):
                for one in predict(batch):
                    lines[one.row] = one.text
                    ended += bool(one.at_limit)
                bar.update(len(batch.rows))
        if ended:
            log.warning("%d of %d predictions of %s are as long as they may be: cut off", ended, count, self.path)
        rows.write((Row(*pair, row) for row, pair in enumerate(zip(texts.source, lines, strict=True), 1)), folder)


def write_both(texts: Texts, taught: Texts, folder: Path) -> None:
    """The rows as they were read, and after them those of the teacher."""
    rows.write(
        (Row(source, target, *(texts.place(row) or ("", row + 1))[::-1])
         for targets in (texts.target, taught.target)
         for row, (source, target) in enumerate(zip(texts.source, targets, strict=True))),
        folder,
    )  # fmt: skip


def divergence(teacher: Sequence[Tensor], student: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
    """KL of the student's softened distributions from the teacher's, summed over kinds and N tokens, in nats.

    teacher, student: of each kind log-probabilities (N, V); intermediate values are held for a part of the tokens at a
    time.
    """
    found = []
    for theirs, ours in zip(teacher, student, strict=True):
        size = max(1, CHUNK // ours.shape[-1])
        for piece in zip(torch.split(theirs, size), torch.split(ours, size), strict=True):
            found.append(torch.as_tensor(recomputed(_divergence, *piece, temperature, use_reentrant=False)))
    return torch.stack(found).sum()


def _divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    theirs, ours = (side if temperature == 1 else (side / temperature).log_softmax(-1) for side in (teacher, student))
    return (theirs.exp() * (theirs - ours)).sum()
