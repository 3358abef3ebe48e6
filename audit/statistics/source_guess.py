"""What accuracy is worth: what always naming each source's most frequent class would give on the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_SOURCE_PATIENTS = 5
"""Sources of fewer patients are guessed together: a source of one patient would give every class away."""


def guess_from_source(
    labels: NDArray[np.int64], sources: NDArray[np.str_], patients: NDArray[np.intp] | NDArray[np.str_]
) -> NDArray[np.int64]:
    """Guess each image's class by its source alone: the most frequent class there, the first of equals.

    The guess knows the labels of the images that it is held against, so that it is the best that any network could do that
    reads nothing but the source: a network that does no better is not shown to know anything of the disease. (Leaving an image's own
    patient out would do worse than chance on balanced classes: what is left is always short of the true class.)

    Parameters
    ----------
    labels : array of int, (n images,)
        Index of the true class.
    sources : array of str, (n images,)
    patients : array, (n images,)
        Who was imaged.

    Returns
    -------
    array of int, (n images,)
        Index of the guessed class.
    """
    names, of_image = np.unique(sources, return_inverse=True)
    n_patients = np.array([len(np.unique(patients[of_image == s])) for s in range(len(names))])
    of_image = np.where(n_patients[of_image] < MIN_SOURCE_PATIENTS, len(names), of_image)
    counts = np.zeros((len(names) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (of_image, labels), 1)
    guessed: NDArray[np.int64] = counts.argmax(axis=1)[of_image].astype(np.int64)
    return guessed
