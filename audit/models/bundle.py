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
from msgspec import Struct, structs
from torch import nn

from audit.data.bundle_record import MAX_CLASS_NAME, MAX_CLASSES, OWN_KIND, BundleRecord, Origin
from audit.data.plan import InputSteps, Parity
from audit.data.records import SPLITS
from audit.data.tasks import Task
from audit.errors import ModelError, UnknownNameError, shown_string, shown_value
from audit.files import (
    MAX_FILE_BYTES,
    file_sha256,
    open_regular,
    read_regular,
    stands_for,
    why_unreadable,
    write_atomically,
)
from audit.models.canary import check_canary, make_canary
from audit.models.classifier import Classifier, Outputs
from audit.models.foreign import RefusedError
from audit.models.kinds import check_trust, open_directly
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing, declared_steps, why_impossible
from audit.models.requests import ModelRequest, OpenedModel
from audit.models.tasks import check_task, older_task
from audit.models.tensors import read_tensors
from audit.models.torch_classifier import TorchClassifier
from audit.store.documents import read_json
from audit.store.results import SCHEMA_VERSION, plain, to_json
from audit.store.tables import check_size
from audit.store.typed import FormatError, typed

WEIGHTS, CANARY = "weights.safetensors", "canary.safetensors"


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

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each output (k)."""
        return self.classifier.outputs.names

    @property
    def task(self) -> Task | None:
        """What the outputs mean; None for a bundle of an earlier version that does not say it."""
        return self.classifier.outputs.task

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network expects to see."""
        return self.classifier.wants

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
    record = BundleRecord(
        schema_version=SCHEMA_VERSION,
        name=name,
        architecture=architecture,
        classes=tuple(classes),
        task=check_task(task),
        preprocessing=InputSteps(**structs.asdict(preprocessing)),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        provenance=provenance,
        metrics=metrics,
    )
    check_record(record, f"The bundle {folder}")
    own = TorchClassifier(_network(folder, record, state), Outputs(names=record.classes, task=task), preprocessing)
    _check_finite(folder, state)
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
        weights_sha256=hashlib.sha256(held[file or WEIGHTS]).hexdigest(),
        parity=parity,
        provenance=provenance,
    )
    check_record(record, f"The bundle {folder}")
    _write(folder, record, {**held, CANARY: make_canary(classifier)}, splits={}, pixels={})
    return folder


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
        raise ModelError(
            f"{request.model} consists of code alone, which no bundle can hold. Audit it directly: `audit run --model {request.model}`."
        )
    body = opened.body or network
    state = {key: value.detach().cpu().contiguous().clone() for key, value in body.state_dict().items()}
    return {WEIGHTS: safetensors.torch.save(state)}, None


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
    hint = (
        f"A bundle is a folder with model.json and weights.safetensors; `audit train {model}` writes one. A function of your own is named "
        "package.module:function."
    )
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
    record, origin = _read_record(folder)
    preprocessing = Preprocessing(**structs.asdict(record.preprocessing))
    check_trust(record.kind, preprocessing.function, trust, str(folder))
    request = ModelRequest(model=str(folder), trust=trust)
    assumed: tuple[str, ...] = ()
    if record.kind == OWN_KIND:
        classifier, digest = _own(folder, record, preprocessing)
    else:
        opened = open_directly(_held(folder, record, preprocessing, trust=trust))
        classifier, assumed = opened.classifier, opened.assumed
        digest = hashlib.sha256(
            to_json([record.kind, record.classes, declared_steps(preprocessing), opened.content]).encode()
        ).hexdigest()
    check_canary(folder / CANARY, classifier)
    rows = _read_splits(folder)
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


def _own(folder: Path, record: BundleRecord, preprocessing: Preprocessing) -> tuple[Classifier, str]:
    """Return the classifier of a bundle that holds weights alone, and its digest."""
    weights_path = folder / WEIGHTS
    try:
        data = read_regular(weights_path)
    except OSError as error:
        raise ModelError(f"Bundle {folder} has no readable weights.safetensors ({error.strerror}).") from error
    if what := stands_for(data):
        raise ModelError(f"{weights_path} is {what}.")
    found = hashlib.sha256(data).hexdigest()
    _check_sum(folder, record, found)
    try:
        state = read_tensors(data)
    except RefusedError as error:
        raise ModelError(f"{weights_path} is refused: {error}. Copy the bundle again.") from error
    _check_finite(folder, state)
    network = _network(folder, record, state)
    outputs = Outputs(names=record.classes, task=record.task or older_task(record.provenance))
    # The task is not part of it: baselines rest on digests, and only single-label networks are audited.
    identity = to_json([record.architecture, record.classes, declared_steps(preprocessing), found])
    return TorchClassifier(network, outputs, preprocessing), hashlib.sha256(identity.encode()).hexdigest()


def _held(folder: Path, record: BundleRecord, preprocessing: Preprocessing, *, trust: bool) -> ModelRequest:
    """Return the request that opens what a bundle of another kind holds."""
    file = folder / (record.file or WEIGHTS)
    if Path(record.file or WEIGHTS).name != (record.file or WEIGHTS) or not file.exists():
        raise ModelError(
            f"{folder / BundleRecord.FILE}: file must name a file in the bundle, found {shown_value(record.file)}. Copy the bundle again."
        )
    _check_sum(folder, record, file_sha256(file))
    return ModelRequest(
        model=str(folder),
        kind=record.kind,
        classes=record.classes,
        task=record.task,
        answers=record.answers,
        checkpoint=str(file) if record.file else "",
        weights="" if record.file else str(file),
        trust=trust,
        settled=preprocessing,
    )


def _check_sum(folder: Path, record: BundleRecord, found: str) -> None:
    if found != record.weights_sha256:
        raise ModelError(
            f"The weights of bundle {folder} have SHA-256 {found[:12]}..., but model.json says "
            f"{record.weights_sha256[:12]}.... One of the files was changed or damaged; copy the bundle again."
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


def _check_finite(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    bad = sorted(k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all()))
    if bad:
        raise ModelError(
            f"Bundle {folder} has weights that are NaN or infinite in {len(bad)} tensors, first {bad[0]}. "
            "Training diverged; train it again with a smaller learning rate."
        )


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
