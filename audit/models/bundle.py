"""One classifier in one folder: `model.json`, `weights.safetensors`, its canary, and the splits it was trained on."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch import nn

from audit.data.bundle_record import OWN_KIND, Origin
from audit.data.planned_model import Parity
from audit.data.records import SPLITS
from audit.data.tasks import Task
from audit.errors import ModelError, ModelUsageError, UnknownNameError, shown_string
from audit.files import (
    why_unreadable,
)
from audit.models.bundle_files import (
    CANARY,
    check_held,
    read_own,
    read_record,
    read_splits,
)
from audit.models.canary import check_canary
from audit.models.classifier import Classifier
from audit.models.kinds import check_trust, open_directly
from audit.models.preprocessing import Preprocessing, declared_steps
from audit.models.requests import ModelRequest
from audit.store.run_record import Backend
from audit.store.serialise import to_json

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
SAVE_PRETRAINED = (
    "Save the model into a folder where there is a network (`model.save_pretrained(FOLDER)` and `processor.save_pretrained(FOLDER)`), and "
    "name that folder."
)
"""What to do with the name of a model that lies on a server."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A classifier, ready to predict, with its story; a folder holds it, or it was opened as its owner has it."""

    name: str
    """Name that it was trained under, such as C."""
    folder: Path | None
    """Where it was read from; None for a model that is no bundle."""
    request: ModelRequest
    """How another process opens the same."""
    architecture: str
    """As `audit.models.networks.build_network` knows it, or in words."""
    classifier: Classifier
    """What answers."""
    digest: str
    """SHA-256 over architecture, classes, preprocessing and weights."""
    provenance: Mapping[str, Any]
    """Data, recipe and starting weights."""
    origin: Origin = field(default_factory=Origin)
    """The data that it was trained on, as its provenance names them."""
    metrics: Mapping[str, Any]
    """What training measured."""
    splits: Mapping[str, str]
    """Record id -> train, validation or test; empty for a foreign model."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Pixels, as `Cohort.pixels` tells them -> train, validation or test; empty where the bundle does not say."""
    assumed: tuple[str, ...] = ()
    """What nobody declared of it, in words."""
    parity: Parity | None = None
    """The comparison with the owner's own pipeline; None where there was none."""
    kind: str = OWN_KIND
    """What opened it."""
    backend: Backend = field(default_factory=Backend)
    """What computes its logits (`audit.models.backends`)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each output (k)."""
        return self.classifier.outputs.names

    @property
    def task(self) -> Task | None:
        """What the outputs mean; None for a bundle of an earlier version that does not say it."""
        return self.classifier.outputs.task

    @property
    def points(self) -> tuple[float | None, ...]:
        """Probability above which each output of a multi-label network counts as found; empty where nobody says it."""
        return self.classifier.outputs.points

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network expects to see."""
        return self.classifier.wants

    @property
    def is_recorded(self) -> bool:
        """Whether it is a product whose answers were taken from a table: no image can be asked that was not emitted."""
        return self.request.predictions is not None

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode, with gradients off.

        Raises
        ------
        ModelError
            If the classifier is no torch module.
        """
        network = self.classifier.ability("network")
        if not isinstance(network, nn.Module):
            raise ModelError(
                f"{self.where} is a {self.architecture}: its layers cannot be used, as training and calibration do."
            )
        return network

    @property
    def where(self) -> str:
        """What messages call it, at the beginning of a sentence."""
        return f"The bundle {self.folder}" if self.folder is not None else f"The model {self.request.model}"

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Predict logits (n, k) for prepared inputs (n, c, h, w).

        Raises
        ------
        ModelError
            If one is NaN or infinite: no probability follows from it.
        """
        logits = self.classifier.logits(inputs)
        if not bool(torch.isfinite(logits).all()):
            raise ModelError(
                f"The network {shown_string(self.name)} predicts NaN or infinity, so its predictions cannot be audited. Train it again "
                "with a smaller learning rate."
            )
        return logits


def find_bundle(model: str, models_folder: Path = Path("models")) -> Path:
    """Return the folder of a bundle given by name (`C` is models/C) or by path.

    Raises
    ------
    UnknownNameError
        If neither exists; the nearest known names are suggested.
    """
    for folder in (Path(model), models_folder / model):
        if (folder / "model.json").is_file():
            return folder
    known = sorted(p.parent.name for p in models_folder.glob("*/model.json"))
    hint = (
        "A bundle is a folder with model.json and weights: `audit import FILE --out models/NAME` makes one of a model of your own, "
        "`audit train C` trains one. A file, a Hugging Face folder or package.module:function is named as it is."
    )
    given = Path(model)
    if given.is_dir():
        inside = given / "model.json"
        why = (
            "has no model.json" if not inside.exists() else f"is not readable: its model.json {why_unreadable(inside)}"
        )
        raise ModelUsageError(f"The folder {model} {why}, so it is not a bundle. {_content_of(given) or hint}")
    if given.exists():
        raise ModelUsageError(f"{model} is not a folder, so it is not a bundle. {hint}")
    where = f"Bundles were looked for in {shown_string(str(models_folder), 200)}/."
    what = (
        f"If it is a name of Hugging Face: nothing is downloaded. {SAVE_PRETRAINED}"
        if _HUB_NAME.fullmatch(model)
        else hint
    )
    raise UnknownNameError("model", model, known, f"{where} {what}")


def _content_of(folder: Path) -> str:
    """Return how to use a folder that is no bundle but holds a model, in a sentence; empty where it holds none."""
    if (folder / "config.json").is_file():
        return f"It holds config.json, as Hugging Face saves a model: `audit run --model {shlex.quote(str(folder))} --as hf`."
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".onnx", ".pt2") and p.is_file())
    except OSError:
        return ""
    if not found:
        return ""
    trust = " --trust" if found[0].suffix.lower() == ".pt2" else ""
    return f"It holds a model: `audit run --model {shlex.quote(str(found[0]))} --classes a,b,c{trust}`."


def load_bundle(folder: Path, *, trust: bool = False) -> Bundle:
    """Read a bundle back, and refuse one that cannot be trusted.

    Parameters
    ----------
    folder : Path
        The bundle.
    trust : bool
        Whether code that it names or holds may run.

    Raises
    ------
    ModelError
        If a file is missing or damaged, weights do not fit the architecture or the number of classes,
        a weight is not finite, the checksum differs from the one in `model.json`, the network no longer answers
        its canary as it did, or it would run code and `trust` is not given.
    """
    record, origin = read_record(folder)
    preprocessing = Preprocessing(**structs.asdict(record.preprocessing))
    check_trust(record.kind, preprocessing.function, trust, str(folder))
    request = ModelRequest(model=str(folder), trust=trust)
    assumed: tuple[str, ...] = ()
    if record.kind == OWN_KIND:
        classifier, digest = read_own(folder, record, preprocessing)
    else:
        opened = open_directly(check_held(folder, record, preprocessing, trust=trust))
        classifier, assumed = opened.classifier, tuple(dict.fromkeys((*origin.assumed, *opened.assumed)))
        digest = hashlib.sha256(
            to_json([record.kind, record.classes, declared_steps(preprocessing), opened.content]).encode()
        ).hexdigest()
    check_canary(folder / CANARY, classifier)
    rows = read_splits(folder)
    return Bundle(
        name=record.name,
        folder=folder,
        request=request,
        architecture=record.architecture,
        classifier=classifier,
        digest=digest,
        provenance=record.provenance,
        origin=origin,
        metrics=record.metrics,
        kind=record.kind,
        splits={row["id"]: row["split"] for row in rows},
        # Of copies that stand in two splits, the one that was learnt from counts: it comes last.
        seen={
            row["pixels"]: split
            for split in reversed(SPLITS)
            for row in rows
            if row["split"] == split and row.get("pixels")
        },
        assumed=assumed,
        parity=record.parity,
    )
