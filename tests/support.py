"""What the tests share: folders, tiny corpora, batches, trained runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.data.batching.batch import Batch
from seq2seq.data.batching.split import Split
from seq2seq.data.ragged import Ragged
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizers

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAIRS = [
    ("the cat sat", "die Katze saß"),
    ("a dog runs fast", "ein Hund rennt schnell"),
    ("two men in a red car", "zwei Männer in einem roten Auto"),
    ("a woman reads", "eine Frau liest"),
    ("children play", "Kinder spielen"),
    ("the man drinks water", "der Mann trinkt Wasser"),
    ("a bird", "ein Vogel"),
    ("three girls sing a song", "drei Mädchen singen ein Lied"),
] * 2


def split_of(pairs: Sequence[tuple[str, str]], tokenizers: Tokenizers) -> Split:
    """The pairs as a split."""
    texts = Texts([source for source, _ in pairs], [target for _, target in pairs])
    source, target = (Ragged.of(tokenizer.encode(side)) for tokenizer, side in zip(tokenizers, texts[:2], strict=True))
    return Split(texts, source, target, 512)


def batch_of(pairs: Sequence[tuple[str, str]], tokenizers: Tokenizers) -> Batch:
    """The pairs as one batch."""
    return split_of(pairs, tokenizers).batch(np.arange(len(pairs)))
