"""The relevance section of a report: what lies in text, and whether the maps can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from audit.reports.figures import Dots, dots, tick_values
from audit.reports.runfolder import RunView
from audit.reports.words import number
from audit.statistics.catalogue import headlines
from audit.store.group import parse_group
from audit.store.numbers import bracketed

WIDTH_PX, HEIGHT_PX = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 12, 10, 46
MOST_POINTS = 1500
"""Points that a scatter holds apart."""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """A point an image, in pixels of the drawing."""

    points: tuple[tuple[float, float], ...]
    """(x, y)"""
    x_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    y_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    zero: tuple[float, float]
    """Where both are zero."""
    drawn_of: tuple[int, int] | None
    """Images drawn and images in all, where not all are drawn."""


def group_dots(run: RunView) -> Dots | None:
    """Draw the share of relevance inside text of each class, beside that of its two controls."""
    if run.relevance_summary is None:
        return None
    rows = []
    for group in run.relevance_summary["groups"]:
        of = parse_group(group["group"])
        if of.kind != "class":
            continue
        name = of.value or ""
        mass = group["mass"]
        rows.append(
            (f"{name} (n = {group['n_images']})", interval(mass), mass["value"], mass["low"], mass["high"], "plain")
        )
        if group["mass_gone"] is not None:
            gone = group["mass_gone"]
            rows.append(("text inpainted", interval(gone), gone["value"], gone["low"], gone["high"], "placebo"))
        if group["beyond_placebo"] is not None:
            moved = mass["value"] - group["beyond_placebo"]["value"]
            rows.append(("moved along the border", number(moved), moved, None, None, "placebo"))
    if not rows:
        return None
    title = "Share of positive relevance inside text, by class, in the same place without text, and in moved boxes"
    return dots(title, "share of positive relevance", rows, [0.0], [(0.0, "zero", "")], None)


def interval(estimate: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Write an estimate with its interval."""
    if estimate is None:
        return "–"
    return bracketed(estimate["value"], estimate["low"], estimate["high"], digits)


def group_rows(run: RunView, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return groups of some kinds, each with what masking and pasting did to the same images' predictions."""
    if run.relevance_summary is None:
        return []
    edits = text_edits(run)
    rows = []
    for group in run.relevance_summary["groups"]:
        of = parse_group(group["group"])
        if of.kind in kinds:
            effects = [run.find(name, headlines()["edit"], of, controlled=True) for name in edits]
            rows.append({**group, "name": of.label, "string": of.value, "effects": effects})
    return rows


def text_edits(run: RunView) -> list[str]:
    """Return the judged edits that remove or add text; of each perturbation one, as the fills of a mask tell the same."""
    chosen: dict[str, Mapping[str, Any]] = {}
    for c in run.judged():
        declared = c["declared"]
        if c["role"] != "edit" or "text" not in (*declared["removes"], *declared["adds"]):
            continue
        # One without an artefact of its own; else the first that the suite has.
        before = chosen.get(c["perturbation"])
        if before is None or (declared["seamless"] and not before["declared"]["seamless"]):
            chosen[c["perturbation"]] = c
    return [str(c["name"]) for c in chosen.values()]


def validity_scatter(run: RunView) -> Scatter | None:
    """Place every image by the logit that its map credits to text, and the logit that it lost without the text."""
    seen = [
        (r["signed_share"] * r["start"], r["fall_when_gone"])
        for r in run.relevance
        if r["signed_share"] is not None and r["fall_when_gone"] is not None
    ]
    if len(seen) < 2:
        return None
    n_all = len(seen)
    if n_all > MOST_POINTS:
        seen = [seen[round(i * (n_all - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
    x_ticks, x_place = _axis([x for x, _ in seen], _LEFT, WIDTH_PX - _RIGHT)
    y_ticks, y_place = _axis([y for _, y in seen], HEIGHT_PX - _BOTTOM, _TOP)
    return Scatter(
        points=tuple((x_place(x), y_place(y)) for x, y in seen),
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        zero=(x_place(0.0), y_place(0.0)),
        drawn_of=(len(seen), n_all) if len(seen) < n_all else None,
    )


def _axis(values: Sequence[float], start: float, stop: float) -> tuple[tuple[tuple[float, str], ...], Any]:
    low, high = min([*values, 0.0]), max([*values, 0.0])
    room = 0.05 * (high - low) or 0.5
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(start + (value - low) / (high - low) * (stop - start), 1)

    return tuple((place(v), number(v, 2)) for v in tick_values(low, high)), place


def where_it_went(run: RunView) -> dict[str, float]:
    """Return the median shares of the relevance that arrived at the pixels and that the layers kept."""
    names = ("at_pixels", "kept_bias", "kept_shift", "kept_stabiliser")
    started = [r for r in run.relevance if r["start"]]
    return {name: median(r[name] for r in started) for name in names} if started else {}
