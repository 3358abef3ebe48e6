"""One small typed registry: names to makers, from decorators here and entry points elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Generic, TypeVar

from audit.errors import UnknownNameError, UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named makers of one kind of thing.

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
        self._makers: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Return a decorator that adds a maker under `name`; a second owner of a name is an error."""

        def add(maker: Callable[..., T]) -> Callable[..., T]:
            if name in self._makers:
                raise UsageError(
                    f"The {self.kind} {name!r} is registered twice, by {self._makers[name]!r} and {maker!r}."
                )
            self._makers[name] = maker
            return maker

        return add

    def names(self) -> list[str]:
        """Return every name, sorted, without importing any plug-in."""
        plugins = {point.name for point in metadata.entry_points(group=self._group)}
        return sorted(set(self._makers) | plugins)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __getitem__(self, name: str) -> Callable[..., T]:
        """Return the maker called `name`, importing its plug-in if need be.

        Raises
        ------
        UnknownNameError
            If nobody registered the name.
        UsageError
            If its plug-in cannot be imported, or claims a name that is taken.
        """
        points = list(metadata.entry_points(group=self._group, name=name))
        owners = [repr(p.value) for p in points] + (["this package"] if name in self._makers else [])
        if len(owners) > 1:
            raise UsageError(
                f"The {self.kind} {name!r} is provided by several packages: {', '.join(owners)}. Uninstall all but one."
            )
        if points:
            try:
                maker: Callable[..., T] = points[0].load()
            except Exception as error:  # a plug-in is foreign code; whatever it raises means that it cannot be used
                raise UsageError(
                    f"The {self.kind} {name!r} is broken: {points[0].value} cannot be imported ({error!r})."
                ) from error
            return maker
        if name not in self._makers:
            raise UnknownNameError(self.kind, name, self.names())
        return self._makers[name]
