"""The console command: `seq2seq train ...` is `python -m seq2seq.train ...`."""

import difflib
import runpy
import sys

from seq2seq import __version__
from seq2seq.cli import commands, remembered_help


def main() -> None:
    """Run the command that the first argument names, as `python -m` would; torch is imported by the command alone."""
    known, (name, *arguments) = commands.found(), sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(overview(known))
    elif name == "--version":
        print(f"seq2seq {__version__}")
    elif name in known:
        remembered_help.answer(name, arguments)
        sys.argv[1:] = arguments
        runpy.run_module(f"seq2seq.{name}", run_name="__main__", alter_sys=True)
    else:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        print(f"error: there is no command {name}; {hint}legal: {', '.join(known)}", file=sys.stderr)
        sys.exit(2)


def overview(known: dict[str, str]) -> str:
    """All commands, one a line."""
    width = max(map(len, known))
    lines = [f"  {name:{width}}  {text}" for name, text in known.items()]
    return "\n".join(
        [
            "usage: seq2seq COMMAND ...    (the same as python -m seq2seq.COMMAND ...)",
            "",
            *lines,
            "",
            "seq2seq COMMAND --help says more of one; seq2seq --version: which version this is.",
        ]
    )


if __name__ == "__main__":
    main()
