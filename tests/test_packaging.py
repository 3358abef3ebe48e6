"""The installed distribution is a good guest: one import name, whatever packages its user has beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"audit": "audit", "training": "audit.training", "reports": "audit.reports", "templates": "audit.templates"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:  # a copy: building leaves files behind
        if name.split("/")[0] in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE") and (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_every_package_is_listed() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set()
    for folder, name in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(ROOT / folder).parts]))
    assert set(table["packages"]) == found
    assert table["package-dir"] == {name: folder for folder, name in FOLDERS.items()}


def test_the_wheel_claims_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"audit"}
    for needed in (
        "audit/suites/standard.toml",
        "audit/training/recipes/demo.toml",
        "audit/templates/report.html.j2",
        "audit/py.typed",
    ):
        assert needed in names
    listed = subprocess.run(["git", "ls-files", "templates"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {f"audit/{name}" for name in listed.stdout.split()} <= set(names)


def test_it_works_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name in ("training", "reports", "templates"):
        (work / name).mkdir(parents=True)
        (work / name / "__init__.py").write_text("raise RuntimeError('the user\\'s own package was imported')")
    run = ROOT / "tests/golden/tiny-run"
    program = (
        "import audit, sys; assert audit.__file__.startswith(sys.argv[1]), audit.__file__\n"
        "import audit.training.chain\n"
        "from audit.reports.page.html import within_budget, MAX_BYTES\n"
        "from audit.reports.reading.folder import read_run\n"
        "from pathlib import Path\n"
        "assert b'<html' in within_budget(read_run(Path(sys.argv[2])), MAX_BYTES).html\n"
        "sys.argv = ['audit', 'list', 'recipes']\n"
        "from audit.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(site), str(run)],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout.split()
