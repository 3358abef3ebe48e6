"""Reviewers' words on a run: the findings that are asked about, the JSON that the page saves, and where reviewers disagree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from unicodedata import category

from msgspec.structs import replace

from audit.errors import StoreError, UsageError, shown_value
from audit.reports.findings.effect_words import estimate, where
from audit.reports.findings.group_effects import told_effects
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.store.documents import read_json
from audit.store.folder import RunFolder
from audit.store.group import ALL, Group
from audit.store.numbers import counted
from audit.store.review import Answer, Opinion, Review, Reviews
from audit.store.typed import FormatError, typed

ANSWERS: tuple[Opinion, ...] = get_args(Opinion)
_MAX_NAME, _MAX_DATE, _MAX_COMMENT, _MAX_FILE_BYTES = 300, 40, 4000, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement of the report that a reviewer judges."""

    id: str
    """Stable within the run."""
    text: str
    """The statement."""


def findings(run: RunView) -> list[Finding]:
    """Return what a reviewer is asked about: the accuracy, each judged effect, and the controls."""
    accuracy = Finding(
        id="accuracy", text=f"Accuracy on the unedited images is {estimate(run.find('clean', ACCURACY))}"
    )
    judged = [
        Finding(
            # A digest stands for a group: a string of an image may hold characters that do not come back from a page.
            id=f"{e.condition}/{e.measure}" + ("" if e.group == ALL else f"/{_digest(e.group)}"),
            text=f"{where(run, e)}: {MEASURES[e.measure].title} {estimate(e)}, {e.verdict}",
        )
        for e in told_effects(run)
    ]
    controls = Finding(id="controls", text="The audit's own controls support these findings")
    return [accuracy, *judged, controls]


def _digest(group: Group) -> str:
    return hashlib.sha256(str(group).encode()).hexdigest()[:8]


def evidence_digest(run: RunView) -> str:
    """Return one SHA-256 over the run's file hashes: a review applies to these files only."""
    return hashlib.sha256(json.dumps(run.run.files, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ReviewedFinding:
    """One finding with the answers of all reviewers."""

    id: str
    """Stable within the run."""
    text: str
    """The statement; its id where the run no longer has it."""
    answers: tuple[Answer | None, ...]
    """The answer of each reviewer; None of one who gave none."""

    @property
    def disagreed(self) -> bool:
        """Whether two reviewers gave different answers."""
        return len({a.answer for a in self.answers if a is not None}) > 1


def standing_reviews(run: RunView) -> list[Review]:
    """Return the reviews that were made on the files of this run as they are."""
    evidence = evidence_digest(run)
    return [review for review in run.reviews if review.evidence == evidence]


def reviewed_findings(run: RunView, reviews: Sequence[Review]) -> list[ReviewedFinding]:
    """Return every finding that a review answers, in the order of the run: those that reviewers disagree about first."""
    texts = {f.id: f.text for f in findings(run)}
    answered = {a.id for review in reviews for a in review.findings}
    by_review = [{a.id: a for a in review.findings} for review in reviews]
    found = [
        ReviewedFinding(id=name, text=texts.get(name, name), answers=tuple(answers.get(name) for answers in by_review))
        for name in (*(name for name in texts if name in answered), *sorted(answered - set(texts)))
    ]
    return sorted(found, key=lambda f: not f.disagreed)


def review_sentence(run: RunView) -> str:
    """Return who reviewed the run, and whether reviewers disagree, in one line."""
    reviews = standing_reviews(run)
    if not reviews:
        return "not reviewed" if not run.reviews else "reviewed on other files than these"
    names = " and ".join(filter(None, [", ".join(r.reviewer for r in reviews[:-1]), reviews[-1].reviewer]))
    found = reviewed_findings(run, reviews)
    doubted = sum(any(a is not None and a.answer == "disagree" for a in f.answers) for f in found)
    parts = [f"{counted(doubted, 'finding')} doubted" if doubted else "no finding doubted"]
    if len(reviews) > 1:
        split = sum(f.disagreed for f in found)
        parts.append(f"reviewers disagree about {split}" if split else "reviewers agree")
    return f"reviewed by {names}: {', '.join(parts)}"


def read_signoff(path: Path, file: Path) -> Path:
    """Check a review that the report's page saved, and add it to `signoff.json` of the run.

    A later review of the same person takes the place of the earlier one. What another copy of the run keeps as `signoff.json` can be
    passed, too: all its reviews are added.

    Raises
    ------
    UsageError
        If the file is no such review, or one of another run.
    StoreError
        If it cannot be read, or the run is not complete.
    """
    run = read_run(path)
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise UsageError(
                f"{file} is larger than {_MAX_FILE_BYTES} bytes. Expected a review saved by the report's page."
            )
        document = read_json(file)
    except OSError as error:
        raise StoreError(f"The review {file} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(
            f"The review {file} is not valid JSON ({error}). Expected the file that the report's page saves."
        ) from error
    several = document.get("reviews") if isinstance(document, dict) else None
    given = [_checked(run, one, file) for one in (several if isinstance(several, list) and several else [document])]
    kept = {_person(review): review for review in run.reviews}
    for review in given:
        kept.pop(_person(review), None)  # the latest stands last
        kept[_person(review)] = review
    RunFolder(path).write(Reviews(reviews=tuple(kept.values())))
    return path / Reviews.FILE


def _person(review: Review) -> str:
    return review.reviewer.casefold()


def _checked(run: RunView, document: object, file: Path) -> Review:
    if not isinstance(document, dict) or document.get("kind") != "audit-signoff":
        raise UsageError(f"{file} is not a review. Expected the JSON file that the report's page saves.")
    try:
        review = typed(document, Review)
    except FormatError as error:
        raise UsageError(
            f"{file} is not a review as the report's page saves it: {error}. Save the review again."
        ) from error
    if review.evidence != evidence_digest(run):
        raise UsageError(
            f"{file} is a review of other files than those of {run.path}: its evidence is {shown_value(review.evidence[:12])}, the "
            f"run's is {evidence_digest(run)[:12]}. Review the report of this run."
        )
    name = _text(review.reviewer, _MAX_NAME)
    if not name:
        raise UsageError(f"{file} names no reviewer. Enter the name on the page and save the review again.")
    if not review.findings:
        raise UsageError(f"{file} answers no finding. Choose at least one answer and save the review again.")
    known = {f.id for f in findings(run)}
    kept: dict[str, Answer] = {}
    for row in review.findings:
        if row.id not in known:
            raise UsageError(
                f"{file} answers {shown_value(row.id)}, which is not a finding of this run. Save the review again."
            )
        if row.id in kept:
            raise UsageError(f"{file} answers {row.id} twice. Expected one answer per finding.")
        kept[row.id] = replace(row, comment=_text(row.comment, _MAX_COMMENT))
    return replace(review, reviewer=name, saved=_text(review.saved, _MAX_DATE), findings=tuple(kept.values()))


def _text(value: str, most: int) -> str:
    """Return what a person typed, on one line; what cannot be stored is replaced."""
    flat = " ".join(value.split())
    return "".join("\N{REPLACEMENT CHARACTER}" if category(c) in ("Cc", "Cs") else c for c in flat)[:most]
