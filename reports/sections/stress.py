"""Doses, anatomy and corruptions: what is measured, not judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.data.plan import PlannedCondition
from audit.reports.figures import doses
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.statistics.catalogue import ACCURACY, MOVEMENT
from audit.statistics.selections import headlines
from audit.store.numbers import counted
from audit.store.results import Effect


@dataclass(frozen=True, kw_only=True)
class StressRow:
    """One condition that is measured, not judged."""

    name: str
    """The condition's."""
    title: str
    """Its name for people."""
    question: str
    """What it asks."""
    thumbnail: Mapping[str, Any] | None
    """What it does to an image."""
    compared: bool
    """Whether it has a placebo."""
    accuracy: Effect | None
    """Its change of the accuracy."""
    accuracy_beyond: Effect | None
    """The same, compared with the placebo."""
    variation: Effect | None
    """How far it moves the probabilities."""
    variation_beyond: Effect | None
    """The same, compared with the placebo."""
    flips: Effect | None
    """Share of changed predictions."""


def view(run: RunView) -> Mapping[str, object] | None:
    """Return curves, trends and the table; None where the suite has neither stresses nor ladders."""
    measured = run.measured()
    if not measured:
        return None
    return {
        "result": f"{counted(len(measured), 'condition')}, measured and not judged",
        "ladders": {c.dose.ladder: _ladder(run, c) for c in run.plan.suite.conditions if c.dose is not None},
        "curves": doses.dose_curves(run),
        "width": doses.WIDTH_PX,
        "height": doses.HEIGHT_PX,
        "trends": run.trends,
        "rows": [_row(run, condition) for condition in measured],
    }


def _ladder(run: RunView, rung: PlannedCondition) -> str:
    """Return the name of a ladder for people: that of a rung without its dose."""
    return run.title(rung.name).rpartition(", ")[0]


def _row(run: RunView, condition: PlannedCondition) -> StressRow:
    name = condition.name
    beyond = (run.find(name, measure, controlled=True) for measure in (headlines()["edit"], MOVEMENT))
    return StressRow(
        name=name,
        title=run.title(name),
        question=condition.question,
        thumbnail=run.thumbnails.get(name),
        compared=bool(condition.placebo),
        accuracy=run.find(name, ACCURACY),
        accuracy_beyond=run.find(name, ACCURACY, controlled=True),
        variation=run.find(name, MOVEMENT),
        variation_beyond=next((e for e in beyond if e is not None), None),
        flips=run.find(name, "flip_rate"),
    )


SECTION = Section(
    name="stress",
    title="Doses",
    template="sections/stress.html.j2",
    view=view,
    comes_from="effects.json: conditions that are measured, not judged, and the trends of ladders; shown only if the suite has any",
)
