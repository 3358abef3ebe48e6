"""A sentence of the report, and the place where it stands: what every answer to a standard is made of."""

from __future__ import annotations

from dataclasses import dataclass

from audit.reports.findings.methods_facts import read_facts
from audit.reports.findings.methods_sentences import methods
from audit.reports.reading.view import RunView


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One sentence of the report."""

    place: str
    """Id of the element that holds it."""
    name: str
    """Name of that place for people."""
    sentence: str
    """Its words, as they stand there."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run says to one item."""

    references: tuple[Reference, ...] = ()
    """The sentences; empty where the run says nothing to it."""
    left: str = ""
    """What this run leaves to a person; empty where it leaves nothing."""


class Known:
    """A run, and its sentences that several answers quote."""

    def __init__(self, run: RunView) -> None:
        self.run = run
        self._paragraphs = {p.id: p for p in methods(read_facts(run))}
        self.is_complete = run.verdict.status != "incomplete"

    def method(self, subject: str, *starts: str) -> tuple[Reference, ...]:
        """Return the sentences of a paragraph of Methods, or those that begin with certain words."""
        paragraph = self._paragraphs.get(subject)
        said = () if paragraph is None else paragraph.sentences
        return tuple(
            refer(f"methods-{subject}", f"Methods, {paragraph.title}", sentence)
            for sentence in said
            if paragraph is not None and (not starts or sentence.startswith(starts))
        )


def refer(place: str, name: str, sentence: str) -> Reference:
    """Return a reference."""
    return Reference(place=place, name=name, sentence=sentence)


def joined(*answers: Answer) -> Answer:
    """Join answers: what any of them leaves is left, and what none of them says is missing."""
    left = dict.fromkeys(a.left for a in answers if a.left)
    return Answer(references=tuple(r for a in answers for r in a.references), left="; ".join(left))
