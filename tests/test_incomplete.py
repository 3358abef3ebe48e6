"""A control that changes something ends the audit as incomplete, in every rendering, and no other verdict counts."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from audit.baseline.acceptance import accept_run
from audit.baseline.comparison import Baseline
from audit.commands.auditing import GateOutputs, gate, show
from audit.commands.diff import diff
from audit.errors import UsageError
from audit.prediction.table import read_finished
from audit.reports.ci.github import step_summary
from audit.reports.ci.junit import render_junit
from audit.reports.ci.markdown import render_markdown
from audit.reports.ci.sarif import sarif_document
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run
from audit.reports.terminal import render_terminal
from audit.run.judgement import rejudge
from audit.run.pipeline import run_audit
from audit.run.settings import Settings

SUITE = """
name = "broken"
[[condition]]
name = "text-mask-inpaint"
perturbation = "text-mask"
role = "edit"
placebo = "elsewhere"
parameters = { fill = "inpaint" }
[[condition]]
name = "elsewhere"
perturbation = "placebo-mask"
role = "placebo"
parameters = { fill = "inpaint" }
[[condition]]
name = "must-do-nothing"
perturbation = "text-mask"
role = "control"
parameters = { fill = "black" }
"""
FIRST = "The audit could not be completed: the control “Text covered in black”, which must change nothing, changed a class probability by"


@pytest.fixture
def run(write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    manifest = write_cohort(4)
    (tmp_path / "broken.toml").write_text(SUITE)
    settings = Settings(
        model=str(write_bundle()),
        data=str(manifest),
        detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
        suite=str(tmp_path / "broken.toml"),
        runs=str(tmp_path / "runs"),
        cache=str(tmp_path / "cache"),
        resamples=200,
        relevance_images=2,
    )
    return run_audit(settings, judge_gates=True, command=["audit", "run"], on_stage=lambda *_: lambda: None)[0]


def test_every_rendering_begins_with_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((run / "verdict.json").read_text())
    assert document["status"] == "incomplete"
    assert document["summary"].startswith(FIRST)
    assert [g["id"] for g in document["gates"]] == ["control-must-do-nothing"]
    assert document["tested"] == []
    effects = json.loads((run / "effects.json").read_text())["effects"]
    assert {e["verdict"] for e in effects} == {"void", "descriptive"}

    view, out = read_run(run), io.StringIO()
    render_terminal(view, Console(file=out, width=400))
    assert out.getvalue().startswith(FIRST)
    page = render_html(run).read_text()
    assert f'<p class="lead">{FIRST}' in page
    markdown = render_markdown(run).read_text()
    assert markdown.splitlines()[2].startswith(FIRST)
    verdict = rejudge(run, None)
    for sign in ("● robust", "◆ sensitive", "○ inconclusive", "● bounded"):
        assert sign not in page, "no verdict stands beside an effect"
    assert "✕ void" in page
    for text in (markdown, out.getvalue(), step_summary(verdict, "A", "report.html")):
        assert not re.search(r"\brobust\b", text), "no verdict is said"
        assert "PASS" not in text
    junit = render_junit(run).read_text()
    assert 'tests="1"' in junit
    assert "changed a class probability" in junit

    assert show(run, verdict, run / "report.html", as_json=True) == 4
    printed = json.loads(capsys.readouterr().out)
    assert (printed["status"], printed["exit_code"]) == ("incomplete", 4)
    assert gate(run, None, GateOutputs(), baseline=None, as_json=False) == 4
    assert capsys.readouterr().out.count("pass") == 0


def test_sarif_holds_the_control_alone(run: Path) -> None:
    from audit.gates.rule_lines import find_rule_lines

    verdict = rejudge(run, None)
    log = json.loads(sarif_document(verdict, find_rule_lines([g.rule for g in verdict.gates], Path()), "0"))
    results = log["runs"][0]["results"]
    assert [(r["level"], "control-must-do-nothing" in r["message"]["text"]) for r in results] == [("error", True)]


def test_no_baseline_and_no_comparison_rests_on_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for allow_worse, reason in ((False, ""), (True, "whatever")):
        with pytest.raises(UsageError, match="is incomplete: its control “Text covered in black”"):
            accept_run(run, tmp_path / "audit-baseline.json", (), allow_worse=allow_worse, reason=reason)
    assert not (tmp_path / "audit-baseline.json").exists()
    change = Baseline(read_finished(run), run).change("text-mask-inpaint", "shortcut_sensitivity")
    assert isinstance(change, str)
    assert "control “Text covered in black”" in change
    again = shutil.copytree(run, tmp_path / "again")
    assert diff(run, again, as_json=False, as_markdown=False, html=None, comment=None) == 5
    assert "not comparable" in capsys.readouterr().out
