"""Labels for a source that need not end: one step of the network for each token, in memory that does not grow."""

import json
import math
from collections import deque
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from seq2seq.data.tokenizers.base import PAD, Tokenizers
from seq2seq.models.cells import CellState
from seq2seq.models.embedding import Reader
from seq2seq.models.encoder import Encoder
from seq2seq.models.tagger import AutoregressiveTagger, ColumnTagger, TaggerState

Labeller = ColumnTagger | AutoregressiveTagger


class Labelled(NamedTuple):
    """A token that has its label."""

    token: str
    label: str
    probability: float


class LabelStream:
    """A tagger in the middle of a sentence: the states of its layers and the tokens that wait for their label."""

    def __init__(self, tokenizers: Tokenizers, separator: str, encoder: Encoder, labeller: Labeller) -> None:
        """separator: between tokens; encoder: one that reads forwards."""
        self.tokenizers, self.separator = tokenizers, separator
        self.encoder, self.labeller = encoder.eval(), labeller.eval()
        self.waiting: deque[str] = deque()
        self.state: CellState | None = None
        self.decoder: CellState | None = None
        self.before = PAD
        self.read = 0
        """Steps of this sentence so far."""

    @torch.inference_mode()
    def push(self, token: str) -> list[Labelled]:
        """Read a token; what can be labelled now: the one that stands `lookahead` tokens before."""
        ids = self.tokenizers.source.encode([token])[0]
        source = torch.tensor([ids], device=next(self.encoder.parameters()).device)
        vectors, _ = cast(Reader, self.encoder.embedding).read(source, torch.tensor([len(ids)]), None)
        self.waiting.append(token)
        return self.step(vectors[:, 0])

    @torch.inference_mode()
    def end(self) -> list[Labelled]:
        """The sentence is over: what still waits is labelled, and the next token begins a new one."""
        result: list[Labelled] = []
        size = cast(Reader, self.encoder.embedding).size
        while self.waiting:
            result += self.step(next(self.encoder.parameters()).new_zeros(1, size))
        self.state = self.decoder = None
        self.before, self.read = PAD, 0
        return result

    def step(self, vector: Tensor) -> list[Labelled]:
        """One step of the encoder on a vector (1, E)."""
        recurrent = self.encoder.recurrent
        hidden, self.state = recurrent.step(vector, self.state or recurrent.first_state(1, vector))
        self.read += 1
        if self.read <= self.encoder.lookahead:
            return []
        token = self.waiting.popleft()
        label, log_prob = self.label(hidden)
        return [Labelled(token, self.tokenizers.target.decode([label]), math.exp(log_prob))]

    def label(self, hidden: Tensor) -> tuple[int, float]:
        """The id of the label of a state (1, H), and its log-probability."""
        labeller = self.labeller
        if isinstance(labeller, AutoregressiveTagger):
            first = labeller.start(hidden.unsqueeze(1))
            state = first if self.decoder is None else TaggerState(first.states, self.decoder, 0)
            log_probs, after = labeller.step(torch.tensor([[self.before]], device=hidden.device), state)
            self.decoder = after.recurrent
            best, chosen = log_probs[0, 0].max(-1)
            self.before = int(chosen)
            return self.before, float(best)
        begins = self.read == self.encoder.lookahead + 1
        self.before, log_prob = labeller.next_label(hidden, None if begins else self.before)
        return self.before, log_prob

    def content(self) -> dict[str, Any]:
        """All that is needed to resume, as tensors and JSON."""
        plain = {"waiting": list(self.waiting), "before": self.before, "read": self.read}
        return {"plain": json.dumps(plain), "state": self.state or (), "decoder": self.decoder or ()}

    def restore(self, content: dict[str, Any]) -> None:
        """Resume where `content` was taken."""
        plain = json.loads(content["plain"])
        self.waiting, self.before, self.read = deque(plain["waiting"]), plain["before"], plain["read"]
        device = next(self.encoder.parameters()).device  # the state may come from another kind of device
        self.state, self.decoder = (
            tuple(one.to(device) for one in content[name]) or None for name in ("state", "decoder")
        )
