"""Corpora that need no file: generated, or shipped with a library."""

from seq2seq.data.corpora.builtin import cldr_tasks, digits, melodies, shapes, synthetic, tones

__all__ = ["cldr_tasks", "digits", "melodies", "shapes", "synthetic", "tones"]
