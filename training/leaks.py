"""Test images must be new to a network: none may have been trained on, under whatever name."""

from __future__ import annotations

from collections.abc import Collection

from audit.errors import CohortError
from audit.records import Cohort, Record


def check_unseen(cohort: Cohort, tested: Collection[Record], seen: Collection[str], where: str) -> None:
    """Prove that no test image has the pixels of one that a network learns from.

    Names say little: two data sets may call different films alike, and hold the same film under two names.

    Parameters
    ----------
    cohort : Cohort
        Of the test images; it knows their pixels.
    tested : collection of Record
        Test images.
    seen : collection of str
        Pixels of training images, as `Cohort.pixels` tells them.
    where : str
        What holds these training images, for the message.

    Raises
    ------
    CohortError
        Naming the first that has.
    """
    known = set(seen)
    found = [record.id for record in tested if cohort.pixels[record.id] in known]
    if found:
        raise CohortError(
            f"{len(found)} of the test images, first {found[0]!r}, have the pixels of training images of {where}; test accuracy would "
            "measure memory. Leave them out of one of the two, or give both the same patients, manifest and seed, which keeps "
            "them apart."
        )
