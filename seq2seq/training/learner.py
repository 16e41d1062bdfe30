"""Learner: a task inside Lightning's loop. Everything that needs Lightning and is no callback is here."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor
from torch.utils.data import DataLoader

import seq2seq
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import LARGEST, Plan
from seq2seq.data.batching.running_text import BpttStreams
from seq2seq.data.batching.split import Split, Step
from seq2seq.data.batching.streaming import StreamedSteps, StreamPosition
from seq2seq.data.datamodule import DataModule
from seq2seq.data.trained_rows import TrainedRows
from seq2seq.errors import InputError
from seq2seq.inference import decoding_rows
from seq2seq.inference.device import out_of_memory, tf32
from seq2seq.inference.predictor import MeasuredLoss, Predicted, Predictor, in_order, mean_loss, score
from seq2seq.metrics.base import Prediction
from seq2seq.metrics.likelihood import perplexity_of
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.training.arithmetic import gradient_scale, unscale
from seq2seq.training.averaging import MovingAverage
from seq2seq.training.carried_state import CarriedState
from seq2seq.training.distillation import Teacher
from seq2seq.training.lightning_private import loops_at
from seq2seq.training.options import OptimizerOptions
from seq2seq.training.schedules import PlateauState, TrainingLength
from seq2seq.training.skipped_steps import SkippedSteps, StepRecord
from seq2seq.training.training_loss import training_loss
from seq2seq.training.tried_metrics import as_stored


class Learner(LightningModule):
    """Trains a task; validates by decoding greedily and tests by the task's own search."""

    def __init__(
        self,
        task: Task,
        data: DataModule,
        train: Split | None,
        validation: Split,
        optimizer: OptimizerOptions,
        seed: int,
        clip: float | None = None,
        content: str = "",
        teacher: Teacher | None = None,
    ) -> None:
        """train: None when the corpus is streamed; content: the checksum of the training rows as they were read.

        clip: the largest norm of the gradient.
        seed: of the batch plan, of subword sampling and of dropout.
        """
        super().__init__()
        self.automatic_optimization = False  # a step has as many micro-batches as fit the devices
        self.task, self.data, self.splits = task, data, {"validation": validation}
        if train is not None:
            self.splits["train"] = train
        self.options, self.seed, self.clip = optimizer, seed, float("inf") if clip is None else clip
        self.plan: Plan | BpttStreams | None = None
        if train is not None:
            self.plan = data.plan(train, seed)
        elif task.row_format.consecutive:
            raise InputError("model.running needs all training rows at hand; drop data.window")
        streams = self.plan if isinstance(self.plan, BpttStreams) else None
        self.carried = None if streams is None else CarriedState(task, streams.streams, len(streams))
        self.place: StreamPosition | None = None
        self.content = content
        self.device_tokens = None if data.device_tokens == "auto" else data.device_tokens
        self.evaluation_group: dist.ProcessGroup | None = None
        """The processes, when they gather what they have predicted; None for the usual group."""
        self.predicted: list[Predicted] = []
        self.predictor: Predictor | None = None
        self.predictions: list[Prediction] = []
        self.scored = "test"
        """The split that the best checkpoint predicts at the end."""
        self.scores: dict[str, float] = {}
        self.validation_loss = math.nan
        """With teacher forcing, of a target token."""
        self.plateau = PlateauState()
        self.warmup = optimizer.warmup_steps or 0
        """Optimiser steps in which the learning rate rises."""
        self.teacher = teacher
        self.parent: dict[str, Any] | None = None
        """The run that this one was started from."""
        self.moving = None if optimizer.ema_decay is None else MovingAverage(task, optimizer.ema_decay)
        self.last_loss, self.gradient_norm = torch.zeros(()), torch.zeros(())
        self.skipped_steps = SkippedSteps()
        self.trained: TrainedRows | None = None
        """Which rows have been trained on; of a streamed corpus those that have been read."""
        self.streamed: StreamedSteps | None = None

    @property
    def epoch_tokens(self) -> int:
        """Those of all training rows, source and target together; 0 of a streamed corpus."""
        plan = self.plan
        return 0 if plan is None else plan.tokens

    @property
    def step_tokens(self) -> int:
        """The most padded tokens of an optimiser step."""
        return (self.data.batch_tokens or LARGEST) if self.plan is None else self.plan.batch_tokens

    def training_length(self, trainer: Trainer) -> TrainingLength:
        """How long this training takes, for the schedule."""
        warmup = self.warmup
        if self.plan is None:
            return TrainingLength(warmup, trainer.max_steps, None)
        epoch = len(self.plan)
        limits = [trainer.max_steps, (trainer.max_epochs or -1) * epoch]
        return TrainingLength(warmup, min((limit for limit in limits if limit > 0), default=epoch), epoch)

    def train_dataloader(self) -> "DataLoader[Step] | StreamedSteps":
        """This device's share of each step, from where training stands."""
        device = (self.trainer.global_rank, self.trainer.world_size)
        data, tokenizers = self.data, self.task.tokenizers
        if self.plan is None:
            self.streamed = data.streamed_steps(
                tokenizers, self.seed, self.place, *device, self.device_tokens, self.task.row_format
            )
            return self.streamed
        train = self.plan if isinstance(self.plan, BpttStreams) else self.splits["train"]
        position = partial(getattr, self.trainer, "global_step")
        return data.training_steps(train, tokenizers, self.plan, position, *device, self.device_tokens)

    def val_dataloader(self) -> "DataLoader[Batch]":
        """This device's share of the validation split."""
        return self.evaluation_batches("validation", self.task.decoding.greedy())

    def evaluation_batches(self, split: str, decoding: Decoding) -> "DataLoader[Batch]":
        """This device's share of a split, batched for `decoding`."""
        device = (self.trainer.global_rank, self.trainer.world_size)
        memory: list[Any] = [decoding_rows.memory_of(self.trainer.strategy.root_device)]
        if decoding.rows is None and memory[0] is not None and self.trainer.world_size > 1:
            mine, memory = memory[0], memory * self.trainer.world_size
            dist.all_gather_object(memory, mine)  # the same batches on unlike GPUs
        longest = int(self.splits[split].source_lengths().max(initial=1))
        fitting = decoding_rows.chosen(self.task, decoding, min(memory), longest)
        return self.data.evaluation_batches(self.splits[split], fitting.sources, *device)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        if isinstance(batch, Step):  # micro-batches go to the device one by one, in training_step
            return batch
        return cast(Batch, batch).to(device)

    def record(self, pieces: Sequence[Batch]) -> StepRecord:
        """What made the step that is under way."""
        trainer, split = self.trainer, self.splits.get("train")
        texts = None if split is None or self.carried is not None else split.texts
        return StepRecord(
            self.global_step + 1, self.seed, trainer.global_rank, trainer.world_size, self.task, self.data, texts,
            pieces, self.carried.before if self.carried else (), float(self.last_loss), float(self.gradient_norm),
        )  # fmt: skip

    def training_step(self, batch: Step, batch_idx: int) -> None:
        """One optimiser step: the gradients of its micro-batches are added up over time and devices."""
        optimizer = self.optimizers()
        if isinstance(optimizer, list):
            raise TypeError("a Learner has one optimiser")
        seed = step_seed(self.seed, self.global_step)
        risk = self.options.teaches_predictions(self.global_step, self.length.total)
        pieces = [piece._replace(seed=seed, step=self.global_step, risk=risk) for piece in batch.batches]
        while (large := self.accumulate(pieces)) is not None:
            pieces[large : large + 1] = self.skipped_steps.halved(pieces[large], self.device)
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.clip)
        # The same on each device, whose gradients are; a norm and a loss are waited for here, once a step.
        finite = bool((self.gradient_norm + self.last_loss).isfinite())
        if not finite:
            self.skipped_steps.skip(self.record(pieces))
            self.wait_for_all()
            self.zero_grad()  # an optimiser without gradients counts the step and changes nothing
        if self.carried is not None:
            self.carried.end_step(self.global_step, finite, self.trainer.world_size)
        for group in optimizer.param_groups:
            group["lr"] = self.options.rate(self.global_step, self.length, self.plateau)
        optimizer.step()
        if self.moving is not None and finite:
            self.moving.update(self.global_step)
        self.place = batch.position

    def accumulate(self, pieces: Sequence[Batch]) -> int | None:
        """Add up the gradients of micro-batches; the number of one that did not fit the device, None if all did."""
        self.zero_grad()
        if self.carried is not None:
            self.carried.begin_step(self.device)
        self.last_loss, number, exchanging = torch.zeros((), device=self.device), 0, False
        scale = gradient_scale(self.device, str(self.trainer.precision), pieces[0].step_tokens)
        try:
            for number, piece in enumerate(pieces):
                piece, last = piece.to(self.device), number == len(pieces) - 1
                loss = self.loss(piece) / piece.step_tokens
                self.last_loss += loss.detach()
                exchanging = last and self.trainer.world_size > 1
                if exchanging:  # a non-finite loss makes the gradients of all devices such
                    loss = loss * (1 + (self.last_loss - self.last_loss))
                with (
                    contextlib.nullcontext() if last else self.unsynchronised(),
                    torch.autocast(self.device.type, enabled=False),  # what was computed in 32 bits stays there
                ):
                    self.manual_backward(loss * (self.trainer.world_size * scale))  # DDP averages, the sum is needed
        except RuntimeError as problem:
            if not out_of_memory(problem):
                raise
            if exchanging:  # others have begun to exchange what cannot be repeated
                tokens = pieces[number].source.numel() + pieces[number].target.numel()
                raise InputError(
                    f"out of memory at step {self.global_step + 1}, while the processes exchanged gradients; set "
                    f"data.device_tokens below {tokens}, and continue with --resume true"
                ) from problem
            return number
        unscale(self.parameters(), scale)
        return None

    def loss(self, batch: Batch) -> Tensor:
        """Of a micro-batch, summed over its real target tokens, in nats."""
        if self.carried is not None:
            return self.carried.loss(batch)
        return training_loss(self.task, batch, self.options, self.teacher)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the task has the parameters that are validated: their moving average where there is one."""
        return contextlib.nullcontext() if self.moving is None else self.moving.applied()

    def unsynchronised(self) -> contextlib.AbstractContextManager[Any]:
        """Inside, gradients stay on their device."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else contextlib.nullcontext()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.options.algorithm.optimizer(self.parameters(), self.options.learning_rate)

    def on_fit_start(self) -> None:
        self.length = self.training_length(self.trainer)
        if self.moving is not None:
            self.moving.to(self.device)
        if self.teacher is not None:
            self.teacher.to(self.device)

    def on_validation_epoch_start(self) -> None:
        if self.moving is not None:
            self.moving.swap()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.collect(batch, self.task.decoding.greedy(), measured=True)

    def on_validation_epoch_end(self) -> None:
        if self.moving is not None:
            self.moving.swap()
        self.gather_validation()
        if self.trainer.state.fn == "fit":
            metric = self.task.metrics[0]
            rank = metric.rank(self.scores[metric.name])
            self.plateau = self.options.schedule.observe(self.plateau, rank, self.validation_loss)

    def leave_validation(self) -> None:
        """Undo what the beginning of a validation has done, to save the training as it stood before."""
        self.predicted, self.predictor = [], None
        if self.moving is not None:
            self.moving.swap()

    def gather_validation(self) -> None:
        """The predictions of the validation split, their scores, and the loss of the references."""
        self.predictions, losses = self.gather("validation")
        self.validation_loss = mean_loss(losses)
        self.scores = {name: value.value for name, value in score(self.predictions, self.task.metrics).items()}

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Validate parameters that belong to no step, so that no callback takes them for the newest."""
        self.collect(batch, self.task.decoding.greedy(), measured=True)

    def on_predict_epoch_end(self) -> None:
        self.gather_validation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False), tf32(False):  # `evaluate` repeats the very number
            self.collect(batch, self.task.decoding)

    def on_test_epoch_end(self) -> None:
        self.predictions, _ = self.gather(self.scored)

    def collect(self, batch: Batch, decoding: Decoding, measured: bool = False) -> None:
        """Predict a batch; an empty one only keeps this device in step with the others."""
        if self.predictor is None:  # the first batch of a split
            self.predictor = Predictor(self.task, decoding, measured)
        self.predicted += self.predictor(batch)

    def wait_for_all(self) -> None:
        """Wait for the first process, which may write for longer than a collective of the training may last."""
        if self.trainer.world_size > 1:
            dist.barrier(self.evaluation_group)

    def save(self, path: Path, parameters_only: bool = False) -> None:
        """Write a checkpoint. All processes call this; they wait for the first one as long as it takes."""
        own = vars(self.trainer.strategy)
        own["barrier"] = lambda *_: self.wait_for_all()  # in place of Lightning's, which NCCL ends after its timeout
        try:
            self.trainer.save_checkpoint(path, weights_only=parameters_only)
        finally:
            del own["barrier"]

    def gather(self, split: str) -> tuple[list[Prediction], list[MeasuredLoss]]:
        """The predictions of all devices in row order and their losses, the same on each."""
        mine = self.predicted, self.predictor.losses if self.predictor else []
        self.predicted, self.predictor = [], None
        shares: list[Any] = [mine]
        if self.trainer.world_size > 1:
            shares = [None] * self.trainer.world_size
            dist.all_gather_object(shares, mine, self.evaluation_group)
        predicted = [row for rows, _ in shares for row in rows]
        return in_order(predicted, self.splits[split].texts), [loss for _, losses in shares for loss in losses]

    def measured(self) -> dict[str, float]:
        """What the last validation has measured: the scores, the loss and, of likelihoods, the perplexity."""
        loss = self.validation_loss
        values = {"loss": loss} | ({"perplexity": perplexity_of(loss)} if self.task.loss_is_likelihood else {})
        return values | self.scores

    def on_save_checkpoint(self, checkpoint_content: dict[str, Any]) -> None:
        run = {"content": self.content, "place": self.place, "device_tokens": self.device_tokens, "watch": self.plateau}
        run |= {"validation": self.splits["validation"].texts.content, "version": seq2seq.__version__}
        run["test"] = None if self.trained is None else self.trained.contents.get("test")
        run["skipped"] = self.skipped_steps.stored()
        run["teacher"] = None if self.teacher is None else self.teacher.content
        run |= {"parent": self.parent, "warmup": self.warmup}
        if self.trained is not None and self.streamed is not None:
            self.trained = self.trained.add(self.streamed.sums_read())
        checkpoint_content["seq2seq"] = checkpoint.packed(self.task, self.data, run, self.trained)
        length = None if self.plan is None else len(self.plan)
        checkpoint_content["loops"] = loops_at(self.global_step, length, checkpoint_content["loops"])
        if "optimizer_states" in checkpoint_content:  # one to resume from
            checkpoint_content["carried"] = [tensor.cpu() for tensor in self.carried.before] if self.carried else []
            if self.moving is not None:
                checkpoint_content["moving_average"] = self.moving.values

    def refuse_other_network(self, content: Mapping[str, Any]) -> None:
        """Raise InputError for a checkpoint that this network cannot resume from, whatever is allowed to change."""
        if "optimizer_states" not in content:
            raise InputError(
                "the checkpoint holds parameters only, as best.ckpt does: it predicts and is evaluated, but cannot be "
                "resumed; bring last.ckpt back from a copy, or train again with --overwrite true"
            )
        if self.moving is not None and "moving_average" not in content:
            raise InputError("optimizer.ema_decay cannot begin in a resumed run; start another --run")
        if not isinstance(content["state_dict"], Mapping):
            raise InputError("the checkpoint's state_dict holds no parameters; bring last.ckpt back from a copy")
        then, now = ({name: tuple(getattr(tensor, "shape", ())) for name, tensor in state.items()}
                     for state in (content["state_dict"], self.state_dict()))  # fmt: skip
        for name in [*now, *then]:
            if then.get(name) != now.get(name):
                raise InputError(
                    f"the network cannot change in a resumed run: {name.removeprefix('task.')} was "
                    f"{then.get(name, 'missing')} and is {now.get(name, 'missing')}; start another --run"
                )

    def on_load_checkpoint(self, checkpoint_content: dict[str, Any]) -> None:
        self.place, self.parent = (checkpoint.stored(checkpoint_content, name) for name in ("place", "parent"))
        warmup = checkpoint.stored(checkpoint_content, "warmup")
        if self.options.warmup_steps is None and warmup is not None:  # it does not grow with a training
            self.warmup = warmup
        self.plateau = PlateauState(*checkpoint.stored(checkpoint_content, "watch"))
        self.task.metrics = as_stored(self.task.metrics, checkpoint_content["seq2seq"])
        earlier = checkpoint.trained_rows(checkpoint_content)
        if self.trained is not None and earlier is not None:
            self.trained = self.trained.before(earlier)
        if self.carried is not None:
            self.carried.before = tuple(checkpoint_content.get("carried", ()))
        self.skipped_steps.restore(checkpoint.stored(checkpoint_content, "skipped"))
        if self.moving is not None:
            self.moving.values = dict(checkpoint_content["moving_average"])
        if self.data.device_tokens == "auto":
            self.device_tokens = checkpoint.stored(checkpoint_content, "device_tokens")


def step_seed(seed: int, step: int) -> int:
    """A seed for all that is random in an optimiser step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


class AtomicCheckpoints(CheckpointIO):
    """Lightning's reading and writing of checkpoints, done by `runs.checkpoint`."""

    def __init__(self) -> None:
        self.check: Callable[[dict[str, Any]], dict[str, Any]] = dict
        """What was read to what Lightning may have; see `training.resumable`."""

    def save_checkpoint(self, content: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        checkpoint.write(content, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return self.check(checkpoint.read(Path(path)))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
