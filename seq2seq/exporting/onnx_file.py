"""A graph as an ONNX file."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from seq2seq.errors import InputError
from seq2seq.exporting.graphs import Graph, example_of

OPSET = 20

LEAST_TORCH = (2, 11)
"""Older ones do not write a loop."""

GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""The order of ONNX, i o f c and z r h, among torch's i f g o and r z n."""

ACTIVATIONS = {"RNN_TANH": "Tanh", "RNN_RELU": "Relu"}


def refuse_lacking() -> None:
    """Raise InputError where torch is too old or a package is missing."""
    version = torch.__version__.partition("+")[0]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < LEAST_TORCH:
        needed = ".".join(map(str, LEAST_TORCH))
        raise InputError(
            f"--to onnx needs torch {needed} or newer, and this is {version}; pip install 'torch>={needed}'"
        )
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ImportError:
            remedy = "pip install 'recurrent-seq2seq[export]'"
            raise InputError(f"--to onnx needs {name}, which is not installed; {remedy}") from None


def recurrence(
    inputs: Any, lengths: Any, by_input: Any, by_hidden: Any, bias: Any, hidden: Any, cell: Any, kind: str
) -> Any:
    """`models.exported.recurrence` in the operators of ONNX, which know the lengths of rows."""
    from onnxscript import opset20

    op: Any = opset20

    directions, size = by_input.shape[0], by_hidden.shape[2]

    def ordered(weight: Any) -> Any:
        order = GATES.get(kind, (0,))
        if len(order) == 1:
            return weight
        parts = op.Split(weight, num_outputs=len(order), axis=1)
        return op.Concat(*[parts[gate] for gate in order], axis=1)

    input_bias, hidden_bias = op.Split(bias, num_outputs=2, axis=1)
    biases = op.Concat(ordered(input_bias), ordered(hidden_bias), axis=1)
    weights = ordered(by_input), ordered(by_hidden), biases
    common = {"hidden_size": size, "direction": "bidirectional" if directions == 2 else "forward"}
    arguments = (op.Transpose(inputs, perm=[1, 0, 2]), *weights, op.Cast(lengths, to=6), hidden)
    if kind == "LSTM":
        outputs, last, last_cell = op.LSTM(*arguments, cell, **common)
    elif kind == "GRU":
        outputs, last = op.GRU(*arguments, linear_before_reset=1, **common)
    else:
        outputs, last = op.RNN(*arguments, activations=[ACTIVATIONS[kind]] * directions, **common)
    if kind != "LSTM":
        last_cell = op.Identity(last)
    joined = op.Reshape(op.Transpose(outputs, perm=[2, 0, 1, 3]), op.Constant(value_ints=[0, 0, -1]))  # (B, T, D H)
    return joined, last, last_cell


def write(graph: Graph, file: Path, metadata: Mapping[str, str]) -> None:
    """Trace a graph and write it with what a reader must know of it."""
    import onnx

    model = traced(graph)
    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=value)
    plain(model.graph)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def traced(graph: Graph) -> Any:
    """The model of a graph; InputError where torch cannot follow what a part of somebody's own computes."""
    example, shapes = example_of(graph)
    translation: dict[Callable[..., Any], Any] = {torch.ops.seq2seq.recurrence.default: recurrence}
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[one.name for one in graph.inputs],
                output_names=list(graph.outputs),
                opset_version=OPSET,
                custom_translation_table=translation,
                external_data=False,
                verbose=False,
            )
    except Exception as problem:  # of a dozen kinds, with pages of advice
        cause: BaseException = problem
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = next(iter(str(cause).strip().splitlines()), "")
        raise InputError(
            f"torch cannot write this network to a file: {type(cause).__name__}: {said[:200]}; a part of your own must "
            "compute with tensors of any size, without item(), len() and if on what they hold (--debug shows where)"
        ) from problem
    if program is None:
        raise TypeError("torch gave no program")
    return program.model_proto


def plain(graph: Any) -> None:
    """Remove what the exporter notes about where each node comes from, most of a small file."""
    del graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                plain(attribute.g)
    for value in graph.value_info:
        del value.metadata_props[:]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter tells about its own work."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def quantized(file: Path, small: Path) -> None:
    """Write a copy whose matrices are of 8 bits, with the same metadata."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(file)
    own_matrices(model.graph, {})
    small.write_bytes(model.SerializeToString())
    with quiet():
        options = {"EnableSubgraph": True, "MatMulConstBOnly": True}
        quantize_dynamic(small, small, weight_type=QuantType.QInt8, extra_options=options)
    model = onnx.load(small)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(file).metadata_props)
    small.write_bytes(model.SerializeToString())


def own_matrices(graph: Any, outer: Mapping[str, Any]) -> None:
    """Give each product with the transpose of a constant a constant of its own, in the order in which it is read.

    A matrix that is an embedding too (Press and Wolf 2017) would be kept as the embedding wants it, and be multiplied
    in 32 bits.
    """
    from onnx import numpy_helper

    known = dict(outer) | {one.name: one for one in graph.initializer}
    multiplied = {name for node in graph.node if node.op_type == "MatMul" for name in node.input}
    for node in list(graph.node):
        for attribute in node.attribute:
            if attribute.HasField("g"):
                own_matrices(attribute.g, known)
        if node.op_type == "Transpose" and node.input[0] in known and node.output[0] in multiplied:
            turned = numpy_helper.to_array(known[node.input[0]]).T.copy()
            graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
            graph.node.remove(node)
