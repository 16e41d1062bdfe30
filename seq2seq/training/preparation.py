"""From the arguments to a learner: run directory, texts, vocabularies, network."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jsonargparse import Namespace

from seq2seq.atomic_files import write_text
from seq2seq.cluster.environment import launch_id, process_rank, restarted_job, scheduled_job, started_together
from seq2seq.cluster.watchdog import Watchdog
from seq2seq.data.checks import checks
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.trained_rows import trained_rows
from seq2seq.decoding import length_bound
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.errors import Finished, InputError, Stopped
from seq2seq.models.initial_values import draw
from seq2seq.models.word_embedding import WordOptions
from seq2seq.runs import checkpoint, resuming
from seq2seq.runs.config_file import read_yaml, to_yaml
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.runs.scored_rows import refuse_trained
from seq2seq.tasks.base import Task
from seq2seq.tasks.length_limits import learnt
from seq2seq.training import idle, own_callbacks, parent, training_loss, tried_metrics
from seq2seq.training.frozen import freeze
from seq2seq.training.options import DistillationOptions, OptimizerOptions, TrainerOptions
from seq2seq.training.parent import Parent, Start, read_parent
from seq2seq.training.signals import Requests
from seq2seq.training.trainer import own_device, refuse_compromised, refuse_unfit

if TYPE_CHECKING:
    from seq2seq.data.batching.split import Split
    from seq2seq.training.distillation import Teacher
    from seq2seq.training.learner import Learner


log = logging.getLogger(__name__)

GROUPS = {"trainer": TrainerOptions, "optimizer": OptimizerOptions, "distillation": DistillationOptions}
"""What the groups of settings of a training belong to."""


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


class Read(NamedTuple):
    """The rows of all splits."""

    train: Texts
    validation: Texts
    test: Texts


@contextlib.contextmanager
def watched(run: RunDirectory, timeout: float) -> Iterator[Watchdog]:
    """Inside, a failure of one of several processes ends all of them, and the first one is named."""
    watch = Watchdog(run.processes, timeout)
    try:
        yield watch
    except Exception as problem:
        first = isinstance(problem, Stopped) or not watch.active or watch.failed(problem)
        if not first and not isinstance(problem, InputError):
            sys.exit(1)  # it follows from another's failure, which has been reported
        raise
    finally:
        watch.stop()


def claim(run: RunDirectory, config: Namespace, settings: dict[str, Any]) -> bool:
    """Take the run directory, as the first process, or learn its decision: whether the run is resumed."""
    if process_rank() != 0:
        return bool(run.wait(launch_id(), "resume"))
    resumed = config.resume or restarted_job() is not None
    finished = resumed and run.results.exists() and run.config.is_file()
    changes = resuming.changed(read_yaml(run.config), settings, GROUPS) if finished else []
    try:
        resume = run.claim(config.overwrite, config.resume, restarted_job(), resuming.asks_for_more(changes))
    except Finished as done:
        unused = ", ".join(str(change) for change in changes if change.name not in resuming.OF_THE_MACHINE)
        raise Finished(f"{done}{unused and f'; these settings were not used: {unused}'}") from done
    announce(run, resume=resume)
    return resume


def announce(run: RunDirectory, **news: Any) -> None:
    """The first process informs others that wait for it; those that Lightning starts find everything prepared."""
    if process_rank() == 0 and started_together():
        with contextlib.suppress(OSError):
            run.announce(launch_id(), **news)


def same_settings(job: Job) -> list[dict[str, Any]]:
    """Refuse to resume with another experiment; devices, precision and the like may change, which is reported."""
    changes = resuming.changed(read_yaml(job.run.config), job.settings, GROUPS)
    total = job.parts.optimizer.schedule.needs_total
    if job.run.results.exists():
        resuming.refuse_ended(changes, type(job.parts.optimizer.schedule).__name__, total, job.run.path)
    other = [change for change in changes if resuming.matters(change.name, total)]
    resuming.refuse_impossible(other)
    allowed = resuming.refuse_or_allow(other, job.run.config, job.parts.allow_change)
    harmless = [str(change) for change in changes if change not in other]
    if harmless:
        print(f"resuming with {', '.join(harmless)}", file=sys.stderr)
    return allowed


def prepare(job: Job, kind: type[Task]) -> "Learner":
    """Texts, vocabularies, ids and the network. The first process learns the vocabularies, the others read them."""
    data: DataModule = job.parts.data
    refuse_compromised()  # before what follows imports Lightning
    refuse_unfit(job.parts.trainer)
    if job.parts.trainer.callbacks:  # refused before the data are read
        own_callbacks.chosen(job.parts.trainer.callbacks)
    if process_rank() == 0 and job.resume:
        job.allowed.extend(same_settings(job))
    teacher, origin = read_teacher(job), read_origin(job)
    train_texts, validation_texts, test_texts = (data.texts(split) for split in SPLITS)
    content = train_texts.content
    others, selected = {"validation": validation_texts, "test": test_texts}, data.selection("train")
    trained = trained_rows(selected.low, selected.high, train_texts, others)
    if origin is not None and origin.trained is not None:
        origin.refuse_trained(validation_texts, test_texts)
        trained = trained.add(origin.trained.sums)
    read = Read(train_texts, validation_texts, test_texts)
    tokenizers, bound = vocabularies(job, read, teacher, origin)
    torch.manual_seed(job.parts.seed)
    task = kind(tokenizers, **model_settings(job, train_texts, tokenizers))
    task.decoding, task.length_bound = job.parts.decoding, bound
    task.check_decoding(task.decoding)
    refuse_perturbed(task, data)
    if process_rank() == 0 and not job.resume:
        for setting in idle.of_training(task, data, job.parts.distillation):
            log.warning("%s", setting)
        findings = checks.cheap(read._asdict(), task.row_format)
        print(checks.two_lines(findings, job.arguments), file=sys.stderr)
    begun = first_parameters(job, task, origin)
    training_loss.check(task, job.parts.optimizer, teacher)
    if teacher is not None:
        teacher.check(task)
        if job.parts.distillation.sequences:
            train_texts = teacher.texts(train_texts, data, own_device(job.parts.trainer))
    train = None if data.window is not None else data.encode(train_texts, tokenizers, "train", task.row_format)
    if process_rank() == 0 and origin is not None and train is not None:
        parent.say_unknown(train, tokenizers)
    if process_rank() == 0 and not job.resume and task.row_format.target_ends:
        first = data.encode(train_texts, tokenizers, "train", task.row_format) if train is None else train
        task.length_bound = learnt(first, tokenizers.target)
    validation = data.encode(validation_texts, tokenizers, "validation", task.row_format)
    tried_metrics.settle(task, validation)
    if process_rank() == 0:
        tried_metrics.try_all(task, validation)
    learner = learner_of(job, task, train, validation, content, teacher)
    learner.trained, learner.parent = trained, begun
    return learner


def refuse_perturbed(task: Task, data: "DataModule") -> None:
    """Raise InputError for a perturbation of bands where frames hold others."""
    sound, perturbation = data.corpus.sound, getattr(task, "perturbation", None)
    if sound and (sound.coefficients or sound.deltas) and getattr(perturbation, "of_bands", False):
        raise InputError(
            "model.perturbation changes energies of bands, all but its speed, and data.corpus.coefficients "
            f"{sound.coefficients} and deltas {sound.deltas} make other numbers of them; set these to 0, or warp, "
            "channel and noise away"
        )


def learner_of(
    job: Job, task: Task, train: "Split | None", validation: "Split", content: str, teacher: "Teacher | None"
) -> "Learner":
    """The task with its rows in Lightning's hands."""
    from seq2seq.training.learner import Learner
    from seq2seq.training.skipped_steps import SkippedSteps

    options, parts = job.parts.trainer, job.parts
    clip, dumps = options.gradient_clip_val, job.run.dumps
    learner = Learner(task, parts.data, train, validation, parts.optimizer, parts.seed, clip, content, teacher)
    learner.skipped_steps = SkippedSteps(dumps, options.skip_limit, options.precision)
    return learner


