"""Greedy and beam search of a network of Multi30k's size, against plain torch and the floor, by precision."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import EOS
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.inference.precision import lower, lowered
from seq2seq.inference.predict_texts import batches
from seq2seq.models.attention import General
from seq2seq.speed import floor, made_up
from seq2seq.speed.figures import Figures, MatrixRate, Sizes, in_turns
from seq2seq.speed.plain import PlainTranslator
from seq2seq.tasks.translation import Translation

STEPS = 12
"""Tokens of every output, the end not counted: what a network without training writes has no end of its own."""

BEAM = 5


class Search(NamedTuple):
    """One way to decode all rows."""

    task: Translation
    precision: str
    batches: list[Batch]
    beam: int

    def decode(self) -> list[list[Hypothesis]]:
        """Hypotheses of each row."""
        decoding = replace(self.task.decoding, beam_size=self.beam, min_length=STEPS, max_length=STEPS)
        with lowered(self.task, self.precision):
            return [best for batch in self.batches for best in self.task.predict(batch, decoding)]


def decoding(sizes: Sizes, found: Figures) -> None:
    """Both searches."""
    split, tokenizers = made_up.split_of(sizes.words, sizes.sentences)
    torch.manual_seed(1)
    task = Translation(tokenizers, embedding_size=sizes.embedding, hidden_size=sizes.hidden, attention=General()).eval()
    with torch.no_grad():
        task.network.decoder.output.layer.bias[EOS] = -30
    plain = PlainTranslator(tokenizers.target.sizes[0], sizes.embedding, sizes.hidden, True, 0.0).eval()
    tasks = {"fp32": task}
    for precision in ("bf16", "int8"):
        other = copy.deepcopy(task)
        try:
            lower(other, precision)
        except InputError as problem:
            found.say(str(problem))
        else:
            tasks[precision] = other
    for beam in (1, BEAM):
        decode_rows = replace(task.decoding, beam_size=beam)
        rows = [*batches(split, decode_rows, torch.device("cpu"))]
        ways: dict[str, Callable[[], object]] = {}
        for precision, each in tasks.items():
            ways[precision] = Search(each, precision, rows, beam).decode
        ways["plain"] = lambda rows=rows, beam=beam: [  # type: ignore[misc]
            plain.greedy(batch, STEPS) if beam == 1 else plain.beam(batch, STEPS, beam) for batch in rows
        ]
        rates: list[float] = []
        measure = MatrixRate()
        ways["rate"] = lambda rates=rates, measure=measure: rates.append(measure())  # type: ignore[misc]
        taken = in_turns(ways, sizes.rounds)
        name, count = "greedy" if beam == 1 else f"beam {beam}", len(split.source)
        work = sum(floor.decoding(task, batch, STEPS, beam) for batch in rows)
        found.add(f"{name}, fp32, sentences a second", [count / one for one in taken["fp32"]], "1/s")
        found.ratio(f"{name}, fp32, over the floor", [work / rate for rate in rates[1:]], taken["fp32"])
        found.ratio(f"{name}, fp32, over plain torch", taken["plain"], taken["fp32"])
        for precision in [*tasks][1:]:
            found.ratio(f"{name}, {precision} over fp32", taken["fp32"], taken[precision])
