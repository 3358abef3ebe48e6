"""One classifier in one folder: `model.json`, `weights.safetensors`, its canary, and the splits it was trained on."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from msgspec import Struct
from torch import nn

from audit.data.bundle_record import MAX_CLASS_NAME, MAX_CLASSES, BundleRecord, Origin
from audit.data.plan import InputSteps
from audit.data.records import SPLITS
from audit.data.tasks import Task
from audit.errors import ModelError, UnknownNameError, shown_string, shown_value
from audit.files import open_regular, read_regular, stands_for, why_unreadable, write_atomically
from audit.models.canary import check_canary, make_canary
from audit.models.foreign import RefusedError
from audit.models.networks import build_network, last_layer
from audit.models.preprocessing import Preprocessing
from audit.models.tasks import older_task
from audit.models.tensors import read_tensors
from audit.store.documents import read_json
from audit.store.results import SCHEMA_VERSION, to_json
from audit.store.tables import check_size
from audit.store.typed import FormatError, typed


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A classifier, ready to predict."""

    name: str
    """Name that it was trained under, such as C."""
    folder: Path
    """Where it was read from."""
    architecture: str
    """As `audit.models.networks.build_network` knows it."""
    classes: tuple[str, ...]
    """Class of each output (k)."""
    preprocessing: Preprocessing
    """What the network expects to see."""
    network: nn.Module
    """In evaluation mode, with gradients off."""
    task: Task | None
    """What the outputs mean; None for a bundle of an earlier version that does not say it."""
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

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Predict logits (n, k) for prepared inputs (n, 3, h, w).

        Raises
        ------
        ModelError
            If one is NaN or infinite: no probability follows from it.
        """
        with torch.inference_mode():
            logits = torch.as_tensor(self.network(inputs))
        if not bool(torch.isfinite(logits).all()):
            raise ModelError(
                f"The network {shown_string(self.name)} predicts NaN or infinity, so its predictions cannot be audited. Train it again "
                "with a smaller learning rate."
            )
        return logits

    def penultimate(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict logits (n, k), and also return the inputs of the last layer (n, f)."""
        head = last_layer(self.network)
        seen: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        try:
            logits = self.logits(inputs)
        finally:
            hook.remove()
        return logits, seen[0].flatten(1)


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
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("id", "split", "pixels"))
    writer.writerows((record, split, (pixels or {}).get(record, "")) for record, split in sorted(splits.items()))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "weights.safetensors", weights)
    write_atomically(folder / "canary.safetensors", make_canary(network, preprocessing))
    write_atomically(folder / "splits.csv", table.getvalue().encode("utf-8", "surrogateescape"))
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "architecture": architecture,
        "classes": list(classes),
        "task": task,
        "preprocessing": preprocessing,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "provenance": provenance,
        "metrics": metrics,
    }
    write_atomically(folder / "model.json", to_json(document).encode())
    return folder


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
    known = [p.parent.name for p in models_folder.glob("*/model.json")]
    hint = f"A bundle is a folder with model.json and weights.safetensors; `audit train {model}` writes one."
    given = Path(model)
    if given.is_dir():
        inside = given / "model.json"
        why = (
            "has no model.json" if not inside.exists() else f"is not readable: its model.json {why_unreadable(inside)}"
        )
        raise ModelError(f"The folder {model} {why}, so it is not a bundle. {hint}")
    if given.exists():
        raise ModelError(f"{model} is not a folder, so it is not a bundle. {hint}")
    raise UnknownNameError("model", model, known, hint)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle back, and refuse one that cannot be trusted.

    Raises
    ------
    ModelError
        If a file is missing or damaged, weights do not fit the architecture or the number of classes,
        a weight is not finite, the checksum differs from the one in `model.json`, or the network no longer answers
        its canary as it did.
    """
    record, origin = _read_record(folder)
    weights_path = folder / "weights.safetensors"
    try:
        data = read_regular(weights_path)
    except OSError as error:
        raise ModelError(f"Bundle {folder} has no readable weights.safetensors ({error.strerror}).") from error
    if what := stands_for(data):
        raise ModelError(f"{weights_path} is {what}.")
    found = hashlib.sha256(data).hexdigest()
    if found != record.weights_sha256:
        raise ModelError(
            f"The weights of bundle {folder} have SHA-256 {found[:12]}..., but model.json says "
            f"{record.weights_sha256[:12]}.... One of the files was changed or damaged; copy the bundle again."
        )
    try:
        state = read_tensors(data)
    except RefusedError as error:
        raise ModelError(f"{weights_path} is refused: {error}. Copy the bundle again.") from error
    bad = sorted(k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all()))
    if bad:
        raise ModelError(
            f"Bundle {folder} has weights that are NaN or infinite in {len(bad)} tensors, first {bad[0]}. "
            "Training diverged; train it again with a smaller learning rate."
        )
    classes = record.classes
    network = _network(folder, record, state)
    preprocessing = _preprocessing(folder, record.preprocessing)
    check_canary(folder / "canary.safetensors", network, preprocessing)
    rows = _read_splits(folder)
    # The task is not part of it: baselines rest on digests, and only single-label networks are audited.
    identity = to_json([record.architecture, classes, preprocessing, found])
    return Bundle(
        name=record.name,
        folder=folder,
        architecture=record.architecture,
        classes=classes,
        task=record.task or older_task(record.provenance),
        preprocessing=preprocessing,
        network=network,
        digest=hashlib.sha256(identity.encode()).hexdigest(),
        provenance=record.provenance,
        origin=origin,
        metrics=record.metrics,
        splits={row["id"]: row["split"] for row in rows},
        # Of copies that stand in two splits, the one that was learnt from counts: it comes last.
        seen={
            row["pixels"]: split
            for split in reversed(SPLITS)
            for row in rows
            if row["split"] == split and row.get("pixels")
        },
    )


def _read_record(folder: Path) -> tuple[BundleRecord, Origin]:
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
    names = [name.strip().casefold() for name in record.classes] if len(record.classes) <= MAX_CLASSES else []
    if len(names) < 2 or len(set(names)) != len(names) or "" in names or any(len(n) > MAX_CLASS_NAME for n in names):
        raise ModelError(
            f"{path}: classes must be a list of 2 to {MAX_CLASSES} different names of at most {MAX_CLASS_NAME} characters (case "
            f"and blanks around them make no difference), found {shown_value(list(record.classes[:20]), 200)}."
        )
    # Both are printed by every command: a control character could clear a terminal and write a verdict of its own.
    for text in (record.name, *record.classes):
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
            raise ModelError(
                f"{path}: name and classes must be text without control characters, found {ascii(text)[:200]}. Correct model.json."
            )
    if len(record.name) > MAX_CLASS_NAME:
        raise ModelError(
            f"{path}: name must have at most {MAX_CLASS_NAME} characters, found {len(record.name)}. Correct model.json."
        )
    return record, origin


class _Told(Struct, frozen=True, kw_only=True):
    """What is obeyed of a bundle's story, at its place in the file."""

    provenance: Origin


def _network(folder: Path, record: BundleRecord, state: Mapping[str, torch.Tensor]) -> nn.Module:
    classes = record.classes
    head = state.get("classifier.weight")
    if head is not None and head.shape[0] != len(classes):
        raise ModelError(
            f"Bundle {folder} names {len(classes)} classes ({', '.join(classes)}), but its network has {head.shape[0]} "
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


def _preprocessing(folder: Path, steps: InputSteps) -> Preprocessing:
    if min(steps.size_px) < 32 or max(steps.size_px) > 4096 or min(steps.std) <= 0:
        raise ModelError(
            f"The preprocessing of bundle {folder} cannot be used: size_px must lie in 32..4096 and std above 0, found "
            f"{steps.size_px} and {steps.std}. Correct model.json."
        )
    return Preprocessing(size_px=steps.size_px, mean=steps.mean, std=steps.std)


def _read_splits(folder: Path) -> list[dict[str, str]]:
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
