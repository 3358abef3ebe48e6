"""Audits of image classifiers: does the network read the picture, or the labels printed on it and where it was taken?

The distribution claims this one import name. In a checkout the folders `training/`, `reports/` and `templates/` lie beside this
one, and are `audit.training`, `audit.reports` and `audit.templates` all the same.
"""

from __future__ import annotations

from pathlib import Path

_BESIDE = Path(__file__).resolve().parent.parent
if (_BESIDE / "pyproject.toml").is_file() and (_BESIDE / "training" / "chain.py").is_file():
    __path__.append(str(_BESIDE))
