"""What suits one row at a time on a processor: the order of matrices in memory, and steps in numpy."""

import torch
from torch import nn

from seq2seq.models.cells import Fused
from seq2seq.tasks.base import Task


@torch.no_grad()
def suit_one_row(task: Task) -> None:
    """Let one row be computed in numpy where that is known (`models/row_cell.py`), and elsewhere faster in torch.

    The matrices by which a step of decoding multiplies a vector are stored column by column; every number stays. torch
    then takes a product that keeps them in the cache. One sentence is translated in half the time
    (`python -m seq2seq.bench --only sentence`). The sums of a few rows may round otherwise in the last bit.
    """
    matrices = [module.weight for module in task.modules() if isinstance(module, nn.Linear)]
    for cell in task.modules():
        if isinstance(cell, Fused):
            cell.suits_one_row = True
    network = task.encoder_decoder
    if network is not None:
        network.decoder.suits_one_row = True
        for cell in network.decoder.modules():
            if isinstance(cell, Fused):
                matrices += [weight for weight in cell.torch.parameters() if weight.dim() == 2]
    for matrix in {id(one): one for one in matrices}.values():
        matrix.data = matrix.data.t().contiguous().t()
