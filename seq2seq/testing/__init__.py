"""What the author of a part runs to see that it keeps its contract: `check_cell(MyCell())` in a test of their own.

Each check raises AssertionError with one line that names the class, the contract and what broke it.
"""

from seq2seq.testing.network import check_attention, check_cell
from seq2seq.testing.scores import check_metric
from seq2seq.testing.tasks import check_task
from seq2seq.testing.texts import check_corpus, check_tokenizer

__all__ = ["check_attention", "check_cell", "check_corpus", "check_metric", "check_task", "check_tokenizer"]
