"""From any corpus to batches: rows, ids, which rows go together, tensors."""
