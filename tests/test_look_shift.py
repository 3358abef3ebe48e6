"""The look of another source: moved by what its images of the same class differ in, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.data.records import Record
from audit.errors import UnknownNameError
from audit.perturbations import NotApplicable, Scene, make_perturbation
from audit.perturbations.donors import DonorPool
from audit.perturbations.properties import GroupProperties, by_class, by_source
from audit.perturbations.shifts import CurveShift, ShiftDraw, Steps
from audit.randomness import generator_for

from .test_class_shift import GreyImage, chest, curve, diseased, distance, noisy, soft

Images = dict[str, GreyImage]


def hospitals(
    n: int = 24, *, plants: tuple[object, ...] = (curve,), sources: tuple[str, ...] = ("north", "south")
) -> tuple[Images, GroupProperties, list[Record]]:
    """Patients of classes a and b, b diseased, in both sources alike; the images of the last source have the plants."""
    images, records = {}, []
    for number in range(2 * len(sources) * n):
        label, source = "ab"[number % 2], sources[number // 2 % len(sources)]
        image = diseased(chest(number)) if label == "b" else chest(number)
        for plant in plants if source == sources[-1] else ():
            image = plant(image)  # type: ignore[operator]
        images[f"r{number}"] = image
        records.append(Record(id=f"r{number}", path=Path("none.png"), label=label, patient=f"p{number}", source=source))
    regions = {r.id: () for r in records}
    return images, GroupProperties(records, regions, 1, lambda r: images[r.id], by_source), records


def moved(
    images: Images, found: GroupProperties, record: Record, towards: str, draw: int = 0
) -> GreyImage | NotApplicable:
    made = make_perturbation("look-shift", {"towards": towards})
    scene = Scene(image=images[record.id], record=record, regions=(), donors=DonorPool([]), sources=found)
    drawn = made.draw(scene, generator_for(3, record.id, draw))
    if isinstance(drawn, NotApplicable):
        return drawn
    assert isinstance(drawn, ShiftDraw)
    return made.apply(images[record.id], drawn)


def of(records: list[Record], source: str, label: str) -> list[Record]:
    return [r for r in records if (r.source, r.label) == (source, label)][:10]


@pytest.mark.parametrize("label", ["a", "b"])
def test_images_arrive_at_the_other_sources_curve(label: str) -> None:
    images, found, records = hospitals()
    for record in of(records, "north", label):
        before, twin = images[record.id], curve(images[record.id])
        after = moved(images, found, record, "other-source")
        assert not isinstance(after, NotApplicable)
        assert distance(after, twin) < 0.3 * distance(before, twin), "the twin with the other source's curve"
        placebo = moved(images, found, record, "by-chance")
        assert not isinstance(placebo, NotApplicable)
        assert distance(placebo, before) < 0.5 * distance(after, before)


def test_what_a_source_has_more_of_is_given_and_what_it_lacks_is_lost() -> None:
    images, found, records = hospitals(plants=(soft,))
    (sharp, *_), (blurred, *_) = of(records, "north", "a"), of(records, "south", "a")
    after = moved(images, found, sharp, "other-source")
    assert distance(after, soft(images[sharp.id])) < 0.6 * distance(images[sharp.id], soft(images[sharp.id]))  # type: ignore[arg-type]
    images, found, records = hospitals(plants=(noisy,))
    (clean, *_) = of(records, "north", "a")

    def rough(image: NDArray[np.uint8]) -> float:
        return float(np.abs(np.diff(image.astype(float), axis=1)).mean())

    after = moved(images, found, clean, "other-source")
    assert isinstance(after, np.ndarray)
    assert rough(images[clean.id]) < rough(after) < 1.2 * rough(noisy(images[clean.id]))
    assert blurred.source == "south"


def test_the_disease_of_a_class_is_not_brought_along() -> None:
    """All of the other source are diseased but for a few of the image's own class: these few say what the source looks like."""
    images, _, records = hospitals(plants=())
    kept = [r for r in records if not (r.source == "south" and r.label == "a")] + of(records, "south", "a")[:6]
    found = GroupProperties(kept, {r.id: () for r in kept}, 1, lambda r: images[r.id], by_source)
    changes = []
    for record in of(kept, "north", "a"):
        after, chance = (moved(images, found, record, towards) for towards in ("other-source", "by-chance"))
        changes.append((distance(after, images[record.id]), distance(chance, images[record.id])))  # type: ignore[arg-type]
    edit, placebo = np.mean(changes, axis=0)
    assert edit < 2 * placebo + 1, "sources that look alike move images no further than chance does"


