"""What a bundle says of itself in `model.json`, and what of its story the audit obeys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, field

from audit.data.planned_model import InputSteps, Parity
from audit.data.tasks import Task
from audit.store.run_record import Sha256
from audit.store.typed import Document

OWN_KIND = "network"
"""Kind of a bundle that training writes."""
RECORDED_KIND = "recorded"
"""Kind of a product that is not loaded, whose answers were taken from a table; no bundle has it, and `--as` opens no such kind."""
MAX_CLASSES = 4096
"""Outputs of a network; more are never looked at one by one, and their layer would take the memory before the weights are seen."""
MAX_CLASS_NAME = 300
"""Characters of a class's name."""


class BundleRecord(Document, frozen=True, kw_only=True):
    """A bundle, but for its weights."""

    FILE: ClassVar[str] = "model.json"

    schema_version: int
    """Version of the file."""
    name: str
    """Name that the network was trained under, such as C."""
    architecture: str
    """Its architecture, by name."""
    classes: tuple[str, ...]
    """Class of each output."""
    task: Task | None = None
    """What the outputs mean; null for a bundle of an earlier version that does not say it."""
    preprocessing: InputSteps
    """What the network expects to see."""
    kind: str = OWN_KIND
    """What opens it: a kind of `audit.models.kinds`, such as onnx or timm:NAME; `network` for a network that `architecture` names."""
    file: str | None = None
    """Name of the file in the bundle that is opened; null for `weights.safetensors`."""
    answers: Literal["logits", "probabilities"] = "logits"
    """What the numbers of its outputs are."""
    operating_points: tuple[float | None, ...] = ()
    """Probability above which each output of a multi-label network counts as found, null where nobody says it; empty for none."""
    weights_sha256: Sha256
    """SHA-256 of `weights.safetensors`; of another kind, over all files that it consists of."""
    parity: Parity | None = None
    """The comparison with the owner's own pipeline, when the bundle was made."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Data, recipe and starting weights; free in form, but for `Origin`."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What training measured; free in form."""


class Origin(Struct, frozen=True, kw_only=True):
    """The data that a network was trained on, as its `provenance` names them beside whatever else it tells."""

    manifest: str | None = None
    """Path of the manifest from the bundle's folder."""
    ignore_labels: tuple[str, ...] = ()
    """Labels that are not part of the task."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of the manifest's columns."""
    layout: Annotated[str, Meta(max_length=100)] = "auto"
    """Data set in a folder without a manifest."""
    cohort_hash: str | None = None
    """Hash of the data's content."""
    assumed: Annotated[tuple[Annotated[str, Meta(max_length=300)], ...], Meta(max_length=20)] = ()
    """What nobody declared when a foreign model became a bundle, in words."""
