"""junit.xml: one test case a gate, for every CI that reads test results."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from audit.files import write_atomically
from audit.results import Verdict
from reports.runfolder import read_run

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def render_junit(path: Path) -> Path:
    """Write `junit.xml` of a finished run into its folder."""
    run = read_run(path)
    target = path / "junit.xml"
    policy = (run.plan["gate_policy"] or {}).get("inconclusive", "block")
    write_atomically(target, junit_document(run.verdict, run.plan["model"]["name"], undecided_blocks=policy != "pass"))
    return target


def junit_document(verdict: Verdict, model: str, *, undecided_blocks: bool = True) -> bytes:
    """Write gates as JUnit's XML.

    Parameters
    ----------
    verdict : Verdict
        A failed gate is a failure, an undecided one an error; a warning passes with its text.
    model : str
        Name of the network.
    undecided_blocks : bool
        False where an undecided gate is let through: then it is skipped.
    """
    blocking = [g for g in verdict.gates if g.level == "error"]
    undecided = sum(g.status == "inconclusive" for g in blocking)
    suite = ET.Element(
        "testsuite",
        name=_clean(f"audit {model}"),
        tests=str(len(verdict.gates)),
        failures=str(sum(g.status == "fail" for g in blocking)),
        errors=str(undecided if undecided_blocks else 0),
        skipped=str(0 if undecided_blocks else undecided),
    )
    for gate in verdict.gates:
        case = ET.SubElement(suite, "testcase", classname="audit.gate", name=_clean(gate.id))
        if gate.status != "pass" and gate.level == "error":
            kind = "failure" if gate.status == "fail" else "error" if undecided_blocks else "skipped"
            message = _clean(f"{gate.metric} {gate.operator} {gate.expected:g}")
            ET.SubElement(case, kind, message=message).text = _clean(gate.reason)
        else:
            ET.SubElement(case, "system-out").text = _clean(gate.reason)
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _clean(text: str) -> str:
    """Remove the characters that XML cannot hold."""
    return _CONTROL.sub("", text)
