"""Commands on finished runs, used wrongly: one paragraph each, that says what was expected, before anything is written or computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Audit, one_paragraph

WRONG = {
    "a table as baseline": (
        ("diff", "RUN", "T.csv"),
        2,
        "T.csv is not a baseline. Expected a run folder, or a .json file",
    ),
    "no baseline": (("diff", "RUN", "nothing"), 4, "nothing is not a finished run folder: it does not exist"),
    "an empty folder": (("report", "empty"), 4, "empty is not a finished run folder: it has no run.json"),
    "a file as run": (("report", "T.csv"), 4, "T.csv is not a finished run folder: it is a file"),
    "a folder as page": (("history", "RUN", "--html", "empty"), 2, "empty is a folder. Name a file to write"),
    "a folder as PDF": (("report", "RUN", "--pdf", "empty"), 2, "empty is a folder. Name a file to write"),
    "evidence as comment": (("gate", "RUN", "--pr-comment", "RUN/plan.json"), 2, "would change the run"),
    "a table as review": (("report", "RUN", "--signoff", "T.csv"), 2, "Expected the file that the report's page saves"),
    "a run with itself": (("diff", "RUN", "RUN"), 2, "was given both as run and as baseline"),
    "a run twice": (("report", "--compare", "RUN", "RUN"), 2, "twice. Name each run once"),
    "no manifest": (("view", "RUN", "--data", "nothing.csv"), 2, "--data nothing.csv does not exist"),
    "an unknown ending": (("export", "standards", "RUN", "--out", "s.xlsx"), 2, "as .json or .csv, found s.xlsx"),
    "an unknown form": (("export", "standard", "RUN"), 2, "standards; found 'standard'"),
}


@pytest.mark.parametrize("which", WRONG)
def test_misuse_is_one_paragraph(
    audit: Audit, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "T.csv").write_text("a,b\n1,2\n")
    arguments, expected, said = WRONG[which]
    before = {p: p.read_bytes() for p in kept.rglob("*") if p.is_file()}
    code, out, err = audit(*(a.replace("RUN", str(kept)) for a in arguments))
    assert (code, out) == (expected, ""), err
    assert said in " ".join(one_paragraph(err).split())
    assert {p: p.read_bytes() for p in kept.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "s.xlsx").exists()


def test_a_comment_over_evidence_is_refused_before_anything_runs(audit: Audit, kept: Path) -> None:
    code, out, err = audit("run", "--model", "no-such-model", "--pr-comment", kept / "plan.json")
    assert (code, out) == (2, "")
    assert "would change the run" in err, "not that the model is missing, which is found later"
    assert "no-such-model" not in err
