"""A global property of another class: whether the network distinguishes classes by how their images were acquired, processed or framed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from audit.data.pixels.facts import GreyImage, StoredImage
from audit.errors import UnknownNameError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.groups import Groups
from audit.perturbations.properties import MIN_PATIENTS, by_class
from audit.perturbations.shifts import (
    Shift,
    ShiftDraw,
    Stay,
    blur_shift,
    compression_shift,
    curve_shift,
    frame_shift,
    noise_shift,
)

_TOWARDS = ("other-class", "by-chance")


@dataclass(frozen=True, kw_only=True)
class _Property:
    """A property that can be moved."""

    suspect: str
    """In words."""
    shift: Callable[[Groups, Scene, np.random.Generator], Shift | None]
    """Groups, and an image of the first -> how it moves from the first to the second; None where it can only move the other way."""
    nowhere: str = ""
    """Why an image cannot be moved towards any class, where that may be so; empty where it always can."""
    halves: bool = False
    """Whether each of two draws learns it from one half of the patients. Not where it is dealt to single images (frames), which under
    the other half get one by chance."""
    framed: bool = False
    """Whether it moves the frame, which is taken on in one of several ways and moves the lungs' grey levels."""


PROPERTIES: Mapping[str, _Property] = MappingProxyType(
    {
        "grey-curve": _Property(suspect="the grey curve (exposure, contrast, gamma)", shift=curve_shift, halves=True),
        "sharpness": _Property(
            suspect="the sharpness (resolution, blur)", shift=blur_shift, nowhere="no class is less sharp", halves=True
        ),
        "noise": _Property(suspect="the noise", shift=noise_shift, nowhere="no class has more noise", halves=True),
        "compression": _Property(
            suspect="the JPEG compression",
            shift=compression_shift,
            nowhere="no class shows stronger JPEG compression",
            halves=True,
        ),
        "frame": _Property(suspect="the frame and aspect ratio of the image", shift=frame_shift, framed=True),
    }
)
"""Name -> property."""


@PERTURBATIONS.register("class-shift")
class ClassShift:
    """Move one global property of an image to where another class has it, by the difference between the classes.

    Single images of the other class do not serve as donors: differences between patients would mask the difference between the
    classes. The differences are measured outside the lungs. Sharpness is only taken away, noise is only added, and compression only gets
    stronger: of two classes the images of one are edited.

    Parameters
    ----------
    of : {"grey-curve", "sharpness", "noise", "compression", "frame"}
        What is moved.
    towards : {"other-class", "by-chance"}
        Another class, each with equal chance (the edit); or a group that differs from the image's class by chance alone (its placebo:
        as much of a shift as classes of these sizes have).
    """

    name = "class-shift"
    version = 5
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...]
    seamless = True

    def __init__(self, *, of: str, towards: str = "other-class") -> None:
        if of not in PROPERTIES:
            raise UnknownNameError("property of images", str(of), PROPERTIES)
        if towards not in _TOWARDS:
            raise UnknownNameError("class shift", str(towards), _TOWARDS)
        self._property = PROPERTIES[of]
        self._by_chance = towards == "by-chance"
        self.halves = self._property.halves
        self.adds = (of,)
        self.compares = ("properties",) if self._property.framed else ("properties", "leaves_range")
        self.suspect = self._property.suspect
        whose = "a random group" if self._by_chance else "another class"
        self.title = f"{of.replace('-', ' ').capitalize()} of {whose}"

    def draw(self, scene: Scene, rng: np.random.Generator) -> ShiftDraw | NotApplicable:
        """Choose another class that the image can be moved towards, and how."""
        properties, own = scene.properties, by_class(scene.record)
        known = () if properties is None else properties.known()
        others = [other for other in known if other != own]
        if properties is None or own is None or own not in known or not others:
            return NotApplicable(f"fewer than {MIN_PATIENTS} patients of the image's class or of any other")
        move = self._property.shift
        if self._property.nowhere:
            others = [other for other in others if move(properties.groups(own, other), scene, rng) is not None]
            if not others:
                return NotApplicable(self._property.nowhere)
        other = others[int(rng.integers(len(others)))]
        groups = properties.by_chance(own, other, rng) if self._by_chance else properties.groups(own, other)
        if self._property.framed:
            groups = replace(groups, framing=properties.framing(own, other))
        elif move(groups, scene, rng) is None:
            # A difference by chance has no direction. Where half of the placebos did nothing, the edit would seem to do more.
            groups = groups.turned()
        if scene.half is not None:
            # What chance made of the groups is dealt anew for each image, and so are its halves.
            groups = (
                groups.half(scene.half, rng)
                if self._by_chance
                else properties.half(own, other, scene.half, scene.split)
            )
        shift = move(groups, scene, rng)
        return ShiftDraw(shift=shift or Stay())

    def apply(self, image: StoredImage, drawn: ShiftDraw) -> StoredImage:
        """Return a copy of the image with the property moved."""
        return drawn.shift(image)

    def check(self, scene: Scene, edited: GreyImage) -> NotApplicable | None:
        """Return how the lungs left the range of the cohort's grey levels; a frame alone moves them."""
        if scene.leaves_range is None or self._property.framed:
            return None
        return scene.leaves_range(edited, scene.lungs)
