"""Tagging as `tagging_ud-english-ewt` ships it, against plain torch with the same layers and inputs."""

import tempfile
from pathlib import Path
from typing import cast

from seq2seq.data.batching.batch import Batch
from seq2seq.speed import made_up
from seq2seq.speed.figures import Figures, Sizes, in_turns
from seq2seq.speed.plain import PlainTagger, PlainTokens
from seq2seq.speed.training import Loop, prepared
from seq2seq.tasks.tagging import Tagging

CONFIGURATION = "tagging_ud-english-ewt"

STEPS = 16
"""Optimiser steps of a window: sentences of all lengths."""


def tagging(sizes: Sizes, found: Figures) -> None:
    """Words a second, and over plain torch."""
    with tempfile.TemporaryDirectory() as name:
        made_up.write_tagged(Path(name), 40 if sizes.small else 15_000, 40 if sizes.small else 6_000)
        more = ["--model.hidden_size", "8"] if sizes.small else []
        made = prepared(["--config", CONFIGURATION, "--data.path", name, "--data.cache", f"{name}/cache", *more])
    task = cast(Tagging, made.task)
    rate, tokens = made.parts.optimizer.learning_rate, cast(dict[int, PlainTokens], {})
    plain = PlainTagger(task)
    loops = {
        "ours": Loop(task, task.loss, rate, mixed=False),
        "plain": Loop(plain, lambda batch: plain.loss(tokens[batch.seed]), rate, mixed=False),
    }
    batches = [made.batch(step) for step in range(1 if sizes.small else STEPS)]
    for batch in batches:
        tokens[batch.seed] = plain.prepared(batch)

    def turn(loop: Loop, batches: list[Batch]) -> None:
        for batch in batches:
            loop.step(batch, batch.step_tokens)

    ways = {name: (lambda loop=loop: turn(loop, batches)) for name, loop in loops.items()}
    taken = in_turns(ways, 2 * sizes.rounds)
    words = sum(batch.step_tokens for batch in batches)
    found.add("words a second", [words / one for one in taken["ours"]], "words/s")
    found.ratio("over plain torch", taken["plain"], taken["ours"])
    total = sum(loops["ours"].phases.values())
    for phase, spent in loops["ours"].phases.items():
        found.add(f"share of {phase}", [spent / total], "")
