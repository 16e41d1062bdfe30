"""python -m seq2seq.predict RUN < in.txt > out.txt: one line out for each line in, always, in order."""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from seq2seq.cli import command
from seq2seq.cluster import watchdog
from seq2seq.cluster.processes import Place, Processes, joined, place
from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.corpora.series import Series
from seq2seq.data.lines import STANDARD_INPUT, decode_line, without_mark
from seq2seq.data.tokenizers.units import parted
from seq2seq.decoding.hypotheses import Hypothesis, TokenChoice
from seq2seq.errors import InputError, check_range
from seq2seq.inference import (
    decoding_rows,
    ensemble,
    output_lines,
    precision,
    predict_texts,
    series_table,
    sound_stream,
    token_choices,
    token_stream,
    translation_stream,
)
from seq2seq.inference.device import tf32
from seq2seq.inference.output_lines import OutputLines
from seq2seq.inference.table_files import TableFile
from seq2seq.runs import checkpoint
from seq2seq.tasks import idle, words
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.length_limits import remedy
from seq2seq.tasks.tagging import classes_of
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation

log = logging.getLogger(__name__)

CHUNK = 1 << 17
"""Bytes read at once: bounds what is held in memory, and what waits for its neighbours."""

LONGEST = 1 << 24
"""Bytes of the longest line that is read."""

SHOWN = 5
"""Unknown values that are named."""

LONGEST_WHOLE = 100_000
"""Characters, or steps of numbers, of the longest line that is read whole; else data.max_length cuts sources."""


def parser_for(decoding: Decoding) -> ArgumentParser:
    """The command's parser, with the decoding of a checkpoint as default."""
    parser = command.parser_for(
        "predict", "Read lines of text from standard input, write one line for each to standard output."
    )
    switches = {
        "scores": "put each score before its text",
        "token_scores": "put the probability of each token or label, separated by spaces, after its text",
        "quantiles": "write a JSON object with the forecast of each quantile",
        "stream": "label tokens as they arrive, each with a line of the token, its label and its probability; or "
        "translate a source while it arrives, after decoding.wait_k tokens of it; or write the words of sound, WAV or "
        "16-bit samples, each with a line of its begin and end in seconds and the word",
    }
    parser.add_argument(
        "run", type=str, nargs="+", help="run directory or checkpoint; of several the probabilities are averaged"
    )
    table = "table to read in place of standard input (.csv, .tsv, .jsonl, .parquet); its columns go to --output too"
    parser.add_argument("--input", type=Path | None, help=table)
    parser.add_argument(
        "--column", type=str, action="append", help="column of --input to read (default: as in training)"
    )
    parser.add_argument("--output", type=Path | None, help="file to write (default: standard output)")
    resume = "go on with a half-written --output, with the same run, input and options"
    parser.add_argument("--resume", **command.SWITCH, help=resume)
    parser.add_argument("--n_best", type=int, default=1, help="predictions for each line, separated by tabs")
    parser.add_argument(
        "--alternatives", type=int | None, metavar="N",
        help="write a JSON object with the N most likely tokens at the place of each token",
    )  # fmt: skip
    for name, text in switches.items():
        parser.add_argument(f"--{name}", **command.SWITCH, help=text)
    parser.add_argument("--state", type=Path | None, help="with --stream: file to resume from, and to write at the end")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument("--devices", type=int, default=1, help="processes on this machine that share the lines")
    parser.add_argument("--precision", type=precision.Precision, default="fp32", help=precision.HELP)
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes the checkpoint uses")
    parser.add_class_arguments(Decoding, "decoding")
    parser.set_defaults({f"decoding.{name}": value for name, value in decoding.specification()["init_args"].items()})
    return parser


