"""Effects by group: those of classes and words, which are judged, and the exploratory rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.data.groups import UNKNOWN
from audit.data.strings import shown_string
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import MEASURES
from audit.statistics.selections import headlines
from audit.store.group import ALL, Group
from audit.store.results import Effect

JUDGED_COLUMNS = ("class", "output", "word")
"""Columns whose groups are judged."""
_MOST_DRAWN = 20
"""Groups of one column that a figure draws: there may be hundreds of sites."""


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """One group under one edit."""

    name: str
    """What the group shares: a class, or a string in quotes; fit to be printed."""
    effect: Effect
    """Its headline effect."""


def place(group: Group) -> str:
    """Describe the images of a group: `images of class covid`, `images that carry “SITIO”`; of a network's output its name."""
    if group == ALL:
        return "all images"
    if group.kind == "output":
        return f"the output {_name(group)}"
    return f"images that carry {_name(group)}" if group.kind == "word" else f"images of {group.kind} {_name(group)}"


def sensitive_groups(run: RunView) -> list[Effect]:
    """Return the judged effects of groups that are sensitive to what all images together are not; the largest first."""
    overall = {run.suspect(e.condition) for e in run.headline("edit") if e.verdict == "sensitive"}
    found = [r.effect for kind in JUDGED_COLUMNS for r in judged_groups(run, kind)]
    found = [e for e in found if e.verdict == "sensitive" and run.suspect(e.condition) not in overall]
    return sorted(found, key=lambda e: -(e.estimate or 0.0))


def told_effects(run: RunView) -> list[Effect]:
    """Return a run's effects in short: the headline effects, then the largest effect of each sensitive group."""
    largest: dict[Group, Effect] = {}
    for e in sensitive_groups(run):
        largest.setdefault(e.group, e)
    return [*run.headline(), *largest.values()]


def judged_groups(run: RunView, column: str) -> list[GroupRow]:
    """Return the judged effects of one column's groups, in the order of the groups and of the suite."""
    found = [e for e in run.effects if e.tolerance is not None and e.group.kind == column]
    order = {group: i for i, group in enumerate(dict.fromkeys(e.group for e in found))}
    return [GroupRow(name=_name(e.group), effect=e) for e in sorted(found, key=lambda e: order[e.group])]


def explored_groups(run: RunView) -> list[Effect]:
    """Return the headline effects of the other groups, which are not judged."""
    judged = {c.name for c in run.judged()}
    return [
        e
        for e in run.effects
        if e.condition in judged
        and e.measure in headlines().values()
        and e.group != ALL
        and e.placebo is not None
        and e.tolerance is None
    ]


def group_accuracy(run: RunView) -> list[Effect]:
    """Return accuracy and recall on the unedited images by group."""
    found = [e for e in run.effects if e.condition == "clean" and e.group != ALL and MEASURES[e.measure].by_group]
    # A column of one value says nothing that the whole does not.
    columns = [e.group.kind for e in found]
    return [e for e in found if columns.count(e.group.kind) > 1]


def attributes(run: RunView) -> list[str]:
    """Return the attributes of the manifest by which accuracy is given, such as sex, in the order of the table."""
    return list(dict.fromkeys(e.group.kind for e in group_accuracy(run) if e.group.value != UNKNOWN))


def attributes_sentence(run: RunView) -> str:
    """Name the attributes by which accuracy is given; empty where there is none."""
    found = attributes(run)
    return f"Accuracy is given by {', '.join(found)}, with confidence intervals." if found else ""


def drawn(effects: Sequence[Effect]) -> list[Effect]:
    """Return what a figure has room for: of each column the groups of most patients, in their order."""
    kept: set[int] = set()
    for column in {e.group.kind for e in effects}:
        mine = [i for i, e in enumerate(effects) if e.group.kind == column]
        kept |= set(sorted(mine, key=lambda i: (-effects[i].n_patients, i))[:_MOST_DRAWN])
    return [e for i, e in enumerate(effects) if i in kept]


def undecided(run: RunView) -> str:
    """Count the judged effects of groups by verdict, in a sentence; empty where none is judged."""
    verdicts = [r.effect.verdict for kind in JUDGED_COLUMNS for r in judged_groups(run, kind)]
    if not verdicts:
        return ""
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    few = " The sample is too small to decide the inconclusive ones." if "inconclusive" in verdicts else ""
    what = "outputs" if run.multi_label else "classes"
    return f"Verdicts of {len(verdicts)} judged effects of {what} and words: {counts}.{few}"


def _name(group: Group) -> str:
    shown = shown_string(group.value or "")
    return f"“{shown}”" if group.kind == "word" else shown
