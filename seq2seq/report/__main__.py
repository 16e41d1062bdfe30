"""python -m seq2seq.report RUN: write a run's report.html anew from its results.json and predictions alone."""

import argparse
import sys
from pathlib import Path

from seq2seq.errors import InputError
from seq2seq.report import page


def main() -> None:
    """Write the page and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m seq2seq.report", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("run", type=Path, help="directory with results.json and predictions")
    parser.add_argument("--report", type=Path, help="HTML file to write (default: report.html in the run)")
    options = parser.parse_args()
    try:
        print(f"report: {page.write_run(options.run, options.report)}")
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except (OSError, ValueError, RecursionError) as problem:
        print(f"error: {options.run} has no results that can be read: {problem}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
