"""`audit run`, `audit report`, `audit gate`, `audit verify`: everything on a run folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from audit.commands.keys import announce_key
from audit.commands.progress import Stages
from audit.config import Settings
from audit.errors import UsageError
from audit.files import write_atomically
from audit.provenance import tool_version
from audit.results import Effect, Verdict, effect_from_json, plain
from audit.store import RENDERED, RunFolder, check_run
from audit.words import shown_string


def run(settings: Settings, *, gate: bool, as_json: bool, command: Sequence[str]) -> int:
    """Audit, write the report, print the summary; return the exit code."""
    from audit.run import run_audit

    announce_key(settings)
    with Stages(quiet=as_json) as on_stage:
        path, verdict = run_audit(settings, judge_gates=gate, command=command, on_stage=on_stage)
        written = on_stage("writing the report", 1)
        report = render(path)
        written()
    return show(path, verdict, report, as_json=as_json)


def render(path: Path) -> Path:
    """Write every rendering of a finished run; return the HTML report's path."""
    from reports.html import render_html
    from reports.junit import render_junit
    from reports.markdown import render_markdown
    from reports.runfolder import understood

    with understood(path):
        render_markdown(path)
        render_junit(path)
        return render_html(path)


def show(path: Path, verdict: Verdict, report: Path, *, as_json: bool) -> int:
    """Print a finished run for people or machines; return the exit code."""
    from audit.gates import exit_code
    from reports.runfolder import read_run
    from reports.terminal import render_terminal

    code = exit_code(verdict.status)
    if as_json:
        _print_json(path, verdict, report, code)
    else:
        render_terminal(read_run(path), Console())
        sys.stdout.write(f"{report}\n")
    return code


@dataclass(frozen=True, kw_only=True, slots=True)
class GateOutputs:
    """Where a judgement is written besides standard output; None for nowhere."""

    junit: Path | None = None
    """JUnit XML."""
    sarif: Path | None = None
    """SARIF 2.1.0."""
    code_quality: Path | None = None
    """GitLab's code quality report."""
    github: bool = False
    """Annotations on standard output, and the step summary where GitHub names a file for it."""


def gate(
    path: Path, table: Mapping[str, Any] | None, outputs: GateOutputs, *, baseline: Path | None, as_json: bool
) -> int:
    """Judge a finished run by the gates of `audit.toml`, or by those that it was planned with."""
    from audit.gates import exit_code
    from audit.rejudge import rejudge

    for name in (outputs.junit, outputs.sarif, outputs.code_quality):
        if name is not None and name.name not in RENDERED and name.resolve().is_relative_to(path.resolve()):
            raise UsageError(
                f"{name} lies in the run folder, which would no longer be as it was left. In there only {', '.join(sorted(RENDERED))} "
                "may be written; choose such a name, or another folder."
            )
    verdict = rejudge(path, table, baseline)
    _write_outputs(verdict, outputs, RunFolder(path).read_json("plan.json")["model"]["name"])
    if as_json:
        _print_json(path, verdict, path / "report.html", exit_code(verdict.status))
    else:
        for result in verdict.gates:
            # On one line each: what follows a line break could be read as a command of the CI.
            sys.stdout.write(f"{result.status:<13}{result.id}: {' '.join(result.reason.split())}\n")
        sys.stdout.write(f"{verdict.status}: {' '.join(verdict.summary.split())}\n")
    return exit_code(verdict.status)


def _write_outputs(verdict: Verdict, outputs: GateOutputs, model: str) -> None:
    from audit.rule_lines import find_rule_lines
    from reports.code_quality import code_quality_document
    from reports.github import annotate, step_summary
    from reports.junit import junit_document
    from reports.sarif import sarif_document

    if outputs.junit is not None:
        write_atomically(outputs.junit, junit_document(verdict, model))
    if outputs.sarif is None and outputs.code_quality is None and not outputs.github:
        return
    places = find_rule_lines([g.rule for g in verdict.gates], Path())
    if outputs.sarif is not None:
        write_atomically(outputs.sarif, sarif_document(verdict, places, tool_version()))
    if outputs.code_quality is not None:
        write_atomically(outputs.code_quality, code_quality_document(verdict, places))
    if outputs.github:
        sys.stdout.writelines(f"{line}\n" for line in annotate(verdict, places))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(step_summary(verdict, model))