def test_a_class_of_one_source_is_not_moved() -> None:
    images, _, records = hospitals()
    kept = [r for r in records if r.label == "a" or r.source == "north"]
    found = GroupProperties(kept, {r.id: () for r in kept}, 1, lambda r: images[r.id], by_source)
    (record, *_) = of(kept, "north", "b")
    assert moved(images, found, record, "other-source") == NotApplicable(
        "fewer than 5 patients of the image's class from its source or from another"
    )
    assert not isinstance(moved(images, found, of(kept, "north", "a")[0], "other-source"), NotApplicable)
    lacking = Scene(image=images[record.id], record=record, regions=(), donors=DonorPool([]))
    assert isinstance(make_perturbation("look-shift", {}).draw(lacking, generator_for(0)), NotApplicable)


def test_every_other_source_is_reached_and_draws_repeat() -> None:
    images, found, records = hospitals(10, sources=("north", "east", "south"))
    (record, *_) = of(records, "north", "a")
    made = make_perturbation("look-shift", {})
    scene = Scene(image=images[record.id], record=record, regions=(), donors=DonorPool([]), sources=found)
    ends = set()
    for draw in range(12):
        drawn = made.draw(scene, generator_for(4, draw))
        assert isinstance(drawn, ShiftDraw)
        assert isinstance(drawn.shift, Steps)
        ends |= {step.end.tobytes() for step in drawn.shift.steps if isinstance(step, CurveShift)}
    assert len(ends) == 2, "one look a source: the difference of the means has no donor"
    first, again = (moved(images, found, record, "by-chance", 5) for _ in range(2))
    assert np.array_equal(first, again)  # type: ignore[arg-type]


def test_halves_of_the_patients_of_a_split_teach_every_image_the_same() -> None:
    images, found, records = hospitals()
    made = make_perturbation("look-shift", {})
    curves: dict[tuple[int, int], set[bytes]] = {}
    for record in of(records, "north", "a")[:4]:
        for half in (0, 1):
            for split in (0, 1):
                scene = Scene(
                    image=images[record.id],
                    record=record,
                    regions=(),
                    donors=DonorPool([]),
                    sources=found,
                    half=half,
                    split=split,
                )
                drawn = made.draw(scene, generator_for(4, record.id))
                ends = [s.end.tobytes() for s in drawn.shift.steps if isinstance(s, CurveShift)]
                curves.setdefault((half, split), set()).update(ends)
    assert all(len(found) == 1 for found in curves.values())
    assert len(set.union(*curves.values())) == 4


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="other-source"):
        make_perturbation("look-shift", {"towards": "other-hospital"})


def test_no_image_is_measured_twice_for_classes_and_sources() -> None:
    images, _, records = hospitals(8)
    regions, read, measured = {r.id: () for r in records}, [], {}

    def reading(record: Record) -> GreyImage:
        read.append(record.id)
        return images[record.id]

    by_label = GroupProperties(records, regions, 1, reading, by_class, measured)
    within = GroupProperties(records, regions, 1, reading, by_source, measured)
    assert by_label.known() == (("a",), ("b",))
    assert within.known() == (("a", "north"), ("a", "south"), ("b", "north"), ("b", "south"))
    assert sorted(read) == sorted(r.id for r in records)
    alone = GroupProperties(records, regions, 1, lambda r: images[r.id], by_source)
    groups, again = (g.groups(("a", "north"), ("a", "south")) for g in (within, alone))
    assert np.array_equal(groups.own.curves, again.own.curves), "shared or not, the same"
