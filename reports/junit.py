"""junit.xml: one test case a gate, for every CI that reads test results."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from audit.files import write_atomically
from audit.results import GateResult, Verdict
from reports.runfolder import read_run

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def render_junit(path: Path) -> Path:
    """Write `junit.xml` of a finished run into its folder."""
    run = read_run(path)
    target = path / "junit.xml"
    write_atomically(target, junit_document(run.verdict, run.plan["model"]["name"]))
    return target


def junit_document(verdict: Verdict, model: str) -> bytes:
    """Write gates as JUnit's XML.

    Parameters
    ----------
    verdict : Verdict
        A failed gate is a failure; an undecided one an error, or skipped where it is let through; a warning passes with its
        text.
    model : str
        Name of the network.
    """
    kinds = [_kind(gate) for gate in verdict.gates]
    suite = ET.Element(
        "testsuite",
        name=_clean(f"audit {model}"),
        tests=str(len(verdict.gates)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
    )
    for gate, kind in zip(verdict.gates, kinds, strict=True):
        case = ET.SubElement(suite, "testcase", classname="audit.gate", name=_clean(gate.id))
        if kind:
            message = _clean(gate.requirement)
            ET.SubElement(case, kind, message=message).text = _clean(gate.reason)
        else:
            ET.SubElement(case, "system-out").text = _clean(gate.reason)
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _kind(gate: GateResult) -> str:
    """Return the element that a gate's outcome is told by; empty for a pass."""
    let_through = "" if gate.level == "warn" else "skipped"
    return {"none": "", "note": let_through, "warning": "error", "error": "failure"}[gate.weight]


def _clean(text: str) -> str:
    """Remove the characters that XML cannot hold."""
    return _CONTROL.sub("", text)
