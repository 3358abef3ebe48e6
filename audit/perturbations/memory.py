"""What was computed of an image is computed once: the draws of an image's conditions ask for the same again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Generic, TypeVar

from audit.data.pixels.facts import StoredImage

R = TypeVar("R")


class OnceAnImage(Generic[R]):
    """A function of an image and of what names a part of the work on it, that keeps the latest results.

    An image is told by its identity, which is kept with the result, and only if it is read-only: then its pixels are still those that the
    result was computed of. The audited image and its donors are; an edited copy is not, and is computed anew.

    Parameters
    ----------
    work : callable
        (image, key) -> result, which nobody may change.
    most : int
        Results that are kept.
    """

    def __init__(self, work: Callable[[StoredImage, Hashable], R], most: int) -> None:
        self._work = work
        self._kept = lru_cache(maxsize=most)(self._of)

    def __call__(self, image: StoredImage, key: Hashable = None) -> R:
        """Return the result."""
        return self._work(image, key) if image.flags.writeable else self._kept(_Same(image), key)

    def _of(self, image: _Same, key: Hashable) -> R:
        return self._work(image.pixels, key)


class _Same:
    """An image that is equal to itself alone."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: StoredImage) -> None:
        self.pixels = pixels

    def __hash__(self) -> int:
        return id(self.pixels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.pixels is self.pixels
