"""Reviewers' answers to a run's findings: one review as the report's page saves it, and all of them as `signoff.json` keeps them."""

from __future__ import annotations

from typing import ClassVar, Literal

from audit.store.typed import Document, RunDocument

Opinion = Literal["agree", "disagree", "cannot judge"]


class Answer(Document, frozen=True, kw_only=True):
    """One finding, answered."""

    id: str
    """The finding's name, stable within the run."""
    answer: Opinion
    """Whether the finding follows from what is shown."""
    comment: str = ""
    """Comment of the reviewer."""


class Review(Document, frozen=True, kw_only=True):
    """The review of a run by one person."""

    kind: Literal["audit-signoff"]
    """What the file is: the page saves it without a schema version."""
    evidence: str
    """SHA-256 over the hashes of the run's files: the review applies to these files only."""
    reviewer: str
    """Name of the reviewer."""
    saved: str = ""
    """Time of saving, by the reviewer's clock."""
    findings: tuple[Answer, ...]
    """At most one answer per finding."""


class Reviews(RunDocument, frozen=True, kw_only=True):
    """All reviews of a run."""

    FILE: ClassVar[str] = "signoff.json"

    reviews: tuple[Review, ...]
    """One for each reviewer, in the order in which they were added."""
