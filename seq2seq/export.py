"""python -m seq2seq.export RUN --to onnx: a run as one file, a page that runs it, or a folder for others."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import ArgumentParser, Namespace

from seq2seq.analysis.systems import read_results
from seq2seq.atomic_files import replacing
from seq2seq.cli import command
from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.plan import evaluation_batches
from seq2seq.data.batching.split import Split
from seq2seq.data.datamodule import DataModule
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError, check_range
from seq2seq.exporting import agreement, folder, numpy_file, onnx_file, streams, texts, web
from seq2seq.exporting.agreement import FileAgreement
from seq2seq.exporting.description import KEY, as_metadata, described
from seq2seq.exporting.graphs import graph_of
from seq2seq.exporting.running import Exported
from seq2seq.inference.predictor import best_texts, with_texts
from seq2seq.metrics.base import Metric, Prediction
from seq2seq.metrics.significance import compare, scored
from seq2seq.runs import checkpoint, hub, model_folder, scored_rows
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription

ROWS = 1000
"""Validation rows that are compared."""

EXAMPLES = 3
"""Validation sources that a page shows."""

FEWEST = 6
"""Rows that must differ: exchanging the outputs of fewer, all for the worse, cannot give a p-value below 0.05."""


def parser_for(data: dict[str, Any], decoding: dict[str, Any]) -> ArgumentParser:
    """The command's parser, with the data and decoding of a checkpoint as defaults."""
    parser = command.parser_for("export", "Write a run as one file that runs without torch, search included.")
    parser.add_argument("run", type=str, help="run directory or checkpoint")
    parser.add_argument("--to", type=Literal["onnx", "numpy", "web", "folder"], default="onnx", help="what to write")
    parser.add_argument("--int8", **command.SWITCH, help="matrices of 8 bits: smaller, faster and a little inexact")
    parser.add_argument(
        "--output",
        type=Path | None,
        help="what to write (default: model.onnx, with --int8 model.int8.onnx, model.npz, web or folder in RUN)",
    )
    parser.add_argument("--overwrite", **command.SWITCH, help="replace a file that is there")
    parser.add_argument("--rows", type=int, default=ROWS, help="validation rows to compare, at most")
    parser.add_argument("--runtime_package", type=Path | None, help="onnxruntime-web of npm, packed or a folder")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="validation sources that the page offers to try")
    parser.add_argument("--push", type=str | None, help="OWNER/NAME: send the folder to the Hub, too")
    parser.add_argument("--private", **command.SWITCH, help="make a new repository of --push a private one")
    parser.add_argument("--licence", type=str | None, help="of the folder's model, such as apache-2.0")
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    parser.add_class_arguments(DataModule, "data")
    parser.add_class_arguments(Decoding, "decoding")
    parser.set_defaults({f"data.{name}": value for name, value in data.items()})
    parser.set_defaults({f"decoding.{name}": value for name, value in decoding.items()})
    return parser


def main(arguments: Sequence[str]) -> None:
    """Export as the arguments say."""
    name = command.run_argument(arguments, parser_for({}, {}))
    command.import_own_modules(arguments)
    path = checkpoint.find(name)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    training = checkpoint.data_of(content, path)
    data = training.specification()["init_args"]
    parser = parser_for(data, task.decoding.specification()["init_args"])
    config = command.parse(parser, arguments)
    run = RunDirectory(checkpoint.home(path))
    if config.to == "folder":
        return to_folder(config, content, task, run)
    refuse_of_another_form(config, task)
    parts = command.instantiate(parser, config)
    output = config.output or run.path / usual_name(config)
    refuse_present(config, output)
    runtime = web.runtime(config.runtime_package) if config.to == "web" else None
    if config.to != "numpy":
        onnx_file.refuse_lacking()
    decoding = parts.decoding if task.searches else parts.decoding.greedy()
    task.check_decoding(decoding)
    graph = graph_of(task, decoding)
    reference = numpy_file.Written(graph, decoding) if config.to == "numpy" else None
    trained = scored_rows.trained_on(content, path, "validation")
    asked_for = bool(command.options(arguments, ("--data.path",)))
    rows = scored_rows.rows_to_score(parts.data, "validation", trained, asked_for)
    split = parts.data.encode(rows, task.tokenizers, "validation", task.row_format)
    splits = read_results(run.results).get("splits") or {}
    scores = {part: of.get("metrics") for part, of in splits.items()}
    fingerprint = content.get(checkpoint.DIGEST)
    description = described(graph, decoding, parts.data.max_length, fingerprint, scores, training.corpus.sound)
    metadata = as_metadata(description if reference is None else description | {"network": reference.settings})
    with replacing(output) as temporary:
        file = temporary if runtime is None else folder.inside(temporary, "model.onnx")
        if reference is None:
            onnx_file.write(graph, file, metadata)
        else:
            numpy_file.write(file, reference.arrays, metadata)
        checked(task, file, split, decoding, config, metadata[KEY], output)
        if runtime is not None:
            shown = about(run, task, description, splits, web.examples_of(rows.source, config.examples))
            web.write(file, description, shown, runtime)
            folder.make_way(output)
            print(f"{output}: open index.html, or put the folder on any host")


