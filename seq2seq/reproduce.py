"""python -m seq2seq.reproduce RESULTS.JSON: check data, versions and machine, train again, and compare."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.errors import InputError
from seq2seq.experiments import reproduction

CODES = {"bit": 0, "interval": 3, "different": 1}
"""Exit codes of the verdicts."""

LISTED = 5
"""Places that are shown where results differ."""


def parser() -> ArgumentParser:
    """What to repeat, and where."""
    made = command.parser_for(
        "reproduce",
        "Repeat a run from its results.json. Exit code 0: equal to the last bit; 3: equal within the interval; "
        "1: different; 2: other data, or a mistake.",
    )
    made.add_argument("results", type=Path, help="results.json of a run, or the run")
    made.add_argument("--run", type=str | None, help="directory of the new run (default: runs/<name>-reproduced)")
    made.add_argument("--data.path", type=str | None, help="where the data are, if not where they were")
    made.add_argument("--check", **command.SWITCH, help="only check data, versions and machine; train nothing")
    made.add_argument("--import", type=str | None, help="a module of your own whose classes the run uses")
    return made


def main(arguments: Sequence[str]) -> int:
    """Repeat as the arguments say; the exit code of the verdict."""
    command.import_own_modules(arguments)
    config = command.parse(parser(), arguments)
    original = reproduction.read_original(config.results)
    run = Path(config.run or f"runs/{original.file.resolve().parent.name}-reproduced")
    if run.resolve() == original.file.resolve().parent:
        raise InputError(f"--run {run} is the run itself; choose another --run")
    now = reproduction.repeat(original, run, config.data.path, config.check)
    if now is None:
        return 0
    found = reproduction.compared(original.results, now)
    reproduction.write_badge(found.kind, run)
    print("\n".join([*found.scores, *found.differing[:LISTED]]))
    if len(found.differing) > LISTED:
        print(f"... and {len(found.differing) - LISTED:,} more")
    print(f"{reproduction.WORDS[found.kind][0]}; badge: {run / 'badge.svg'}")
    return CODES[found.kind]


if __name__ == "__main__":
    command.run(main)
