"""Things that lie on patients: drawn for the search for objects, and nowhere used to set it.

Every one is drawn at a multiple of its size, turned, scaled and laid on the image with soft edges: metal hides what is behind it, plastic
brightens it. None is a shape that phantoms or the zoo show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.calibration.plants import Kind, Picture

_FINE = 8
"""Pixels of a drawing for one of the image."""
Canvas = NDArray[np.float32]
Draw = Callable[[Canvas, float], None]


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object."""

    about: str
    """In words, to stand after "found"."""
    draw: Draw
    """Draws opacities 0 to 1 on a square canvas of which it fills the middle two thirds."""
    place: tuple[float, float]
    """Where its middle lies on average, in shares of the sides."""
    size: float
    """Its long side, as a share of the image's short side."""
    level: float = 235.0
    """Grey level where it is opaque."""
    opacity: float = 0.9
    """Of the thickest part."""
    jitter: float = 0.03
    """How far its place varies, to either side, in shares of the sides."""
    turn: float = 12.0
    """How far it is turned, in degrees to either side."""
    angle: float = 0.0
    """About which it is turned."""
    zoom: float = 0.12
    """How far its size varies, as a share, to either side."""


def _line(canvas: Canvas, points: list[tuple[float, float]], width: float, *, closed: bool = False) -> None:
    side = canvas.shape[0]
    scaled = np.array([(x * side * 16, y * side * 16) for x, y in points], dtype=np.int32)
    cv2.polylines(canvas, [scaled.reshape(-1, 1, 2)], closed, 1.0, max(1, round(width * side)), cv2.LINE_AA, 4)


def _disc(canvas: Canvas, x: float, y: float, radius: float, level: float = 1.0, width: float = 0) -> None:
    side = canvas.shape[0]
    thick = max(1, round(width * side)) if width else -1
    cv2.circle(canvas, (round(x * side), round(y * side)), max(1, round(radius * side)), level, thick, cv2.LINE_AA)


def _area(canvas: Canvas, points: list[tuple[float, float]], level: float = 1.0) -> None:
    side = canvas.shape[0]
    cv2.fillPoly(canvas, [np.array([(x * side, y * side) for x, y in points], dtype=np.int32)], level, cv2.LINE_AA)


def _curve(of: Callable[[float], tuple[float, float]], n: int = 40) -> list[tuple[float, float]]:
    return [of(t) for t in np.linspace(0, 1, n)]


def _snap(canvas: Canvas, _: float) -> None:
    """An electrode's pad with its button off centre."""
    _area(canvas, [(0.2, 0.28), (0.8, 0.2), (0.84, 0.74), (0.24, 0.82)], 0.35)
    _disc(canvas, 0.44, 0.5, 0.13)
    _disc(canvas, 0.44, 0.5, 0.05, 0.3)


def _pin(canvas: Canvas, _: float) -> None:
    """A safety pin."""
    _line(canvas, [(0.2, 0.42), (0.72, 0.4), (0.8, 0.44), (0.8, 0.54), (0.72, 0.58), (0.2, 0.56)], 0.035)
    _disc(canvas, 0.2, 0.49, 0.08, width=0.035)
    _area(canvas, [(0.68, 0.36), (0.86, 0.4), (0.86, 0.58), (0.68, 0.62)])


def _button(canvas: Canvas, _: float) -> None:
    """A button with four holes."""
    _disc(canvas, 0.5, 0.5, 0.32)
    for x in (0.41, 0.59):
        for y in (0.41, 0.59):
            _disc(canvas, x, y, 0.055, 0.15)


def _port(canvas: Canvas, _: float) -> None:
    """A port with its catheter."""
    _area(canvas, [(0.36, 0.6), (0.5, 0.36), (0.64, 0.6), (0.6, 0.68), (0.4, 0.68)], 0.6)
    _disc(canvas, 0.5, 0.56, 0.09, width=0.03)
    _line(canvas, _curve(lambda t: (0.5 - 0.28 * t, 0.36 - 0.2 * float(np.sin(2.2 * t)))), 0.025)


def _drain(canvas: Canvas, _: float) -> None:
    """A drain: two walls with a lumen between."""
    for offset in (-0.03, 0.03):
        bow = _curve(lambda t, o=offset: (0.42 + 0.2 * float(np.sin(2.4 * t)) + o, 0.16 + 0.68 * t))  # type: ignore[misc]
        _line(canvas, bow, 0.018)


def _zipper(canvas: Canvas, _: float) -> None:
    """A zipper, closed."""
    for k in range(14):
        y, left = 0.17 + 0.05 * k, 0.44 if k % 2 else 0.5
        _area(canvas, [(left, y), (left + 0.07, y), (left + 0.07, y + 0.026), (left, y + 0.026)])


def _staples(canvas: Canvas, _: float) -> None:
    """Skin staples in a row."""
    for k in range(6):
        y = 0.2 + 0.12 * k
        _line(canvas, [(0.38, y + 0.03), (0.38, y), (0.62, y), (0.62, y + 0.03)], 0.028)


def _chevron(canvas: Canvas, _: float) -> None:
    """A filled arrow head."""
    _area(canvas, [(0.18, 0.5), (0.8, 0.24), (0.64, 0.5), (0.8, 0.76)])


def _plaster(canvas: Canvas, _: float) -> None:
    """A soft plaster, hardly seen."""
    _area(canvas, [(0.18, 0.36), (0.82, 0.32), (0.84, 0.62), (0.2, 0.68)], 0.8)
    _area(canvas, [(0.4, 0.345), (0.62, 0.33), (0.64, 0.635), (0.42, 0.655)], 1.0)


