"""An exported graph without the file: what a runtime asks is answered by torch, with Python's loop in the graph's place."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seq2seq.exporting import graphs, searching
from seq2seq.exporting.description import KEY, as_metadata, described
from seq2seq.exporting.graphs import Graph, graph_of
from seq2seq.exporting.searching import Tensors
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq_runtime import description
from seq2seq_runtime.model import Model


def python_loop(going: Callable[..., Tensor], body: Callable[..., Tensors], carried: Tensors) -> Tensors:
    while going(*carried):
        carried = body(*carried)
    return carried


def loops_of_python(patch: pytest.MonkeyPatch) -> None:
    """Run graphs step by step."""
    patch.setattr(searching, "loop", python_loop)
    patch.setattr(graphs, "loop", python_loop)


class TorchNetwork:
    """A graph as a runtime's network."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inputs = frozenset(one.name for one in graph.inputs)
        self.shapes: list[tuple[int, ...]] = []
        """Of the sources of each call."""

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.shapes.append(given[min(self.inputs & {"source", "prompt"})].shape)
        with torch.no_grad():
            found = self.graph(*(torch.from_numpy(np.asarray(given[one.name])) for one in self.graph.inputs))
        return dict(zip(self.graph.outputs, (one.numpy() for one in found), strict=True))


def some(names: Iterable[str], *fast: str) -> list[Any]:
    """Names as parameters of a test, those that are not `fast` for the slow set."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def entry_of(task: Task, decoding: Decoding, max_length: int = 512) -> str:
    """What a file of the task says of itself."""
    return as_metadata(described(graph_of(task, decoding), decoding, max_length, None, {}))[KEY]


def model_of(task: Task, decoding: Decoding, max_length: int = 512) -> Model:
    """The runtime's model of a task."""
    of = description.read(entry_of(task, decoding, max_length))
    return Model(of, TorchNetwork(graph_of(task, decoding)))


def changed(entry: str, path: list[str | int], value: object) -> str:
    """The entry with another value at a place; without it for `...`."""
    content = json.loads(entry)
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(content)


def places(value: object, before: tuple[str | int, ...] = ()) -> Iterator[list[str | int]]:
    """Where something stands in the JSON of a file."""
    if before:
        yield list(before)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*before, name))
