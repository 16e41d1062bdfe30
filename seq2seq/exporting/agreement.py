"""Do a task and its file say the same? What differs, by how much, and which one is faster."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import torch

from seq2seq.data.batching.batch import Batch
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.exporting.running import Exported, in_torch
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding

TOLERANCE = 1e-3
"""How much a log-probability in nats, or a forecast in deviations, may differ."""

TIE = 1e-4
"""Log-probabilities in nats so near each other that rounding chooses between two tokens or hypotheses."""

DRAWN = 0.005
"""Share of rows in which a random number may fall between the roundings of two sums."""


@dataclass
class FileAgreement:
    """What was compared so far."""

    rows: int = 0
    equal: int = 0
    ties: int = 0
    """Rows that differ where both outputs are as good."""
    largest: float = 0.0
    """Difference of a score or a number in equal rows."""
    different: list[int] = field(default_factory=list)
    """The other rows."""
    torch_seconds: float = 0.0
    file_seconds: float = 0.0
    best: list[tuple[int, Hypothesis, Hypothesis]] = field(default_factory=list)
    """Of each row its number, and the best hypothesis in torch and of the file."""

    def add(
        self,
        row: int,
        ours: Hypothesis,
        theirs: Hypothesis,
        drawn: bool,
        by_rounding: Callable[[], bool] = lambda: False,
    ) -> None:
        """Compare the best hypotheses of a row.

        drawn: whether its tokens were; by_rounding: whether hypotheses whose probabilities are not near differ by
        rounding alone.
        """
        self.rows += 1
        self.best.append((row, ours, theirs))
        if ours.tokens == theirs.tokens:
            distance = furthest(ours, theirs)
            self.largest = max(self.largest, distance)
            if distance <= TOLERANCE:
                self.equal += 1
                return
        elif not drawn and (tied(ours, theirs) or by_rounding()):
            self.ties += 1
            return
        self.different.append(row)

    @property
    def same(self) -> int:
        """Rows with the same tokens, whatever their scores."""
        return sum(one.tokens == other.tokens for _, one, other in self.best)

    @property
    def text(self) -> str:
        """One line."""
        ties = f", {self.ties:,} with another one as good" if self.ties else ""
        return f"{self.equal:,} of {self.rows:,} rows equal{ties}, largest difference {self.largest:.1e}"

    def refuse(self, drawn: bool) -> None:
        """Raise InputError where they differ."""
        allowed = int(DRAWN * self.rows) if drawn else 0
        if len(self.different) > allowed or not self.rows:
            shown = ", ".join(map(str, self.different[:5]))
            raise InputError(
                f"nothing was written: the file would predict otherwise than the run ({self.text}; rows {shown} differ)"
            )


def furthest(ours: Hypothesis, theirs: Hypothesis) -> float:
    """The largest difference between the numbers of two hypotheses with the same tokens."""
    pairs = [(ours.score, theirs.score), *zip(ours.token_scores, theirs.token_scores, strict=True)]
    for name, values in (ours.values or {}).items():
        for one, other in zip(values, (theirs.values or {})[name], strict=True):
            pairs += zip(one, other, strict=True)
    distances = [abs(one - other) / max(1.0, abs(one)) for one, other in pairs]
    return max((math.inf if math.isnan(distance) else distance for distance in distances), default=0.0)


def tied(ours: Hypothesis, theirs: Hypothesis) -> bool:
    """Whether rounding alone chose: the first tokens that differ, or the whole hypotheses, are as likely."""
    if abs(ours.score - theirs.score) <= TIE:
        return True
    for one, other in zip(zip(ours.tokens, ours.token_scores), zip(theirs.tokens, theirs.token_scores)):  # noqa: B905
        if one[0] != other[0]:
            return abs(one[1] - other[1]) <= TIE
    at = min(len(ours.tokens), len(theirs.tokens))  # one of them has ended
    each = ours.token_scores[at : at + 1] + theirs.token_scores[at : at + 1]
    return len(each) == 2 and abs(each[0] - each[1]) <= TIE


def compare(task: Task, file: Exported, batches: Iterable[Batch], decoding: Decoding) -> FileAgreement:
    """Decode batches in both worlds, one after the other so that both meet the same machine."""
    result, drawn = FileAgreement(), decoding.temperature is not None
    for batch in batches:
        started = time.perf_counter()
        ours = in_torch(task, batch, decoding)
        between = time.perf_counter()
        theirs = decoded(file, batch)
        result.file_seconds += time.perf_counter() - between
        result.torch_seconds += between - started
        for place, (row, one, other) in enumerate(zip(batch.rows.tolist(), ours, theirs, strict=True)):
            if not one:
                raise InputError(f"row {row} has no prediction: the network's output is non-finite; train it anew")
            best = other[0] if other else one[0]._replace(tokens=[], score=-math.inf)
            result.add(row, one[0], best, drawn, partial(file.by_rounding, batch, place, best.tokens, TIE))
    return result


def decoded(file: Exported, batch: Batch) -> list[list[Hypothesis]]:
    """What a file predicts; InputError where it cannot."""
    try:
        return file.predict(batch)
    except Exception as problem:  # onnxruntime has a class for each of its codes
        said = next(iter(str(problem).strip().splitlines()), "")
        raise InputError(
            f"nothing was written: the file cannot decode row {int(batch.rows[0])} ({said[:200]}); a part of "
            "your own has kept the size of an example, as len() of a tensor does; take shape[0]"
        ) from problem


def speeds(of: FileAgreement, batch: int) -> str:
    """How fast both were."""
    ours, theirs = (of.rows / max(seconds, 1e-9) for seconds in (of.torch_seconds, of.file_seconds))
    threads = torch.get_num_threads()
    where = f"{threads} thread{'s' * (threads != 1)}, batches of up to {batch}"
    return f"rows/s side by side: torch {ours:,.0f}, file {theirs:,.0f}, {theirs / ours:.2f} times as fast ({where})"
