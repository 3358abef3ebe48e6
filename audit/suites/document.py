"""A suite as its TOML file states it: what may stand there, and the conditions that it means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from audit.data.conditions import CLEAN, MAX_DRAWS, MOST_TITLE, Condition, Dose, Suite
from audit.errors import UnknownNameError, UsageError, shown_string, shown_value
from audit.store.suspects import MOST_SUSPECTS
from audit.store.typed import Document, FormatError, typed

Name = Annotated[str, Meta(min_length=1, max_length=100)]
"""It stands in every table of the condition."""
Words = Annotated[str, Meta(max_length=1000)]
"""Shown once, in the report."""
_LARGEST_DOSE = 1_000_000_000
_PLACE = re.compile(r"\bcondition\[(\d+)\]")


_Dose = (
    Annotated[int, Meta(ge=-_LARGEST_DOSE, le=_LARGEST_DOSE)]
    | Annotated[float, Meta(ge=-_LARGEST_DOSE, le=_LARGEST_DOSE)]
)


class _Ladder(Document, frozen=True, kw_only=True):
    """One condition for each dose of a parameter."""

    parameter: Name
    """Which parameter of the perturbation takes the doses."""
    values: Annotated[
        tuple[_Dose, ...],
        Meta(min_length=2, max_length=100),
    ]
    """The doses, each larger than the one before."""


class _Row(Document, frozen=True, kw_only=True):
    """A `[[condition]]` table."""

    name: Name
    """Of the condition, or of the ladder whose rungs it names."""
    title: Annotated[str, Meta(min_length=1, max_length=MOST_TITLE)] | UnsetType = UNSET
    """Its name for people; the perturbation's words if absent."""
    perturbation: Name
    """Registered name of what is done."""
    role: Literal["edit", "sufficiency", "stress", "placebo", "control"]
    """See `audit.data.conditions.Condition`."""
    suspect: Annotated[str, Meta(min_length=1, max_length=300)] | UnsetType = UNSET
    """What the network would be reading, in words; the perturbation's own words if absent."""
    draws: Annotated[int, Meta(ge=1, le=MAX_DRAWS)] = 1
    """Independent draws for each image."""
    placebo: Name | UnsetType = UNSET
    """Name of its matched control."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the perturbation, which checks them."""
    question: Words = ""
    """What a drop means, in words."""
    ladder: _Ladder | UnsetType = UNSET
    """One condition for each dose, instead of one."""


class _Objects(Document, frozen=True, kw_only=True):
    """The `[objects]` table."""

    propose: Annotated[int, Meta(ge=0, le=MOST_SUSPECTS)] = 0
    """Objects that a search may propose, at most."""


class _SuiteTable(Document, frozen=True, kw_only=True):
    """The whole file."""

    name: Words | UnsetType = UNSET
    """Of the suite; how it was asked for if absent."""
    version: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """Raised whenever a condition changes."""
    description: Words = ""
    """What it is for."""
    objects: _Objects = _Objects()
    """Whether objects are searched for."""
    condition: tuple[_Row, ...] = ()
    """Its conditions but `clean`, which every suite has."""


def suite_of(name: str, document: Mapping[str, Any]) -> Suite:
    """Return the suite that a document states; its conditions know nothing of their perturbations yet.

    Parameters
    ----------
    name : str
        What it was asked for by, which names it where it has no name of its own.
    document : mapping
        The content of its TOML file.

    Raises
    ------
    UsageError
        If the document is not a suite, a name comes twice, or a placebo does not exist.
    """
    try:
        table = typed(document, _SuiteTable)
    except FormatError as error:
        raise UsageError(f"The suite {name} cannot be used: {_with_names(str(error), document)}.") from None
    conditions = [CLEAN, *(c for row in table.condition for c in _conditions(name, row))]
    names = [c.name for c in conditions]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UsageError(f"Suite {name} has a duplicate condition: {', '.join(twice)}. Names must be unique.")
    for condition in conditions:
        if condition.placebo is not None and condition.placebo not in names:
            raise UnknownNameError(f"placebo of {condition.name}", condition.placebo, names)
        if condition.role == "sufficiency" and condition.placebo is None:
            raise UsageError(
                f"Condition {condition.name} of suite {name} has the role sufficiency, which is judged against a placebo. "
                "Name one, or give it the role stress."
            )
    return Suite(
        name=name if table.name is UNSET else table.name,
        version=table.version,
        description=table.description,
        objects=table.objects.propose,
        conditions=tuple(conditions),
    )


def _with_names(message: str, document: Mapping[str, Any]) -> str:
    """Name the condition instead of its place in the file, where it has a name."""

    def named(place: re.Match[str]) -> str:
        row = document["condition"][int(place[1])]
        name = row.get("name") if isinstance(row, Mapping) else None
        return (
            f"condition {shown_string(name, 100)}"
            if isinstance(name, str) and name
            else f"[[condition]] number {int(place[1]) + 1}"
        )

    return _PLACE.sub(named, message) if isinstance(document.get("condition"), list) else message


def _conditions(suite: str, row: _Row) -> Iterator[Condition]:
    """Yield the condition, or one for each rung of its ladder; a rung's placebo is the rung of the same dose."""
    values = (None,) if row.ladder is UNSET else row.ladder.values
    if not all(a < b for a, b in pairwise(v for v in values if v is not None)):
        raise UsageError(
            f"The values of the ladder of {row.name} in suite {suite} must increase, found {shown_value(list(values))}."
        )
    for value in values:
        rung, dose, parameters = "", None, dict(row.parameters)
        if row.ladder is not UNSET and value is not None:
            rung, parameters[row.ladder.parameter] = f"-{value:g}", value
            dose = Dose(ladder=row.name, parameter=row.ladder.parameter, value=value)
        yield Condition(
            name=row.name + rung,
            title="" if row.title is UNSET else row.title,
            perturbation=row.perturbation,
            role=row.role,
            suspect="" if row.suspect is UNSET else row.suspect,
            draws=row.draws,
            placebo=None if row.placebo is UNSET else row.placebo + rung,
            parameters=parameters,
            question=row.question,
            dose=dose,
        )
