"""What `python -m seq2seq.export` has written, at work without torch: `load(FILE).predict(texts)`."""

from seq2seq_runtime.answers import Alternative, Answer
from seq2seq_runtime.model import Model, load
from seq2seq_runtime.problems import FileError, RequestError

__all__ = ["Alternative", "Answer", "FileError", "Model", "RequestError", "load"]
