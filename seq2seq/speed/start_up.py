"""Starting: help, and from the command to the first optimiser step, over `import torch`."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from seq2seq.speed import made_up
from seq2seq.speed.figures import Figures, Sizes
from seq2seq.speed.training import settings

FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(0))
from seq2seq import train
train.main(sys.argv[1:])
"""


def start_up(sizes: Sizes, found: Figures) -> None:
    """Processor seconds of whole processes, in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_up.write_pairs(folder, 60, 200)
        training = settings(folder, Sizes.quick(), "General", "32-true")
        ways = {
            "import torch": ["-c", "import torch"],
            "train --help": ["-m", "seq2seq.train", "--help"],
            "predict --help": ["-m", "seq2seq.predict", "--help"],
            "evaluate --help": ["-m", "seq2seq.evaluate", "--help"],
            "lint --help": ["-m", "seq2seq.lint", "--help"],
            "train, to the first step": ["-c", FIRST_STEP, *training],
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(sizes.rounds + 1):
            for way, arguments in ways.items():
                spent = process_seconds(arguments)
                if number:
                    taken[way].append(spent)
    base = statistics.median(taken["import torch"])
    found.add("import torch", taken["import torch"], "s")
    for way in [*ways][1:-1]:
        found.ratio(f"{way}, time over import torch", taken[way], taken["import torch"])
    found.add("train, to the first step, more than import torch",
              [one - base for one in taken["train, to the first step"]], "s")  # fmt: skip


def process_seconds(arguments: list[str]) -> float:
    """Processor seconds that a Python takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
                   env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
