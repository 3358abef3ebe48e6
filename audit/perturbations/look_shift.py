"""The look of another source: whether the network distinguishes hospitals or scanners by how their images were acquired and processed."""

from __future__ import annotations

import numpy as np

from audit.data.pixels.facts import StoredImage
from audit.errors import UnknownNameError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.properties import MIN_PATIENTS, Key, by_source
from audit.perturbations.shifts import Shift, ShiftDraw, Stay, Steps, blur_shift, curve_shift, noise_shift

_TOWARDS = ("other-source", "by-chance")
_PARTS = (blur_shift, curve_shift, noise_shift)
"""In the order in which an image acquires them."""


@PERTURBATIONS.register("look-shift")
class LookShift:
    """Move the sharpness, grey curve and noise of an image to where another source has them, among images of the same class.

    The image moves by the difference between the means of the two sources within its class: single images of the other source would
    bring the differences between patients, which mask the difference between the sources, and images of other classes would bring their
    diseases. The properties are measured outside the lungs. Sharpness is only taken away and noise is only added.

    Parameters
    ----------
    towards : {"other-source", "by-chance"}
        Another source, each with equal chance (the edit); or a group that differs from the image's source by chance alone (its placebo:
        as much of a shift as sources of these sizes have).
    """

    name = "look-shift"
    version = 3
    needs: tuple[str, ...] = ("class with several sources",)
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ("look",)
    seamless = True
    halves = True
    compares: tuple[str, ...] = ("sources", "leaves_range")
    suspect = "the source's look"

    def __init__(self, *, towards: str = "other-source") -> None:
        if towards not in _TOWARDS:
            raise UnknownNameError("look shift", str(towards), _TOWARDS)
        self._by_chance = towards == "by-chance"
        self.title = f"Look of {'a random group of the same source' if self._by_chance else 'another source'}"

    def draw(self, scene: Scene, rng: np.random.Generator) -> ShiftDraw | NotApplicable:
        """Choose another source of the image's class, and how the image moves there."""
        properties, own = scene.sources, by_source(scene.record)
        known: tuple[Key, ...] = () if properties is None else properties.known()
        others = [key for key in known if own is not None and key[0] == own[0] and key != own]
        if properties is None or own is None or own not in known or not others:
            return NotApplicable(
                f"fewer than {MIN_PATIENTS} patients of the image's class from its source or from another"
            )
        other = others[int(rng.integers(len(others)))]
        groups = properties.groups(own, other)
        whole = properties.by_chance(own, other, rng) if self._by_chance else groups
        if scene.half is None:
            taught = whole
        elif self._by_chance:
            # What chance made of the groups is dealt anew for each image, and so are its halves.
            taught = whole.half(scene.half, rng)
        else:
            taught = properties.half(own, other, scene.half, scene.split)
        steps: list[Shift] = []
        for move in _PARTS:
            if move(groups, scene, rng) is None:
                continue
            # A difference by chance has no direction; the placebo takes the one in which the edit can move.
            turned = self._by_chance and move(whole, scene, rng) is None
            steps.append(move(taught.turned() if turned else taught, scene, rng) or Stay())
        return ShiftDraw(shift=Steps(steps=tuple(steps)))

    def apply(self, image: StoredImage, drawn: ShiftDraw) -> StoredImage:
        """Return a copy of the image with the look moved."""
        return drawn.shift(image)

    def check(self, scene: Scene, edited: StoredImage) -> NotApplicable | None:
        """Return how the lungs left the range of the cohort's grey levels, which a look must not cause."""
        return None if scene.leaves_range is None else scene.leaves_range(edited, scene.lungs)
