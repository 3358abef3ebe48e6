"""A classifier written into a folder: a network that was trained here, or a model that was opened as its owner has it."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from msgspec import structs
from torch import nn

from audit.data.bundle_record import OWN_KIND, BundleRecord
from audit.data.planned_model import InputSteps, Parity
from audit.data.tasks import Task
from audit.errors import ModelError, ModelUsageError
from audit.files import (
    MAX_FILE_BYTES,
    read_regular,
    write_atomically,
)
from audit.models.bundle import Bundle
from audit.models.bundle_files import CANARY, WEIGHTS, check_finite, check_record, own_network, read_record
from audit.models.canary import make_canary
from audit.models.classifier import Outputs
from audit.models.preprocessing import Preprocessing, declared_steps
from audit.models.requests import ModelRequest, OpenedModel
from audit.models.tasks import check_task
from audit.models.tensors import read_tensors
from audit.models.torch_classifier import TorchClassifier
from audit.store.results import SCHEMA_VERSION
from audit.store.serialise import plain, to_json


def save_bundle(
    folder: Path,
    network: nn.Module,
    *,
    name: str,
    architecture: str,
    classes: Sequence[str],
    task: Task,
    preprocessing: Preprocessing,
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
    splits: Mapping[str, str],
    pixels: Mapping[str, str] | None = None,
    operating_points: Sequence[float | None] = (),
) -> Path:
    """Write a bundle; `model.json` comes last, so that a folder with it is complete.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    network : torch.nn.Module
        Of single precision.
    name, architecture, classes, task, preprocessing, provenance, metrics, splits
        See `Bundle`.
    pixels : mapping, optional
        Record id -> its pixels (`Cohort.pixels`), so that an image is known again under another name.
    operating_points : sequence of float or None
        Probability above which each output of a multi-label network counts as found; empty where nobody says it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        If the weights are not single precision.
    """
    kinds = {str(p.dtype).removeprefix("torch.") for p in network.parameters() if p.dtype != torch.float32}
    if kinds:
        raise ModelError(
            f"A bundle stores float32 weights, but the network {name} has {', '.join(sorted(kinds))}. Convert it with network.float()."
        )
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    weights = safetensors.torch.save(state)
    record = BundleRecord(
        schema_version=SCHEMA_VERSION,
        name=name,
        architecture=architecture,
        classes=tuple(classes),
        task=check_task(task),
        operating_points=tuple(operating_points),
        preprocessing=InputSteps(**structs.asdict(preprocessing)),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        provenance=provenance,
        metrics=metrics,
    )
    check_record(record, f"The bundle {folder}")
    own = TorchClassifier(own_network(folder, record, state), Outputs(names=record.classes, task=task), preprocessing)
    check_finite(folder, state)
    canary = make_canary(own)
    _write(folder, record, {WEIGHTS: weights, CANARY: canary}, splits=splits, pixels=pixels or {})
    return folder


def save_opened(
    folder: Path,
    opened: OpenedModel,
    request: ModelRequest,
    *,
    provenance: Mapping[str, Any],
    parity: Parity | None = None,
) -> Path:
    """Write the bundle of a model that was opened as its owner has it.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    opened : OpenedModel
        The model.
    request : ModelRequest
        How it was opened.
    provenance : mapping
        Where it came from.
    parity : Parity, optional
        The comparison with its owner's own pipeline.

    Raises
    ------
    ModelError
        If it consists of code alone, which no bundle can hold.
    """
    classifier = opened.classifier
    held, file = _files_of(opened, request)
    record = BundleRecord(
        schema_version=SCHEMA_VERSION,
        name=folder.name,
        architecture=opened.architecture,
        classes=classifier.outputs.names,
        task=classifier.outputs.task,
        preprocessing=InputSteps(**structs.asdict(classifier.wants)),
        kind=request.kind,
        file=file,
        answers=opened.answers,
        operating_points=classifier.outputs.points,
        weights_sha256=hashlib.sha256(held[file or WEIGHTS]).hexdigest(),
        parity=parity,
        provenance=provenance,
    )
    check_record(record, f"The bundle {folder}")
    _write(folder, record, {**held, CANARY: make_canary(classifier)}, splits={}, pixels={})
    return folder


def save_changed(
    folder: Path,
    bundle: Bundle,
    network: nn.Module,
    *,
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
    splits: Mapping[str, str],
    pixels: Mapping[str, str],
) -> Path:
    """Write a bundle like another one whose network has other weights; everything else that opens it stays as it is.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    bundle : Bundle
        The other one; left as it is.
    network : nn.Module
        Of the form of `bundle.network`, with other weights.
    provenance, metrics, splits, pixels
        See `save_bundle`.

    Raises
    ------
    ModelError
        If the other one is in no bundle, or consists of files whose weights cannot be exchanged, or a weight is not finite.
    """
    check_changeable(bundle)
    assert bundle.folder is not None
    record = read_record(bundle.folder)[0]
    held = read_tensors(read_regular(bundle.folder / WEIGHTS))
    state, first = network.state_dict(), next(iter(held))
    # A network that returns an object stands inside another module; its own names are what the file holds.
    roots = sorted((key.removesuffix(first) for key in state if key.endswith(first)), key=len)
    root = next((r for r in roots if all(r + key in state for key in held)), None)
    if root is None:
        raise ModelError(
            f"The network has no weights {first} and the like, which {bundle.where} holds. It is another network."
        )
    changed = {key: state[root + key].detach().cpu().contiguous().clone() for key in held}
    check_finite(folder, changed)
    weights = safetensors.torch.save(changed)
    new = structs.replace(
        record,
        name=folder.name,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        provenance=provenance,
        metrics=metrics,
        parity=None,
    )
    check_record(new, f"The bundle {folder}")
    canary = make_canary(TorchClassifier(network, bundle.classifier.outputs, bundle.preprocessing))
    _write(folder, new, {WEIGHTS: weights, CANARY: canary}, splits=splits, pixels=pixels)
    return folder


def check_changeable(bundle: Bundle) -> None:
    """Refuse a bundle whose weights cannot be exchanged.

    Raises
    ------
    ModelError
        If it is in no folder, or holds a file that is opened as a whole.
    """
    if bundle.folder is None:
        raise ModelError(
            f"{bundle.where} is not a bundle, so no copy with other weights can be written. Convert it with `audit import`, and name the "
            "bundle with --model."
        )
    record = read_record(bundle.folder)[0]
    if record.file is not None:
        raise ModelError(
            f"{bundle.where} holds {record.file}, a file of the kind {bundle.kind.partition(':')[0]} that is opened as a whole, so its "
            "weights cannot be changed. Import the network's weights instead: `audit import FILE --as ARCHITECTURE`."
        )


def _write(
    folder: Path,
    record: BundleRecord,
    files: Mapping[str, bytes],
    *,
    splits: Mapping[str, str],
    pixels: Mapping[str, str],
) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("id", "split", "pixels"))
    writer.writerows((name, split, pixels.get(name, "")) for name, split in sorted(splits.items()))
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(folder / name, data)
    write_atomically(folder / "splits.csv", table.getvalue().encode("utf-8", "surrogateescape"))
    document = plain(record)
    document["preprocessing"] = declared_steps(Preprocessing(**structs.asdict(record.preprocessing)))
    if record.kind == OWN_KIND:  # as earlier versions read it
        for name in ("kind", "file", "answers", "parity"):
            del document[name]
    if not record.operating_points:
        del document["operating_points"]
    write_atomically(folder / BundleRecord.FILE, to_json(document).encode())


def _files_of(opened: OpenedModel, request: ModelRequest) -> tuple[dict[str, bytes], str | None]:
    """Return what a bundle keeps of a model, and the name of the file that opens it; None for weights alone."""
    files = opened.files or (
        {} if not request.checkpoint else {Path(request.checkpoint).name: Path(request.checkpoint)}
    )
    if files:
        return {name: read_regular(path, 2 * MAX_FILE_BYTES) for name, path in files.items()}, next(iter(files))
    network = opened.classifier.ability("network")
    if not isinstance(network, nn.Module):
        raise ModelUsageError(
            f"{request.model} consists of code alone, which no bundle can hold. Audit it directly: `audit run --model {request.model}`."
        )
    body = opened.body or network
    state = {key: value.detach().cpu().contiguous().clone() for key, value in body.state_dict().items()}
    return {WEIGHTS: safetensors.torch.save(state)}, None