@tf32(False)
def main(arguments: Sequence[str]) -> None:
    """Predict as the arguments say."""
    watchdog.die_with_parent()
    name = command.run_argument(arguments, parser_for(Decoding()))
    command.import_own_modules(arguments)
    path = checkpoint.find(name)
    content = checkpoint.read(path)
    task = checkpoint.restore(content, path)
    parser = parser_for(task.decoding)
    config = command.parse(parser, arguments)
    task, max_length = with_others(task, config.run, checkpoint.longest_source(content, path))
    decoding = checked(command.instantiate(parser, config).decoding, config, task)
    at = place(config.devices)
    if at.size > 1 and (config.stream or task.first_state(1)):
        if not at.rank:
            what = "--stream" if config.stream else "running text (model.running)"
            print(f"of {what} the state is carried from line to line, so one process does all of it", file=sys.stderr)
        at = Place(at.rank, 1, 0, 1)
    if at.rank >= at.size:
        return None
    if not at.rank:
        idle.warn_of_new(task, decoding)
    device = predict_texts.own_device(config.device, at.local, at.per_node)
    precision.lower(task.to(device), config.precision)
    if sys.stdin is None or sys.stdout is None:
        raise InputError("standard input and output must be open; give files with < in.txt > out.txt")
    if config.stream:
        with precision.lowered(task, config.precision):
            return follow(task, decoding, config, max_length, checkpoint.data_of(content, path).corpus)
    state = task.first_state(1)

    def predicted(texts: Sequence[str], before: int) -> list[list[Hypothesis]]:
        nonlocal state
        if state:
            predictions, state = task.generate_from_prompts(texts, before, state, decoding)
            return predictions
        found = predict_texts.predict(task, texts, fitting, device, max_length, before, processes.share)
        if config.alternatives is None:
            return found
        return token_choices.with_choices(task, texts, found, fitting, config.alternatives, device, max_length)

    with joined(at, ["-m", "seq2seq.predict", *arguments]) as processes, precision.lowered(task, config.precision):
        memory = processes.agreed(decoding_rows.memory_of(device))  # the same batches on unlike GPUs
        fitting = decoding_rows.chosen(task, decoding, memory, max_length)
        if config.input is not None and processes.first:
            with table_of(config, content, path) as table:
                rows = table.chunks(lambda text: refuse_wrong(task, text))
                return answer(task, processes, predicted, config, decoding, table, rows)
        with output_lines.opened(config.output if processes.first else None, config.resume) as lines:
            answer(task, processes, predicted, config, decoding, lines, readable_chunks(task, sys.stdin.buffer))


def follow(task: Task, decoding: Decoding, config: Namespace, longest: int, corpus: Corpus) -> None:
    """Write while the input arrives; longest: tokens of a source; corpus: where the training's rows came from."""
    with output_lines.opened(config.output, False) as lines:
        if isinstance(task, Translation):
            return translation_stream.follow(task, decoding, longest, sys.stdin.buffer, lines.file)
        if isinstance(task, Transcription):
            return sound_stream.follow(task, decoding, corpus, sys.stdin.buffer, lines.file, config.state)
        return token_stream.follow(task, sys.stdin.buffer, lines.file, config.state)


def table_of(config: Namespace, content: dict[str, Any], path: Path) -> TableFile:
    """What --input is read and --output is written by."""
    corpus = checkpoint.data_of(content, path).corpus
    if isinstance(corpus, Series) and series_table.reads(config.input, config.column or []):
        return series_table.SeriesTable(config.input, config.output, corpus)
    return TableFile(config.input, config.output, config.column or [], usual_source(content, path))


def usual_source(content: dict[str, Any], path: Path) -> Any:
    """The columns that the sources of a checkpoint's training came from."""
    corpus = checkpoint.data_specification(content, path)["init_args"].get("corpus") or {}
    return (corpus.get("init_args") or {}).get("source", "source")


def with_others(task: Task, names: Sequence[str], max_length: int) -> tuple[Task, int]:
    """The task of the first run with those of the others, and the longest source that all of them read."""
    tasks, longest = [task], [max_length]
    for name in names[1:]:
        path = checkpoint.find(name)
        content = checkpoint.read(path)
        tasks.append(checkpoint.restore(content, path))
        longest.append(checkpoint.longest_source(content, path))
    return ensemble.together(tasks, names), min(longest)


