"""The effects: every edit compared with its placebo, as figures and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from audit.data.conditions import Role
from audit.data.plan import PlannedCondition
from audit.reports.figures.dots import WIDTH_PX, Dots, effect_forest
from audit.reports.findings.effect_words import VERDICTS
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section, state_of
from audit.statistics.catalogue import MEASURES
from audit.statistics.measure import Measure
from audit.statistics.selections import figure_in_words, rows_of
from audit.store.numbers import counted
from audit.store.results import Effect


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One measure under one condition."""

    measure: str
    """In words."""
    difference: str
    """What the difference from the placebo is, in words; empty where it is the same measure."""
    alone: Effect | None
    """Under the condition alone; None where the measure is a difference."""
    placebo: Effect | None
    """Under the placebo alone; None where there is none."""
    beyond: Effect | None
    """Compared with the placebo; None where there is none."""
    compared: bool
    """Whether the condition has a placebo."""

    @property
    def told(self) -> Effect | None:
        """Return the effect that the row's images and verdict are of."""
        return self.beyond or self.alone


@dataclass(frozen=True, kw_only=True)
class ConditionRows:
    """One judged condition."""

    name: str
    """The condition's."""
    title: str
    """Its name for people."""
    thumbnail: Mapping[str, Any] | None
    """What it does to an image."""
    placebo: Mapping[str, Any] | None
    """What its placebo does to an image."""
    question: str
    """What it asks."""
    rows: tuple[MeasureRow, ...]
    """What sums it up first."""


def condition_rows(run: RunView) -> list[ConditionRows]:
    """Return every judged condition with its reported measures."""
    return [
        ConditionRows(
            name=c.name,
            title=run.title(c.name),
            thumbnail=run.thumbnails.get(c.name),
            placebo=run.thumbnails.get(c.placebo or ""),
            question=c.question,
            rows=tuple(_row(run, c, *pair) for pair in _rows(run, c.role)),
        )
        for c in run.judged()
    ]


def _explained(run: RunView) -> list[Measure]:
    """Return the measures that the run may have, in the words of its task."""
    if not run.multi_label:
        return [m for m in MEASURES.values() if not m.of_outputs]
    return [replace(m, words=m.of_findings or m.words) for m in MEASURES.values()]


def _rows(run: RunView, role: Role) -> list[tuple[str, str]]:
    """Return what is shown of a condition; the mean over classes has no meaning where any number of findings applies."""
    return [pair for pair in rows_of(role) if not run.multi_label or MEASURES[pair[1]].over == "images"]


def _row(run: RunView, condition: PlannedCondition, measure: str, controlled: str) -> MeasureRow:
    name, placebo = condition.name, condition.placebo
    alone = run.find(name, measure)
    return MeasureRow(
        measure=figure_in_words(measure, name),
        difference=figure_in_words(controlled, name) if placebo and controlled != measure else "",
        alone=alone,
        placebo=run.find(placebo, measure) if placebo and alone else None,
        beyond=run.find(name, controlled, controlled=True),
        compared=bool(placebo),
    )


def view(run: RunView) -> Mapping[str, object]:
    """Return both figures, the table by condition, and every estimate."""
    return {
        "result": _result(run),
        "level": run.plan.statistics.level,
        "forest": _forest(run, "edit"),
        "alone": _forest(run, "sufficiency"),
        "width": WIDTH_PX,
        "conditions": condition_rows(run),
        "measures": _explained(run),
        "verdicts": VERDICTS,
        "effects": run.effects,
        "titles": run.titles,
    }


def _forest(run: RunView, role: Role) -> Dots | None:
    effects = run.headline(role)
    return effect_forest(effects, labels=[run.title(e.condition) for e in effects])


def _result(run: RunView) -> str:
    """Count the judged effects over all images by verdict."""
    counts = Counter(e.verdict if e.estimate is not None else "not measured" for e in run.headline())
    judged = counted(sum(counts.values()), "judged edit")
    return f"{judged}: {', '.join(f'{n} {name}' for name, n in counts.items())}" if counts else "no edit was judged"


SECTION = Section(
    name="effects",
    title="Effects",
    template="sections/effects.html.j2",
    view=view,
    state=lambda run: state_of(e.verdict for e in run.headline()),
    comes_from="effects.json: every estimate; the forest plots and the first table show the judged ones",
)
