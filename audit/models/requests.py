"""Which classifier is requested, what its owner declares of it, and what is known of it once it is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from audit.data.input_choices import Colour, Fit, Interpolation, Library, Scale
from audit.data.tasks import Task
from audit.errors import UsageError, shown_names
from audit.models.classifier import Classifier
from audit.models.logits import Answers
from audit.models.outputs import ORDERS
from audit.models.preprocessing import Preprocessing


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
    """A key of `audit.models.prepared_input.SCALES`."""
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
        raise UsageError(f"At least two different classes are needed, each named once; found {shown_names(names)}.")
    return names