def checked(decoding: Decoding, config: Namespace, task: Task) -> Decoding:
    """How to search for so many predictions; InputError for options that contradict each other or the task."""
    check_range("--devices", config.devices, 1)
    decoding = predict_texts.decoding_for(task, decoding, config.n_best, "--n_best", "--decoding.beam_size")
    if config.stream and isinstance(task, Translation):
        translation_stream.check(task, decoding)
        for name in ("state", "scores", "token_scores"):
            if config[name]:
                raise InputError(f"--stream writes nothing but the tokens of a translation; leave out --{name}")
    if config.stream and isinstance(task, Transcription):
        for name in ("scores", "token_scores"):
            if config[name]:
                raise InputError(f"--stream writes the words of sound with their times; leave out --{name}")
    if config.stream and (config.n_best > 1 or decoding.prefix):
        raise InputError("--stream writes each token once, as it is known; leave out --n_best and --decoding.prefix")
    if config.alternatives is not None:
        token_choices.check(task, config.alternatives, "--alternatives")
        for name in ("stream", "scores", "token_scores", "quantiles", "n_best"):
            if config[name] != (1 if name == "n_best" else False):
                raise InputError(f"--alternatives writes all of the best prediction as JSON; leave out --{name}")
    if config.input is not None:
        if config.output is None:
            raise InputError("--input needs --output FILE, a table that ends in .csv, .tsv, .jsonl or .parquet")
        for name in ("stream", "resume", "alternatives"):
            if config[name]:
                raise InputError(f"--{name} is for lines of text; leave it out, or give text with < in.txt")
    elif config.column:
        raise InputError("--column names a column of --input FILE; add it, or leave --column out")
    if config.resume and (config.output is None or config.stream):
        raise InputError("--resume goes on with the lines of --output FILE; a stream goes on with --state FILE instead")
    if config.state is not None and not config.stream:
        raise InputError(f"--state {config.state} is the position of a stream; add --stream, or leave it out")
    return decoding


def answer(
    task: Task,
    processes: Processes,
    predicted: Callable[[Sequence[str], int], list[list[Hypothesis]]],
    config: Namespace,
    decoding: Decoding,
    lines: OutputLines | TableFile,
    readable: Iterator[tuple[list[str], int]],
) -> None:
    """Read, predict and write chunk after chunk; the first process reads and writes."""
    read = ended = broken = guessed = 0
    unknown: set[str] = set()
    carried = bool(task.first_state(1))  # of running text every line is needed for the state after it
    needed = (chunk for chunk in readable if lines.needs(chunk[1], len(chunk[0])) or carried)
    bar = progress(config)
    for texts, number in processes.each(needed):
        shown: list[Any] = []
        read += len(texts)
        values = [task.tokenizers.source.unknown_values(text) for text in texts if not task.is_blank(text)]
        guessed += sum(map(bool, values))
        unknown.update(value for several in values for value in several if len(unknown) < SHOWN)
        shares = processes.gathered(lambda texts=texts, number=number: predicted(texts, number))  # type: ignore[misc]
        for several in zip(*shares, strict=True):
            best: list[Hypothesis] = next(filter(None, several), [])[: config.n_best]
            ended += any(one.at_limit for one in best)
            broken += any(words.is_broken(one, decoding) for one in best[:1])
            shown.append((show if config.input is None else added_columns)(task, best, config))
        lines.write(number, shown)
        bar.update(len(texts))
    bar.close()
    lines.end()
    if guessed:
        named = ", ".join(sorted(unknown))
        log.warning(
            "%d of %d lines have a value that training lacks (%s); their predictions are guesses", guessed, read, named
        )
    if broken:
        log.warning("%d of %d lines break decoding.include or avoid at their limit; %s", broken, read, words.REMEDY)
    if ended:
        limit = task.limit_in_words(decoding)
        log.warning("%d of %d lines have a prediction as long as allowed: %s; %s", ended, read, limit, remedy(decoding))


def progress(config: Namespace) -> "tqdm[NoReturn]":
    """A bar that counts lines, where somebody waits for a file to be read and written."""
    watched = sys.stdin.isatty() or (sys.stdout.isatty() and config.output is None)
    off = True if watched else None
    return tqdm(desc="predicting", unit=" lines", unit_scale=True, leave=False, disable=off, delay=1)