def usual_name(config: Namespace) -> str:
    """What is written, in the run directory."""
    return {"numpy": "model.npz", "web": "web", "onnx": "model.int8.onnx" if config.int8 else "model.onnx"}[config.to]


def refuse_present(config: Namespace, output: Path) -> None:
    """Raise InputError for what is there and must stay."""
    if config.to == "web":
        folder.refuse_foreign(output, config.overwrite, web.FILES)
    elif output.exists() and (output.is_dir() or not config.overwrite):
        raise InputError(f"{output} is there already; replace it with --overwrite, or choose another --output")


def checked(
    task: Task, file: Path, split: Split, decoding: Decoding, config: Namespace, description: str, output: Path
) -> None:
    """Compare a file with the run, make it smaller where that is asked for, and say what was found."""
    whole, small = check(task, file, split, decoding, config.rows), config.int8 or config.to == "web"
    read = texts.compare(task, description, split, [(row, ours) for row, ours, _ in whole.best])
    name = "32 bits" if small else str(output)
    print(f"{name}: {megabytes(file)}, {type(task).__name__}, {searched(task, decoding)}")
    print(f"{whole.text} ({'all' if whole.rows == len(split) else 'the first'} of {len(split):,} validation rows)")
    print(read)
    if (told := streams.compare(task, Exported(file, task, decoding), split, description)) is not None:
        print(told)
    print(agreement.speeds(whole, decoding.sources))
    if small:
        smaller(task, file, split, decoding, whole)
        print(f"{output}: {megabytes(file)}")


def about(
    run: RunDirectory, task: Task, description: dict[str, Any], splits: dict[str, Any], examples: list[str]
) -> web.Shown:
    """What a page says about its model."""
    rows = {name: of.get("rows") for name, of in splits.items()}
    headline = web.headline(type(task).__name__, task.parameter_counts()["total"], description["scores"], rows)
    known = f"seq2seq {description['version']}, SHA-256 of the run {str(description['fingerprint'])[:16]}."
    return web.Shown(run.path.resolve().name, headline, known, examples)


def to_folder(config: Namespace, content: dict[str, Any], task: Task, run: RunDirectory) -> None:
    """Write the folder and send it where it was asked for."""
    if config.int8 or config.runtime_package is not None:
        raise InputError("--int8 and --runtime_package are for other forms; a folder holds the parameters as they are")
    if config.private and config.push is None:
        raise InputError("--private is for --push OWNER/NAME; give it, or leave --private out")
    if config.push is not None:
        hub.refuse_wrong(config.push)
    output = config.output or run.path / "folder"
    folder.refuse_foreign(output, config.overwrite, model_folder.FILES)
    fingerprint = folder.write(content, task, run, output, config.push, config.licence)
    print(f"{output}: {type(task).__name__}, SHA-256 of the content {fingerprint}")
    if config.push is not None:
        print(f"sent to {hub.push(output, config.push, config.private)}")


