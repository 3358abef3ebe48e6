"""The four levels of a suspect, where each is known by construction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audit.reports.reading.folder import read_run
from audit.reports.sections import levels as section
from audit.run.schemas import schema_of
from audit.run.suspect_world import MIN_PATIENTS, SuspectWorld, no_level
from audit.store.levels import LevelsDocument, SuspectLevels

from .conftest import Audit
from .mend_world import know_world, world_in
from .report_runs import check

N = 160


def levels(*, available: bool, encoded: bool, harmful: bool, seed: int = 0) -> SuspectLevels:
    """Return the levels of a mark on 160 images of 80 patients, of which every property is dealt by hand."""
    rng = np.random.default_rng(seed)
    patient = np.arange(N) // 2
    labels = (patient % 2).astype(np.int64)
    marked = rng.random(N // 2)[patient] < (np.where(labels == 1, 0.8, 0.2) if available else 0.5)
    features = rng.normal(0, 1, (N, 6))
    if encoded:
        features[:, 0] += 4 * marked
    breaks = marked != (labels == 1)
    wrong = (rng.random(N) < (np.where(breaks, 0.8, 0.1) if harmful else 0.3)).astype(float)
    world = SuspectWorld(labels, np.char.add("p", patient.astype(str)), 2, wrong, seed, 0.95)
    return world.levels("the mark", marked[:, None].astype(float), features, no_level("not edited"))


def test_each_level_is_seen_where_it_is_and_not_where_it_is_not() -> None:
    there = levels(available=True, encoded=True, harmful=True)
    for name, chance in (("available", 0.5), ("encoded", 0.5), ("harmful", 0.0)):
        level = getattr(there, name)
        assert level.p == 1 / 200, name
        assert level.low > chance, name
        assert level.low <= level.value <= level.high
        assert level.null == pytest.approx(chance, abs=0.08), name
    assert there.available.value == pytest.approx(0.8, abs=0.08)
    assert there.harmful.value == pytest.approx(0.7, abs=0.15)
    one_by_one = {
        "encoded": levels(available=True, encoded=False, harmful=True),
        "harmful": levels(available=True, encoded=True, harmful=False),
    }
    for name, found in one_by_one.items():
        assert getattr(found, name).p > 0.05, name
        assert all(getattr(found, other).p <= 0.05 for other in ("available", "encoded", "harmful") if other != name)


def test_of_nothing_few_levels_stand_out() -> None:
    """Twenty worlds without anything: p-values below 0.1 come about as often as they should."""
    found = [levels(available=False, encoded=False, harmful=False, seed=seed) for seed in range(20)]
    for name in ("available", "encoded", "harmful"):
        p = [getattr(f, name).p for f in found if getattr(f, name).p is not None]
        assert sum(value <= 0.1 for value in p) <= 6, name


def test_too_few_patients_are_said_not_guessed() -> None:
    labels = np.repeat([0, 1], 2 * MIN_PATIENTS)
    world = SuspectWorld(labels, np.arange(len(labels)).astype(str), 2, np.zeros(len(labels)), 0, 0.95)
    # One image of each class is marked: no side of a probe within a class has enough patients.
    values = np.zeros((len(labels), 1))
    values[[0, -1]] = 1
    found = world.levels("the mark", values, np.zeros((len(labels), 2)), no_level("none"))
    assert found.encoded.value is None
    assert str(MIN_PATIENTS) in found.encoded.about
    assert world.levels("the mark", values, None, no_level("none")).encoded.value is None


@pytest.mark.slow
def test_a_run_measures_them_and_the_report_shows_them(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that reads a printed mark: available, encoded, used and harmful; one that does not: available alone."""
    know_world(monkeypatch)
    found = {}
    for marker in (12.0, 0.0):
        world = world_in(tmp_path / f"{marker:.0f}", marker=marker)
        code, _, complaint = audit("run", *world.settings(), "--runs", tmp_path / f"runs-{marker:.0f}")
        assert code == 0, complaint
        (run,) = (p for p in (tmp_path / f"runs-{marker:.0f}").iterdir() if p.is_dir())
        document = json.loads((run / "levels.json").read_text())
        check(document, schema_of(LevelsDocument), "levels.json")
        (text,) = (s for s in document["suspects"] if s["suspect"] == "the text")
        found[marker] = text
        shown = section.view(read_run(run))
        assert shown is not None
        page = (run / "report.html").read_text()
        assert 'id="levels"' in page
        assert "Four levels" in page
    reads, does_not = found[12.0], found[0.0]
    assert reads["available"]["value"] > 0.8
    assert does_not["available"] == reads["available"], "the data are the same"
    assert reads["used"]["value"] > 0.2 > 0.02 > abs(does_not["used"]["value"])
    assert reads["harmful"]["value"] > 0.3
    assert reads["harmful"]["p"] <= 0.05
    assert does_not["harmful"]["p"] > 0.05
