"""The first screen: what was found, how sure that is, on which images, what was not tested, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.gates.calibration import NOT_MEASURED
from audit.gates.scope import SEARCHED
from audit.reports.figures import strips
from audit.reports.findings.accuracy_worth import worth
from audit.reports.findings.effect_words import points, points_interval
from audit.reports.findings.gate_results import gate_counts
from audit.reports.findings.group_effects import place
from audit.reports.findings.key_numbers import key_numbers
from audit.reports.findings.news import news
from audit.reports.findings.next_steps import next_steps
from audit.reports.findings.questions import questions
from audit.reports.findings.statements import Statement, statements
from audit.reports.findings.summary import reach
from audit.reports.findings.terms import STATUSES, TERMS
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section, state_of
from audit.statistics.catalogue import MEASURES
from audit.store.group import ALL
from audit.store.results import Effect


@dataclass(frozen=True, kw_only=True)
class QuestionRow:
    """One question as the table shows it."""

    asks: str
    """The question."""
    condition: str
    """The condition that answers it."""
    title: str
    """Its name for people, and the group where it is not all images."""
    more: str
    """How many more edits test the same; empty if none."""
    size: str
    """The effect in percentage points."""
    interval: str
    """Its interval and limit."""
    answer: str
    """In words."""
    verdict: str
    """Of the effect."""
    strip: strips.Strip | None
    """Its figure."""
    thumbnail: Mapping[str, Any] | None
    """What the edit does to an image."""


def question_rows(run: RunView, said: Sequence[Statement]) -> list[QuestionRow]:
    """Return every question with its answer, what matters most first."""
    asked = questions(run, said)
    effects = [q.effect for q in asked]
    drawn = strips.strips(effects, one_sided=[MEASURES[e.measure].one_sided for e in effects])
    return [
        QuestionRow(
            asks=q.asks,
            condition=q.effect.condition,
            title=run.title(q.effect.condition) + ("" if q.effect.group == ALL else f", {place(q.effect.group)}"),
            more=f"and {q.n_edits - 1} more edit{'s' if q.n_edits > 2 else ''}" if q.n_edits > 1 else "",
            size="–" if q.effect.estimate is None else points(q.effect.estimate),
            interval="" if q.effect.estimate is None else points_interval(q.effect).strip("()"),
            answer=q.answer,
            verdict=q.effect.verdict if q.effect.estimate is not None else "descriptive",
            strip=strip,
            thumbnail=run.thumbnails.get(q.effect.condition),
        )
        for q, strip in zip(asked, drawn, strict=True)
    ]


def best_case(run: RunView, effect: Effect | None) -> Mapping[str, Any] | None:
    """Return the case that shows an effect best: of its condition and class, with all three pictures, the one that moved most."""
    if effect is None:
        return None
    mine = [
        e for e in run.examples if e["condition"] == effect.condition and e["clean"].get("uri") and e["edit"].get("uri")
    ]
    if effect.group.kind == "class":
        mine = [e for e in mine if e["label"] == effect.group.value]
    return max(mine, key=lambda e: (bool(e["placebo"]), e["total_variation"]), default=None)


def view(run: RunView) -> Mapping[str, object]:
    """Return the first screen."""
    said = statements(run)
    complete = run.verdict.status != "incomplete"
    shown = next((s.effect for s in said if s.effect is not None and s.effect.estimate is not None), None)
    return {
        "verdict": run.verdict,
        "means": STATUSES[run.verdict.status],
        "counts": gate_counts(run.verdict),
        "lead": said[0].text,
        "others": [s for s in said[1:] if s.kind != "worth"],
        "numbers": key_numbers(run, shown) if complete else [],
        "case": best_case(run, shown) if complete else None,
        "edit": run.title(shown.condition) if shown else "",
        "placebo": run.title(shown.placebo) if shown and shown.placebo else "",
        "questions": question_rows(run, said) if complete else [],
        "level": run.plan.statistics.level,
        "width": strips.WIDTH_PX,
        "height": strips.HEIGHT_PX,
        "worth": worth(run) if complete else [],
        "reach": reach(run),
        "searched": SEARCHED,
        "news": news(run) if complete else "",
        "calibration": run.verdict.calibration or NOT_MEASURED,
        "steps": next_steps(run, said),
        "terms": TERMS,
        "notes": run.plan.data.notes,
    }


SECTION = Section(
    name="verdict",
    title="Verdict",
    template="sections/verdict.html.j2",
    view=view,
    state=lambda run: state_of([run.verdict.status]),
    comes_from="verdict.json, effects.json, plan.json, conditions.json, examples/, the last earlier run of the same images: the first "
    "screen",
)
