"""Images at input size, kept as uint8, and the order in which an epoch visits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.images import read_record
from audit.data.records import Record
from audit.models.preprocessing import Preprocessing
from audit.randomness import generator_for
from audit.training.augmentation import Augmentation, augment, draw_for

# Beyond this the resized images go to a file: 2,000 images of 224 px are 100 MB, ChestX-ray14 is 5.6 GB.
MEMORY_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The images of one split, with their targets; every batch is a pure function of (seed, epoch, order)."""

    ids: tuple[str, ...]
    """Record ids (n)."""
    images: Sequence[NDArray[np.uint8]]
    """Resized images, n of (h, w) or (h, w, 3)."""
    targets: torch.Tensor
    """Class index int64 (n), or findings float32 (n, k) of 0 and 1."""
    preprocessing: Preprocessing
    """How pixels become the network's input; the audit uses the same."""
    augmentation: Augmentation
    """How training images are moved."""
    copies: tuple[int, ...] = ()
    """For each class the copies of an image that a balanced epoch draws from; empty: every image once."""

    def __len__(self) -> int:
        """Return the number of images n."""
        return len(self.ids)

    def epoch_size(self) -> int:
        """Return how many images an epoch visits."""
        if not self.copies:
            return len(self)
        return len(self.copies) * min(int((self.targets == c).sum()) * n for c, n in enumerate(self.copies))

    def epoch_order(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Draw an epoch: rows of (image, copy), shuffled; exactly balanced over classes where `copies` is given.

        As in the paper (section 6.2), the smallest class (times its copies) sets the size, and what the
        other classes have beyond it is left out by a fresh draw in each epoch.

        Returns
        -------
        int64 (m, 2)
        """
        if not self.copies:
            chosen = np.stack([np.arange(len(self)), np.zeros(len(self), dtype=np.int64)], axis=1)
        else:
            size = self.epoch_size() // len(self.copies)
            labels = self.targets.numpy()
            parts = []
            for c, n in enumerate(self.copies):
                members = np.flatnonzero(labels == c)
                views = np.stack([np.tile(members, n), np.repeat(np.arange(n), len(members))], axis=1)
                parts.append(views[generator_for(seed, "balance", epoch, c).permutation(len(views))[:size]])
            chosen = np.concatenate(parts)
        order = generator_for(seed, "order", epoch).permutation(len(chosen))
        return np.asarray(chosen[order], dtype=np.int64)

    def training_batch(self, rows: NDArray[np.int64], *, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return moved inputs (b, 3, h, w) and targets for rows of `epoch_order`."""
        moved = [
            augment(self.images[i], self.augmentation, seed=seed, epoch=epoch, record_id=self.ids[i], copy=copy)
            for i, copy in rows.tolist()
        ]
        return self._inputs(moved), self.targets[torch.from_numpy(rows[:, 0].copy())]

    @property
    def n_views(self) -> int | None:
        """In how many ways the augmentation can show an image: 1 (as it is), 2 (mirrored), or None for without end."""
        if self.augmentation.rotation_deg or self.augmentation.shift_share:
            return None
        return 2 if self.augmentation.flip_share else 1

    def views(self, rows: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return which view (0 as it is, 1 mirrored) `training_batch` shows for each row, int64 (b)."""
        shape = self.preprocessing.input_px
        return np.array(
            [
                draw_for(self.augmentation, shape, seed=seed, epoch=epoch, record_id=self.ids[i], copy=copy).flip
                for i, copy in rows.tolist()
            ],
            dtype=np.int64,
        )

    def view_batch(self, start: int, stop: int, view: int) -> torch.Tensor:
        """Return inputs (b, 3, h, w) of images `start` to `stop` in one view."""
        images = [self.images[i] for i in range(start, min(stop, len(self)))]
        return self._inputs([np.ascontiguousarray(image[:, ::-1]) for image in images] if view else images)

    def plain_rows(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return unmoved inputs (b, 3, h, w) of the images with these numbers."""
        return self._inputs([self.images[i] for i in rows.tolist()])

    def weights(self) -> torch.Tensor:
        """Return float32 (n) that sum to 1 and give every class the same say; equal weights for findings."""
        if not self.copies:
            return torch.full((len(self),), 1 / len(self))
        counts = torch.bincount(self.targets, minlength=len(self.copies)).float()
        return 1 / (counts[self.targets] * int((counts > 0).sum()))

    def _inputs(self, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.stack([self.preprocessing.normalise(image) for image in images])


def resize_all(
    records: Sequence[Record],
    preprocessing: Preprocessing,
    scratch: Path,
    on_image: Callable[[int], None],
) -> Mapping[str, NDArray[np.uint8]]:
    """Read every image once and keep it at input size.

    Parameters
    ----------
    records : sequence of Record
        What to read.
    preprocessing : Preprocessing
        Gives the size.
    scratch : Path
        An existing folder for a memory-mapped file, used above `MEMORY_LIMIT_BYTES`.
    on_image : callable
        Told 1 after each image.

    Returns
    -------
    mapping of str to uint8 (h, w) or (h, w, 3)
        Record id -> resized image.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    height, width = preprocessing.input_px
    # All records of a cohort are read in the same way.
    shape = (len(records), height, width, *((3,) if any(r.colour for r in records) else ()))
    table: NDArray[np.uint8]
    if math.prod(shape) > MEMORY_LIMIT_BYTES:
        table = np.memmap(scratch / "resized.uint8", dtype=np.uint8, mode="w+", shape=shape)
    else:
        table = np.empty(shape, dtype=np.uint8)
    for row, record in enumerate(records):
        table[row] = preprocessing.resize(read_record(record))
        on_image(1)
    return {record.id: table[row] for row, record in enumerate(records)}
