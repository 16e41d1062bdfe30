"""How predictions become a number: always on raw text, always with a signature.

All are imported, so that a configuration may name any; what takes long to import is imported where it is used.
"""

from seq2seq.metrics import (
    accuracy,
    bleu,
    calibration,
    edit_distance,
    forecast_errors,
    likelihood,
    morphemes,
    rouge,
    segments,
    spans,
)

__all__ = ["accuracy", "bleu", "calibration", "edit_distance", "forecast_errors", "likelihood", "morphemes"]
__all__ += ["rouge", "segments", "spans"]
