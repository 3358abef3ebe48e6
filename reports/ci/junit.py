"""junit.xml: one test case a gate, for every CI that reads test results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from audit.data.plan import Plan
from audit.files import write_atomically
from audit.gates.scope import scope_sentence
from audit.reports.findings.gate_results import result_words
from audit.reports.reading.folder import read_run
from audit.store.run_record import RunRecord
from audit.store.verdict import GateResult, Verdict

_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditedRun:
    """What JUnit's XML says about a run in addition to its gates."""

    model: str
    """Name of the network."""
    report: str
    """Path of its report."""
    started: str
    """When it began, in UTC as ISO 8601."""
    seconds: float
    """How long it took, over all stages."""


def describe_run(path: Path, plan: Plan, run: RunRecord) -> AuditedRun:
    """Read from `plan.json` and `run.json` what JUnit's XML reports about a run."""
    folder = Path(path.name) if path.is_absolute() else path  # a file that travels holds no path of this machine
    return AuditedRun(
        model=plan.model.name,
        report=(folder / "report.html").as_posix(),
        started=run.started,
        seconds=float(sum(run.timings.values())),
    )


def render_junit(path: Path) -> Path:
    """Write `junit.xml` of a finished run into its folder."""
    run = read_run(path)
    target = path / "junit.xml"
    write_atomically(target, junit_document(run.verdict, describe_run(path, run.plan, run.run)))
    return target


def junit_document(verdict: Verdict, run: AuditedRun) -> bytes:
    """Write gates as JUnit's XML.

    Parameters
    ----------
    verdict : Verdict
        A failed gate is a failure; one that is undecided, not comparable or incomplete an error; one that is let through or waits for a
        baseline is skipped; a warning passes with its text.
    run : AuditedRun
        The run. Its time stands at the suite: judging takes none, so the cases have 0.
    """
    kinds = [_kind(gate) for gate in verdict.gates]
    suite = ET.Element(
        "testsuite",
        name=_clean(f"audit {run.model}"),
        tests=str(len(verdict.gates)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{run.seconds:.3f}",
        timestamp=_clean(run.started[:19]),  # the schema knows no time zone
    )
    properties = ET.SubElement(suite, "properties")
    facts = {
        "status": verdict.status,
        "summary": verdict.summary,
        "tested": "; ".join(verdict.tested),
        "searched for, none found": "; ".join(verdict.searched),
        "not tested": "; ".join(verdict.not_tested),
        "report": run.report,
    }
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for gate, kind in zip(verdict.gates, kinds, strict=True):
        case = ET.SubElement(suite, "testcase", classname="audit.gate", name=_clean(gate.id), time="0.000")
        told = _clean(f"{gate.reason}\nReport: {run.report}")
        if kind:
            ET.SubElement(case, kind, message=_clean(result_words(gate))).text = told
        else:
            ET.SubElement(case, "system-out").text = _clean(f"{result_words(gate)}\n{told}")
    ET.SubElement(suite, "system-out").text = _clean(f"{verdict.summary}\n{scope_sentence(verdict)}")
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _kind(gate: GateResult) -> str:
    """Return the element for a gate's outcome; empty for a pass."""
    if gate.weight == "error":
        return "failure" if gate.status in ("fail", "inconclusive") else "error"
    let_through = "" if gate.level == "warn" and gate.status != "not judged" else "skipped"
    return {"none": "", "note": let_through, "warning": "error"}[gate.weight]


def _clean(text: str) -> str:
    """Remove the characters that XML does not allow, including single surrogates."""
    return _NO_XML.sub("", text)
