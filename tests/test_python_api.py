"""The front door: what it names, what it imports, and one audit from Python as the README writes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import audit
from audit.errors import StoreError, UnknownNameError, UsageError

from .golden.make_report import RUN


def test_the_door_is_explicit_and_light() -> None:
    assert sorted(audit.__all__) == sorted(set(audit.__all__))
    assert all(getattr(audit, name) is not None for name in audit.__all__)
    assert set(audit.__all__) <= set(dir(audit))
    with pytest.raises(AttributeError, match="has no attribute 'runaudit'"):
        audit.runaudit  # noqa: B018
    program = "import sys, audit; audit.Settings; print({'torch', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_audit_from_python(
    write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    manifest, told = write_cohort(4), []
    result = audit.run_audit(
        model=write_bundle(),
        data=manifest,
        progress=lambda name, steps: told.append(name) or (lambda: None),
        detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
        suite="quick",
        runs=str(tmp_path / "runs"),
        cache=str(tmp_path / "cache"),
        resamples=200,
        relevance_images=0,
    )
    assert result.report.is_file()
    assert "predicting" in told
    assert result.verdict.gates
    accuracy = result.effects.query("condition == 'clean' and measure == 'accuracy' and group == 'all'")
    assert accuracy["n_images"].tolist() == [12]
    again = audit.read_run(result.path)
    assert again.verdict == result.verdict
    assert audit.judge(result.path).status == result.verdict.status
    assert audit.judge(result.path, {"rule": [
        {"id": "enough", "measure": "accuracy", "min": 0.0, "where": {"condition": "clean"}},
    ]}).status == "pass"  # fmt: skip


def test_a_run_shows_itself_and_escapes_what_is_foreign() -> None:
    shown = audit.read_run(RUN)._repr_html_()
    assert "<table>" in shown
    assert "Not tested: " in shown
    assert "<COVID>" not in shown


def test_wrong_use_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resamples'"):
        audit.run_audit(model="C", resample=5)
    with pytest.raises(UsageError, match="seed"):
        audit.run_audit(model="C", seed=-1)
    with pytest.raises(StoreError):
        audit.read_run(tmp_path)
