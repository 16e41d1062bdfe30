"""Predictions from a trained task."""