def first_parameters(job: Job, task: Task, origin: Parent | None) -> dict[str, Any] | None:
    """Give a task the parameters that training begins with, and freeze parts; what it has of its parent."""
    if not job.resume:
        draw(task)
    begun = None if origin is None else origin.give(task)
    if begun is None and not job.resume:
        task.initialise()
    freeze(task, job.parts.freeze)
    if begun is not None and process_rank() == 0:
        parent.say(begun, job.parts.freeze)
    return None if begun is None else begun._asdict()


def model_settings(job: Job, train: Texts, tokenizers: Tokenizers) -> dict[str, Any]:
    """The network's settings; what is left open about unknown words follows from the training text."""
    settings, source = dict(vars(job.parts.model)), tokenizers.source
    words = settings.get("words")
    if isinstance(words, WordOptions) and words.word_dropout is None and isinstance(source, Spelled):
        settings["words"] = replace(words, word_dropout=min(0.5, round(source.words.share_once(train.source), 3)))
    return settings


def read_teacher(job: Job) -> "Teacher | None":
    """The run to learn from, if there is one."""
    if job.parts.distillation.teacher is None:
        return None
    from seq2seq.training.distillation import Teacher

    teacher = Teacher(job.parts.distillation, job.parts.data)
    if any(job.run.path.resolve() in path.resolve().parents for path in teacher.paths):
        raise InputError(f"distillation.teacher {teacher.path} is in the run directory itself; choose another --run")
    return teacher


