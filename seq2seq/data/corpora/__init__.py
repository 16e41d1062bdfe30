"""Corpora: where rows come from; one file per format. All are imported, so that a configuration may name any."""

from seq2seq.data.corpora import (
    builtin,
    conll,
    hub,
    hub_recordings,
    json_rows,
    mixture,
    npy,
    parallel,
    recordings,
    segments,
    series,
    spans,
    tables,
    text_files,
)

__all__ = [
    "builtin",
    "conll",
    "hub",
    "hub_recordings",
    "json_rows",
    "mixture",
    "npy",
    "parallel",
    "recordings",
    "segments",
    "series",
    "spans",
    "tables",
    "text_files",
]
