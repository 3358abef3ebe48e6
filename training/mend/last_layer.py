"""Method 1: the last layer is fitted again on cached features of the images and of their edited copies (Kirichenko et al. 2023).

The features stay. Unedited images and edited copies have half the weight each, and every copy keeps its image's class; those by an edit
that not every class can take are left out, because they would teach that the edit's own traces mean a class. The logits of an image, of
its edited copies and of its placebos are held together: without the placebos, a layer could go on reading the suspect and make up for
it by the traces. How firmly they are held, and how near the layer stays to the old one, is chosen by cross-validation over patients on
the validation images (`choosing`), not by likelihood, which prefers a layer that says nothing to one that says much too firmly. Where
the look of a source is mended, the sources of a class have equal weight.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from audit.models.bodies import Features, Head
from audit.models.fitting import fit_head
from audit.training.mend.choosing import Fitted, HeadSearch, choose_head, penalties
from audit.training.mend.copies import Copies, Place

PULLS = (1e-3, 1e-2, 1e-1)
STILLS = (0.3, 1.0, 3.0, 10.0)
N_CANDIDATES = len(PULLS) * len(STILLS)


def refit(search: HeadSearch, weights: NDArray[np.float64]) -> Fitted:
    """Choose how a head is fitted on validation images by patient, and fit it on all images.

    Parameters
    ----------
    search : HeadSearch
        On what heads are fitted and compared.
    weights : float64 (n)
        Of the images, with a mean of 1.
    """
    return choose_head(penalties(partial(_fit, search, weights), PULLS, STILLS), search)


def source_weights(labels: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return weights (n) with which the sources of a class count alike, and a class as much as it has images."""
    weights = np.ones(len(labels))
    for label in np.unique(labels):
        mine = labels == label
        names, place, counts = np.unique(sources[mine], return_inverse=True, return_counts=True)
        weights[mine] = mine.sum() / (len(names) * counts[place])
    return weights


def _fit(
    search: HeadSearch, weights: NDArray[np.float64], inside: NDArray[np.bool_], *, pull: float, still: float
) -> Head:
    """Fit a head on the images inside and on the copies of them that the edits made."""
    copies, targets = search.copies, search.targets
    labelled = labelled_places(copies, targets, inside)
    n_copies = np.sum([copies.applied[place] for place in labelled], axis=0) if labelled else np.zeros(len(targets))
    rows: list[Features] = [copies.features["clean", 0][inside]]
    wanted, each = [targets[inside]], [weights[inside]]
    for place in labelled:
        mine = inside & copies.applied[place]
        rows.append(copies.features[place][mine])
        wanted.append(targets[mine])
        each.append(weights[mine] / n_copies[mine])
    share = np.concatenate(each)
    return fit_head(
        np.concatenate(rows),
        np.concatenate(wanted),
        len(search.start.bias),
        start=search.start,
        nuisance=twins(copies, inside),
        pull=pull,
        still=still,
        weights=share * (len(share) / share.sum()),
    )


def twins(copies: Copies, inside: NDArray[np.bool_]) -> Features:
    """Return the differences (m, f) between the features of copies, by edits and placebos, and those of their images."""
    clean = copies.features["clean", 0]
    names = dict.fromkeys([*(c.name for c in copies.edits), *(str(c.placebo) for c in copies.edits)])
    places = [place for name in names for place in copies.draws(name)]
    made = [(place, inside & copies.applied[place]) for place in places]
    return np.concatenate([copies.features[place][mine] - clean[mine] for place, mine in made])


def labelled_places(copies: Copies, targets: NDArray[np.int64], inside: NDArray[np.bool_]) -> list[Place]:
    """Return the copies that may teach a class: by edits that every class can take."""
    edits = [place for condition in copies.edits for place in copies.draws(condition.name)]
    return [place for place in edits if _of_every_class(targets[inside & copies.applied[place]], targets)]


def _of_every_class(edited: NDArray[np.int64], targets: NDArray[np.int64]) -> bool:
    """Say whether copies show every class: those of one class alone would teach that the edit's own traces mean that class."""
    if targets.ndim > 1:
        return len(edited) > 0
    return len(np.unique(edited)) == len(np.unique(targets))
