"""From a stored image to a network's input, as its owner declares it; training and audit share this one way."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray

from audit.data.planned_model import InputSteps
from audit.errors import ImageError, ModelError, UsageError
from audit.models.references import load_reference
from audit.models.scaling import METHODS, Window, crop_box, scale_image, window_of
from audit.store.serialise import plain

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MIN_PX, MAX_PX = 8, 4096
"""Side of an input."""
_TILES = (8, 8)

Seen = NDArray[np.uint8] | NDArray[np.float32]
"""What is left of an image after scaling: (h, w) or (h, w, 3), on a scale of 0 to 255."""


class Preprocessing(InputSteps, frozen=True, kw_only=True):
    """What happens to an image before the network sees it; the defaults are Bassi & Attux's (2021, section 6.2)."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of each channel, on the scale of `value_range`; as many as there are channels."""
    std: tuple[float, ...] = IMAGENET_STD
    """Standard deviation of each channel, on the scale of `value_range`."""

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return len(self.mean)

    @property
    def input_px(self) -> tuple[int, int]:
        """Height and width of the input.

        Raises
        ------
        UsageError
            If images keep their own size.
        """
        if self.size_px is None:
            raise UsageError("The size of the input is not declared. Use --input-px SIDE.")
        return self.size_px

    def resize(self, image: NDArray[np.uint8]) -> Seen:
        """Cut, equalise and scale an image, (h, w) or (h, w, 3); images that are equal after it are equal to the network.

        Raises
        ------
        ImageError
            If images are not scaled, and this one has another size.
        """
        if self.function:
            return image
        x0, y0, x1, y1 = crop_box(image.shape, self)
        part = image[y0:y1, x0:x1]
        if self.clahe:
            part = np.asarray(cv2.createCLAHE(self.clahe, _TILES).apply(np.ascontiguousarray(part)), dtype=np.uint8)
        if self.size_px is None:
            return part
        if self.fit == "none":
            if part.shape[:2] == self.size_px:
                return part
            raise ImageError(
                f"An image has {part.shape[1]} x {part.shape[0]} pixels, but the network expects {self.size_px[1]} x "
                f"{self.size_px[0]} and its preprocessing does not scale. Declare how images are scaled with --fit."
            )
        return scale_image(part, self, self.size_px)

    def normalise(self, image: Seen) -> torch.Tensor:
        """Turn a resized image into float32 (channels, h, w) with mean and deviation taken out."""
        if self.function:
            return self._by_function(image)
        planes = torch.from_numpy(self.ordered(np.array(image, dtype=np.float32) / np.float32(255.0)))
        low, high = self.value_range
        if (low, high) != (0.0, 1.0):
            planes = low + planes * (high - low)
        if self.per_image:
            planes = (planes - planes.mean()) / planes.std(correction=0).clamp(min=1e-6)
        mean = torch.tensor(self.mean, dtype=torch.float32)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float32)[:, None, None]
        return (planes - mean) / std

    def ordered(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the channels (1, h, w) of a grey image or (3, h, w) of one in colour, in the order that the network expects."""
        if image.ndim == 2:
            return image[None]
        return np.ascontiguousarray(np.moveaxis(image[..., ::-1] if self.colour == "bgr" else image, -1, 0))

    def prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Turn a stored image, (h, w) or (h, w, 3), into the network's input (channels, h, w)."""
        return self.normalise(self.resize(image))

    def window(self, shape: tuple[int, ...]) -> Window | None:
        """Return which part of a stored image the input shows; None where a function decides it."""
        return None if self.function else window_of(shape, self)

    def _as_declared(self, image: Seen) -> Seen:
        """Return an image as the owner's function expects it: a grey image of a run without colours has three channels, too."""
        if self.colour == "grey":
            return image
        return np.moveaxis(self.ordered(np.stack([image] * 3, axis=-1) if image.ndim == 2 else image), 0, -1)

    def _by_function(self, image: Seen) -> torch.Tensor:
        prepare = load_reference(self.function, "preprocessing function")
        try:
            found = torch.as_tensor(prepare(self._as_declared(image))).to(torch.float32)
        except (Exception, SystemExit) as error:  # the owner's code may raise anything, or end the process
            raise ModelError(
                f"The preprocessing function {self.function} failed on an image of {image.shape[1]} x {image.shape[0]} pixels "
                f"({error!r}). It gets a uint8 array "
                f"(height, width{'' if self.colour == 'grey' else ', 3'}), and must return (channels, height, width)."
            ) from error
        found = found[None] if found.ndim == 2 else found
        expected = (self.channels, *self.size_px) if self.size_px else (self.channels, *found.shape[1:])
        if tuple(found.shape) != expected:
            raise ModelError(
                f"The preprocessing function {self.function} must return (channels, height, width) = {expected}, found "
                f"{tuple(found.shape)}. Correct the function, --input-px or --channels."
            )
        return found


def declared_steps(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return what decides an input, as a bundle keeps it: fields that came later only where they are not as they were before."""
    kept: dict[str, Any] = plain(InputSteps(**structs.asdict(preprocessing)))
    return kept


def why_impossible(steps: InputSteps) -> str:
    """Return why no image can be prepared so, as a sentence without its full stop; empty where it can."""
    edge = [] if steps.size_px is None else list(steps.size_px)
    x0, y0, x1, y1 = steps.crop
    faults = {
        f"a side of the input must be {MIN_PX} to {MAX_PX} px, found {edge}": edge
        and not all(MIN_PX <= px <= MAX_PX for px in edge),
        f"the network must read 1 or 3 channels, with a mean and a deviation each, found {len(steps.mean)} and "
        f"{len(steps.std)}": len(steps.mean) not in (1, 3) or len(steps.mean) != len(steps.std),
        f"std must be above 0, found {list(steps.std)}": any(not value > 0 for value in steps.std),
        f"{steps.library} has no interpolation {steps.interpolation}; it has {', '.join(METHODS[steps.library])}": (
            steps.interpolation not in METHODS[steps.library]
        ),
        f"the shorter side must be scaled to {max(edge, default=0)} to {MAX_PX} px, found {steps.shorter_px}": (
            steps.shorter_px is not None and not max(edge, default=0) <= steps.shorter_px <= MAX_PX
        ),
        f"colours need 3 channels, found {len(steps.mean)}": steps.colour != "grey" and len(steps.mean) != 3,
        "CLAHE equalises grey images; for colours, name a function of your own with --preprocess": (
            steps.colour != "grey" and bool(steps.clahe)
        ),
        "shorter_px is only used with fit = shorter-side": steps.shorter_px is not None and steps.fit != "shorter-side",
        f"the grey value of the padding must be 0 to 255, found {steps.pad}": not 0 <= steps.pad <= 255,
        f"crop must be left, top, right and bottom edge as shares from 0 to 1, found {list(steps.crop)}": not (
            0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
        ),
        f"the clip limit of CLAHE must be 0 to 100, found {steps.clahe}": not 0 <= steps.clahe <= 100,
        f"value_range must be two different numbers, found {list(steps.value_range)}": (
            not abs(steps.value_range[1] - steps.value_range[0]) > 0
        ),
        f"fit = {steps.fit} needs the size of the input": not edge and steps.fit in ("shorter-side", "letterbox"),
    }
    return next((what for what, wrong in faults.items() if wrong), "")
