"""python benchmarks/data.py [--multi30k FOLDER]: how fast rows become batches, and how much memory that takes.

Every measurement is a process of its own, so that its peak memory is its own; prepared data goes to a temporary folder.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.data.batching.plan import Plan
from seq2seq.data.checks.checks import thorough
from seq2seq.data.checks.findings import Encoded
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.sentence_piece import SentencePiece

WORDS = 20_000


def megabytes() -> float:
    """Peak memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def data_of(folder: str, cache: str, **more: Any) -> DataModule:
    """Parallel text as the configurations read it."""
    files: dict[str, str | list[str]] = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
    corpus = Parallel("en", "de", files=files if (Path(folder) / "val.en").exists() else None)
    return DataModule(corpus, folder, tokenizer=SentencePiece(8000), cache=cache, **more)


def prepare(folder: str, cache: str) -> dict[str, Any]:
    """From files to the first batch; cold or warm as the cache is."""
    data, started = data_of(folder, cache), time.perf_counter()
    texts = data.texts("train")
    read = time.perf_counter()
    tokenizers = data.train_tokenizers(texts)
    learnt = time.perf_counter()
    split = data.encode(texts, tokenizers, "train")
    encoded = time.perf_counter()
    plan = data.plan(split, 1)
    next(iter(data.training_steps(split, tokenizers, plan, lambda: 0)))
    ended = time.perf_counter()
    return {
        "rows": len(split),
        "read_s": round(read - started, 2),
        "vocabulary_s": round(learnt - read, 2),
        "encode_s": round(encoded - learnt, 2),
        "plan_and_first_batch_s": round(ended - encoded, 2),
        "total_s": round(ended - started, 2),
        "pairs_per_s_read_and_encode": round(len(split) / (read - started + encoded - learnt)),
        "peak_mb": megabytes(),
    }


def loader(folder: str, cache: str) -> dict[str, Any]:
    """An epoch of batches that nobody trains on."""
    data = data_of(folder, cache, batch_tokens=3000)
    texts = data.texts("train")
    tokenizers = data.train_tokenizers(texts)
    split = data.encode(texts, tokenizers, "train")
    steps = data.training_steps(split, tokenizers, data.plan(split, 1), lambda: 0)
    started = time.perf_counter()
    tokens = sum(step.batches[0].step_tokens for step in steps)
    return {"target_tokens_per_s": round(tokens / (time.perf_counter() - started))}


def plan(rows: str, cache: str) -> dict[str, Any]:
    """The plan of very many rows, the order of its first epoch, and a seek into its fourth."""
    random_numbers = np.random.default_rng(0)
    source = np.clip(random_numbers.gamma(4, 6, int(rows)), 2, 510).astype(np.uint16)
    target = np.clip(source * random_numbers.normal(1.1, 0.2, len(source)), 3, 510).astype(np.uint16)
    started = time.perf_counter()
    made = Plan(source, target, 4096, 1)
    planned = time.perf_counter()
    made.rows(0)
    ordered = time.perf_counter()
    made.rows(3 * len(made) + 5)
    return {
        "rows": len(source),
        "plan_s": round(planned - started, 1),
        "first_epoch_s": round(ordered - planned, 1),
        "seek_s": round(time.perf_counter() - ordered, 1),
        "peak_mb": megabytes(),
    }


def stream(folder: str, cache: str) -> dict[str, Any]:
    """One pass over a streamed corpus: peak memory after each tenth of the rows."""
    data = data_of(folder, cache, window=50_000)
    tokenizers = data.train_tokenizers(data.texts("train"))
    seen, tokens, peaks, started = 0, 0, [], time.perf_counter()
    with open(Path(folder) / "train.en", "rb") as file:
        total = sum(1 for _ in file)
    for step in data.streamed_steps(tokenizers, 1, None):
        seen += len(step.batches[0].rows)
        tokens += step.batches[0].step_tokens
        if seen >= total * (len(peaks) + 1) / 10:
            peaks.append(megabytes())
        if seen >= total:
            break
    seconds = time.perf_counter() - started
    return {"rows": seen, "rows_per_s": round(seen / seconds), "peak_mb_after_each_tenth": peaks}


def synthetic(rows: int, folder: Path) -> Path:
    """So many pairs of 4 to 20 made-up words, with frequencies like those of a language."""
    numbers = random.Random(1)
    words = ["".join(numbers.choices("abcdefghijklmnopqrstuvwxyz", k=numbers.randint(2, 10))) for _ in range(WORDS)]
    weights = np.cumsum([1 / (rank + 10) for rank in range(WORDS)]).tolist()

    def lines(count: int) -> Iterator[str]:
        for _ in range(count):
            yield " ".join(numbers.choices(words, cum_weights=weights, k=numbers.randint(4, 20))) + "\n"

    folder.mkdir()
    for split, count in (("train", rows), ("validation", 100), ("test", 100)):
        for ending in ("en", "de"):
            with open(folder / f"{split}.{ending}", "w", encoding="utf-8") as file:
                file.writelines(lines(count))
    return folder


def lint(folder: str, cache: str) -> dict[str, Any]:
    """All checks of the data, after reading and encoding."""
    data = data_of(folder, cache)
    texts = {split: data.texts(split) for split in SPLITS}
    tokenizers = data.train_tokenizers(texts["train"])
    encoded = [Encoded(name, data.encode_unchecked(rows, tokenizers), tokenizers) for name, rows in texts.items()]
    started, worked = time.perf_counter(), time.process_time()
    findings = thorough(encoded)
    return {
        "rows": len(encoded[0].split),
        "findings": len(findings),
        "lint_s": round(time.perf_counter() - started, 1),
        "lint_cpu_s": round(time.process_time() - worked, 1),
        "peak_mb": megabytes(),
    }


MEASURED: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "prepare": prepare,
    "loader": loader,
    "plan": plan,
    "stream": stream,
    "lint": lint,
}


def measured(name: str, subject: Path | int, cache: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, str(subject), str(cache)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure all, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--multi30k", type=Path, help="folder with train.en.gz, train.de.gz, val.en, ...")
    parser.add_argument("--rows", type=int, default=1_000_000, help="synthetic pairs; twice as many are streamed")
    parser.add_argument("--planned", type=int, default=50_000_000, help="rows of the plan")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, subject, cache = given.measure
        print(json.dumps(MEASURED[name](subject, cache)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if given.multi30k:
            for way in ("cold", "warm", "warm again"):
                print(f"multi30k {way}:", json.dumps(measured("prepare", given.multi30k, root / "cache")), flush=True)
            print("multi30k loader:", json.dumps(measured("loader", given.multi30k, root / "cache")), flush=True)
        folder = synthetic(given.rows, root / "pairs")
        for way in ("cold", "warm"):
            print(f"synthetic {way}:", json.dumps(measured("prepare", folder, root / "cache")), flush=True)
        print("lint:", json.dumps(measured("lint", folder, root / "cache")), flush=True)
        print("plan:", json.dumps(measured("plan", given.planned, root)), flush=True)
        folder = synthetic(2 * given.rows, root / "stream")
        print("stream:", json.dumps(measured("stream", folder, root / "cache")), flush=True)


if __name__ == "__main__":
    main()
