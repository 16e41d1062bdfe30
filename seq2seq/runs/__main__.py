"""python -m seq2seq.runs FOLDER: a table of all runs, what differs between two of them, what can be deleted."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.errors import InputError
from seq2seq.experiments import deletable, listing


def parser() -> ArgumentParser:
    """What to list, and how."""
    made = command.parser_for("runs", "List all runs below a folder; show what differs, or what can be deleted.")
    made.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="folder with runs, at any depth")
    made.add_argument(
        "--columns", type=str, metavar="NAME,NAME", default="",
        help="what to show: settings such as model.hidden_size, scores such as bleu or validation.bleu, anything in "
        "results.json such as environment.device, or run, task, state, split, metric, score, low, high, step, "
        "parameters, seconds",
    )  # fmt: skip
    made.add_argument(
        "--filter", type=str, action="append", default=[], metavar="NAME=VALUE",
        help="only these runs; also !=, <, <=, >, >=, and ~ for a part of a text; may be given several times",
    )  # fmt: skip
    made.add_argument("--sort", type=str, metavar="NAME", default="run", help="the name to order by")
    made.add_argument("--reverse", **command.SWITCH, help="the greatest first")
    made.add_argument("--csv", **command.SWITCH, help="print comma-separated values")
    made.add_argument("--json", **command.SWITCH, help="print JSON")
    made.add_argument(
        "--diff", type=Path, nargs=2, metavar=("RUN", "RUN"), help="show what differs between two runs instead"
    )
    made.add_argument("--deletable", **command.SWITCH, help="show checkpoints that nothing needs instead")
    made.add_argument("--delete", **command.SWITCH, help="delete the checkpoints that --deletable shows")
    return made


def main(arguments: Sequence[str]) -> None:
    """List as the arguments say."""
    config = command.parse(parser(), arguments)
    if config.csv and config.json:
        raise InputError("--csv and --json exclude each other; choose one")
    if config.diff:
        for path in config.diff:
            if not path.is_dir():
                raise InputError(f"--diff {path} is no folder of a run")
        print(listing.difference(*map(listing.read_run, config.diff)).terminal())
        return
    found = listing.find_runs(config.folder)
    runs = listing.ordered(listing.chosen(found, config.filter), config.sort, config.reverse)
    if config.deletable or config.delete:
        clean(runs, found, config.folder, config.delete)
        return
    columns = listing.columns_of(runs, [name.strip() for name in config.columns.split(",") if name.strip()])
    if config.json:
        print(json.dumps(listing.as_rows(runs, columns), ensure_ascii=False, indent=1))
    elif config.csv:
        print(listing.as_csv(runs, columns), end="")
    else:
        print(listing.as_table(runs, columns, config.folder).terminal())
    for run in runs if config.csv or config.json else ():
        if run.problem:
            print(f"broken: {run.problem}", file=sys.stderr)
    if not runs:
        print(f"no run in {config.folder}" + " passes --filter" * bool(found), file=sys.stderr)


def clean(runs: Sequence[listing.ListedRun], found: Sequence[listing.ListedRun], folder: Path, delete: bool) -> None:
    """Show, and if asked to delete, what nothing needs of some runs. found: all, which may need something of them."""
    chosen = {run.run.path for run in runs}
    files = [
        one for one in deletable.deletable(found)
        if chosen & {one.path.parent, one.path.parent.parent}
    ]  # fmt: skip
    for one in files if delete else ():
        one.path.unlink()
    print(deletable.as_table(files, folder, delete).terminal())


if __name__ == "__main__":
    command.run(main)
