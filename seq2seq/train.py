"""python -m seq2seq.train: fit, score the best checkpoint on the test split, report."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jsonargparse import Namespace

from seq2seq.cli import parser as command
from seq2seq.cluster import watchdog as watching
from seq2seq.cluster.environment import launch_id, process_rank, restarted_job, scheduled_job, started_together
from seq2seq.cluster.watchdog import Watch
from seq2seq.configurable import with_short_names
from seq2seq.data.checks import checks
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import Finished, InputError, Interrupted, Stopped, check_range
from seq2seq.inference import predict_texts as inference
from seq2seq.models.cells import lacks_bfloat16
from seq2seq.runs import checkpoint, resuming
from seq2seq.runs import run_card as card
from seq2seq.runs.run_directory import RunDirectory, write_text
from seq2seq.tasks.base import Task
from seq2seq.training.signals import Deadline, Requests

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seq2seq.analysis.examine import Examined
    from seq2seq.training.callbacks import Checkpoints, Curves, Memory
    from seq2seq.training.distillation import Teacher
    from seq2seq.training.learner import Learner


COMPROMISED = ("2.6.2", "2.6.3")
"""Releases of pytorch-lightning with foreign code inside, which pyproject.toml excludes too."""


class Job(NamedTuple):
    """What the arguments ask for."""

    run: RunDirectory
    parts: Namespace
    """The configuration as objects."""
    settings: dict[str, Any]
    """The configuration as plain values."""
    arguments: Sequence[str]
    """As they were given."""
    started: float
    requests: Requests
    resume: bool
    allowed: list[dict[str, Any]]
    """What was allowed to change since the run was stopped."""


class Records(NamedTuple):
    """What a training has kept for its results."""

    curves: "Curves"
    memory: "Memory"
    checkpoints: "Checkpoints"


def main(arguments: Sequence[str]) -> None:
    """Train as the arguments say."""
    started, requests = time.monotonic(), Requests()
    requests.install()
    if watching.started_by_first():
        watching.die_with_parent()
    try:
        begin_or_resume(arguments, started, requests)
    except (Stopped, Interrupted):
        requests.ignore()
        raise
    finally:
        requests.restore()


def begin_or_resume(arguments: Sequence[str], started: float, requests: Requests) -> None:
    """Read the arguments, take the run directory, and train."""
    kind = command.task_class(arguments)
    parser = command.training_parser(kind)
    config = command.parse(parser, arguments)
    files = command.options(arguments, ("--config",))
    if not files:
        raise InputError("give a configuration: python -m seq2seq.train --config configs/translation_cldr.yaml")
    refuse_endless(config)
    if config.run == "":
        raise InputError("--run is empty; name a directory, or leave it out for runs/NAME OF THE CONFIGURATION")
    run = RunDirectory(Path(config.run or f"runs/{Path(files[-1][1]).stem}"))
    objects, settings = command.instantiate(parser, config), command.plain_settings(parser, config)
    check_range("seed", config.seed, 0, 1 << 63)
    if config.replay is not None:
        from seq2seq.training.skipped_steps import replay

        job = Job(run, objects, settings, arguments, started, requests, False, [])
        return replay(config.replay, read_teacher(job), decoding_device(job))
    try:
        job = Job(run, objects, settings, arguments, started, requests, claim(run, config), [])
        learner = prepare(job, kind)
        with watched(run, objects.trainer.timeout) as watch:
            fit_and_test(job, learner, watch)
    except Finished as done:
        tell(run, finished=str(done))
        print(done, file=sys.stderr)
    except Exception as problem:
        tell(run, failed=" ".join(str(problem).split()))
        raise
    finally:
        run.release()


@contextlib.contextmanager
def watched(run: RunDirectory, timeout: float) -> Iterator[Watch]:
    """Inside, a failure of one of several processes ends all of them, and the first one is named."""
    watch = Watch(run.processes, timeout)
    try:
        yield watch
    except Exception as problem:
        first = isinstance(problem, Stopped) or not watch.active or watch.failed(problem)
        if not first and not isinstance(problem, InputError):
            sys.exit(1)  # it follows from another's failure, which has been told
        raise
    finally:
        watch.stop()


def claim(run: RunDirectory, config: Namespace) -> bool:
    """Take the run directory, as the first process, or learn what that has decided: whether the run goes on."""
    if process_rank() != 0:
        return bool(run.wait(launch_id(), "resume"))
    resume = run.claim(config.overwrite, config.resume, restarted_job())
    tell(run, resume=resume)
    return resume


def tell(run: RunDirectory, **news: Any) -> None:
    """The first process tells others that wait for it; those that Lightning starts find everything prepared."""
    if process_rank() == 0 and started_together():
        with contextlib.suppress(OSError):
            run.announce(launch_id(), **news)


def refuse_endless(config: Namespace) -> None:
    """A streamed corpus has no epochs, so somebody must say when to stop and when to validate."""
    counted = {
        "trainer.max_steps": config.trainer.max_steps > 0,
        "trainer.val_check_interval": isinstance(config.trainer.val_check_interval, int),
    }
    missing = " and ".join(name for name, given in counted.items() if not given)
    if config.data.window is not None and missing:
        raise InputError(f"a streamed corpus (data.window) has no epochs; set {missing} to a number of optimiser steps")


def same_settings(job: Job) -> list[dict[str, Any]]:
    """Refuse to resume with another experiment; devices, precision and the like may change, which is said."""
    changes = resuming.changed(with_short_names(command.read_yaml(job.run.config)), job.settings)
    total = job.parts.optimizer.schedule.needs_total
    other = [one for one in changes if resuming.matters(one.name, total)]
    resuming.refuse_impossible(other)
    allowed = resuming.refuse_or_allow(other, job.run.config, job.parts.allow_change)
    harmless = [str(one) for one in changes if one not in other]
    if harmless:
        print(f"going on with {', '.join(harmless)}", file=sys.stderr)
    return allowed


def prepare(job: Job, kind: type[Task]) -> "Learner":
    """Texts, vocabularies, ids and the network. The first process learns the vocabularies, the others read them."""
    data: DataModule = job.parts.data
    if process_rank() == 0 and job.resume:
        job.allowed.extend(same_settings(job))
    teacher = read_teacher(job)
    train_texts, validation_texts = data.texts("train"), data.texts("validation")
    content = train_texts.content
    tokenizers = vocabularies(job, kind, train_texts, validation_texts, teacher)
    torch.manual_seed(job.parts.seed)
    task = kind(tokenizers, **vars(job.parts.model))
    task.decoding = job.parts.decoding
    if not job.resume:
        task.initialise()
    if teacher is not None:
        teacher.check(task)
        if job.parts.distillation.sequences:
            train_texts = teacher.texts(train_texts, data, decoding_device(job))
    train = None if data.window is not None else data.encode(train_texts, tokenizers, "train", task.layout)
    validation = data.encode(validation_texts, tokenizers, "validation", task.layout)

    refuse_compromised()
    from seq2seq.training.learner import Learner
    from seq2seq.training.skipped_steps import Numerics

    options = job.parts.trainer
    clip, dumps = options.gradient_clip_val, job.run.dumps
    learner = Learner(task, data, train, validation, job.parts.optimizer, job.parts.seed, clip, content, teacher)
    learner.numerics = Numerics(dumps, options.skip_limit, options.precision)
    return learner


def refuse_compromised() -> None:
    """Raise InputError where a release of Lightning is installed that steals passwords, before it is imported."""
    found = metadata.version("pytorch-lightning")
    if found in COMPROMISED:
        raise InputError(
            f"pytorch-lightning {found} is a compromised release; remove it, change the passwords and keys of this "
            "machine, and install another: pip install 'pytorch-lightning!=2.6.2,!=2.6.3'"
        )


def read_teacher(job: Job) -> "Teacher | None":
    """The run to learn from, if there is one."""
    if job.parts.distillation.teacher is None:
        return None
    from seq2seq.training.distillation import Teacher

    teacher = Teacher(job.parts.distillation, job.parts.data)
    if job.run.path.resolve() in teacher.path.resolve().parents:
        raise InputError(f"distillation.teacher {teacher.path} is in the run directory itself; choose another --run")
    return teacher


def decoding_device(job: Job) -> torch.device:
    """Where a teacher decodes before the trainer exists."""
    return inference.choose_device("cpu" if job.parts.trainer.accelerator == "cpu" else "auto")


def vocabularies(job: Job, kind: type[Task], train: Texts, validation: Texts, teacher: "Teacher | None") -> Tokenizers:
    """Those of the run that goes on, of the teacher, or learnt from the training rows."""
    data: DataModule = job.parts.data
    if process_rank() != 0:
        job.run.wait(launch_id(), "ready")
        return read_tokenizers(data, job.run)
    if job.resume:
        content = checkpoint.read(job.run.last)
        now = {"content": train.content, "validation": validation.content, "teacher": teacher and teacher.content}
        changes = resuming.origins(content, now)
        job.allowed.extend(resuming.refuse_or_allow(changes, job.run.last, job.parts.allow_change))
        return checkpoint.restore(content, job.run.last).tokenizers
    findings = checks.cheap(train, validation, kind.layout.conditions)
    print(checks.two_lines(findings, job.arguments), file=sys.stderr)
    return data.train_tokenizers(train) if teacher is None else teacher.tokenizers


def begin(job: Job, tokenizers: Tokenizers) -> None:
    """The first process's first writing: everything that could be refused has been accepted."""
    if not job.resume:
        job.run.clear()
    write_text(job.run.config, command.to_yaml(job.settings))
    keep_tokenizers(tokenizers, job.run)
    job.run.clear([job.run.processes.name])
    if scheduled_job() is not None:
        job.run.begun_by(str(scheduled_job()))
    job.run.announce(launch_id(), resume=job.resume, ready=True)


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


