"""The choices of an input: how an image is fitted to its size, by which library, and how its grey values are scaled."""

from __future__ import annotations

from typing import Literal

Fit = Literal["squash", "shorter-side", "letterbox", "none"]
"""See `audit.data.planned_model.InputSteps.fit`."""
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "area"]
"""Of the scaling."""
Library = Literal["pil", "opencv", "torch", "torch-antialias"]
"""See `audit.data.planned_model.InputSteps.library`."""
Colour = Literal["grey", "rgb", "bgr"]
"""See `audit.data.planned_model.InputSteps.colour`."""
Scale = Literal["imagenet", "unit", "symmetric", "torchxrayvision"]
"""See `audit.models.prepared_input.SCALES`."""
