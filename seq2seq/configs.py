"""python -m seq2seq.configs [NAME]: list the configurations that come with the package, or copy one to change it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.cli.messages import suggestion
from seq2seq.errors import InputError
from seq2seq.runs.config_file import shipped


def parser() -> ArgumentParser:
    """The command's parser."""
    made = command.parser_for("configs", "List the configurations that come with the package, or copy one.")
    made.add_argument("name", type=str | None, nargs="?", help="which one to copy; all are listed without it")
    made.add_argument("--output", type=Path | None, help="file to write (default: NAME.yaml in this folder)")
    made.add_argument("--overwrite", type=bool, default=False, help="replace that file")
    return made


def main(arguments: Sequence[str]) -> None:
    """List or copy as the arguments say."""
    config, known = command.parse(parser(), arguments), shipped()
    if config.name is None:
        if config.output is not None:
            raise InputError(f"--output {config.output} needs the name of a configuration before it")
        width = max(map(len, known))
        print("\n".join(f"{name:{width}}  {first_comment(file)}" for name, file in known.items()))
        return
    if config.name not in known:
        raise InputError(f"there is no configuration {config.name}; {suggestion(config.name, known)}")
    output: Path = config.output or Path(f"{Path(config.name).name}.yaml")
    try:
        with output.open("w" if config.overwrite else "x", encoding="utf-8") as file:
            file.write(known[config.name].read_text(encoding="utf-8"))
    except FileExistsError as problem:
        raise InputError(f"{output} exists; replace it with --overwrite true, or choose another --output") from problem
    print(f"{output} written; train with: seq2seq train --config {output}", file=sys.stderr)


def first_comment(file: Path) -> str:
    """The first line of a configuration, which says what it is."""
    with file.open(encoding="utf-8") as opened:
        return opened.readline().lstrip("# ").rstrip()


if __name__ == "__main__":
    command.run(main)
