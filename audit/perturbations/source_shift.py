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

_SOURCES = ("other", "same", "other-class", "same-class")
# What no disease changes, by what it is: the rest of a look may be taken from a donor of another class by `class-shift` alone.
_OF_CLASSES = {"border": "frame", "aspect": "frame", "jpeg": "compression", "bit-depth": "compression"}


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
    source : {"other", "same", "other-class", "same-class"}
        Whose look: of an image of the same class from another source (the edit), or of another patient's image of the same class
        and source (its placebo: as much of an edit, without the foreign source). Or of an image of another class, or of the own one,
        whatever their sources; only for factors that no disease changes.
    factors : sequence of str
        Factors of the look: aspect, border, fourier, sharpness, histogram, bit-depth, jpeg; empty for all of them.
    """

    name = "look-transfer"
    version = 3
    needs: tuple[str, ...]
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...]
    seamless = True

    def __init__(self, *, source: str = "other", factors: Sequence[str] = ()) -> None:
        if source not in _SOURCES:
            raise UnknownNameError("source of a look", source, _SOURCES)
        if isinstance(factors, str):
            raise UsageError(f'factors must be a list of names, found {shown_value(factors)}; write ["..."].')
        for factor in factors:
            if factor not in FACTORS:
                raise UnknownNameError("factor of a look", str(factor), FACTORS)
        self._same, self._by_class = source.startswith("same"), source.endswith("class")
        self._factors = tuple(name for name in FACTORS if not factors or name in factors)
        self.needs = () if self._by_class else ("class with several sources",)
        diseased = [name for name in self._factors if name not in _OF_CLASSES]
        if self._by_class and diseased:
            raise UsageError(
                f"A look of another class may be disease: {', '.join(diseased)} cannot be taken from donors by class. Use the "
                f"perturbation class-shift, or factors among {', '.join(_OF_CLASSES)}."
            )
        taken = "look" if len(self._factors) == len(FACTORS) else " and ".join(self._factors)
        self.suspect = f"the image's {taken}" if self._by_class else f"the source's {taken}"
        self.adds = tuple(dict.fromkeys(_OF_CLASSES[name] for name in self._factors)) if self._by_class else ("look",)

    def draw(self, scene: Scene, rng: np.random.Generator) -> LookDraw | NotApplicable:
        """Choose a donor and measure its look."""
        if self._by_class:
            donor = scene.donors.choose_image(scene.record, same_class=self._same, rng=rng)
            lacking = "of the image's class" if self._same else "of any other class"
        else:
            donor = scene.donors.choose_look(scene.record, same_source=self._same, rng=rng)
            lacking = f"of the image's class from {'its own source' if self._same else 'another source'}"
        if donor is None:
            return NotApplicable(f"fewer than {MIN_LOOK_DONORS} donors {lacking}")
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
        if scene.leaves_range is None or all(_OF_CLASSES.get(name) == "frame" for name in self._factors):
            return None
        return scene.leaves_range(edited, scene.lungs)
