"""Renderings of a finished run: they read its files, and nothing else."""
