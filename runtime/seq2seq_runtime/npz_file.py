"""A file of numpy arrays: read without trust, and the reference network in it run as a file of onnxruntime is."""

import io
import json
import math
import re
import zipfile
from collections.abc import Mapping

import numpy as np

from seq2seq_runtime import reference_tasks
from seq2seq_runtime.description import END, KEY
from seq2seq_runtime.problems import FileError
from seq2seq_runtime.reference import NEVER, Array, Reference
from seq2seq_runtime.reference_tasks import Found, Rules

METADATA = "metadata"
"""The array that holds the metadata, a string."""

HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|<i8|<U\d{1,9})', "
    rb"'fortran_order': False, 'shape': \(([\d, ]{0,99})\), \} *\n",
    re.DOTALL,
)
"""What stands before the numbers of an array; numpy's own reader evaluates it."""


def arrays(data: bytes) -> dict[str, Array]:
    """The arrays of a file; FileError for one that is packed, of objects, or larger than its bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = {}
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size > len(data):
                    raise FileError(f"its entry {entry.filename!r:.40} is packed, as none of seq2seq is")
                found[entry.filename.removesuffix(".npy")] = array(archive.read(entry))
            return found
    except FileError:
        raise
    except Exception as problem:  # zipfile has several kinds, depending on the version
        raise FileError(f"it is no file of arrays, or it is damaged ({type(problem).__name__})") from problem


def array(data: bytes) -> Array:
    """One array in the form of numpy; as large as its bytes."""
    header = HEADER.match(data)
    if header is None:
        raise FileError("it holds an array that is not of 32-bit numbers, 64-bit ids or letters")
    shape, kind = [int(size) for size in header[2].split(b",") if size.strip()], np.dtype(header[1].decode())
    rest = len(data) - header.end()
    if math.prod(shape) * kind.itemsize != rest:
        raise FileError(f"an array of {shape} has {rest} bytes")
    return np.frombuffer(data, kind, offset=header.end()).reshape(shape)


def metadata(of: Mapping[str, Array]) -> str:
    """What the file says of itself."""
    stored = of.get(METADATA)
    if stored is None or stored.shape != () or stored.dtype.kind != "U":
        raise FileError(
            f"it has no array {METADATA!r} with a string; write it with python -m seq2seq.export --to numpy"
        )
    entries = json.loads(str(stored))
    if not isinstance(entries, dict) or not isinstance(entries.get(KEY), str):
        raise FileError(f"its metadata has no entry {KEY!r}; write it with python -m seq2seq.export --to numpy")
    return str(entries[KEY])


class NumpyNetwork:
    """The reference, row by row."""

    def __init__(self, of: Mapping[str, Array], entry: str) -> None:
        """of: the arrays; entry: what the file says of itself, `network` among it."""
        said = json.loads(entry)
        settings = said.get("network") if isinstance(said, dict) else None
        if not isinstance(settings, dict) or not isinstance(settings.get("inputs"), list):
            raise FileError("its metadata has no 'network' with 'inputs'")
        self.inputs = frozenset(map(str, settings["inputs"]))
        self.task, self.reference = said.get("task"), Reference(of, settings)

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by their names, as docs/export.md of seq2seq has them."""
        try:
            with np.errstate(all="ignore"):
                return self.outputs(given)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MemoryError) as problem:
            raise FileError(
                f"its arrays and settings do not fit ({type(problem).__name__}: {problem!s:.80})"
            ) from problem

    def outputs(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for what fits."""
        if "prompt" in given:
            return self.hypotheses(given, [np.zeros(0, np.int64)] * len(given["prompt"]))
        lengths = given["lengths"].tolist()
        rows = [row[:length] for row, length in zip(given["source"], lengths, strict=True)]
        if self.task == "Classification":
            return {"logits": np.stack([reference_tasks.logits(self.reference, row) for row in rows])}
        if self.task == "Forecasting":
            return {"forecasts": np.stack([reference_tasks.forecasts(self.reference, row) for row in rows])}
        if self.task == "Tagging":
            return self.tagged(rows)
        return self.hypotheses(given, rows)

    def hypotheses(self, given: Mapping[str, np.ndarray], rows: list[Array]) -> dict[str, np.ndarray]:
        """What the search finds for each source or prompt."""
        size, offset = len(given["room"]), float(self.reference.of["length_offset"])
        each: list[list[Found]] = []
        for place, row in enumerate(rows):
            rules = Rules(
                size, int(given["limits"][place]), int(given["min_length"]), float(given["length_penalty"]), offset
            )
            prompt = given["prompt"][place] if "prompt" in given else np.array([self.reference.of["begin"]])
            source, state = reference_tasks.encoded(self.reference, row)
            each.append(reference_tasks.search(self.reference, source, state, prompt, rules))
        return padded(each, size, given["room"].shape[1])

    def tagged(self, rows: list[Array]) -> dict[str, np.ndarray]:
        """The labels of each row."""
        each, of = [], self.reference.of
        for row in rows:
            path, total, scores = reference_tasks.labels(self.reference, row)
            rules = Rules(1, 0, 0, float(of["length_penalty"]), float(of["length_offset"]))
            tokens = [label + int(of["first_label"]) for label in path]
            each.append([Found(total / rules.divisor(len(path)), tokens, scores.tolist())])
        return padded(each, 1, max(map(len, rows)))


def padded(rows: list[list[Found]], size: int, longest: int) -> dict[str, np.ndarray]:
    """Hypotheses as arrays; those that are missing have a score of minus infinity."""
    shape = (len(rows), size)
    tokens, each = np.full((*shape, longest), END), np.zeros((*shape, longest), np.float32)
    counts, scores = np.zeros(shape, np.int64), np.full(shape, NEVER, np.float32)
    for place, row in enumerate(rows):
        for which, one in enumerate(row):
            tokens[place, which, : len(one.tokens)], counts[place, which] = one.tokens, len(one.tokens)
            each[place, which, : len(one.token_scores)], scores[place, which] = one.token_scores, one.score
    return {"tokens": tokens, "counts": counts, "scores": scores, "token_scores": each}


def opened(data: bytes) -> tuple[str, NumpyNetwork]:
    """What a file says of itself, and its network."""
    found = arrays(data)
    try:
        entry = metadata(found)
        return entry, NumpyNetwork(found, entry)
    except (ValueError, RecursionError) as problem:
        if isinstance(problem, FileError):
            raise
        raise FileError(f"its metadata is no JSON: {problem!s:.80}") from problem