def read_origin(job: Job) -> Parent | None:
    """The run to start from, if there is one; a resumed run has all that it needs of it."""
    parts = job.parts
    if parts.start_from is None:
        if parts.start_from_partly or parts.start_from_new_vocabulary:
            name = "partly" if parts.start_from_partly else "new_vocabulary"
            raise InputError(f"--start_from_{name} says how to start from a run; name it with --start_from")
        return None
    start = Start(parts.start_from, parts.start_from_partly, parts.start_from_new_vocabulary)
    return None if job.resume else read_parent(start, job.run.path)


def vocabularies(
    job: Job, read: Read, teacher: "Teacher | None", origin: Parent | None
) -> tuple[Tokenizers, LengthBound | None]:
    """Those of the resumed run, of the teacher, of the run to start from, or learned from the training rows.

    With them the bound of the resumed run, or that of the first process; None where it is still to be learnt.
    """
    data: DataModule = job.parts.data
    if process_rank() != 0:
        bound = length_bound.read(job.run.wait(launch_id(), "ready"))
        return read_tokenizers(data, job.run), bound
    if job.resume:
        content = checkpoint.read(job.run.last)
        refuse_trained(checkpoint.trained_rows(content), data, "test", read.test)
        now = {"content": read.train.content, "teacher": teacher and teacher.content}
        now |= {"validation": read.validation.content, "test": read.test.content}
        changes = resuming.origins(content, now)
        job.allowed.extend(resuming.refuse_or_allow(changes, job.run.last, job.parts.allow_change))
        before = checkpoint.restore(content, job.run.last)
        return before.tokenizers, before.length_bound
    if read.test.content == read.train.content:
        raise InputError(f"the test split has the very rows of train, from {read.test.location(0)} on; give others")
    if teacher is not None:
        return teacher.tokenizers, None
    return data.train_tokenizers(read.train) if origin is None else origin.vocabularies(data, read.train), None


def begin(job: Job, task: Task, step: int) -> None:
    """The first process's first writing: everything that could be refused has been accepted.

    step: after which a finished run is continued.
    """
    if not job.resume:
        job.run.clear()
    elif job.run.results.exists():
        job.run.keep_part(step)
    write_text(job.run.config, to_yaml(job.settings))
    keep_tokenizers(task.tokenizers, job.run)
    job.run.clear([job.run.processes.name])
    if scheduled_job() is not None:
        job.run.begun_by(str(scheduled_job()))
    job.run.announce(launch_id(), resume=job.resume, ready=task.length_bound)


def keep_tokenizers(tokenizers: Tokenizers, run: RunDirectory) -> None:
    """For the other processes of this launch; a checkpoint has its own copy."""
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    for name, tokenizer in zip(Tokenizers._fields, tokenizers, strict=True):
        (folder / f"{name}.tokenizer").write_bytes(tokenizer.state)


def read_tokenizers(data: DataModule, run: RunDirectory) -> Tokenizers:
    """What the first process has learned."""
    states = [(run.path / "checkpoints" / f"{name}.tokenizer").read_bytes() for name in Tokenizers._fields]
    return data.restore_tokenizers(states)
