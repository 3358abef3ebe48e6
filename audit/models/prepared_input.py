"""The input of a model, as its preprocessing: what its owner declares, over what the model or its library states, over what is usual."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import structs

from audit.data.input_choices import Scale
from audit.errors import UsageError
from audit.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, why_impossible
from audit.models.requests import ModelRequest

Channels = tuple[float, float, float]
SCALES: Mapping[Scale, tuple[Channels, Channels]] = MappingProxyType(
    {
        "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
        "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        # torchxrayvision's input: (2 x / 255 - 1) * 1024.
        "torchxrayvision": ((0.5, 0.5, 0.5), (1 / 2048, 1 / 2048, 1 / 2048)),
    }
)
"""How training scaled grey values: ImageNet's mean and deviation, 0 to 1, -1 to 1, -1024 to 1024."""


def declaring(steps: Preprocessing) -> dict[str, Any]:
    """Return the settings that declare this input, of a model that takes images of one size."""
    n = len(steps.mean)
    common = {"input_px": steps.input_px, "channels": n, "colour": steps.colour}
    if steps.function:
        return {**common, "preprocess": steps.function}
    names = ("fit", "shorter_px", "interpolation", "library", "pad", "crop", "clahe", "value_range", "per_image")
    scaled = {} if steps.per_image else {"mean": steps.mean, "std": steps.std}
    return {**common, **scaled, **{name: getattr(steps, name) for name in names}}


def prepared_input(
    request: ModelRequest,
    *,
    channels: int | None = None,
    size_px: tuple[int, int] | None = None,
    told: Preprocessing | None = None,
    knows_fit: bool = False,
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the input of a model: what its owner declares, over what the model or its library tells, over what is usual.

    Parameters
    ----------
    request : ModelRequest
        Whose declarations count.
    channels, size_px : optional
        What the file shows of its input.
    told : Preprocessing, optional
        What the library or the factory says.
    knows_fit : bool
        Whether that includes how images are scaled.

    Returns
    -------
    tuple of (Preprocessing, tuple of str)
        And what was assumed because nobody said it, in words.

    Raises
    ------
    UsageError
        If what is declared contradicts itself or the file, or the size or the scale is unknown.
    """
    if request.settled is not None:
        return request.settled, ()
    said = request.declared
    _check_declared(request)
    base = told or Preprocessing(size_px=size_px)
    assumed: list[str] = []
    size = _size(request, size_px, base)
    n = said.channels or channels or (told.channels if told else 0) or max(len(said.mean), len(said.std), 0)
    if n in (0, 1) and not (said.channels or channels or told):
        n = 3
        if said.colour in (None, "grey"):
            assumed.append("3 equal channels")
    if said.colour in ("rgb", "bgr") and n == 1:
        by = f"{request.model} reads one grey channel" if channels == 1 else "--channels 1 declares one grey channel"
        raise UsageError(
            f"--colour {said.colour} contradicts the input: {by}, and colours need three. Omit --colour, or use a model of 3 channels."
        )
    if channels is not None and n != channels:
        raise UsageError(f"{request.model} reads {channels} channels, but --channels {n} was given. Omit --channels.")
    scale = _scale(request, n, told, assumed)
    further = {
        name: value
        for name in ("colour", "fit", "shorter_px", "interpolation", "library", "pad", "clahe", "per_image")
        if (value := getattr(said, name)) is not None
    }
    if said.fit not in (None, "shorter-side"):  # what a library says of the shorter side is then of no use
        further.setdefault("shorter_px", None)
    if said.value_range:
        further["value_range"] = said.value_range
    if said.crop:
        further["crop"] = said.crop
    if said.preprocess:
        further["function"] = said.preprocess
    elif not knows_fit and said.fit is None:
        assumed.append("scaled to the input without keeping the aspect ratio (bilinear, PIL)")
    if n == 1 and not said.colour:
        further["colour"] = "grey"
    steps = structs.replace(base, size_px=size, **scale, **further)
    if why := why_impossible(steps):
        raise UsageError(f"The declared input of {request.model} cannot be used: {why}.")
    return steps, tuple(assumed)


def _check_declared(request: ModelRequest) -> None:
    said = request.declared
    if len(said.input_px) > 2:
        raise UsageError(f"--input-px takes one side, or height,width; found {len(said.input_px)} numbers.")
    for name, n in (("value_range", 2), ("crop", 4)):
        found = getattr(said, name)
        if found and len(found) != n:
            raise UsageError(f"--{name.replace('_', '-')} takes {n} numbers, separated by commas; found {len(found)}.")
    if said.scale and (said.mean or said.std):
        raise UsageError("--scale sets mean and deviation; give either --scale, or --mean and --std.")
    if said.preprocess and (said.scale or said.mean or said.std or said.fit or said.clahe or said.crop):
        raise UsageError(
            f"The function {said.preprocess} prepares images by itself; declare beside it only --input-px and --channels, which it must "
            "give."
        )


def _size(request: ModelRequest, known: tuple[int, int] | None, base: Preprocessing) -> tuple[int, int]:
    said = request.declared.input_px
    size = (said[0], said[-1]) if said else known or base.size_px
    if size is None:
        raise UsageError(
            f"The size of the input of {request.model} is unknown. Declare it with --input-px SIDE, or --input-px HEIGHT,WIDTH."
        )
    if known is not None and size != known:
        raise UsageError(
            f"{request.model} reads {known[1]} x {known[0]} pixels, but --input-px {','.join(map(str, said))} was given. Omit --input-px."
        )
    return size


def _scale(request: ModelRequest, n: int, told: Preprocessing | None, assumed: list[str]) -> dict[str, Any]:
    """Return mean and deviation, of which one number stands for all channels."""
    said = request.declared
    if said.preprocess or said.per_image:
        return {"mean": (0.0,) * n, "std": (1.0,) * n}
    if said.mean or said.std:
        return {"mean": _each(said.mean or (0.0,), n), "std": _each(said.std or (1.0,), n)}
    if said.scale == "imagenet" and n == 1:
        raise UsageError(
            "--scale imagenet is for 3 channels. Declare the mean and deviation of the one channel with --mean and --std."
        )
    if said.scale:
        mean, std = SCALES[said.scale]
        return {"mean": mean[:n], "std": std[:n]}
    if said.value_range:
        return {"mean": (0.0,) * n, "std": (1.0,) * n}
    if told is not None:
        return (
            {"mean": told.mean, "std": told.std}
            if told.channels == n
            else {"mean": told.mean[:1] * n, "std": told.std[:1] * n}
        )
    if n == 1:
        raise UsageError(
            f"{request.model} reads one grey channel, and nothing states how grey values were scaled. Use --scale unit (0 to 1), "
            "--scale symmetric (-1 to 1), --scale torchxrayvision (-1024 to 1024), or --mean and --std."
        )
    assumed.append("ImageNet's mean and deviation")
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def _each(values: tuple[float, ...], n: int) -> tuple[float, ...]:
    return values * n if len(values) == 1 else values
