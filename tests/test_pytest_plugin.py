"""A run's gates as tests, by the installed plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import Audit, quick_audit

RULES = """
[gate]
inconclusive = "{policy}"
min_images = {min_images}

[[gate.rule]]
id = "holds"
measure = "shortcut_sensitivity"
where = {{ condition = "text-mask-inpaint" }}
max = 0.9
evidence = "point"

[[gate.rule]]
id = "breaks"
measure = "shortcut_sensitivity"
where = {{ condition = "text-mask-inpaint" }}
min = 0.8

[[gate.rule]]
id = "told"
measure = "shortcut_sensitivity"
where = {{ condition = "letters-other-class" }}
min = 0.8
level = "warn"
"""


def pytest_in(folder: Path, *arguments: object) -> tuple[int, str]:
    # A process of its own: the plugin must come by its entry point, as at a user's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rA", "-p", "no:cacheprovider", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return found.returncode, found.stdout + found.stderr


def test_gates_are_tests(audit: Audit, write_cohort: object, write_bundle: object, tmp_path: Path) -> None:
    manifest = write_cohort(3)  # type: ignore[operator]
    write_bundle("C")  # type: ignore[operator]
    run = Path(audit(*quick_audit(manifest))[1].splitlines()[-1]).parent
    place = tmp_path / "project"
    place.mkdir()
    (place / "pytest.ini").write_text("[pytest]\n")
    named = ("--audit-run", tmp_path / run)

    (place / "audit.toml").write_text(RULES.format(policy="block", min_images=0))
    code, out = pytest_in(place, *named)
    assert code == 1, out
    assert "1 failed, 1 passed, 1 xfailed" in out
    assert "is below the minimum of 0.8" in out
    assert "Traceback" not in out
    assert "raise GateNotPassedError" not in out

    (place / "audit.toml").write_text(RULES.format(policy="pass", min_images=1000))
    code, out = pytest_in(place, *named)
    assert code == 0, out
    assert "2 skipped, 1 xfailed" in out

    (place / "audit.toml").write_text(RULES.format(policy="block", min_images=1000))
    assert "2 failed, 1 xfailed" in pytest_in(place, *named)[1]

    code, out = pytest_in(place, "--audit-run", tmp_path / "nowhere")
    assert code == 4
    assert "nowhere" in out
    assert "Traceback" not in out
    (place / "test_own.py").write_text("def test_own():\n    pass\n")
    assert pytest_in(place)[0] == 0, "without the option nothing is added"
