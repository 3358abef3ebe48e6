"""Plants without letters: things that lie on a patient or in one."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.calibration.plants import Kind, Picture

Points = list[tuple[float, float]]


def _laid(picture: Picture, layer: NDArray[np.uint8]) -> Picture:
    """Metal in front of tissue brightens what is there."""
    return replace(picture, image=np.asarray(cv2.add(picture.image, layer), dtype=np.uint8))


def _layer(picture: Picture) -> tuple[NDArray[np.uint8], int]:
    return np.zeros_like(picture.image), min(picture.image.shape)


def _at(centre: tuple[float, float], jitter: float, rng: np.random.Generator) -> tuple[float, float]:
    x, y = (float(c + rng.uniform(-jitter, jitter)) for c in centre)
    return x, y


def _line(layer: NDArray[np.uint8], points: Points, level: int, thick: int, *, closed: bool = False) -> None:
    """Draw a polyline of points (x, y) in shares of the image's sides."""
    height, width = layer.shape
    scaled = np.array([(x * width * 8, y * height * 8) for x, y in points], dtype=np.int32)
    cv2.polylines(layer, [scaled.reshape(-1, 1, 2)], closed, level, thick, cv2.LINE_AA, 3)


def _disc(layer: NDArray[np.uint8], centre: tuple[float, float], radius_px: int, level: int, thick: int = -1) -> None:
    height, width = layer.shape
    cv2.circle(layer, (round(centre[0] * width), round(centre[1] * height)), radius_px, level, thick, cv2.LINE_AA)


def electrode(picture: Picture, radius: float, rng: np.random.Generator) -> Picture:
    """Stick a monitoring electrode below the patient's right ribs, with its lead to the border."""
    layer, side = _layer(picture)
    x, y = _at((0.2, 0.8), 0.02, rng)
    px = max(2, round(radius * side))
    _disc(layer, (x, y), px, 150, max(1, px // 3))
    _disc(layer, (x, y), max(1, px // 3), 230)
    _line(layer, [(x - radius, y), (x - 2 * radius, y + radius), (0, min(0.99, y + 3 * radius))], 110, max(1, px // 4))
    return _laid(picture, layer)


def _clips(picture: Picture, size: float, rng: np.random.Generator) -> Picture:
    layer, side = _layer(picture)
    for _ in range(3):
        x, y = _at((0.62, 0.55), 0.06, rng)
        turn = float(rng.uniform(-0.6, 0.6))
        dx, dy = size * np.cos(turn), size * np.sin(turn)
        _line(layer, [(x - dx, y - dy), (x + dx, y + dy)], 170, max(1, round(size * side / 3)))
    return _laid(picture, layer)


def _tube(picture: Picture, width: float, rng: np.random.Generator) -> Picture:
    layer, side = _layer(picture)
    x, bend = 0.5 + float(rng.uniform(-0.01, 0.01)), float(rng.uniform(-0.02, 0.02))
    t = np.linspace(0, 1, 12)
    points = [(x + bend * float(np.sin(2 * s)), 0.45 * float(s)) for s in t]
    _line(layer, points, 110, max(1, round(width * side)))
    return _laid(picture, layer)


def _arrow(picture: Picture, length: float, rng: np.random.Generator) -> Picture:
    layer, side = _layer(picture)
    x, y = _at((0.74, 0.34), 0.04, rng)
    thick = max(1, round(side / 100))
    _line(layer, [(x, y), (x - length, y + length)], 220, thick)
    _line(layer, [(x - length, y + 0.5 * length), (x - length, y + length), (x - 0.5 * length, y + length)], 220, thick)
    return _laid(picture, layer)


def _pacemaker(picture: Picture, size: float, rng: np.random.Generator) -> Picture:
    layer, _side = _layer(picture)
    height, width = layer.shape
    x, y = _at((0.76, 0.24), 0.02, rng)
    axes = (max(2, round(size * width)), max(2, round(0.8 * size * height)))
    cv2.ellipse(layer, (round(x * width), round(y * height)), axes, 10, 0, 360, 140, -1, cv2.LINE_AA)
    _line(layer, [(x - size, y), (x - 2.2 * size, y + size), (0.55, 0.45), (0.57, 0.62)], 110, max(1, width // 120))
    return _laid(picture, layer)


def _ruler(picture: Picture, length: float, rng: np.random.Generator) -> Picture:
    layer, side = _layer(picture)
    x, y = _at((0.955, 0.5 - length / 2), 0.01, rng)
    thick = max(1, round(side / 160))
    _line(layer, [(x, y), (x, y + length)], 200, thick)
    for mark in range(11):
        tick = 0.03 if mark % 5 == 0 else 0.018
        _line(layer, [(x, y + length * mark / 10), (x - tick, y + length * mark / 10)], 200, thick)
    return _laid(picture, layer)


def _sticker(picture: Picture, radius: float, rng: np.random.Generator) -> Picture:
    layer, side = _layer(picture)
    _disc(layer, _at((0.12, 0.42), 0.02, rng), max(2, round(radius * side)), 90)
    return _laid(picture, layer)


def _kind(name: str, about: str, doses: tuple[float, float], apply: object, unit: str = "of the width") -> Kind:
    assert callable(apply)
    return Kind(name=name, family="object", about=about, doses=doses, unit=unit, apply=apply, local=True)


KINDS = (
    _kind("electrode", "an electrode", (0.03, 0.045), electrode),
    _kind("clips", "surgical clips", (0.02, 0.03), _clips),
    _kind("tube", "a tube", (0.012, 0.02), _tube),
    _kind("arrow", "an arrow", (0.06, 0.09), _arrow),
    _kind("pacemaker", "a pacemaker", (0.05, 0.07), _pacemaker),
    _kind("ruler", "a ruler", (0.3, 0.5), _ruler, "of the height"),
    _kind("sticker", "a sticker", (0.03, 0.05), _sticker),
)
"""Every object."""
