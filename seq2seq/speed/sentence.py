"""One sentence from Python, `seq2seq.load(...).predict([text])`, against the same arithmetic in numpy."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seq2seq.api.model import load
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import BOS, EOS, Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.models.attention import Dot
from seq2seq.models.decoder import DecoderOptions
from seq2seq.runs import checkpoint
from seq2seq.speed import made_up
from seq2seq.speed.figures import Figures, Sizes, seconds
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.translation import Translation

STEPS = 12
"""Tokens of an output."""

Weights = dict[str, np.ndarray]


def sentence(sizes: Sizes, found: Figures) -> None:
    """A translator of Multi30k's size, drawn at random: greedy, sentence by sentence, in turns."""
    pieces, count = (60, 3) if sizes.small else (sizes.words, 40)
    texts = made_up.drawn(made_up.names(2 * pieces), [8] * max(200, pieces), 7)
    tokenizer = SentencePiece(pieces, "bpe")
    tokenizer.train(texts)
    torch.manual_seed(1)
    task = Translation(
        Tokenizers(tokenizer, tokenizer), embedding_size=sizes.hidden // 2, hidden_size=sizes.hidden, attention=Dot(),
        decoder=DecoderOptions(tied_output=True),
    )  # fmt: skip
    with torch.no_grad():
        task.network.decoder.output.layer.bias[EOS] = -30  # each sentence is as long as allowed
    task.decoding = Decoding(beam_size=1, max_length=STEPS)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "random.ckpt"
        content: dict[str, Any] = {"state_dict": {f"task.{key}": value for key, value in task.state_dict().items()}}
        checkpoint.write(content | {"seq2seq": checkpoint.packed(task, DataModule())}, path)
        model = load(path)
    weights = {name: value.numpy() for name, value in task.network.state_dict().items()}
    chosen = sorted(texts, key=lambda text: abs(len(tokenizer.encode([text])[0]) - STEPS))[:count]

    def by_numpy(text: str) -> str:
        return tokenizer.decode(greedy(weights, [*tokenizer.encode([text])[0], EOS], tokenizer.unwritable))

    ways: dict[str, Callable[[str], str]] = {"seq2seq": lambda text: model.predict([text])[0].text, "numpy": by_numpy}
    equal = sum(ways["seq2seq"](text) == ways["numpy"](text) for text in chosen)
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(sizes.rounds):
        for way, translate in ways.items():
            times = [seconds(lambda text=text, translate=translate: translate(text)) for text in chosen]  # type: ignore[misc]
            taken[way].append(statistics.median(times))
    found.add("milliseconds of a sentence", [1000 * one for one in taken["seq2seq"]], "ms")
    found.ratio("time over numpy", taken["seq2seq"], taken["numpy"])
    found.add("share of sentences that are equal", [equal / len(chosen)], "")


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Of each number."""
    found: np.ndarray = 1 / (1 + np.exp(-values))
    return found


def lstm(inputs: np.ndarray, hidden: np.ndarray, cell: np.ndarray, weights: Sequence[np.ndarray]) -> Any:
    """One step of one row; weights: W_ih, W_hh, b_ih, b_hh."""
    sums = weights[0] @ inputs + weights[2] + (weights[1] @ hidden + weights[3])
    into, forget, new, out = np.split(sums, 4)
    cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
    return sigmoid(out) * np.tanh(cell), cell


def layer(weights: Weights, name: str, ending: str = "") -> list[np.ndarray]:
    """The weights of one direction of a layer."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [weights[f"{name}.recurrent.stack.0.torch.{part}_l0{ending}"] for part in names]


def greedy(weights: Weights, ids: Sequence[int], unwritable: np.ndarray) -> list[int]:
    """Greedy translation by numpy alone."""
    directions = []
    for ending, step in (("", 1), ("_reverse", -1)):
        one = layer(weights, "encoder", ending)
        hidden = cell = np.zeros(one[1].shape[1], np.float32)
        states = []
        for vector in weights["encoder.embedding.weight"][list(ids)[::step]]:
            hidden, cell = lstm(vector, hidden, cell, one)
            states.append(hidden)
        directions.append((np.stack(states[::step]), hidden, cell))
    memory, hidden, cell = (np.concatenate(parts, -1) for parts in zip(*directions, strict=True))
    table, own = weights["decoder.embedding.weight"], layer(weights, "decoder")
    tokens: list[int] = []
    while len(tokens) < STEPS:
        hidden, cell = lstm(table[tokens[-1] if tokens else BOS], hidden, cell, own)
        scores = memory @ hidden
        shares = np.exp(scores - scores.max())
        read = np.concatenate(((shares / shares.sum()) @ memory, hidden))
        seen = np.tanh(weights["decoder.readout.map.weight"] @ read + weights["decoder.readout.map.bias"])
        logits = weights["decoder.output.layer.weight"] @ seen + weights["decoder.output.layer.bias"]
        logits[unwritable] = -np.inf
        tokens.append(int(logits.argmax()))
    return tokens