def _chain(canvas: Canvas, _: float) -> None:
    """Part of a necklace."""
    for t in np.linspace(0, 1, 11):
        _disc(canvas, 0.17 + 0.66 * float(t), 0.38 + 0.3 * float(np.sin(np.pi * t)), 0.03)


def _coil(canvas: Canvas, _: float) -> None:
    """A coiled wire."""
    _line(
        canvas,
        _curve(
            lambda t: (
                0.5 + 0.3 * t * float(np.cos(13 * t)),
                0.5 + 0.3 * t * float(np.sin(13 * t)),
            ),
            90,
        ),
        0.03,
    )


def _cross(canvas: Canvas, _: float) -> None:
    """A pendant cross."""
    _line(canvas, [(0.5, 0.18), (0.5, 0.82)], 0.1)
    _line(canvas, [(0.3, 0.38), (0.7, 0.38)], 0.1)


def _lead(canvas: Canvas, _: float) -> None:
    """A lead with its plug."""
    _line(canvas, _curve(lambda t: (0.18 + 0.5 * t, 0.62 + 0.14 * float(np.sin(5.5 * t)))), 0.022)
    _area(canvas, [(0.66, 0.4), (0.82, 0.4), (0.82, 0.6), (0.66, 0.6)])


def _ring(canvas: Canvas, _: float) -> None:
    """A small ring."""
    _disc(canvas, 0.5, 0.5, 0.3, width=0.09)


THINGS: Mapping[str, Thing] = MappingProxyType(
    {
        "snap": Thing(about="an electrode pad", draw=_snap, place=(0.3, 0.62), size=0.09, opacity=0.85),
        "pin": Thing(about="a safety pin", draw=_pin, place=(0.3, 0.48), size=0.12, turn=25.0),
        "button": Thing(about="a button", draw=_button, place=(0.5, 0.62), size=0.06, opacity=0.55, jitter=0.06),
        "port": Thing(about="a port", draw=_port, place=(0.3, 0.26), size=0.16, opacity=0.6),
        "drain": Thing(about="a drain", draw=_drain, place=(0.68, 0.62), size=0.24, opacity=0.5, jitter=0.04),
        "zipper": Thing(about="a zipper", draw=_zipper, place=(0.5, 0.45), size=0.3, opacity=0.7, turn=5.0),
        "staples": Thing(about="skin staples", draw=_staples, place=(0.36, 0.42), size=0.16, opacity=0.8),
        "chevron": Thing(about="an arrow head", draw=_chevron, place=(0.7, 0.4), size=0.06, jitter=0.1, turn=8.0),
        "plaster": Thing(about="a plaster", draw=_plaster, place=(0.66, 0.28), size=0.18, opacity=0.28, jitter=0.04),
        "chain": Thing(about="a necklace", draw=_chain, place=(0.5, 0.13), size=0.22, opacity=0.7),
        "coil": Thing(about="a coil", draw=_coil, place=(0.4, 0.8), size=0.09, opacity=0.7, jitter=0.08),
        "cross": Thing(about="a pendant", draw=_cross, place=(0.48, 0.36), size=0.1, opacity=0.45, jitter=0.05),
        "lead": Thing(about="a lead", draw=_lead, place=(0.24, 0.3), size=0.18, opacity=0.65, jitter=0.05),
        "ring": Thing(about="a ring", draw=_ring, place=(0.66, 0.7), size=0.045, opacity=0.8, jitter=0.1),
    }
)
"""Name -> thing."""


def lay(picture: Picture, thing: Thing, scale: float, rng: np.random.Generator) -> Picture:
    """Lay a thing on a picture.

    Parameters
    ----------
    picture : Picture
        Left as it is.
    thing : Thing
        What is laid.
    scale : float
        Times its usual size.
    rng : numpy Generator
        Of its place, turn and size.
    """
    height, width = picture.image.shape
    zoom = 1 + float(rng.uniform(-thing.zoom, thing.zoom))
    angle = thing.angle + float(rng.uniform(-thing.turn, thing.turn))
    x, y = (
        (c + float(rng.uniform(-thing.jitter, thing.jitter))) * side
        for c, side in zip(thing.place, (width, height), strict=True)
    )
    # The drawing fills two thirds of its canvas.
    reach = thing.size * scale * zoom * min(height, width) * 0.75
    px = max(8, 2 * round(reach))
    canvas = np.zeros((px * _FINE, px * _FINE), np.float32)
    thing.draw(canvas, 1.0)
    middle = px * _FINE / 2
    turned = cv2.warpAffine(canvas, cv2.getRotationMatrix2D((middle, middle), angle, 1.0), canvas.shape[::-1])
    small = cv2.GaussianBlur(cv2.resize(turned, (px, px), interpolation=cv2.INTER_AREA), (0, 0), 0.5)
    # To a fraction of a pixel, and cut where it leaves the image.
    move = np.array([[1, 0, x - px / 2], [0, 1, y - px / 2]], dtype=np.float32)
    layer = thing.opacity * cv2.warpAffine(small, move, (width, height))
    image = picture.image.astype(np.float32)
    laid = image + layer * (np.maximum(thing.level, image) - image)
    return replace(picture, image=np.asarray(np.clip(np.rint(laid), 0, 255), dtype=np.uint8))


def things_as_kinds() -> tuple[Kind, ...]:
    """Return every thing as a kind of plant; the weak dose is smaller."""

    def kind(name: str, thing: Thing) -> Kind:
        return Kind(
            name=name,
            family="object",
            about=thing.about,
            doses=(0.75, 1.0),
            unit="of its usual size",
            apply=lambda picture, scale, rng: lay(picture, thing, scale, rng),
            local=True,
        )

    return tuple(kind(name, thing) for name, thing in THINGS.items())
