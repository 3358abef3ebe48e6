"""The composite action, its own scripts run as a job would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

RISE = """
[[gate.rule]]
id = "rise"
measure = "shortcut_sensitivity"
max_increase = 0.9
"""
ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"] if "id" in step}


def test_every_input_reaches_the_shell_as_a_variable() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "an expression inside a script can carry commands"
    used = json.dumps(ACTION["runs"])
    for name in ACTION["inputs"]:
        assert f"inputs.{name} }}}}" in used, f"the input {name} does nothing"


def test_other_peoples_actions_are_pinned_by_commit_and_say_their_version() -> None:
    for text in ((ROOT / "action.yml").read_text(), (ROOT / "docs/guides/gates.md").read_text()):
        used = re.findall(r"uses: (actions/\S+)(.*)", text)
        assert used
        for name, comment in used:
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", name), name
            assert re.fullmatch(r" # v[0-9]+\.[0-9]+\.[0-9]+", comment), name
    assert not re.search(r"https?://", (ROOT / "action.yml").read_text()), "the index is the caller's to name"


def test_packages_and_text_are_kept_also_by_a_job_that_fails() -> None:
    steps = ACTION["runs"]["steps"]
    kept = [s for s in steps if s.get("uses", "").startswith("actions/cache")]
    assert [s["uses"].split("@")[0] for s in kept] == [
        f"actions/cache/{w}" for w in ("restore", "save", "restore", "save")
    ]
    assert [kept[0]["with"][k] for k in ("path", "key")] == [kept[1]["with"][k] for k in ("path", "key")]
    assert kept[2]["with"]["path"] == kept[3]["with"]["path"]
    assert kept[3]["with"]["key"].startswith(kept[2]["with"]["restore-keys"].strip())
    assert "always()" in kept[3]["if"]
    assert steps.index(kept[1]) < steps.index(STEPS["audit"])


FAKES = {
    "python": '#!/bin/bash\nif [ "$2" = pip ]; then echo "pip ${*:3}" >> "$LOG"; else exec "$PYTHON" "$@"; fi\n',
    "nvidia-smi": "#!/bin/bash\nexit ${NO_GPU}\n",
}


@pytest.mark.parametrize(("no_gpu", "index"), [(1, "a-place"), (1, ""), (0, "a-place")])
def test_without_a_gpu_torch_comes_from_the_index_that_was_named(tmp_path: Path, no_gpu: int, index: str) -> None:
    for name, script in FAKES.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "LOG": str(log), "PYTHON": sys.executable, "NO_GPU": str(no_gpu),
        "ACTION_PATH": str(ROOT), "TORCH_INDEX": index, "RUNNER_TEMP": str(tmp_path),
    }  # fmt: skip
    (step,) = (s for s in ACTION["runs"]["steps"] if s.get("name") == "Install")
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]], env=environment, capture_output=True, text=True, check=True
    )
    asked = log.read_text().splitlines()
    assert asked[-1] == f"pip install --quiet {ROOT}[weights]"
    if no_gpu and index:
        assert asked[0] == f"pip install --quiet --index-url a-place -r {tmp_path}/torch.txt"
        needed = (tmp_path / "torch.txt").read_text().split()
        assert [n.split(">")[0] for n in needed] == ["torch", "torchvision"]
    else:
        assert len(asked) == 1
    assert ("torch-index" in done.stdout) == (bool(no_gpu) and not index)


def test_the_keys_of_caches_change_with_what_is_installed(tmp_path: Path) -> None:
    keys = []
    for index in ("", "a-place"):
        out = tmp_path / f"out{index}"
        environment = {**os.environ, "GITHUB_OUTPUT": str(out), "ACTION_PATH": str(ROOT), "TORCH_INDEX": index}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-eo", "pipefail", "-c", STEPS["keys"]["run"]], env=environment, check=True)
        keys.append(dict(line.split("=", 1) for line in out.read_text().splitlines()))
    assert keys[0]["folder"] == keys[1]["folder"]
    assert keys[0]["packages"] != keys[1]["packages"]


@pytest.mark.parametrize(
    ("code", "goes_on"), [(0, True), (1, True), (3, True), (5, True), (2, False), (4, False), (143, False)]
)
def test_the_gitlab_job_goes_on_after_a_judgement_and_only_then(code: int, goes_on: bool, tmp_path: Path) -> None:
    (block,) = (b for b in (ROOT / "docs/guides/gates.md").read_text().split("```yaml")[1:] if "allow_failure" in b)
    (line,) = (one for one in yaml.safe_load(block.split("```")[0])["audit"]["script"] if one.startswith("audit run"))
    script = f"audit() {{ return {code}; }}\n{line}\necho went on"
    found = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ("went on" in found.stdout) == goes_on
    assert found.returncode == (0 if goes_on else code), "a failure of the audit is not a failed gate"


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
    asked["TEXT_CACHE"] = ".audit-cache"
    (tmp_path / "audit.toml").write_text(f"[gate]\nbaseline = 'audit-baseline.json'\n{RISE}")
    code, outputs, told = job("audit", **asked)
    assert code == 0, told
    run = outputs["run"]
    assert outputs["folder"] == str(tmp_path / run)
    assert (tmp_path / run / "report.html").is_file()
    assert re.fullmatch("[0-9a-f]{16}", outputs["text"])

    code, outputs, told = job("gate", RUN=run, BASELINE="")
    assert (code, outputs["status"]) == (0, "pass"), "the first run is judged without a baseline"
    assert "::notice title=audit%3A no baseline yet" in told
    artifact = tmp_path / "downloaded"
    shutil.copytree(tmp_path / run, artifact)
    done = subprocess.run(
        [sys.executable, "-m", "audit", "baseline", "accept", "downloaded"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "audit-baseline.json").is_file()
    assert job("gate", RUN=run, BASELINE="")[1]["status"] == "pass", "against the baseline now"

    (tmp_path / "audit.toml").write_text('[[gate.rule]]\nid = "t"\nmeasure = "shortcut_sensitivity"\nmin = 0.9\n')
    code, outputs, told = job("gate", RUN=run, BASELINE="")
    assert (code, outputs["status"]) == (1, "fail"), told
    assert "::error file=audit.toml,line=1," in told
    assert "FAIL" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / run / "audit.sarif").is_file()
    about = {"RUN": run, "BASELINE": "", "RUNNER_TEMP": tmp_path, "ARTIFACT_URL": "https://host.example/artifact/1"}
    code, outputs, told = job("comment", **about)
    assert code == 0, "the gate step has told that it failed"
    comment = Path(outputs["comment"]).read_text()
    assert "FAIL" in comment.splitlines()[1]
    assert "](https://host.example/artifact/1)" in comment
    assert job("comment", **{**about, "RUN": "nowhere", "RUNNER_TEMP": tmp_path / "none"})[1] == {}

    (tmp_path / "audit.toml").write_text(
        '[[gate.rule]]\nid = "t"\nmeasure = "shortcut_sensitivity"\nmax_increase = 0.9\n'
    )
    code, outputs, told = job("gate", RUN=run, BASELINE=run)
    assert (code, outputs["status"]) == (0, "pass"), told
    code, outputs, told = job("gate", RUN=run, BASELINE="")
    assert (code, outputs["status"]) == (5, "not comparable"), told
    assert job("gate", RUN="nowhere", BASELINE="")[1]["status"] == "incomplete"
    code, outputs, told = job("audit", **{**asked, "MODEL": "models/none"})
    assert (code, outputs) == (2, {}), told
