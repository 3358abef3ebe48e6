"""GitLab's code quality report: every gate that did not pass, at the line of its rule, or at the run's verdict."""

from __future__ import annotations

from collections.abc import Mapping

from audit.gates.rule_lines import RuleLine
from audit.reports.ci.sarif import fingerprint
from audit.store.serialise import to_json
from audit.store.verdict import Verdict

_SEVERITIES = {"error": "critical", "warning": "major", "note": "info"}


def code_quality_document(verdict: Verdict, places: Mapping[str, RuleLine], elsewhere: RuleLine) -> bytes:
    """Write gates as GitLab reads them.

    Parameters
    ----------
    verdict : Verdict
        The judged gates; a passed one is left out, so that its finding counts as fixed.
    places : mapping
        Rule id -> its line.
    elsewhere : RuleLine
        Where a gate without such a line is shown, for GitLab wants a file: the run's verdict, which exists in the job.
    """
    findings = []
    for gate in verdict.gates:
        if gate.status == "pass":
            continue
        place = places.get(gate.rule or gate.id, elsewhere)
        findings.append(
            {
                "description": f"{gate.id}: {gate.outcome}. {gate.reason}",
                "check_name": f"audit/{gate.rule or gate.id}",
                # Findings with one fingerprint are merged, so it names the gate, not only the rule.
                "fingerprint": fingerprint(gate),
                "severity": "minor" if (gate.status, gate.level) == ("fail", "warn") else _SEVERITIES[gate.weight],
                "location": {"path": place.file, "lines": {"begin": place.line}},
            }
        )
    return to_json(findings).encode()
