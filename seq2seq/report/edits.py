"""What is inserted, deleted and replaced in texts: the kinds of errors, and the words that are taken for others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seq2seq.report.panels import Panel
from seq2seq.report.wording import finite, number, parts, text_of

KINDS = ("inserted", "deleted", "replaced")


def panels(metric: str, edits: Mapping[str, Any]) -> Iterator[Panel]:
    """The edits behind a metric, which is given in words."""
    words = finite(edits.get("words"))
    if not words:
        return
    rows = []
    for kind in KINDS:
        count = finite(edits.get(kind))
        rows.append([kind, number(count, 0), number(None if count is None else 100 * count / words, 2)])
    left_out = finite(edits.get("left_out")) or 0
    caption = f"Of {number(words, 0)} words of the references" + f", {left_out:.0f} long rows left out" * bool(left_out)
    yield Panel(f"{metric}: kinds of errors", ["Words", "Count", "Percent of all words"], rows, caption=caption)
    pairs = [[text_of(one, "reference") or "-", text_of(one, "prediction") or "-", number(one.get("count"), 0)]
             for one in parts(edits, "confusions")]  # fmt: skip
    if pairs:
        caption = "The most frequent ones; a dash stands where the other side has a word more."
        yield Panel(f"{metric}: confusions", ["Reference", "Prediction", "Count"], pairs, caption=caption)
