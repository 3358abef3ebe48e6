"""Objects that recur across images: what the search proposed, and the test result of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.gates.suspects import Outcome, suspect_outcomes
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section, state_of
from audit.store.results import Effect

IN_WORDS: Mapping[Outcome, str] = {
    "shown": "shown: the network relies on it",
    "dismissed": "dismissed: the effects of removing and adding it are within the limit",
    "undecided": "undecided: the sample is too small to decide",
    "not tested": "not tested: no image could be edited",
}


@dataclass(frozen=True, kw_only=True)
class SuspectCard:
    """One suspect."""

    number: int
    """From 1."""
    outcome: str
    """The test result, in words."""
    is_shown: bool
    """Whether the network was shown to rely on it."""
    prevalence: tuple[tuple[str, int, int], ...]
    """(class, images that show it, images) of those that proposed it."""
    n_patients: int
    """Patients who show it."""
    effects: tuple[Effect, ...]
    """Its effects."""
    pictures: tuple[Mapping[str, Any], ...]
    """Pictures of the clearest sightings, with data URIs."""


def view(run: RunView) -> Mapping[str, object] | None:
    """Return the suspects; None where nothing was searched."""
    objects, found = run.plan.objects, run.suspects
    if not objects.asked:
        return None
    outcomes = {o.number: o for o in suspect_outcomes(run.plan.suite.conditions, run.effects)}
    cards = [
        SuspectCard(
            number=number,
            outcome=IN_WORDS[outcomes[number].outcome],
            is_shown=outcomes[number].outcome == "shown",
            prevalence=tuple((label, *counts) for label, counts in sorted(suspect["prevalence"].items())),
            n_patients=suspect["n_patients"],
            effects=outcomes[number].effects,
            pictures=tuple(s for s in suspect["sightings"] if s["picture"]),
        )
        for number, suspect in enumerate(found, start=1)
        if number in outcomes
    ]
    result = f"no search, because {objects.why_none}" if objects.why_none else "the search found no such object"
    if cards:
        result = "; ".join(f"suspect-{card.number} {card.outcome.split(':')[0]}" for card in cards)
    return {
        "result": result,
        "titles": run.titles,
        "cards": cards,
        "n_images": objects.n_images,
        "why_none": objects.why_none,
    }


SECTION = Section(
    name="recurring-objects",
    title="Recurring objects",
    template="sections/suspects.html.j2",
    view=view,
    state=lambda run: state_of(o.outcome for o in suspect_outcomes(run.plan.suite.conditions, run.effects)),
    comes_from="objects/, effects.json: objects that recur in one class, and their test; shown only if the suite asks for the search",
)
