"""python -m seq2seq.evaluate RUN: repeat the scoring from the checkpoint alone, on the same data or on other.

With several runs, or with plain text files of anybody's predictions (--system name=file), it compares their
predictions: which is better, by how much, and is the difference significant.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from seq2seq import plugins
from seq2seq.analysis import systems
from seq2seq.analysis.comparison import comparison
from seq2seq.analysis.examine import Examined, examine
from seq2seq.analysis.heard import Recorded
from seq2seq.analysis.results_files import as_json, publish, without_nan
from seq2seq.analysis.words import training_counts
from seq2seq.api.scores import ScoreTable
from seq2seq.api.settings import as_arguments
from seq2seq.atomic_files import write_text
from seq2seq.cli import command
from seq2seq.cluster import watchdog
from seq2seq.cluster.processes import Place, joined, place
from seq2seq.data.batching.split import Split
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError, check_range
from seq2seq.inference import decoding_rows, precision, predict_texts
from seq2seq.inference.device import tf32
from seq2seq.inference.predictor import Predicted, Predictor, in_order
from seq2seq.metrics.base import Metric
from seq2seq.report import tables
from seq2seq.report.terminal import shown
from seq2seq.runs import checkpoint, run_card, scored_rows
from seq2seq.runs.run_directory import REPORTED, RunDirectory
from seq2seq.tasks import idle
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

COMPARING = ("--system", "--references", "--sources", *command.METRICS)
"""Options that compare what has been written instead of decoding anew."""

OF_TRAINING = (
    "config",
    "curves",
    "memory",
    "best",
    "average",
    "skipped",
    "teacher",
    "parent",
    "frozen",
    "parts",
    "changed",
    "resumed",
    "data",
    "seconds",
    "timing",
)
"""Parts of results.json that another evaluation leaves as they are."""


def common_parser(description: str) -> ArgumentParser:
    """What both ways share: the split, and what to make of the scores."""
    parser = command.parser_for("evaluate", description)
    parser.add_argument("run", type=str, nargs="*", help="run directory or checkpoint; several are compared")
    parser.add_argument("--split", type=Literal["train", "validation", "test"], default="test", help="what to score")
    parser.add_argument("--report", type=Path | None, help="HTML file to write the report to")
    parser.add_argument("--json", **command.SWITCH, help="print everything as JSON instead of a table")
    parser.add_argument("--markdown", **command.SWITCH, help="print the table as Markdown")
    parser.add_argument("--latex", **command.SWITCH, help="print the table as LaTeX")
    parser.add_argument(
        "--fail_under", type=str, action="append", default=[], metavar="METRIC=VALUE",
        help="exit with code 1 if a score is worse than this, such as bleu=35; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--fail_if_worse_than", type=Path | None, metavar="RUN",
        help="exit with code 1 if a system is significantly worse than this run in the first metric",
    )  # fmt: skip
    return parser


def scoring_parser(data: dict[str, Any], decoding: dict[str, Any]) -> ArgumentParser:
    """The parser of one run, with the data and decoding of its checkpoint as defaults."""
    parser = common_parser(
        "Score a trained model. With several runs, or --system name=file, compare their written predictions."
    )
    parser.add_argument("--output", type=str | None, help="directory for predictions, results.json and report.html")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace what --output holds")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument("--devices", type=int, default=1, help="processes on this machine that share the rows")
    parser.add_argument("--precision", type=precision.Precision, default="fp32", help=precision.HELP)
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    parser.add_class_arguments(DataModule, "data")
    parser.add_class_arguments(Decoding, "decoding")
    add_comparing(parser)
    parser.set_defaults({f"data.{name}": value for name, value in data.items()})
    parser.set_defaults({f"decoding.{name}": value for name, value in decoding.items()})
    return parser


def add_comparing(parser: ArgumentParser) -> None:
    """The options that only a comparison has."""
    plugins.load()  # for --metrics
    parser.add_argument(
        "--system", type=str, action="append", default=[], metavar="NAME=PATH",
        help="a file of predictions, one a line, or a run, under a name of your own; the same name again is a seed",
    )  # fmt: skip
    parser.add_argument(
        "--references", type=str, action="append", default=[], metavar="FILE",
        help="file of references for --system, one a line; given several times, rows have several references",
    )  # fmt: skip
    parser.add_argument("--sources", type=Path | None, help="file of sources for --system, one a line")
    parser.add_argument("--metrics", type=list[Metric] | None, help="scores to compare by, such as [Bleu, Chrf, Ter]")


def main(arguments: Sequence[str]) -> int:
    """Score or compare as the arguments say; 1 if a score is worse than demanded."""
    watchdog.die_with_parent()
    arguments = command.with_metrics(arguments, "--metrics")
    if command.options(arguments, COMPARING) or len([one for one in arguments[:2] if not one.startswith("-")]) == 2:
        return compare(arguments)
    return score(command.run_argument(arguments, scoring_parser({}, {})), arguments)


def compare(arguments: Sequence[str]) -> int:
    """Compare what several systems have written."""
    parser = common_parser("Compare the written predictions of several systems.")
    add_comparing(parser)
    config = command.parse(parser, arguments)
    bounds, metrics = readable_bounds(config.fail_under), command.instantiate(parser, config).metrics
    first = [] if config.fail_if_worse_than is None else [config.fail_if_worse_than]
    named = [(None, path) for path in [*first, *map(Path, config.run)]] + systems.named(config.system)
    if not named:
        raise InputError(f"there is nothing to score; give a run, or --system NAME=FILE: {parser.prog} RUN [RUN ...]")
    if config.sources is not None and not config.references:
        raise InputError("--sources needs --references FILE beside it")
    truth = systems.read_truth([*map(Path, config.references)], config.sources) if config.references else None
    gathered = systems.gather(named, truth, config.split)
    refuse_trained_systems(gathered, config.split)
    chosen = metrics or systems.metrics_of(gathered, config.split)
    compared = comparison(gathered, chosen, config.split, asked_for=bool(metrics))
    if config.report is not None:
        from seq2seq.report import compare as page  # takes a moment to import

        page.write(compared, config.report)
    answer(config, compared, tables.systems(compared))
    print(f"compared {len(gathered[0].outputs[0].rows):,} rows of the {config.split} split", file=sys.stderr)
    return failed(bounds, compared, config.fail_if_worse_than)


def refuse_trained_systems(gathered: Sequence[systems.System], split: str) -> None:
    """Raise InputError for a run that was trained on the rows by which systems are compared."""
    for output in (output for system in gathered for output in system.outputs):
        run = RunDirectory(output.path)
        if split == "train" or not run.best.is_file():
            continue
        try:
            trained = checkpoint.trained_rows(checkpoint.read(run.best))
            if trained is None:
                scored_rows.say_unknown(run.best, split)
            else:
                trained.refuse(
                    split, Texts([row.source for row in output.rows], [row.reference for row in output.rows])
                )
        except InputError as problem:
            raise InputError(f"{output.path}: {problem}") from problem


class ScoredSplit(NamedTuple):
    """A split that has been scored."""

    config: Namespace
    bounds: dict[str, float]
    task: Task
    path: Path
    """Of the checkpoint."""
    base: systems.SystemOutput | None
    """The run that it must not be worse than."""
    results: dict[str, Any]
    examined: Examined


def evaluation(run: str | Path, split: str = "test", **settings: Any) -> ScoreTable:
    """Decode a split with a run's checkpoint and score it, as `python -m seq2seq.evaluate RUN` does.

    It is what `seq2seq.evaluate(...)` calls.

    Args:
        run: run directory or checkpoint.
        split: train, validation or test.
        settings: options of the command that differ, such as `data={"path": "my_text"}` or `decoding={"beam_size": 1}`.
    """
    if {"devices", "fail_under", "fail_if_worse_than", "json"} & set(settings):
        raise InputError("devices, json and demands on scores are for the command, python -m seq2seq.evaluate")
    found = scored_split(str(run), [str(run), "--split", split, *as_arguments(settings)])
    if found is None:
        raise TypeError("a single process scores all rows")
    return ScoreTable(without_nan(found.results), split)


def score(name: str, arguments: Sequence[str]) -> int:
    """Decode a split with a checkpoint, score it, and answer; 1 if a score is worse than demanded."""
    found = scored_split(name, arguments)
    if found is None:
        return 0
    config, base = found.config, found.base
    answer(config, found.results, tables.scores(found.results, config.split), shown(found.results, config.split))
    if base is None and not found.bounds:
        return 0
    output = systems.SystemOutput(found.path, found.examined.predictions, found.results)
    return failed(found.bounds, against(base, output, found.task.metrics, config.split), config.fail_if_worse_than)


@tf32(False)
def scored_split(name: str, arguments: Sequence[str]) -> ScoredSplit | None:
    """Decode a split with a checkpoint, score it, and write what was asked for; None but on the first process."""
    command.import_own_modules(arguments)
    path = checkpoint.find(name)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    # Built first, which imports nothing: the parser would import what a checkpoint names.
    stored = checkpoint.data_of(content, path).specification()["init_args"]
    parser = scoring_parser(stored, task.decoding.specification()["init_args"])
    config = command.parse(parser, arguments)
    bounds, parts = readable_bounds(config.fail_under), command.instantiate(parser, config)
    refuse_unknown(bounds, [one.name for one in task.metrics])
    check_range("--devices", config.devices, 1)
    trained = scored_rows.trained_on(content, path, config.split)
    asked_for = bool(command.options(arguments, ("--data.path",)))
    texts = scored_rows.rows_to_score(parts.data, config.split, trained, asked_for)
    at = place_of(task, config.devices)
    if at.rank > 0:
        share_rows(task, parts.data, texts, parts.decoding, config, at, arguments)
        return None
    base = None if config.fail_if_worse_than is None else systems.read_run(config.fail_if_worse_than, config.split)
    if base is not None:
        refuse_trained_systems([systems.System(str(base.path), [base])], config.split)
    run = RunDirectory(Path(config.output)) if config.output else None
    if run is not None:
        if run.path.resolve() in path.resolve().parents:
            raise InputError(f"--output {run.path} holds the checkpoint itself; choose another directory")
        run.claim(config.overwrite, resume=False)
    known = checkpoint.stored(content, "content")
    scored, examined = evaluate(task, parts.data, texts, parts.decoding, config, at, arguments, known)
    print(f"scored {len(texts.source):,} rows of the {config.split} split", file=sys.stderr)
    timing = {"evaluate": scored["seconds"]}
    scored |= about_training(path) | {"name": checkpoint.home(path).name or path.name}
    scored["timing"] = scored.get("timing", {}) | timing
    if config.precision != "fp32":
        scored["config"]["precision"] = config.precision
    scored["config"] |= {name: command.plain_settings(parser, config)[name] for name in ("data", "decoding")}
    if run is not None:
        run.clear(REPORTED)
        publish(scored, examined, run, config.split)
    if config.report is not None:
        from seq2seq.report import page  # takes a moment to import

        text = page.render(without_nan(scored), without_nan(examined.rows()), examined.alignments, examined.heard)
        write_text(config.report, text)
    return ScoredSplit(config, bounds, task, path, base, scored, examined)


def about_training(path: Path) -> dict[str, Any]:
    """What results.json of a checkpoint's run has about its training; its configuration at least."""
    known = systems.read_results(RunDirectory(checkpoint.home(path)).results)
    return {"config": {}} | {name: known[name] for name in OF_TRAINING if name in known}


