"""Test images must be new to a network: none may have been trained on, under whatever name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audit.errors import CohortError


def check_unseen(tested: Mapping[str, str], seen: Iterable[str], where: str) -> None:
    """Prove that no test image has the pixels of one that a network learns from.

    Names say little: two data sets may call different images alike, and hold the same image under two names.

    Parameters
    ----------
    tested : mapping
        Id of a test image -> its pixels, as in `Cohort.pixels`.
    seen : iterable of str
        Pixels of training images, likewise.
    where : str
        What holds these training images, for the message.

    Raises
    ------
    CohortError
        Naming the first that has.
    """
    known = set(seen)
    found = [name for name, pixels in tested.items() if pixels in known]
    if found:
        raise CohortError(
            f"{len(found)} of the test images, first {found[0]!r}, have the pixels of training images of {where}, so test accuracy would "
            "measure memory. Leave them out of one of the two, or use the same patients, manifest and seed for both, which "
            "separates them."
        )
