"""The way of an image to a network's input, in one line for the terminal and for reports."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from audit.data.planned_model import InputSteps
from audit.store.numbers import counted


def greyed_in_words(n: int) -> str:
    """Return the sentence on images whose colours are not used; empty for none."""
    return f"{counted(n, 'colour image is', 'colour images are')} read as grey." if n else ""


def sample_in_words(n: int, sampled_from: int) -> str:
    """Return the sentence on a sample of n images; empty where none was drawn."""
    if not sampled_from:
        return ""
    return (
        f"Sample: {n} of {counted(sampled_from, 'image')}, drawn from the seed with classes in proportion (--max-images). Effects on the "
        "other images were not measured."
    )


def input_in_words(steps: InputSteps) -> str:
    """Return how an image becomes an input, in words without a full stop."""
    if steps.function:
        colour = "" if steps.colour == "grey" else f", {COLOUR_WORDS[steps.colour]}"
        return f"{steps.function}, {_size_in_words(steps)}{colour}"
    parts = [_size_in_words(steps)]
    if steps.crop != (0.0, 0.0, 1.0, 1.0):
        parts.append(
            f"after a crop to {', '.join(f'{edge:g}' for edge in steps.crop)} of the image (left, top, right, bottom)"
        )
    if steps.clahe:
        parts.append(f"after CLAHE with clip limit {steps.clahe:g}")
    if steps.size_px is not None:
        parts.append(_FITS[steps.fit].format(shorter=steps.shorter_px or min(steps.size_px), pad=steps.pad))
    if steps.size_px is not None and steps.fit != "none":
        parts.append(f"{steps.interpolation} ({_LIBRARIES[steps.library]})")
    parts.append(
        COLOUR_WORDS[steps.colour]
        if steps.colour != "grey"
        else f"{len(steps.mean)} channel{'s' if len(steps.mean) > 1 else ''}"
    )
    parts.append(_values_in_words(steps))
    return ", ".join(parts)


_FITS: Mapping[str, str] = MappingProxyType(
    {
        "squash": "without keeping the aspect ratio",
        "shorter-side": "shorter side scaled to {shorter} px, then the centre",
        "letterbox": "the whole image, padded with {pad}",
        "none": "not scaled",
    }
)
COLOUR_WORDS: Mapping[str, str] = MappingProxyType(
    {"grey": "grey", "rgb": "colours (red, green, blue)", "bgr": "colours (blue, green, red)"}
)
"""What a network is shown -> in words."""
_LIBRARIES: Mapping[str, str] = MappingProxyType(
    {"pil": "PIL", "opencv": "OpenCV", "torch": "torch", "torch-antialias": "torch, antialiased"}
)


def _size_in_words(steps: InputSteps) -> str:
    return "images at their own size" if steps.size_px is None else f"{steps.size_px[1]} × {steps.size_px[0]} px"


def _values_in_words(steps: InputSteps) -> str:
    low, high = steps.value_range
    span = f"values {low:g} to {high:g}"
    if steps.per_image:
        return f"{span}, each image with its own mean and deviation taken out"
    if set(steps.mean) == {0.0} and set(steps.std) == {1.0}:
        return span
    mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (steps.mean, steps.std))
    return f"{span}, mean {mean}, deviation {std}"
