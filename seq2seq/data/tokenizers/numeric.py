"""Vectors: sequences of numbers instead of ids."""

import json
from collections.abc import Iterable, Sequence

import numpy as np

from seq2seq.data.number_text import BAR, DIGITS, SHOWN, STEP, StepParts, parsed, parsed_parts, written
from seq2seq.data.tokenizers.base import Tokenizer, damaged
from seq2seq.errors import InputError


class Vectors(Tokenizer):
    """Texts of numbers to vectors, each of its numbers brought to mean 0 and deviation 1 over the training rows."""

    ends = False

    def __init__(self, normalise: bool = True) -> None:
        """normalise: subtract the mean and divide by the standard deviation of training; they are kept."""
        self.normalise = normalise
        self.mean = self.deviation = np.zeros(0)
        self.steps = (0, 0)
        """Of the shortest and the longest training row."""
        self.parts: StepParts | None = None
        """Of a step with covariates, which number is what."""

    @property
    def width(self) -> int:  # type: ignore[override]
        """The numbers of a vector."""
        return len(self.mean)

    def train(self, texts: Iterable[str]) -> None:
        count = total = squares = first = np.zeros(0)
        lengths: set[int] = set()
        self.parts = None
        for text in texts:
            if not lengths and BAR in text:
                self.parts = parsed_parts(text, None)[1]
            values = self.vectors(text, len(first) or None)
            if not lengths:
                first = values[0]  # sums of what is near zero lose no digits
                # the width of all, should `check` look for another
                self.mean = count = total = squares = np.zeros(len(first))
            count, lengths = count + np.isfinite(values).sum(0), {len(values), *lengths}
            shifted = np.nan_to_num(values - first)
            total, squares = total + shifted.sum(0), squares + np.square(shifted).sum(0)
        if not lengths:
            raise InputError("the training text holds no numbers; check data.corpus and data.path")
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
        self.mean, self.deviation = first + mean, np.where(deviation > 0, deviation, 1.0)  # one value only
        if not self.normalise:
            self.mean, self.deviation = np.zeros_like(mean), np.ones_like(mean)
        self.steps = (min(lengths), max(lengths))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:  # type: ignore[override]
        """Of each text the normalised vectors (steps, width)."""
        return [self.normalised(self.vectors(text, self.width)) for text in texts]

    def vectors(self, text: str, width: int | None) -> np.ndarray:
        """The numbers (steps, width) of a text as they stand there, NaN for those of a step to come that it lacks."""
        if self.parts is not None:
            return parsed_parts(text, self.parts)[0]
        if BAR in text:
            raise InputError(f"a {BAR} stands before covariates, and the first training row has none; give all rows "
                             "the same columns")  # fmt: skip
        return parsed(text, width)

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """Vectors (steps, width) as the network reads them: the mean for a number that a step to come lacks."""
        normalised = (values - self.mean) / self.deviation
        return (normalised if self.parts is None else np.nan_to_num(normalised)).astype(np.float32)

    def check(self, text: str) -> None:
        self.vectors(text, self.width or None)

    def decode(self, ids: Sequence[Sequence[float]]) -> str:  # type: ignore[override]
        """The text of normalised vectors (steps, width), without the digits that 32 bits do not hold."""
        values = np.asarray(ids, dtype=np.float64).reshape(-1, self.width) * self.deviation + self.mean
        units = 10.0 ** np.maximum(DIGITS - np.floor(np.log10(self.deviation)), 0)
        return written(np.round(values * units) / units + 0.0)  # no minus before a zero

    def unknown_among(self, ids: np.ndarray) -> np.ndarray:
        return np.zeros(len(ids), dtype=bool)

    @property
    def unwritable(self) -> np.ndarray:
        return np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.width

    def extent(self) -> str:
        covariates = "" if self.parts is None else f", {self.width - self.parts.series:,} of them of covariates"
        return f"vectors of {self.width:,} number{'s' * (self.width != 1)}{covariates}"

    def length(self, text: str) -> int:
        return text.count(STEP) + 1 - (0 if self.parts is None else self.parts.ahead)

    def shown(self, text: str) -> str:
        words = text.split(maxsplit=SHOWN)
        if len(words) <= SHOWN:
            return text
        steps, count = self.length(text), len(text.split())
        if self.parts is not None:
            ahead = f" and {self.parts.ahead} ahead" * bool(self.parts.ahead)
            return f"{steps} steps of {self.width} numbers{ahead}: {' '.join(words[:SHOWN])} ..."
        what = f"{count} numbers" if count == steps else f"{steps} steps of {count // steps} numbers"
        return f"{what}: {' '.join(words[:SHOWN])} ..."

    @property
    def state(self) -> bytes:
        learnt = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist(), "steps": self.steps}
        learnt |= {} if self.parts is None else {"parts": self.parts}
        return json.dumps(learnt).encode()

    def restore(self, state: bytes) -> None:
        try:
            learnt = json.loads(state)
            mean, deviation = (np.array(learnt[name], dtype=np.float64) for name in ("mean", "deviation"))
            shortest, longest = map(int, learnt["steps"])
            parts = StepParts(*map(int, learnt["parts"])) if "parts" in learnt else None
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise damaged(self, problem) from problem
        if mean.ndim != 1 or mean.shape != deviation.shape or not len(mean) or not (deviation > 0).all():
            raise damaged(self, "it must hold a mean and a deviation above 0 for each number")
        if parts is not None and (min(parts) < 0 or not parts.series or sum(parts[:3]) != len(mean)):
            raise damaged(self, f"{parts} are no parts of {len(mean)} numbers")
        self.parts = parts
        self.mean, self.deviation, self.steps = mean, deviation, (shortest, longest)
