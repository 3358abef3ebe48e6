"""From a stored radiograph to a network's input; training and audit share this one way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """What happens to an image before the network sees it (Bassi & Attux 2021, section 6.2)."""

    size_px: tuple[int, int]
    """Height and width of the input; the image is squashed to it, as in the paper."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of each channel, on a scale of 0 to 1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of each channel, on a scale of 0 to 1."""

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale grey (h, w) to `size_px`, bilinear with antialiasing (another filter would be a domain shift)."""
        height, width = self.size_px
        if image.shape == (height, width):
            return image
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)

    def normalise(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Turn resized grey (h, w) into float32 (3, h, w) with the channels' mean and deviation taken out."""
        grey = torch.from_numpy(np.array(image, dtype=np.float32) / np.float32(255.0))
        mean = torch.tensor(self.mean, dtype=torch.float32)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float32)[:, None, None]
        return (grey[None] - mean) / std

    def prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Turn stored grey (h, w) into the network's input (3, h, w)."""
        return self.normalise(self.resize(image))
