"""A gate's result in words, the same in every file that a CI reads."""

from __future__ import annotations

from collections import Counter

from audit.store.numbers import bracketed, compact, counted, signed_bracketed
from audit.store.verdict import GateResult, Verdict

ORDER = ("incomplete", "fail", "not comparable", "inconclusive", "not judged", "pass")
"""Statuses of gates, what matters most first."""


def worst_first(verdict: Verdict) -> list[GateResult]:
    """Return the gates in the order of what they mean for the run."""
    return sorted(verdict.gates, key=lambda g: (ORDER.index(g.status), g.id))


def figures(gate: GateResult) -> str:
    """Return the estimate with its interval, or that there is none."""
    if gate.actual is None:
        return "no estimate"
    if gate.low is None or gate.high is None:
        return compact(gate.actual, 3)  # it may be a control, of which 0.00001 is no 0.000
    written = signed_bracketed if gate.against == "baseline" else bracketed
    return written(gate.actual, gate.low, gate.high)


def result_words(gate: GateResult) -> str:
    """State the result in one line: outcome, figures, and where."""
    figure = gate.figure or gate.measure.replace("_", " ")
    if gate.against == "baseline":  # what is bounded is the change, never the figure itself
        figure = f"change in {figure} since the baseline"
    return f"{gate.outcome}: {figure} {figures(gate)} ({gate.where})"


def gate_counts(verdict: Verdict) -> str:
    """Count the rules by outcome: `13 rules: 4 fail, 4 inconclusive, 5 pass`; empty where there is none."""
    if not verdict.gates:
        return ""
    counts = Counter(g.status for g in verdict.gates)
    in_order = sorted(counts.items(), key=lambda item: ORDER.index(item[0]))
    return f"{counted(len(verdict.gates), 'rule')}: {', '.join(f'{n} {status}' for status, n in in_order)}"
