"""python -m seq2seq.bench: how fast this machine trains and predicts, against plain torch, the floor and peers.

Needs no data and no network but for --peers; processor only. All parts take about ten minutes.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.errors import InputError, check_range


def parser() -> ArgumentParser:
    """The command's parser."""
    made = command.parser_for("bench", "Measure how fast this machine trains and predicts, as ratios.")
    made.add_argument("--only", type=str | None, help="parts to measure, separated by commas; null for all")
    made.add_argument("--quick", **command.SWITCH, help="tiny networks and few steps: whether it runs, not how fast")
    made.add_argument(
        "--rounds", type=int, default=3, help="turns of everything that is compared, after one to warm up"
    )
    made.add_argument("--threads", type=int, default=1, help="of torch; with one, processor time is measured")
    made.add_argument("--json", type=Path | None, help="file to write everything measured to")
    made.add_argument("--compare", type=Path | None, help="such a file of before; what moved beyond noise is printed")
    made.add_argument("--peers", **command.SWITCH, help="compare with OpenNMT-py, JoeyNMT, fairseq and yoyodyne too")
    made.add_argument(
        "--peers_folder", type=Path | None,
        help="where their environments are made; null for peers in the folder of prepared data (data.cache)",
    )  # fmt: skip
    return made


def main(arguments: Sequence[str]) -> None:
    """Measure as the arguments say."""
    config = command.parse(parser(), arguments)
    check_range("--rounds", config.rounds, 1)
    check_range("--threads", config.threads, 1)
    for library in ("OMP", "MKL", "OPENBLAS"):  # before numpy and torch are imported
        os.environ[f"{library}_NUM_THREADS"] = str(config.threads)
    import torch

    from seq2seq.speed import comparing
    from seq2seq.speed.figures import Figures, Sizes
    from seq2seq.speed.parts import PARTS
    from seq2seq.speed.peers import folder_of, peers

    names = [*PARTS] if config.only is None else [name.strip() for name in config.only.split(",") if name.strip()]
    if config.peers and config.only is None:
        names = ["peers", *names]
    for name in names:
        if name not in (*PARTS, "peers"):
            raise InputError(f"--only {name}: there is no such part; choose from {', '.join([*PARTS, 'peers'])}")
    before = None if config.compare is None else comparing.read(config.compare)
    torch.set_num_threads(config.threads)
    sizes = Sizes.quick() if config.quick else Sizes(config.rounds)
    found = Figures()
    for name in names:
        if name == "peers":
            found.begin(name)
            peers(sizes, found, folder_of(config.peers_folder))
        else:
            found.begin(name)
            PARTS[name](sizes, found)
    found.finish()
    if config.json is not None:
        found.write(config.json)
    if before is not None:
        print(comparing.moved(before, found.content()))


if __name__ == "__main__":
    command.run(main)
