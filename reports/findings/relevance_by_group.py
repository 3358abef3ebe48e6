"""The share of relevance in text, by group, with the effects of editing the text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from audit.data.plan import PlannedCondition
from audit.data.strings import shown_string
from audit.reports.reading.view import RunView
from audit.statistics.selections import headlines
from audit.store.numbers import bracketed
from audit.store.relevance import Estimate, RelevanceGroup
from audit.store.results import Effect


def interval(estimate: Estimate | None, digits: int = 3) -> str:
    """Write an estimate with its interval."""
    if estimate is None:
        return "–"
    return bracketed(estimate.value, estimate.low, estimate.high, digits)


def group_rows(run: RunView, kinds: Sequence[str]) -> list[tuple[RelevanceGroup, list[Effect | None]]]:
    """Return groups of some kinds, each with what masking and pasting did to the same images' predictions."""
    if run.relevance_summary is None:
        return []
    edits = text_edits(run)
    rows = []
    for group in run.relevance_summary.groups:
        if group.group.kind in kinds:
            effects = [run.find(name, headlines()["edit"], group.group, controlled=True) for name in edits]
            rows.append((group, effects))
    return rows


def text_edits(run: RunView) -> list[str]:
    """Return the judged edits that remove or add text; one for each perturbation, because the fills of a mask give similar effects."""
    chosen: dict[str, PlannedCondition] = {}
    for c in run.judged():
        declared = c.declared
        if c.role != "edit" or "text" not in (*declared.removes, *declared.adds):
            continue
        # One without an artefact of its own; else the first that the suite has.
        before = chosen.get(c.perturbation)
        if before is None or (declared.seamless and not before.declared.seamless):
            chosen[c.perturbation] = c
    return [c.name for c in chosen.values()]


def where_it_went(run: RunView) -> dict[str, float]:
    """Return the median shares of the relevance that arrived at the pixels and that the layers kept."""
    names = ("at_pixels", "kept_bias", "kept_shift", "kept_stabiliser")
    started = [r for r in run.relevance if r["start"]]
    return {name: median(r[name] for r in started) for name in names} if started else {}


def text_by_class(run: RunView) -> str:
    """State on how many images of each class text was found."""
    counts = [(name, *run.images_with_text.get(name, (0, 0))) for name in run.plan.model.classes]
    return f"Text was found on {', '.join(f'{n} of {total} images of class {shown_string(name)}' for name, n, total in counts)}."
