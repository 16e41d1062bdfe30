"""Corpora: where rows come from."""
