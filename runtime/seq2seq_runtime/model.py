"""Model: an exported file that answers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

import numpy as np

from seq2seq_runtime import description, tokenizers
from seq2seq_runtime.answers import Alternative, Answer
from seq2seq_runtime.description import KEY, SPECIAL, Description
from seq2seq_runtime.npz_file import opened
from seq2seq_runtime.onnx_file import LARGEST, OnnxNetwork, entries
from seq2seq_runtime.problems import FileError, RequestError
from seq2seq_runtime.rows import Arrays, Reader, Row, batches, sources, uniform
from seq2seq_runtime.tokenizers import Labels, Tokenizer, Vectors
from seq2seq_runtime.transcribing import Listening, Transcriber
from seq2seq_runtime.transcribing import made as made_transcriber
from seq2seq_runtime.wav_stream import checked, samples_of

CHUNK = 1024
"""Texts that are read before the first of them is answered; of these those of similar length go together."""

WIDEST = 1024
"""Hypotheses of a text."""

SMALL = 64
"""Tokens of a vocabulary that may have fewer than twice the hypotheses."""


class Network(Protocol):
    """Named arrays to named arrays; docs/export.md of seq2seq says which."""

    inputs: frozenset[str]

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by their names."""
        ...


@dataclass(frozen=True)
class Settings:
    """The settings of one call."""

    n_best: int
    beam_size: int
    seed: int


