"""The reviewer's sign-off: the findings that are asked about, and the answers if there are any."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.review import ANSWERS, evidence_digest, findings
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object]:
    """Return the questions, and the review that was given."""
    return {
        "result": f"reviewed by {run.signoff.reviewer}" if run.signoff else "not reviewed",
        "findings": findings(run),
        "texts": {finding.id: finding.text for finding in findings(run)},
        "answers": ANSWERS,
        "evidence": evidence_digest(run),
        "signoff": run.signoff,
    }


SECTION = Section(
    name="signoff",
    title="Sign-off",
    template="sections/signoff.html.j2",
    view=view,
    comes_from="effects.json: the findings that are asked about; signoff.json: the answers",
)
