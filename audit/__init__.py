"""Audits of image classifiers, which may read printed labels or the source of an image instead of the picture.

The distribution claims this one import name. In a checkout the folders `training/`, `reports/` and `templates/` lie beside this
one, and are `audit.training`, `audit.reports` and `audit.templates` all the same.
"""

from __future__ import annotations

from pathlib import Path

_BESIDE = Path(__file__).resolve().parent.parent
if (_BESIDE / "pyproject.toml").is_file() and (_BESIDE / "training" / "chain.py").is_file():
    __path__.append(str(_BESIDE))
