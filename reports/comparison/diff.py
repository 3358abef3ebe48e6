"""diff.html: a run and an earlier one of the same images, compared image by image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.reports.figures.dots import Dots, dots
from audit.reports.findings.changes import Change, changes_sentence, figure_of, reasons
from audit.reports.findings.gate_results import figures, worst_first
from audit.reports.page.templates import whole_page
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import MEASURES
from audit.store.group import ALL
from audit.store.numbers import signed_bracketed
from audit.store.output import write_output


def render_diff(run: RunView, before: RunView | None, baseline: str, changes: Sequence[Change], out: Path) -> Path:
    """Write one page with every change, a figure for each measure, and what was compared.

    Parameters
    ----------
    run : RunView
        The run at hand.
    before : RunView or None
        The earlier run; None where it is a baseline file.
    baseline : str
        Name of the earlier run or file.
    changes : sequence of Change
        Every compared figure.
    out : Path
        The page.
    """
    page = whole_page(
        "comparison/diff.html.j2",
        run=run,
        before=before,
        baseline=baseline,
        said=changes_sentence(changes),
        reasons=reasons(changes),
        measures=[(MEASURES[name].title, figure) for name, figure in _figures(changes)],
        changes=[(c, figure_of(c.before), figure_of(c.now)) for c in changes],
        gates=_gates(run, before),
    )
    write_output(out, page)
    return out


def _figures(changes: Sequence[Change]) -> list[tuple[str, Dots]]:
    """Draw the changes over all images, a figure a measure."""
    found: dict[str, list[Change]] = {}
    for c in changes:
        if c.group == ALL and c.effect is not None and c.effect.estimate is not None:
            found.setdefault(c.measure, []).append(c)
    return [(measure, _forest(measure, mine)) for measure, mine in found.items()]


def _forest(measure: str, changes: Sequence[Change]) -> Dots:
    rows = []
    for c in changes:
        e = c.effect
        assert e is not None
        assert e.estimate is not None
        kind = "sensitive" if c.outcome == "worse" else "plain"
        rows.append((c.title, signed_bracketed(e.estimate, e.low, e.high), e.estimate, e.low, e.high, kind))
    title = f"Change in {MEASURES[measure].title}, run minus baseline, with its interval"
    return dots(title, f"change in {MEASURES[measure].title}", rows, [0.0], [(0.0, "zero", "no change")], None)


def _gates(run: RunView, before: RunView | None) -> list[tuple[str, str, str, str, str]]:
    """Return the rules of the run with the outcome and figures of both runs; none where neither was judged."""
    earlier = {g.id: g for g in before.verdict.gates} if before is not None else {}
    rows: list[tuple[str, str, str, str, str]] = []
    for gate in worst_first(run.verdict):
        was = earlier.get(gate.id)
        rows.append((gate.name, was.status if was else "–", gate.status, figures(was) if was else "–", figures(gate)))
    return rows
