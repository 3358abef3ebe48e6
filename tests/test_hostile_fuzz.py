"""Files that were damaged at random, each followed by a command that reads it: a verdict or one sentence, whatever they hold."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from . import hostile_mutations as hostile
from .forked_commands import faults, run_forked
from .golden.make_report import RUN
from .image_encodings import encodings, picture

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or not Path("/proc/self/statm").is_file(), reason="needs fork and /proc"
)

COMMANDS = (
    "report run", "gate run --json", "diff run before", "diff before run --md", "verify run", "export mlflow run",
    "export model-card run", "export cyclonedx run", "report --compare run before", "baseline accept run --file new.json",
    "gate before --baseline run",
)  # fmt: skip
FILES = sorted(p.relative_to(RUN).as_posix() for p in RUN.rglob("*") if p.is_file())
IMAGES = list(encodings(picture()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of cases, with everything imported that a forked command would import."""
    import audit.commands.auditing
    import audit.commands.baselines
    import audit.commands.export
    import audit.commands.look
    import audit.reports.comparison.runs
    import audit.reports.export.cyclonedx
    import audit.reports.export.mlflow
    import audit.reports.export.model_card
    import audit.reports.page.html  # noqa: F401

    if threading.active_count() > 1:
        pytest.skip("a process with threads is not forked")
    return tmp_path_factory.mktemp("hostile")


def case(place: Path) -> Path:
    folder = place / "case"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("run", "before"):
        shutil.copytree(RUN, folder / name)
    (folder / "outside").mkdir()
    return folder


def check(folder: Path, command: str) -> None:
    ended = run_forked(command.split(), folder)
    assert list(faults(ended, folder)) == [], (ended.err[-500:], ended.out[-200:])


@settings(max_examples=36, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    seed=st.integers(0, 2**32), file=st.sampled_from(FILES), command=st.sampled_from(COMMANDS), vouched=st.booleans()
)
def test_a_damaged_run_folder_is_read_or_refused(
    place: Path, seed: int, file: str, command: str, vouched: bool
) -> None:
    folder = case(place)
    rng = random.Random(seed)
    path = folder / "run" / file
    hostile.mutation_for(path, rng)(path, rng)
    if vouched:
        hostile.vouch_for(folder / "run")
    check(folder, command)


@settings(max_examples=22, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
@given(seed=st.integers(0, 2**32), image=st.sampled_from(IMAGES), as_json=st.booleans())
def test_a_damaged_image_is_seen_or_refused(place: Path, seed: int, image: object, as_json: bool) -> None:
    folder = place / "images"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "outside").mkdir(parents=True)
    path = folder / f"image{image.suffix}"  # type: ignore[attr-defined]
    path.write_bytes(image.data)  # type: ignore[attr-defined]
    rng = random.Random(seed)
    hostile.mutation_for(path, rng)(path, rng)
    check(folder, f"look {path.name} --out shown" + " --json" * as_json)


@pytest.mark.parametrize("command", ["report", "gate", "verify", "export model-card", "baseline accept"])
@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_has_no_end_is_not_read_in_place_of_a_run(place: Path, command: str, kind: str) -> None:
    folder = case(place)
    if kind == "pipe":
        os.mkfifo(folder / "odd")
    else:
        (folder / "odd").symlink_to("/dev/zero")
    ended = run_forked([*command.split(), "odd"], folder)
    assert ended.code == 4 and ended.err.startswith("audit: odd is not a finished run folder: it is a file."), ended
    assert list(faults(ended, folder)) == []


@pytest.mark.parametrize("name", ["report.html", "summary.md", "junit.xml", "verdict.json", "run.json"])
def test_a_command_never_writes_through_a_link(place: Path, name: str) -> None:
    folder = case(place)
    outside = folder / "outside" / name
    if (folder / "run" / name).exists():
        (folder / "run" / name).rename(outside)
    else:
        outside.write_text("untouched")
    (folder / "run" / name).symlink_to(outside)
    before = outside.read_bytes()
    for command in ("report run", "gate run"):
        check(folder, command)
    assert outside.read_bytes() == before


def test_a_folder_of_pictures_that_is_a_link_is_refused(place: Path) -> None:
    """Its pictures would go into a page that is sent on, and they may be anybody's."""
    folder = case(place)
    (folder / "run/examples").rename(folder / "outside/examples")
    (folder / "run/examples").symlink_to(folder / "outside/examples")
    ended = run_forked(["report", "run"], folder)
    assert ended.code == 4 and "leads out of the run folder" in ended.err, ended
    assert not (folder / "run/report.html").exists()
