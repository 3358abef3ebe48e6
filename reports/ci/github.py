"""GitHub: annotations at the lines of rules that have one, and the step summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.gates.rule_lines import RuleLine
from audit.gates.scope import scope_sentence
from audit.reports.ci.gate_table import gate_table
from audit.reports.findings.gate_results import worst_first
from audit.reports.findings.markdown_words import fenced, inert
from audit.store.verdict import GateResult, Verdict

MAX_ANNOTATIONS = 10
"""GitHub shows ten of each kind in a step and drops the rest without a word."""


def annotate(verdict: Verdict, places: Mapping[str, RuleLine]) -> list[str]:
    """Return workflow commands for the gates that did not pass, failures first; the last one says what was left out.

    Parameters
    ----------
    verdict : Verdict
        The judged gates. Of an incomplete run the verdict's sentence comes first; rules that wait for a baseline share one notice.
    places : mapping
        Rule id -> its line; a gate without one is annotated at no file.
    """
    found: list[str] = []
    if verdict.status == "incomplete":
        found.append(f"::error title={_property('audit: incomplete')}::{_data(verdict.summary)}")
    gates = [g for g in worst_first(verdict) if g.status != "not judged"]
    for kind in ("error", "warning", "notice"):
        told = [g for g in gates if _kind(g) == kind]
        if not told:
            continue
        most = MAX_ANNOTATIONS - (kind == "error" and bool(found))
        shown = told if len(told) <= most else told[: most - 1]
        found += [_command(kind, gate, places.get(gate.rule or gate.id)) for gate in shown]
        if len(shown) < len(told):
            rest = f"{len(told) - len(shown)} further gates did not pass; the step's summary lists all of them."
            found.append(f"::{kind} title=audit::{_data(rest)}")
    waiting = next((g for g in verdict.gates if g.status == "not judged"), None)
    if waiting is not None:
        found.append(f"::notice title={_property('audit: no baseline yet')}::{_data(waiting.reason)}")
    return found


def step_summary(verdict: Verdict, model: str, report: str, forest: Sequence[str] = ()) -> str:
    """Return the judgement as Markdown: the verdict, the effects as a figure of text, and a table of the gates.

    The summary shows neither SVG nor pictures as data, so the figure is made of characters.

    Parameters
    ----------
    verdict : Verdict
        The judged gates.
    model : str
        Name of the network.
    report : str
        Path of the run's report.
    forest : sequence of str
        Lines of the figure (`audit.reports.ci.text_forest`); none where no effect was judged.
    """
    title = f"## audit of {inert(model)}: {verdict.status.upper()}"
    said = [title, "", inert(verdict.summary), "", inert(scope_sentence(verdict)), ""]
    drawn = [*fenced(forest), *([""] if forest else [])]
    return (
        "\n".join([*said, *drawn, *gate_table(worst_first(verdict), with_places=True), "", f"Report: {inert(report)}"])
        + "\n"
    )


def _kind(gate: GateResult) -> str:
    told_beside = "warning" if gate.level == "warn" else "notice"
    return {"none": "", "note": told_beside, "warning": "warning", "error": "error"}[gate.weight]


def _command(kind: str, gate: GateResult, place: RuleLine | None) -> str:
    title = f"title={_property(f'audit: {gate.id} {gate.status}')}"
    where = title if place is None else f"file={_property(place.file)},line={place.line},{title}"
    return f"::{kind} {where}::{_data(gate.reason)}"


def _data(text: str) -> str:
    """Escape a message: a line break would end the command and begin another."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
