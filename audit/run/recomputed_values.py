"""Values that were computed again, held against those that a run stored: to the bit, or within a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.records import Record, TextRegion
from audit.errors import shown_string
from audit.models.backends import LIMIT
from audit.relevance.heatmaps import Heatmaps
from audit.store.recomputation import Difference, Part

_HALF = 2.0**-11
"""Relative rounding of a stored map."""


def differing(
    part: Part,
    key: tuple[str, str, int],
    stored: Mapping[str, Any],
    found: Mapping[str, Any],
    columns: Sequence[str],
    *,
    exact: bool,
) -> Iterator[Difference]:
    """Yield the columns in which a stored row is not the one that was computed now.

    Parameters
    ----------
    part : str
        What the row belongs to.
    key : tuple of (str, str, int)
        Image, condition and draw.
    stored, found : mapping
        The row of the run, and the one of now; numbers are compared in the precision in which they are stored.
    columns : sequence of str
        What is compared.
    exact : bool
        Whether every bit must be the same; else numbers may differ by `LIMIT`, relative to their size where that is above 1.
    """
    image, condition, draw = key
    for name in columns:
        was, now = stored.get(name, "absent"), found[name]
        if not same(was, now, exact=exact):
            yield Difference(
                part=part,
                image=image,
                condition=condition,
                draw=draw,
                field=name,
                stored=_shown(was),
                found=_shown(now),
            )


def same(stored: Any, found: Any, *, exact: bool) -> bool:
    """Say whether two values of a table are the same: to the bit, or of numbers within `LIMIT`."""
    if isinstance(stored, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(stored) == len(found) and all(same(a, b, exact=exact) for a, b in zip(stored, found, strict=True))
    numbers = [isinstance(v, (int, float)) and not isinstance(v, bool) for v in (stored, found)]
    if exact or not all(numbers):
        return bool(stored == found) and type(stored) is type(found)
    return bool(abs(stored - found) <= LIMIT * max(1.0, abs(stored)))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value[:12]))}{', …' if len(value) > 12 else ''}]"
    return repr(value) if isinstance(value, float) else shown_string(str(value), 200)


def other_regions(record: Record, stored: Sequence[TextRegion], found: Sequence[TextRegion]) -> Iterator[Difference]:
    """Yield a difference where boxes differ, or a string that the run shows is another: boxes are of whole pixels everywhere."""
    boxes = [[(r.x0, r.y0, r.x1, r.y1) for r in regions] for regions in (stored, found)]
    if boxes[0] != boxes[1]:
        yield _difference("text regions", record, "boxes", *map(str, boxes))
        return
    for was, now in zip(stored, found, strict=True):
        if was.text and was.text != now.text:
            yield _difference("text regions", record, "text", was.text, "another string")


def _difference(part: Part, record: Record, field: str, stored: str, found: str) -> Difference:
    was, now = shown_string(stored, 200), shown_string(found, 200)
    return Difference(part=part, image=record.name, condition="clean", draw=0, field=field, stored=was, found=now)


def other_maps(record: Record, stored: Heatmaps, found: Heatmaps, *, exact: bool) -> Iterator[Difference]:
    """Yield a difference for each kind of map of an image that is not the stored one: those of the outputs, and that without text."""
    for name in ("outputs", "bare"):
        was, now = getattr(stored, name), getattr(found, name)
        if was.shape != now.shape:
            yield _difference("relevance maps", record, f"map ({name})", str(was.shape), str(now.shape))
        elif not same_map(was, now, exact=exact):
            gap = float(np.abs(was - now).max())
            largest = float(np.abs(was).max())
            yield _difference(
                "relevance maps", record, f"map ({name})", f"largest {largest!r}", f"largest difference {gap!r}"
            )


def same_map(stored: NDArray[np.float32], found: NDArray[np.float32], *, exact: bool) -> bool:
    """Say whether two stored maps are the same: to the bit, or within `LIMIT` of the largest value and the rounding of the file."""
    if exact:
        return bool(np.array_equal(stored, found))
    room = LIMIT * float(np.abs(stored).max()) + 2 * _HALF * np.maximum(np.abs(stored), np.abs(found))
    return bool((np.abs(stored - found) <= room).all())