def refuse_of_another_form(config: Namespace, task: Task) -> None:
    """Raise InputError for options and tasks that another form than that of --to knows, or that are out of range."""
    if config.to in ("numpy", "web") and (what := known_to_onnx_alone(task)) is not None:
        raise InputError(f"--to {config.to} knows no {what}; choose --to onnx")
    check_range("--rows", config.rows, 1)
    check_range("--examples", config.examples, 0)
    if config.int8 and config.to == "numpy":
        raise InputError("--int8 is for --to onnx; an array keeps its 32 bits")
    if config.runtime_package is not None and config.to != "web":
        raise InputError("--runtime_package is for --to web; add it, or leave --runtime_package out")
    for name in ("push", "private", "licence"):
        if config[name]:
            raise InputError(f"--{name} is for --to folder; add it, or leave --{name} out")


def known_to_onnx_alone(task: Task) -> str | None:
    """What of a task only a file of onnxruntime knows; None for nothing."""
    if isinstance(task, Transcription):
        return "Transcription"
    if isinstance(task, Forecasting) and task.covariates:
        return "covariates"
    return "class of the sentence" if isinstance(task, Tagging) and task.sentence is not None else None


def check(task: Task, file: Path, split: Split, decoding: Decoding, rows: int) -> FileAgreement:
    """Compare the file with the task on validation rows; InputError where they differ."""
    found = agreement.compare(task, Exported(file, task, decoding), batches(split, decoding, rows), decoding)
    found.refuse(decoding.temperature is not None)
    return found


def batches(split: Split, decoding: Decoding, rows: int) -> Iterator[Batch]:
    """The first rows of a split in the batches of an evaluation."""
    for some in evaluation_batches(split.source_lengths(slice(0, rows)), decoding.sources):
        yield split.batch(some)


def smaller(task: Task, file: Path, split: Split, decoding: Decoding, whole: FileAgreement) -> None:
    """Make the matrices of the file 8 bits wide, and say what that changes."""
    other = file.with_name(f"{file.name}.int8")
    try:
        onnx_file.quantized(file, other)
        other.replace(file)
    finally:
        other.unlink(missing_ok=True)
    small = agreement.compare(task, Exported(file, task, decoding), batches(split, decoding, whole.rows), decoding)
    same = "" if isinstance(task, Forecasting) else f"{small.same:,} of {small.rows:,} rows as before, "
    print(f"int8: {megabytes(file)}, {same}largest difference {small.largest:.1e}")
    print(f"int8: {agreement.speeds(small, decoding.sources)}")
    before, after = (predictions(task, split, [(row, pair[side]) for row, *pair in small.best]) for side in (0, 1))
    for metric in task.metrics:
        print(f"int8: {changed(metric, before, after)}")


def predictions(task: Task, split: Split, best: Sequence[tuple[int, Hypothesis]]) -> list[Prediction]:
    """The best hypotheses of rows of a split, ready to be scored."""
    predicted = best_texts(task, [row for row, _ in best], [[one] for _, one in best])
    return [with_texts(item, split.texts) for item in predicted]


def changed(metric: Metric, before: Sequence[Prediction], after: Sequence[Prediction]) -> str:
    """What became of a score, and whether that is luck."""
    metric = metric.settled([row.references for row in before])
    try:
        ours, theirs = np.split(metric.statistics([*before, *after]), 2)
    except InputError as problem:  # of scores that need what a file does not give
        return f"{metric.name} cannot be compared: {problem}"
    first, second = scored(metric, [ours]), scored(metric, [theirs])
    found, rows = compare(metric, second, first), int((ours != theirs).any(axis=1).sum())
    luck = f"p = {found.p_randomised:.3f} by approximate randomisation"
    if rows < FEWEST:
        luck = f"only {rows} rows count otherwise, too few for a test"
    return (
        f"{metric.name} {first.value:.2f} to {second.value:.2f} ({found.difference:+.2f}, 95 % interval "
        f"{found.low:+.2f} to {found.high:+.2f}, {luck})"
    )


def megabytes(file: Path) -> str:
    """How large a file is."""
    return f"{file.stat().st_size / 1e6:.2f} MB"


def searched(task: Task, decoding: Decoding) -> str:
    """How the rows are decoded."""
    if not task.searches:
        return "best prediction of each row"
    if decoding.temperature is not None:
        return f"{decoding.beam_size} drawn at temperature {decoding.temperature:g}"
    return "greedy search" if decoding.beam_size == 1 else f"beam of {decoding.beam_size}"


if __name__ == "__main__":
    command.run(main)