def fit_and_test(job: Job, learner: "Learner", watch: Watch) -> None:
    """Train, then score the best checkpoint and write everything down."""
    from seq2seq.training.callbacks import Budget, Checkpoints, Curves, Memory, Progress
    from seq2seq.training.step_boundaries import Boundaries

    curves = Curves(job.run, job.parts.trainer.log_every_n_steps)
    curves.changes = job.allowed
    checkpoints = Checkpoints(job.run, job.parts.patience, job.parts.optimizer.average)
    progress = Progress(curves, learner.task.metrics[0].name)
    memory = Memory(curves)
    options = job.parts.trainer
    boundaries = Boundaries(job.requests, Deadline(options.limit, job.started), checkpoints, watch, options.save_every)
    trainer = make_trainer(job.parts, [Budget(), memory, curves, progress, checkpoints, boundaries])
    job.parts.optimizer.schedule.check(learner.course(trainer))
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


def make_trainer(parts: Namespace, callbacks: list[Any]) -> "Trainer":
    """Lightning's trainer without the parts that this project does itself."""
    import pytorch_lightning as lightning
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    command.quiet_libraries()  # Lightning sets its own level when imported
    from seq2seq.cluster.preflight import Preflight, placed
    from seq2seq.training.learner import AtomicCheckpoints

    options = placed(parts.trainer.arguments)
    try:
        trainer = lightning.Trainer(
            **options,
            callbacks=[Preflight(), *callbacks],
            plugins=[AtomicCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as problem:
        raise InputError(
            f"the trainer's options do not fit this machine: {' '.join(str(problem).split())}"
        ) from problem
    leave_to_us(trainer)
    return trainer


def leave_to_us(trainer: "Trainer") -> None:
    """Keep Lightning from handling signals: it saves and broadcasts inside its handlers, in the middle of a step.

    What the processes agree on before each step, whether one of them was terminated, `Boundaries` does more cheaply.
    What its observer of processes does, killing all without a word, `Watch` does after the first failure was told.
    """
    from pytorch_lightning.strategies.launchers import subprocess_script

    setattr(trainer._signal_connector, "register_signal_handlers", lambda: None)  # noqa: B010
    setattr(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor", lambda: None)  # noqa: B010
    setattr(subprocess_script, "_launch_process_observer", lambda processes: None)  # noqa: B010


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
    from seq2seq.analysis import examine as results

    started = time.monotonic()
    if not job.run.best.is_file():
        raise InputError(
            f"{job.run.best} is gone, which was to be tested; bring it back from a copy, score {job.run.last} with "
            "python -m seq2seq.evaluate, or train again with --overwrite true"
        )
    learner.task.load_state_dict(checkpoint.load(job.run.best).state_dict())
    task, texts = learner.task, learner.data.texts("test")
    learner.splits["test"] = learner.data.encode(texts, task.tokenizers, "test", task.layout)
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
        "skipped": learner.numerics.counts(),
        "teacher": learner.teacher and {"checkpoint": str(learner.teacher.path), "sha256": learner.teacher.content},
        "config": job.settings,
        "model": {"parameters": learner.task.parameter_counts()},
        **run_card(job, trainer, learner, records.curves),
        "seconds": train_seconds,
        "timing": {"prepare": round(prepared, 2), "train": train_seconds, "evaluate": test_seconds},
    }
    results.publish(written, examined, job.run, "test")
    print(results.summary(written, "test"))
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
            learner.data, rows, task.layout.aligned, sentences, train=train, content=learner.content
        ),
    )


