"""A gate's limit and result in words, the same in every file that a CI reads."""

from __future__ import annotations

from audit.results import GateResult, Verdict

ORDER = ("incomplete", "fail", "not comparable", "inconclusive", "not judged", "pass")
"""Statuses of gates, what matters most first."""


def worst_first(verdict: Verdict) -> list[GateResult]:
    """Return the gates in the order of what they mean for the run."""
    return sorted(verdict.gates, key=lambda g: (ORDER.index(g.status), g.id))


def limit_words(gate: GateResult) -> str:
    """Say what a gate asks for."""
    side = "at most" if gate.operator == "<=" else "at least"
    what = f"change of {gate.metric} from the baseline" if gate.against == "baseline" else gate.metric
    return f"{what} must be {side} {gate.expected:g}"


def figures(gate: GateResult) -> str:
    """Return the estimate with its interval, or why there is none."""
    if gate.actual is None:
        return "no estimate"
    limits = "" if gate.low is None or gate.high is None else f" [{gate.low:.3f}, {gate.high:.3f}]"
    # Without an interval it may be a control, of which 0.00001 is no 0.000.
    return f"{gate.actual:.3f}{limits}" if limits else f"{gate.actual:.3g}"


def result_words(gate: GateResult) -> str:
    """Say what was found, in one line: outcome, figures, and where."""
    return f"{gate.outcome}: {gate.metric} {figures(gate)} ({gate.where})"
