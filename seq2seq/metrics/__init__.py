"""How predictions become a number: always on raw text, always with a signature.

All are imported, so that a configuration may name any; what takes long to import is imported where it is used.
"""

from seq2seq.metrics import accuracy, bleu, calibration, likelihood, rouge, spans
from seq2seq.metrics import edit_distance as edits
from seq2seq.metrics import forecast_errors as coverage
from seq2seq.metrics import forecast_errors as forecast

__all__ = ["accuracy", "bleu", "calibration", "coverage", "edits", "forecast", "likelihood", "rouge", "spans"]
