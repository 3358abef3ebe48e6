"""Method 3: the last layer is fitted for the group of images that it serves worst (group DRO: Sagawa et al. 2020), on cached features.

A group is a class and what its images show: as they are, by whether an edit of the suspect moves the old network's answer (of a
source's look: by source), or as one of the edits makes them. Edited copies give groups that the data lack, such as images of another
class with the text of this one. Small groups join the largest unedited one of their class, because their loss is mostly chance. A head
that reads a suspect fails the groups that break the association, and these are the ones that count. The logits of an image and of its
copies are held together as in `last_layer`, less firmly.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from audit.errors import ModelError
from audit.models.bodies import Head
from audit.models.fitting import fit_head
from audit.training.mend.choosing import Fitted, HeadSearch, choose_head, penalties
from audit.training.mend.copies import Copies
from audit.training.mend.last_layer import labelled_places, twins

PULLS = (1e-3, 1e-2)
STILLS = (0.3, 1.0, 3.0)
N_CANDIDATES = len(PULLS) * len(STILLS)
FEWEST = 10
"""Images of a group that counts by itself."""


def refit_for_worst(search: HeadSearch, shown: NDArray[np.intp]) -> Fitted:
    """Choose how a head is fitted on validation images by patient, and fit it on all images.

    Parameters
    ----------
    search : HeadSearch
        On what heads are fitted and compared.
    shown : int (n)
        What each unedited image shows, as a number: whether the suspect moves its answer, or which source.

    Raises
    ------
    ModelError
        If there are no groups to tell apart.
    """
    targets = search.targets
    if targets.ndim > 1:
        raise ModelError(
            "Group DRO needs one class for each image, and any number of this network's outputs applies to one. Use --method last-layer or "
            "augment."
        )
    everyone = np.ones(len(targets), dtype=np.bool_)
    if len(np.unique(_groups(search.copies, targets, shown, everyone)[1])) <= len(np.unique(targets)):
        raise ModelError(
            f"Group DRO needs groups within a class: {FEWEST} images or more that show the suspect and as many that do not, or edited "
            "copies of every class. These data have neither. Use --method augment, or data in which the classes have images of both kinds."
        )
    return choose_head(penalties(partial(_fit, search, shown), PULLS, STILLS), search)


def _fit(search: HeadSearch, shown: NDArray[np.intp], inside: NDArray[np.bool_], *, pull: float, still: float) -> Head:
    images, groups, features = _groups(search.copies, search.targets, shown, inside)
    return fit_head(
        features,
        search.targets[images],
        len(search.start.bias),
        start=search.start,
        nuisance=twins(search.copies, inside),
        pull=pull,
        still=still,
        groups=groups,
    )


def _groups(
    copies: Copies, targets: NDArray[np.int64], shown: NDArray[np.intp], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return image (m), group (m) and features (m, f) of the images inside and of their copies."""
    edits = {c.name: int(shown.max()) + 1 + number for number, c in enumerate(copies.edits)}
    images, states, features = [np.flatnonzero(inside)], [shown[inside]], [copies.features["clean", 0][inside]]
    for place in labelled_places(copies, targets, inside):
        mine = inside & copies.applied[place]
        images.append(np.flatnonzero(mine))
        states.append(np.full(int(mine.sum()), edits[place[0]]))
        features.append(copies.features[place][mine])
    image, state = np.concatenate(images), np.concatenate(states)
    label = targets[image]
    for k in np.unique(label):
        mine = label == k
        names, counts = np.unique(state[mine], return_counts=True)
        unedited = names <= shown.max()
        state[mine & np.isin(state, names[counts < FEWEST])] = names[unedited][counts[unedited].argmax()]
    pairs = np.stack([label, state], axis=1)
    return image, np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1), np.concatenate(features)
