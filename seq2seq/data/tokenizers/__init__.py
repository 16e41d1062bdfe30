"""Text to ids and back; one file per kind. All are imported, so that a configuration may name any."""

from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words

__all__ = [
    "Characters",
    "Columns",
    "Labels",
    "NoSource",
    "RowFeatures",
    "SentencePiece",
    "Spelled",
    "TokenFeatures",
    "Tokenizer",
    "Tokenizers",
    "Vectors",
    "Words",
]
