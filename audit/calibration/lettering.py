"""Plants that can be read: words of several scripts and sizes, one letter, dates, and where they stand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.calibration.objects import electrode
from audit.calibration.plants import Kind, Picture
from audit.training.phantom.lettering import FONTS, Lettering, TextBox, burn

Stroke = tuple[tuple[float, float], ...]
# Letters as strokes in a unit square: no font that is there everywhere has these scripts.
_STROKES: dict[str, tuple[Stroke, ...]] = {
    "Л": (((0.1, 1), (0.5, 0), (0.9, 1)),),
    "Е": (((0.85, 0), (0.15, 0), (0.15, 1), (0.85, 1)), ((0.15, 0.5), (0.7, 0.5))),
    "Ж": (((0.5, 0), (0.5, 1)), ((0, 0), (1, 1)), ((1, 0), (0, 1))),
    "А": (((0, 1), (0.5, 0), (1, 1)), ((0.22, 0.62), (0.78, 0.62))),
    "左": (((0.05, 0.25), (0.95, 0.25)), ((0.5, 0), (0.42, 0.5), (0.05, 1)), ((0.4, 0.6), (0.9, 0.6)), ((0.65, 0.6), (0.65, 0.95)),
          ((0.3, 0.95), (1, 0.95))),
    "侧": (((0.25, 0), (0.02, 0.45)), ((0.15, 0.3), (0.15, 1)), ((0.33, 0.7), (0.33, 0.1), (0.62, 0.1), (0.62, 0.7)),
          ((0.47, 0.25), (0.47, 0.7), (0.3, 1)), ((0.75, 0.15), (0.75, 0.7)), ((0.95, 0), (0.95, 1))),
}  # fmt: skip
_TOP = ("top-left", "top-right")
_ELSEWHERE = ("top-right", "bottom-left", "bottom-right")


def _written(
    picture: Picture, text: str, height: float, rng: np.random.Generator, *, corner: str, lead: bool = False
) -> Picture:
    """Write in the hand of the phantoms: software's white, or lead that shares the image's blur."""
    item = Lettering(
        text=text,
        kind="lead_marker" if lead else "overlay",
        corner=corner,
        font=cv2.FONT_HERSHEY_SIMPLEX if lead else FONTS[int(rng.integers(len(FONTS)))],
        cap_share=height * float(rng.uniform(0.92, 1.08)),
        level=int(rng.integers(235, 256)),
        inset=(float(rng.uniform(0.02, 0.05)), float(rng.uniform(0.02, 0.05))),
    )
    return _burnt(picture, item)


def _burnt(picture: Picture, item: Lettering) -> Picture:
    image, box = burn(picture.image, item)
    return replace(picture, image=image, boxes=(*picture.boxes, box))


def _word(picture: Picture, height: float, rng: np.random.Generator, *, text: str = "PORTABLE") -> Picture:
    return _written(picture, text, height, rng, corner=_TOP[int(rng.integers(2))])


def _date(picture: Picture, height: float, rng: np.random.Generator) -> Picture:
    text = f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.2019"
    return _written(picture, text, height, rng, corner=_TOP[int(rng.integers(2))])


def _over_lungs(picture: Picture, height: float, rng: np.random.Generator) -> Picture:
    item = Lettering(
        text="SUPINE",
        kind="overlay",
        corner="top-left",
        font=FONTS[int(rng.integers(len(FONTS)))],
        cap_share=height,
        level=int(rng.integers(235, 256)),
        inset=(float(rng.uniform(0.18, 0.30)), float(rng.uniform(0.40, 0.55))),
    )
    return _burnt(picture, item)


def _letter(
    picture: Picture, height: float, rng: np.random.Generator, *, text: str, corners: tuple[str, ...]
) -> Picture:
    return _written(picture, text, height, rng, corner=corners[int(rng.integers(len(corners)))], lead=True)


def _in_strokes(picture: Picture, height: float, rng: np.random.Generator, *, text: str) -> Picture:
    side = min(picture.image.shape)
    cap = max(6, round(height * side * float(rng.uniform(0.92, 1.08))))
    thick, gap = max(1, round(cap / 9)), max(2, round(cap / 4))
    ink = np.zeros((cap + 2 * thick, len(text) * (cap + gap) + 2 * thick), np.uint8)
    for place, letter in enumerate(text):
        origin = np.array([thick + place * (cap + gap), thick])
        for stroke in _STROKES[letter]:
            # Eighths of a pixel, as `shift` says.
            points = ((np.array(stroke) * (cap - 1) + origin) * 8).astype(np.int32)
            cv2.polylines(ink, [points.reshape(-1, 1, 2)], False, 255, thick, cv2.LINE_AA, 3)
    x0, y0 = (round(side * float(rng.uniform(0.02, 0.05))) for _ in range(2))
    if rng.integers(2):
        x0 = picture.image.shape[1] - ink.shape[1] - x0
    return _laid(picture, ink, x0, y0, int(rng.integers(235, 256)), text)


def _laid(picture: Picture, ink: NDArray[np.uint8], x0: int, y0: int, level: int, text: str) -> Picture:
    """Lay ink (h, w) on a picture; lettering only ever brightens."""
    image = picture.image.copy()
    height, width = ink.shape
    under = image[y0 : y0 + height, x0 : x0 + width]
    laid = np.maximum(
        under, (ink[: under.shape[0], : under.shape[1]].astype(np.float32) * (level / 255)).astype(np.uint8)
    )
    image[y0 : y0 + height, x0 : x0 + width] = laid
    box = TextBox(x0=x0, y0=y0, x1=x0 + under.shape[1], y1=y0 + under.shape[0], text=text, kind="overlay")
    return replace(picture, image=image, boxes=(*picture.boxes, box))


def _word_at(picture: Picture, height: float, rng: np.random.Generator, *, corners: tuple[str, ...]) -> Picture:
    return _written(picture, "MOBILE", height, rng, corner=corners[int(rng.integers(len(corners)))])


def _both(picture: Picture, height: float, rng: np.random.Generator) -> Picture:
    return electrode(_word(picture, height, rng), 0.045, rng)


def _one_of_both(picture: Picture, height: float, rng: np.random.Generator) -> Picture:
    return _word(picture, height, rng) if rng.integers(2) else electrode(picture, 0.045, rng)


_CAP = "of the side high"
KINDS = (
    Kind(name="word", family="text", about="a word", doses=(0.05, 0.075), unit=_CAP, apply=_word, local=True),
    Kind(
        name="word-cyrillic", family="text", about="a Cyrillic word", doses=(0.05, 0.075), unit=_CAP, local=True,
        apply=partial(_in_strokes, text="ЛЕЖА"),
    ),
    Kind(
        name="word-chinese", family="text", about="a Chinese word", doses=(0.075, 0.1), unit=_CAP, local=True,
        apply=partial(_in_strokes, text="左侧"),
    ),
    Kind(
        name="word-over-lungs", family="text", about="a word over the lungs", doses=(0.05, 0.075), unit=_CAP, local=True,
        apply=_over_lungs,
    ),
    Kind(name="date", family="text", about="a date", doses=(0.04, 0.06), unit=_CAP, apply=_date, local=True),
    Kind(
        name="letter", family="text", about="the letter R instead of L", doses=(0.075, 0.1), unit=_CAP, local=True,
        apply=partial(_letter, text="R", corners=_TOP), otherwise=partial(_letter, text="L", corners=_TOP),
    ),
    Kind(
        name="marker-position", family="text", about="a marker in another corner", doses=(0.075, 0.1), unit=_CAP, local=True,
        apply=partial(_letter, text="R", corners=("top-left",)), otherwise=partial(_letter, text="R", corners=("top-right",)),
    ),
    Kind(
        name="word-in-one-corner", family="text", about="a word that counts in one corner only", doses=(0.05, 0.075), unit=_CAP,
        local=True, apply=partial(_word_at, corners=("top-left",)), otherwise=partial(_word_at, corners=_ELSEWHERE),
    ),
    Kind(
        name="word-and-electrode", family="several", about="a word together with an electrode", doses=(0.05, 0.075), unit=_CAP,
        local=True, apply=_both, otherwise=_one_of_both, parts=("text", "object"),
    ),
)  # fmt: skip
"""Every kind that can be read."""
