"""The files of a bundle, read and checked: its record, its network, its sums, the splits it was trained on."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import torch
from msgspec import Struct
from torch import nn

from audit.data.bundle_record import MAX_CLASS_NAME, MAX_CLASSES, OWN_KIND, BundleRecord, Origin
from audit.data.records import SPLITS
from audit.errors import ModelError, shown_names, shown_value
from audit.files import (
    file_sha256,
    open_regular,
    read_regular,
    stands_for,
)
from audit.models.classifier import Classifier, Outputs
from audit.models.foreign import RefusedError
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing, declared_steps, why_impossible
from audit.models.requests import ModelRequest
from audit.models.tasks import older_task
from audit.models.tensors import read_tensors
from audit.models.torch_classifier import TorchClassifier
from audit.store.documents import read_json
from audit.store.results import SCHEMA_VERSION
from audit.store.serialise import to_json
from audit.store.tables import check_size
from audit.store.typed import FormatError, typed

WEIGHTS, CANARY = "weights.safetensors", "canary.safetensors"


def read_own(folder: Path, record: BundleRecord, preprocessing: Preprocessing) -> tuple[Classifier, str]:
    """Return the classifier of a bundle that holds weights alone, and its digest."""
    weights_path = folder / WEIGHTS
    try:
        data = read_regular(weights_path)
    except OSError as error:
        raise ModelError(f"Bundle {folder} has no readable weights.safetensors ({error.strerror}).") from error
    if what := stands_for(data):
        raise ModelError(f"{weights_path} is {what}.")
    found = hashlib.sha256(data).hexdigest()
    check_sum(folder, record, found)
    try:
        state = read_tensors(data)
    except RefusedError as error:
        raise ModelError(f"{weights_path} is refused: {error}. Copy the bundle again.") from error
    check_finite(folder, state)
    network = own_network(folder, record, state)
    outputs = Outputs(
        names=record.classes, task=record.task or older_task(record.provenance), points=record.operating_points
    )
    # The task is not part of it, because baselines rest on digests; the plan of a run holds it.
    identity = to_json([record.architecture, record.classes, declared_steps(preprocessing), found])
    return TorchClassifier(network, outputs, preprocessing), hashlib.sha256(identity.encode()).hexdigest()


def check_held(folder: Path, record: BundleRecord, preprocessing: Preprocessing, *, trust: bool) -> ModelRequest:
    """Return the request that opens what a bundle of another kind holds."""
    file = folder / (record.file or WEIGHTS)
    if Path(record.file or WEIGHTS).name != (record.file or WEIGHTS) or not file.exists():
        raise ModelError(
            f"{folder / BundleRecord.FILE}: file must name a file in the bundle, found {shown_value(record.file)}. Copy the bundle again."
        )
    check_sum(folder, record, file_sha256(file))
    return ModelRequest(
        model=str(folder),
        kind=record.kind,
        classes=record.classes,
        task=record.task,
        answers=record.answers,
        operating_points=record.operating_points,
        checkpoint=str(file) if record.file else "",
        weights="" if record.file else str(file),
        trust=trust,
        settled=preprocessing,
    )


def check_sum(folder: Path, record: BundleRecord, found: str) -> None:
    """Refuse weights that are not those `model.json` was written for."""
    if found != record.weights_sha256:
        raise ModelError(
            f"The weights of bundle {folder} have SHA-256 {found[:12]}..., but model.json says "
            f"{record.weights_sha256[:12]}.... One of the files was changed or damaged; copy the bundle again."
        )


def read_record(folder: Path) -> tuple[BundleRecord, Origin]:
    """Read `model.json`, typed and checked, and the data that its provenance names."""
    path = folder / BundleRecord.FILE
    try:
        document = read_json(path)
    except OSError as error:
        raise ModelError(f"Bundle {folder} has no readable model.json ({error.strerror}).") from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}.") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema version {shown_value(version)}; this version of audit reads {SCHEMA_VERSION}. Copy the bundle again."
        )
    try:
        record = typed(document, BundleRecord)
        origin = typed({"provenance": record.provenance}, _Told).provenance
    except FormatError as error:
        raise ModelError(
            f"{path} is not the record of a bundle: {error}. Correct model.json, or copy the bundle again."
        ) from error
    check_record(record, str(path))
    return record, origin


def check_record(record: BundleRecord, where: str) -> None:
    """Refuse names that could not be printed or told apart, and inputs that cannot be prepared.

    Raises
    ------
    ModelError
        If the record of a bundle has any.
    """
    names = [name.strip().casefold() for name in record.classes] if len(record.classes) <= MAX_CLASSES else []
    if len(names) < 2 or len(set(names)) != len(names) or "" in names or any(len(n) > MAX_CLASS_NAME for n in names):
        raise ModelError(
            f"{where}: classes must be a list of 2 to {MAX_CLASSES} different names of at most {MAX_CLASS_NAME} characters (case "
            f"and blanks around them make no difference), found {shown_value(list(record.classes[:20]), 200)}."
        )
    # Both are printed by every command: a control character could clear a terminal and write a verdict of its own.
    for text in (record.name, *record.classes):
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
            raise ModelError(
                f"{where}: name and classes must be text without control characters, found {ascii(text)[:200]}. Correct model.json."
            )
    if len(record.name) > MAX_CLASS_NAME:
        raise ModelError(
            f"{where}: name must have at most {MAX_CLASS_NAME} characters, found {len(record.name)}. Correct model.json."
        )
    if why := why_impossible(record.preprocessing):
        raise ModelError(f"{where}: the preprocessing cannot be used: {why}. Correct it.")
    if record.preprocessing.size_px is None and record.kind == OWN_KIND:
        raise ModelError(f"{where}: the preprocessing has no size_px, which a network needs. Correct it.")


class _Told(Struct, frozen=True, kw_only=True):
    """What is obeyed of a bundle's story, at its place in the file."""

    provenance: Origin


def own_network(folder: Path, record: BundleRecord, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build the network of a record, and refuse weights that do not fit it."""
    classes = record.classes
    head = state.get("classifier.weight")
    if head is not None and head.shape[0] != len(classes):
        raise ModelError(
            f"Bundle {folder} names {len(classes)} classes ({shown_names(classes)}), but its network has {head.shape[0]} "
            "outputs. Correct the classes in model.json or train again."
        )
    network = build_network(record.architecture, len(classes))
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"The weights of bundle {folder} do not fit the architecture {record.architecture}: {first}"
        ) from error
    return network.eval().requires_grad_(False)


def check_finite(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are no numbers."""
    bad = sorted(k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all()))
    if bad:
        raise ModelError(
            f"Bundle {folder} has weights that are NaN or infinite in {len(bad)} tensors, first {bad[0]}. "
            "Training diverged; train it again with a smaller learning rate."
        )


def read_splits(folder: Path) -> list[dict[str, str]]:
    """Read the rows of `splits.csv`; none of a foreign model."""
    path = folder / "splits.csv"
    if not os.path.lexists(path):
        return []
    try:
        check_size(path)
        with io.TextIOWrapper(open_regular(path), encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ModelError(f"{path} cannot be read ({error}). Copy the bundle again.") from error
    if any(row.get("id") is None or row.get("split") not in SPLITS for row in rows):
        raise ModelError(
            f"{path} is damaged: every row needs an id and a split ({', '.join(SPLITS)}). Copy the bundle again."
        )
    return rows
