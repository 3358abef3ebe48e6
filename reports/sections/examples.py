"""The images that moved most, with their pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.data.map_budget import map_limit_in_words
from audit.data.strings import MIN_PATIENTS
from audit.reports.reading.view import PICTURES, RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted

OPEN_EXAMPLES = 6
"""Cases that are open when the page is."""
MOST_SCORES = 5
"""Number of classes whose probabilities are shown under a picture; more would push the next case off the screen."""


def scored_classes(case: Mapping[str, Any]) -> list[str]:
    """Return the classes to show, in the model's order: the true one, the predicted ones, and those that moved most."""
    before, after = case["clean"]["probabilities"], case["edit"]["probabilities"]
    if len(after) <= MOST_SCORES:
        return list(after)
    first = [case["edit"]["predicted"], case["clean"]["predicted"], case["label"]]
    moved = sorted(after, key=lambda name: -abs(after[name] - before[name]))
    kept = list(dict.fromkeys([*(name for name in first if name in after), *moved]))[:MOST_SCORES]
    return [name for name in after if name in kept]


@dataclass(frozen=True, kw_only=True)
class MovedRow:
    """One image of the table."""

    record: str
    """Its pseudonym."""
    label: str
    """Its true class."""
    source: str
    """Its source."""
    predicted: str
    """The winning class of the unedited image."""
    edited: str
    """The same under the edit that moved it most."""
    condition: str
    """That edit."""
    title: str
    """Its name for people."""
    change: float
    """Total variation under it."""
    changed: bool
    """Whether any edit changed the prediction."""
    moves: tuple[tuple[str, str, float], ...]
    """(name, prediction, total variation) of every edit."""
    cases: tuple[int, ...]
    """Cases that show the image."""


def moved_rows(run: RunView) -> list[MovedRow]:
    """Return the rows of the table of images."""
    cases: dict[str, list[int]] = {}
    for example in run.examples:
        cases.setdefault(example["record"], []).append(example["case"])
    return [
        MovedRow(
            record=image.record,
            label=str(image.label),
            source=image.source,
            predicted=image.predicted,
            edited=image.moves[0].predicted,
            condition=image.moves[0].condition,
            title=run.title(image.moves[0].condition),
            change=image.moves[0].change,
            changed=any(m.predicted != image.predicted for m in image.moves),
            moves=tuple((run.title(m.condition), m.predicted, m.change) for m in image.moves),
            cases=tuple(cases.get(image.record, ())),
        )
        for image in (run.moved.images if run.moved else ())
    ]


def _shown(run: RunView, example: Mapping[str, Any]) -> dict[str, Any]:
    """Return a case with the names of its edit and placebo, and the classes whose scores are shown."""
    placebo = run.planned(example["condition"]).placebo
    titles = {"title": run.title(example["condition"]), "placebo_title": run.quoted(placebo) if placebo else ""}
    return {**example, **titles, "scored": scored_classes(example)}


def _result(run: RunView) -> str:
    if not run.examples:
        return "no edit could be applied to any image"
    moved = 0 if run.moved is None else len(run.moved.images)
    table = f", and a table of the {counted(moved, 'image')} that moved most" if moved else ""
    return f"{counted(len(run.examples), 'case')} with pictures{table}"


def view(run: RunView) -> Mapping[str, object]:
    """Return the cases, and how many of them lost their pictures to the page's budget."""
    dropped = [any(e[part] and e[part].get("left_out") for part in PICTURES) for e in run.examples]
    return {
        "result": _result(run),
        "examples": [_shown(run, e) for e in run.examples],
        "moved": moved_rows(run),
        "n_moved": run.moved.n_images if run.moved else 0,
        "n_examples": run.n_examples,
        "conditions": [(c.name, run.title(c.name)) for c in run.judged()],
        # One image may be the case of several conditions.
        "n_covered": sum(e["n_covered"] for e in {e["record"]: e for e in run.examples}.values()),
        "min_patients": MIN_PATIENTS,
        "n_dropped": len(dropped) - dropped.index(True) if True in dropped else 0,
        "n_open": OPEN_EXAMPLES,
        "map_limit": map_limit_in_words(run.plan) if any(e["overlay"] is None for e in run.examples) else "",
        "has_maps": any(e["overlay"] for e in run.examples),
    }


SECTION = Section(
    name="examples",
    title="Images",
    template="sections/examples.html.j2",
    view=view,
    comes_from=f"examples/: clean, edit, placebo, difference, relevance, the first {OPEN_EXAMPLES} open; the images that moved most",
)
