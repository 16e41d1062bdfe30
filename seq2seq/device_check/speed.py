"""Tokens and sentences a second of a network like that of Multi30k, waits of the host, memory promised and used."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.units import Words
from seq2seq.device_check.findings import DeviceCheck, unchecked
from seq2seq.device_check.networks import PRECISIONS, arithmetic
from seq2seq.device_check.trainings import halved
from seq2seq.models.attention import Dot
from seq2seq.models.cells import LSTM
from seq2seq.tasks.translation import Translation
from seq2seq.training.device_budget import SHARE, Trial, device_tokens

LENGTH = 15
"""Tokens of a sentence."""

SECONDS = 2.0
"""For how long steps are timed."""

WAITS = 1
"""How often the host may wait for the device in loss, gradients and update."""

EXPECTED = {3_000: "220,000 to 310,000 on an H200", 30_000: "1 to 2 million on an H200"}
"""Target tokens a second by arithmetic (docs/gpu.md), in bf16."""


def sentences(words: int, rows: int) -> Split:
    """Random sentences over a vocabulary of so many words."""
    names = [f"w{number}" for number in range(words)]
    tokenizer = Words()
    tokenizer.train(iter(names))
    drawn = np.random.Generator(np.random.Philox(1)).integers(0, words, (rows, LENGTH))
    texts = [" ".join(names[word] for word in row) for row in drawn]
    ids = Ragged.of(tokenizer.encode(texts))
    split = Split(Texts(texts, texts), ids, ids, 512, Translation.row_format)
    VOCABULARIES[id(split)] = Tokenizers(tokenizer, tokenizer)
    return split


VOCABULARIES: dict[int, Tokenizers] = {}
"""Of each split of random sentences."""


@cache
def multi30k() -> Split:
    """As many words as Multi30k's vocabulary has, and rows for the largest step."""
    return sentences(8000, 1024)


def translator(split: Split, hidden: int, layers: int = 1) -> Translation:
    """An LSTM with attention over the words of a split."""
    torch.manual_seed(1)
    sizes = {"embedding_size": hidden // 2, "hidden_size": hidden, "layers": layers, "dropout": 0.3}
    return Translation(VOCABULARIES[id(split)], cell=LSTM(), attention=Dot(), **sizes)  # type: ignore[arg-type]


def speed(device: torch.device) -> Iterator[DeviceCheck]:
    """Training by tokens of a step and precision, waits, greedy and beam search."""
    gpu = device.type == "cuda"
    for tokens in (3_000, 30_000) if gpu else (3_000,):
        for precision in PRECISIONS if gpu else PRECISIONS[:1]:
            rate = tokens_a_second(device, tokens, precision)
            known = EXPECTED[tokens] if precision == "bf16" else ""
            yield DeviceCheck(f"training, {tokens:,} tokens a step, {precision}", known, f"{rate:,.0f} target tokens/s")
    yield waits(device) if gpu else unchecked("waits of the host", "there is no GPU")
    task, split = translator(multi30k(), 512).to(device).eval(), multi30k()
    for beam, rows in ((1, 256 if gpu else 64), (5, 256 if gpu else 16)):
        decoding = replace(task.decoding, beam_size=beam, min_length=LENGTH, max_length=LENGTH)
        batch = split.batch(np.arange(rows)).to(device)
        task.predict(batch, decoding)
        seconds = timed(lambda batch=batch, decoding=decoding: task.predict(batch, decoding), device)  # type: ignore[misc]
        what = f"{'greedy' if beam == 1 else 'beam 5'}, {rows} rows"
        yield DeviceCheck(what, "", f"{rows / seconds:,.0f} sentences/s")


def training_step(device: torch.device, tokens: int, precision: str) -> Callable[[], None]:
    """An optimiser step of so many tokens, source and target together, as the learner makes it."""
    task = translator(multi30k(), 512).to(device).train()
    batch = multi30k().batch(np.arange(max(1, tokens // (2 * LENGTH))))
    optimizer = torch.optim.AdamW(task.parameters(), 1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = task.loss(batch.to(device)) / batch.step_tokens
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()

    return step


def tokens_a_second(device: torch.device, tokens: int, precision: str) -> float:
    """Target tokens that are trained on in a second."""
    with arithmetic(precision):
        step = training_step(device, tokens, precision)
        for _ in range(3 if device.type == "cuda" else 1):
            step()
        return tokens / 2 / timed(step, device)


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, the mean over SECONDS."""
    finish: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    began, calls = time.monotonic(), 0
    while calls == 0 or time.monotonic() - began < SECONDS:
        step()
        finish()
        calls += 1
    return (time.monotonic() - began) / calls


def waits(device: torch.device) -> DeviceCheck:
    """How often the host waits in a step, by torch's own alarm, and the first place."""
    step = training_step(device, 3_000, "bf16")
    step()
    with warnings.catch_warnings(record=True) as seen, alarm():
        warnings.simplefilter("always")
        step()
    heard = [one for one in seen if "synchron" in str(one.message)]
    places = [f"{one.filename.rpartition('seq2seq/')[2]}:{one.lineno}" for one in heard]
    found = f"{len(places)}{', first at ' + places[0] if places else ''}"
    return DeviceCheck("waits of the host in a step", f"at most {WAITS}", found, len(places) <= WAITS)


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Inside, each wait of the host for the device is a warning."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def memory(device: torch.device) -> Iterator[DeviceCheck]:
    """What data.device_tokens auto promises for a network of 100 million parameters, and what a step of it takes."""
    if device.type != "cuda":
        yield unchecked("data.device_tokens auto, a step out of memory", "there is no GPU")
        return
    split = sentences(24_000, 4_000)
    task = translator(split, 1536, 2).to(device).train()
    size = sum(one.numel() for one in task.parameters()) / 1e6
    promised = device_tokens(task, split, np.arange(4_000), 200_000, 3, torch.bfloat16)
    state = [torch.zeros_like(one) for one in task.parameters() for _ in range(3)]
    torch.cuda.reset_peak_memory_stats(device)
    free, _ = torch.cuda.mem_get_info(device)
    room = free + torch.cuda.memory_reserved(device)
    Trial(task, split, [0], torch.bfloat16).run(promised)
    share = torch.cuda.max_memory_allocated(device) / room
    found = f"{promised:,} tokens for {size:.0f} million parameters take {share:.0%}"
    most = SHARE + 0.05
    yield DeviceCheck("data.device_tokens auto", f"at most {most:.0%} of the free memory", found, share <= most)
    del task, state
    torch.cuda.empty_cache()
    yield halved(device)
