"""Prediction of a property of images across patients: folds, permutations, scores and areas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Table = NDArray[np.float64]
N_PERMUTATIONS = 199
_FOLDS = 5


def patient_folds(group_of: NDArray[np.int_], group: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return the fold of each image: a patient in one fold, every group, such as a source, in each."""
    of_patient = group_of[np.unique(group, return_index=True)[1]]
    n_folds = min(_FOLDS, int(np.unique(of_patient, return_counts=True)[1].min()))
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed % 2**32)
    fold = np.zeros(len(group_of), dtype=np.intp)
    for number, (_, test) in enumerate(splitter.split(group_of, group_of, group)):
        fold[test] = number
    return fold


def permuted(
    group_of: NDArray[np.int_], group: NDArray[np.intp], fold: NDArray[np.intp], rng: np.random.Generator
) -> list[NDArray[np.int_]]:
    """Permute groups among the patients of each fold: a patient's images keep one common group.

    Permuting across folds would unbalance them: a group that is common in one fold would be rare in the training images of
    that fold, which alone moves the AUC below one half, so that every real AUC would exceed it.
    """
    first = np.unique(group, return_index=True)[1]
    shuffled = []
    for _ in range(N_PERMUTATIONS):
        of_patient = group_of[first]
        for number in np.unique(fold):
            inside = np.flatnonzero(fold[first] == number)
            of_patient[inside] = of_patient[rng.permutation(inside)]
        shuffled.append(of_patient[group])
    return shuffled


def cross_scores(values: Table, wanted: Table, fold: NDArray[np.intp]) -> Table:
    """Return what ridge regression predicts of each column of `wanted` (n, m) from `values` (n, v), each fold by the others."""
    scores = np.zeros_like(wanted)
    for number in np.unique(fold):
        test = fold == number
        # A penalty as large as the number of columns: on standardised columns that is a signal-to-noise ratio of one.
        model = make_pipeline(StandardScaler(), Ridge(alpha=values.shape[1]))
        scores[test] = model.fit(values[~test], wanted[~test]).predict(values[test]).reshape(-1, wanted.shape[1])
    return scores


def areas_of(values: Table, targets: NDArray[np.int_], fold: NDArray[np.intp], n_groups: int) -> Table:
    """Return the cross-validated area for every column of targets (n, permutations), all fitted at once by ridge."""
    one_hot = (targets[:, :, None] == np.arange(n_groups)).astype(np.float64)
    flat = one_hot.reshape(len(values), -1)
    scores = cross_scores(values, flat, fold)
    # The AUC is the rank sum of the positives (Mann & Whitney 1947): one sort per column, where a library's function checks its
    # input thousands of times over, which took two thirds of a small audit.
    ranks = rankdata(scores, axis=0)
    n_positive = flat.sum(axis=0)
    n_pairs = n_positive * (len(flat) - n_positive)
    areas: Table = ((ranks * flat).sum(axis=0) - n_positive * (n_positive + 1) / 2) / n_pairs
    averaged: Table = areas.reshape(targets.shape[1], n_groups).mean(axis=1)
    return averaged
