"""Text to ids and back; one file per kind. All are imported, so that a configuration may name any."""

from seq2seq.data.tokenizers import columns, factored, numeric, sentence_piece, spelled, units

__all__ = ["columns", "factored", "numeric", "sentence_piece", "spelled", "units"]
