"""Fit, then score the best checkpoint on the test split."""

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from seq2seq.cli import command
from seq2seq.cluster.environment import process_rank
from seq2seq.cluster.watchdog import Watchdog
from seq2seq.errors import InputError, Interrupted
from seq2seq.models.cells import lacks_bfloat16
from seq2seq.runs import checkpoint, run_card
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.training.signals import Deadline

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seq2seq.analysis.examine import Examined
    from seq2seq.training.callbacks import Checkpoints, Curves, EncoderMemory
    from seq2seq.training.learner import Learner
from seq2seq.training.preparation import Job, begin
from seq2seq.training.trainer import make_trainer


class Records(NamedTuple):
    """What a training has kept for its results."""

    curves: "Curves"
    memory: "EncoderMemory"
    checkpoints: "Checkpoints"


def fit_and_test(job: Job, learner: "Learner", watch: Watchdog) -> None:
    """Train, then score the best checkpoint and write everything down."""
    from seq2seq.training.callbacks import Budget, Checkpoints, Curves, EncoderMemory, Progress
    from seq2seq.training.step_boundaries import Boundaries

    curves = Curves(job.run, job.parts.trainer.log_every_n_steps)
    curves.changes = job.allowed
    checkpoints = Checkpoints(job.run, job.parts.patience, job.parts.optimizer.average)
    progress = Progress(curves, learner.task.metrics[0].name)
    memory = EncoderMemory(curves)
    options = job.parts.trainer
    boundaries = Boundaries(job.requests, Deadline(options.limit, job.started), checkpoints, watch, options.save_every)
    trainer = make_trainer(job.parts, [Budget(), memory, curves, progress, checkpoints, boundaries])
    job.parts.optimizer.schedule.check(learner.training_length(trainer))
    if process_rank() == 0:
        begin(job, learner.task.tokenizers)
        describe(learner, job.run)
        if trainer.precision == "bf16-mixed" and lacks_bfloat16(trainer.strategy.root_device):
            hint = "--trainer.precision 32-true is faster here"
            print(
                f"this processor has no bfloat16 arithmetic, so recurrent layers run in 32 bits; {hint}",
                file=sys.stderr,
            )
    prepared = time.monotonic() - job.started
    try:
        with job.requests.noted():
            trainer.fit(learner, ckpt_path=str(job.run.last) if job.resume else None, weights_only=True)
            if checkpoints.validated < trainer.global_step:
                trainer.validate(learner, verbose=False)
            average = validate_average(job.run, trainer, learner, checkpoints)
            test(job, trainer, learner, Records(curves, memory, checkpoints), prepared, average)
            checkpoints.forget(trainer)
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C
        further = "continue with --resume true" if job.run.last.is_file() else "nothing has been saved yet"
        raise Interrupted(f"stopped at step {trainer.global_step}; {further}") from stopped


def validate_average(
    run: RunDirectory, trainer: "Trainer", learner: "Learner", checkpoints: "Checkpoints"
) -> dict[str, Any] | None:
    """Score the mean of the parameters of the last validations; the best checkpoint if it is not worse."""
    from seq2seq.training.averaging import mean

    steps, best = checkpoints.kept, checkpoints.best
    if len(steps) < 2 or best is None:
        return None
    learner.load_state_dict(mean([run.at_step(step) for step in steps]))
    trainer.predict(learner, learner.val_dataloader(), return_predictions=False)
    metric = learner.task.metrics[0]
    value = learner.scores[metric.name]
    chosen = metric.rank(value) >= metric.rank(best["value"])
    if trainer.is_global_zero:
        verdict = "it is the best checkpoint" if chosen else f"the one of step {best['step']:,} stays the best"
        print(
            f"mean of the parameters of steps {', '.join(map(str, steps))}: {best['metric']} {value:.2f}, before "
            f"{best['value']:.2f}; {verdict}",
            file=sys.stderr,
        )
    if chosen:
        trainer.save_checkpoint(run.best, weights_only=True)
        checkpoints.best = {"step": steps[-1], "metric": best["metric"], "value": value}
    return {"steps": steps, "metric": best["metric"], "value": value, "chosen": chosen}


def describe(learner: "Learner", run: RunDirectory) -> None:
    """Some lines before training starts."""
    held = learner.data.held_out()
    if held:
        share = f"{100 * learner.data.holdout:g} % of the training rows each, {learner.data.corpus.held_out}"
        print(f"no files for {' and '.join(held)}: held out {share} (data.holdout)", file=sys.stderr)
    card, plan = data_card(learner), learner.plan
    rows = "streamed" if plan is None else f"{card['rows']['train']:,}"
    steps = "the corpus is streamed" if plan is None else f"{len(plan):,} steps an epoch"
    print(
        f"{rows} training rows, {card['rows']['validation']:,} for validation; "
        f"{' and '.join(one.extent() for one in learner.task.tokenizers)}; "
        f"{learner.task.parameter_counts()['total']:,} parameters\n"
        f"{steps}; writing to {run.path}",
        file=sys.stderr,
    )


