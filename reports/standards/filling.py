"""The standards filled in from a run: each item is answered by the report, left to a person, or not applicable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from audit.reports.reading.view import RunView
from audit.reports.standards.input_answers import INPUT_ANSWERS
from audit.reports.standards.lists import AskedItem, Standard, read_standards
from audit.reports.standards.references import Answer, Known, Reference
from audit.reports.standards.result_answers import RESULT_ANSWERS

ItemState = Literal["filled", "partly filled", "to be filled", "not applicable"]
"""filled: the report contains the whole answer; partly filled: a part of it; to be filled: by a person; not applicable: to an audit."""
ANSWERS = {**INPUT_ANSWERS, **RESULT_ANSWERS}
"""Name in the lists -> what answers it."""


@dataclass(frozen=True, kw_only=True)
class FilledItem:
    """One item of a standard, with what a run answers."""

    number: str
    """As the standard numbers it."""
    asks: str
    """What it asks for, in our words."""
    state: ItemState
    """Whose turn it is."""
    references: tuple[Reference, ...]
    """The sentences of the report that answer it; empty unless it is filled or partly filled."""
    left: str
    """What a person has to state; empty where nothing is left or nothing applies."""
    why_not: str
    """Why it does not apply; empty where it does."""


@dataclass(frozen=True, kw_only=True)
class FilledStandard:
    """One standard, with what a run answers."""

    standard: Standard
    """Its name, source and list."""
    items: tuple[FilledItem, ...]
    """In its order."""

    @property
    def counts(self) -> str:
        """Count its items by state, in words."""
        found = Counter(item.state for item in self.items)
        return ", ".join(f"{found[state]} {state}" for state in get_args(ItemState) if found[state])


def fill_standards(run: RunView) -> tuple[FilledStandard, ...]:
    """Return the standards, item by item, with what a run answers; it is an aid to fill the standards' own forms."""
    known = Known(run)
    answers = {name: answer(known) for name, answer in ANSWERS.items()}
    return tuple(
        FilledStandard(
            standard=standard, items=tuple(_filled(item, answers.get(item.answer)) for item in standard.item)
        )
        for standard in read_standards()
    )


def _filled(item: AskedItem, answer: Answer | None) -> FilledItem:
    state: ItemState = "not applicable" if item.not_applicable else "to be filled"
    left = item.person
    if answer is not None:
        left = "; ".join(dict.fromkeys(part for part in (answer.left, item.left) if part))
        if answer.references:
            state = "partly filled" if left else "filled"
    return FilledItem(
        number=item.number,
        asks=item.asks,
        state=state,
        references=() if answer is None else answer.references,
        left=left,
        why_not=item.not_applicable,
    )
