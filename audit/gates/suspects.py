"""The test result of each object that the search proposed: shown, dismissed, or undecided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from audit.data.plan import PlannedCondition
from audit.statistics.selections import headline_of
from audit.store.group import ALL
from audit.store.results import Effect

Outcome = Literal["shown", "dismissed", "undecided", "not tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectOutcome:
    """One suspect after its test."""

    number: int
    """From 1."""
    outcome: Outcome
    """shown: an effect is sensitive; dismissed: the upper bound of every effect lies within the limit, on the images that could be
    edited; undecided: neither; not tested: no effect has an estimate."""
    effects: tuple[Effect, ...]
    """Its placebo-controlled headline effects over all images that could be edited."""


def suspect_outcomes(conditions: Sequence[PlannedCondition], effects: Sequence[Effect]) -> tuple[SuspectOutcome, ...]:
    """Return the test result of every suspect that the plan names, by number.

    Parameters
    ----------
    conditions : sequence of PlannedCondition
        Of the plan's suite.
    effects : sequence of Effect
        Of the run.
    """
    by_number: dict[int, list[str]] = {}
    for c in conditions:
        if c.perturbation == "object" and c.judged:
            by_number.setdefault(int(c.parameters["suspect"]), []).append(c.name)
    measure = headline_of("edit").name
    found = []
    for number, names in sorted(by_number.items()):
        own = tuple(
            e
            for e in effects
            if e.condition in names and e.measure == measure and e.group == ALL and e.placebo is not None
        )
        found.append(SuspectOutcome(number=number, outcome=_outcome(own), effects=own))
    return tuple(found)


def _outcome(effects: Sequence[Effect]) -> Outcome:
    estimated = [e for e in effects if e.estimate is not None and e.tolerance is not None and e.verdict != "void"]
    if not estimated:
        return "not tested"
    if any(e.verdict == "sensitive" for e in estimated):
        return "shown"
    within = all(e.high is not None and e.high <= (e.tolerance or 0.0) and not e.blind for e in estimated)
    return "dismissed" if within else "undecided"
