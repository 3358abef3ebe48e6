"""Random rotation, translation and flip, drawn for each (seed, epoch, record) (Bassi & Attux 2021, section 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from audit.errors import UsageError, shown_value
from audit.randomness import generator_for


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How far an image may be moved; all zero leaves it as it is."""

    rotation_deg: float = 0.0
    """Largest rotation to either side, in degrees; the paper uses 40."""
    shift_share: float = 0.0
    """Largest translation along each axis over the side of the image; the paper's 28 of 224 px are 0.125."""
    flip_share: float = 0.0
    """Share of images mirrored left to right; the paper uses 0.5."""

    def __post_init__(self) -> None:
        limits = {"rotation_deg": 180.0, "shift_share": 0.5, "flip_share": 1.0}
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise UsageError(
                    f"The augmentation's {name} must lie between 0 and {limit:g}, found {shown_value(value)}."
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """One draw of an augmentation."""

    angle_deg: float
    """Rotation, counter-clockwise."""
    right_px: int
    """Translation to the right."""
    down_px: int
    """Translation downwards."""
    flip: bool
    """Mirrored left to right before the rest?"""


def augment(
    image: NDArray[np.uint8], augmentation: Augmentation, *, seed: int, epoch: int, record_id: str, copy: int = 0
) -> NDArray[np.uint8]:
    """Move one image at random.

    Parameters
    ----------
    image : uint8 (h, w) or (h, w, 3)
        Image at the network's input size.
    augmentation : Augmentation
        How far it may be moved.
    seed, epoch, record_id, copy
        All that the draw depends on: neither the order of images nor an interrupted run can change it.
        `copy` distinguishes several views of one image in one epoch.

    Returns
    -------
    uint8, of the shape of the image
        A new image; what moves in from outside is black.
    """
    shape = (image.shape[0], image.shape[1])
    return move(image, draw_for(augmentation, shape, seed=seed, epoch=epoch, record_id=record_id, copy=copy))


def draw_for(
    augmentation: Augmentation, shape: tuple[int, int], *, seed: int, epoch: int, record_id: str, copy: int = 0
) -> Movement:
    """Draw the movement that `augment` makes."""
    return draw(augmentation, shape, generator_for(seed, "augment", epoch, record_id, copy))


def draw(augmentation: Augmentation, shape: tuple[int, int], generator: np.random.Generator) -> Movement:
    """Draw a movement for an image of `shape` (h, w); shifts are whole pixels."""
    down, right = (int(augmentation.shift_share * side) for side in shape)
    return Movement(
        angle_deg=float(generator.uniform(-augmentation.rotation_deg, augmentation.rotation_deg)),
        right_px=int(generator.integers(-right, right + 1)),
        down_px=int(generator.integers(-down, down + 1)),
        flip=bool(generator.random() < augmentation.flip_share),
    )


def move(image: NDArray[np.uint8], movement: Movement) -> NDArray[np.uint8]:
    """Flip, rotate about the centre (bilinear), then translate."""
    moved = Image.fromarray(image)
    if movement.flip:
        moved = ImageOps.mirror(moved)
    moved = moved.rotate(
        movement.angle_deg,
        resample=Image.Resampling.BILINEAR,
        translate=(movement.right_px, movement.down_px),
        fillcolor=0,
    )
    return np.array(moved, dtype=np.uint8)
