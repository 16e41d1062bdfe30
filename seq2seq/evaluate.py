"""python -m seq2seq.evaluate RUN: repeat the scoring from the checkpoint alone, on the same data or on other."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser
from tqdm import tqdm

from seq2seq import checkpoint, command, inference, results
from seq2seq.data.datamodule import DataModule
from seq2seq.errors import InputError
from seq2seq.metrics.base import Prediction
from seq2seq.parts import build
from seq2seq.rundir import REPORTED, RunDirectory
from seq2seq.tasks.base import Decoding, Task


def parser_for(data: dict[str, Any], decoding: dict[str, Any]) -> ArgumentParser:
    """The command's parser, with the data and decoding of a checkpoint as defaults."""
    parser = ArgumentParser(
        prog="python -m seq2seq.evaluate", description="Score a trained model.", exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("run", type=str, help="run directory or checkpoint")
    parser.add_argument("--split", type=Literal["train", "validation", "test"], default="test", help="what to score")
    parser.add_argument("--output", type=str | None, help="directory for predictions, results.json and report.html")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace what --output holds")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    parser.add_argument("--debug", type=bool, default=False, help="show the traceback of an error")
    parser.add_class_arguments(DataModule, "data")
    parser.add_class_arguments(Decoding, "decoding")
    parser.set_defaults({f"data.{name}": value for name, value in data.items()})
    parser.set_defaults({f"decoding.{name}": value for name, value in decoding.items()})
    return parser


def main(arguments: Sequence[str]) -> None:
    """Evaluate as the arguments say."""
    name = command.run_argument(arguments, parser_for({}, {}))
    command.import_own_modules(arguments)
    path = checkpoint.find(name)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    # Through `build`, which imports nothing, before the parser would import what a checkpoint names.
    stored = build(DataModule, checkpoint.data_specification(content, path)).specification()["init_args"]
    parser = parser_for(stored, task.decoding.specification()["init_args"])
    config = command.parse(parser, arguments)
    parts = command.instantiate(parser, config)
    run = RunDirectory(Path(config.output)) if config.output else None
    if run is not None:
        if run.path.resolve() in path.resolve().parents:
            raise InputError(f"--output {run.path} holds the checkpoint itself; choose another directory")
        run.claim(config.overwrite, resume=False)
    scored, predictions = evaluate(task, parts.data, parts.decoding, config.split, config.device)
    scored |= {"name": path.parent.parent.name or path.name, "config": command.plain_settings(parser, config)}
    if run is not None:
        run.clear(REPORTED)
        results.publish(scored, predictions, run, config.split)
    print(results.summary(scored, config.split))
    if run is not None:
        print(f"\nreport: {run.report}")


def evaluate(
    task: Task, data: DataModule, decoding: Decoding, split: str, device_name: str
) -> tuple[dict[str, Any], list[Prediction]]:
    """Decode a split and score it: the plain results, and the predictions in row order."""
    started = time.monotonic()
    device = inference.choose_device(device_name)
    encoded = data.encode(data.texts(split), task.tokenizers, split, task.layout)
    task.to(device)
    found: list[results.Predicted] = []
    with tqdm(total=len(encoded), unit="row", leave=False, disable=None) as bar:
        predict = results.Predictor(task, decoding)
        for batch in inference.batches(encoded, decoding, device, task.running):
            found += predict(batch)
            bar.update(len(batch.rows))
    predictions = results.in_order(found, encoded.texts)
    scored = {
        "format": 1,
        "task": type(task).__name__,
        "splits": {split: results.split_results(predictions, task, decoding)},
        "environment": results.environment(results.device_name(device)),
        "model": {"parameters": task.parameter_counts()},
    }
    scored["seconds"] = round(time.monotonic() - started, 2)
    return scored, predictions


if __name__ == "__main__":
    command.run(main)
