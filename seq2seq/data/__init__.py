"""From any corpus to batches: rows, ids, which rows go together, tensors."""

from seq2seq.data import features  # noqa: F401  its tokenizers must be known by name wherever others are
