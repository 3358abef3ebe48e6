"""Strings that were read on images: made comparable, those that may be shown, and those that become groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.records import KINDS, Record, TextRegion
from audit.errors import shown_string as shown_string

MIN_PATIENTS = 10
"""Patients whose images must carry a string before it is shown anywhere."""
MAX_WORDS = 10
"""Strings that become groups. Each is one more judged effect of every text mask, and all judged effects widen each other's
simultaneous intervals; strings beyond the ten commonest are mostly misreadings of these, or on hardly enough images."""


def normal_string(text: str) -> str:
    """Return a string as it is compared: in capitals, runs of white space as one blank."""
    return " ".join(text.upper().split())


def may_be_personal(text: str) -> bool:
    """Say whether a string may be a date of birth or a number of somebody: whether it holds a digit, of any script."""
    return any(c.isnumeric() for c in text)


@dataclass(frozen=True, kw_only=True)
class StringPolicy:
    """Which strings that were read on images may be shown: the one place that decides it, for every file and rendering.

    A string is shown if the images of `MIN_PATIENTS` patients carry it and it holds no digit. A name stands on the images of
    one patient; a date of birth or a number is never shown.
    """

    shown: frozenset[str]
    """The strings that may be shown, normal."""

    def shows(self, text: str) -> bool:
        """Say whether a string may be shown."""
        return normal_string(text) in self.shown

    def redact(self, regions: Iterable[TextRegion]) -> tuple[TextRegion, ...]:
        """Return regions without the strings that may not be shown, and without kinds of anybody's making, as files hold them."""
        return tuple(
            replace(
                region,
                text=region.text if self.shows(region.text) else "",
                kind=region.kind if region.kind in KINDS else KINDS[0],
            )
            for region in regions
        )

    def covered(self, regions: Iterable[TextRegion]) -> tuple[TextRegion, ...]:
        """Return the regions that pictures cover: what stands in them may not be shown, or was not read at all."""
        return tuple(region for region in regions if not self.shows(region.text))


def policy_for(read: Iterable[tuple[int, str]], records: Sequence[Record]) -> StringPolicy:
    """Decide which strings may be shown, by the images of all records.

    Parameters
    ----------
    read : iterable of (int, str)
        Place of a record, and one string that was read on its image.
    records : sequence of Record
        Where the manifest does not say who was imaged, an image does not count: it could be the same patient's as the next.
    """
    patients = [record.patient if record.patient_known else None for record in records]
    return StringPolicy(shown=frozenset(_carried(read, patients, MIN_PATIENTS)))


def common_words(
    read: Iterable[tuple[int, str]], patients: Sequence[str], *, min_patients: int
) -> dict[str, NDArray[np.bool_]]:
    """Choose the strings that become groups, by the images alone: what a network predicts for them plays no part.

    Strings are hostile: any characters, any length.

    Parameters
    ----------
    read : iterable of (int, str)
        Place of the image, and one string that was read on it.
    patients : sequence of str
        Who is shown, image by image.
    min_patients : int
        Strings on the images of fewer are left out.

    Returns
    -------
    dict
        At most `MAX_WORDS` normal strings -> (n images,) whether it was read there; those of most patients first, ties in
        alphabetical order.
    """
    images = _carried(read, patients, min_patients)
    n_patients = {word: len({patients[i] for i in places}) for word, places in images.items()}
    chosen = sorted(images, key=lambda word: (-n_patients[word], word))[:MAX_WORDS]
    return {word: _members(images[word], len(patients)) for word in chosen}


def _carried(read: Iterable[tuple[int, str]], patients: Sequence[str | None], min_patients: int) -> dict[str, set[int]]:
    """Return the images of every string without digits that those of enough patients carry."""
    images: defaultdict[str, set[int]] = defaultdict(set)
    for place, text in read:
        word = normal_string(text)
        if word and not may_be_personal(word):
            images[word].add(place)
    return {
        word: places
        for word, places in images.items()
        if len({patients[i] for i in places if patients[i] is not None}) >= min_patients
    }


def _members(places: set[int], n: int) -> NDArray[np.bool_]:
    members = np.zeros(n, dtype=np.bool_)
    members[sorted(places)] = True
    return members