def readable_chunks(task: Task, stream: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """The texts of the lines that arrive together, and how many came before; InputError at one that is no text."""
    number = 0
    for lines in chunks(stream):
        texts, problem = readable(task, lines, number)
        yield texts, number
        number += len(lines)
        if problem is not None:
            raise problem


def readable(task: Task, lines: Sequence[bytes], before: int) -> tuple[list[str], InputError | None]:
    """The texts of lines up to the first that cannot be read, and what is wrong with it; `before` came earlier."""
    texts: list[str] = []
    for number, line in enumerate(lines, before + 1):
        try:
            text = decode_line(line, STANDARD_INPUT, number)
        except InputError as problem:
            return texts, problem
        try:
            refuse_wrong(task, text)
        except InputError as problem:
            return texts, InputError(f"{STANDARD_INPUT}:{number}: {problem}")
        texts.append(text)
    return texts, None


def refuse_wrong(task: Task, text: str) -> None:
    """Refuse a text from which nothing can be predicted; an empty one has no prediction."""
    refuse_long(task, text)
    if text and (task.has_no_source or not task.is_blank(text)):
        task.check(text)


def refuse_long(task: Task, text: str) -> None:
    """Refuse a line that would be read whole, however long it is."""
    vectors = task.tokenizers.source.width is not None
    size, unit = (task.tokenizers.source.length(text), "steps") if vectors else (len(text), "characters")
    if size <= LONGEST_WHOLE or not (task.row_format.aligned or task.has_no_source):
        return
    aligned = " or, where the network reads forwards only, label it with --stream" * task.row_format.aligned
    raise InputError(
        f"{size:,} {unit}, and {type(task).__name__} reads at most {LONGEST_WHOLE:,} at once; break the line "
        f"into shorter ones{aligned}"
    )


def chunks(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The complete lines of a stream as they arrive, split at line feeds only."""
    descriptor, rest, seen = stream.fileno(), b"", 0
    while data := os.read(descriptor, CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        if lines and not seen:
            lines[0] = without_mark(lines[0], STANDARD_INPUT)
        seen += len(lines)
        if len(rest) > LONGEST:
            raise InputError(
                f"{STANDARD_INPUT}:{seen + 1}: a line of more than {LONGEST:,} bytes; is this a text file?"
            )
        if lines:
            yield lines
    if rest:
        yield [rest if seen else without_mark(rest, STANDARD_INPUT)]


def show(task: Task, hypotheses: Sequence[Hypothesis], config: Namespace) -> str:
    """One output line."""
    if config.alternatives is not None:
        return alternatives(task, hypotheses)
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


def added_columns(task: Task, hypotheses: Sequence[Hypothesis], config: Namespace) -> dict[str, Any]:
    """What a row of a table gets: prediction, prediction_2 and so on, and what else is asked for, of each."""
    added: dict[str, Any] = {}
    for rank in range(config.n_best):
        one = hypotheses[rank] if rank < len(hypotheses) else None
        ending = f"_{rank + 1}" if rank else ""
        text = None if one is None else task.text(one)
        if classes_of(task.tokenizers.target):
            name, text = (None, None) if text is None else parted(text)
            added[f"sentence{ending}"] = name
        added[f"prediction{ending}"] = text
        if config.scores:
            added[f"score{ending}"] = None if one is None else one.score
        if config.token_scores:
            probabilities = None if one is None else [round(math.exp(score), 4) for score in one.token_scores]
            added[f"token_probabilities{ending}"] = probabilities
        if config.quantiles and one is not None:
            added |= {f"quantile_{name}{ending}": text for name, text in quantile_texts(task, one).items()}
    return added


def alternatives(task: Task, hypotheses: Sequence[Hypothesis]) -> str:
    """The best prediction with the tokens that might have stood in it, as one line."""
    text, score, choices = "", None, list[TokenChoice]()
    for one in hypotheses[:1]:
        text, score, choices = task.text(one), one.score, one.choices or []
    tokens = [
        choice._asdict() | {"alternatives": [other._asdict() for other in choice.alternatives]} for choice in choices
    ]
    return json.dumps({"text": text, "score": score, "tokens": tokens}, ensure_ascii=False)


def quantiles(task: Task, hypothesis: Hypothesis) -> str:
    """The forecast of each quantile as one line."""
    return json.dumps(quantile_texts(task, hypothesis))


def quantile_texts(task: Task, hypothesis: Hypothesis) -> dict[str, str]:
    """The forecast of each quantile."""
    texts = task.quantile_texts(hypothesis)
    if texts is None:
        raise InputError("--quantiles is for a run of the task Forecasting with model.quantiles; leave it out")
    return texts


if __name__ == "__main__":
    command.run(main)
