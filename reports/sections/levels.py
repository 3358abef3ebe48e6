"""Four levels of every suspect: available, encoded, used, harmful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.reports.figures.multiples import WIDTH_PX, Cell, Multiples, multiples
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.levels import Level, SuspectLevels
from audit.store.numbers import bracketed, counted

_AREAS = (
    ("available", "available in the data"),
    ("encoded", "encoded in the features"),
)
_SHIFTS = (
    ("used", "used by the network"),
    ("erased", "read by the last layer"),
    ("harmful", "harmful where it misleads"),
)


def view(run: RunView) -> Mapping[str, object] | None:
    """Return the levels of every suspect, as rows and as two rows of panels; None in runs that measured none."""
    found = run.levels
    if found is None:
        return None
    figures = [] if not found.suspects else [
        _figure(
            found.suspects, _AREAS, 0.5, "AUC", "Area under the ROC curve; at the solid line, 0.5, a guess does as well."
        ),
        _figure(
            found.suspects, _SHIFTS, 0.0, "change of probability or of error rate",
            "Used: change of the class probabilities under the edit, minus the placebo's. Read by the last layer: their change once the "
            "suspect is erased from the features, minus that of random directions. Harmful: error rate on images whose suspect "
            "points to another class, minus that on images of the same class whose suspect points to it.",
        ),
    ]  # fmt: skip
    return {
        "result": _result(found.suspects) if found.suspects else f"not measured, because {found.why_none}",
        "suspects": found.suspects,
        "levels": tuple(name for name, _ in (*_AREAS, *_SHIFTS)),
        "why_none": found.why_none,
        "n_images": found.n_images,
        "figures": figures,
        "width": WIDTH_PX,
        "text": level_text,
    }


def level_text(level: Level) -> str:
    """Return a level with its interval."""
    return "not measured" if level.value is None else bracketed(level.value, level.low, level.high)


def _result(suspects: tuple[SuspectLevels, ...]) -> str:
    """Say how many suspects stand out at each level by themselves."""
    above = [f"{sum(_is_above(getattr(s, name)) for s in suspects)} {title}" for name, title in (*_AREAS, *_SHIFTS)]
    return f"of {counted(len(suspects), 'suspect')}, {', '.join(above)} (p ≤ 0.05, not corrected)"


def short_names(suspects: Sequence[str]) -> list[str]:
    """Return names for a figure with little room, without article and explanation; whole ones where two would be alike."""
    short = [name.removeprefix("the ").split(" (")[0].split(" and ")[0] for name in suspects]
    return short if len(set(short)) == len(short) else list(suspects)


def _figure(
    suspects: tuple[SuspectLevels, ...],
    levels: tuple[tuple[str, str], ...],
    reference: float,
    axis: str,
    note: str,
) -> Multiples:
    named = short_names([s.suspect for s in suspects])
    panels = [
        (title, [_cell(short, getattr(s, name)) for short, s in zip(named, suspects, strict=True)])
        for name, title in levels
    ]
    return multiples(
        ", ".join(title for _, title in levels).capitalize(), "Level", note, axis, panels, holds=[], reference=reference
    )


def _cell(suspect: str, level: Level) -> Cell:
    return Cell(
        run=suspect,
        value=level.value,
        low=level.low,
        high=level.high,
        kind="plain",
        text=level_text(level),
        n_images=level.n_images or None,
    )


SECTION = Section(
    name="levels",
    title="Four levels",
    template="sections/levels.html.j2",
    view=view,
    comes_from="levels.json: whether each suspect is available in the data, encoded in the features, used and harmful",
)


def _is_above(level: Level) -> bool:
    """Say whether a level is above its null: by its p, or by its interval where it has none."""
    if level.value is None or level.null is None:
        return False
    if level.p is None:
        return level.low is not None and level.low > level.null
    return level.p <= 0.05 and level.value > level.null
