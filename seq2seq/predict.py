"""python -m seq2seq.predict RUN < in.txt > out.txt: one line out for each line in, always, in order."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import torch
from jsonargparse import ArgumentParser

from seq2seq import checkpoint, command, inference
from seq2seq.data.batch import Ragged
from seq2seq.data.datamodule import DataModule, Split
from seq2seq.data.sources import Texts, decode_line
from seq2seq.data.tokenizers import EOS
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.parts import build
from seq2seq.tasks.base import Decoding, Task

CHUNK = 1 << 17
"""Bytes read at once: bounds what is held in memory, and what waits for its neighbours."""

LONGEST = 1 << 24
"""Bytes of the longest line that is read."""


def parser_for(decoding: Decoding) -> ArgumentParser:
    """The command's parser, with the decoding of a checkpoint as default."""
    parser = ArgumentParser(
        prog="python -m seq2seq.predict",
        description="Read lines of text from standard input, write one line for each to standard output.",
        exit_on_error=False,
    )
    parser.add_argument("run", type=str, help="run directory or checkpoint")
    parser.add_argument("--n_best", type=int, default=1, help="predictions for each line, separated by tabs")
    parser.add_argument(
        "--scores", type=bool, default=False, nargs="?", const=True, help="put each score before its text"
    )
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    parser.add_argument("--debug", type=bool, default=False, help="show the traceback of an error")
    parser.add_class_arguments(Decoding, "decoding")
    parser.set_defaults({f"decoding.{name}": value for name, value in decoding.specification()["init_args"].items()})
    return parser


def main(arguments: Sequence[str]) -> None:
    """Predict as the arguments say."""
    given = [argument for argument in arguments[:1] if not argument.startswith("-")]
    if not given:
        command.parse(parser_for(Decoding()), arguments or ["--help"])
    command.import_own_modules(arguments)
    path = checkpoint.find(given[0])
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    parser = parser_for(task.decoding)
    config = command.parse(parser, arguments)
    decoding: Decoding = parser.instantiate(config).decoding
    if not 1 <= config.n_best <= decoding.beam_size:
        raise InputError(f"--n_best {config.n_best} needs --decoding.beam_size {max(1, config.n_best)} or more")
    data = build(DataModule, json.loads(content["seq2seq"]["data"]))
    device = inference.choose_device(config.device)
    task.to(device)
    number = 0
    for lines in chunks(sys.stdin.buffer):
        texts = [decode_line(line, "standard input", number + place) for place, line in enumerate(lines, 1)]
        number += len(lines)
        for hypotheses in predict(task, data, texts, decoding, device):
            print(show(task, hypotheses[: config.n_best], config.scores))
        sys.stdout.flush()


def chunks(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The complete lines of a stream as they arrive, split at line feeds only."""
    descriptor, rest, seen = stream.fileno(), b"", 0
    while data := os.read(descriptor, CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        seen += len(lines)
        if len(rest) > LONGEST:
            raise InputError(f"standard input:{seen + 1}: a line of more than {LONGEST:,} bytes; is this a text file?")
        if lines:
            yield lines
    if rest:
        yield [rest]


def predict(
    task: Task, data: DataModule, texts: Sequence[str], decoding: Decoding, device: torch.device
) -> list[list[Hypothesis]]:
    """The hypotheses of each text, best first; none for an empty one."""
    filled = [row for row, text in enumerate(texts) if text.strip()]
    kept = [texts[row] for row in filled]
    source = data.cut([[*ids, EOS] for ids in task.tokenizers.source.encode(kept)])
    split = Split(Texts(kept, kept), Ragged(source), Ragged([[]] * len(kept)))
    result: list[list[Hypothesis]] = [[] for _ in texts]
    for rows, hypotheses in inference.decode(task, split, decoding, device):
        for row, found in zip(rows, hypotheses, strict=True):
            result[filled[row]] = found
    return result


def show(task: Task, hypotheses: Sequence[Hypothesis], scores: bool) -> str:
    """One output line."""
    texts = [task.text(one).replace("\t", " ") for one in hypotheses]
    if scores:
        texts = [f"{one.score:.4f}\t{text}" for one, text in zip(hypotheses, texts, strict=True)]
    return "\t".join(texts)


if __name__ == "__main__":
    command.run(main)
