"""How long one sentence takes, `seq2seq.load(...).predict([text])`, against the same arithmetic in plain numpy.

    python benchmarks/latency.py [--other CHECKOUT] [--rounds 5] [--sentences 40] [--json FILE]

A translator of the size of Multi30k's (SentencePiece with 8,000 pieces, embeddings of 256, an LSTM of 2 x 256, a
decoder LSTM of 512, dot attention, a tied output) is drawn at random and saved. Processes of one thread each load it
and take turns: a window of sentences one by one, round after round. `--other` adds another checkout of this project.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = 2, 3
UNWRITABLE = [0, 1, 2]
Weights = dict[str, np.ndarray]


def make(folder: Path, pieces: int, hidden: int, tokens: int, sentences: int) -> None:
    """A random translator as a checkpoint, its arrays for numpy, and sentences to translate."""
    import torch

    from seq2seq.data.datamodule import DataModule
    from seq2seq.data.tokenizers.base import Tokenizers
    from seq2seq.data.tokenizers.sentence_piece import SentencePiece
    from seq2seq.models.attention import Dot
    from seq2seq.models.decoder import DecoderOptions
    from seq2seq.runs import checkpoint
    from seq2seq.tasks.decoding_options import Decoding
    from seq2seq.tasks.translation import Translation

    random = np.random.default_rng(1)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words = ["".join(random.choice(syllables, random.integers(1, 5))) for _ in range(2 * pieces)]
    texts = [" ".join(random.choice(words, random.integers(8, 13))) for _ in range(max(200, pieces))]
    tokenizer = SentencePiece(pieces, "bpe")
    tokenizer.train(texts)
    torch.manual_seed(1)
    decoder = DecoderOptions(tied_output=True)
    task = Translation(Tokenizers(tokenizer, tokenizer), embedding_size=hidden // 2, hidden_size=hidden,
                       attention=Dot(), decoder=decoder)  # fmt: skip
    with torch.no_grad():
        task.network.decoder.output.layer.bias[END] = -30  # each sentence is as long as allowed
    task.decoding = Decoding(beam_size=1, max_length=tokens)
    content = {"state_dict": {f"task.{name}": value for name, value in task.state_dict().items()}}
    checkpoint.write(content | {"seq2seq": checkpoint.packed(task, DataModule())}, folder / "random.ckpt")
    arrays = {name: value.numpy() for name, value in task.network.state_dict().items()}
    np.savez(folder / "arrays.npz", **arrays)
    chosen = sorted(texts, key=lambda text: abs(len(tokenizer.encode([text])[0]) - tokens))[:sentences]
    (folder / "texts.json").write_text(json.dumps(chosen))
    (folder / "tokenizer.model").write_bytes(tokenizer.state)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Of each number."""
    return 1 / (1 + np.exp(-values))


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


def numpy_tokens(weights: Weights, ids: Sequence[int], most: int) -> list[int]:
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
    last = BEGIN
    while len(tokens) < most:
        hidden, cell = lstm(table[last], hidden, cell, own)
        scores = memory @ hidden
        shares = np.exp(scores - scores.max())
        read = np.concatenate(((shares / shares.sum()) @ memory, hidden))
        seen = np.tanh(weights["decoder.readout.map.weight"] @ read + weights["decoder.readout.map.bias"])
        logits = weights["decoder.output.layer.weight"] @ seen + weights["decoder.output.layer.bias"]
        logits[UNWRITABLE] = -np.inf
        last = int(logits.argmax())
        if last == END:
            break
        tokens.append(last)
    return tokens


def translator(kind: str, folder: Path, tokens: int) -> Callable[[str], list[int] | str]:
    """What one sentence goes to, loaded and warm."""
    if kind == "numpy":
        from sentencepiece import SentencePieceProcessor

        weights = dict(np.load(folder / "arrays.npz"))
        pieces = SentencePieceProcessor(model_proto=(folder / "tokenizer.model").read_bytes())
        return lambda text: pieces.decode(numpy_tokens(weights, [*pieces.encode(text), END], tokens))
    import torch

    import seq2seq

    torch.set_num_threads(1)
    model: Any = seq2seq.load(folder / "random.ckpt")
    return lambda text: model.predict([text])[0].text


def work(kind: str, folder: Path, tokens: int) -> None:
    """A window of sentences for each line of standard input: the seconds of each, and what came out."""
    translate, texts = translator(kind, folder, tokens), json.loads((folder / "texts.json").read_text())
    for text in texts[:3]:
        translate(text)
    print("ready", flush=True)
    for _ in sys.stdin:
        seconds, computed, written = [], [], []
        for text in texts:
            began, busy = time.perf_counter(), time.process_time()
            written.append(translate(text))
            seconds.append(time.perf_counter() - began)
            computed.append(time.process_time() - busy)
        print(json.dumps([seconds, computed, written]), flush=True)


def start(kind: str, checkout: Path, folder: Path, tokens: int) -> "subprocess.Popen[str]":
    """A process that waits for its turns."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--work", kind, "--folder", str(folder), "--tokens", str(tokens)]
    pipe, surroundings = subprocess.PIPE, os.environ | threads | {"PYTHONPATH": str(checkout)}
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=surroundings)
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise SystemExit(f"the process of {kind} in {checkout} did not start")
    return process


def window(process: "subprocess.Popen[str]") -> tuple[list[float], list[float], list[str]]:
    """One turn: seconds on the clock and on the processor, and the translations."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    seconds, computed, written = json.loads(process.stdout.readline())
    return seconds, computed, written


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of them in turns: the median milliseconds of a sentence, their ratio to numpy, and how many are equal."""
    make(folder, options.pieces, options.hidden, options.tokens, options.sentences)
    kinds = {"numpy": ("numpy", ROOT), "seq2seq": ("load", ROOT)}
    if options.other:
        kinds["other"] = ("load", options.other.resolve())
    processes = {name: start(*kind, folder, options.tokens) for name, kind in kinds.items()}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    busy: dict[str, list[float]] = {name: [] for name in kinds}
    written: dict[str, list[str]] = {}
    try:
        for _ in range(options.rounds):
            for name, process in processes.items():
                taken, computed, written[name] = window(process)
                seconds[name] += taken
                busy[name] += computed
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    p50 = {name: 1000 * statistics.median(taken) for name, taken in seconds.items()}
    equal = {name: sum(map(str.__eq__, texts, written["numpy"])) for name, texts in written.items()}
    cpu = {name: 1000 * statistics.median(taken) for name, taken in busy.items()}
    ratio = {name: taken / p50["numpy"] for name, taken in p50.items()}
    cpu_ratio = {name: taken / cpu["numpy"] for name, taken in cpu.items()}
    return {
        "p50_ms": p50,
        "ratio": ratio,
        "cpu_p50_ms": cpu,
        "cpu_ratio": cpu_ratio,
        "equal": equal,
        "sentences": options.sentences,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("pieces", 8000), ("hidden", 512), ("tokens", 12), ("sentences", 40), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--other", type=Path, help="another checkout of this project, to compare with")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        return work(options.work, options.folder, options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    for name, value in found["p50_ms"].items():
        same = f"{found['equal'][name]} of {found['sentences']} equal to numpy"
        busy = f"processor {found['cpu_p50_ms'][name]:.2f} ms, {found['cpu_ratio'][name]:.2f} x"
        print(f"{name:>8}: p50 {value:.2f} ms a sentence, {found['ratio'][name]:.2f} x numpy; {busy}; {same}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
