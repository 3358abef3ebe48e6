"""`audit report --pdf`: printed by a browser that is installed, or refused in one sentence."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .chromium import CHROMIUM
from .conftest import Audit

WRITES = 'for a in "$@"; do case "$a" in --print-to-pdf=*) {} "${{a#*=}}";; esac; done'
"""A browser that writes something where the PDF should be."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parent / "golden" / "tiny-run", tmp_path / "tiny-run"))


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a program in the browser's place."""

    def put(script: str) -> Path:
        program = tmp_path / "browser"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("AUDIT_CHROMIUM", str(program))
        return program

    return put


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium, or set AUDIT_CHROMIUM")
def test_the_report_is_printed_whole(audit: Audit, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_CHROMIUM", str(CHROMIUM))
    code, out, err = audit("report", run, "--pdf", tmp_path / "report.pdf")
    assert (code, err) == (0, "")
    assert out.strip() == str(tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", data))
    assert 3 <= pages <= 20
    code, _, err = audit("verify", run)
    assert code == 0, "printing changes no file of the run" + err


def test_the_browser_is_asked_for_the_file(
    audit: Audit, run: Path, tmp_path: Path, browser: Callable[[str], Path]
) -> None:
    browser(
        'for a in "$@"; do echo "$a" >> "$0.asked"; case "$a" in --print-to-pdf=*) printf "%%PDF-1.4 %%%%EOF" > "${a#*=}";; esac; done'
    )
    code, _, err = audit("report", run, "--pdf", tmp_path / "out" / "r.pdf")
    assert (code, err) == (0, "")
    assert (tmp_path / "out" / "r.pdf").read_bytes() == b"%PDF-1.4 %%EOF"
    asked = (tmp_path / "browser.asked").read_text().splitlines()
    assert asked[-1] == (run / "report.html").resolve().as_uri()
    assert "--headless" in asked


@pytest.mark.parametrize(
    ("script", "told"),
    [("exit 3", "exit code 3"), ("exit 0", "No such file"), (WRITES.format("echo no >"), "is not a PDF file")],
)
def test_a_browser_that_fails_is_named(
    audit: Audit, run: Path, tmp_path: Path, browser: Callable[[str], Path], script: str, told: str
) -> None:
    program = browser(script)
    code, out, err = audit("report", run, "--pdf", tmp_path / "r.pdf")
    assert (code, out) == (4, "")
    assert str(program) in err.replace("\n", "")
    assert told in " ".join(err.split())
    assert not (tmp_path / "r.pdf").exists()


def test_without_a_browser_it_is_said_what_to_do(
    audit: Audit, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUDIT_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = audit("report", run, "--pdf", tmp_path / "r.pdf")
    assert code == 4
    assert "Install Chromium, Chrome or Edge" in " ".join(err.split())
    monkeypatch.setenv("AUDIT_CHROMIUM", "nowhere")
    code, _, err = audit("report", run, "--pdf", tmp_path / "r.pdf")
    assert code == 4
    assert "AUDIT_CHROMIUM names 'nowhere'" in " ".join(err.split())


def test_where_a_pdf_may_not_be_written(audit: Audit, run: Path) -> None:
    code, _, err = audit("report", run, "--pdf", run / "report.pdf")
    assert code == 2
    assert "would change the run" in " ".join(err.split())
    code, _, err = audit("report", run, run, "--compare", "--pdf", "x.pdf")
    assert code == 2
    assert "--pdf applies to one run" in " ".join(err.split())
