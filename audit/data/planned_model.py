"""The model as a plan states it: what identifies it, how it takes its input, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import field

from audit.data.input_choices import Colour, Fit, Interpolation, Library
from audit.data.tasks import Task
from audit.store.run_record import Backend
from audit.store.typed import Document


class ModelIdentity(Document, frozen=True, kw_only=True):
    """Which network was audited."""

    name: str
    """The bundle's name."""
    digest: str
    """SHA-256 of its weights and of everything else that determines its outputs."""
    classes: tuple[str, ...]
    """Classes, in the order of its outputs."""


class InputSteps(Document, frozen=True, kw_only=True, omit_defaults=True):
    """What happens to an image before the network sees it."""

    size_px: tuple[int, int] | None
    """Height and width of the input; null where the classifier takes images at their own size."""
    mean: tuple[float, ...]
    """Mean of each channel, on the scale of `value_range`."""
    std: tuple[float, ...]
    """Standard deviation of each channel, on the scale of `value_range`."""
    colour: Colour = "grey"
    """grey: images are read as grey, which every channel gets; rgb or bgr: in colour, the channels in that order."""
    fit: Fit = "squash"
    """squash: to the size, whatever the aspect ratio; shorter-side: scaled by the shorter side, then the centre; letterbox: the whole
    image with its aspect ratio, padded; none: images have the size already, or keep their own."""
    shorter_px: int | None = None
    """Length that the shorter side is scaled to before the centre is taken; null for the shorter side of the input."""
    interpolation: Interpolation = "bilinear"
    """Interpolation of the scaling."""
    library: Library = "pil"
    """Library that scales: pil (always antialiased), opencv (8 bits, not antialiased), torch (not antialiased) or torch-antialias."""
    pad: int = 0
    """Grey value, 0 to 255, of what a letterbox pads with."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Left, top, right and bottom edge of what is cut out of an image first, as shares of its width and height."""
    clahe: float = 0.0
    """Clip limit of a contrast-limited histogram equalisation on 8 x 8 tiles (OpenCV's) before scaling; 0 for none."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """What black and white become before mean and deviation are taken out."""
    per_image: bool = False
    """Whether each image's own mean and deviation are taken out in place of fixed ones."""
    function: str = ""
    """`package:function` that prepares an image in place of everything above; empty where there is none."""


class TrainingStory(Document, frozen=True, kw_only=True):
    """Training record of the network, from its bundle; of any form, because any tool may have written it."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Recipe, data and starting weights."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Curves of training, and figures on its own test images."""


class Parity(Document, frozen=True, kw_only=True):
    """How far the network's probabilities lie from those of its owner's own pipeline, for the same images."""

    n_images: int
    """Images that were compared."""
    largest: float
    """Largest difference of a probability."""
    limit: float
    """What the difference may be."""


class PlannedModel(ModelIdentity, frozen=True, kw_only=True, omit_defaults=True):
    """The network."""

    architecture: str
    """Its architecture, by name."""
    task: Task
    """What its outputs mean."""
    operating_points: tuple[float | None, ...] = ()
    """Probability above which each output of a multi-label network counts as found, null for the one that Youden's index gives on the
    unedited images; empty if that is so for all."""
    preprocessing: InputSteps
    """What happens to an image before the network sees it."""
    assumed: tuple[str, ...] = ()
    """What nobody declared of it and the audit assumed, in words."""
    lacks: tuple[str, ...] = ()
    """What the audit does without because the classifier cannot do it, in sentences."""
    parity: Parity | None = None
    """The comparison with the owner's own pipeline; null where there was none."""
    backend: Backend = Backend()
    """What computes its predictions; heatmaps and the probe of sources use torch."""
    device: str = "cpu"
    """Kind of the device that computes its predictions: cpu, cuda or mps."""
    batch_size: int = 16
    """Inputs that pass through it together, as far as the memory suffices: of one image on the CPU, of several on another device."""
    training: TrainingStory = TrainingStory()
    """How it came about."""
