"""Tasks of a stage: the same results by one process and by two, and what a task raises is raised again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from audit.data.records import Record
from audit.errors import RelevanceError
from audit.models.bundle import load_bundle
from audit.perturbations import make_perturbation
from audit.perturbations.memory import OnceAnImage
from audit.prediction.experiment import Experiment
from audit.prediction.measuring import measure_cohort, wanted_measures
from audit.prediction.tasks import all_tasks
from audit.prediction.variants import cohort_context, make_variant, read_scene
from audit.store.folder import RunFolder
from audit.suites.reader import load_suite

from .conftest import CLASSES, cohort_in


@dataclass
class Shared:
    """What the tasks of a test share."""

    power: int
    seen: list[int] = field(default_factory=list)


def raised_to(experiment: Experiment, shared: Shared, item: int) -> tuple[str, int]:
    shared.seen.append(item)
    return experiment.records[0].id, item**shared.power


def complain(_experiment: Experiment, _shared: None, item: int) -> int:
    raise RelevanceError(f"no map of {item}")


@pytest.fixture
def experiment(tmp_path: Path, known_bundle: Path) -> Experiment:
    records = images_in(tmp_path)
    return Experiment(
        run=RunFolder(tmp_path / "run"),
        bundle=load_bundle(known_bundle),
        suite=load_suite("quick"),
        records=records,
        context=cohort_context(records, {r.id: () for r in records}, 0),
        seed=0,
    )


def images_in(folder: Path) -> Sequence[Record]:
    from audit.data.manifests import load_cohort

    return load_cohort(cohort_in(folder, 6), classes=CLASSES).labelled()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_results_come_in_the_order_of_the_items(experiment: Experiment, workers: int) -> None:
    told: list[None] = []
    found = all_tasks(
        experiment, raised_to, Shared(power=3), [5, 2, 4], workers=workers, on_item=lambda: told.append(None)
    )
    first = experiment.records[0].id
    assert found == [(first, 125), (first, 8), (first, 64)]
    assert len(told) == 3


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_a_task_raises_keeps_its_kind(experiment: Experiment, workers: int) -> None:
    with pytest.raises(RelevanceError, match=r"^no map of \d$"):
        all_tasks(experiment, complain, None, [1, 2], workers=workers, on_item=lambda: None)


def test_a_cohort_that_was_measured_before_gives_the_same_pixels(tmp_path: Path) -> None:
    records = images_in(tmp_path)
    regions = {r.id: () for r in records}
    suite = load_suite("standard")
    names = ("grey-curve-other-class", "noise-by-chance", "border-only")
    perturbations = {c.name: make_perturbation(c.perturbation, c.parameters) for c in suite.conditions[1:]}
    lazy = cohort_context(records, regions, 0)
    wanted = wanted_measures(records, regions, lazy, perturbations)
    assert {w.record.id for w in wanted} == {r.id for r in records}
    measured = measure_cohort(wanted, lambda: None)
    assert set(measured.properties) == set(measured.levels) == set(measured.parts) == {r.id for r in records}
    before = cohort_context(records, regions, 0, None, measured)
    for record in records[:4]:
        for name in names:
            one, other = (
                make_variant(read_scene(record, context), suite[name], perturbations[name], 0, 0)
                for context in (lazy, before)
            )
            assert one.why_not == other.why_not
            assert np.array_equal(one.image, other.image)
    shape = (40, 30)
    assert np.array_equal(lazy.background(shape), before.background(shape))
    nothing = {name: p for name, p in perturbations.items() if name == "text-mask-black"}
    assert wanted_measures(records, regions, lazy, nothing) == [], "a mask compares with nothing"


def test_once_an_image_and_again_where_pixels_may_change() -> None:
    calls: list[object] = []

    def summed(image: np.ndarray, key: object) -> int:
        calls.append(key)
        return int(image.sum())

    once = OnceAnImage(summed, 2)
    image = np.ones((2, 3), dtype=np.uint8)
    assert [once(image, "a"), once(image, "a")] == [6, 6]
    image += 1
    assert once(image, "a") == 12, "an image that can be written is never remembered"
    image.setflags(write=False)
    equal = image.copy()
    equal.setflags(write=False)
    calls.clear()
    assert [once(image, "a"), once(image, "a"), once(image, "b"), once(equal, "a")] == [12] * 4
    assert calls == ["a", "b", "a"], "by what is asked, and by which image, not by its pixels"
