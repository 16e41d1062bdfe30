"""python -m seq2seq.completion SHELL: write what lets a shell complete `seq2seq`, its options and their values."""

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Literal

from jsonargparse import ArgumentParser

from seq2seq.cli import command, commands
from seq2seq.cli.help import HelpShown, choices
from seq2seq.errors import InputError
from seq2seq.runs.config_file import shipped

CONFIGURATIONS = '_seq2seq_configurations() {{ compgen -f -- "$1"; compgen -W "{}" -- "$1"; }}'
"""In bash --config completes files, and the names of the package; in others the names alone."""


def main(arguments: Sequence[str]) -> None:
    """Write the script of a shell."""
    made = command.parser_for("completion", "Write the completion of seq2seq for a shell to standard output.")
    made.add_argument("shell", type=Literal["bash", "zsh", "tcsh"], help="eval what is written, or keep it in a file")
    shell = command.parse(made, arguments).shell
    refuse_without_library()
    whole = ArgumentParser(prog="seq2seq")
    each = whole.add_subcommands(required=False)
    for name, text in commands.found().items():
        parser = parser_of(name)
        for action in parser._actions:
            if names := [kind.__name__ for kind in choices(action)]:
                action.choices = names  # else jsonargparse spells out every setting of parts within parts
            if isinstance(action, command.ConfigurationFile):
                action.choices = list(shipped())
                if shell == "bash":
                    action.complete = {"bash": "_seq2seq_configurations"}  # type: ignore[attr-defined]
        each.add_subcommand(name, parser, help=text)
    print(whole.get_completion_script(f"shtab-{shell}", preambles=[CONFIGURATIONS.format(" ".join(shipped()))]))


def refuse_without_library() -> None:
    """Raise InputError where shtab, an extra, is not installed."""
    if importlib.util.find_spec("shtab") is None:
        raise InputError("the completion of a shell needs the library shtab: pip install shtab")


def parser_of(name: str) -> ArgumentParser:
    """The parser of a command, which its help brings along; one without options for a command that has none."""
    main = getattr(importlib.import_module(f"seq2seq.{name}"), "main", None)
    if main is not None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                main(["--help"])
        except HelpShown as shown:
            return shown.parser
    return ArgumentParser()


if __name__ == "__main__":
    command.run(main)
