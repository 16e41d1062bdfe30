"""The embedding of a source: of ids, of spelled words, or of sequences that are vectors already."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import PAD, UNK, Tokenizer
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.errors import InputError
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.word_embedding import WordEmbedding, WordOptions


def reader_of(tokenizer: Tokenizer, embedding_size: int, feature_size: int, words: WordOptions) -> nn.Module:
    """The `Reader` for a tokenizer's output; words: options of spelled words."""
    if isinstance(tokenizer, Spelled):
        return WordEmbedding(tokenizer.sections, tokenizer.letters, embedding_size, words, PAD, UNK)
    if tokenizer.width is not None:
        return Projection(tokenizer.width, embedding_size)
    return Embedding(tokenizer.sizes, embedding_size, feature_size, PAD)


def readable(batch: Batch, tokenizer: Tokenizer) -> Tensor:
    """What an encoder reads of a batch: its sources; spelled words are taken apart on the CPU, where they were."""
    return batch.source if batch.ids is None or not isinstance(tokenizer, Spelled) else batch.ids


def load_vectors(reader: nn.Module, tokenizer: Tokenizer) -> None:
    """Put pre-trained vectors, if the tokenizer names a file of them, into the table of words; prints how many."""
    if not isinstance(tokenizer, Spelled) or tokenizer.vectors is None or not isinstance(reader, WordEmbedding):
        return
    from seq2seq.data.word_vectors import WordVectors, coverage

    vectors = WordVectors.open(Path(tokenizer.vectors))
    size = reader.own.embedding_dim
    if vectors.size != size:
        raise InputError(f"{tokenizer.vectors} has vectors of {vectors.size} numbers; set model.embedding_size to that")
    words = tokenizer.word_list()
    values, found = vectors.find(words)
    spread = max(float(values[found].std()), 1e-6) if found.any() else 1.0
    with torch.no_grad():  # as long as the vectors that are drawn
        reader.own.weight[torch.from_numpy(found)] = torch.from_numpy(values[found] / spread * size**-0.5)
    print(coverage(found, Path(tokenizer.vectors)), file=sys.stderr)
