"""Plants of the whole image: border, grey levels, sharpness, noise, compression, geometry, source, and what goes with groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.calibration.plants import Apply, Family, Kind, Picture, with_image
from audit.training.phantom.lettering import TextBox

Grey = NDArray[np.float32]


def _grey(change: Callable[[Grey, float, np.random.Generator], NDArray[np.generic]]) -> Apply:
    """Make a plant of a function of grey levels between 0 and 1."""

    def apply(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
        grey = np.asarray(picture.image, dtype=np.float32) / np.float32(255)
        return with_image(picture, np.clip(change(grey, dose, rng), 0, 1) * 255)

    return apply


def _gamma(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    return np.asarray(grey ** np.float32(1 - dose), dtype=np.float32)


def _contrast(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    middle = np.float32(grey.mean())
    return np.asarray(middle + (grey - middle) * np.float32(1 - dose), dtype=np.float32)


def _exposure(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    return np.asarray(grey * np.float32(1 + dose), dtype=np.float32)


def _blur(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), dose * min(grey.shape)), dtype=np.float32)


def _noise(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    return np.asarray(grey + dose * rng.standard_normal(grey.shape, dtype=np.float32), dtype=np.float32)


def _coarse(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    height, width = grey.shape
    small = cv2.resize(grey, (max(8, round(width * dose)), max(8, round(height * dose))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _depth(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    steps = np.float32(2**dose - 1)
    return np.asarray(np.rint(grey * steps) / steps, dtype=np.float32)


def _jpeg(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    fine, data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, round(dose)])
    assert fine
    return with_image(picture, np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)))


def _border_line(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    image, thick = picture.image.copy(), max(1, round(dose * min(picture.image.shape)))
    cv2.rectangle(image, (0, 0), (image.shape[1] - 1, image.shape[0] - 1), 200, 2 * thick - 1)
    return replace(picture, image=image)


def _collimation(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    image = picture.image.copy()
    height, width = image.shape
    top, bottom, left, right = (
        max(1, round(side * dose * float(rng.uniform(0.8, 1.2)))) for side in (height, height, width, width)
    )
    inside = image[top : height - bottom, left : width - right].copy()
    image[:] = 0
    image[top : height - bottom, left : width - right] = inside
    return replace(picture, image=image)


def _moved(picture: Picture, matrix: NDArray[np.float64], *, fill: int | None = None) -> Picture:
    """Move a picture with its lungs and boxes by an affine matrix (2, 3) of pixel coordinates."""
    height, width = picture.image.shape
    size = (width, height)
    mode = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    image = cv2.warpAffine(picture.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=fill or 0)
    lungs = picture.lungs
    if lungs is not None:
        lungs = np.asarray(cv2.warpAffine(lungs, matrix, size, flags=cv2.INTER_NEAREST), dtype=np.uint8)
    boxes = tuple(
        b for b in (_moved_box(box, matrix, width, height) for box in picture.boxes) if b.x1 > b.x0 and b.y1 > b.y0
    )
    return Picture(image=np.asarray(image, dtype=np.uint8), lungs=lungs, boxes=boxes)


def _moved_box(box: TextBox, matrix: NDArray[np.float64], width: int, height: int) -> TextBox:
    corners = (
        np.array([(x, y, 1.0) for x in (box.x0 - 0.5, box.x1 - 0.5) for y in (box.y0 - 0.5, box.y1 - 0.5)]) @ matrix.T
    )
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
    return replace(
        box,
        x0=int(np.clip(low[0], 0, width)),
        y0=int(np.clip(low[1], 0, height)),
        x1=int(np.clip(high[0], 0, width)),
        y1=int(np.clip(high[1], 0, height)),
    )


def _about_centre(picture: Picture, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = picture.image.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.hstack([linear, (centre - linear @ centre)[:, None]])


def _padded(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    return _moved(picture, _about_centre(picture, np.diag([1 - 2 * dose, 1.0])), fill=0)


def _wider(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    """Cut the top and the bottom, as a detector of another format does: squashed to a square, the patient is broader."""
    height = picture.image.shape[0]
    cut = round(height * (1 - 1 / (1 + dose)) / 2)
    kept = slice(cut, height - cut)
    boxes = tuple(
        replace(b, y0=max(0, b.y0 - cut), y1=min(height - 2 * cut, b.y1 - cut))
        for b in picture.boxes
        if b.y1 > cut and b.y0 < height - cut
    )
    lungs = None if picture.lungs is None else picture.lungs[kept].copy()
    return Picture(image=picture.image[kept].copy(), lungs=lungs, boxes=boxes)


def _turned(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    angle = np.deg2rad(dose * float(rng.uniform(0.8, 1.2)))
    cos, sin = np.cos(angle), np.sin(angle)
    return _moved(picture, _about_centre(picture, np.array([[cos, -sin], [sin, cos]])))


def _zoomed(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    return _moved(picture, _about_centre(picture, np.eye(2) * (1 + dose)))


def _flipped(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    return _moved(picture, _about_centre(picture, np.diag([-1.0, 1.0])))


def _look(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    """Return what another scanner makes of it: its grey curve, blur and noise."""
    side = min(grey.shape)
    soft = cv2.GaussianBlur(grey, (0, 0), max(0.3, 0.008 * dose * side))
    curved = np.asarray(soft, dtype=np.float32) ** np.float32(1 - 0.3 * dose)
    return np.asarray(curved + 0.01 * dose * rng.standard_normal(grey.shape, dtype=np.float32), dtype=np.float32)


def _soft_tissue(grey: Grey, dose: float, rng: np.random.Generator) -> Grey:
    """Return it with breast shadows over the lower lungs, a visible sign of sex."""
    height, width = grey.shape
    y, x = np.arange(height)[:, None] / height, np.arange(width)[None, :] / width
    lift = float(rng.uniform(-0.02, 0.02))
    shadow = sum(np.exp(-(((x - centre) / 0.13) ** 2 + ((y - 0.66 - lift) / 0.1) ** 2)) for centre in (0.29, 0.71))
    return np.asarray(grey + dose * shadow, dtype=np.float32)


def _calcified_arch(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    """Return it with a calcified aortic arch, a visible sign of age."""
    layer = np.zeros_like(picture.image)
    height, width = layer.shape
    centre = (round(width * (0.56 + float(rng.uniform(-0.01, 0.01)))), round(height * 0.36))
    axes = (max(2, round(0.04 * width)), max(2, round(0.05 * height)))
    cv2.ellipse(layer, centre, axes, 0, -100, 80, round(255 * dose), max(1, round(width / 90)), cv2.LINE_AA)
    return replace(picture, image=np.asarray(cv2.add(picture.image, layer), dtype=np.uint8))


def _as_it_is(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    return picture


def _gamma_and_line(picture: Picture, dose: float, rng: np.random.Generator) -> Picture:
    return _border_line(_grey(_gamma)(picture, dose, rng), 0.006, rng)


def _kind(name: str, family: Family, about: str, doses: tuple[float, float], unit: str, apply: Apply) -> Kind:
    return Kind(name=name, family=family, about=about, doses=doses, unit=unit, apply=apply)


def _sources(name: str, about: str, doses: tuple[float, float], apply: Apply) -> Kind:
    names = {"source": ("harbour", "valley")}
    return Kind(name=name, family="source", about=about, doses=doses, unit="", apply=apply, columns=names)


_SIDE, _SD = "of the side", "of the grey range"
KINDS = (
    Kind(
        name="border-line", family="border", about="a line along the border", doses=(0.006, 0.012), unit=_SIDE, local=True,
        apply=_border_line,
    ),
    Kind(
        name="collimation", family="border", about="a collimated border", doses=(0.03, 0.05), unit=_SIDE, local=True,
        apply=_collimation,
    ),
    _kind("gamma", "grey curve", "a gamma shift", (0.15, 0.3), "", _grey(_gamma)),
    _kind("contrast", "grey curve", "lower contrast", (0.15, 0.3), "less", _grey(_contrast)),
    _kind("exposure", "exposure", "another exposure", (0.1, 0.2), "brighter", _grey(_exposure)),
    _kind("sharpness", "sharpness", "less sharpness", (0.006, 0.010), _SIDE, _grey(_blur)),
    _kind("noise", "noise", "noise", (0.02, 0.05), _SD, _grey(_noise)),
    _kind("bit-depth", "bit depth", "fewer grey levels", (5.0, 4.0), "bits", _grey(_depth)),
    _kind("jpeg-quality", "compression", "stronger JPEG compression", (20.0, 7.0), "quality", _jpeg),
    _kind("resolution", "resolution", "a lower resolution", (0.5, 0.35), _SIDE, _grey(_coarse)),
    _kind("padding", "padding", "black bars at the sides of the image", (0.03, 0.06), "of the width", _padded),
    _kind("aspect", "aspect", "another aspect ratio", (0.06, 0.12), "wider", _wider),
    _kind("rotation", "pose", "a rotation", (4.0, 8.0), "degrees", _turned),
    _kind("zoom", "pose", "a zoom", (0.06, 0.12), "", _zoomed),
    _kind("flip", "pose", "mirrored images", (1.0, 1.0), "", _flipped),
    _sources("source-look", "the look of a source", (0.6, 1.0), _grey(_look)),
    _sources("source-names", "names of sources", (1.0, 1.0), _as_it_is),
    _kind("look-without-names", "grey curve", "the look of a source, without source names", (0.6, 1.0), "", _grey(_look)),
    Kind(
        name="sex-like", family="group", about="soft tissue that goes with sex", doses=(0.08, 0.15), unit=_SD,
        apply=_grey(_soft_tissue), columns={"sex": ("M", "F")},
    ),
    Kind(
        name="age-like", family="group", about="calcification that goes with age", doses=(0.2, 0.4), unit=_SD,
        apply=_calcified_arch, columns={"age": ("45", "78")}, local=True,
    ),
    Kind(
        name="gamma-and-border", family="several", about="a gamma shift together with a border line", doses=(0.15, 0.3), unit="",
        apply=_gamma_and_line, parts=("grey curve", "border"),
    ),
)  # fmt: skip
"""Every kind that concerns the whole image, its frame, its source or its group."""
