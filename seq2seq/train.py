"""python -m seq2seq.train: fit, score the best checkpoint on the test split, report."""

import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jsonargparse import Namespace

from seq2seq import checkpoint, command
from seq2seq.data.datamodule import DataModule, Split
from seq2seq.data.tokenizers import Tokenizers
from seq2seq.errors import InputError, Interrupted
from seq2seq.parts import plain
from seq2seq.rundir import RunDirectory, write_text
from seq2seq.tasks.base import Task

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seq2seq.callbacks import Checkpoints, Curves
    from seq2seq.learner import Learner


def main(arguments: Sequence[str]) -> None:
    """Train as the arguments say."""
    started = time.monotonic()
    kind = command.task_class(arguments)
    parser = command.training_parser(kind)
    config = command.parse(parser, arguments)
    configs = command.options(arguments, ("--config",))
    if not configs:
        raise InputError("give a configuration: python -m seq2seq.train --config configs/translation_cldr.yaml")
    run = RunDirectory(Path(config.run or f"runs/{Path(configs[-1][1]).stem}"))
    resolved = command.plain_settings(parser, config)
    parts = parser.instantiate(config)
    launch, first = launch_id(), process_rank() == 0
    if first:
        run.claim(config.overwrite, config.resume)
    try:
        if first and config.resume:
            same_settings(run, resolved)
        task, data, train, validation = prepare(kind, parts, run, launch, first)
        prepared = time.monotonic() - started
        fit_and_test(parts, run, resolved, task, data, train, validation, prepared)
    finally:
        if first:
            run.release()


def same_settings(run: RunDirectory, resolved: dict[str, Any]) -> None:
    """Refuse to resume with another experiment; the trainer's options may change."""
    before = command.read_yaml(run.config)
    for name in ("task", "seed", "model", "optimizer", "data"):
        if before.get(name) != json.loads(json.dumps(resolved.get(name))):
            raise InputError(
                f"{name} differs from {run.config}, so this would be another experiment; "
                f"resume with --config {run.config}, or start another --run"
            )


