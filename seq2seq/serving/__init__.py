"""Loaded runs behind HTTP."""
