"""The table of token vectors, begun alike on both sides."""

import torch
from torch import nn


def token_embedding(vocabulary_size: int, embedding_size: int, padding: int) -> nn.Embedding:
    """Ids to vectors of embedding_size, drawn with a standard deviation of 1 / sqrt(E); padding is zero."""
    embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=padding)
    nn.init.normal_(embedding.weight, std=embedding_size**-0.5)
    with torch.no_grad():
        embedding.weight[padding].zero_()
    return embedding
