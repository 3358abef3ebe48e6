"""Which classifier is meant, and what its owner declares of it: names, task, and the way of an image to its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import structs
from torch import nn

from audit.data.input_choices import Colour, Fit, Interpolation, Library, Scale
from audit.data.tasks import Task
from audit.errors import UsageError
from audit.models.classifier import Classifier
from audit.models.outputs import ORDERS
from audit.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, why_impossible
from audit.models.torch_classifier import Answers

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


@dataclass(frozen=True, kw_only=True)
class DeclaredInput:
    """What the owner says of the input; what is None or empty was not said."""

    input_px: tuple[int, ...] = ()
    """Side of a square input, or height and width."""
    channels: int | None = None
    """1 or 3."""
    colour: Colour | None = None
    """Whether images are shown in colour, and the order of the channels."""
    scale: Scale | None = None
    """A key of `SCALES`."""
    mean: tuple[float, ...] = ()
    """Mean of each channel, or one for all."""
    std: tuple[float, ...] = ()
    """Deviation of each channel, or one for all."""
    value_range: tuple[float, ...] = ()
    """What black and white become."""
    per_image: bool | None = None
    """Whether each image's own mean and deviation are taken out."""
    fit: Fit | None = None
    """See `InputSteps`, as for the fields below."""
    shorter_px: int | None = None
    """Length that the shorter side is scaled to."""
    interpolation: Interpolation | None = None
    """Interpolation of the scaling."""
    library: Library | None = None
    """Library that scales."""
    pad: int | None = None
    """Grey value of the padding."""
    crop: tuple[float, ...] = ()
    """Edges of what is cut out first."""
    clahe: float | None = None
    """Clip limit."""
    preprocess: str = ""
    """`package:function` in place of everything else."""


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A classifier that is asked for; it can be sent to another process, which opens the same."""

    model: str
    """A bundle by name or folder, a file, or `package.module:function`."""
    kind: str = ""
    """Name in `KINDS`; empty where the model shows it."""
    classes: tuple[str, ...] = ()
    """Class of each output."""
    task: Task | None = None
    """What the outputs mean."""
    answers: Answers | None = None
    """What the numbers of the outputs are."""
    operating_points: tuple[float | None, ...] = ()
    """Probability above which each output of a multi-label network counts as found; empty where nobody says it."""
    checkpoint: str = ""
    """File that is handed to a factory."""
    weights: str = ""
    """safetensors file of a bundle whose numbers the network gets."""
    trust: bool = False
    """Whether code that the model brings may run."""
    declared: DeclaredInput = field(default_factory=DeclaredInput)
    """Its input."""
    models: str = "models"
    """Folder of bundles."""
    live: Any = None
    """The classifier itself, where Python code hands it over; such a request can only be sent if it can be pickled."""
    predictions: str | None = None
    """Table of the answers of a product that is not loaded, empty as long as there are none; None for a model that is loaded."""
    settled: Preprocessing | None = None
    """The whole way to the input, as a bundle keeps it; None where it is put together from `declared`."""

    @property
    def base(self) -> str:
        """Name of the kind alone, of `timm:NAME` or `timm`."""
        return self.kind.partition(":")[0]

    @property
    def detail(self) -> str:
        """What follows the kind, such as the name of an architecture; empty where nothing does."""
        return self.kind.partition(":")[2]


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A classifier that was opened, and what is known of it."""

    classifier: Classifier
    """Ready to predict."""
    name: str
    """What reports call it."""
    architecture: str
    """What it is, in words."""
    content: str
    """SHA-256 of all that decides its answers: weights, files, or the answers themselves."""
    answers: Answers
    """What the numbers of its outputs are, before they become logits."""
    body: nn.Module | None = None
    """The network as its owner built it, whose weights a bundle keeps; None where a bundle keeps files."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name in a bundle -> file that it keeps; the first is the one that is opened."""
    assumed: tuple[str, ...] = ()
    """What nobody declared, in words."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from, for the report."""


def declaring(steps: Preprocessing) -> dict[str, Any]:
    """Return the settings that declare this input, of a model that takes images of one size."""
    n = len(steps.mean)
    common = {"input_px": steps.input_px, "channels": n, "colour": steps.colour}
    if steps.function:
        return {**common, "preprocess": steps.function}
    names = ("fit", "shorter_px", "interpolation", "library", "pad", "crop", "clahe", "value_range", "per_image")
    scaled = {} if steps.per_image else {"mean": steps.mean, "std": steps.std}
    return {**common, **scaled, **{name: getattr(steps, name) for name in names}}


def model_name(request: ModelRequest) -> str:
    """Return what reports call a model that has no name of its own: its module's, or its file's."""
    module, mark, _ = request.model.partition(":")
    return module.rpartition(".")[2] if mark else Path(request.model).stem


def class_names(request: ModelRequest, told: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the class of each output: as declared, by names or as a published order of them, else as the model tells.

    Raises
    ------
    UsageError
        If nobody names them, or fewer than two, or two alike.
    """
    asked = ORDERS.get(request.classes[0], request.classes) if len(request.classes) == 1 else request.classes
    names = asked or told
    if not names:
        raise UsageError(
            f"The classes of {request.model} are unknown. Name one per output, in order, with --classes a,b,c or classes in [model] of "
            "audit.toml."
        )
    plain = [name.strip().casefold() for name in names]
    if len(names) < 2 or len(set(plain)) < len(plain) or "" in plain:
        raise UsageError(f"At least two different classes are needed, each named once; found {', '.join(names)}.")
    return names


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
