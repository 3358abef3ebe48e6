"""The verdict: the findings in sentences, and the most informative effects."""

from __future__ import annotations

from collections.abc import Mapping

from audit.gates.scope import scope_sentence
from audit.reports.findings.accuracy_worth import further_worth
from audit.reports.findings.headline import headline
from audit.reports.findings.summary import reach, telling_effects
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section

_MOST_EFFECTS = 5


def view(run: RunView) -> Mapping[str, object]:
    """Return the verdict with its sentences."""
    return {
        "verdict": run.verdict,
        "headline": headline(run),
        "effects": telling_effects(run)[:_MOST_EFFECTS],
        "further_worth": further_worth(run),
        "reach": reach(run),
        "scope": scope_sentence(run.verdict),
        "notes": run.plan.data.notes,
    }


SECTION = Section(
    name="verdict",
    title="Verdict",
    template="sections/verdict.html.j2",
    view=view,
    comes_from="verdict.json, effects.json, plan.json",
)
