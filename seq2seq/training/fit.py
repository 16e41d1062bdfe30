"""Fit, then predict the test split with the best checkpoint; plain records of it all for the command."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from seq2seq.cluster.environment import process_rank
from seq2seq.cluster.watchdog import Watchdog
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError, Interrupted
from seq2seq.plain_types import refuse_misfit
from seq2seq.runs import checkpoint, run_card
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.decoding_options import USUAL_ROWS
from seq2seq.tasks.length_limits import longer, remedy
from seq2seq.training import own_callbacks
from seq2seq.training.arithmetic import arithmetic, described
from seq2seq.training.length import Length, length_of, warn_if_short
from seq2seq.training.preparation import Job, begin
from seq2seq.training.signals import Deadline
from seq2seq.training.trainer import make_trainer

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seq2seq.training.callbacks import Checkpoints, Curves, Diagnose, EarlierPart, Example
    from seq2seq.training.learner import Learner


BUSY = 30_000
"""Padded tokens of a step, for each GPU, from which on its arithmetic takes longer than the host's launches."""


Validated = Callable[[int, float], None]
"""Told of a validation: its optimiser step and its rank, the higher the better."""


def ignored(step: int, rank: float) -> None:
    """A validation that nobody waits for."""


class Hooks(NamedTuple):
    """What the command adds to a training, which knows neither analysis nor report."""

    diagnose: "Diagnose"
    example: "Example"
    validated: Validated = ignored


def fit_and_test(job: Job, learner: "Learner", watch: Watchdog, hooks: Hooks) -> dict[str, Any] | None:
    """Train, then predict the test split with the best checkpoint.

    Returned is what results.json says of the training; None but on the first process. `learner` has the predictions.
    """
    from seq2seq.training.callbacks import Budget, Checkpoints, EncoderMemory, Observer, Progress
    from seq2seq.training.step_boundaries import StepBoundary

    options = job.parts.trainer
    curves = curves_of(job)
    length = learner_length(job, learner)
    checkpoints = Checkpoints(job.run, length.patience, job.parts.optimizer.average)
    memory = EncoderMemory(curves, hooks.diagnose, checkpoints)
    boundary = StepBoundary(job.requests, Deadline(options.limit, job.started), checkpoints, watch, options.save_every)
    observed = [curves, Progress(curves, hooks.example), checkpoints, memory, boundary, Observer(hooks.validated)]
    trainer = make_trainer(job.parts, [Budget(), *observed, *own_callbacks.made(options.callbacks)], learner, length)
    job.parts.optimizer.check(learner.training_length(trainer))
    checkpoints.parts = first_words(job, learner, trainer, length)
    prepared = time.monotonic() - job.started
    try:
        exact = arithmetic(trainer.strategy.root_device, options.tf32, options.deterministic)
        with closing(curves.loggers), job.requests.noted(), exact:
            trainer.fit(learner, ckpt_path=str(job.run.last) if job.resume else None, weights_only=True)
            if checkpoints.validated < trainer.global_step:
                trainer.validate(learner, verbose=False)
            tell_of_constant_score(trainer, checkpoints, curves)
            average = validate_average(job.run, trainer, learner, checkpoints)
            tested = test(job.run, trainer, learner, job.parts.score)
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C
        further = "continue with --resume true" if job.run.last.is_file() else "nothing has been saved yet"
        raise Interrupted(f"stopped at step {trainer.global_step}; {further}") from stopped
    if not trainer.is_global_zero:
        return None
    learner.to(trainer.strategy.root_device)  # Lightning has moved it to the CPU; it is examined next
    return {
        **records_of(job, learner, trainer, curves, checkpoints),
        "memory": memory.points,
        "average": average,
        "length": length_record(learner, length),
        "seconds": round(curves.seconds, 2),
        "timing": {"prepare": round(prepared, 2), "train": round(curves.seconds, 2), "evaluate": tested},
    }


