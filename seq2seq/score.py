"""python -m seq2seq.score RUN --sources FILE --targets FILE: how probable a trained model finds given targets."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from seq2seq.cli import command
from seq2seq.data.lines import lines
from seq2seq.data.rows import Texts
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts, score_texts
from seq2seq.inference.device import tf32
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task

AT_ONCE = 2000
"""Lines that are held in memory."""

LONGEST = 100_000
"""Characters of the longest line."""


def parser_for() -> ArgumentParser:
    """The command's parser."""
    parser = command.parser_for(
        "score", "Write for each line of a file of targets its log-probability in nats, given the same line of sources."
    )
    parser.add_argument("run", type=str, help="run directory or checkpoint")
    parser.add_argument("--targets", type=Path, required=True, help="file of targets, one a line")
    parser.add_argument("--sources", type=Path | None, help="file of sources, one a line, unless the run reads none")
    parser.add_argument(
        "--json", **command.SWITCH, help="write a JSON object for each line, with the log-probability of each token"
    )
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    return parser


@tf32(False)
def main(arguments: Sequence[str]) -> None:
    """Score as the arguments say."""
    parser = parser_for()
    path = checkpoint.find(command.run_argument(arguments, parser))
    command.import_own_modules(arguments)
    config = command.parse(parser, arguments)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    max_length = checkpoint.longest_source(content, path)
    device = predict_texts.choose_device(config.device)
    task.to(device)
    total, state = score_texts.Total(), task.first_state(1)
    for texts in chunks(task, config):
        scored, state = score_texts.score(task, texts, device, max_length, state)
        for one in scored:
            total = total.plus(one)
            print(as_json(one) if config.json else f"{one.log_prob:.4f}")
    print(total, file=sys.stderr)


def chunks(task: Task, config: Namespace) -> Iterator[Texts]:
    """The rows of both files, some at a time; InputError at one that cannot be scored."""
    if task.has_no_source and config.sources is not None:
        raise InputError(f"--sources {config.sources}: this run reads no sources; leave it out")
    if not task.has_no_source and config.sources is None:
        raise InputError("this run reads sources; give their file with --sources")
    rows = enumerate(pairs(config.sources, config.targets), 1)
    while some := list(islice(rows, AT_ONCE)):
        for number, (source, target) in some:
            if not task.has_no_source:
                checked(partial(check_source, task), source, f"{config.sources}:{number}")
            checked(task.tokenizers.target.check, target, f"{config.targets}:{number}")
        sources, targets = ([pair[side] for _, pair in some] for side in (0, 1))
        yield Texts(sources, targets, locations=[number for number, _ in some], files=[str(config.targets)])


def pairs(sources: Path | None, targets: Path) -> Iterator[tuple[str, str]]:
    """Source and target of each line."""
    if sources is None:
        yield from (("", target) for target in lines(targets))
        return
    for number, (source, target) in enumerate(zip_longest(lines(sources), lines(targets)), 1):
        if source is None or target is None:
            short, long = (sources, targets) if source is None else (targets, sources)
            raise InputError(f"{short} ends before line {number}, {long} does not; give files with as many lines")
        yield source, target


def check_source(task: Task, text: str) -> None:
    """Raise InputError for a source that nothing follows from."""
    if task.is_blank(text):
        raise InputError("an empty source; remove the line from both files")
    task.check(text)


def checked(check: Callable[[str], None], text: str, location: str) -> None:
    """Raise InputError with its location for a text that cannot be scored."""
    try:
        if len(text) > LONGEST:
            raise InputError(f"{len(text):,} characters; a text to score has at most {LONGEST:,}")
        check(text)
    except InputError as problem:
        raise InputError(f"{location}: {problem}") from problem


def as_json(one: score_texts.ScoredTarget) -> str:
    """All that is known of a target; null stands for minus infinity, which JSON lacks."""
    whole, *each = (number if math.isfinite(number) else None for number in (one.log_prob, *one.log_probs))
    return json.dumps({"log_prob": whole, "tokens": one.tokens, "token_log_probs": each}, ensure_ascii=False)


if __name__ == "__main__":
    command.run(main)
