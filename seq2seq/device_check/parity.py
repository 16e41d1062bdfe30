"""Does the device compute what the CPU does? Every task, cell, attention, bridge and tagger, in each precision."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from seq2seq.analysis.gradient_flow import memory_over_time
from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS
from seq2seq.device_check.findings import DeviceCheck, all_of, unchecked, within
from seq2seq.device_check.networks import PRECISIONS, arithmetic, computed, examples, network, predicted
from seq2seq.models.attention import Additive, Attention, Dot, General, LocalP, Location, MultiHeadAdditive, ScaledDot
from seq2seq.models.cells import GRU, LSTM, RNN, Cell, LayerNormLSTM, MinGRU, MinLSTM
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.fixed_vector import Bridge, Copy, Learned, Linear, Zeros
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax
from seq2seq.models.transducer import Transducer
from seq2seq.tasks.base import Task
from seq2seq.tasks.translation import Translation

CELLS: Sequence[type[Cell]] = (RNN, GRU, LSTM, LayerNormLSTM, MinGRU, MinLSTM)
SCORING: Sequence[type[Attention]] = (Dot, ScaledDot, General, Additive, Location, LocalP, MultiHeadAdditive)
ATTENTIONS = (None, *SCORING)
BRIDGES: Sequence[Callable[[], Bridge]] = (Copy, Linear, Zeros, Learned)
TAGGERS = (Softmax, Crf, AutoregressiveTagger)

BOUNDS = {"32 bits": 1e-5, "TF32": 5e-3, "bf16": 3e-2}
"""Of the relative difference of loss and gradient from the CPU's in strict 32 bits; in bf16 of the loss alone."""

SCORES = 1e-4
"""Of the difference between scores of predictions."""

Case = tuple[str, str, dict[str, Any]]
"""A group for one line, the name of a network, its settings."""


def cases(cells: Sequence[type[Cell]] = CELLS) -> Iterator[tuple[str, Case]]:
    """All networks, each with its task."""
    for cell, attention, bridge in itertools.product(cells, ATTENTIONS, BRIDGES):
        if attention is None and bridge in (Zeros, Learned):  # nothing would reach the decoder
            continue
        named = f"{attention.__name__ if attention else 'no attention'}, {type(bridge()).__name__}"
        settings = {"cell": cell(), "attention": attention and attention(), "bridge": bridge()}
        yield "Translation", (f"translation, {cell.__name__}, attentions x bridges", named, settings)
    for name in ("Tagging", "Classification", "Generation", "Forecasting", "Transcription"):
        for cell in cells:
            yield name, (f"{name.lower()}, all cells", cell.__name__, {"cell": cell()})
    yield "Transcription", ("transcription, a transducer", "LSTM", {"alignment": Transducer()})
    for tagger in TAGGERS:
        yield "Tagging", ("tagging, all taggers", tagger.__name__, {"tagger": tagger()})


def parity(device: torch.device, cells: Sequence[type[Cell]] = CELLS) -> Iterator[DeviceCheck]:
    """Losses, gradients and predictions of all networks, one line for each group; then what else runs on a device."""
    for group, members in itertools.groupby(cases(cells), key=lambda case: case[1][0]):
        worst: dict[str, tuple[float, str]] = {}
        for name, (_, case, settings) in members:
            for what, found, where in compared(name, settings, device):
                value = math.inf if math.isnan(found) else found
                worst[what] = max(worst.get(what, (-1.0, "")), (value, f"{case}{where}"))
        for what, (value, case) in worst.items():
            yield within(f"{group}: {what}", value, BOUNDS.get(what.partition(",")[0], SCORES), case)
    yield from forced_and_free(device)
    if device.type == "cpu":
        yield unchecked("the CPU's losses, gradients and predictions on a GPU, 32 bits and TF32", "there is no GPU")
        return
    for what, check in (("memory over time", diagnosis), ("a stream goes on from its state", stream)):
        yield from all_of({what: lambda device, check=check: iter([check(device)])}, device)  # type: ignore[misc]


def compared(name: str, settings: dict[str, Any], device: torch.device) -> Iterator[tuple[str, float, str]]:
    """How far a network's numbers are from the CPU's; without end where it fails on the device, and how."""
    try:
        for what, found in differences(name, settings, device):
            yield what, found, ""
    except Exception as problem:
        yield "runs", math.inf, f": {' '.join(str(problem).split())[:200]}"


