"""Images become text regions, each image once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit.data.images import read_image
from audit.data.records import Record, TextRegion
from audit.errors import TextError
from audit.text.cache import RegionCache
from audit.text.overlays import overlay_regions
from audit.text.planes import find_on_planes


@dataclass(frozen=True, kw_only=True)
class FoundText:
    """The text of a cohort."""

    regions: Mapping[str, tuple[TextRegion, ...]]
    """Record id -> regions inside the image, in reading order; empty where there is no text."""
    failures: Mapping[str, str]
    """Record id -> why its text could not be looked for; such an image has no entry in `regions`."""


def find_regions(
    records: Sequence[Record],
    cache: RegionCache,
    on_image: Callable[[], None],
    *,
    on_bad_image: Literal["fail", "skip"] = "fail",
) -> FoundText:
    """Find the text of every record.

    Parameters
    ----------
    records : sequence of Record
        Images to look at; one is held at a time.
    cache : RegionCache
        Holds what was found before, and the finder for the rest.
    on_image : callable
        Called once for every image that is done.
    on_bad_image : {"fail", "skip"}
        What to do where the finder itself fails: an image whose text is not known cannot be called free of it.

    Raises
    ------
    TextError
        If the finder fails on an image, and such images are not to be skipped.
    """
    found, failures = {}, {}
    for record in records:
        try:
            found[record.id] = find_in(record.path, cache, colour=record.colour)
        except TextError as error:
            if on_bad_image == "fail":
                raise
            failures[record.id] = str(error)
        on_image()
    return FoundText(regions=found, failures=failures)


def find_in(path: Path, cache: RegionCache, *, colour: bool = False) -> tuple[TextRegion, ...]:
    """Find the text of one image: in its pixels, and in the overlay planes of a DICOM file.

    Parameters
    ----------
    path : Path
        The image.
    cache : RegionCache
        Holds what was found before, and the finder for the rest.
    colour : bool
        Look for letters that differ from their surroundings in colour alone, too.

    Raises
    ------
    ImageError
        If the image cannot be read.
    TextError
        If the finder fails on it.
    """
    image = read_image(path, colour=colour)
    height, width = image.shape[:2]
    try:
        found = find_on_planes(image, cache.find, once=cache.looks_up)
        seen = [*found, *overlay_regions(path, (height, width))]
    except TextError:
        raise
    except Exception as error:  # an engine is foreign code; whatever it raises, this image's text is not known
        raise TextError(
            f"The text finder {cache.finder_name} failed on {path}: {type(error).__name__}: {error}. Use another finder, "
            "or leave out and count such images with --on-bad-image skip."
        ) from error
    inside = (region.padded(0, (height, width)) for region in seen)
    return tuple(r for r in inside if r.x1 > r.x0 and r.y1 > r.y0)
