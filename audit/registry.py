"""A small typed registry: names of things of one kind, from decorators in this package and entry points in others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Generic, TypeVar

from audit.errors import UnknownNameError, UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind, `T`: makers of perturbations, sections of a report.

    Parameters
    ----------
    kind : str
        What it holds, in words, for messages ("perturbation").
    group : str
        Entry-point group under which other distributions add theirs.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self._group = group
        self._own: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds a thing under `name`; a second owner of a name is an error."""

        def add(thing: T) -> T:
            if name in self._own:
                raise UsageError(f"The {self.kind} {name!r} is registered twice, by {self._own[name]!r} and {thing!r}.")
            self._own[name] = thing
            return thing

        return add

    def names(self) -> list[str]:
        """Return every name, sorted, without importing any plug-in."""
        return sorted({*self._own, *self.foreign()})

    def foreign(self) -> dict[str, str]:
        """Return the names that other distributions provide, sorted, with where each lies (`package:attribute`)."""
        return {p.name: p.value for p in sorted(entry_points(self._group), key=str)}

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        """Return what is called `name`, importing its plug-in if need be.

        Raises
        ------
        UnknownNameError
            If nobody registered the name.
        UsageError
            If its plug-in cannot be imported, or claims a name that is taken.
        """
        points = [p for p in entry_points(self._group) if p.name == name]
        owners = [repr(p.value) for p in points] + (["this package"] if name in self._own else [])
        if len(owners) > 1:
            raise UsageError(
                f"The {self.kind} {name!r} is provided by several packages: {', '.join(owners)}. Uninstall all but one."
            )
        if points:
            try:
                found: T = points[0].load()
            except Exception as error:  # a plug-in is foreign code; whatever it raises means that it cannot be used
                raise UsageError(
                    f"The {self.kind} {name!r} is broken: {points[0].value} cannot be imported ({error!r})."
                ) from error
            return found
        if name not in self._own:
            raise UnknownNameError(self.kind, name, self.names())
        return self._own[name]


def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Return the entry points of a group; the installed distributions are read again only where one may have come or gone.

    A run asks a hundred times, and each reading opens a file of every distribution.
    """
    places = []
    for folder in sys.path:
        with suppress(OSError, ValueError):
            places.append((folder, Path(folder).stat().st_mtime_ns))
    return _read(group, tuple(places))


@lru_cache(maxsize=16)
def _read(group: str, _places: tuple[tuple[str, int], ...]) -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))
