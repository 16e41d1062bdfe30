"""How long a step takes on one and on several processes, what the exchange of gradients costs, and what follows.

    python benchmarks/scaling.py [--config FILE] [--steps 30] [--rounds 3]     measure here, and fit
    python benchmarks/scaling.py --predict                                     many GPUs, from stated assumptions

The model: a step on n processes takes compute / n + exchange(bytes, n) + input, where exchange is the ring's
2 (n - 1) / n * bytes / bandwidth + 2 (n - 1) * latency. docs/scaling.md has the tables.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 8
"""Steps of each training that do not count."""


class Network(NamedTuple):
    """A configuration of the paper presets: parameters, tokens of a step (source and target), tokens' arithmetic."""

    name: str
    parameters: float
    recurrent: float
    """Parameters that every token is multiplied with: all but the vectors of words."""
    tokens: int
    floor: float
    """Seconds that a step takes however few rows it has: one time step after the other, forwards and backwards."""


class Machine(NamedTuple):
    """What is assumed of a cluster."""

    flops: float = 60e12
    """Of one GPU, reached, not printed on the box: recurrent layers multiply small matrices."""
    inside: float = 200e9
    """Bytes a second between the GPUs of a node."""
    between: float = 25e9
    """Bytes a second that leave or enter a node."""
    latency: float = 20e-6
    """Seconds for each hop of each bucket."""
    per_node: int = 8
    input: float = 2e-3
    """Seconds a step that nothing divides: the loop of Lightning, callbacks, batches."""


LARGE = (
    Network("luong2015", 222.1e6, 122e6, 6_400, 0.030),
    Network("rnmtplus2018", 379.9e6, 347e6, 250_000, 0.060),
)
BUCKET = 25e6
"""Bytes of gradients that DDP exchanges at once."""


def ring(size: float, members: int, bandwidth: float) -> float:
    """Seconds in which a ring adds up `size` bytes (Patarasuk and Yuan 2009)."""
    return 2 * (members - 1) / members * size / bandwidth


