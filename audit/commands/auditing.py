"""`audit run`, `audit report`, `audit gate`, `audit verify`: everything on a run folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from audit.commands.progress import Stages
from audit.config import Settings
from audit.errors import UsageError
from audit.results import Effect, Verdict, effect_from_json, plain
from audit.store import RunFolder, check_run


def run(settings: Settings, *, gate: bool, as_json: bool, command: Sequence[str]) -> int:
    """Audit, write the report, print the summary; return the exit code."""
    from audit.run import run_audit

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


def gate(path: Path, table: Mapping[str, Any] | None, *, baseline: Path | None, as_json: bool) -> int:
    """Judge a finished run by the gates of `audit.toml`, or by those that it was planned with."""
    from audit.baseline import Baseline
    from audit.gate_rules import config_from_plan, rules_from_config, with_rises
    from audit.gates import exit_code, judge
    from audit.predictions import read_finished

    check_run(path)  # what was edited is not judged
    run_folder = RunFolder(path)
    plan = run_folder.read_json("plan.json")
    planned = config_from_plan(plan)
    config = planned if table is None else rules_from_config(table)
    if not config.rules:
        config = replace(config, rules=planned.rules)
    if not config.rules:
        raise UsageError(f"No gate is configured: neither has audit.toml a rule, nor was {path} planned with one.")
    earlier = baseline or (Path(config.baseline) if config.baseline else None)
    if earlier is not None and not any(rule.against == "baseline" for rule in config.rules):
        if table is not None and table.get("rule"):
            raise UsageError(
                f"The baseline {earlier} would not be used: no rule has max_increase or max_decrease. Write one, or leave the "
                "baseline out."
            )
        config = with_rises(config)
    verdict = judge(
        _effects(run_folder), config, None if earlier is None else Baseline(read_finished(path), earlier).change
    )
    if as_json:
        _print_json(path, verdict, path / "report.html", exit_code(verdict.status))
    else:
        for result in verdict.gates:
            sys.stdout.write(f"{result.status:<13}{result.id}: {result.reason}\n")
        sys.stdout.write(f"{verdict.status}: {verdict.summary}\n")
    return exit_code(verdict.status)


def diff(path: Path, other: Path, *, as_json: bool, as_markdown: bool) -> int:
    """Print how much larger every judged effect is in one run than in another of the same images."""
    from audit.baseline import Baseline
    from audit.predictions import read_finished
    from audit.statistics.comparison import COMPARED

    baseline = Baseline(read_finished(path), other)
    wanted = [(e.condition, e.measure) for e in _effects(RunFolder(path)) if e.tolerance is not None]
    asked = [("clean", "accuracy"), *((c, m) for c, m in wanted if m in COMPARED)]
    found = [(condition, measure, baseline.change(condition, measure)) for condition, measure in asked]
    if as_json:
        rows = [
            {
                "condition": c,
                "measure": m,
                "change": None if isinstance(e, str) else e,
                "why_not": e if isinstance(e, str) else "",
            }
            for c, m, e in found
        ]
        document = {"run": path, "baseline": other, "changes": rows}
        sys.stdout.write(json.dumps(plain(document), indent=2, sort_keys=True, allow_nan=False) + "\n")
        return 0
    lines = [(c, m, e if isinstance(e, str) else _change_in_words(e)) for c, m, e in found]
    if as_markdown:
        sys.stdout.write("| condition | measure | run minus baseline |\n|---|---|---|\n")
        sys.stdout.writelines(f"| {c} | {m} | {words} |\n" for c, m, words in lines)
    else:
        sys.stdout.writelines(f"{c:<24}{m:<22}{words}\n" for c, m, words in lines)
    return 0


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
        "effects": judged,
    }
    sys.stdout.write(json.dumps(plain(document), indent=2, sort_keys=True, allow_nan=False) + "\n")
