"""Tests of seq2seq/testing."""
