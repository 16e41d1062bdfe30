"""An ONNX file of a stranger: looked through before it is run, so that nothing but its own bytes is ever read."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from seq2seq_runtime.description import KEY
from seq2seq_runtime.problems import FileError

OPSET = 20

LARGEST = (1 << 31) - 1
"""Bytes of a file of this form."""

DEEPEST = 20
"""Graphs within graphs."""

MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "entry"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""The fields of each message of onnx.proto that hold messages which matter here."""

REFUSED = {("model", 20): "training", ("model", 25): "functions of its own"}
EXTERNAL, LOCATION = 13, 14
"""The fields of a tensor whose numbers stand in another file."""


def varint(data: bytes, place: int, most: int) -> tuple[int, int]:
    """A number of at most so many bytes, and where it ends."""
    value = shift = 0
    for at in range(place, min(place + most, len(data))):
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
    raise FileError("it is no ONNX file, or it is damaged")


def fields(data: bytes, place: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Of each field of a message its number, the number that it holds (-1 for bytes), and where its bytes stand."""
    while place < end:
        tag = data[place]
        place += 1
        if tag > 127:
            tag, place = varint(data, place - 1, 5)
        number, kind, value, start = tag >> 3, tag & 7, -1, place
        if kind == 2:
            size, start = (data[place], place + 1) if place < end and data[place] < 128 else varint(data, place, 5)
            place = start + size
        elif kind == 0:
            value, place = varint(data, place, 10)
        else:
            place += {1: 8, 5: 4}.get(kind, end + 1)
        if place > end or not 0 < number < 1 << 29:
            raise FileError("it is no ONNX file, or it is cut off or damaged")
        yield number, value, start, place


def entries(data: bytes) -> dict[str, str]:
    """The metadata of a file all of whose tensors stand in it; FileError for any other."""
    found: dict[str, str] = {}
    opsets: dict[str, int] = {}
    todo = [("model", 0, len(data), 0)]
    while todo:
        message, start, end, depth = todo.pop()
        if message == "tensor":
            refuse_external(data, start, end)
            continue
        if message in ("opset", "entry"):
            first, second = pair(data, start, end)
            if message == "opset":
                opsets[first] = second if isinstance(second, int) else 0
            elif first in found:
                raise FileError(f"its metadata has the entry {first!r:.40} twice")
            else:
                found[first] = str(second)
            continue
        if depth > DEEPEST:
            raise FileError(f"its graphs are nested more than {DEEPEST} times")
        known = MESSAGES[message]
        for number, value, inner, last in fields(data, start, end):
            if (message, number) in REFUSED:
                raise FileError(f"it holds {REFUSED[message, number]}, as no file of seq2seq does")
            if value < 0 and number in known:
                todo.append((known[number], inner, last, depth + (known[number] == "graph")))
    if KEY not in found:
        raise FileError(f"its metadata has no entry {KEY!r}; write it with python -m seq2seq.export")
    if opsets.get("", opsets.get("ai.onnx")) != OPSET:
        raise FileError(f"its operators are of the sets {opsets}, and this runtime knows {OPSET}; install another one")
    return found


def refuse_external(data: bytes, start: int, end: int) -> None:
    """Refuse a tensor whose numbers stand elsewhere."""
    for number, value, *_ in fields(data, start, end):
        if number == EXTERNAL or (number == LOCATION and value):
            raise FileError("it keeps numbers in another file (external data), which is never read")


def pair(data: bytes, start: int, end: int) -> tuple[str, str | int]:
    """A message of two fields: a text, and a text or a number."""
    first = ""
    second: str | int = ""
    for number, value, inner, last in fields(data, start, end):
        try:
            content = data[inner:last].decode() if value < 0 else value
        except UnicodeDecodeError as problem:
            raise FileError(f"its metadata is no UTF-8: {problem}") from problem
        if number == 1 and isinstance(content, str):
            first = content
        elif number == 2:
            second = content
    return first, second


class OnnxNetwork:
    """A network in onnxruntime."""

    def __init__(self, data: bytes, threads: int) -> None:
        """data: a file that `entries` has looked through."""
        try:
            import onnxruntime
        except ImportError:
            raise FileError("onnxruntime is not installed; pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self.session: Any = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # onnxruntime has a class for each of its codes
            raise FileError(f"onnxruntime cannot open it ({first_line(problem)})") from problem
        self.inputs = frozenset(one.name for one in self.session.get_inputs())
        self.outputs = [one.name for one in self.session.get_outputs()]

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by their names."""
        try:
            found = self.session.run(None, dict(given))
        except Exception as problem:
            raise FileError(f"onnxruntime cannot run it ({first_line(problem)})") from problem
        return dict(zip(self.outputs, found, strict=True))


def first_line(problem: Exception) -> str:
    """The beginning of what a library says."""
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)[:200]
