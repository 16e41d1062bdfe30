"""python -m seq2seq.check_device: does this machine compute what the CPU does, to the bit where it must, how fast?

Needs no data and less than 5 minutes. Exit code 1 if anything is wrong. Run it first on a new machine, and send
device_check.json with a report.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import seq2seq
from seq2seq.atomic_files import write_text
from seq2seq.cli import command
from seq2seq.device_check.determinism import determinism
from seq2seq.device_check.findings import DeviceCheck, Part, all_of
from seq2seq.device_check.parity import parity
from seq2seq.device_check.speed import memory, speed
from seq2seq.device_check.trainings import resume, several
from seq2seq.device_check.who import who
from seq2seq.inference.predict_texts import choose_device
from seq2seq.report.tables import Table

PARTS: dict[str, Part] = {
    "who": who,
    "parity": parity,
    "determinism": determinism,
    "resume": resume,
    "memory": memory,
    "several": several,
    "speed": speed,
}


def main(arguments: Sequence[str]) -> int:
    """Check as the arguments say; 1 if anything is wrong."""
    parser = command.parser_for("check_device", "Check that this machine computes as it should, and how fast.")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    names = Literal["who", "parity", "determinism", "resume", "memory", "several", "speed"]
    parser.add_argument("--parts", type=list[names], default=[*PARTS], help="what to check, such as [who,speed]")
    parser.add_argument("--output", type=Path, default=Path("device_check.json"), help="file to send with a report")
    config, started = command.parse(parser, arguments), time.monotonic()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # as a training does
    device, lines = choose_device(config.device), []
    for line in all_of({name: PARTS[name] for name in config.parts}, device):
        lines.append(line)
        print(f"{line.part}: {line.what} ... {word(line)}", file=sys.stderr)
    seconds = time.monotonic() - started
    content = {
        "format": 1,
        "version": seq2seq.__version__,
        "device": str(device),
        "seconds": round(seconds, 1),
        "lines": [line._asdict() for line in lines],
    }
    write_text(config.output, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(table(lines).terminal())
    wrong = sum(line.ok is False for line in lines)
    left = sum(line.ok is None for line in lines)
    print(f"\n{len(lines)} lines: {wrong} wrong, {left} not checked; {seconds:.0f} s; written to {config.output}")
    return int(wrong > 0)


def word(line: DeviceCheck) -> str:
    """The verdict."""
    return {True: "ok", False: "WRONG", None: "-"}[line.ok]


def table(lines: Sequence[DeviceCheck]) -> Table:
    """All lines."""
    rows = [[line.part, line.what, line.expected, line.found, word(line)] for line in lines]
    return Table(["part", "what", "expected", "found", ""], rows)


if __name__ == "__main__":
    command.run(main)
