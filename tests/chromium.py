"""What tests in a real browser share: where it is, what axe-core checks, and the marks of such tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("AUDIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium, or set AUDIT_CHROMIUM"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="no playwright; pip install -e '.[dev]'"),
]


@contextmanager
def started() -> Iterator[Any]:
    """Start Debian's chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def axe_source() -> str:
    """Return axe-core's script: the file that AUDIT_AXE names, or the one that a Python package ships."""
    named = os.environ.get("AUDIT_AXE")
    if named:
        return Path(named).read_text(encoding="utf-8")
    package = find_spec("axe_playwright_python")
    if package is None or not package.submodule_search_locations:
        pytest.skip("no axe-core; pip install axe-playwright-python, or set AUDIT_AXE to axe.min.js")
    return next(Path(package.submodule_search_locations[0]).rglob("axe.min.js")).read_text(encoding="utf-8")