def records_of(
    job: Job, learner: "Learner", trainer: "Trainer", curves: "Curves", checkpoints: "Checkpoints"
) -> dict[str, Any]:
    """What results.json says of a training that has ended, whatever it took."""
    return {
        "curves": curves.points,
        "best": checkpoints.best,
        "skipped": learner.skipped_steps.counts(),
        **lineage(job, learner, checkpoints),
        "model": {"parameters": learner.task.parameter_counts()},
        "resumed": curves.resumed,
        "allowed_changes": curves.changes,
        "environment": environment(job, trainer),
        "data": data_card(learner) | {"fingerprints": fingerprints(learner)},
    }


def lineage(job: Job, learner: "Learner", checkpoints: "Checkpoints") -> dict[str, Any]:
    """What the training was started from, learnt from and continued."""
    teacher, frozen = learner.teacher, job.parts.freeze
    count = sum(one.numel() for one in learner.task.parameters() if not one.requires_grad)
    return {
        "teacher": teacher and {"checkpoint": teacher.path, "sha256": teacher.content},
        "parent": learner.parent,
        "frozen": {"parts": frozen, "parameters": count} if frozen else None,
        "parts": checkpoints.parts,
    }


def curves_of(job: Job) -> "Curves":
    """The curves of a training, and the services that they are sent to."""
    from seq2seq.training.callbacks import Curves
    from seq2seq.training.loggers import Loggers

    options = job.parts.trainer
    curves = Curves(job.run, options.log_every_n_steps, Loggers(options.loggers, job.run, job.settings))
    curves.changes = job.allowed
    return curves


def first_words(job: Job, learner: "Learner", trainer: "Trainer", length: Length) -> "list[EarlierPart]":
    """The first process writes the configuration down and describes the training.

    Returned is what is known of earlier parts of a run that is continued.
    """
    if process_rank() == 0:
        step = reached(job, length) if job.resume and job.run.results.exists() else 0
        begin(job, learner.task, step)
        describe(learner, trainer, job.run, length)
    return earlier_parts(job.run)


def reached(job: Job, length: Length) -> int:
    """The optimiser steps of a finished run, which must be fewer than it is to have now."""
    content = checkpoint.read(job.run.last)
    step = content.get("global_step")
    if not isinstance(step, int) or step >= length.steps:
        raise InputError(
            f"{job.run.path} is finished after {step} steps and trainer.max_epochs and trainer.max_steps ask for "
            f"{length.steps}; ask for more to continue it"
        )
    states = inner(content, "callbacks")
    counts = [inner(state, "waited") for state in (states.values() if isinstance(states, Mapping) else ())]
    waited = max((count for count in counts if isinstance(count, int)), default=0)
    if length.patience is not None and waited >= length.patience:
        raise InputError(
            f"{job.run.path} has stopped at step {step}, after {waited} validations without anything better, and "
            f"patience is {length.patience}; raise it, or set it to null with a larger trainer.max_steps"
        )
    return step


def earlier_parts(run: RunDirectory) -> "list[EarlierPart]":
    """What results.json says of the finished parts of a run that is continued, in their order."""
    from seq2seq.training.callbacks import EarlierPart

    described: Any = []
    for step, results in run.parts().items():
        metrics = inner(results, "splits", "test", "metrics") or {}
        scores = {name: inner(metrics, name, "value") for name in metrics}
        own = {name: results.get(name) for name in ("best", "seconds")}
        described.append({"until": step, **own, "test": scores})
    refuse_misfit(described, list[EarlierPart], f"{run.path / 'parts'} is damaged")
    parts: list[EarlierPart] = described
    return parts


