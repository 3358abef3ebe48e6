"""What CI reads: SARIF, GitLab's code quality, GitHub's annotations, JUnit; and where they point."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.results import GateResult, Verdict
from audit.rule_lines import RuleLine, find_rule_lines
from reports.code_quality import code_quality_document
from reports.github import MAX_ANNOTATIONS, annotate, step_summary
from reports.junit import junit_document
from reports.sarif import sarif_document

from .conftest import Audit, one_paragraph, quick_audit

GATE = GateResult(
    id="text-mask",
    metric="shortcut_sensitivity",
    where="mask beyond elsewhere, all",
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


def test_sarif_has_a_place_and_a_lasting_fingerprint_for_every_result() -> None:
    log = json.loads(sarif_document(VERDICT, PLACES, "1.0"))
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
    findings = json.loads(code_quality_document(VERDICT, PLACES))
    assert [f["severity"] for f in findings] == ["critical", "major", "minor"]
    for finding in findings:
        assert set(finding) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert finding["location"]["path"] == "audit.toml"
        assert finding["location"]["lines"]["begin"] >= 7
    assert len({f["fingerprint"] for f in findings}) == 3
    assert json.loads(code_quality_document(replace(VERDICT, gates=GATES[3:]), PLACES)) == []


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
    text = step_summary(VERDICT, "C|<img src=x>[a](b)")
    assert "<img" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(GATES)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)
    assert [row.split(" | ")[-1] for row in rows[1:]] == ["fail (warning only) |", "fail |", "inconclusive |", "pass |"]
    assert "(warning only)" in text


def test_junit_skips_what_is_let_through() -> None:
    suite = ET.fromstring(junit_document(VERDICT, "C"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "4",
        "1",
        "1",
        "0",
    )
    let_through = replace(VERDICT, gates=tuple(replace(g, undecided="pass") for g in GATES))
    suite = ET.fromstring(junit_document(let_through, "C"))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "0", "1")
    assert suite.find("testcase[@name='text-paste']/skipped") is not None
    counted = replace(VERDICT, gates=tuple(replace(g, undecided="fail") for g in GATES))
    suite = ET.fromstring(junit_document(counted, "C"))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "0", "0")


def test_what_is_let_through_is_a_note_everywhere() -> None:
    let_through = replace(VERDICT, gates=tuple(replace(g, undecided="pass") for g in GATES))
    results = json.loads(sarif_document(let_through, PLACES, "1.0"))["runs"][0]["results"]
    assert [r["level"] for r in results] == ["error", "note", "note"]
    assert [f["severity"] for f in json.loads(code_quality_document(let_through, PLACES))] == [
        "critical",
        "info",
        "minor",
    ]
    assert [line.split(" ")[0] for line in annotate(let_through, PLACES)] == ["::error", "::warning", "::notice"]
    assert "inconclusive (let through)" in step_summary(let_through, "C")


CONFIG = '''[run]
model = "C"
id = "soft"
# id = "text"

[[gate.rule]]
metric = "harm"
id = "text"

[[ gate.rule ]] # another
id='soft'
reason = """
id = "fine"
"""

[gate]
rule = [{ id = "inline", metric = "harm", max = 1 },
        { metric = "harm", max = 1, id = "second" }]
'''


def test_rules_are_found_where_they_stand(tmp_path: Path) -> None:
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
    assert find_rule_lines(["text"], tmp_path)["text"] == RuleLine(file="audit.toml", line=1), "where it would be"


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
        lines += ['metric = "harm"'] * gap + [f'id = "{name}"', "max = 1"]
    (folder / "pyproject.toml").write_text("\n".join(lines))
    assert {name: place.line for name, place in find_rule_lines(ids, folder).items()} == expected


def test_the_command_writes_all_of_them(
    audit: Audit, write_cohort: object, write_bundle: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_cohort(3)  # type: ignore[operator]
    write_bundle("C")  # type: ignore[operator]
    run = Path(audit(*quick_audit(manifest))[1].splitlines()[-1]).parent
    (tmp_path / "audit.toml").write_text(
        '# rules\n[[gate.rule]]\nid = "own"\nmetric = "shortcut_sensitivity"\nmin = 0.9\nreason = "a limit that fails"\n'
    )
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = [tmp_path / name for name in ("j.xml", "s.sarif", "q.json")]
    options = ["--junit", files[0], "--sarif", files[1], "--code-quality", files[2], "--github"]
    code, out, _ = audit("gate", run, *options)
    assert code == 1
    assert "::error file=audit.toml,line=2,title=audit%3A own-text-mask-black fail::" in out
    assert ET.parse(files[0]).getroot().get("failures") == "2"
    assert {r["ruleId"] for r in json.loads(files[1].read_text())["runs"][0]["results"]} == {"own"}
    assert len(json.loads(files[2].read_text())) == 2
    assert "## audit of C: FAIL" in summary.read_text()
    code, _, err = audit("gate", run, "--github", "--json")
    assert code == 2
    code, _, err = audit("gate", run, "--junit", run / "gates.xml")
    assert code == 2
    assert "lies in the run folder" in one_paragraph(err)
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
