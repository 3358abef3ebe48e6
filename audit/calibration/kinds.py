"""Every kind of plant, by name: words and letters, objects, properties of the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from audit.calibration import lettering, objects, properties
from audit.calibration.plants import Kind
from audit.errors import UnknownNameError


def all_kinds() -> Mapping[str, Kind]:
    """Return every kind by name."""
    kinds = (*lettering.KINDS, *objects.KINDS, *properties.KINDS)
    found = {kind.name: kind for kind in kinds}
    assert len(found) == len(kinds)
    return MappingProxyType(found)


def find_kind(name: str) -> Kind:
    """Return the kind called `name`.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    kinds = all_kinds()
    if name not in kinds:
        raise UnknownNameError("kind of plant", name, kinds)
    return kinds[name]
