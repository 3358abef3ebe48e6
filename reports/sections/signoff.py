"""The reviewers' sign-off: the findings that are asked about, the answers, and where reviewers disagree."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.review import (
    ANSWERS,
    evidence_digest,
    findings,
    review_sentence,
    reviewed_findings,
    standing_reviews,
)
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object]:
    """Return the questions, and the reviews that were given."""
    standing = standing_reviews(run)
    return {
        "result": review_sentence(run),
        "findings": findings(run),
        "answers": ANSWERS,
        "evidence": evidence_digest(run),
        "reviews": standing,
        "stale": [review for review in run.reviews if review not in standing],
        "answered": reviewed_findings(run, standing),
    }


SECTION = Section(
    name="signoff",
    title="Sign-off",
    template="sections/signoff.html.j2",
    view=view,
    state=lambda run: (
        "undecided" if any(f.disagreed for f in reviewed_findings(run, standing_reviews(run))) else "quiet"
    ),
    comes_from="effects.json: the findings that are asked about; signoff.json: the answers of all reviewers",
)
