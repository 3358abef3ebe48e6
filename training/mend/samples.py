"""Images that an epoch shows as they are, or as one of their edited copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audit.randomness import generator_for
from audit.training.augmentation import augment
from audit.training.mend.copies import Copies, Place
from audit.training.samples import Samples

SHARE_EDITED = 0.5
"""Of the images that an epoch shows."""


class Copied(Sequence[NDArray[np.uint8]]):
    """Copies of the images under some places, read when they are asked for: image after image of the first place, then of the next.

    Parameters
    ----------
    copies : Copies
        Where they are kept.
    shown : sequence of (Place, int)
        Place and number of an image.
    """

    def __init__(self, copies: Copies, shown: Sequence[tuple[Place, int]]) -> None:
        self._copies, self._shown = copies, shown

    def __len__(self) -> int:
        """Return their number."""
        return len(self._shown)

    def __getitem__(self, index: Any) -> Any:
        """Return one copy at input size."""
        place, image = self._shown[index]
        return self._copies.pixels(place, image)


@dataclass(frozen=True, kw_only=True)
class EditedSamples(Samples):
    """Training images of which some are shown edited, drawn anew for each (seed, epoch, record)."""

    copies_of: tuple[tuple[int, ...], ...] = field(default=())
    """For each image the numbers of its edited copies in `edited`."""
    edited: Sequence[NDArray[np.uint8]] = ()
    """Edited copies at input size."""

    @property
    def n_views(self) -> int | None:
        """As of `Samples`: with edits, an image can be shown in ways without end."""
        return None

    def training_batch(self, rows: NDArray[np.int64], *, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return moved inputs (b, c, h, w), some of them edited, and targets for rows of `epoch_order`."""
        moved = [
            augment(
                self.shown(i, seed=seed, epoch=epoch, number=number),
                self.augmentation,
                seed=seed,
                epoch=epoch,
                record_id=self.ids[i],
                copy=number,
            )
            for i, number in rows.tolist()
        ]
        inputs = torch.stack([self.preprocessing.normalise(image) for image in moved])
        return inputs, self.targets[torch.from_numpy(rows[:, 0].copy())]

    def shown(self, image: int, *, seed: int, epoch: int, number: int) -> NDArray[np.uint8]:
        """Return an image as an epoch shows it, before it is moved: as it is, or one of its edited copies."""
        rng = generator_for(seed, "mend shown", epoch, self.ids[image], number)
        options = self.copies_of[image]
        if not options or rng.random() >= SHARE_EDITED:
            return self.images[image]
        return self.edited[options[int(rng.integers(len(options)))]]
