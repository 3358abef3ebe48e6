"""Parity before anything else: the answers of the owner's own pipeline, held against those that the audit would measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby, islice, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray

from audit.data.images import StoredImage, look, read_image
from audit.data.input_words import input_in_words
from audit.data.planned_model import Parity
from audit.data.table_heads import read_head
from audit.data.tables import read_columns
from audit.data.tasks import Task
from audit.errors import UsageError, shown_names, shown_string
from audit.models.bundle import Bundle
from audit.models.callables import GreyImages
from audit.models.prepared_input import SCALES
from audit.models.preprocessing import Preprocessing, why_impossible
from audit.models.scaling import METHODS
from audit.statistics.outputs import probabilities_of

TOLERANCE = 1e-3
"""Largest difference of a probability."""
_RGB = 3
_MAX_IMAGES = 2_000
_MAX_PERMUTED = 6
_MAX_CHANGES = 3
_BATCH = 16
_NAMES = ("image", "path", "file", "id")


@dataclass(frozen=True, kw_only=True)
class _Answers:
    files: tuple[Path, ...]
    probabilities: NDArray[np.float64]


def check_parity(bundle: Bundle, table: Path, task: Task | None = None) -> Parity:
    """Predict the images of a table, and compare with the probabilities that it gives.

    Parameters
    ----------
    bundle : Bundle
        The classifier.
    table : Path
        A column `image` (paths from the table's folder) and a column of probabilities for each class.
    task : Task, optional
        What the outputs are taken for; what the bundle says if omitted.

    Raises
    ------
    UsageError
        If a probability differs by more than `TOLERANCE`: the message names the largest difference, and the declared variant that
        reproduces the table, if one does.
    CohortError, ImageError
        If the table or an image cannot be read.
    """
    exclusive = (task or bundle.task) != "multi-label"
    answers = _read(table, bundle.classes, exclusive=exclusive)
    images = _read_images(answers.files)
    read = _Reading(bundle=bundle, exclusive=exclusive)
    found = read.predicted(bundle.preprocessing, images)
    differences = np.abs(found - answers.probabilities)
    i, k = np.unravel_index(int(differences.argmax()), differences.shape)
    largest = float(differences[i, k])
    if largest <= TOLERANCE:
        return Parity(n_images=len(answers.files), largest=largest, limit=TOLERANCE)
    remedy = _remedy(read, images, answers.probabilities, found, int(i))
    raise UsageError(
        f"The network does not give the answers of {table}: they differ by up to {largest:.3f}, at class "
        f"{shown_string(bundle.classes[k])} of {shown_string(answers.files[i].name)} ({answers.probabilities[i, k]:.3f} in the table, "
        f"{found[i, k]:.3f} here; limit {TOLERANCE:g}). {remedy}"
    )


def _read(table: Path, classes: Sequence[str], *, exclusive: bool) -> _Answers:
    head = read_head(table)
    names = [name.strip().casefold() for name in head.names]
    image = next((names.index(name) for name in _NAMES if name in names), None)
    wanted = [names.index(c.strip().casefold()) if c.strip().casefold() in names else None for c in classes]
    if exclusive and len(classes) == 2 and wanted[0] is None:  # a single probability, that of the second class
        wanted = wanted[1:]
    if image is None or any(place is None for place in wanted):
        raise UsageError(
            f"{table} must have a column image and one for each class ({shown_names(classes)}), found "
            f"{', '.join(map(shown_string, head.names[:20]))}."
        )
    columns = [place for place in wanted if place is not None]
    cells = read_columns(head, [image, *columns]).cells
    files = [table.parent / str(name) for name in cells[0].to_pylist()]
    if not 1 <= len(files) <= _MAX_IMAGES:
        raise UsageError(f"{table} must have 1 to {_MAX_IMAGES} rows, found {len(files)}; 20 suffice.")
    try:
        values = np.array([[float(cell) for cell in column.to_pylist()] for column in cells[1:]], dtype=np.float64).T
    except ValueError as error:
        raise UsageError(f"{table} must hold a probability in each column of a class: {error}.") from error
    if values.shape[1] == 1 < len(classes):
        values = np.concatenate([1 - values, values], axis=1)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise UsageError(f"{table} must hold probabilities from 0 to 1, found {values.min():g} to {values.max():g}.")
    off = float(np.abs(values.sum(axis=1) - 1).max())
    if exclusive and off > 10 * TOLERANCE:
        raise UsageError(
            f"The probabilities of a row of {table} must sum to 1, but a row is off by {off:.3f}. If the outputs do not exclude each other "
            "(sigmoids), use --task multi-label."
        )
    return _Answers(files=tuple(files), probabilities=values)


@dataclass(frozen=True, kw_only=True)
class _Images:
    """The images of a table."""

    grey: Sequence[StoredImage]
    """(h, w)."""
    colour: Sequence[StoredImage]
    """(h, w, 3); empty where all are grey."""

    def of(self, steps: Preprocessing) -> Sequence[StoredImage]:
        """Return the images as a way of preparing them wants them."""
        return self.grey if steps.colour == "grey" or not self.colour else self.colour


def _read_images(files: Sequence[Path]) -> _Images:
    seen = [look(file) for file in files]
    coloured = any(one.facts.coloured_share is not None for one in seen)
    return _Images(
        grey=[one.pixels for one in seen],
        colour=[read_image(file, colour=True) for file in files] if coloured else (),
    )


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """A classifier, and what its outputs are taken for."""

    bundle: Bundle
    exclusive: bool

    def predicted(self, steps: Preprocessing, images: _Images) -> NDArray[np.float64]:
        """Return the probabilities (n, k) of images under a way of preparing them."""
        return self.answered(steps.prepare(image) for image in images.of(steps))

    def answered(self, inputs: Iterable[torch.Tensor]) -> NDArray[np.float64]:
        """Return the probabilities (n, k) of prepared images, of which those that follow each other and are alike in size share a batch."""
        answers: list[NDArray[np.float32]] = []
        for _, same in groupby(inputs, key=lambda one: tuple(one.shape)):
            while batch := list(islice(same, _BATCH)):
                answers.append(self.bundle.logits(torch.stack(batch)).numpy())
        return probabilities_of(np.concatenate(answers), exclusive=self.exclusive)


def _remedy(
    read: _Reading,
    images: _Images,
    wanted: NDArray[np.float64],
    found: NDArray[np.float64],
    worst: int,
) -> str:
    """Return the sentence on what would reproduce the table."""
    bundle, classes = read.bundle, read.bundle.classes
    other = replace(read, exclusive=not read.exclusive).predicted(bundle.preprocessing, images)
    if np.abs(other - wanted).max() <= TOLERANCE:
        task = "multi-label" if read.exclusive else "single-label"
        how = "a sigmoid for each output" if read.exclusive else "softmax"
        return f"Read as {task} ({how}), the outputs reproduce your numbers: use --task {task}."
    if len(classes) <= _MAX_PERMUTED:
        for order in permutations(range(len(classes))):
            if np.abs(found[:, order] - wanted).max() <= TOLERANCE and order != tuple(range(len(classes))):
                names = [""] * len(classes)
                for place, column in enumerate(order):
                    names[column] = classes[place]
                return f"The order of the classes {','.join(names)} reproduces your numbers: use --classes {','.join(names)}."
    if not bundle.preprocessing.function:
        fit = _fitting(read, images, wanted, worst)
        if fit is not None:
            changed = _options(bundle.preprocessing, fit)
            return f"This preparation reproduces your numbers: {input_in_words(fit)}. Use {changed}."
    return (
        "No declared preparation that was tried reproduces your numbers: check --classes, --answers and the network, or hand over your own "
        "with --preprocess package.module:function."
    )


def _fitting(read: _Reading, images: _Images, wanted: NDArray[np.float64], worst: int) -> Preprocessing | None:
    """Return the variant with the fewest changes, and of those the closest, that reproduces all answers.

    The image that is furthest off is tried first, alone.
    """
    variants_of = _variants(read.bundle.preprocessing, in_colour=bool(images.colour))
    for _, group in groupby(variants_of, key=lambda numbered: numbered[0]):
        variants = [steps for _, steps in group]
        answers = read.answered(steps.prepare(images.of(steps)[worst]) for steps in variants)
        close = np.abs(answers - wanted[worst]).max(axis=1) <= TOLERANCE
        fits = [(float(np.abs(read.predicted(variants[i], images) - wanted).max()), i) for i in np.flatnonzero(close)]
        if fits and min(fits)[0] <= TOLERANCE:
            return variants[min(fits)[1]]
    return None


def _variants(steps: Preprocessing, *, in_colour: bool) -> Iterator[tuple[int, Preprocessing]]:
    """Yield other ways to the same input with their number of changes, those with one change first."""
    side = 0 if steps.size_px is None else min(steps.size_px)
    usual: dict[str, Any] = {"shorter_px": None, "pad": 0}
    fits: list[dict[str, Any]] = []
    if side and steps.size_px is not None and steps.size_px[0] == steps.size_px[1]:
        fits = [{"fit": fit, **usual} for fit in ("squash", "letterbox", "shorter-side")]
        # Networks of 224 px are commonly shown the centre of 256.
        fits.append({"fit": "shorter-side", **usual, "shorter_px": round(side * 8 / 7)})
    scalers = [{"library": library, "interpolation": how} for library, ways in METHODS.items() for how in ways]
    n = steps.channels
    plain = {"per_image": False, "value_range": (0.0, 1.0)}
    zero, one = (0.0,) * n, (1.0,) * n
    values = [
        *(
            {**plain, "mean": mean[:n], "std": std[:n]}
            for name, (mean, std) in SCALES.items()
            if n == 3 or name != "imagenet"
        ),
        {**plain, "value_range": (0.0, 255.0), "mean": zero, "std": one},
        {**plain, "per_image": True, "mean": zero, "std": one},
    ]
    axes = [
        fits,
        scalers if side else [],
        [] if isinstance(steps, GreyImages) else values,
        [{"clahe": limit} for limit in (0.0, 2.0, 4.0, 40.0)],
        [{"colour": colour} for colour in ("grey", "rgb", "bgr")] if in_colour and n == _RGB else [],
    ]
    met = {steps}
    for n_changes in range(1, _MAX_CHANGES + 1):
        for chosen in combinations(axes, n_changes):
            for parts in product(*chosen):
                other = structs.replace(steps, **{k: v for part in parts for k, v in part.items()})
                if other not in met and not why_impossible(other):
                    met.add(other)
                    yield n_changes, other


def _options(before: Preprocessing, after: Preprocessing) -> str:
    """Return the options that turn one way into another."""
    changed = {k: v for k, v in structs.asdict(after).items() if v != getattr(before, k)}
    said = []
    if changed.keys() & {"mean", "std", "value_range"}:
        scale = next(
            (
                name
                for name, pair in SCALES.items()
                if (after.mean, after.std) == tuple(v[: after.channels] for v in pair)
            ),
            "",
        )
        plain = after.value_range == (0.0, 1.0) and not after.per_image
        for name in ("mean", "std", "value_range"):
            changed.pop(name, None)
        if scale and plain:
            said.append(f"--scale {scale}")
        elif not after.per_image:
            said.append(f"--value-range {','.join(f'{v:g}' for v in after.value_range)}")
    for name, value in changed.items():
        if isinstance(value, bool):
            said.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        elif value is not None:
            said.append(
                f"--{name.replace('_', '-')} {value:g}"
                if isinstance(value, float)
                else f"--{name.replace('_', '-')} {value}"
            )
    return " ".join(said)