def against(
    base: systems.SystemOutput | None, output: systems.SystemOutput, metrics: Sequence[Metric], split: str
) -> dict[str, Any]:
    """What has just been scored, compared with another run if one is given."""
    outputs = [output] if base is None else [base, output]
    for one in outputs[1:]:
        systems.refuse_other_rows(one, outputs[0].rows, str(outputs[0].path))
    return comparison([systems.System(str(one.path), [one]) for one in outputs], metrics, split)


def answer(config: Namespace, content: Mapping[str, Any], table: tables.Table, more: str = "") -> None:
    """Print what was asked for."""
    if config.json:
        print(as_json(content))
    elif config.markdown or config.latex:
        print(table.markdown() if config.markdown else table.latex())
    else:
        print("\n".join(filter(None, [table.terminal(), more])))
        report = config.report or (RunDirectory(Path(config.output)).report if config.get("output") else None)
        if report is not None:
            print(f"\nreport: {report}")


def readable_bounds(texts: Sequence[str]) -> dict[str, float]:
    """`metric=value` as it is given to --fail_under."""
    bounds = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            bound = float(value)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise InputError(f"--fail_under {text} must be METRIC=VALUE with a number, such as bleu=35")
        bounds[name.strip()] = bound
    return bounds


def refuse_unknown(bounds: Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse a demand on a score that there is not."""
    for name in bounds:
        if name not in names:
            raise InputError(f"--fail_under {name}: there is no such score; known: {', '.join(names)}")


def failed(bounds: Mapping[str, float], compared: Mapping[str, Any], base: Path | None) -> int:
    """1, and one line for each demand that is not met; else 0."""
    known = {one["name"]: one for one in compared["metrics"]}
    refuse_unknown(bounds, list(known))
    problems = []
    for name, bound in bounds.items():
        metric = known[name]
        side = "under" if metric["higher_is_better"] else "over"
        for score in metric["scores"][base is not None :]:
            if not math.isfinite(score["value"]):
                raise InputError(f"--fail_under {name}: {score['system']} has no such score, it is n/a")
            if not (score["value"] >= bound if metric["higher_is_better"] else score["value"] <= bound):
                problems.append(f"{score['system']}: {name} {score['value']:.4g} is {side} {bound:g}")
    if base is not None:
        first = compared["metrics"][0]
        problems += [
            tables.sentence(one, first, compared["level"]) for one in first["differences"] if one["better"] is False
        ]
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    return int(bool(problems))


def place_of(task: Task, devices: int) -> Place:
    """Which of how many processes this one is; of running text the first one reads all."""
    at = place(devices)
    if at.size > 1 and task.row_format.consecutive and not at.rank:
        print("of running text the state is carried from row to row, so one process does all of it", file=sys.stderr)
        return Place(0, 1, 0, 1)
    return at


def share_rows(
    task: Task,
    data: DataModule,
    texts: Texts,
    decoding: Decoding,
    config: Namespace,
    at: Place,
    arguments: Sequence[str],
) -> tuple[Split, list[Predicted]]:
    """The split, and what all processes predict for its rows; on the first process alone."""
    device = predict_texts.own_device(config.device, at.local, at.per_node)
    task.to(device)
    precision.lower(task, config.precision)
    encoded: Split | None = None
    memory = decoding_rows.memory_of(device)

    def compute() -> list[Predicted]:
        nonlocal encoded
        encoded = data.encode(texts, task.tokenizers, config.split, task.row_format)
        fitting = decoding_rows.chosen(task, decoding, memory, int(encoded.source_lengths().max(initial=1)))
        predict, predicted = Predictor(task, fitting), []
        bar = tqdm(total=len(encoded), unit="row", leave=False, disable=not processes.first or None)
        with bar, precision.lowered(task, config.precision):
            for batch in predict_texts.batches(encoded, fitting, device, processes.share):
                predicted += predict(batch)
                bar.update(len(batch.rows) * processes.size)
        return predicted

    with joined(at, ["-m", "seq2seq.evaluate", *arguments]) as processes:
        memory = processes.agreed(memory)  # the same batches on unlike GPUs
        shares = processes.gathered(compute)
    if encoded is None:
        raise TypeError("the rows are encoded before they are predicted")
    return encoded, [item for share in shares for item in share]


def evaluate(
    task: Task,
    data: DataModule,
    texts: Texts,
    decoding: Decoding,
    config: Namespace,
    at: Place,
    arguments: Sequence[str],
    content: str | None,
) -> tuple[dict[str, Any], Examined]:
    """Decode a split and look at it: the plain results, and the predictions with what belongs to each.

    texts: its rows. content: the checksum of the training rows; words are counted in no others.
    """
    started, split = time.monotonic(), config.split
    task.check_decoding(decoding)
    idle.warn_of_new(task, decoding)
    encoded, predicted = share_rows(task, data, texts, decoding, config, at, arguments)
    device = next(task.parameters()).device
    rows, aligned = in_order(predicted, encoded.texts), task.row_format.aligned
    examined = examine(
        task,
        encoded,
        rows,
        decoding,
        device,
        lambda labels: training_counts(data, rows, aligned, labels, content=content),
        Recorded(data.corpus.sound, lambda shown: data.recorded(split, texts, shown)),
    )
    scored = {
        "format": 1,
        "task": type(task).__name__,
        "splits": {split: examined.results},
        "environment": run_card.environment(run_card.device_name(device)),
        "model": {"parameters": task.parameter_counts()},
    }
    scored["seconds"] = round(time.monotonic() - started, 2)
    return scored, examined


class CallableCommand(ModuleType):
    """Makes `seq2seq.evaluate(RUN)` work in Python, whose name for it is this module's, however it was imported."""

    __call__ = staticmethod(evaluation)


if __name__ == "__main__":
    command.run(main)
else:
    sys.modules[__name__].__class__ = CallableCommand