def run_card(job: Job, trainer: "Trainer", learner: "Learner", curves: "Curves") -> dict[str, Any]:
    """What sets this run apart, where and on what it ran, and what it cost."""
    parser, device = command.training_parser(type(learner.task)), trainer.strategy.root_device
    surroundings = {"seed": job.parts.seed, "processes": trainer.world_size, "threads": torch.get_num_threads()}
    return {
        "changed": card.changed(job.settings, command.plain_settings(parser, parser.get_defaults())),
        "resumed": curves.resumed,
        "allowed_changes": curves.changes,
        "energy": card.energy(curves.seconds, device, trainer.world_size),
        "environment": card.environment(card.device_name(device)) | surroundings,
        "data": data_card(learner) | {"fingerprints": fingerprints(learner)},
    }


def fingerprints(learner: "Learner") -> dict[str, dict[str, Any]]:
    """What tells the data of a run from other data: of files or, where there are none, of rows."""
    texts = {name: split.texts for name, split in learner.splits.items()}
    if "train" in texts:  # as they were read: a teacher may have written other targets
        texts["train"] = texts["train"]._replace(content=learner.content)
    streamed = {} if "train" in texts else {"first training rows": {"sha256": learner.content[: card.SHOWN]}}
    return card.fingerprints(texts, learner.data.path) | streamed


def data_card(learner: "Learner") -> dict[str, Any]:
    """Sizes of the data, for the report."""
    sides = learner.task.tokenizers._asdict().items()
    return {
        "rows": {name: len(split) for name, split in learner.splits.items()},
        "vocabulary": {side: one.sizes[0] for side, one in sides if one.width is None},
        "numbers_of_a_step": {side: one.width for side, one in sides if one.width is not None},
    }


if __name__ == "__main__":
    command.run(main)
