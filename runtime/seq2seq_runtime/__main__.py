"""python -m seq2seq_runtime FILE < in.txt > out.txt: one line out for each line in, always, in order."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from seq2seq_runtime.answers import Answer
from seq2seq_runtime.model import Model, load
from seq2seq_runtime.problems import FileError, RequestError

CHUNK = 1 << 17
"""Bytes read at once."""

LONGEST = 1 << 24
"""Bytes of the longest line that is read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict as the arguments say; the exit code."""
    parser = argparse.ArgumentParser("python -m seq2seq_runtime", description=__doc__)
    parser.add_argument("file", help="what python -m seq2seq.export has written")
    parser.add_argument("--beam_size", type=int, help="hypotheses that a search keeps (default: as the file says)")
    parser.add_argument("--n_best", type=int, default=1, help="predictions for each line, separated by tabs")
    parser.add_argument("--seed", type=int, help="of what is drawn at random (default: as the file says)")
    parser.add_argument("--stream", action="store_true", help="write the words of a sound as it arrives, WAV or PCM")
    parser.add_argument("--threads", type=int, default=1, help="on which the network is computed")
    given = parser.parse_args(arguments)
    out = sys.stdout.buffer
    try:
        model = load(given.file, given.threads)
        if given.stream:
            follow(model, sys.stdin.buffer, out)
            return 0
        settings = model.settings(given.n_best, given.beam_size, given.seed)
        for answer in model.answers(chunks(sys.stdin.buffer), settings, lambda place: f"standard input:{place + 1}"):
            out.write(f"{shown(answer)}\n".encode())
            out.flush()
    except (FileError, RequestError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


def follow(model: Model, source: BinaryIO, sink: BinaryIO) -> None:
    """Write a line for each word of a sound: begin and end in seconds, and the word."""
    listening, data = model.listen(), b" "
    while data:
        data = os.read(source.fileno(), CHUNK)
        for word in listening.push(data) if data else listening.end():
            sink.write(f"{word.begin:.2f}\t{word.end:.2f}\t{word.text}\n".encode())
        sink.flush()


def chunks(stream: BinaryIO) -> Iterator[list[str]]:
    """The complete lines of a stream as they arrive, split at line feeds only."""
    rest, seen = b"", 0
    while data := os.read(stream.fileno(), CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        yield from texts(lines, seen)
        seen += len(lines)
        if len(rest) > LONGEST:
            raise RequestError(f"standard input:{seen + 1}: a line of more than {LONGEST:,} bytes; is it text?")
    if rest:
        yield from texts([rest], seen)


def texts(lines: Sequence[bytes], before: int) -> Iterator[list[str]]:
    """Lines as texts; those before one that is no text come first."""
    result: list[str] = []
    for number, line in enumerate(lines, before + 1):
        try:
            result.append(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError as problem:
            yield result
            wrong = f"byte {problem.object[problem.start]:#04x} at position {problem.start + 1}"
            raise RequestError(f"standard input:{number}: invalid UTF-8 ({wrong}); convert it with iconv") from None
    yield result


def shown(answer: Answer) -> str:
    """One line."""
    texts = [one.text for one in answer.n_best]
    return "\t".join(text.replace("\t", " ") for text in texts) if len(texts) > 1 else "".join(texts)


if __name__ == "__main__":
    sys.exit(main())
