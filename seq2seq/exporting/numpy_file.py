"""A task as a file of numpy arrays, which `seq2seq_runtime/reference.py` computes with."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.exporting.graphs import Graph
from seq2seq.models import attention as attentions
from seq2seq.models import cells, fixed_vector
from seq2seq.models.decoder import Decoder
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.encoder import Encoder
from seq2seq.models.recurrent import Recurrent
from seq2seq.models.tagger import ColumnTagger
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation

METADATA = "metadata"
NEVER = 1 << 30
"""More layers than there are."""

KNOWN: dict[str, tuple[type, ...]] = {
    "cell": (cells.RNN, cells.GRU, cells.LSTM, cells.LayerNormLSTM, cells.MinGRU, cells.MinLSTM),
    "attention": (
        attentions.Dot,
        attentions.ScaledDot,
        attentions.General,
        attentions.Additive,
        attentions.MultiHeadAdditive,
    ),
    "bridge": (fixed_vector.Copy, fixed_vector.Linear, fixed_vector.Zeros, fixed_vector.Learned),
    "pooling": (fixed_vector.Last, fixed_vector.Mean, fixed_vector.Max, fixed_vector.Attentive),
    "tagger": (ColumnTagger,),
    "data.tokenizer": (Embedding, Projection),
}
"""The parts that the reference has."""

ORDER = [1, 0, 3, 2]
"""Of the gates i, f, g, o among the f, i, o, g of LayerNormLSTM."""

Arrays = dict[str, np.ndarray]


def known(name: str, part: Any) -> None:
    """Refuse a part that the reference has not."""
    if part is None or type(part) in KNOWN[name] or (name == "tagger" and isinstance(part, ColumnTagger)):
        return
    names = ", ".join(kind.__name__ for kind in KNOWN[name])
    if name == "data.tokenizer":
        raise InputError("--to numpy does not know the spelling of words (data.tokenizer Spelled); export --to onnx")
    raise InputError(f"--to numpy does not know {name} {type(part).__name__} (known: {names}); export --to onnx")


class Written:
    """The arrays and settings of a task; InputError for what the reference has not."""

    def __init__(self, graph: Graph, decoding: Decoding) -> None:
        self.arrays: Arrays = {}
        self.settings: dict[str, Any] = {
            "inputs": [one.name for one in graph.inputs],
            "length_penalty": decoding.length_penalty,
            "length_offset": decoding.length_offset,
        }
        for name in ("temperature", "no_repeat_ngram"):
            if getattr(decoding, name):
                raise InputError(
                    f"--to numpy does not know decoding.{name} {getattr(decoding, name)}; export --to onnx"
                )
        task: Any = graph.task
        known("cell", cast(Any, task).cell)
        self.cell(task)
        if isinstance(task, Translation):
            self.translation(task)
        elif isinstance(task, Generation):
            self.generation(task)
        elif isinstance(task, Tagging):
            self.tagging(task)
        elif isinstance(task, Classification):
            self.classification(task)
        elif isinstance(task, Forecasting):
            self.forecasting(task)

    def put(self, name: str, tensor: Tensor) -> None:
        """Keep an array."""
        kind = torch.float32 if tensor.is_floating_point() else torch.int64
        self.arrays[name] = np.ascontiguousarray(tensor.detach().to(kind).numpy())

    def linear(self, name: str, layer: Any) -> None:
        """Keep a matrix, and its bias if there is one."""
        self.put(f"{name}.weight", layer.weight)
        if layer.bias is not None:
            self.put(f"{name}.bias", layer.bias)

    def norm(self, name: str, layer: Any) -> None:
        """Keep gain and shift of a normalisation."""
        self.put(f"{name}.gain", layer.weight)
        if layer.bias is not None:
            self.put(f"{name}.shift", layer.bias)

    def cell(self, task: Any) -> None:
        """Which recurrence all layers have."""
        residual = task.residual_from or NEVER
        relu = getattr(task.cell, "nonlinearity", "tanh") == "relu"
        self.settings |= {"cell": type(task.cell).__name__, "relu": relu, "states": task.cell.states,
                          "residual_from": residual}  # fmt: skip

    def layer(self, name: str, layer: Any, way: int) -> None:
        """One direction of a recurrent layer."""
        if isinstance(layer, cells.Fused):
            names = ("input.weight", "state.weight", "input.bias", "state.bias")
            for end, tensor in zip(names, layer.weights(way), strict=True):
                self.put(f"{name}.{end}", tensor)
        elif isinstance(layer, cells.LayerNormLSTM):
            for side, product in (("input", layer.of_input[way]), ("state", layer.of_hidden[way])):
                linear, norm = cast(nn.Sequential, product)
                for end, values in (("weight", linear.weight), ("gain", norm.weight), ("shift", norm.bias)):
                    if isinstance(values, Tensor):
                        self.put(f"{name}.{side}.{end}", torch.cat([values.chunk(4)[gate] for gate in ORDER]))
            self.norm(f"{name}.cell", layer.of_cell[way])
        else:
            self.linear(f"{name}.input", layer.maps[way])

    def read(self, name: str, reader: nn.Module) -> None:
        """What makes vectors of a source or target."""
        known("data.tokenizer", reader)
        if isinstance(reader, Projection):
            self.linear(name, reader.map)
        elif isinstance(reader, Embedding):
            self.settings[name] = list(reader.sizes)
            for number, table in enumerate((reader, *reader.tables)):
                self.put(f"{name}.{number}", cast(Tensor, table.weight))

    def encoder(self, encoder: Encoder) -> None:
        """Embedding, layers and pooling."""
        self.read("source", encoder.embedding)
        known("pooling", encoder.pool)
        recurrent = encoder.recurrent
        self.settings |= {
            "reverse": encoder.reverse,
            "lookahead": encoder.lookahead,
            "directions": recurrent.directions,
            "encoder_layers": recurrent.layers,
            "pooling": type(encoder.pool).__name__,
        }
        for index, layer in enumerate(recurrent.stack):
            for way in range(recurrent.directions):
                self.layer(f"encoder.{index}.{way}", layer, way)
                own = index * recurrent.directions + way
                zeros = torch.zeros(self.settings["states"], recurrent.hidden_size)
                first = torch.stack([one[own, 0] for one in recurrent.first]) if len(recurrent.first) else zeros
                self.put(f"encoder.{index}.{way}.first", first)
        if isinstance(encoder.pool, fixed_vector.Attentive):
            self.linear("pool.map", encoder.pool.map)
            self.linear("pool.vector", encoder.pool.vector)

    def bridge(self, bridge: nn.Module, layers: int, size: int) -> None:
        """The decoder's first state, of so many layers and units."""
        known("bridge", bridge)
        self.settings |= {"bridge": type(bridge).__name__, "decoder_layers": layers}
        if isinstance(bridge, fixed_vector.Linear):
            for number, maps in enumerate(bridge.maps):
                for index, linear in enumerate(cast(nn.ModuleList, maps)):
                    self.linear(f"bridge.{number}.{index}", linear)
        elif isinstance(bridge, fixed_vector.Learned):
            self.put("decoder.first", torch.stack([one[:, 0] for one in bridge.first]))
        else:
            self.put("decoder.first", torch.zeros(self.settings["states"], layers, size))

    def layers(self, stacks: Iterator[Recurrent]) -> None:
        """The layers of a decoder, from the bottom."""
        for index, layer in enumerate(layer for stack in stacks for layer in stack.stack):
            self.layer(f"decoder.{index}", layer, 0)

    def attention(self, attention: Any) -> None:
        """What the decoder may look at."""
        known("attention", attention)
        self.settings |= {"heads": getattr(attention, "heads", 1), "scale": 1.0}
        if attention is None:
            return
        if attention.normalizer != "softmax":
            raise InputError(
                f"--to numpy does not know the attention's normalizer {attention.normalizer}; export --to onnx"
            )
        if isinstance(attention, attentions.ScaledDot):
            self.settings["scale"] = attention.query_size**0.5
        elif isinstance(attention, attentions.General):
            self.linear("attention.key", attention.map)
        elif isinstance(attention, attentions.Additive):
            self.linear("attention.key", attention.key_map)
            self.linear("attention.query", attention.query_map)
            vector, covered = attention.vector.weight[0], attention.coverage_map
            self.put("attention.vector", vector)
            self.put("attention.coverage", torch.zeros_like(vector) if covered is None else covered.weight[:, 0])
        if isinstance(attention, attentions.MultiHeadAdditive):
            self.linear("attention.value", attention.value_map)

    def decoder(self, decoder: Decoder, task: Any) -> None:
        """Embedding, layers, attention and output."""
        options, before = decoder.options, decoder.options.attend_from == "before"
        if decoder.output.normalizer != "softmax":
            raise InputError(f"--to numpy does not know model.output {decoder.output.normalizer}; export --to onnx")
        known("attention", decoder.attention)
        if options.latent_alignments:
            raise InputError("--to numpy does not know model.decoder.latent_alignments; export --to onnx")
        self.read("target", decoder.embedding)
        self.layers(stack for stack in (decoder.recurrent, decoder.above) if stack is not None)
        self.attention(decoder.attention)
        shown = options.context_every_step or options.readout == "maxout"
        feeds = "readout" if options.input_feeding else "context" if options.attend_from == "bottom" else "nothing"
        self.settings |= {
            "attend_from": "none" if decoder.attention is None else options.attend_from,
            "every_step": options.context_every_step,
            "features": options.features,
            "readout": decoder.readout.kind,
            "token_shown": decoder.embedding.size if shown else 0,
            "copy": options.copy,
            "feeds": feeds,
            "fed_size": 0 if before else decoder.fed_size,
            "condition": False,
        }
        for name, layer in (
            ("readout", decoder.readout.map),
            ("output", decoder.output.layer),
            ("pointer", decoder.pointer),
        ):
            if layer is not None:
                self.linear(name, layer)
        self.put("unwritable", task.unwritable)

    def translation(self, task: Translation) -> None:
        """An encoder, a bridge and a decoder."""
        network = task.network
        self.encoder(network.encoder)
        self.bridge(network.bridge, task.decoder.layers or task.layers, task.hidden_size)
        self.decoder(network.decoder, task)
        self.settings |= {"begin": 2}

    def generation(self, task: Generation) -> None:
        """A decoder, and what it begins with."""
        network = task.network
        if network.condition is not None:
            self.read("source", network.condition)
        self.bridge(network.bridge, task.layers, task.hidden_size)
        self.decoder(network.decoder, task)
        self.settings |= {
            "condition": True,
            "every_step": network.every_step,
            "reverse": False,
            "begin": 3 if task.running else 2,
        }

    def classification(self, task: Classification) -> None:
        """An encoder and a linear map."""
        self.encoder(task.reader)
        self.linear("classes", task.output)

    def tagging(self, task: Tagging) -> None:
        """An encoder, a linear map and a field."""
        known("tagger", task.labeller)
        tagger = cast(ColumnTagger, task.labeller)
        if len(tagger.columns) > 1:
            raise InputError("--to numpy does not know labels of several columns; export --to onnx")
        self.encoder(task.reader)
        self.linear("labels", tagger.maps[0])
        for name, values in zip(("start", "end", "transitions"), tagger.field(0).scores(-torch.inf), strict=True):
            self.put(f"labels.{name}", values)
        self.settings |= {"field": tagger.learned, "first_label": tagger.columns[0].first}

    def forecasting(self, task: Forecasting) -> None:
        """An encoder, a bridge and a decoder of numbers."""
        forecaster = task.forecaster
        self.encoder(task.reader)
        self.bridge(task.handed, task.layers, task.hidden_size)
        self.layers(iter([forecaster.recurrent]))
        self.attention(forecaster.attention)
        self.linear("forecaster", forecaster.embedding.map)
        self.linear("forecasts", forecaster.output)
        self.put("gain", task.gain)
        self.put("shift", task.shift)
        self.settings |= {
            "attend_from": "none" if forecaster.attention is None else "top",
            "relative": task.relative,
            "rescale": task.rescale,
            "season": task.season,
            "horizon": task.horizon,
            "middle": forecaster.middle,
            "width": forecaster.width,
        }


def write(file: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """The arrays, none of them packed or of objects, and what the file says of itself."""
    stored = dict(arrays) | {METADATA: np.array(json.dumps(metadata))}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, values in stored.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, values, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue())  # a date of its own would differ
