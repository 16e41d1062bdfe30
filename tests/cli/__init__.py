"""Tests of seq2seq/cli."""
