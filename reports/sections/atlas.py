"""The marker atlas: which strings occur on the images of which class, as counts and as crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.data.strings import MIN_PATIENTS
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.group import Group
from audit.store.numbers import counted
from audit.store.relevance import Estimate


@dataclass(frozen=True, kw_only=True)
class MarkerRow:
    """One string."""

    text: str
    """As the engine read it; hostile until escaped."""
    counts: tuple[tuple[int, int], ...]
    """Images that carry it and images in all, for each class of the model."""
    crops: tuple[tuple[Mapping[str, Any], ...], ...]
    """Crops for each class of the model; empty where none was kept."""
    told: str
    """The class that most images with it belong to, with its share."""
    enrichment: Estimate | None
    """Relevance inside it over its share of the area, with its interval; None where it has no map."""


def marker_rows(run: RunView) -> list[MarkerRow]:
    """Return the commonest strings, those on most images first."""
    classes = [str(name) for name in run.plan.model.classes]
    summary = run.relevance_summary
    maps = {} if summary is None else {g.group: g.enrichment for g in summary.groups}
    rows = []
    for word in run.words:
        total = sum(word.by_class.values())
        most = max(sorted(word.by_class), key=lambda name: word.by_class[name])
        rows.append(
            MarkerRow(
                text=word.text,
                counts=tuple(
                    (word.by_class.get(name, 0), run.images_with_text.get(name, (0, 0))[1]) for name in classes
                ),
                crops=tuple(
                    tuple(m for m in run.markers if (m["text"], m["label"]) == (word.text, name)) for name in classes
                ),
                told=f"{most}, {word.by_class[most]} of {total}",
                enrichment=maps.get(Group(kind="word", value=word.text)),
            )
        )
    return rows


def view(run: RunView) -> Mapping[str, object]:
    """Return the strings that may be shown."""
    markers = marker_rows(run)
    first = f"; on most images: “{markers[0].text}” ({markers[0].told})" if markers else ""
    return {
        "result": f"{counted(len(markers), 'string')} shown{first}",
        "classes": run.plan.model.classes,
        "markers": markers,
        "has_crops": bool(run.markers),
        "min_patients": MIN_PATIENTS,
    }


SECTION = Section(
    name="atlas",
    title="Marker atlas",
    template="sections/atlas.html.j2",
    view=view,
    comes_from="regions.parquet, examples/markers.json, relevance.json: strings by class, with crops",
)