class Model:
    """An exported file that answers."""

    def __init__(self, of: Description, network: Network) -> None:
        """of: what the file says of itself."""
        self.description, self.network = of, network
        self.target: Tokenizer = tokenizers.made(of.target)
        same = of.shared and of.source is not None
        self.source = self.target if same else tokenizers.made(of.source) if of.source else None
        self.reader = Reader(of, self.source, self.target)
        self.transcriber: Transcriber | None = None
        if of.hearing is not None:
            self.transcriber = made_transcriber(of.hearing, network, self.source, self.target)
        self.draws = "numbers" in network.inputs
        self.searches = "room" in network.inputs or self.transcriber is not None
        needed = {"prompt"} if of.source is None else {"source", "lengths"}
        needed |= set() if self.transcriber is None else self.transcriber.inputs
        known = {"words", "limits", "min_length", "room", "length_penalty", "numbers", "temperature", "top_k", "top_p"}
        if not needed <= network.inputs <= needed | known or (of.limits is None and "limits" in network.inputs):
            raise FileError(f"its inputs {', '.join(sorted(network.inputs))} are not those of a {of.task}")
        if of.outputs == "forecasts" and not isinstance(self.target, Vectors):
            raise FileError(f"a {of.task} writes Vectors, and its target is {of.target.kind}")

    def predict(
        self, texts: Iterable[str], n_best: int = 1, beam_size: int | None = None, seed: int | None = None
    ) -> list[Answer]:
        """The best predictions for each text.

        Args:
            texts: sources, or beginnings where the model reads no source.
            n_best: predictions for each.
            beam_size: hypotheses that a search keeps; None for the file's own setting.
            seed: of what is drawn at random; None for the file's own setting.
        """
        return list(self.stream(texts, n_best, beam_size, seed))

    def stream(
        self, texts: Iterable[str], n_best: int = 1, beam_size: int | None = None, seed: int | None = None
    ) -> Iterator[Answer]:
        """The same one after the other, however many there are: no more than 1,024 texts are held at once."""
        if isinstance(texts, (str, bytes)):
            raise RequestError("predict takes a list of texts; put the text into one")
        chunks = iter(partial(listed, iter(texts)), [])
        return self.answers(chunks, self.settings(n_best, beam_size, seed), "texts[{}]".format)

    def transcribe(
        self, sounds: Iterable["np.ndarray | bytes | str | Path"], n_best: int = 1, beam_size: int | None = None
    ) -> list[Answer]:
        """The best texts of whole sounds, by a file of the task Transcription.

        sounds: files, or their bytes, which must be WAV; or samples (N,) from -1 to 1 at the rate of the model.
        """
        if isinstance(sounds, (str, bytes, Path, np.ndarray)):
            raise RequestError("transcribe takes a list of sounds; put the sound into one")
        settings, rows, names = self.settings(n_best, beam_size, None), list[Row](), list[str]()
        for place, sound in enumerate(sounds):
            try:
                rows.append(Row(place, place, self.frames_of(sound)))
            except (OSError, RequestError) as problem:
                raise RequestError(f"sounds[{place}]: {problem}") from problem
            names.append(str(sound) if isinstance(sound, (str, Path)) else "")
        found = [Answer(name, ()) for name in names]
        for batch in batches(rows, settings.beam_size, False):
            for row, answer in zip(batch, self.answered(batch, names, settings), strict=True):
                found[row.place] = answer
        return found

    def frames_of(self, sound: "np.ndarray | bytes | str | Path") -> np.ndarray:
        """The normalised frames (S, D) of a whole sound."""
        of = self.description.hearing
        if of is None or of.sound is None or not isinstance(self.source, Vectors):
            raise RequestError(f"the frames of this {self.description.task} are not those of sound; give it texts")
        if isinstance(sound, (str, Path)):
            sound = Path(sound).read_bytes()
        samples = samples_of(sound, of.sound.rate) if isinstance(sound, bytes) else checked(np.asarray(sound))
        if not len(samples):
            raise RequestError("it holds no sound")
        frames, most = of.sound.of(samples), self.description.max_length
        if most is not None and len(frames) > most:
            raise RequestError(
                f"it has {len(frames):,} frames, and {most:,} are read at once; cut it, or listen() to it"
            )
        return self.source.normalised(frames)

    def listen(self) -> Listening:
        """What writes the words of a sound while it arrives: `push(...)` the pieces, and at last `end()`."""
        if self.transcriber is None or not isinstance(self.source, Vectors):
            raise RequestError(f"this file is a {self.description.task}, which hears no sound")
        return Listening(self.transcriber, self.source, self.target)

    def settings(self, n_best: int, beam_size: int | None, seed: int | None) -> Settings:
        """The settings of a call; RequestError for what the file cannot do."""
        own = self.description.search
        size = own.beam_size if beam_size is None else whole("beam_size", beam_size, 1, WIDEST)
        n_best = whole("n_best", n_best, 1, WIDEST)
        if self.draws or self.description.outputs == "logits":
            size = n_best
        elif not self.searches:
            size = 1
        if n_best > size or (self.description.multi_label and n_best > 1):
            remedy = "raise beam_size" if self.searches else f"this {self.description.task} predicts once for a text"
            raise RequestError(f"n_best is {n_best}, and beam_size {size}; {remedy}")
        vocabulary = self.target.size
        if "room" in self.network.inputs and SMALL <= vocabulary < 2 * size:
            raise RequestError(f"beam_size is {size}; of {vocabulary} tokens it may be at most {vocabulary // 2}")
        return Settings(n_best, size, own.seed if seed is None else whole("seed", seed, 0, 1 << 64))

    def answers(self, chunks: Iterable[list[str]], settings: Settings, named: Callable[[int], str]) -> Iterator[Answer]:
        """The answers to chunks of texts; named: what the text of a number is called where it is wrong."""
        before = 0
        for texts in chunks:
            rows: list[Row] = []
            problem = None
            for place, text in enumerate(texts):
                try:
                    row = self.reader.row(text, place, before + place)
                except RequestError as wrong:
                    problem = RequestError(f"{named(before + place)}: {wrong}")
                    texts = texts[:place]  # these are answered first
                    break
                rows += [] if row is None else [row]
            found = [Answer(text, ()) for text in texts]
            for batch in batches(rows, settings.beam_size, self.source is None):
                for row, answer in zip(batch, self.answered(batch, texts, settings), strict=True):
                    found[row.place] = answer
            yield from found
            before += len(texts)
            if problem is not None:
                raise problem

    def answered(self, batch: list[Row], texts: list[str], settings: Settings) -> list[Answer]:
        """What the network says of some rows."""
        if self.transcriber is not None:
            several = self.transcriber.found(self.transcriber.steps([row.ids for row in batch]), settings.beam_size)
            return [self.heard(texts[row.place], best, settings) for row, best in zip(batch, several, strict=True)]
        given, limits = self.given(batch, settings)
        found = self.network.run({name: given[name] for name in self.network.inputs})
        names = [texts[row.place] for row in batch]
        if self.description.outputs == "logits":
            logits = array(found, "logits", (len(batch), self.target.size - SPECIAL))
            return [self.classified(name, row, settings) for name, row in zip(names, logits, strict=True)]
        if self.description.outputs == "forecasts":
            levels = len(self.description.quantiles)
            forecasts = array(found, "forecasts", (len(batch), None, self.target.size, levels))
            return [Answer(name, (self.forecast(row),)) for name, row in zip(names, forecasts, strict=True)]
        return self.written(names, batch, found, limits, settings)

    def given(self, batch: list[Row], settings: Settings) -> tuple[Arrays, np.ndarray]:
        """All that a network may read of a batch, and the most tokens of each prediction."""
        of, search, size = self.description, self.description.search, settings.beam_size
        given: Arrays = {"prompt": np.stack([row.ids for row in batch])} if self.source is None else sources(batch)
        lengths = given.get("lengths", np.zeros(len(batch), dtype=np.int64))
        limits = of.limits.of(lengths) if of.limits is not None else lengths + 1
        longest = int(limits.max())
        given |= {
            "limits": limits,
            "room": np.zeros((size, longest), np.float32),
            "min_length": np.array(search.min_length),
            "length_penalty": np.array(search.length_penalty, np.float32),
            "temperature": np.array(search.temperature or 1.0, np.float32),
            "top_k": np.array(search.top_k or self.target.size),
            "top_p": np.array(search.top_p or 2.0, np.float32),
        }
        if "words" in self.network.inputs and "words" not in given:
            raise FileError("it reads spelled words, and its source tokenizer makes none")
        if self.draws:
            given["numbers"] = uniform(settings.seed, [row.key for row in batch], size, longest)
        return given, limits

    def written(
        self, names: list[str], batch: list[Row], found: Arrays, limits: np.ndarray, settings: Settings
    ) -> list[Answer]:
        """The hypotheses of each row as text."""
        shape = (len(batch), settings.beam_size)
        tokens = array(found, "tokens", (*shape, None))
        counts, scores = (array(found, name, shape) for name in ("counts", "scores"))
        each = array(found, "token_scores", (*shape, None))
        end, answers = self.description.target_end, []
        if (counts < 0).any() or (counts > min(tokens.shape[2], each.shape[2])).any():
            raise FileError("its counts are not those of its tokens")
        if (tokens < 0).any() or (tokens >= self.target.size).any():
            raise FileError("it writes tokens that its vocabulary lacks")
        for place, (name, row) in enumerate(zip(names, batch, strict=True)):
            prompt = row.ids[1:].tolist() if self.source is None else []
            several = [
                self.alternative(
                    [*prompt, *tokens[place, which, :count].tolist()],
                    float(scores[place, which]),
                    tuple(each[place, which, : count + end].tolist()),
                    count + 1 >= int(limits[place]) if end else None,
                )
                for which, count in enumerate(counts[place].tolist())
                if scores[place, which] > -np.inf
            ]
            answers.append(Answer(name, tuple(several[: settings.n_best])))
        return answers

    def alternative(self, ids: list[int], score: float, each: tuple[float, ...], at_limit: bool | None) -> Alternative:
        """A hypothesis as text."""
        if self.description.task != "Tagging":
            return Alternative(self.target.decode(ids), score, each, at_limit=at_limit)
        sentence, labelled = self.target.parted(ids) if isinstance(self.target, Labels) else (None, ids)
        labels = tuple(self.target.decode([one]) for one in labelled)
        return Alternative(self.target.decode(ids), score, each, labels, at_limit=at_limit, sentence=sentence)

    def heard(self, name: str, best: list[tuple[tuple[int, ...], float]], settings: Settings) -> Answer:
        """The best texts, as ids with their log-probabilities."""
        divisor, best = self.description.search.divisor, best[: settings.n_best]
        texts = ((self.target.decode(ids), score / divisor(len(ids)), score) for ids, score in best)
        return Answer(name, tuple(Alternative(text, score, (whole,)) for text, score, whole in texts))

    def classified(self, text: str, logits: np.ndarray, settings: Settings) -> Answer:
        """The likeliest labels of logits (C,)."""
        values = logits.astype(np.float64)
        names = [self.target.decode([SPECIAL + place]) for place in range(len(values))]
        if self.description.multi_label:
            chosen, sure = np.flatnonzero(values > 0), -np.logaddexp(0, -np.abs(values))
            ids = (chosen + SPECIAL).tolist()
            labels = tuple(names[place] for place in chosen.tolist())
            one = Alternative(self.target.decode(ids), float(sure.sum()), tuple(sure[chosen].tolist()), labels)
            probabilities = np.exp(-np.logaddexp(0, -values))
            return Answer(text, (one,), dict(zip(names, probabilities.tolist(), strict=True)))
        log_probs = values - np.logaddexp.reduce(values)
        best = np.argsort(-log_probs, kind="stable")[: settings.n_best].tolist()
        several = (Alternative(names[k], float(log_probs[k]), (float(log_probs[k]),), (names[k],)) for k in best)
        return Answer(text, tuple(several), dict(zip(names, np.exp(log_probs).tolist(), strict=True)))

    def forecast(self, values: np.ndarray) -> Alternative:
        """Forecasts (T, D, Q) as text."""
        if not isinstance(self.target, Vectors):
            raise FileError("its target makes no numbers")
        texts = [self.target.numbers(values[..., level]) for level in range(values.shape[2])]
        names = [f"{level:g}" for level in self.description.quantiles]
        quantiles = dict(zip(names, texts, strict=True)) if len(texts) > 1 else None
        return Alternative(texts[self.description.median], 0.0, quantiles=quantiles)


