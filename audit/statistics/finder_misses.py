"""The effect of masking with a finder that misses nothing: the measured effect divided by the finder's recall, by class.

Text that the finder misses stays on the image, so masking moves the network less than the text does. If a share r of a
class's text is found, and missed text has the same effect as found text, the effect on that class is the measured one over r.
The recall comes from another, labelled sample of (found, boxes); its uncertainty is carried into the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.errors import UnknownNameError, UsageError, shown_names
from audit.statistics.alignment import AlignedImages
from audit.statistics.jackknife import PatientInfluence


@dataclass(frozen=True, kw_only=True)
class FinderRecall:
    """How much of the text a finder finds, from a labelled sample."""

    found: Mapping[str, tuple[int, int]]
    """Class, or `all`, -> (text boxes that were found, text boxes)."""

    def of(self, name: str) -> tuple[float, float]:
        """Return mean and variance of the recall for a class, by Jeffreys' posterior, Beta(found + 1/2, missed + 1/2)."""
        found, boxes = self.found[name] if name in self.found else self.found["all"]
        a, b = found + 0.5, boxes - found + 0.5
        return a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))

    @property
    def note(self) -> str:
        """What a reader must know in addition to the method of the interval."""
        said = ", ".join(f"{name} {found} of {boxes}" for name, (found, boxes) in sorted(self.found.items()))
        return f"; divided by the finder's recall ({said}), whose uncertainty the interval includes"


def read_recall(table: Mapping[str, object], classes: tuple[str, ...]) -> FinderRecall | None:
    """Read the `[recall]` table of a configuration: `all = [found, boxes]`, and the same by class.

    Returns
    -------
    FinderRecall or None
        None where the table is empty.

    Raises
    ------
    UnknownNameError
        If a key is neither `all` nor a class.
    UsageError
        If an entry is not [found, boxes] with 0 < found <= boxes, or a class has none and `all` is not given.
    """
    if not table:
        return None
    read: dict[str, tuple[int, int]] = {}
    for name, value in table.items():
        if name not in ("all", *classes):
            raise UnknownNameError("key of [recall]", name, ("all", *classes))
        whole = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(v) is int for v in value)
        found, boxes = value if whole and isinstance(value, (list, tuple)) else (0, 0)
        if not 0 < found <= boxes:
            raise UsageError(
                f"[recall] {name} must be [found, boxes] with 0 < found <= boxes, as `audit text score` prints them; found "
                f"{value!r}. The misses of a finder that finds nothing cannot be corrected."
            )
        read[name] = (int(found), int(boxes))
    missing = [name for name in classes if name not in read]
    if missing and "all" not in read:
        raise UsageError(
            f"[recall] has no entry for class {shown_names(missing)}. Add it, or add `all`, which applies to all other classes."
        )
    return FinderRecall(found=read)


def corrected_effect(
    moved: NDArray[np.float64], population: NDArray[np.bool_], images: AlignedImages, recall: FinderRecall
) -> PatientInfluence | None:
    """Divide a mean effect by the finder's recall, class by class.

    Parameters
    ----------
    moved : array, (n images,)
        Effect on each image.
    population : array of bool, (n images,)
        Images that the effect is the mean over.
    images : AlignedImages
    recall : FinderRecall
    """
    if not population.any():
        return None
    n = int(population.sum())
    weight = np.zeros(len(moved))
    beside = 0.0
    for index, name in enumerate(images.classes):
        members = population & (images.labels == index)
        mean, variance = recall.of(name)
        weight[members] = 1 / mean
        # Delta method: the class's part of the effect is sum(moved) / (n r), whose slope in r is -sum(moved) / (n r^2).
        beside += (float(moved[members].sum()) / (n * mean**2)) ** 2 * variance
    values = np.where(population, moved * weight, 0.0)
    estimate = float(values.sum() / n)
    residual = np.where(population, values - estimate, 0.0) / n
    return PatientInfluence(
        estimate=estimate,
        influence=np.bincount(images.patients, weights=residual, minlength=images.n_patients).astype(np.float64),
        n_images=n,
        n_patients=len(np.unique(images.patients[population])),
        fewest=n,
        bounds=(-np.inf, np.inf),
        kind="means of patients, and the finder's recall by the delta method",
        variance_beside=beside,
    )