def inner(value: Any, *names: str) -> Any:
    """What stands under names within names; None where nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def tell_of_constant_score(trainer: "Trainer", checkpoints: "Checkpoints", curves: "Curves") -> None:
    """One line where the score that selects checkpoints has been the same in all validations."""
    count, best = len(curves.points.get("validation_loss", ())), checkpoints.best
    if trainer.is_global_zero and best is not None and not checkpoints.moved and count > 1:
        print(
            f"{best['metric']} was {best['value']:.4g} in all {count} validations, so the validation loss alone has "
            f"chosen step {best['step']:,}; another metric may see more (model.metrics)",
            file=sys.stderr,
        )


def learner_length(job: Job, learner: "Learner") -> Length:
    """How long this training takes; the first process says so where that is hardly enough."""
    epoch = None if learner.plan is None else len(learner.plan)
    length = length_of(learner.epoch_tokens, epoch, job.parts.trainer, job.parts.optimizer, job.parts.patience)
    learner.warmup = length.warmup
    if process_rank() == 0:
        warn_if_short(length, learner.epoch_tokens, epoch)
    return length


def validate_average(
    run: RunDirectory, trainer: "Trainer", learner: "Learner", checkpoints: "Checkpoints"
) -> dict[str, Any] | None:
    """Score the mean of the parameters of the last validations; the best checkpoint if it is not worse."""
    from seq2seq.training.averaging import mean
    from seq2seq.training.callbacks import is_better

    steps, best = checkpoints.kept, checkpoints.best
    if len(steps) < 2 or best is None:
        return None
    learner.load_state_dict(mean([run.at_step(step) for step in steps]))
    trainer.predict(learner, learner.val_dataloader(), return_predictions=False)
    metric = learner.task.metrics[0]
    value, loss = learner.scores[metric.name], learner.validation_loss
    chosen = is_better(metric, value, loss, best) or (value, loss) == (best["value"], best.get("loss"))
    if trainer.is_global_zero:
        verdict = "it is the best checkpoint" if chosen else f"that of step {best['step']:,} stays the best"
        print(
            f"mean of the parameters of steps {', '.join(map(str, steps))}: {best['metric']} {value:.2f}, before "
            f"{best['value']:.2f}; {verdict}",
            file=sys.stderr,
        )
    if chosen:
        learner.save(run.best, parameters_only=True)
        checkpoints.best = {"step": steps[-1], "metric": best["metric"], "value": value, "loss": loss}
    return {"steps": steps, "metric": best["metric"], "value": value, "chosen": chosen}


def length_record(learner: "Learner", length: Length) -> dict[str, Any]:
    """How long the training was to be, and of what that follows; a continued one keeps its warm-up."""
    own = {"epoch_tokens": learner.epoch_tokens, "batch_tokens": learner.step_tokens}
    return own | length._asdict() | {"warmup": learner.warmup, "risk_from": risk_from(learner, length.steps)}


def risk_from(learner: "Learner", steps: int) -> int | None:
    """The first optimiser step (from 1) that teaches predictions, None where none does."""
    return learner.options.first_of_risk(steps) + 1 if learner.options.minimum_risk else None


def describe(learner: "Learner", trainer: "Trainer", run: RunDirectory, length: Length) -> None:
    """Some lines before training starts."""
    held = learner.data.held_out()
    if held:
        how = learner.data.corpus.held_out
        if learner.data.selection("train").by_row:
            how = "by hash of source and target, because few sources are distinct: other splits have the same ones"
        share = f"{100 * learner.data.holdout:g} % of the training rows each, {how}"
        print(f"no files for {' and '.join(held)}: held out {share} (data.holdout)", file=sys.stderr)
    card, plan = data_card(learner), learner.plan
    rows = "streamed" if plan is None else f"{card['rows']['train']:,}"
    epochs = "the corpus is streamed" if plan is None else f"{len(plan):,} an epoch"
    steps = (
        f"{length.steps:,} steps {'as the data ask' if length.fitted else 'as set'}, {epochs}, of up to "
        f"{learner.step_tokens:,} tokens; warm-up {length.warmup:,}"
    )
    print(
        f"{rows} training rows, {card['rows']['validation']:,} for validation; "
        f"{' and '.join(tokenizer.extent() for tokenizer in learner.task.tokenizers)}; "
        f"{learner.task.parameter_counts()['total']:,} parameters\n"
        f"{steps}; writing to {run.path}",
        *risk_in_words(learner, length.steps),
        *limits_in_words(learner),
        sep="\n",
        file=sys.stderr,
    )
    idle = idle_hint(learner, trainer)
    if idle:
        print(idle, file=sys.stderr)


def idle_hint(learner: "Learner", trainer: "Trainer") -> str:
    """What leaves a GPU idle, in one line; nothing where none is there or nothing does."""
    tokens, devices = learner.step_tokens, trainer.world_size
    if trainer.strategy.root_device.type != "cuda" or tokens >= BUSY * devices:
        return ""
    rows = learner.task.decoding.rows
    small = "" if rows is None or rows > USUAL_ROWS else f"; decoding.rows {rows} likewise: null takes what fits"
    return (
        f"data.batch_tokens {tokens:,} keep a GPU busy a quarter of the time or less; --data.batch_tokens "
        f"{BUSY * devices} is up to ten times as fast, with a learning rate chosen anew (docs/gpu.md){small}"
    )


def risk_in_words(learner: "Learner", steps: int) -> list[str]:
    """From which step on the training follows the score itself."""
    first = risk_from(learner, steps)
    if first is None:
        return []
    return [f"from step {first:,} on predictions are taught by {learner.task.metrics[0].name} "
            "(optimizer.minimum_risk), and a step takes some five times as long"]  # fmt: skip


def limits_in_words(learner: "Learner") -> list[str]:
    """How long predictions may be, and the share of targets that are longer; nothing where none has an end."""
    task = learner.task
    if not task.row_format.target_ends:
        return []
    cut = {
        name: float(longer(split, task.length_bound, task.decoding).mean()) for name, split in learner.splits.items()
    }
    listed = " and ".join(f"{100 * share:.1f} % of the {name} targets" for name, share in cut.items() if share)
    warning = f"; {listed} are longer and cannot be predicted: {remedy(task.decoding)}" if listed else ""
    return [f"longest prediction: {task.limit_in_words(task.decoding)}{warning}"]


def test(run: RunDirectory, trainer: "Trainer", learner: "Learner", split: str) -> float:
    """Predict a split with the best checkpoint; the seconds that it took."""
    started = time.monotonic()
    if not run.best.is_file():
        raise InputError(
            f"{run.best} is gone, which was to be tested; bring it back from a copy, score {run.last} with "
            "python -m seq2seq.evaluate, or train again with --overwrite true"
        )
    task, data = learner.task, learner.data
    task.load_state_dict(checkpoint.load(run.best).state_dict())
    if split == "test":
        learner.splits["test"] = data.encode(test_rows(learner, run), task.tokenizers, "test", task.row_format)
    learner.scored = split
    trainer.test(learner, learner.evaluation_batches(split, task.decoding), verbose=False)
    return time.monotonic() - started


def test_rows(learner: "Learner", run: RunDirectory) -> Texts:
    """The rows of the test split, which must be those that there were when the training began."""
    texts, trained = learner.data.texts("test"), learner.trained
    if trained is not None and texts.content != trained.contents["test"]:
        raise InputError(
            f"the test rows of data.path {learner.data.path} have changed since this training began, or their file is "
            f"gone; bring it back and finish with --resume true; the model is in {run.best}"
        )
    return texts


def environment(job: Job, trainer: "Trainer") -> dict[str, Any]:
    """Where and on what the training ran."""
    surroundings = {"seed": job.parts.seed, "processes": trainer.world_size, "threads": torch.get_num_threads()}
    device = trainer.strategy.root_device
    surroundings["arithmetic"] = described(device, str(trainer.precision), job.parts.trainer.tf32)
    return run_card.environment(run_card.device_name(device)) | surroundings


def fingerprints(learner: "Learner") -> dict[str, dict[str, Any]]:
    """Checksums of the files that rows were read from or, where there are no files, of the rows."""
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
        "vocabulary": {side: tokenizer.sizes[0] for side, tokenizer in sides if tokenizer.width is None},
        "numbers_of_a_step": {side: tokenizer.width for side, tokenizer in sides if tokenizer.width is not None},
    }
