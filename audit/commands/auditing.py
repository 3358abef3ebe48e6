"""`audit run`, `audit report`, `audit gate`: the commands for a run folder."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from audit.commands.keys import announce_key
from audit.commands.progress import ProgressLines
from audit.commands.tables import TableTeller
from audit.data.plan import Plan
from audit.errors import AuditError, StoreError
from audit.gates.document import VerdictDocument
from audit.gates.scope import scope_sentence
from audit.provenance import tool_version
from audit.run.settings import Settings
from audit.run.shares import OtherSharesMissingError
from audit.store.folder import RunFolder
from audit.store.output import check_outputs, write_output
from audit.store.results import EffectsDocument
from audit.store.run_record import RunRecord
from audit.store.serialise import printed_json
from audit.store.verdict import Verdict

if TYPE_CHECKING:  # comparing takes half a second to import
    from audit.commands.comments import CommentOutput


def run(
    settings: Settings, *, gate: bool, as_json: bool, command: Sequence[str], comment: CommentOutput | None = None
) -> int:
    """Audit, write the report, print the summary; return the exit code."""
    from audit.commands.models import image_lines, model_lines
    from audit.run.pipeline import run_audit

    check_outputs(None if comment is None else comment.file)
    announce_key(settings)
    with ProgressLines(quiet=as_json) as on_stage:
        table = TableTeller(on_stage)
        try:
            path, verdict = run_audit(
                settings,
                judge_gates=gate,
                command=command,
                on_stage=on_stage,
                on_table=table,
                on_model=lambda bundle: on_stage.say(model_lines(bundle)),
                on_cohort=lambda cohort, bundle: on_stage.say(image_lines(cohort, bundle)),
                on_fact=lambda sentence: on_stage.say([sentence]),
            )
        except OtherSharesMissingError as waiting:
            return _tell_share(waiting, as_json=as_json)
        written = on_stage("writing the report", 1)
        try:
            report = render(path)
        except AuditError as error:
            raise StoreError(
                f"The audit is complete, with the verdict {verdict.status}, but its report could not be written: {error} Afterwards, "
                f"`{shlex.join(['audit', 'report', path.as_posix()])}` writes it."
            ) from error
        written()
    if comment is not None:
        from audit.commands.comments import write_comment

        write_comment(path, verdict, _named_baseline(settings.gate), comment)
    return show(path, verdict, report, as_json=as_json, table=table.document)


def _tell_share(waiting: OtherSharesMissingError, *, as_json: bool) -> int:
    """Say that a share is done and the run waits for others; this is what such a job is for, so it ends with exit code 0."""
    if as_json:
        done, of = waiting.n_parts
        document = {
            "run": waiting.run.as_posix(),
            "share": {"number": waiting.share.number, "of": waiting.share.of, "missing": waiting.missing},
            "parts": {"done": done, "of": of},
        }
        sys.stdout.write(printed_json(document))
    else:
        sys.stdout.write(f"{waiting}\n")
    return waiting.exit_code


def render(path: Path) -> Path:
    """Write every rendering of a finished run; return the HTML report's path."""
    from audit.reports.ci.junit import render_junit
    from audit.reports.ci.markdown import render_markdown
    from audit.reports.page.html import render_html
    from audit.reports.reading.folder import understood

    with understood(path):
        render_markdown(path)
        render_junit(path)
        return render_html(path, complain=lambda problem: sys.stderr.write(f"audit: {problem}\n"))


def show(path: Path, verdict: Verdict, report: Path, *, as_json: bool, table: Any = None) -> int:
    """Print a finished run for people or machines, with what was read of the manifest; return the exit code."""
    from audit.gates.judging import exit_code
    from audit.reports.reading.folder import read_run
    from audit.reports.terminal import render_terminal

    code = exit_code(verdict.status)
    if as_json:
        _print_json(path, verdict, report, code, table=table)
    else:
        render_terminal(read_run(path), Console())
        if waiting := next((g for g in verdict.gates if g.status == "not judged"), None):
            sys.stdout.write(f"{waiting.reason}\n")
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
    comment: CommentOutput | None = None
    """Comment for a pull request."""