def diff(path: Path, other: Path, *, as_json: bool, as_markdown: bool) -> int:
    """Print how much larger every judged effect is in one run than in another of the same images."""
    from audit.baseline import Baseline
    from audit.predictions import read_finished
    from audit.statistics.comparison import COMPARED
    from reports.markdown import SPECIAL

    baseline = Baseline(read_finished(path), other)
    judged = [e for e in _effects(RunFolder(path)) if e.tolerance is not None and e.measure in COMPARED]
    asked = [("clean", "accuracy", "all"), *((e.condition, e.measure, e.group) for e in judged)]
    found = [(*place, baseline.change(*place)) for place in asked]
    if as_json:
        rows = [
            {
                "condition": c,
                "measure": m,
                "group": g,
                "change": None if isinstance(e, str) else e,
                "why_not": e if isinstance(e, str) else "",
            }
            for c, m, g, e in found
        ]
        document = {"run": path, "baseline": other, "changes": rows}
        sys.stdout.write(json.dumps(plain(document), indent=2, sort_keys=True, allow_nan=False) + "\n")
        return 0
    lines = [(_place(c, g), m, e if isinstance(e, str) else _change_in_words(e)) for c, m, g, e in found]
    if as_markdown:
        sys.stdout.write("| condition | measure | run minus baseline |\n|---|---|---|\n")
        # A string of a film may hold what Markdown reads as markup, or as the end of a cell.
        sys.stdout.writelines(f"| {c.translate(SPECIAL)} | {m} | {words} |\n" for c, m, words in lines)
    else:
        sys.stdout.writelines(f"{c:<24}{m:<22}{words}\n" for c, m, words in lines)
    return 0


def _place(condition: str, group: str) -> str:
    return condition if group == "all" else f"{condition} ({shown_string(group)})"


def _change_in_words(effect: Effect) -> str:
    if effect.estimate is None or effect.low is None or effect.high is None:
        return effect.method
    return f"{effect.estimate:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}], {effect.n_images} images"


def verify(path: Path) -> int:
    """Check that a finished run is as it was left."""
    check_run(path)
    sys.stdout.write(f"{path}: every file is as it was left\n")
    return 0


def report(path: Path, *, signoff: Path | None = None) -> int:
    """Write the renderings of a finished run again, with a review if one is given."""
    if signoff is not None:
        from reports.signoff import read_signoff

        read_signoff(path, signoff)
    sys.stdout.write(f"{render(path)}\n")
    return 0


def compare(paths: Sequence[Path], out: Path) -> int:
    """Write one page that holds several finished runs side by side."""
    from reports.compare import render_comparison

    sys.stdout.write(f"{render_comparison(paths, out)}\n")
    return 0


def _effects(run_folder: RunFolder) -> list[Effect]:
    return [effect_from_json(row) for row in run_folder.read_json("effects.json")["effects"]]


def _print_json(path: Path, verdict: Verdict, report_path: Path, code: int) -> None:
    judged = [e for e in _effects(RunFolder(path)) if e.verdict != "descriptive"]
    document = {
        "run": path,
        "report": report_path,
        "exit_code": code,
        "status": verdict.status,
        "summary": verdict.summary,
        "gates": verdict.gates,
        "tested": verdict.tested,
        "not_tested": verdict.not_tested,
        "caveats": verdict.caveats,
        "effects": judged,
    }
    sys.stdout.write(json.dumps(plain(document), indent=2, sort_keys=True, allow_nan=False) + "\n")