def listed(texts: Iterator[str]) -> list[str]:
    """The next texts; none at the end."""
    return list(islice(texts, CHUNK))


def whole(name: str, value: object, low: int, most: int) -> int:
    """A whole number of a call; RequestError for another one."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= most:
        raise RequestError(f"{name} is {value!r:.40}; it must be a whole number from {low} to {most}")
    return int(value)


def array(found: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """An output of this shape, None for any size; FileError for another one."""
    value = found.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "if" or value.ndim != len(shape):
        raise FileError(f"it gives no {name}, as its description says it would")
    if any(size is not None and size != there for size, there in zip(shape, value.shape, strict=True)):
        raise FileError(f"its {name} have the shape {value.shape}, and {shape} is expected")
    return value


def load(file: str | Path, threads: int = 1) -> Model:
    """The model of a file that `python -m seq2seq.export` has written; FileError for any other.

    threads: on which onnxruntime computes; small networks gain little from more than one.
    """
    threads = whole("threads", threads, 1, 1024)
    try:
        path = Path(file)
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise FileError(f"{path} is no file; give a file that python -m seq2seq.export has written")
        if status.st_size > LARGEST:
            raise FileError(f"{path} has {status.st_size:,} bytes, and {LARGEST:,} are the most")
        data = path.read_bytes()
    except (OSError, ValueError) as problem:
        if isinstance(problem, FileError):
            raise
        raise FileError(f"{file} cannot be read: {getattr(problem, 'strerror', None) or problem}") from problem
    try:
        if data.startswith(b"PK"):
            entry, numpy_network = opened(data)
            return Model(description.read(entry), numpy_network)
        return Model(description.read(entries(data)[KEY]), OnnxNetwork(data, threads))
    except FileError as problem:
        raise FileError(f"{file}: {problem}") from problem
