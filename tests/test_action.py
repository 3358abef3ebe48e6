"""The composite action, its own scripts run as a job would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"] if "id" in step}


def test_every_input_reaches_the_shell_as_a_variable() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "an expression inside a script can carry commands"
    used = json.dumps(ACTION["runs"])
    for name in ACTION["inputs"]:
        assert f"inputs.{name} }}}}" in used, f"the input {name} does nothing"


@pytest.mark.parametrize(("code", "goes_on"), [(0, True), (1, True), (3, True), (2, False), (4, False)])
def test_the_gitlab_job_goes_on_after_a_judgement_and_only_then(code: int, goes_on: bool, tmp_path: Path) -> None:
    (block,) = (b for b in (ROOT / "docs/gates.md").read_text().split("```yaml")[1:] if "allow_failure" in b)
    (line,) = (one for one in yaml.safe_load(block.split("```")[0])["audit"]["script"] if one.startswith("audit run"))
    script = f"audit() {{ return {code}; }}\n{line}\necho went on"
    found = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ("went on" in found.stdout) == goes_on


@pytest.fixture
def job(write_cohort: Any, known_bundle: Path, tmp_path: Path) -> Any:
    """Return a function that runs a step's script with its variables: exit code, outputs, what it printed."""
    write_cohort(3)

    def run(step: str, **variables: object) -> tuple[int, dict[str, str], str]:
        told = tmp_path / f"{step}.out"
        told.write_text("")
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(told),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "OMP_NUM_THREADS": "1",
            **{name: str(value) for name, value in variables.items()},
        }
        found = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        outputs = dict(line.split("=", 1) for line in told.read_text().splitlines())
        return found.returncode, outputs, found.stdout + found.stderr

    return run


@pytest.mark.slow
def test_a_job_audits_judges_and_says_so(job: Any, tmp_path: Path) -> None:
    options = "--detector annotated --boxes data/boxes.json --relevance-images 0 --judge-images 0 --resamples 100"
    (tmp_path / "data/my boxes.json").write_bytes((tmp_path / "data/boxes.json").read_bytes())
    options = options.replace("data/boxes.json", "'data/my boxes.json'").replace(" --relevance", "\n--relevance")
    asked = {"MODEL": "models/C", "DATA": "data/manifest.csv", "SUITE": "quick", "OPTIONS": options, "BASELINE": ""}
    code, outputs, told = job("audit", **asked)
    assert code == 0, told
    run = outputs["run"]
    assert (tmp_path / run / "report.html").is_file()

    (tmp_path / "audit.toml").write_text('[[gate.rule]]\nid = "t"\nmetric = "shortcut_sensitivity"\nmin = 0.9\n')
    code, outputs, told = job("gate", RUN=run, BASELINE="")
    assert (code, outputs["status"]) == (1, "fail"), told
    assert "::error file=audit.toml,line=1," in told
    assert "FAIL" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / run / "audit.sarif").is_file()

    (tmp_path / "audit.toml").write_text(
        '[[gate.rule]]\nid = "t"\nmetric = "shortcut_sensitivity"\nmax_increase = 0.9\n'
    )
    code, outputs, told = job("gate", RUN=run, BASELINE=run)
    assert (code, outputs["status"]) == (0, "pass"), told
    assert job("gate", RUN=run, BASELINE="")[1]["status"] == "inconclusive"
    assert job("gate", RUN="nowhere", BASELINE="")[1]["status"] == "incomplete"
    assert job("audit", **{**asked, "MODEL": "models/none"})[0] == 2
