"""Conditions become predictions, and predictions a table."""