def test(
    job: Job,
    trainer: "Trainer",
    learner: "Learner",
    records: Records,
    prepared: float,
    average: dict[str, Any] | None,
) -> None:
    """Score the best checkpoint on the test split and write predictions, results and report."""
    from seq2seq.analysis.results_files import publish
    from seq2seq.report.terminal import summary

    started = time.monotonic()
    if not job.run.best.is_file():
        raise InputError(
            f"{job.run.best} is gone, which was to be tested; bring it back from a copy, score {job.run.last} with "
            "python -m seq2seq.evaluate, or train again with --overwrite true"
        )
    learner.task.load_state_dict(checkpoint.load(job.run.best).state_dict())
    task, texts = learner.task, learner.data.texts("test")
    learner.splits["test"] = learner.data.encode(texts, task.tokenizers, "test", task.row_format)
    decoding = learner.task.decoding
    trainer.test(learner, learner.evaluation_batches("test", decoding), verbose=False)
    if not trainer.is_global_zero:
        return
    job.requests.at_once()  # no process waits for this one any more
    examined = examine(learner, "train" in learner.splits and not job.parts.distillation.sequences)
    train_seconds, test_seconds = round(records.curves.seconds, 2), round(time.monotonic() - started, 2)
    written = {
        "format": 1,
        "task": type(learner.task).__name__,
        "name": job.run.path.name,
        "splits": {"test": examined.results},
        "curves": records.curves.points,
        "memory": records.memory.points,
        "best": records.checkpoints.best,
        "average": average,
        "skipped": learner.skipped_steps.counts(),
        "teacher": learner.teacher and {"checkpoint": str(learner.teacher.path), "sha256": learner.teacher.content},
        "config": job.settings,
        "model": {"parameters": learner.task.parameter_counts()},
        **card_of(job, trainer, learner, records.curves),
        "seconds": train_seconds,
        "timing": {"prepare": round(prepared, 2), "train": train_seconds, "evaluate": test_seconds},
    }
    publish(written, examined, job.run, "test")
    print(summary(written, "test"))
    print(f"\nreport: {job.run.report}")


def examine(learner: "Learner", read: bool) -> "Examined":
    """Score the predictions of the test split and look at the network; read: whether the training rows are at hand."""
    from seq2seq.analysis.breakdown import training_counts
    from seq2seq.analysis.examine import examine

    task, rows = learner.task, learner.predictions
    train = learner.splits["train"].texts if read else None
    return examine(
        task,
        learner.splits["test"],
        rows,
        task.decoding,
        learner.device,
        lambda sentences: training_counts(
            learner.data, rows, task.row_format.aligned, sentences, train=train, content=learner.content
        ),
    )


def card_of(job: Job, trainer: "Trainer", learner: "Learner", curves: "Curves") -> dict[str, Any]:
    """What sets this run apart, where and on what it ran, and what it cost."""
    parser, device = command.training_parser(type(learner.task)), trainer.strategy.root_device
    surroundings = {"seed": job.parts.seed, "processes": trainer.world_size, "threads": torch.get_num_threads()}
    return {
        "changed": run_card.changed(job.settings, command.plain_settings(parser, parser.get_defaults())),
        "resumed": curves.resumed,
        "allowed_changes": curves.changes,
        "energy": run_card.energy(curves.seconds, device, trainer.world_size),
        "environment": run_card.environment(run_card.device_name(device)) | surroundings,
        "data": data_card(learner) | {"fingerprints": fingerprints(learner)},
    }


def fingerprints(learner: "Learner") -> dict[str, dict[str, Any]]:
    """What tells the data of a run from other data: of files or, where there are none, of rows."""
    texts = {name: split.texts for name, split in learner.splits.items()}
    if "train" in texts:  # as they were read: a teacher may have written other targets
        texts["train"] = texts["train"]._replace(content=learner.content)
    streamed = {} if "train" in texts else {"first training rows": {"sha256": learner.content[: run_card.SHOWN]}}
    return run_card.fingerprints(texts, learner.data.path) | streamed


def data_card(learner: "Learner") -> dict[str, Any]:
    """Sizes of the data, for the report."""
    sides = learner.task.tokenizers._asdict().items()
    return {
        "rows": {name: len(split) for name, split in learner.splits.items()},
        "vocabulary": {side: one.sizes[0] for side, one in sides if one.width is None},
        "numbers_of_a_step": {side: one.width for side, one in sides if one.width is not None},
    }
