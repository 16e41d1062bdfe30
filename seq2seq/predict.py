"""python -m seq2seq.predict RUN < in.txt > out.txt: one line out for each line in, always, in order."""

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from jsonargparse import ArgumentParser, Namespace

from seq2seq.cli import command
from seq2seq.data.lines import decode_line
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError, check_range
from seq2seq.inference import predict_texts, token_stream
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.length_limits import remedy

log = logging.getLogger(__name__)

CHUNK = 1 << 17
"""Bytes read at once: bounds what is held in memory, and what waits for its neighbours."""

LONGEST = 1 << 24
"""Bytes of the longest line that is read."""

LONGEST_WHOLE = 100_000
"""Characters of the longest line that a task reads whole; others cut sources to data.max_length."""


def parser_for(decoding: Decoding) -> ArgumentParser:
    """The command's parser, with the decoding of a checkpoint as default."""
    parser = command.parser_for(
        "predict", "Read lines of text from standard input, write one line for each to standard output."
    )
    switches = {
        "scores": "put each score before its text",
        "token_scores": "put the probability of each token or label, separated by spaces, after its text",
        "quantiles": "write a JSON object with the forecast of each quantile",
        "stream": "label tokens as they arrive: each gets a line with the token, its label and its probability",
    }
    parser.add_argument("run", type=str, help="run directory or checkpoint")
    parser.add_argument("--n_best", type=int, default=1, help="predictions for each line, separated by tabs")
    for name, text in switches.items():
        parser.add_argument(f"--{name}", **command.SWITCH, help=text)
    parser.add_argument("--state", type=Path | None, help="with --stream: file to resume from, and to write at the end")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    parser.add_class_arguments(Decoding, "decoding")
    parser.set_defaults({f"decoding.{name}": value for name, value in decoding.specification()["init_args"].items()})
    return parser


def main(arguments: Sequence[str]) -> None:
    """Predict as the arguments say."""
    name = command.run_argument(arguments, parser_for(Decoding()))
    command.import_own_modules(arguments)
    path = checkpoint.find(name)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    parser = parser_for(task.decoding)
    config = command.parse(parser, arguments)
    decoding: Decoding = command.instantiate(parser, config).decoding
    check_range("--n_best", config.n_best, 1)
    task.check_decoding(decoding)
    if config.n_best > 1 and task.predicts_once:
        raise InputError(f"--n_best {config.n_best}: this {type(task).__name__} predicts once for a line; leave it out")
    if not task.searches or decoding.temperature is not None:
        decoding = replace(decoding, beam_size=config.n_best)
    if config.n_best > decoding.beam_size:
        raise InputError(f"--n_best {config.n_best} needs --decoding.beam_size {config.n_best} or more")
    if config.stream and (config.n_best > 1 or decoding.prefix):
        raise InputError("--stream labels each token once, as it arrives; leave out --n_best and --decoding.prefix")
    if config.state is not None and not config.stream:
        raise InputError(f"--state {config.state} is the position of a stream; add --stream, or leave it out")
    max_length = checkpoint.data_specification(content, path)["init_args"]["max_length"]
    device = predict_texts.choose_device(config.device)
    task.to(device)
    if sys.stdin is None or sys.stdout is None:
        raise InputError("standard input and output must be open; give files with < in.txt > out.txt")
    if config.stream:
        return token_stream.follow(task, sys.stdin.buffer, sys.stdout.buffer, config.state)
    number, ended, state = 0, 0, task.first_state(1)
    for lines in chunks(sys.stdin.buffer):
        texts, problem = readable(task, lines, number)
        if task.has_no_source:
            predictions, state = task.generate_from_prompts(texts, number, state, decoding)
        else:
            predictions = predict_texts.predict(task, texts, decoding, device, max_length, number)
        number += len(lines)
        ended += sum(any(one.at_limit for one in hypotheses[: config.n_best]) for hypotheses in predictions)
        answers = [show(task, hypotheses[: config.n_best], config) + "\n" for hypotheses in predictions]
        sys.stdout.buffer.write("".join(answers).encode())
        sys.stdout.buffer.flush()
        if problem is not None:
            raise problem
    if ended:
        limit = task.limit_in_words(decoding)
        log.warning(
            "%d of %d lines have a prediction as long as allowed: %s; %s", ended, number, limit, remedy(decoding)
        )


def readable(task: Task, lines: Sequence[bytes], before: int) -> tuple[list[str], InputError | None]:
    """The texts of lines up to the first that cannot be read, and what is wrong with it; `before` came earlier."""
    texts: list[str] = []
    for number, line in enumerate(lines, before + 1):
        try:
            text = decode_line(line, "standard input", number)
        except InputError as problem:
            return texts, problem
        try:
            refuse_long(task, text)
            if text and (text.strip() or task.has_no_source):
                task.check(text)
        except InputError as problem:
            return texts, InputError(f"standard input:{number}: {problem}")
        texts.append(text)
    return texts, None


def refuse_long(task: Task, text: str) -> None:
    """Refuse a line that would be read whole, however long it is."""
    if len(text) <= LONGEST_WHOLE or not (task.row_format.aligned or task.has_no_source):
        return
    aligned = " or, where the network reads forwards only, label it with --stream" * task.row_format.aligned
    raise InputError(
        f"{len(text):,} characters, and {type(task).__name__} reads at most {LONGEST_WHOLE:,} at once; break the line "
        f"into shorter ones{aligned}"
    )


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


def show(task: Task, hypotheses: Sequence[Hypothesis], config: Namespace) -> str:
    """One output line."""
    if config.quantiles and hypotheses:
        return quantiles(task, hypotheses[0])
    texts = [task.text(hypothesis) for hypothesis in hypotheses]
    if config.scores or config.token_scores or len(texts) > 1:  # then a tab stands between them
        texts = [text.replace("\t", " ") for text in texts]
    if config.scores:
        texts = [f"{hypothesis.score:.4f}\t{text}" for hypothesis, text in zip(hypotheses, texts, strict=True)]
    if config.token_scores:
        rows = ([f"{math.exp(score):.4f}" for score in hypothesis.token_scores] for hypothesis in hypotheses)
        texts = [f"{text}\t{' '.join(row)}" for text, row in zip(texts, rows, strict=True)]
    return "\t".join(texts)


def quantiles(task: Task, hypothesis: Hypothesis) -> str:
    """The forecast of each quantile as one line."""
    texts = task.quantile_texts(hypothesis)
    if texts is None:
        raise InputError("--quantiles is for a run of the task Forecasting with model.quantiles; leave it out")
    return json.dumps(texts)


if __name__ == "__main__":
    command.run(main)
