"""The standards' items, as the TOML files beside this module list them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated

from msgspec import Meta

from audit.store.documents import parse_toml
from audit.store.typed import Document, typed

_Words = Annotated[str, Meta(min_length=1, max_length=300)]
STANDARDS = ("claim-2024", "tripod-ai", "fda-2025", "ai-act-annex-iv")
"""The files, in the order of the report."""


class AskedItem(Document, frozen=True, kw_only=True):
    """One thing that a standard asks for; exactly one of `answer`, `person` and `not_applicable` is given."""

    number: _Words
    """As the standard numbers it."""
    asks: _Words
    """What it asks for, in our words."""
    answer: str = ""
    """The part of a run that answers it, a name of `audit.reports.standards.filling.ANSWERS`."""
    left: str = ""
    """What a person has to add to that answer in any case; empty where a run can answer the whole item."""
    person: str = ""
    """What a person has to state: no run answers it."""
    not_applicable: str = ""
    """Why it does not apply to an audit."""


class Standard(Document, frozen=True, kw_only=True):
    """One standard."""

    name: _Words
    """Short, with its year or status."""
    title: _Words
    """What it is about."""
    source: _Words
    """Where its wording can be read."""
    note: _Words
    """How its items are read here."""
    item: Annotated[tuple[AskedItem, ...], Meta(min_length=1)]
    """What it asks for, in its order."""


@cache
def read_standards() -> tuple[Standard, ...]:
    """Return the standards that a report is held against."""
    folder = resources.files(__package__)
    return tuple(
        typed(parse_toml((folder / f"{name}.toml").read_text(encoding="utf-8")), Standard) for name in STANDARDS
    )
