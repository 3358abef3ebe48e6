"""junit.xml: one test case a gate, for every CI that reads test results."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from audit.files import write_atomically
from reports.runfolder import read_run

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def render_junit(path: Path) -> Path:
    """Write `junit.xml`: a failed gate is a failure, an undecided one an error, a warning passes with its text."""
    run = read_run(path)
    blocking = [g for g in run.verdict.gates if g.level == "error"]
    suite = ET.Element(
        "testsuite",
        name=_clean(f"audit {run.plan['model']['name']}"),
        tests=str(len(run.verdict.gates)),
        failures=str(sum(g.status == "fail" for g in blocking)),
        errors=str(sum(g.status == "inconclusive" for g in blocking)),
        skipped="0",
    )
    for gate in run.verdict.gates:
        case = ET.SubElement(suite, "testcase", classname="audit.gate", name=_clean(gate.id))
        if gate.status != "pass" and gate.level == "error":
            kind = "failure" if gate.status == "fail" else "error"
            ET.SubElement(case, kind, message=_clean(f"{gate.metric} {gate.operator} {gate.expected:g}")).text = _clean(
                gate.reason
            )
        else:
            ET.SubElement(case, "system-out").text = _clean(gate.reason)
    target = path / "junit.xml"
    write_atomically(target, ET.tostring(suite, encoding="utf-8", xml_declaration=True))
    return target


def _clean(text: str) -> str:
    """Remove the characters that XML cannot hold."""
    return _CONTROL.sub("", text)