def gate(
    path: Path, table: Mapping[str, Any] | None, outputs: GateOutputs, *, baseline: Path | None, as_json: bool
) -> int:
    """Judge a finished run by the gates of `audit.toml`, or by those that it was last judged by."""
    from audit.gates.judging import exit_code
    from audit.run.judgement import rejudge

    comment = None if outputs.comment is None else outputs.comment.file
    check_outputs(outputs.junit, outputs.sarif, outputs.code_quality, comment)
    verdict = rejudge(path, table, baseline)
    _write_outputs(path, verdict, outputs)
    if outputs.comment is not None:
        from audit.commands.comments import write_comment

        last = RunFolder(path).read(VerdictDocument).policy.baseline
        write_comment(
            path, verdict, baseline or _named_baseline(table) or _named_baseline({"baseline": last}), outputs.comment
        )
    if as_json:
        _print_json(path, verdict, path / "report.html", exit_code(verdict.status))
    else:
        # On one line each: what follows a line break could be read as a command of the CI.
        told = [f"{result.status:<15}{result.id}: {' '.join(result.reason.split())}\n" for result in verdict.gates]
        summary = f"{verdict.status.upper()}. {' '.join(verdict.summary.split())}\n"
        if verdict.status != "incomplete":
            told.append(f"{scope_sentence(verdict)}\n")
        sys.stdout.writelines([summary, *told] if verdict.status == "incomplete" else [*told, summary])
    return exit_code(verdict.status)


def _named_baseline(table: Mapping[str, Any] | None) -> Path | None:
    """Return the baseline that a `[gate]` table names; None where it names none."""
    named = (table or {}).get("baseline")
    return Path(str(named)) if named else None


def _write_outputs(path: Path, verdict: Verdict, outputs: GateOutputs) -> None:
    from audit.gates.rule_lines import RuleLine, find_rule_lines, path_in_repository
    from audit.reports.ci.code_quality import code_quality_document
    from audit.reports.ci.github import annotate, step_summary
    from audit.reports.ci.junit import describe_run, junit_document
    from audit.reports.ci.sarif import sarif_document
    from audit.reports.ci.text_forest import text_forest
    from audit.reports.reading.folder import read_figures

    run = describe_run(path, RunFolder(path).read(Plan), RunFolder(path).read(RunRecord))
    if outputs.junit is not None:
        write_output(outputs.junit, junit_document(verdict, run))
    if outputs.sarif is None and outputs.code_quality is None and not outputs.github:
        return
    places = find_rule_lines([g.rule or g.id for g in verdict.gates], Path())
    if outputs.sarif is not None:
        if not places and any(g.status != "pass" for g in verdict.gates):
            sys.stderr.write(
                f"{outputs.sarif}: there is no audit.toml or pyproject.toml in this folder, so the results have no file and line, "
                "which GitHub's code scanning requires. An audit.toml with one comment is enough.\n"
            )
        write_output(outputs.sarif, sarif_document(verdict, places, tool_version()))
    if outputs.code_quality is not None:
        shown = path_in_repository(path / "verdict.json", Path())
        write_output(outputs.code_quality, code_quality_document(verdict, places, RuleLine(file=shown or ".", line=1)))
    if outputs.github:
        sys.stdout.writelines(f"{line}\n" for line in annotate(verdict, places))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            forest = [] if verdict.status == "incomplete" else text_forest(read_figures(path))
            try:
                with Path(summary).open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(step_summary(verdict, run.model, run.report, forest))
            except OSError as error:
                raise StoreError(
                    f"Cannot write the step summary {summary}: {error.strerror or error}. Set GITHUB_STEP_SUMMARY to a file that "
                    "can be written, or leave --github out."
                ) from error


def report(path: Path, *, signoff: Sequence[Path] = (), pdf: Path | None = None) -> int:
    """Write the renderings of a finished run again, with further reviews where some are given, and print them where a PDF is asked for."""
    check_outputs(pdf)
    for file in signoff:
        from audit.reports.findings.review import read_signoff

        read_signoff(path, file)
    written = render(path)
    if pdf is not None:
        from audit.reports.page.pdf import print_pdf

        write_output(pdf, print_pdf(written))
        written = pdf
    sys.stdout.write(f"{written}\n")
    return 0


def compare(paths: Sequence[Path], out: Path) -> int:
    """Write one page that holds several finished runs side by side."""
    from audit.reports.comparison.runs import render_comparison

    sys.stdout.write(f"{render_comparison(paths, out)}\n")
    return 0


def _print_json(path: Path, verdict: Verdict, report_path: Path, code: int, *, table: Any = None) -> None:
    judged = [e for e in RunFolder(path).read(EffectsDocument).effects if e.verdict != "descriptive"]
    document = {
        "run": path,
        "report": report_path,
        "exit_code": code,
        "status": verdict.status,
        "summary": verdict.summary,
        "gates": verdict.gates,
        "tested": verdict.tested,
        "searched": verdict.searched,
        "not_tested": verdict.not_tested,
        "caveats": verdict.caveats,
        "effects": judged,
        **({} if table is None else {"table": table}),
    }
    sys.stdout.write(printed_json(document))
