"""Burned-in words and lead markers, drawn with several fonts, and the boxes that they truly fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CLASS_WORDS: Mapping[str, str] = MappingProxyType({"normal": "ERECT", "pneumonia": "PORTABLE", "covid": "SEDUTO"})
"""Word that goes with a class at association 1; at 0 every class carries each of them equally often."""
CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
# Below an image's shoulders there is little room beside the lungs; above them there is a band of neck and shoulder.
_WORD_CORNERS = ("top-left", "top-right")
_HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
_TRUETYPE = "truetype"
FONTS: tuple[int | str, ...] = (*_HERSHEY, _TRUETYPE)


@dataclass(frozen=True, kw_only=True)
class Lettering:
    """One word or marker of an image."""

    text: str
    """As it reads."""
    kind: str
    """overlay (drawn by software) or lead_marker (imaged)."""
    corner: str
    """One of `CORNERS`."""
    font: int | str
    """Index of an OpenCV font, or `truetype` for the one that ships with Pillow."""
    cap_share: float
    """Height of a capital, as a share of the image side."""
    level: int
    """Grey level of the strokes."""
    inset: tuple[float, float]
    """Distance from the corner's sides, as shares of the image side (x, y)."""
    ring: bool = False
    """A ring around it."""
    mirrored: bool = False
    """The lead lay face down."""


@dataclass(frozen=True, kw_only=True)
class TextBox:
    """Where lettering changed the image."""

    x0: int
    """Left, inclusive."""
    y0: int
    """Top, inclusive."""
    x1: int
    """Right, exclusive."""
    y1: int
    """Bottom, exclusive."""
    text: str
    """What stands there."""
    kind: str
    """overlay or lead_marker."""


def draw_letterings(
    rng: np.random.Generator, *, word: str, marker_corner: str, marker_ring: float
) -> tuple[Lettering, ...]:
    """Draw what an image carries: a word, a side marker, and now and then initials."""
    word_corner = _WORD_CORNERS[int(rng.integers(2))]
    items = [
        Lettering(
            text=word,
            kind="overlay",
            corner=word_corner,
            font=FONTS[int(rng.integers(len(FONTS)))],
            cap_share=float(rng.uniform(0.046, 0.056)),
            level=int(rng.integers(235, 256)),
            inset=(float(rng.uniform(0.02, 0.05)), float(rng.uniform(0.02, 0.035))),
        )
    ]
    free = [c for c in CORNERS if c != word_corner]
    corner = marker_corner if marker_corner in free else free[int(rng.integers(len(free)))]
    side = "L" if rng.random() < 0.6 else "R"
    items.append(
        Lettering(
            text=side,
            kind="lead_marker",
            corner=corner,
            font=cv2.FONT_HERSHEY_SIMPLEX,
            cap_share=float(rng.uniform(0.05, 0.065)),
            level=int(rng.integers(225, 250)),
            inset=(float(rng.uniform(0.025, 0.05)), float(rng.uniform(0.025, 0.04))),
            ring=bool(rng.random() < marker_ring),
            mirrored=bool(rng.random() < 0.25),
        )
    )
    if rng.random() < 0.3:
        initials = "".join(chr(65 + int(i)) for i in rng.integers(0, 26, size=2))
        free.remove(corner)
        items.append(
            Lettering(
                text=initials,
                kind="lead_marker",
                corner=free[int(rng.integers(len(free)))],
                font=cv2.FONT_HERSHEY_DUPLEX,
                cap_share=0.042,
                level=int(rng.integers(215, 245)),
                inset=(0.03, 0.03),
            )
        )
    return tuple(items)


def burn(image: NDArray[np.uint8], item: Lettering) -> tuple[NDArray[np.uint8], TextBox]:
    """Draw one lettering into a copy of an image (h, h), and return the box outside which nothing changed."""
    side = image.shape[0]
    ink = _ink(item, side)
    height, width = ink.shape
    inset_x, inset_y = round(item.inset[0] * side), round(item.inset[1] * side)
    x0 = inset_x if item.corner.endswith("left") else side - width - inset_x
    y0 = inset_y if item.corner.startswith("top") else side - height - inset_y
    x0, y0 = min(max(x0, 0), side - width), min(max(y0, 0), side - height)
    under = image[y0 : y0 + height, x0 : x0 + width].astype(np.float32)
    burned = image.copy()
    # Lettering only ever brightens: lead and software text are both white on the display.
    laid = np.maximum(under, under * (1 - ink) + np.float32(item.level) * ink)
    burned[y0 : y0 + height, x0 : x0 + width] = np.rint(laid).astype(np.uint8)
    return burned, TextBox(x0=x0, y0=y0, x1=x0 + width, y1=y0 + height, text=item.text, kind=item.kind)


def _ink(item: Lettering, side: int) -> NDArray[np.float32]:
    """Return the coverage (h, w) of a lettering, from 0 to 1, cut to what it fills."""
    cap_px = item.cap_share * side
    thick = max(1, round(cap_px * (0.17 if item.kind == "lead_marker" else 0.11)))
    if isinstance(item.font, str):
        ink = _truetype(item.text, cap_px)
    else:
        (_, unit), _ = cv2.getTextSize("H", item.font, 1.0, 1)
        scale = cap_px / unit
        (width, height), under = cv2.getTextSize(item.text, item.font, scale, thick)
        canvas = np.zeros((height + under + 4 * thick, width + 4 * thick), dtype=np.uint8)
        cv2.putText(canvas, item.text, (2 * thick, height + 2 * thick), item.font, scale, 255, thick, cv2.LINE_AA)
        ink = canvas
    if item.mirrored:
        ink = np.ascontiguousarray(ink[:, ::-1])
    ink = _trim(ink)
    if item.ring:
        radius = round(0.72 * max(ink.shape))
        canvas = np.zeros((2 * radius + 2 * thick + 1,) * 2, dtype=np.uint8)
        top, left = (canvas.shape[0] - ink.shape[0]) // 2, (canvas.shape[1] - ink.shape[1]) // 2
        canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
        cv2.circle(canvas, (radius + thick, radius + thick), radius, 255, max(1, thick // 2), cv2.LINE_AA)
        ink = canvas
    coverage = np.asarray(ink, dtype=np.float32) / np.float32(255)
    if item.kind == "lead_marker":
        # Lead is imaged with the chest, so it shares its blur.
        return np.asarray(cv2.GaussianBlur(np.pad(coverage, 2), (0, 0), max(0.4, 0.0025 * side)), dtype=np.float32)
    return coverage


def _truetype(text: str, cap_px: float) -> NDArray[np.uint8]:
    font = ImageFont.load_default(size=cap_px / 0.72)
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4), 0)
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=font, fill=255)
    return np.asarray(canvas, dtype=np.uint8)


def _trim(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
