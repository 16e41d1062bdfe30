"""What a file holds is looked through before anything runs it; made of bytes here, since a hostile one is."""

import pytest

from seq2seq_runtime.description import KEY
from seq2seq_runtime.onnx_file import DEEPEST, OPSET, entries
from seq2seq_runtime.problems import FileError

EXTERNAL, LOCATION = 13, 14


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def part(number: int, content: bytes | str | int) -> bytes:
    """A field of a message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def model(graph: bytes = b"", opset: int = OPSET, entry: str = KEY, more: bytes = b"") -> bytes:
    opsets, metadata = part(1, "") + part(2, opset), part(1, entry) + part(2, "{}")
    return part(1, 10) + part(7, graph) + part(8, opsets) + part(14, metadata) + more


TENSOR = part(1, 3) + part(8, "weights") + part(9, bytes(300))
OUTSIDE = TENSOR + part(EXTERNAL, part(1, "location") + part(2, "../../etc/passwd"))


def inside(tensor: bytes) -> dict[str, bytes]:
    """A tensor at every place of a graph that may hold one."""
    attribute = part(1, "value") + part(5, tensor)
    node = part(4, "Constant") + part(5, attribute)
    return {
        "initializer": part(5, tensor),
        "sparse values": part(15, part(1, tensor)),
        "sparse indices": part(15, part(2, tensor)),
        "attribute": part(1, node),
        "attributes": part(1, part(5, part(10, tensor))),
        "sparse attribute": part(1, part(5, part(22, part(1, tensor)))),
        "sparse attributes": part(1, part(5, part(23, part(2, tensor)))),
        "loop": part(1, part(5, part(6, part(1, node)))),
        "branches": part(1, part(5, part(11, part(5, tensor)))),
    }


@pytest.mark.parametrize("place", inside(TENSOR))
def test_numbers_in_another_file_are_refused_wherever_they_stand(place: str) -> None:
    assert entries(model(inside(TENSOR)[place]))[KEY] == "{}"
    for tensor in (OUTSIDE, TENSOR + part(LOCATION, 1), TENSOR + part(LOCATION, (1 << 64) - 1)):
        with pytest.raises(FileError, match="external data"):
            entries(model(inside(tensor)[place]))
    assert entries(model(inside(TENSOR + part(LOCATION, 0))[place]))[KEY] == "{}"


def test_a_second_graph_is_looked_at_too() -> None:
    with pytest.raises(FileError, match="external data"):  # the library would join both
        entries(model(more=part(7, part(5, OUTSIDE))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (model(opset=OPSET + 1), rf"{OPSET + 1}\b.*{OPSET}\b"),
        (model(entry="other"), KEY),
        (model(more=part(14, part(1, KEY) + part(2, "{}"))), "twice"),
        (model(more=part(20, b"")), "training"),
        (model(more=part(25, b"")), "functions"),
        (model(more=part(14, b"\x0a\x02\xff\xff")), "UTF-8"),
        (model(more=varint(7 << 3 | 3) + varint(7 << 3 | 4)), "ONNX"),
        (model(more=b"\xba\x80\x80\x80\x80\x80\x80\x80\x80\x00"), "ONNX"),
        (model(more=part(0, 1)), "ONNX"),
        (model(more=varint(7 << 3 | 2) + varint(1 << 31)), "ONNX"),
        (model(more=b"\x08" + b"\xff" * 12), "ONNX"),
    ],
    ids=range(11),
)
def test_a_file_that_is_wrong_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message):
        entries(data)


def test_graphs_are_not_nested_without_end() -> None:
    graph = b""
    for _ in range(DEEPEST + 1):
        graph = part(1, part(5, part(6, graph)))
    with pytest.raises(FileError, match=f"{DEEPEST}"):
        entries(model(graph))


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    whole = model(part(5, TENSOR))
    for size in range(len(whole)):
        with pytest.raises(FileError):
            entries(whole[:size])
