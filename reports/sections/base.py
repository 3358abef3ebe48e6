"""What a section of the report is, and the sections by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from audit.errors import UnknownNameError, UsageError
from audit.registry import Registry
from audit.reports.reading.view import RunView

State = Literal["found", "undecided", "quiet"]
"""What the navigation shows of a section: that it has a finding, that something in it is undecided, or neither."""
View = Callable[[RunView], Mapping[str, object] | None]
"""Returns what a template needs of a run, by name; None where the section does not apply to the run."""
MOST_PRINTED = 120
"""Largest number of rows at which a folded table is printed: longer tables would take many pages."""
_NAME = re.compile("[a-z][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of report.html: its entry in the navigation, its place and its contents follow from this record."""

    name: str
    """Small letters, digits and hyphens: the id of its element, which the navigation links to."""
    title: str
    """Its entry in the navigation."""
    template: str
    """A template of `audit.templates`, or `package:path` of one in another package."""
    view: View
    """Called with the run; it changes nothing in it."""
    comes_from: str
    """The files of a run that it shows, for the documentation and `audit list sections`."""
    state: Callable[[RunView], State] | None = None
    """Returns what the navigation marks the section with; None for nothing."""
    after: str = "provenance"
    """Of a section of another package: the section of this package that it follows."""


SECTIONS: Registry[Section] = Registry("section", "audit.sections")


def checked_section(name: str, found: object, where: str, own: Iterable[str]) -> Section:
    """Return what another package provides as a section, if it is one.

    Parameters
    ----------
    name : str
        The name that it is registered by.
    found : object
        What is registered.
    where : str
        Where it lies, for messages.
    own : iterable of str
        The sections that it may follow.

    Raises
    ------
    UsageError
        If it is no `Section`, or a field of it cannot be used.
    """
    hint = f"Correct it in {where}, see docs/guides/extend.md."
    if not isinstance(found, Section):
        raise UsageError(f"The section {name!r} must be a Section, found {type(found).__name__}. {hint}")
    for field in ("name", "title", "template", "comes_from", "after"):
        value = getattr(found, field)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"The {field} of the section {name!r} must be text, found {value!r}. {hint}")
    if not _NAME.fullmatch(found.name):
        raise UsageError(
            f"The name of a section must consist of small letters, digits and hyphens, found {found.name!r}. {hint}"
        )
    if found.name != name:
        raise UsageError(f"The section that is registered as {name!r} has the name {found.name!r}. {hint}")
    if not callable(found.view):
        raise UsageError(f"The view of the section {name!r} must be a function, found {found.view!r}. {hint}")
    if found.state is not None and not callable(found.state):
        raise UsageError(f"The state of the section {name!r} must be a function or None, found {found.state!r}. {hint}")
    if found.after not in (known := list(own)):
        raise UnknownNameError(f"section that {name!r} could follow", found.after, known, hint)
    return found


def state_of(verdicts: Iterable[str]) -> State:
    """Return the state of a section from the verdicts of its effects or the statuses of its rules."""
    kinds = set(verdicts)
    if kinds & {"sensitive", "fail", "failed", "shown", "incomplete"}:
        return "found"
    return "undecided" if kinds & {"inconclusive", "undecided", "reversed", "void", "not comparable"} else "quiet"
