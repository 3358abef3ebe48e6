"""Which suspects of a run are mended, and with which of its edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.data.conditions import Condition, Suite
from audit.data.plan import PlannedCondition
from audit.errors import ModelError, UnknownNameError
from audit.statistics.selections import headline_of
from audit.store.group import ALL
from audit.store.results import Effect

OBJECT = "object"
"""Perturbation whose suspects a search proposes: those of the training images have numbers of their own."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One suspect to mend, and the effect of the run that it is judged by."""

    suspect: str
    """In words, as the suite names it."""
    effect: Effect
    """The largest of its effects that exceed the limit; where it was named by hand and none does, the largest."""
    edits: tuple[str, ...]
    """Judged conditions of the run that edit it."""
    objects: bool
    """Whether a search proposed it."""


def headline(effect: Effect, conditions: Iterable[PlannedCondition]) -> bool:
    """Say whether an effect is the judged figure of one of the conditions, compared with its placebo."""
    roles = {c.name: c.role for c in conditions if c.judged}
    return (
        effect.condition in roles
        and effect.placebo is not None
        and effect.measure == headline_of(roles[effect.condition]).name
    )


def choose_targets(
    conditions: Sequence[PlannedCondition], effects: Sequence[Effect], asked: Sequence[str]
) -> tuple[Target, ...]:
    """Return the suspects to mend: those that are named, else all with an effect that exceeds its limit.

    Parameters
    ----------
    conditions : sequence of PlannedCondition
        Of the run's plan.
    effects : sequence of Effect
        Of the run.
    asked : sequence of str
        Conditions, or words of suspects (`text` of `the text`); empty for those that the run found.

    Raises
    ------
    UnknownNameError
        If the run tested no such suspect.
    ModelError
        If the run has no effect of one that is named.
    """
    judged = [c for c in conditions if c.judged]
    known = list(dict.fromkeys(c.suspect for c in judged))
    if asked:
        wanted = list(dict.fromkeys(_named(name, judged, known) for name in asked))
    else:
        wanted = [s for s in known if any(e.verdict == "sensitive" for e in _of(s, judged, effects))]
    found = []
    for suspect in wanted:
        own = _of(suspect, judged, effects)
        if not own:
            raise ModelError(f"The run has no estimate of {suspect}, so nothing shows whether mending helps.")
        # Over all images first: an effect of a group is what mending is judged by only where no other exceeds the limit.
        order = [e for e in own if e.verdict == "sensitive" and e.group == ALL]
        order = order or [e for e in own if e.verdict == "sensitive"] or [e for e in own if e.group == ALL] or own
        mine = [c for c in judged if c.suspect == suspect]
        found.append(
            Target(
                suspect=suspect,
                effect=max(order, key=lambda e: e.estimate or 0.0),
                edits=tuple(c.name for c in mine if c.role == "edit"),
                objects=any(c.perturbation == OBJECT for c in mine),
            )
        )
    return tuple(found)


def _of(suspect: str, judged: Sequence[PlannedCondition], effects: Sequence[Effect]) -> list[Effect]:
    mine = [c for c in judged if c.suspect == suspect]
    return [e for e in effects if e.estimate is not None and e.verdict != "void" and headline(e, mine)]


def _named(name: str, judged: Sequence[PlannedCondition], known: Sequence[str]) -> str:
    for c in judged:
        if name == c.name:
            return c.suspect
    words = name.casefold().replace("-", " ").split()
    exact = [s for s in known if s.casefold().removeprefix("the ") == " ".join(words).removeprefix("the ")]
    near = exact or [s for s in known if all(word in s.casefold().replace("-", " ") for word in words)]
    if len(near) == 1 and words:
        return near[0]
    raise UnknownNameError("suspect of the run", name, [*known, *(c.name for c in judged)])


def training_edits(
    suite: Suite, targets: Sequence[Target]
) -> tuple[tuple[Condition, ...], tuple[Target, ...], dict[str, str]]:
    """Return the conditions of a suite that edit the targets in training, the targets that have any, and why the others have none.

    Objects count whatever their number: the search in the training images gives other numbers than that of the run.

    Parameters
    ----------
    suite : Suite
        With the objects that the search proposed in the training images.
    targets : sequence of Target
        What is to be mended.

    Raises
    ------
    ModelError
        If no target has an edit.
    """
    chosen: list[Condition] = []
    left_out: dict[str, str] = {}
    for target in targets:
        mine = [c for c in suite.conditions if c.role == "edit" and c.dose is None and c.placebo is not None]
        mine = [c for c in mine if (c.perturbation == OBJECT if target.objects else c.suspect == target.suspect)]
        if not mine:
            left_out[target.suspect] = _why_no_edit(suite, target)
        chosen += [c for c in mine if c not in chosen]
    kept = tuple(t for t in targets if t.suspect not in left_out)
    if not kept:
        raise ModelError(" ".join(left_out.values()))
    return tuple(chosen), kept, left_out


def _why_no_edit(suite: Suite, target: Target) -> str:
    if target.objects:
        return (
            f"The search in the training images proposed no object, so {target.suspect} cannot be edited in them. What can still be done: "
            "train on images that show the object in every class, or in none."
        )
    return (
        f"The suite {suite.name} has no edit that takes {target.suspect} away and keeps the rest of the image, so no training image can be "
        "shown without it. What can still be done: crop or mask it in the preprocessing, then train again."
    )
