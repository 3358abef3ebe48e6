"""Synthetic photographs of skin lesions: benign and malignant, with rulers, coloured stickers and ink as shortcuts of known strength."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from audit.errors import UsageError
from audit.randomness import generator_for
from audit.training.phantom.folders import write_png, write_tables
from audit.training.phantom.lettering import TextBox

Field = NDArray[np.float32]
CLASSES = ("benign", "malignant")
CAMERAS = ("clinic-a", "clinic-b")
STICKER_CLASS = "benign"
"""Class that carries stickers at association 1, as in archives in which only benign images show coloured patches."""
RULER_SHARE, INK_SHARE = 0.4, 0.3
"""Shares of the images with a ruler and with ink, equal in all classes: they tell nothing."""
STICKER_CENTRE = (0.84, 0.84)
"""Where a sticker lies (x, y), as shares of the side; it is moved by up to `_JITTER`."""
STICKER_RADIUS = 0.085
_JITTER = 0.03
_LIGHT, _DARK = np.array([228, 184, 164], np.float32), np.array([118, 80, 62], np.float32)
_BROWN, _BLACK, _BLUE = (np.array(c, np.float32) for c in ([112, 66, 46], [48, 32, 34], [84, 92, 116]))
_STICKER, _INK = np.array([36, 92, 190], np.float32), np.array([92, 40, 150], np.float32)
_RULER, _MARK = np.array([238, 236, 226], np.float32), np.array([30, 30, 34], np.float32)
# Gains of red, green and blue of each camera.
_BALANCE = {"clinic-a": (1.0, 1.0, 1.0), "clinic-b": (1.04, 0.99, 0.92)}
_COLUMNS = ("id", "path", "label", "source", "site", "patient_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class SkinSpec:
    """Everything that decides one image."""

    index: int
    """Number of the image."""
    seed: int
    """Seed of the whole cohort."""
    patient: str
    """Who was photographed."""
    label: str
    """Class of the lesion."""
    camera: str
    """Source of the image."""
    sticker: bool
    """Whether it shows a coloured sticker."""
    ruler: bool
    """Whether it shows a ruler."""
    ink: bool
    """Whether the lesion is marked with ink."""


@dataclass(frozen=True, kw_only=True)
class SkinImage:
    """One image, and what is known of it."""

    image: NDArray[np.uint8]
    """Red, green and blue (h, h, 3)."""
    lesion: NDArray[np.bool_]
    """(h, h), true inside the lesion."""
    boxes: tuple[TextBox, ...]
    """The digits of the ruler."""


def skin_specs(*, n_images: int, seed: int, sticker_association: float = 0.0) -> Iterator[SkinSpec]:
    """Decide everything about each image, without rendering any; images 2p and 2p + 1 are of one patient and one class."""
    for index in range(n_images):
        pair = index // 2
        rng = generator_for(seed, "skin", index)
        label = CLASSES[pair % len(CLASSES)]
        follows, other = rng.random() < sticker_association, bool(rng.random() < 0.5)
        yield SkinSpec(
            index=index,
            seed=seed,
            patient=f"skin-{pair}",
            label=label,
            camera=CAMERAS[int(rng.integers(len(CAMERAS)))],
            sticker=label == STICKER_CLASS if follows else other,
            ruler=bool(rng.random() < RULER_SHARE),
            ink=bool(rng.random() < INK_SHARE),
        )


def render_skin(spec: SkinSpec, size_px: int) -> SkinImage:
    """Draw one image; it depends on the spec and the size alone."""
    rng = generator_for(spec.seed, "skin pixels", spec.index)
    tone = float(generator_for(spec.seed, "skin tone", spec.patient).beta(2.0, 2.6))
    image = np.broadcast_to(_LIGHT + tone * (_DARK - _LIGHT), (size_px, size_px, 3)).astype(np.float32)
    image = image * (1 + 0.05 * _smooth(rng, size_px, 0.12) + 0.02 * _smooth(rng, size_px, 0.012))[..., None]
    opacity, pigment = _lesion(spec.label, rng, size_px)
    image = image + opacity[..., None] * (pigment - image)
    lesion = opacity > 0.5
    for _ in range(int(rng.integers(0, 6))):
        image = _mixed(image, _hair(rng, size_px), _MARK)
    if spec.ink:
        image = _mixed(image, _ink(rng, size_px), _INK)
    boxes: tuple[TextBox, ...] = ()
    if spec.ruler:
        image, boxes = _ruler(image, rng)
    if spec.sticker:
        image = _mixed(image, _sticker(rng, size_px), _STICKER)
    shade = 1 - 0.16 * np.hypot(*np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]) ** 2
    image = image * shade[..., None] * np.array(_BALANCE[spec.camera]) + rng.normal(0, 2.5, image.shape)
    return SkinImage(image=np.clip(np.rint(image), 0, 255).astype(np.uint8), lesion=lesion, boxes=boxes)


def make_skin(
    folder: Path,
    *,
    n_images: int,
    size_px: int = 192,
    seed: int = 0,
    sticker_association: float = 0.0,
    on_image: Callable[[int, int], None] | None = None,
) -> Path:
    """Write synthetic photographs of skin with a manifest and the true text boxes.

    Parameters
    ----------
    folder : Path
        Where `manifest.csv`, `boxes.json` and `images/` go.
    n_images : int
        Number of images; a multiple of 4 makes classes equal.
    size_px : int
        Side of the square images.
    seed : int
        Of the whole cohort.
    sticker_association : float in [0, 1]
        With this probability an image shows a sticker if and only if it is benign, else by the toss of a coin.
    on_image : callable, optional
        Called with (done, total) after each image.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    UsageError
        If a parameter is outside its range.
    """
    if n_images < 1 or not 64 <= size_px <= 2048 or not 0 <= sticker_association <= 1:
        raise UsageError(
            "Phantoms of skin need at least 1 image, a side of 64 to 2048 px and an association from 0 to 1, found "
            f"{n_images}, {size_px} and {sticker_association}."
        )
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, boxes = [], {}
    for spec in skin_specs(n_images=n_images, seed=seed, sticker_association=sticker_association):
        made, name = render_skin(spec, size_px), f"{spec.index:05d}"
        write_png(folder / "images" / f"{name}.png", made.image)
        boxes[f"images/{name}.png"] = made.boxes
        rows.append(
            dict(
                zip(
                    _COLUMNS,
                    (name, f"images/{name}.png", spec.label, spec.camera, spec.camera, spec.patient),
                    strict=True,
                )
            )
        )
        if on_image is not None:
            on_image(spec.index + 1, n_images)
    return write_tables(folder, _COLUMNS, rows, boxes)


def _smooth(rng: np.random.Generator, side: int, reach: float) -> Field:
    """Return noise (h, h) of unit deviation, smooth over a share of the side."""
    field = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), max(0.6, reach * side))
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)


def _lesion(label: str, rng: np.random.Generator, side: int) -> tuple[Field, Field]:
    """Return opacity (h, h) and colours (h, h, 3): benign ones are round and of one brown, malignant ones ragged and of several colours."""
    malignant = label == "malignant"
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    yy, xx = yy - rng.uniform(-0.05, 0.05), xx - rng.uniform(-0.05, 0.05)
    angle, radius = np.arctan2(yy, xx), np.hypot(yy, xx)
    edge = np.full_like(angle, rng.uniform(0.13, 0.19))
    for k in range(2, 9):
        depth = (0.16 if malignant else 0.03) / k
        edge = edge * (1 + depth * 2 * rng.standard_normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi)))
    soft = rng.uniform(0.006, 0.012) if malignant else rng.uniform(0.012, 0.022)
    opacity = np.asarray(0.88 / (1 + np.exp(np.minimum((radius - edge) / soft, 60))), dtype=np.float32)
    colours = np.broadcast_to(_BROWN * rng.uniform(0.9, 1.15), (side, side, 3)).astype(np.float32)
    colours = colours * (1 + 0.06 * _smooth(rng, side, 0.02))[..., None]
    if malignant:
        for pigment in (_BLACK, _BLUE):
            patch = np.clip(_smooth(rng, side, 0.05) - 0.3, 0, 1)
            colours = colours + patch[..., None] * (pigment - colours)
    return opacity, colours


def _mixed(image: Field, opacity: Field, colour: Field) -> Field:
    return np.asarray(image + opacity[..., None] * (colour - image), dtype=np.float32)


def _layer(side: int) -> NDArray[np.uint8]:
    return np.zeros((side, side), dtype=np.uint8)


def _hair(rng: np.random.Generator, side: int) -> Field:
    layer = _layer(side)
    start, turn = rng.uniform(-0.1, 1.1, 2) * side, rng.uniform(0, 2 * np.pi)
    along = np.linspace(0, 1, 24)[:, None]
    bend = rng.normal(0, 0.15) * side
    way = start + along * side * np.array([np.cos(turn), np.sin(turn)])
    way = way + bend * along**2 * np.array([-np.sin(turn), np.cos(turn)])
    cv2.polylines(layer, [np.rint(way).astype(np.int32).reshape(-1, 1, 2)], False, 190, 1, cv2.LINE_AA)
    return np.asarray(layer / 255, dtype=np.float32)


def _ink(rng: np.random.Generator, side: int) -> Field:
    """Return pen strokes around the lesion."""
    layer = _layer(side)
    for _ in range(int(rng.integers(2, 5))):
        turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.32) * side
        middle = side / 2 + reach * np.array([np.cos(turn), np.sin(turn)])
        across = 0.05 * side * np.array([-np.sin(turn), np.cos(turn)])
        ends = [tuple(int(v) for v in np.rint(middle + sign * across)) for sign in (-1, 1)]
        cv2.line(layer, ends[0], ends[1], 200, max(1, side // 90), cv2.LINE_AA)
    return np.asarray(layer / 255, dtype=np.float32)


def _sticker(rng: np.random.Generator, side: int) -> Field:
    layer = _layer(side)
    x, y = (round(side * float(c + rng.uniform(-_JITTER, _JITTER))) for c in STICKER_CENTRE)
    cv2.circle(layer, (x, y), round(STICKER_RADIUS * side), 245, -1, cv2.LINE_AA)
    # No hole, notch or pattern: a finder rightly takes a ring for the letter O, and a notched disc for a C.
    return np.asarray(layer / 255, dtype=np.float32)


def _ruler(image: Field, rng: np.random.Generator) -> tuple[Field, tuple[TextBox, ...]]:
    """Lay a ruler along the left border; return the image and the boxes of its digits."""
    side = image.shape[0]
    width, step = round(0.13 * side), side / 8
    first = rng.uniform(0.3, 0.7) * step
    strip, marks = _layer(side), Image.new("L", (side, side))
    strip[:, :width] = 235
    draw, font = ImageDraw.Draw(marks), ImageFont.load_default(max(8, round(0.055 * side)))
    boxes = []
    for number in range(8):
        y = first + number * step
        for part in range(5):
            long = 0.5 if part == 0 else 0.25
            draw.line((0, y + part * step / 5, long * width, y + part * step / 5), fill=255)
        box = draw.textbbox((0.55 * width, y), str(number + 1), font=font, anchor="lm")
        x0, y0, x1, y1 = (int(np.floor(box[0])), int(np.floor(box[1])), int(np.ceil(box[2])), int(np.ceil(box[3])))
        if y0 >= 0 and y1 <= side:
            draw.text((0.55 * width, y), str(number + 1), font=font, fill=255, anchor="lm")
            boxes.append(TextBox(x0=x0, y0=y0, x1=x1, y1=y1, text=str(number + 1), kind="text"))
    laid = _mixed(image, np.asarray(strip / 255, dtype=np.float32), _RULER)
    return _mixed(laid, np.asarray(marks, dtype=np.float32) / np.float32(255), _MARK), tuple(boxes)
