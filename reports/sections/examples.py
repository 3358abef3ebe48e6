"""The images that moved most, with their pictures and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.data.strings import MIN_PATIENTS
from audit.reports.reading.view import PICTURES, RunView
from audit.reports.sections.base import Section

OPEN_EXAMPLES = 12
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


def view(run: RunView) -> Mapping[str, object]:
    """Return the cases, and how many of them lost their pictures to the page's budget."""
    dropped = [any(e[part] and e[part].get("left_out") for part in PICTURES) for e in run.examples]
    return {
        "examples": [{**e, "scored": scored_classes(e)} for e in run.examples],
        "n_examples": run.n_examples,
        "conditions": [c.name for c in run.judged()],
        # One image may be the case of several conditions.
        "n_covered": sum(e["n_covered"] for e in {e["record"]: e for e in run.examples}.values()),
        "min_patients": MIN_PATIENTS,
        "n_dropped": len(dropped) - dropped.index(True) if True in dropped else 0,
        "n_open": OPEN_EXAMPLES,
        "has_maps": any(e["overlay"] for e in run.examples),
    }


SECTION = Section(
    name="examples",
    title="Images",
    template="sections/examples.html.j2",
    view=view,
    comes_from=f"examples/: clean, edit, difference, relevance; the first {OPEN_EXAMPLES} are open",
)
