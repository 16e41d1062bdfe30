"""The values that a training begins with: matrices that keep the size of what passes through them."""

import torch
from torch import Tensor, nn

from seq2seq.models.cells import Cell


def draw(network: nn.Module) -> None:
    """Draw the matrices of our own parts anew, from torch's global generator.

    Matrices from layer to layer are uniform, with the bound of Glorot and Bengio 2010, eq. 16; those from state to
    state are orthogonal (Saxe et al. 2014), so that a state neither fades nor explodes at first. Matrices of several
    gates are drawn gate by gate. Embeddings, outputs tied to one, biases and parts of other packages keep what they
    were made with.
    """
    tables = {id(table.weight) for table in network.modules() if isinstance(table, nn.Embedding)}
    for module in network.modules():
        if isinstance(module, Cell):
            for weight, from_state in module.matrices():
                for gate in torch.split(weight, module.hidden_size):
                    draw_matrix(gate, from_state)
        elif type(module).__module__.startswith("seq2seq."):
            for part in module.children():
                for linear in part if isinstance(part, nn.ModuleList) else [part]:
                    if isinstance(linear, nn.Linear) and id(linear.weight) not in tables:
                        draw_matrix(linear.weight, from_state=False)


def draw_matrix(weight: Tensor, from_state: bool) -> None:
    """Of one map, (to, from)."""
    with torch.no_grad():
        if from_state:
            nn.init.orthogonal_(weight)
        else:
            nn.init.xavier_uniform_(weight)
