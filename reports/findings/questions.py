"""The questions of an audit, one for each suspect, with the effect that answers each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.reports.findings.effect_words import reads
from audit.reports.findings.statements import Statement
from audit.reports.findings.terms import ANSWERS, NOT_TESTED
from audit.reports.reading.view import RunView
from audit.store.group import ALL
from audit.store.results import Effect

_ORDER = ("sensitive", "inconclusive", "reversed", "void", "robust", "bounded", "descriptive")
"""Verdicts, what matters most first."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whether the network relies on one suspect."""

    asks: str
    """The question."""
    effect: Effect
    """The effect that decides it: the worst verdict, of these the largest."""
    answer: str
    """In words."""
    n_edits: int
    """Judged conditions that test it."""


def question_of(run: RunView, condition: str) -> str:
    """Return what a condition asks of the network, for people."""
    suspect = run.suspect(condition)
    if run.planned(condition).role == "sufficiency":
        return f"Can the network tell the class from {suspect} alone?"
    if reads(run, condition) == "reads":
        return f"Does the network read {suspect} printed on the image?"
    return f"Does the network rely on {suspect}?"


def questions(run: RunView, said: Sequence[Statement]) -> list[Question]:
    """Return every question that the suite asks; of each the effect that a statement gives, else the worst over all images."""
    stated = {id(s.effect) for s in said}
    by_question: dict[str, list[Effect]] = {}
    for effect in run.headline():
        by_question.setdefault(question_of(run, effect.condition), []).append(effect)
    found = []
    for asks, effects in by_question.items():
        # Groups decide a question that all images together leave open.
        conditions = {e.condition for e in effects}
        groups = [
            s.effect
            for s in said
            if s.kind == "found" and s.effect and s.effect.group != ALL and s.effect.condition in conditions
        ]
        first = min(
            [*groups, *effects], key=lambda e: (_ORDER.index(e.verdict), id(e) not in stated, -(e.estimate or 0.0))
        )
        answer = NOT_TESTED if first.estimate is None else ANSWERS[first.verdict]
        found.append(Question(asks=asks, effect=first, answer=answer, n_edits=len(effects)))
    return sorted(found, key=lambda q: (q.effect.estimate is None, _ORDER.index(q.effect.verdict)))
