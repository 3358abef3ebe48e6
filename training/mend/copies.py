"""Edited copies of the images to learn from, and what the last layer reads of each; kept shard by shard, so that a kill loses little."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from audit.data.conditions import Condition
from audit.data.records import Record
from audit.files import write_atomically
from audit.models.bundle import Bundle
from audit.models.torch_classifier import one_thread
from audit.prediction.variants import make_variant, read_scene
from audit.store.serialise import to_json
from audit.training.mend.learnt import Learnt

_SHARD = 16
_BATCH = 16
_VERSION = 1
_ANSWERS = ("logits", "features", "applied")
Place = tuple[str, int]
"""Condition and draw; `("clean", 0)` is the unedited image."""


@dataclass(frozen=True, kw_only=True)
class Copies:
    """The images (n) under every draw of the training edits, and under their placebos: training images under one draw of these."""

    edits: tuple[Condition, ...]
    """What the copies were made by."""
    logits: Mapping[Place, NDArray[np.float32]]
    """(n, k) what the old network answers; where no copy was made, to the unedited image."""
    features: Mapping[Place, NDArray[np.float32]]
    """(n, f) what the last linear layer reads, likewise; empty for a network that shows none."""
    applied: Mapping[Place, NDArray[np.bool_]]
    """(n,) whether a copy was made: the edit could be applied, and it is no further draw of a placebo on a training image."""
    pixels: Callable[[Place, int], NDArray[np.uint8]]
    """Place and number of an image -> its copy at input size."""

    def draws(self, condition: str) -> list[Place]:
        """Return the draws of a condition."""
        return [place for place in self.applied if place[0] == condition]


def make_copies(
    learnt: Learnt,
    edits: Sequence[Condition],
    bundle: Bundle,
    folder: Path,
    *,
    seed: int,
    on_image: Callable[[], None],
) -> Copies:
    """Edit every image by every draw of the edits, and pass the copies through the network; what was done before is read back.

    Parameters
    ----------
    learnt : Learnt
        The images.
    edits : sequence of Condition
        Of its suite.
    bundle : Bundle
        The network.
    folder : Path
        Where copies are kept until the network is mended.
    seed : int
        Of the draws.
    on_image : callable
        Called after each image.
    """
    places = _places(learnt, edits)
    has_head = bundle.classifier.ability("head") is not None
    asked = [_VERSION, bundle.digest, has_head, seed, places, [c.parameters for c in edits], learnt.cohort.content_hash]
    asked += [[[r.id, bool(v)] for r, v in zip(learnt.records, learnt.validation, strict=True)]]
    name = hashlib.sha256(to_json(asked).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    shards = []
    for start in range(0, len(learnt.records), _SHARD):
        file = folder / f"copies-{name}-{start // _SHARD:05d}"
        if (found := _read(file)) is None:
            found = _shard(learnt, start, places, bundle, seed)
            _write(file, found)
        shards.append(found)
        for _ in range(start, min(start + _SHARD, len(learnt.records))):
            on_image()
    joined = {key: np.concatenate([shard[key] for shard in shards]) for key in _ANSWERS}

    @cache
    def shown(number: int) -> NDArray[np.uint8]:
        # Mapped, not read: training asks for images in any order, and all copies may not fit in memory.
        return open_memmap(_pixels_of(folder / f"copies-{name}-{number:05d}"), mode="r")

    def pixels(place: Place, image: int) -> NDArray[np.uint8]:
        return np.array(shown(image // _SHARD)[image % _SHARD, places.index(place)])

    return Copies(
        edits=tuple(edits),
        logits={place: joined["logits"][:, i] for i, place in enumerate(places)},
        features={place: joined["features"][:, i] for i, place in enumerate(places)} if joined["features"].size else {},
        applied={place: joined["applied"][:, i] for i, place in enumerate(places)},
        pixels=pixels,
    )


def _places(learnt: Learnt, edits: Sequence[Condition]) -> list[Place]:
    known = {c.name: c for c in learnt.suite.conditions}
    names = dict.fromkeys([*(c.name for c in edits), *(c.placebo for c in edits if c.placebo is not None)])
    return [("clean", 0), *((name, draw) for name in names for draw in range(known[name].draws))]


def _shard(learnt: Learnt, start: int, places: Sequence[Place], bundle: Bundle, seed: int) -> dict[str, NDArray[Any]]:
    """Return logits, features, pixels and whether an edit was applied, of the images of a shard, (images, places, ...)."""
    rows = range(start, min(start + _SHARD, len(learnt.records)))
    answered = [_one(learnt, learnt.records[i], bool(learnt.validation[i]), places, bundle, seed) for i in rows]
    return {key: np.stack([one[key] for one in answered]) for key in answered[0]}


def _one(
    learnt: Learnt, record: Record, validation: bool, places: Sequence[Place], bundle: Bundle, seed: int
) -> dict[str, NDArray[Any]]:
    conditions = {c.name: c for c in learnt.suite.conditions}
    scene = read_scene(record, learnt.context)
    clean = np.asarray(bundle.preprocessing.resize(scene.image), dtype=np.uint8)
    shown, applied = [clean], [True]
    for name, draw in places[1:]:
        condition = conditions[name]
        # One draw of a placebo is enough to learn that an edit's own traces mean nothing; validation images are measured under all.
        skipped = condition.role == "placebo" and not validation and draw > 0
        made = None if skipped else make_variant(scene, condition, learnt.perturbations[name], draw, seed)
        applied.append(made is not None and not made.why_not)
        copy = bundle.preprocessing.resize(made.image) if made is not None and applied[-1] else clean
        shown.append(np.asarray(copy, dtype=np.uint8))
    pixels = np.stack(shown)
    logits, features = _answers(bundle, [shown[i] for i in np.flatnonzero(applied)])
    places_of = np.cumsum(applied) - 1
    return {
        "pixels": pixels,
        "applied": np.array(applied, dtype=np.bool_),
        "logits": logits[np.where(applied, places_of, 0)],
        "features": features[np.where(applied, places_of, 0)],
    }


def _answers(bundle: Bundle, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits (n, k), and features (n, f) where the classifier gives any."""
    inputs = torch.stack([bundle.preprocessing.normalise(image) for image in images])
    head = bundle.classifier.ability("head")
    seen: list[torch.Tensor] = []
    hook = None if head is None else head.register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1)))
    try:
        with one_thread():  # as predictions, so that the number of cores changes no digit
            logits = torch.cat([bundle.logits(part) for part in torch.split(inputs, _BATCH)])
    finally:
        if hook is not None:
            hook.remove()
    rows = torch.cat(seen).float() if seen else torch.empty((len(images), 0))
    if len(rows) != len(images):  # a layer that is used for every patch reads more rows than there are images
        rows = torch.empty((len(images), 0))
    return logits.float().numpy(), rows.numpy()


def _pixels_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-pixels.npy")


def _answers_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-answers.safetensors")


def _write(file: Path, shard: Mapping[str, NDArray[Any]]) -> None:
    """Write the pixels of a shard, then its answers, so that a shard with answers is complete."""
    buffer = io.BytesIO()
    np.save(buffer, shard["pixels"])
    write_atomically(_pixels_of(file), buffer.getvalue())
    write_atomically(_answers_of(file), save({key: np.ascontiguousarray(shard[key]) for key in _ANSWERS}))


def _read(file: Path) -> dict[str, NDArray[Any]] | None:
    """Return the answers of a shard; None where there is none, or a damaged one."""
    try:
        open_memmap(_pixels_of(file), mode="r")
        found = load_file(_answers_of(file))
        return {key: found[key] for key in _ANSWERS}
    except Exception:  # a damaged archive raises whatever its reader meets; the shard is made again
        return None
