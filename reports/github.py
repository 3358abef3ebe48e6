"""GitHub: annotations at the lines of rules, and the step summary."""

from __future__ import annotations

from collections.abc import Mapping

from audit.numbers import bracketed, signed_bracketed
from audit.results import GateResult, Verdict
from audit.rule_lines import RuleLine

MAX_ANNOTATIONS = 10
"""GitHub shows ten of each kind in a step and drops the rest without a word."""
_ORDER = {"fail": 0, "inconclusive": 1}


def annotate(verdict: Verdict, places: Mapping[str, RuleLine]) -> list[str]:
    """Return workflow commands for the gates that did not pass, failures first; the last one says what was left out.

    Parameters
    ----------
    verdict : Verdict
        The judged gates.
    places : mapping
        Rule id -> its line.
    """
    found: list[str] = []
    for kind in ("error", "warning", "notice"):
        told = sorted((g for g in verdict.gates if _kind(g) == kind), key=lambda g: (_ORDER[g.status], g.id))
        if not told:
            continue
        shown = told if len(told) <= MAX_ANNOTATIONS else told[: MAX_ANNOTATIONS - 1]
        found += [_command(kind, gate, places[gate.rule or gate.id]) for gate in shown]
        if len(shown) < len(told):
            rest = f"{len(told) - len(shown)} further gates did not pass; the step's summary lists them all."
            found.append(f"::{kind} title=audit::{_data(rest)}")
    return found


def step_summary(verdict: Verdict, model: str) -> str:
    """Return the judgement as Markdown: the verdict, and a table of the gates.

    Parameters
    ----------
    verdict : Verdict
        The judged gates.
    model : str
        Name of the network.
    """
    rows = [
        f"| {_cell(g.id)} | {_cell(g.where)} | {_cell(g.requirement)} | {_figures(g)} | {g.n_images} | {g.outcome} |"
        for g in sorted(verdict.gates, key=lambda g: (_ORDER.get(g.status, 2), g.id))
    ]
    head = ["| gate | where | rule | estimate | images | outcome |", "|---|---|---|---|---|---|"] if rows else []
    title = f"## audit of {_cell(model)}: {verdict.status.upper()}"
    return "\n".join([title, "", _cell(verdict.summary), "", *head, *rows]) + "\n"


def _kind(gate: GateResult) -> str:
    told_beside = "warning" if gate.level == "warn" else "notice"
    return {"none": "", "note": told_beside, "warning": "warning", "error": "error"}[gate.weight]


def _command(kind: str, gate: GateResult, place: RuleLine) -> str:
    where = f"file={_property(place.file)},line={place.line},title={_property(f'audit: {gate.id} {gate.status}')}"
    return f"::{kind} {where}::{_data(gate.reason)}"


def _data(text: str) -> str:
    """Escape a message: a line break would end the command and begin another."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    """Make text harmless in a table: no markup, no link, no new cell."""
    plain = " ".join(text.split())
    for sign in "\\`*_[]|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _figures(gate: GateResult) -> str:
    if gate.actual is None:
        return "none"
    written = signed_bracketed if gate.against == "baseline" else bracketed
    return written(gate.actual, gate.low, gate.high)
