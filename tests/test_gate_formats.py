"""What CI reads: SARIF, GitLab's code quality, GitHub's annotations, JUnit; and where they point."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog
from rfc3986_validator import validate_rfc3986

from audit.gates.rule_lines import RuleLine, find_rule_lines
from audit.reports.ci.code_quality import code_quality_document
from audit.reports.ci.github import MAX_ANNOTATIONS, annotate, step_summary
from audit.reports.ci.junit import AuditedRun, describe_run, junit_document
from audit.reports.ci.sarif import sarif_document
from audit.store.verdict import GateResult, Verdict

from .conftest import Audit, one_paragraph, quick_audit
from .documents import PLAN, RECORD

GATE = GateResult(
    id="text-mask",
    measure="shortcut_sensitivity",
    where="mask compared with elsewhere, all images",
    operator="<=",
    expected=0.05,
    actual=0.2,
    low=0.1,
    high=0.3,
    n_images=150,
    level="error",
    status="fail",
    reason="The interval shows it.",
    rule="text",
)
GATES = (
    GATE,
    replace(GATE, id="text-paste", status="inconclusive"),
    replace(GATE, id="soft", rule="soft", level="warn"),
    replace(GATE, id="fine", rule="fine", status="pass"),
)
VERDICT = Verdict(status="fail", summary="Fail: 1 of 3 rules failed.", gates=GATES)
PLACES = {name: RuleLine(file="audit.toml", line=n) for n, name in enumerate(("text", "soft", "fine"), 7)}


RUN = AuditedRun(model="C", report="runs/r/report.html", started="2026-11-27T09:30:00+00:00", seconds=12.5)
ELSEWHERE = RuleLine(file="runs/r/verdict.json", line=1)
INCOMPLETE = Verdict(
    status="incomplete",
    summary="The audit could not be completed: the control null moved a class probability by 0.95.",
    gates=(
        replace(
            GATE,
            id="control-null",
            measure="control",
            rule="",
            status="incomplete",
            expected=0.0,
            actual=0.95,
            low=None,
            high=None,
        ),
    ),
)
NO_BASELINE = (
    "The baseline audit-baseline.json does not exist yet. `audit baseline accept runs/r` makes this run the baseline."
)
WAITING = Verdict(
    status="pass",
    summary=f"Pass: the only rule passed. 1 rule against the baseline was not judged. {NO_BASELINE}",
    gates=(
        GATES[3],
        replace(
            GATE,
            id="rise",
            rule="text",
            status="not judged",
            against="baseline",
            actual=None,
            low=None,
            high=None,
            reason=NO_BASELINE,
        ),
    ),
)
INCOMPARABLE = Verdict(
    status="not comparable",
    summary="Not comparable: 1 of 1 could not be compared with the baseline (rise).",
    gates=(
        replace(
            GATE,
            id="rise",
            status="not comparable",
            against="baseline",
            undecided="pass",
            actual=None,
            low=None,
            high=None,
        ),
    ),
)
VERDICTS = (VERDICT, INCOMPLETE, WAITING, INCOMPARABLE)


def sarif(verdict: Verdict, places: dict[str, RuleLine]) -> dict[str, Any]:
    """Return the log, after it was held against the published schema and every URI against RFC 3986."""
    document: dict[str, Any] = json.loads(sarif_document(verdict, places, "1.0"))
    SarifLog.model_validate_json(json.dumps(document))
    for result in document["runs"][0]["results"]:
        for location in result["locations"]:
            if "physicalLocation" in location:
                uri = location["physicalLocation"]["artifactLocation"]["uri"]
                assert validate_rfc3986(uri, rule="URI_reference"), uri
                assert "://" not in uri
    return document


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: v.status)
@pytest.mark.parametrize("places", [PLACES, {}], ids=["placed", "nowhere"])
def test_every_status_in_every_format(verdict: Verdict, places: dict[str, RuleLine]) -> None:
    (run,) = sarif(verdict, places)["runs"]
    assert run["invocations"][0]["executionSuccessful"] == (verdict.status != "incomplete")
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == verdict.summary
    assert len(run["results"]) == sum(g.status != "pass" for g in verdict.gates)
    assert {"physicalLocation" in r["locations"][0] for r in run["results"]} <= {bool(places), False}
    suite = ET.fromstring(junit_document(verdict, RUN))
    assert int(suite.get("tests", "")) == len(suite.findall("testcase")) == len(verdict.gates)
    told = {p.get("name"): p.get("value") for p in suite.find("properties") or ()}
    assert told == {
        "status": verdict.status,
        "summary": verdict.summary,
        "tested": "",
        "searched for, none found": "",
        "not tested": "",
        "report": "runs/r/report.html",
    }
    findings = json.loads(code_quality_document(verdict, places, ELSEWHERE))
    assert len(findings) == len(run["results"])
    assert all(f["location"]["path"] in ("audit.toml", "runs/r/verdict.json") for f in findings)
    lines = annotate(verdict, places)
    assert lines
    assert all(re.match("::(error|warning|notice) (file=audit.toml,line=[0-9]+,)?title=", line) for line in lines)
    assert "file=" not in "".join(lines) or places
    page = step_summary(verdict, "C", "runs/r/report.html")
    assert page.splitlines()[0] == f"## audit of C: {verdict.status.upper()}"
    assert "Report: runs/r/report.html" in page


def test_an_incomplete_audit_says_so_first_and_nothing_else() -> None:
    assert annotate(INCOMPLETE, PLACES)[0] == f"::error title=audit%3A incomplete::{INCOMPLETE.summary}"
    assert step_summary(INCOMPLETE, "C", "r").splitlines()[2].startswith("The audit could not be completed")
    (result,) = sarif(INCOMPLETE, {})["runs"][0]["results"]
    assert (result["level"], result["ruleId"]) == ("error", "control-null")
    suite = ET.fromstring(junit_document(INCOMPLETE, RUN))
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")
    error = suite.find("testcase/error")
    assert error is not None
    assert error.get("message") == "incomplete: control 0.95 (mask compared with elsewhere, all images)"


def test_what_is_not_comparable_is_an_error_that_no_policy_lets_through() -> None:
    (result,) = sarif(INCOMPARABLE, PLACES)["runs"][0]["results"]
    assert result["level"] == "error"
    assert ET.fromstring(junit_document(INCOMPARABLE, RUN)).get("errors") == "1"
    (line,) = annotate(INCOMPARABLE, PLACES)
    assert line.startswith("::error ")
    assert "rise in shortcut sensitivity since the baseline at most 0.05" in step_summary(
        INCOMPARABLE, "C", "r"
    ).replace("\\", "")


def test_a_first_run_is_skipped_not_failed() -> None:
    suite = ET.fromstring(junit_document(WAITING, RUN))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "1")
    skipped = suite.find("testcase[@name='rise']/skipped")
    assert skipped is not None
    assert "audit baseline accept runs/r" in (skipped.text or "")
    assert annotate(WAITING, PLACES) == [f"::notice title=audit%3A no baseline yet::{NO_BASELINE}"]
    assert sarif(WAITING, PLACES)["runs"][0]["results"][0]["level"] == "note"
    assert "| not judged |" in step_summary(WAITING, "C", "r")


def test_a_test_case_says_what_was_found_how_long_it_took_and_where_the_report_is() -> None:
    suite = ET.fromstring(junit_document(VERDICT, RUN))
    assert (suite.get("time"), suite.get("timestamp")) == ("12.500", "2026-11-27T09:30:00")
    for case in suite.findall("testcase"):
        assert float(case.get("time", "")) == 0.0
        assert "Report: runs/r/report.html" in "".join(case.itertext())
    failure = suite.find("testcase[@name='text-mask']/failure")
    assert failure is not None
    assert (
        failure.get("message")
        == "fail: shortcut sensitivity 0.200 [0.100, 0.300] (mask compared with elsewhere, all images)"
    )
    plan, run = PLAN, structs.replace(RECORD, timings={"a": 1.25, "b": 2.0})
    assert describe_run(Path("runs/r"), plan, run).seconds == 3.25
    assert describe_run(Path("/home/somebody/runs/r"), plan, run).report == "r/report.html", "no path of a machine"


@given(st.text(), st.text())
def test_any_text_makes_valid_documents(reason: str, name: str) -> None:
    gate = replace(GATE, reason=reason, where=name, id=name or "x")
    verdict = replace(VERDICT, summary=reason, gates=(gate, *GATES))
    run = replace(RUN, model=name, report=reason)
    suite = ET.fromstring(junit_document(verdict, run))
    assert len(suite.findall("testcase")) == len(verdict.gates)
    sarif(verdict, PLACES)
    assert json.loads(code_quality_document(verdict, PLACES, ELSEWHERE))
    assert all("\n" not in line and "\r" not in line for line in annotate(verdict, PLACES))


@given(st.text(st.characters(blacklist_characters="\0/"), min_size=1, max_size=20))
def test_any_file_name_is_a_uri_reference_that_leads_back(name: str) -> None:
    folder = name if name not in (".", "..") else "dot"
    path = os.fsdecode(os.fsencode(f"{folder}/audit.toml".encode("utf-8", "replace")))
    document = sarif(VERDICT, {"text": RuleLine(file=path, line=1), **{k: v for k, v in PLACES.items() if k != "text"}})
    uri = document["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote_to_bytes(uri) == os.fsencode(path)


def test_the_paths_of_the_issue_are_percent_encoded() -> None:
    for path, uri in (
        ("my audits [v2]/audit.toml", "my%20audits%20%5Bv2%5D/audit.toml"),
        ("a#b?c%d/pyproject.toml", "a%23b%3Fc%25d/pyproject.toml"),
        ("c:/audit.toml", "c%3A/audit.toml"),
        (os.fsdecode(b"r\xff/audit.toml"), "r%FF/audit.toml"),
    ):
        places = dict.fromkeys(PLACES, RuleLine(file=path, line=1))
        for result in sarif(VERDICT, places)["runs"][0]["results"]:
            assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_has_a_place_and_a_lasting_fingerprint_for_every_result() -> None:
    log = sarif(VERDICT, PLACES)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["fine", "soft", "text"]
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("text", "error"),
        ("text", "warning"),
        ("soft", "note"),
    ]
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "audit.toml"
        assert place["region"]["startLine"] == PLACES[result["ruleId"]].line
        assert rules[result["ruleIndex"]] == result["ruleId"]
    marks = [r["partialFingerprints"]["auditGate/v1"] for r in run["results"]]
    assert len(set(marks)) == 3
    later = replace(VERDICT, gates=tuple(replace(g, actual=0.21, reason="Other figures.") for g in GATES))
    again = json.loads(sarif_document(later, PLACES, "2.0"))["runs"][0]["results"]
    assert [r["partialFingerprints"]["auditGate/v1"] for r in again] == marks


def test_code_quality_is_what_gitlab_reads() -> None:
    findings = json.loads(code_quality_document(VERDICT, PLACES, ELSEWHERE))
    assert [f["severity"] for f in findings] == ["critical", "major", "minor"]
    for finding in findings:
        assert set(finding) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert finding["location"]["path"] == "audit.toml"
        assert finding["location"]["lines"]["begin"] >= 7
    assert len({f["fingerprint"] for f in findings}) == 3
    assert json.loads(code_quality_document(replace(VERDICT, gates=GATES[3:]), PLACES, ELSEWHERE)) == []


def test_annotations_are_few_worst_first_and_cannot_be_broken_out_of() -> None:
    lines = annotate(VERDICT, PLACES)
    assert lines[0] == "::error file=audit.toml,line=7,title=audit%3A text-mask fail::The interval shows it."
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning"]
    many = replace(VERDICT, gates=tuple(replace(GATE, id=f"g{i:02}") for i in range(25)))
    lines = annotate(many, PLACES)
    assert len(lines) == MAX_ANNOTATIONS
    assert "16 further gates" in lines[-1]
    evil = replace(GATE, id="a,b::c\n::error::x", reason="100%\r\n::error file=/etc/passwd::owned")
    (line,) = annotate(replace(VERDICT, gates=(evil,)), PLACES)
    assert "\n" not in line
    assert "\r" not in line
    command, message = line.split("::", 2)[1:]
    assert command == "error file=audit.toml,line=7,title=audit%3A a%2Cb%3A%3Ac%0A%3A%3Aerror%3A%3Ax fail"
    assert message == "100%25%0D%0A::error file=/etc/passwd::owned", "text of the one command, on its line"


def test_the_summary_is_a_table_without_markup_from_outside() -> None:
    text = step_summary(VERDICT, "C|<img src=x>[a](b)", "runs/r/report.html")
    assert "<img" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(GATES)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)
    assert [row.split(" | ")[-1] for row in rows[1:]] == ["fail (warning only) |", "fail |", "inconclusive |", "pass |"]
    assert "(warning only)" in text


def test_junit_skips_what_is_let_through() -> None:
    suite = ET.fromstring(junit_document(VERDICT, RUN))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "4",
        "1",
        "1",
        "0",
    )
    let_through = replace(VERDICT, gates=tuple(replace(g, undecided="pass") for g in GATES))
    suite = ET.fromstring(junit_document(let_through, RUN))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "0", "1")
    assert suite.find("testcase[@name='text-paste']/skipped") is not None
    counted = replace(VERDICT, gates=tuple(replace(g, undecided="fail") for g in GATES))
    suite = ET.fromstring(junit_document(counted, RUN))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "0", "0")


def test_what_is_let_through_is_a_note_everywhere() -> None:
    let_through = replace(VERDICT, gates=tuple(replace(g, undecided="pass") for g in GATES))
    results = json.loads(sarif_document(let_through, PLACES, "1.0"))["runs"][0]["results"]
    assert [r["level"] for r in results] == ["error", "note", "note"]
    assert [f["severity"] for f in json.loads(code_quality_document(let_through, PLACES, ELSEWHERE))] == [
        "critical",
        "info",
        "minor",
    ]
    assert [line.split(" ")[0] for line in annotate(let_through, PLACES)] == ["::error", "::warning", "::notice"]
    assert "inconclusive (allowed by the policy)" in step_summary(let_through, "C", "r")


CONFIG = '''[run]
model = "C"
id = "soft"
# id = "text"

[[gate.rule]]
measure = "harm"
id = "text"

[[ gate.rule ]] # another
id='soft'
reason = """
id = "fine"
"""

[gate]
rule = [{ id = "inline", measure = "harm", max = 1 },
        { measure = "harm", max = 1, id = "second" }]
'''


def test_rules_are_found_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "audit.toml").write_text(CONFIG)
    found = find_rule_lines(["text", "soft", "inline", "second", "default-rule"], tmp_path)
    assert {name: place.line for name, place in found.items()} == {
        "text": 6,
        "soft": 10,
        "inline": 17,
        "second": 18,
        "default-rule": 1,
    }
    (tmp_path / "audit.toml").rename(tmp_path / "pyproject.toml")
    assert find_rule_lines(["text"], tmp_path)["text"] == RuleLine(file="pyproject.toml", line=6)
    (tmp_path / "pyproject.toml").unlink()
    assert find_rule_lines(["text"], tmp_path) == {}, "what does not exist is no place"
    (tmp_path / "audit.toml").write_text("# nothing yet\n")
    assert find_rule_lines(["text"], tmp_path)["text"] == RuleLine(file="audit.toml", line=1)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    assert find_rule_lines(["text"], tmp_path) == {}, "nor is what lies outside the repository"


@given(
    st.lists(st.text(alphabet="ab-_.", min_size=1, max_size=6), min_size=1, max_size=8, unique=True), st.integers(0, 3)
)
def test_every_table_is_found_whatever_stands_between(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], gap: int
) -> None:
    folder = tmp_path_factory.mktemp("rules")
    lines: list[str] = []
    expected = {}
    for name in ids:
        lines += ["# a remark"] * gap
        lines.append("[[tool.audit.gate.rule]]")
        expected[name] = len(lines)
        lines += ['measure = "harm"'] * gap + [f'id = "{name}"', "max = 1"]
    (folder / "pyproject.toml").write_text("\n".join(lines))
    assert {name: place.line for name, place in find_rule_lines(ids, folder).items()} == expected


def test_the_command_writes_all_of_them(
    audit: Audit, write_cohort: object, write_bundle: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_cohort(3)  # type: ignore[operator]
    write_bundle("C")  # type: ignore[operator]
    run = Path(audit(*quick_audit(manifest))[1].splitlines()[-1]).parent
    (tmp_path / "audit.toml").write_text(
        '# rules\n[[gate.rule]]\nid = "own"\nmeasure = "shortcut_sensitivity"\nmin = 0.9\nreason = "a limit that fails"\n'
    )
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = [tmp_path / name for name in ("j.xml", "s.sarif", "q.json")]
    options = ["--junit", files[0], "--sarif", files[1], "--code-quality", files[2], "--github"]
    code, out, _ = audit("gate", run, *options)
    assert code == 1
    failed = out.count("::error file=audit.toml,line=2,title=audit%3A own-")
    assert failed >= 2
    assert "::error file=audit.toml,line=2,title=audit%3A own-letters-other-class fail::" in out
    assert ET.parse(files[0]).getroot().get("failures") == str(failed)
    assert {r["ruleId"] for r in json.loads(files[1].read_text())["runs"][0]["results"]} == {"own"}
    assert len(json.loads(files[2].read_text())) == failed
    assert "## audit of C: FAIL" in summary.read_text()
    code, _, err = audit("gate", run, "--github", "--json")
    assert code == 2
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere/summary.md"))
    code, _, err = audit("gate", run, "--github")
    assert code == 4
    assert "Cannot write the step summary" in one_paragraph(err)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, _, err = audit("gate", run, "--junit", run / "gates.xml")
    assert code == 2
    assert "is in a run folder" in one_paragraph(err)
    assert audit("gate", run, "--junit", run / "junit.xml")[0] == 1
    assert audit("verify", run)[0] == 0
    toml = (tmp_path / "audit.toml").read_text().replace("a limit that fails", "ok\\n::stop-commands::token")
    (tmp_path / "audit.toml").write_text(toml)
    assert not [line for line in audit("gate", run, "--github")[1].splitlines() if line.startswith("::stop")]
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    assert f"file={tmp_path.name}/audit.toml,line=2" in audit("gate", run, "--github")[1], "from the repository's root"
    for odd in ("gate = 3\n", "run = 3\n", "[[gate]]\nx = 1\n"):
        (tmp_path / "audit.toml").write_text(odd)
        code, _, err = audit("gate", run)
        assert code == 2, odd
        assert "must be a table" in one_paragraph(err)
    (tmp_path / "audit.toml").unlink()
    monkeypatch.chdir(tmp_path / "data")
    code, _, err = audit("gate", tmp_path / run, "--sarif", files[1])
    assert code == 2
    assert "No gate is configured" in one_paragraph(err)
