"""From any corpus to batches: rows, ids, which rows go together, tensors."""

from seq2seq.data.tokenizers import factored as features  # noqa: F401
