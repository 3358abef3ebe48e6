"""Source-domain shift: the image as if acquired at another hospital, one factor of its look at a time or all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit.data.pixels.facts import StoredImage
from audit.data.records import Record
from audit.errors import UnknownNameError, UsageError, shown_value
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.donors import MIN_LOOK_DONORS
from audit.perturbations.looks import FACTORS, Look

_SOURCES = ("other", "same")
_NAMES = {
    "aspect": "aspect ratio",
    "border": "frame",
    "fourier": "low-frequency shading",
    "sharpness": "sharpness",
    "histogram": "grey scale",
    "bit-depth": "bit depth",
    "jpeg": "compression",
}
"""Factor -> what it is called in the title of an edit."""


@dataclass(frozen=True, kw_only=True)
class LookDraw:
    """Whose look is taken on."""

    look: Look
    """Measured on the donor."""
    donor: Record
    """Image that it was measured on."""


@PERTURBATIONS.register("look-transfer")
class LookTransfer:
    """Give the image the look of another one; its anatomy is not moved.

    Parameters
    ----------
    source : {"other", "same"}
        Whose look: of an image of the same class from another source (the edit), or of another patient's image of the same class
        and source (its placebo: as much of an edit, without the foreign source).
    factors : sequence of str
        Factors of the look: aspect, border, fourier, sharpness, histogram, bit-depth, jpeg; empty for all of them.
    """

    name = "look-transfer"
    version = 5
    needs: tuple[str, ...] = ("class with several sources",)
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ("look",)
    seamless = True

    def __init__(self, *, source: str = "other", factors: Sequence[str] = ()) -> None:
        if source not in _SOURCES:
            raise UnknownNameError("source of a look", source, _SOURCES)
        if isinstance(factors, str):
            raise UsageError(f'factors must be a list of names, found {shown_value(factors)}; write ["..."].')
        for factor in factors:
            if factor not in FACTORS:
                raise UnknownNameError("factor of a look", str(factor), FACTORS)
        self._same = source == "same"
        self._factors = tuple(name for name in FACTORS if not factors or name in factors)
        # A frame alone moves the lungs.
        self.compares: tuple[str, ...] = () if set(self._factors) <= {"aspect", "border"} else ("leaves_range",)
        taken = "look" if len(self._factors) == len(FACTORS) else " and ".join(self._factors)
        self.suspect = f"the source's {taken}"
        named = "look" if taken == "look" else " and ".join(_NAMES[name] for name in self._factors)
        self.title = f"{named[0].upper()}{named[1:]} of {'the same' if self._same else 'another'} source"

    def draw(self, scene: Scene, rng: np.random.Generator) -> LookDraw | NotApplicable:
        """Choose a donor and measure its look."""
        donor = scene.donors.choose_look(scene.record, same_source=self._same, rng=rng)
        if donor is None:
            source = "its own source" if self._same else "another source"
            return NotApplicable(f"fewer than {MIN_LOOK_DONORS} donors of the image's class from {source}")
        look = scene.donors.look(donor)
        if look.jpeg_table is None and self._factors == ("jpeg",):
            return NotApplicable("the donor's file is not a JPEG")
        return LookDraw(look=look, donor=donor.record)

    def apply(self, image: StoredImage, drawn: LookDraw) -> StoredImage:
        """Return a copy of the image with the donor's look."""
        edited = image.copy()
        for factor in self._factors:
            edited = FACTORS[factor](edited, drawn.look)
        return edited

    def check(self, scene: Scene, edited: StoredImage) -> NotApplicable | None:
        """Return how the lungs left the range of the cohort's grey levels, which a look must not cause; a frame alone moves them."""
        if scene.leaves_range is None or not self.compares:
            return None
        return scene.leaves_range(edited, scene.lungs)
