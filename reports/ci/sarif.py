"""SARIF 2.1.0: every gate that did not pass, at the line of its rule if there is one, for code scanning."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from audit.gates.rule_lines import RuleLine
from audit.store.serialise import to_json
from audit.store.verdict import GateResult, Verdict

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_document(verdict: Verdict, places: Mapping[str, RuleLine], tool_version: str) -> bytes:
    """Write gates as a SARIF log.

    A failed rule is an error, an undecided one a warning, what changes nothing a note; a passed one gives no result, so that
    its alert is closed. The fingerprint holds the gate's id and measure, not the figures: an alert stays the same alert while its
    figures move.

    Parameters
    ----------
    verdict : Verdict
        The judged gates.
    places : mapping
        Rule id -> its line. A rule without one gets a logical place alone: GitHub's code scanning wants a file, and refuses a log
        whose results have none, but a file that does not exist is no place.
    tool_version : str
        Of this package.
    """
    rules = {gate.rule or gate.id: gate for gate in reversed(verdict.gates)}
    names = sorted(rules)
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "audit",
                        "version": tool_version,
                        "rules": [_rule(name, rules[name]) for name in names],
                    }
                },
                "invocations": [_invocation(verdict)],
                "properties": {
                    "tested": verdict.tested,
                    "searchedFor": verdict.searched,
                    "notTested": verdict.not_tested,
                },
                "results": [
                    _result(gate, places, names.index(gate.rule or gate.id))
                    for gate in verdict.gates
                    if gate.status != "pass"
                ],
            }
        ],
    }
    return to_json(log).encode()


def fingerprint(gate: GateResult) -> str:
    """Return what names a gate over time: its id (with the condition, where a rule has several) and measure, without figures."""
    return hashlib.sha256(f"{gate.id}\0{gate.measure}".encode()).hexdigest()


def _invocation(verdict: Verdict) -> dict[str, Any]:
    """State whether the audit could be completed, with the verdict's sentence."""
    level = {"pass": "note", "not gated": "note", "inconclusive": "warning"}.get(verdict.status, "error")
    return {
        "executionSuccessful": verdict.status != "incomplete",
        "toolExecutionNotifications": [{"level": level, "message": {"text": verdict.summary}}],
    }


def _rule(name: str, gate: GateResult) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": f"required: {gate.requirement}"},
        "defaultConfiguration": {"level": "error" if gate.level == "error" else "note"},
    }


def _result(gate: GateResult, places: Mapping[str, RuleLine], index: int) -> dict[str, Any]:
    rule = gate.rule or gate.id
    place = places.get(rule)
    found: dict[str, Any] = {
        "logicalLocations": [
            {"name": gate.id, "fullyQualifiedName": f"{gate.measure} under {gate.where}", "kind": "gate"}
        ]
    }
    if place is not None:
        found["physicalLocation"] = {
            "artifactLocation": {"uri": _reference(place.file), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": place.line},
        }
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "level": gate.weight,
        "message": {"text": f"{gate.id}: {gate.outcome}. {gate.reason}"},
        "locations": [found],
        "partialFingerprints": {"auditGate/v1": fingerprint(gate)},
    }


def _reference(path: str) -> str:
    """Write a relative path as a URI reference: every byte that is no letter, digit or mark of one by its number."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/")