def exchange(size: float, processes: int, machine: Machine) -> float:
    """Seconds for the gradients: rings inside the nodes, one between them, a tree of hops for each bucket."""
    inside, nodes = min(processes, machine.per_node), -(-processes // machine.per_node)
    hops = math.ceil(size / BUCKET) * 2 * math.log2(max(processes, 2)) * machine.latency
    return 0.0 if processes == 1 else ring(size, inside, machine.inside) + ring(size, nodes, machine.between) + hops


class Prediction(NamedTuple):
    """Seconds of a step on some GPUs."""

    compute: float
    exchange: float
    hidden: float
    """Of the exchange, what the backward pass hides at best."""
    input: float

    @property
    def best(self) -> float:
        """Seconds when everything that can be hidden is."""
        return self.compute + self.exchange - self.hidden + self.input

    @property
    def worst(self) -> float:
        """Seconds when nothing is."""
        return self.compute + self.exchange + self.input


def predicted(network: Network, processes: int, machine: Machine, size: int = 4, times: int = 1) -> Prediction:
    """A step on so many GPUs; size: bytes of a number of the gradient; times: how much more tokens a step has."""
    work = 6 * network.recurrent * network.tokens * times / machine.flops  # forwards once, backwards twice
    compute = max(work / processes, network.floor)
    moved = exchange(network.parameters * size, processes, machine)
    return Prediction(compute, moved, min(moved, compute * 2 / 3), machine.input)


def predictions(machine: Machine) -> str:
    """The table of docs/scaling.md."""
    lines = ["| network | GPUs | tokens a step | compute | exchange, 32 / 16 bits | step | efficiency |",
             "|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for network in LARGE:
        for times in (1, 8):
            alone = predicted(network, 1, machine, times=times).worst
            for processes in (1, 8, 64, 512):
                full, half = (predicted(network, processes, machine, size, times) for size in (4, 2))
                share = [100 * alone / one / processes for one in (full.worst, half.best)]
                lines.append(
                    f"| {network.name} | {processes} | {network.tokens * times:,} | {1000 * full.compute:,.0f} ms | "
                    f"{1000 * full.exchange:.0f} / {1000 * half.exchange:.0f} ms | "
                    f"{1000 * half.best:,.0f} to {1000 * full.worst:,.0f} ms | {share[0]:.0f} to {share[1]:.0f} % |"
                )
    return "\n".join(lines)


def work(arguments: Sequence[str]) -> None:
    """One training that takes the time of its steps: inside, and from one to the next; the first process prints."""
    import torch

    from seq2seq import train
    from seq2seq.cli import command
    from seq2seq.training.learner import Learner

    inside: list[float] = []
    begun: list[float] = []
    busy: list[float] = []
    original = Learner.training_step

    def timed(self: Learner, batch: object, index: int) -> None:
        begun.append(time.perf_counter())
        busy.append(time.process_time())
        original(self, batch, index)  # type: ignore[arg-type]
        inside.append(time.perf_counter() - begun[-1])
        if self.global_step == self.trainer.max_steps:
            report(self, inside, begun)

    def report(learner: Learner, inside: list[float], begun: list[float]) -> None:
        steps = [later - earlier for earlier, later in zip(begun[WARM_UP:], begun[WARM_UP + 1 :], strict=False)]
        found = {"step": statistics.median(steps), "inside": statistics.median(inside[WARM_UP:])}
        # What this process has computed, which other programs on the machine hardly change.
        taken = [later - earlier for earlier, later in zip(busy[WARM_UP:], busy[WARM_UP + 1 :], strict=False)]
        found["busy"] = statistics.median(taken)
        found["parameters"] = sum(one.numel() for one in learner.parameters() if one.requires_grad)
        found |= {"exchange": reduced(int(found["parameters"]))} if learner.trainer.world_size > 1 else {}
        if learner.trainer.is_global_zero:
            Path(os.environ["SCALING_RESULT"]).write_text(json.dumps(found))
            sys.stdout.flush()
        os._exit(0)

    def reduced(count: int) -> float:
        tensor, taken = torch.zeros(count), []
        for _ in range(15):
            torch.distributed.barrier()
            started = time.perf_counter()
            torch.distributed.all_reduce(tensor)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken[3:])

    Learner.training_step = timed  # type: ignore[method-assign]
    torch.set_num_threads(1)
    command.run(train.main, arguments)


def measured(config: str, processes: int, steps: int, more: Sequence[str]) -> dict[str, float]:
    """The median step of one training."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        options = ["--config", config, "--run", f"{folder}/run", "--trainer.max_steps", str(steps + WARM_UP)]
        options += ["--trainer.val_check_interval", "1000000", "--trainer.accelerator", "cpu"]
        options += ["--trainer.devices", str(processes), *more]
        environment = {name: value for name, value in os.environ.items() if name != "SEQ2SEQ_LAUNCH"}
        environment |= {"OMP_NUM_THREADS": "1", "SCALING_RESULT": str(result), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, "--work", *options]
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        found: dict[str, float] = json.loads(result.read_text())
        return found


def main() -> None:
    """Measure, or predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "translation_cldr.yaml"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--predict", action="store_true")
    options, more = parser.parse_known_args()
    if options.predict:
        print(predictions(Machine()))
        return
    rounds: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for number in range(options.rounds):
        for processes, found in rounds.items():  # in turns: a busy machine is busy for both
            found.append(measured(options.config, processes, options.steps, more))
            shown = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in found[-1].items() if value < 1000)
            print(f"round {number + 1}, {processes} process(es): {shown}; load {os.getloadavg()[0]:.1f}", flush=True)
    one, two = ({name: statistics.median(run[name] for run in runs) for name in runs[0]} for runs in rounds.values())
    rest = one["step"] - one["inside"]
    size, exchanged = 4 * one["parameters"], two["exchange"]
    fitted = one["inside"] / 2 + exchanged + rest
    print(
        f"{one['parameters']:,.0f} parameters, {size / 1e6:.1f} MB of gradients\n"
        f"1 process:   {1000 * one['step']:.1f} ms = compute {1000 * one['inside']:.1f} + input {1000 * rest:.1f}\n"
        f"2 processes: {1000 * two['step']:.1f} ms; the model says {1000 * fitted:.1f} = {500 * one['inside']:.1f} + "
        f"exchange {1000 * exchanged:.1f} ({size / exchanged / 1e9:.2f} GB/s) + {1000 * rest:.1f}\n"
        f"processor time of a step: {1000 * one['busy']:.1f} ms alone, {1000 * two['busy']:.1f} ms in each of two\n"
        f"speed-up {one['step'] / two['step']:.2f}, efficiency {50 * one['step'] / two['step']:.0f} %"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2:])
    else:
        main()
