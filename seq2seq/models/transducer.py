"""Transducer: frames to tokens where each token is written by a step and by the tokens before it (Graves 2012).

In shapes U stands for the tokens of a row, J for what joins both sides, C for classes: a blank, then tokens.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from seq2seq.errors import check_range
from seq2seq.models.cells import CellState, at_least_32_bits
from seq2seq.models.ctc import BLANK
from seq2seq.models.dropout import Dropout, Noise
from seq2seq.models.embedding import Embedding
from seq2seq.models.network_part import NetworkPart
from seq2seq.models.output import CHUNK, LARGE
from seq2seq.models.recurrent import Recurrent, Stack
from seq2seq.pinned_copy import to_device


class WrittenTokens(NamedTuple):
    """What N hypotheses have written so far, as the network sees it."""

    vector: Tensor
    """(N, J), to be joined with a step of the frames."""
    recurrent: CellState
    """Tensors (L, N, H)."""

    def select(self, rows: Tensor) -> "WrittenTokens":
        """The given hypotheses (N',)."""
        return WrittenTokens(self.vector[rows], tuple(one[:, rows] for one in self.recurrent))

    def where(self, kept: Tensor, other: "WrittenTokens") -> "WrittenTokens":
        """These where kept (N,) is true, others elsewhere."""
        column = kept.unsqueeze(1)
        pairs = zip(self.recurrent, other.recurrent, strict=True)
        return WrittenTokens(
            torch.where(column, self.vector, other.vector),
            tuple(torch.where(column, one, another) for one, another in pairs),
        )


class Transducer(NetworkPart):
    """A recurrent network over the tokens written so far, and a layer that joins it with the frames.

    Any number of tokens may be written at a step, each known to those after it (Graves 2012).
    """

    embedding: Embedding
    recurrent: Recurrent
    from_frames: nn.Linear
    from_tokens: nn.Linear
    dropout: Dropout
    last_dropout: Dropout

    def __init__(
        self, embedding_size: int = 64, hidden_size: int = 128, layers: int = 1, joint_size: int = 128
    ) -> None:
        """Of the network over tokens, whose cell and dropout are those of the model.

        Args:
            embedding_size: length of a token's vector.
            hidden_size: units of each layer.
            layers: recurrent layers.
            joint_size: units of the layer that joins tokens with frames.
        """
        super().__init__()
        sizes = {"embedding_size": embedding_size, "hidden_size": hidden_size, "layers": layers}
        for name, value in (sizes | {"joint_size": joint_size}).items():
            check_range(f"model.alignment.{name}", value, 1)
        self.embedding_size, self.hidden_size, self.layers = embedding_size, hidden_size, layers
        self.joint_size = joint_size

    def build(self, size: int, classes: int, stack: Stack) -> "Transducer":
        """size: of a step's state, H; stack: whose cell and dropout this network has too."""
        built = self.copied()
        built.embedding = Embedding([classes], self.embedding_size, 1, BLANK)  # before the first token stand zeros
        own = stack._replace(hidden_size=self.hidden_size, layers=self.layers, residual_from=None)
        built.recurrent = Recurrent(own, self.embedding_size)
        built.from_frames = nn.Linear(size, self.joint_size)
        built.from_tokens = nn.Linear(self.hidden_size, self.joint_size, bias=False)
        built.dropout = Dropout(stack.dropout, stack.locked_dropout)
        built.last_dropout = Dropout(stack.dropout, stack.locked_dropout)
        return built

    def written(self, classes: Tensor, noise: Noise | None) -> Tensor:
        """Known classes (B, U) to the vectors (B, U + 1, J) before the first of them and after each."""
        before = functional.pad(classes, (1, 0), value=BLANK)
        hidden, _ = self.recurrent(self.dropout(self.embedding(before), noise), noise=noise)
        vectors: Tensor = self.from_tokens(self.last_dropout(hidden, noise))
        return vectors

    def first(self, count: int) -> WrittenTokens:
        """Of hypotheses that have written nothing."""
        like = self.embedding.weight
        state = self.recurrent.first_state(count, like)
        return self.step(like.new_full((count,), BLANK, dtype=torch.long), state)

    def step(self, classes: Tensor, state: CellState) -> WrittenTokens:
        """After one more class (N,), to states of (L, N, H)."""
        hidden, after = self.recurrent.step(self.embedding(classes), state)
        return WrittenTokens(self.from_tokens(hidden), after)


def class_log_probs(output: nn.Module, frames: Tensor, written: Tensor) -> Tensor:
    """(..., C) in nats, in at least 32 bits, of vectors (..., J) of both sides; output: of what joins them."""
    logits: Tensor = at_least_32_bits(output((frames + written).tanh()))
    return logits.log_softmax(-1)


def transducer_losses(
    output: nn.Module, frames: Tensor, written: Tensor, steps: Tensor, classes: Tensor, lengths: Tensor
) -> Tensor:
    """Minus the log-probability (B,) in nats of each row's classes (Graves 2012, eq. 16 to 18).

    It is the sum over all ways to write them during the row's steps, each of which ends with a blank.

    Args:
        output: from joined vectors (..., J) to logits (..., C).
        frames: (B, T, J) of the steps.
        written: (B, U + 1, J) of the tokens.
        steps: (B,) of each row, on the CPU.
        classes: (B, U); what follows a row's own ones plays no part.
        lengths: (B,) classes of each row, on the CPU.
    """
    classes = functional.pad(classes, (0, 1), value=BLANK)  # after the last one none is written
    cells = len(frames) * written.shape[1] * max(frames.shape[2], output(frames[:1, :1]).shape[-1])
    at_once = max(1, (CHUNK if frames.device.type == "cpu" else LARGE) // cells)
    find = partial(blank_and_next, output)
    pieces = torch.split(frames, at_once, dim=1)
    if torch.is_grad_enabled() and len(pieces) > 1:  # the rest is computed again where gradients are taken
        find = partial(checkpoint, find, use_reentrant=False)
    blanks, following = zip(*(find(piece, written, classes) for piece in pieces), strict=True)
    losses: Tensor = Lattice.apply(torch.cat(blanks, 1), torch.cat(following, 1), steps, lengths)  # type: ignore[no-untyped-call]
    return losses


def blank_and_next(output: nn.Module, frames: Tensor, written: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, T, U + 1) of the blank and of the next class, classes (B, U + 1)."""
    log_probs = class_log_probs(output, frames.unsqueeze(2), written.unsqueeze(1))  # (B, T, U + 1, C)
    wanted = classes.view(len(classes), 1, -1, 1).expand(*log_probs.shape[:3], 1)
    return log_probs[..., BLANK], log_probs.gather(-1, wanted).squeeze(-1)


class Lattice(torch.autograd.Function):
    """Minus the log of the sum over all paths through steps and tokens, in 64 bits; one diagonal after the other.

    The gradient is how much of all paths takes an arc: a node's share goes to the two nodes before it as their parts
    of its sum.
    """

    @staticmethod
    def forward(ctx: Any, blanks: Tensor, following: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities (B, T, U + 1) of a blank and of the next class; returns (B,)."""
        rows, _, width = blanks.shape
        stay, go = diagonals(blanks.double()), diagonals(following.double())  # (T + U, B, U + 1)
        sums = torch.full_like(stay, -torch.inf)
        sums[0, :, 0] = 0.0
        for now in range(1, len(sums)):
            torch.add(sums[now - 1], stay[now - 1], out=sums[now])
            arriving = sums[now - 1, :, :-1] + go[now - 1, :, :-1]
            torch.logaddexp(sums[now, :, 1:], arriving, out=sums[now, :, 1:])
        ends = to_device(((steps - 1 + lengths) * rows + torch.arange(rows)) * width + lengths, blanks.device)
        went = (sums[:-1, :, :-1] + go[:-1, :, :-1] - sums[1:, :, 1:]).exp()  # the part of a node's sum that wrote
        ctx.save_for_backward(went.nan_to_num(0.0), ends)
        ctx.size = blanks.shape
        return -(sums.view(-1)[ends] + stay.view(-1)[ends]).to(blanks.dtype)

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        went, ends = ctx.saved_tensors
        rows, steps, width = ctx.size
        shares = went.new_zeros(steps + width - 1, rows, width)
        shares.view(-1)[ends] = scale.double()
        stay, go = torch.zeros_like(shares), torch.zeros_like(shares)
        stay.view(-1)[ends] = scale.double()  # the blank that ends a row
        for now in range(len(shares) - 1, 0, -1):
            wrote = torch.mul(shares[now, :, 1:], went[now - 1], out=go[now - 1, :, :-1])
            stayed = shares[now].clone()
            stayed[:, 1:] -= wrote
            stay[now - 1] += stayed
            shares[now - 1] += stayed
            shares[now - 1, :, :-1] += wrote
        kind = scale.dtype
        return -rectangle(stay, steps).to(kind), -rectangle(go, steps).to(kind), None, None


def diagonals(cells: Tensor) -> Tensor:
    """(B, T, W) to (T + W - 1, B, W): line d has the cell (d - u, u) in place u, minus infinity where there is none."""
    rows, steps, width = cells.shape
    padded = functional.pad(cells.transpose(1, 2), (0, width), value=-torch.inf)  # (B, W, T + W)
    moved = padded.flatten(1)[:, :-width].view(rows, width, steps + width - 1)  # each place one further than the last
    return moved.permute(2, 0, 1).contiguous()


def rectangle(lines: Tensor, steps: int) -> Tensor:
    """The cells (B, T, W) of their diagonals."""
    count, rows, width = lines.shape
    moved = functional.pad(lines.permute(1, 2, 0).flatten(1), (0, width))
    return moved.view(rows, width, count + 1)[..., :steps].transpose(1, 2)
