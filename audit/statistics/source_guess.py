"""A reference for the accuracy: the accuracy of always predicting each source's most frequent class on the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_SOURCE_PATIENTS = 5
"""Sources with fewer patients are pooled: a source of one patient would always reveal the class."""


def guess_from_source(
    labels: NDArray[np.int64], sources: NDArray[np.str_], patients: NDArray[np.intp] | NDArray[np.str_]
) -> NDArray[np.int64]:
    """Guess each image's class by its source alone: the most frequent class there, the first of equals.

    The guess uses the labels of the images on which it is scored, so it is the best result that a network could reach by
    reading only the source: a network that does no better has not been shown to recognise the disease. (Leaving an image's
    own patient out would do worse than chance on balanced classes: what is left is always short of the true class.)

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
    of_image, n_sources = _pooled(sources, patients)
    counts = np.zeros((n_sources, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (of_image, labels), 1)
    guessed: NDArray[np.int64] = counts.argmax(axis=1)[of_image].astype(np.int64)
    return guessed


def shares_in_sources(
    truth: NDArray[np.integer], sources: NDArray[np.str_], patients: NDArray[np.intp] | NDArray[np.str_]
) -> NDArray[np.float64]:
    """Return, for each image, the share of the images of its source that have a finding, of those whose label is known.

    Parameters
    ----------
    truth : array of int, (n images,)
        1 with the finding, 0 without it, -1 unknown.
    sources : array of str, (n images,)
    patients : array, (n images,)
        Who was imaged.

    Returns
    -------
    array, (n images,)
        From 0 to 1; 0.5 where no label of the source is known.
    """
    of_image, n_sources = _pooled(sources, patients)
    known = truth >= 0
    n_known = np.bincount(of_image[known], minlength=n_sources)
    n_present = np.bincount(of_image[truth == 1], minlength=n_sources)
    shares = np.divide(n_present, n_known, out=np.full(n_sources, 0.5), where=n_known > 0)
    return np.asarray(shares[of_image], dtype=np.float64)


def _pooled(sources: NDArray[np.str_], patients: NDArray[np.intp] | NDArray[np.str_]) -> tuple[NDArray[np.intp], int]:
    """Number the sources of images, those of few patients together as the last; return also how many numbers there are."""
    names, of_image = np.unique(sources, return_inverse=True)
    n_patients = np.array([len(np.unique(patients[of_image == s])) for s in range(len(names))])
    return np.where(n_patients[of_image] < MIN_SOURCE_PATIENTS, len(names), of_image), len(names) + 1
