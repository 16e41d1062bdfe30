"""Tasks: how a batch becomes a loss or a prediction. All are imported, so that a configuration may name any."""

from seq2seq.tasks import classification, forecasting, generation, tagging, transcription, translation

__all__ = ["classification", "forecasting", "generation", "tagging", "transcription", "translation"]
