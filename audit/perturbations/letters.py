"""Letters of an image, separated from its background: cut out, scaled, placed, and laid on the background of another image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from audit.data.pixels.facts import StoredImage
from audit.perturbations.donors import Donor
from audit.perturbations.fills import inpaint
from audit.perturbations.places import Box, cover, text_boxes

Field = NDArray[np.float32]
# Contrast with the image behind it from which on a pixel begins to belong to a letter, and does wholly: in grey levels at
# least, and as shares of the letter's own, because a bone's edge next to it is fainter.
_FAINT_LEVELS, _FIRM_LEVELS = 5.0, 15.0
_FAINT_SHARE, _FIRM_SHARE = 0.25, 0.5


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Letters to lay over an image."""

    x0: int
    """Left edge in the target."""
    y0: int
    """Top edge in the target."""
    level: Field
    """Levels of the letters (h, w) or (h, w, 3) on the target."""
    opacity: Field
    """(h, w) from 0, where the image shows, to 1, where the letter does."""


@dataclass(frozen=True, kw_only=True)
class Letters:
    """The content of one region, separated from the image behind it."""

    contrast: Field
    """Levels above (below) the donor's image, (h, w) or (h, w, 3)."""
    opacity: Field
    """(h, w), 0 to 1."""
    centre: tuple[float, float]
    """Relative place (y, x) on the donor, 0 to 1; for letters that replace others, the place of those."""


def cut_letters(donor: Donor, pixels: StoredImage) -> list[Letters]:
    """Separate the donor's letters from its image.

    Parameters
    ----------
    donor : Donor
        Its regions hold the letters.
    pixels : array (h, w) or (h, w, 3)
        The donor's image.
    """
    height, width = pixels.shape[:2]
    boxes = text_boxes(donor.regions, (height, width))
    covered = cover(boxes, (height, width))
    cut = []
    for box in boxes:
        x0, y0, x1, y1 = box
        contrast: Field = pixels[y0:y1, x0:x1].astype(np.float32) - inpaint(pixels, box, covered)
        # What stands out in any channel is a letter.
        strength = np.abs(contrast) if contrast.ndim == 2 else np.abs(contrast).max(axis=-1)
        peak = float(np.quantile(strength, 0.98))
        faint, firm = max(_FAINT_LEVELS, _FAINT_SHARE * peak), max(_FIRM_LEVELS, _FIRM_SHARE * peak)
        opacity: Field = np.clip((strength - faint) / (firm - faint), 0, 1).astype(np.float32)
        centre = ((y0 + y1) / 2 / height, (x0 + x1) / 2 / width)
        cut.append(Letters(contrast=contrast, opacity=opacity, centre=centre))
    return cut


def scaled(letters: Letters, factor: float, shape: tuple[int, int]) -> Letters:
    """Return letters of another size.

    Parameters
    ----------
    letters : Letters
        As they were cut out.
    factor : float
        On their height and width.
    shape : tuple of int
        (h, w) of the target: they become at most as large.
    """
    contrast, opacity = letters.contrast, letters.opacity
    h, w = (max(1, min(limit, round(side * factor))) for side, limit in zip(opacity.shape, shape, strict=True))
    if (h, w) == opacity.shape:
        return letters
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return replace(
        letters,
        contrast=np.asarray(cv2.resize(contrast, (w, h), interpolation=how), dtype=np.float32),
        opacity=np.asarray(cv2.resize(opacity, (w, h), interpolation=how), dtype=np.float32),
    )


def instead_of(letters: Sequence[Letters], own: Sequence[Box], shape: tuple[int, int], size: float) -> list[Letters]:
    """Assign to each of the letters the place and the height of the nearest own text; the rest keep their place.

    Parameters
    ----------
    letters : sequence of Letters
        Those of the donor.
    own : sequence of Box
        The image's own text, which they replace.
    shape : tuple of int
        (h, w) of the image.
    size : float
        Factor on the height that the letters would have.
    """
    if not own or not letters:
        return list(letters)
    height, width = shape
    places = np.array([[(y0 + y1) / 2 / height, (x0 + x1) / 2 / width] for x0, y0, x1, y1 in own])
    centres = np.array([one.centre for one in letters])
    distances = np.linalg.norm(centres[:, None] - places[None], axis=2)
    placed = list(letters)
    for k, place in zip(*scipy.optimize.linear_sum_assignment(distances), strict=True):
        x0, y0, x1, y1 = own[place]
        # The short side is the height of a line of text, whichever way it runs; no further than the image is wide.
        factor = size * min(x1 - x0, y1 - y0) / min(letters[k].opacity.shape)
        factor = min(factor, *(limit / side for side, limit in zip(letters[k].opacity.shape, shape, strict=True)))
        placed[k] = replace(
            scaled(letters[k], factor, shape), centre=(float(places[place, 0]), float(places[place, 1]))
        )
    return placed


def box_of(letters: Letters, shape: tuple[int, int]) -> Box:
    """Return the letters' own relative place; where the two images have equal shapes, exactly its place.

    Parameters
    ----------
    letters : Letters
        Of the size that they are laid in.
    shape : tuple of int
        (h, w) of the image that they are laid on.
    """
    h, w = letters.opacity.shape
    left = min(max(round(letters.centre[1] * shape[1] - w / 2), 0), shape[1] - w)
    top = min(max(round(letters.centre[0] * shape[0] - h / 2), 0), shape[0] - h)
    return left, top, left + w, top + h


def erasure(text: Box, image: StoredImage, covered: NDArray[np.bool_]) -> Patch:
    """Remove the image's own text where other letters replace it.

    Parameters
    ----------
    text : Box
        The text.
    image : array (h, w) or (h, w, 3)
        The image.
    covered : array of bool (h, w)
        Where it has any text, from which nothing is inpainted.
    """
    background = inpaint(image, text, covered).astype(np.float32)
    return Patch(x0=text[0], y0=text[1], level=background, opacity=np.ones(background.shape[:2], dtype=np.float32))


def lay(letters: Letters, box: Box, image: StoredImage, covered: NDArray[np.bool_]) -> Patch:
    """Give the letters the target's image as their background.

    Parameters
    ----------
    letters : Letters
        Of the size of the box.
    box : Box
        Where they are laid.
    image : array (h, w) or (h, w, 3)
        The target.
    covered : array of bool (h, w)
        Where it has any text, from which nothing is inpainted.
    """
    x0, y0, x1, y1 = box
    hidden = covered.copy()
    hidden[y0:y1, x0:x1] = True
    background = inpaint(image, box, hidden).astype(np.float32)
    return Patch(x0=x0, y0=y0, level=background + letters.contrast, opacity=letters.opacity)
