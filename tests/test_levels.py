"""The four levels of a suspect, where each is known by construction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from audit.models.bodies import Head
from audit.reports.reading.folder import read_run
from audit.reports.sections import levels as section
from audit.run.erasing import Covariance, Eraser, measure_erasure, within_classes
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


def mixed(n: int, f: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (n, f) that are a random mixture of a mark, the class and noise; the mark (n, 1); and the classes (n)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    mark = (rng.random(n) < np.where(labels == 1, 0.8, 0.2)).astype(float)
    parts = np.concatenate(
        [mark[:, None], labels[:, None] + 0.5 * rng.normal(size=(n, 1)), rng.normal(size=(n, f - 2))], axis=1
    )
    return parts @ rng.normal(size=(f, f)), mark[:, None], labels


def plain_eraser(
    monkeypatch: pytest.MonkeyPatch, features: np.ndarray, concept: np.ndarray, labels: np.ndarray
) -> Eraser:
    """Return the eraser without shrinkage worth the name."""
    monkeypatch.setattr("audit.run.erasing.ledoit_wolf_shrinkage", lambda *_, **__: 0.0)
    monkeypatch.setattr("audit.run.erasing._LEAST_SHRINKAGE", 1e-9)
    found = Covariance(features, labels).eraser(concept, labels)
    assert found is not None
    return found


def test_what_is_erased_no_linear_model_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theorem: no covariance with the concept is left, which is when no linear model does better than a constant (Belrose et al. 2023)."""
    features, mark, labels = mixed(200, 12)
    eraser = plain_eraser(monkeypatch, features, mark, labels)
    erased = eraser.erased(features)

    def covariance(values: np.ndarray) -> float:
        inside = within_classes(values, labels)
        return float(np.abs(inside.T @ within_classes(mark, labels)).max() / np.linalg.norm(inside, axis=0).mean())

    assert covariance(features) > 1
    assert covariance(erased) < 1e-4
    # In the paper's form: W^+ P W, with W the inverse root of the covariance and P the projection on W's image of the cross-covariance.
    inside = within_classes(features, labels)
    values, vectors = np.linalg.eigh(inside.T @ inside / 200)
    white, colour = (vectors @ np.diag(values**power) @ vectors.T for power in (-0.5, 0.5))
    seen = white @ inside.T @ within_classes(mark, labels)
    projection = seen @ np.linalg.pinv(seen)
    wanted = features - (features - features.mean(axis=0)) @ (colour @ projection @ white).T
    assert erased == pytest.approx(wanted, abs=1e-4)
    # Erasing twice is erasing once, and the class is still there.
    assert eraser.erased(erased) == pytest.approx(erased, abs=1e-5)
    assert np.abs(erased[labels == 1].mean(axis=0) - erased[labels == 0].mean(axis=0)).max() > 0.5
    # Two columns that say the same are one direction; a concept that varies within no class is none.
    twice = plain_eraser(monkeypatch, features, np.concatenate([mark, 1 - mark], axis=1), labels)
    assert twice.erased(features) == pytest.approx(erased, abs=1e-5)
    assert Covariance(features, labels).eraser(labels[:, None].astype(float), labels) is None


def erasure(weight_on_mark: float, *, f: int = 30, n: int = 400, seed: int = 1) -> tuple[object, float]:
    """Return what is measured of a head with known weights on a mark and on the disease, and what it should be."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    mark = (rng.random(n) < np.where(labels == 1, 0.8, 0.2)).astype(float)
    disease = labels + 0.5 * rng.normal(size=n)
    features = np.concatenate([np.stack([mark, disease], axis=1), rng.normal(size=(n, f - 2))], axis=1)
    weight = np.zeros((2, f), np.float32)
    weight[1, :2] = weight_on_mark, 3
    head = Head(weight=weight, bias=np.array([0, -1.5 - weight_on_mark / 2], np.float32))

    def ill(value: np.ndarray | float) -> np.ndarray:
        return 1 / (1 + np.exp(-(weight_on_mark * (value - 0.5) + 3 * disease - 1.5)))

    true = float(np.abs(ill(mark) - ill(mark.mean())).mean())
    found = measure_erasure(
        features, mark[:, None], head, labels, np.arange(n), np.arange(n) % 5, level=0.95, rng=np.random.default_rng(0)
    )
    return found, true


def test_erasing_moves_the_answers_as_far_as_the_head_reads_the_mark() -> None:
    """The true value is that of the mark put at its mean; one of thirty random directions moves a little, too, and is subtracted."""
    found, true = erasure(4.0)
    assert true > 0.2
    assert found.low < found.value < found.high
    by_erasing, at_random = (float(word.rstrip(".,")) for word in found.about.split() if word[:2] == "0.")
    assert by_erasing == pytest.approx(true, abs=0.03)
    assert 0 < at_random < true / 2
    assert found.value == pytest.approx(by_erasing - at_random, abs=0.002)
    assert found.p == 1 / 100
    assert found.low > 0


def test_a_head_that_does_not_read_the_mark_loses_nothing_by_its_erasure() -> None:
    found, true = erasure(0.0)
    assert true == 0
    assert found.value < 0.02
    assert found.p > 0.05


def test_erasing_at_random_is_no_finding() -> None:
    """A concept that has nothing to do with features: of twenty p-values few are small."""
    small = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, features = np.arange(120) % 2, rng.normal(size=(120, 40))
        head = Head(weight=rng.normal(size=(2, 40)).astype(np.float32), bias=np.zeros(2, np.float32))
        concept = rng.normal(size=(120, 1))
        found = measure_erasure(
            features,
            concept,
            head,
            labels,
            np.arange(120),
            np.arange(120) % 5,
            level=0.95,
            rng=np.random.default_rng(seed),
        )
        assert found is not None
        small += found.p <= 0.1
    assert small <= 6
    assert measure_erasure(
        features, labels[:, None].astype(float), head, labels, np.arange(120), np.arange(120) % 5, level=0.95, rng=rng
    ) is None  # fmt: skip


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
    # Two features, of which the mark is one: erasing it moves the answers of the network that reads it, and of the other not.
    assert reads["erased"]["value"] > does_not["erased"]["value"]
    assert reads["harmful"]["value"] > 0.3
    assert reads["harmful"]["p"] <= 0.05
    assert does_not["harmful"]["p"] > 0.05