def differences(name: str, settings: dict[str, Any], device: torch.device) -> Iterator[tuple[str, float]]:
    """How far a network's numbers are from the CPU's."""
    task, batch = network(name, **settings), examples()[name].batch
    cpu = torch.device("cpu")
    truth = computed(task, batch, cpu)
    for precision in PRECISIONS if device.type == "cuda" else PRECISIONS[-1:]:
        found = computed(task, batch, device, precision)
        yield f"{precision}, loss", abs(found.loss - truth.loss) / max(abs(truth.loss), 1e-6)
        if precision != "bf16":
            yield f"{precision}, gradient", float((found.gradient - truth.gradient).norm() / truth.gradient.norm())
        elif not found.gradient.isfinite().all():
            yield f"{precision}, gradient", math.inf
    if device.type == "cpu":
        return
    for beam in (1, 5):
        pairs = zip(predicted(task, batch, cpu, beam), predicted(task, batch, device, beam), strict=True)
        yield f"{'greedy' if beam == 1 else 'beam 5'} or forecast", max(apart(*pair) for pair in pairs)


def apart(one: Any, other: Any) -> float:
    """The largest difference between two hypotheses: their scores, token by token, or the numbers forecast."""
    values: list[tuple[float, float]] = [(one.score, other.score)]
    values += zip(one.token_scores, other.token_scores, strict=False)
    for name, steps in (one.values or {}).items():
        values += zip(itertools.chain(*steps), itertools.chain(*(other.values or {})[name]), strict=True)
    return max(float(abs(a - b)) / max(1.0, abs(a)) for a, b in values)


def forced_and_free(device: torch.device) -> Iterator[DeviceCheck]:
    """The probabilities of a prediction, made step by step and read at once."""
    for attention in (General, LocalP):
        task = network("Translation", cell=LSTM(), attention=attention()).to(device).eval()
        worst, batch = 0.0, examples()["Translation"].batch
        for row, best in enumerate(predicted(task, batch, device, 1)):
            scores = torch.tensor(best.token_scores)
            with torch.no_grad(), arithmetic("32 bits"):
                log_probs = task(read(batch.part(slice(row, row + 1)), best.tokens).to(device))[0].cpu()
            labels = torch.tensor([*best.tokens, EOS])[: len(scores)]
            again = log_probs[: len(scores)].gather(1, labels.unsqueeze(1)).squeeze(1)
            worst = max(worst, float((again - scores).abs().max()))
        yield within(f"step by step and all at once, {attention.__name__}", worst, SCORES)


def read(batch: Batch, tokens: Sequence[int]) -> Batch:
    """One row with other target tokens."""
    target = torch.tensor([[BOS, *tokens, EOS]])
    return batch._replace(target=target, target_lengths=torch.tensor([target.shape[1]]))


def diagnosis(device: torch.device) -> DeviceCheck:
    """What the encoder remembers: gradients through an unrolled encoder, in evaluation."""
    found, batch = [], examples()["Translation"].batch
    for place in (torch.device("cpu"), device):
        task = network("Translation", cell=LSTM(), attention=General()).to(place)
        assert_translation(task)
        found.append(memory_over_time(task, batch.to(place)).gradient_norm)
    pairs = [pair for name in found[0] for pair in zip(found[0][name], found[1][name], strict=True)]
    return within("memory over time", max(abs(a - b) / max(abs(a), 1e-6) for a, b in pairs), 1e-2)


def assert_translation(task: Task) -> None:
    """Only a translation has an encoder whose memory is looked at."""
    if not isinstance(task, Translation):
        raise TypeError(f"{type(task).__name__} is no translation")


def stream(device: torch.device) -> DeviceCheck:
    """Labels of a stream that goes on, on the device, from a state saved on the CPU."""
    task = network("Tagging", cell=LSTM(), encoder=EncoderOptions(bidirectional=False))
    tokens, labels = ["in", "3", "days", "at", "5", "pm"], []
    for places in ((torch.device("cpu"),) * 2, (torch.device("cpu"), device)):
        said, content = [], None
        for place, some in zip(places, (tokens[:3], tokens[3:]), strict=True):
            following = copy.deepcopy(task).to(place).label_stream()
            if content is not None:
                following.restore(content)
            said += [one.label for token in some for one in following.push(token)]
            content = following.content()
        labels.append(said)
    first, second = (" ".join(said) for said in labels)
    return DeviceCheck("a stream goes on from its state", first, second, first == second)
