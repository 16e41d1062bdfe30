"""Model files of a stranger: random changes of the bytes of one that works.

`python -m tests.runtime.fuzz FILE COUNT [SEED]` says how many were refused; another end than `FileError`, or a crash, is
a fault. Loops that a change has made endless are stopped after some seconds.
"""

import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from seq2seq_runtime import FileError, load

MEMORY = 6 << 30
SECONDS = 10

Change = Callable[[random.Random, bytearray], bytes]


def flipped(draw: random.Random, data: bytearray) -> bytes:
    for _ in range(draw.randint(1, 4)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def replaced(draw: random.Random, data: bytearray) -> bytes:
    data[draw.randrange(len(data))] = draw.choice((0, 1, 127, 128, 255))
    return bytes(data)


def cut(draw: random.Random, data: bytearray) -> bytes:
    return bytes(data[: draw.randrange(len(data))])


def without(draw: random.Random, data: bytearray) -> bytes:
    start = draw.randrange(len(data))
    return bytes(data[:start] + data[start + draw.randint(1, 9) :])


def doubled(draw: random.Random, data: bytearray) -> bytes:
    start = draw.randrange(len(data))
    return bytes(data[: start + 9] + data[start:])


CHANGES: tuple[Change, ...] = (flipped, flipped, flipped, replaced, replaced, cut, without, doubled)


def too_long(number: int, frame: object) -> None:
    raise TimeoutError


def end(file: Path) -> str:
    """How the answer of a changed file ends."""
    signal.alarm(SECONDS)
    try:
        load(file).predict(["ab", "", "the cat"])
    except FileError as problem:
        return "refused" if len(str(problem).splitlines()) == 1 else f"refused in several lines: {problem}"
    except (TimeoutError, KeyboardInterrupt):
        return "stopped"
    finally:
        signal.alarm(0)
    return "answered"


def main(file: Path, count: int, seed: int) -> None:
    """Change and read the file again and again."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, too_long)
    whole, ends = file.read_bytes(), Counter[str]()
    assert end(file) == "answered"
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            draw = random.Random(f"{seed} {number}")
            changed = Path(folder) / "changed.onnx"
            changed.write_bytes(draw.choice(CHANGES)(draw, bytearray(whole)))
            print(number, end=" ", flush=True)  # of the file that crashes
            ends[said := end(changed)] += 1
            assert "lines" not in said, said
    print(dict(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
