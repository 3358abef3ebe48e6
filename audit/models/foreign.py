"""What the readers of foreign model files share: how they refuse, and how a name from a file is shown."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = 100


class RefusedError(Exception):
    """A foreign file holds what a set of weights does not need; the text says what, without the file's name."""


def shown(text: str) -> str:
    """Return a name from a foreign file in a form that cannot steer a terminal, at most 100 characters of it."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return cut if cut.isprintable() else ascii(cut)


def first_twice(names: Iterable[str]) -> str | None:
    """Return the first name that was there before; None if all differ."""
    met: set[str] = set()
    for name in names:
        if name in met:
            return name
        met.add(name)
    return None