def process_rank() -> int:
    """The number of this process, 0 before any other has been started."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        return int(os.environ["SLURM_PROCID"])
    return int(os.environ.get("LOCAL_RANK", "0")) + int(os.environ.get("NODE_RANK", "0"))


def launch_id() -> str:
    """What the processes of one launch have in common."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT")
        return "-".join(environment.get(name, "") for name in names)
    if int(environment.get("SLURM_NTASKS", "1")) > 1:
        return "-".join(environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    return environment.setdefault("SEQ2SEQ_LAUNCH", uuid.uuid4().hex)  # inherited by the processes Lightning starts


def prepare(
    kind: type[Task], parts: Namespace, run: RunDirectory, launch: str, first: bool
) -> tuple[Task, DataModule, Split, Split]:
    """Texts, vocabularies, ids and the network. The first process learns the vocabularies, the others read them."""
    data: DataModule = parts.data
    train_texts, validation_texts = data.texts("train"), data.texts("validation")
    if first and parts.resume:
        tokenizers = checkpoint.load(run.last).tokenizers
    elif first:
        tokenizers = data.train_tokenizers(train_texts)
    torch.manual_seed(parts.seed)
    if first:
        keep_tokenizers(tokenizers, run)
        run.announce(launch)
    else:
        run.wait(launch)
        tokenizers = read_tokenizers(data, run)
    train = data.encode(train_texts, tokenizers, training=True)
    validation = data.encode(validation_texts, tokenizers)
    task = kind(tokenizers, **vars(parts.model))
    task.decoding = parts.decoding
    return task, data, train, validation


def keep_tokenizers(tokenizers: Tokenizers, run: RunDirectory) -> None:
    """For the other processes of this launch; a checkpoint has its own copy."""
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    for name, tokenizer in zip(Tokenizers._fields, tokenizers, strict=True):
        (folder / f"{name}.tokenizer").write_bytes(tokenizer.state)


def read_tokenizers(data: DataModule, run: RunDirectory) -> Tokenizers:
    """What the first process has learnt."""
    states = [(run.path / "checkpoints" / f"{name}.tokenizer").read_bytes() for name in Tokenizers._fields]
    return data.restore_tokenizers(states)


def fit_and_test(
    parts: Namespace,
    run: RunDirectory,
    resolved: dict[str, Any],
    task: Task,
    data: DataModule,
    train: Split,
    validation: Split,
    prepared: float,
) -> None:
    """Train, then score the best checkpoint and write everything down."""
    from seq2seq.callbacks import Checkpoints, Curves, Progress  # Lightning takes its time to import
    from seq2seq.learner import Learner

    learner = Learner(task, data, train, validation, parts.optimizer, parts.seed, json.dumps(plain(data)))
    curves, checkpoints = Curves(run, parts.trainer.log_every_n_steps), Checkpoints(run, parts.patience)
    trainer = make_trainer(parts, [curves, Progress(curves), checkpoints])
    if trainer.is_global_zero:
        write_text(run.config, command.to_yaml(resolved))
        describe(learner, run, parts)
    try:
        trainer.fit(learner, ckpt_path=str(run.last) if parts.resume else None, weights_only=True)
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C
        raise Interrupted(f"stopped at step {trainer.global_step}; continue with --resume true") from stopped
    test(trainer, learner, run, curves, checkpoints, resolved, prepared)


def make_trainer(parts: Namespace, callbacks: list[Any]) -> "Trainer":
    """Lightning's trainer without the parts that this project does itself."""
    import pytorch_lightning as lightning
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    command.quiet_libraries()  # Lightning sets its own level when imported
    from seq2seq.learner import AtomicCheckpoints

    try:
        return lightning.Trainer(
            **parts.trainer.arguments,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as problem:
        raise InputError(
            f"the trainer's options do not fit this machine: {' '.join(str(problem).split())}"
        ) from problem


def describe(learner: "Learner", run: RunDirectory, parts: Namespace) -> None:
    """Two lines before training starts."""
    source, target = (len(one) for one in learner.task.tokenizers)
    rows = {name: len(split.source) for name, split in learner.splits.items()}
    print(
        f"{rows['train']:,} training rows, {rows['validation']:,} for validation; "
        f"vocabulary {source:,} and {target:,}; {learner.task.parameter_counts()['total']:,} parameters\n"
        f"{len(learner.plan):,} steps an epoch; writing to {run.path}",
        file=sys.stderr,
    )


def test(
    trainer: "Trainer",
    learner: "Learner",
    run: RunDirectory,
    curves: "Curves",
    checkpoints: "Checkpoints",
    resolved: dict[str, Any],
    prepared: float,
) -> None:
    """Score the best checkpoint on the test split and write predictions, results and report."""
    from seq2seq import results

    started = time.monotonic()
    learner.task.load_state_dict(checkpoint.load(run.best).state_dict())
    learner.splits["test"] = learner.data.encode(learner.data.texts("test"), learner.task.tokenizers)
    decoding = learner.task.decoding
    trainer.test(learner, learner.evaluation_batches("test", decoding), verbose=False)
    if not trainer.is_global_zero:
        return
    written = {
        "format": 1,
        "task": type(learner.task).__name__,
        "name": run.path.name,
        "splits": {"test": results.split_results(learner.predictions, learner.task, decoding)},
        "curves": curves.points,
        "best": checkpoints.best,
        "config": resolved,
        "environment": results.environment(results.device_name(trainer.strategy.root_device)),
        "model": {"parameters": learner.task.parameter_counts()},
        "data": data_card(learner),
        "seconds": round(curves.seconds, 2),
        "timing": {
            "prepare": round(prepared, 2),
            "train": round(curves.seconds, 2),
            "evaluate": round(time.monotonic() - started, 2),
        },
    }
    results.publish(written, learner.predictions, run, "test")
    print(results.summary(written, "test"))
    print(f"\nreport: {run.report}")


def data_card(learner: "Learner") -> dict[str, Any]:
    """Sizes of the data, for the report."""
    source, target = (len(one) for one in learner.task.tokenizers)
    return {
        "rows": {name: len(split.source) for name, split in learner.splits.items()},
        "vocabulary": {"source": source, "target": target},
    }


if __name__ == "__main__":
    command.run(main)
