"""Which measures of the catalogue are asked where: of images, of classes, of outputs, between runs, in rows of a report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Role
from audit.statistics.catalogue import MEASURES, MOVEMENT
from audit.statistics.measure import Measure, Values
from audit.statistics.outputs import Move


def headlines() -> dict[Role, str]:
    """Return role of judged conditions -> the measure that sums them up, compared with their placebos."""
    return {m.headline_of: m.name for m in MEASURES.values() if m.headline_of is not None}


def headline_of(role: Role) -> Measure:
    """Return the measure that sums a condition of some role up, compared with its placebo."""
    return MEASURES[headlines().get(role, MOVEMENT)]


def judged_measures(role: Role) -> tuple[str, ...]:
    """Return the measures that judged conditions of some role are held against tolerances by."""
    return tuple(m.name for m in MEASURES.values() if m.judged_of == role)


def default_tolerances() -> dict[str, float]:
    """Return judged measure -> the largest effect that counts as small where no other is set; absolute."""
    return {m.name: m.tolerance for m in MEASURES.values() if m.tolerance is not None}


def changes_of_images() -> dict[str, Callable[[Move], Values]]:
    """Return the measures that have a number of their own for each image, and what computes it."""
    return {m.name: m.change for m in MEASURES.values() if m.change is not None and not m.of_outputs}


def changes_of_outputs() -> dict[str, Callable[[Move], Values]]:
    """Return the measures that one output of a multi-label network has for each image, and what computes them."""
    return {m.name: m.change for m in MEASURES.values() if m.change is not None and m.scale != "unbounded"}


def measured_of_edits() -> tuple[Measure, ...]:
    """Return what every condition is measured by over all images, besides its headline, in the order of `effects.json`."""
    found = [
        m
        for m in MEASURES.values()
        if (m.change is not None or m.made_of)
        and not m.of_outputs
        and m.over != "each class"
        and m.headline_of is None
        and m.name != MOVEMENT
    ]
    # What is read from winners and margins first, then the losses.
    return tuple(sorted(found, key=lambda m: m.of == "network" and not m.falls))


def measured_of_classes() -> tuple[Measure, ...]:
    """Return the measures of images of which every condition has a figure for each class."""
    return tuple(
        m
        for m in MEASURES.values()
        if (m.change is not None or m.made_of) and m.over == "each class" and not m.of_outputs
    )


def towards_donors() -> dict[str, Callable[[Move, NDArray[np.int64]], Values]]:
    """Return the measures of how far an edit moves images towards the classes of its donors, and what computes them."""
    return {m.name: m.toward for m in MEASURES.values() if m.toward is not None}


def comparable() -> tuple[str, ...]:
    """Return the measures that have a number for each image, and so a paired difference between two runs."""
    return tuple(m.name for m in MEASURES.values() if m.comparable)


def comparable_on_clean() -> tuple[str, ...]:
    """Return those of them that are reported of unedited images."""
    return tuple(m.name for m in MEASURES.values() if m.comparable and m.on_clean)


def rows_of(role: Role) -> list[tuple[str, str]]:
    """Return what a report shows of a judged condition: pairs of a measure of it alone, and one compared with its placebo."""
    headline = headline_of(role)
    alone = headline.name if headline.turned else headline.made_of  # turned: reported for the difference only
    return [(alone or headline.name, headline.name), *((m.name, m.name) for m in MEASURES.values() if m.tabled)]


def is_change(measure: str, condition: str) -> bool:
    """Say whether an effect's figure is the change of its measure from the unedited images, not the measure itself."""
    return condition != "clean" and MEASURES[measure].of == "network"


def figure_in_words(measure: str, condition: str) -> str:
    """Name the figure of an effect: `accuracy` of the unedited images, `change in accuracy` under any condition."""
    title = MEASURES[measure].title
    return f"change in {title}" if is_change(measure, condition) else title
