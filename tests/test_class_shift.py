"""Global properties of classes: what was planted by class is moved, what differs by chance or by disease is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from audit.data.records import Record, TextRegion
from audit.errors import UnknownNameError
from audit.perturbations import NotApplicable, Scene, make_perturbation
from audit.perturbations.donors import DonorPool
from audit.perturbations.frames import Frame
from audit.perturbations.framing import frame_distances
from audit.perturbations.properties import GroupProperties, measure_properties
from audit.perturbations.sharpness import BANDS, blur_between, measure_texture, noise_between
from audit.perturbations.shifts import Stay
from audit.randomness import generator_for

GreyImage = NDArray[np.uint8]
SIDE = 128


def chest(number: int) -> GreyImage:
    """A patient: body, lungs and texture of their own."""
    rng = np.random.default_rng(number)
    yy, xx = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    body = 70 + rng.uniform(70, 100) * np.exp(-(xx**2 / rng.uniform(0.6, 1.0) + yy**2 / 1.5)) + 20 * yy
    lungs = 60 * np.exp(-((np.abs(xx) - 0.4) ** 2 / 0.04 + yy**2 / 0.25))
    return np.clip(body - lungs + rng.normal(0, 7, (SIDE, SIDE)), 0, 255).astype(np.uint8)


def curve(image: GreyImage) -> GreyImage:
    return np.rint(255 * (image / 255.0) ** 1.5).astype(np.uint8)


def soft(image: GreyImage) -> GreyImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), dtype=np.uint8)


def diseased(image: GreyImage) -> GreyImage:
    """White lungs, and nothing else."""
    yy, xx = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = ((np.abs(xx) - 0.35) ** 2 / 0.04 + yy**2 / 0.25) < 1
    return np.where(inside, np.clip(image.astype(int) + 80, 0, 255), image).astype(np.uint8)


def cohort(plants, n: int = 30) -> tuple[dict[str, GreyImage], GroupProperties, list[Record]]:  # type: ignore[no-untyped-def]
    """Patients of class a as they are, of class b each with a plant."""
    images, records = {}, []
    for number in range(2 * n):
        label = "ab"[number % 2]
        image = chest(number)
        for plant in plants if label == "b" else ():
            image = plant(image)
        images[f"r{number}"] = image
        records.append(Record(id=f"r{number}", path=Path("none.png"), label=label, patient=f"p{number}", source="s"))
    return images, GroupProperties(records, {r.id: () for r in records}, 1, lambda r: images[r.id]), records


def noisy(image: GreyImage) -> GreyImage:
    noise = np.random.default_rng(int(image.sum())).normal(0, 6, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def drawn_for(images: dict[str, GreyImage], found: GroupProperties, record: Record, **parameters: str):  # type: ignore[no-untyped-def]
    made = make_perturbation("class-shift", parameters)
    scene = Scene(image=images[record.id], record=record, regions=(), donors=DonorPool([]), properties=found)
    return made, made.draw(scene, generator_for(3, record.id))


def shifted(images: dict[str, GreyImage], found: GroupProperties, record: Record, **parameters: str) -> GreyImage:
    made, drawn = drawn_for(images, found, record, **parameters)
    assert not isinstance(drawn, NotApplicable)
    return made.apply(images[record.id], drawn)


def distance(one: GreyImage, other: GreyImage) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def sharpness(image: GreyImage) -> float:
    inner = image[20:-20, 20:-20].astype(np.float64)
    return float(np.std(inner - cv2.GaussianBlur(inner, (0, 0), 1.0)))


def test_a_grey_curve_planted_by_class_is_taken_on_and_off() -> None:
    images, found, records = cohort([curve])
    for record in records[:8]:
        number = int(record.id[1:])
        plain, planted = chest(number), curve(chest(number))
        own, other = (plain, planted) if record.label == "a" else (planted, plain)
        after = shifted(images, found, record, of="grey-curve", towards="other-class")
        assert distance(after, other) < 0.25 * distance(own, other), record.id
        by_chance = shifted(images, found, record, of="grey-curve", towards="by-chance")
        assert distance(by_chance, own) < 0.35 * distance(own, other), record.id


@pytest.mark.parametrize(("of", "plant"), [("sharpness", soft), ("noise", noisy)])
def test_what_was_lost_or_gained_by_class_is_taken_on_and_not_given_back(of: str, plant) -> None:  # type: ignore[no-untyped-def]
    images, found, records = cohort([plant])
    moved = []
    for record in records[:16]:
        number = int(record.id[1:])
        if record.label == "b":
            _, drawn = drawn_for(images, found, record, of=of, towards="other-class")
            assert isinstance(drawn, NotApplicable)
            assert drawn.reason == {"sharpness": "no class is less sharp", "noise": "no class has more noise"}[of]
            _, by_chance = drawn_for(images, found, record, of=of, towards="by-chance")
            assert isinstance(by_chance, NotApplicable), "an edit and its placebo apply to the same images"
            continue
        plain, planted = sharpness(chest(number)), sharpness(plant(chest(number)))
        after = sharpness(shifted(images, found, record, of=of, towards="other-class"))
        by_chance = sharpness(shifted(images, found, record, of=of, towards="by-chance"))
        moved.append([np.log(after / plain) / np.log(planted / plain), abs(np.log(by_chance / plain))])
    there, chance = np.mean(moved, axis=0)
    assert 0.75 < there < 1.2, "as far as the plant went"
    assert chance < 0.15


@pytest.mark.parametrize("sigma_px", [0.8, 1.5, 2.5])
def test_a_blur_is_measured_as_it_was(sigma_px: float) -> None:
    """Of a Gaussian the transfer function is known."""
    rng = np.random.default_rng(1)
    fine = cv2.GaussianBlur(rng.normal(0, 60, (256, 256)), (0, 0), 0.7) + 120
    plain = np.clip(np.rint(fine), 0, 255).astype(np.uint8)
    less = np.clip(np.rint(cv2.GaussianBlur(fine, (0, 0), sigma_px)), 0, 255).astype(np.uint8)
    everywhere = np.ones(plain.shape, dtype=np.bool_)
    by = blur_between(measure_texture(plain, everywhere), measure_texture(less, everywhere))
    true = np.exp(-2 * (np.pi * sigma_px * BANDS / 256) ** 2)
    seen = true > 0.1
    assert by.gains[seen] == pytest.approx(true[seen], abs=0.08)
    assert by.width == pytest.approx(2 * (np.pi * sigma_px / 256) ** 2, rel=0.25)
    back = blur_between(measure_texture(less, everywhere), measure_texture(plain, everywhere))
    assert (back.width, set(back.gains.tolist())) == (0.0, {1.0})


@pytest.mark.parametrize("levels", [3.0, 8.0])
def test_noise_is_measured_as_it_was(levels: float) -> None:
    rng = np.random.default_rng(2)
    yy, xx = np.mgrid[0:256, 0:256]
    plain = 120 + 40 * np.sin(xx / 21) * np.cos(yy / 17) + cv2.GaussianBlur(rng.normal(0, 90, (256, 256)), (0, 0), 4)
    more = plain + rng.normal(0, levels, plain.shape)
    everywhere = np.ones(plain.shape, dtype=np.bool_)
    one, two = (measure_texture(np.clip(np.rint(v), 0, 255).astype(np.uint8), everywhere) for v in (plain, more))
    assert noise_between(one, two) == pytest.approx(levels, rel=0.15)
    assert noise_between(two, one) == 0.0
    assert blur_between(one, two).width == pytest.approx(0, abs=1e-4), "noise is no sharpness"


@pytest.mark.parametrize("of", ["grey-curve", "sharpness", "noise", "frame"])
def test_what_classes_do_not_differ_in_is_left(of: str) -> None:
    for plants in ([], [diseased]):
        images, found, records = cohort(plants)
        pairs = []
        for record in records[:24]:
            drawn = [
                drawn_for(images, found, record, of=of, towards=towards) for towards in ("other-class", "by-chance")
            ]
            if not any(isinstance(d, NotApplicable) for _, d in drawn):
                pairs.append([distance(made.apply(images[record.id], d), images[record.id]) for made, d in drawn])
        assert len(pairs) >= 12
        moved, by_chance = np.mean(pairs, axis=0)
        assert moved < by_chance + 1.0, (plants, "white lungs are no grey curve: they lie where nothing is measured")


def test_text_is_no_sharpness() -> None:
    image = chest(1)
    written = image.copy()
    cv2.putText(written, "SEDUTO", (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
    region = TextRegion(x0=2, y0=2, x1=88, y1=24, text="SEDUTO")
    plain, with_text = measure_properties(image, (region,), None), measure_properties(written, (region,), None)
    assert with_text.texture.as_row() == pytest.approx(plain.texture.as_row(), abs=1e-9, nan_ok=True)
    assert with_text.curve == pytest.approx(plain.curve)
    known = np.isfinite(plain.texture.total)
    seen = measure_properties(written, (), None).texture.total[known] / plain.texture.total[known]
    assert np.abs(np.log(np.abs(seen))).max() > 0.2, "had it not been found, it would have been measured"


def test_few_patients_have_no_property_and_many_images_of_one_count_once() -> None:
    records = [
        Record(id=f"r{i}", path=Path("n.png"), label="ab"[i % 2], patient="ab"[i % 2], source="s") for i in range(40)
    ]
    found = GroupProperties(records, {r.id: () for r in records}, 1, lambda r: chest(0))
    assert found.known() == ()
    made = make_perturbation("class-shift", {"of": "sharpness"})
    scene = Scene(image=chest(0), record=records[0], regions=(), donors=DonorPool([]), properties=found)
    drawn = made.draw(scene, generator_for(0))
    assert isinstance(drawn, NotApplicable)
    assert drawn.reason == "fewer than 5 patients of the image's class or of any other"


def test_white_of_an_overexposed_image_darkens_with_the_rest() -> None:
    """Class b is half as bright again, and white where it is clipped: as bright as class a, nothing is white."""

    def bright(image: GreyImage) -> GreyImage:
        return np.clip(np.rint(1.5 * image.astype(np.float64)), 0, 255).astype(np.uint8)

    images, found, records = cohort([bright])
    whites = []
    for record in (r for r in records[:20] if r.label == "b"):
        before = images[record.id]
        after = shifted(images, found, record, of="grey-curve", towards="other-class")
        if (before == 255).any():
            whites.append(after[before == 255].max())
    assert whites
    assert np.mean(whites) < 225


@pytest.mark.parametrize("of", ["grey-curve", "sharpness", "noise"])
def test_halves_of_the_patients_confirm_what_was_planted(of: str) -> None:
    """Two draws that differ in the half alone move an image the same way if the property goes with the class."""
    plant = {"grey-curve": curve, "sharpness": soft, "noise": noisy}[of]
    images, found, records = cohort([plant])
    made = make_perturbation("class-shift", {"of": of})
    assert made.halves
    for record in [r for r in records if r.label == "a"][:4]:
        scenes = [
            Scene(image=images[record.id], record=record, regions=(), donors=DonorPool([]), properties=found, half=half)
            for half in (0, 1)
        ]
        draws = [made.draw(scene, generator_for(3, record.id)) for scene in scenes]
        one, two = (made.apply(images[record.id], drawn).astype(int) - images[record.id] for drawn in draws)
        assert not np.array_equal(one, two)
        assert one.any()
        assert two.any()


def test_halves_share_no_patient() -> None:
    _, found, _ = cohort([])
    whole = found.groups(("a",), ("b",))
    halves = [found.half(("a",), ("b",), part, 3) for part in (0, 1)]
    for side in ("own", "other"):
        rows = np.concatenate([getattr(half, side).curves for half in halves]).reshape(30, -1)
        every = getattr(whole, side).curves.reshape(30, -1)
        assert np.array_equal(np.sort(rows, axis=0), np.sort(every, axis=0))
    again, other = (found.half(("a",), ("b",), 0, split).own.curves for split in (3, 4))
    assert np.array_equal(halves[0].own.curves, again), "images that share a split learn the same"
    assert not np.array_equal(halves[0].own.curves, other)
    assert not make_perturbation("class-shift", {"of": "frame"}).halves


def framed(image: GreyImage) -> GreyImage:
    image = image.copy()
    image[:12] = 3
    return image


def test_frames_are_dealt_as_the_other_class_has_them() -> None:
    """Half of class b is framed, none of class a: half of a gains a frame, all framed of b lose it, and the others stay."""
    images, records = {}, []
    for number in range(80):
        label, has = ("b", number // 2 % 2 == 0) if number % 2 else ("a", False)
        images[f"r{number}"] = framed(chest(number)) if has else chest(number)
        records.append(Record(id=f"r{number}", path=Path("n.png"), label=label, patient=f"p{number}", source="s"))
    found = GroupProperties(records, {r.id: () for r in records}, 1, lambda r: images[r.id])
    gained = {"a": 0, "b": 0}
    for record in records:
        after = shifted(images, found, record, of="frame", towards="other-class")
        has = bool((after[:10] == 3).all())
        gained[str(record.label)] += has
        if record.label == "b" and not (images[record.id][:10] == 3).all():
            assert np.array_equal(after, images[record.id])
    assert gained["b"] == 0
    assert 12 <= gained["a"] <= 28, "20 on average"
    placebo = [shifted(images, found, r, of="frame", towards="by-chance") for r in records if r.label == "a"]
    assert all(
        np.array_equal(p, images[r.id]) for p, r in zip(placebo, [r for r in records if r.label == "a"], strict=True)
    )


def test_text_in_a_frame_is_no_other_frame() -> None:
    """One class writes into its frame: the frames are alike, so nothing is dealt."""
    images, regions, records = {}, {}, []
    for number in range(40):
        image, name = chest(7), f"r{number}"
        image[:30], regions[name] = 3, ()
        if number % 2:
            cv2.putText(image, "SEDUTO", (30, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.3, 255, 1)
            regions[name] = (TextRegion(x0=28, y0=9, x1=80, y1=21, text="SEDUTO"),)
        images[name] = image
        records.append(Record(id=name, path=Path("n.png"), label="ab"[number % 2], patient=name, source="s"))
    found = GroupProperties(records, regions, 1, lambda r: images[r.id])
    made = make_perturbation("class-shift", {"of": "frame"})
    for record in records:
        scene = Scene(
            image=images[record.id], record=record, regions=regions[record.id], donors=DonorPool([]), properties=found
        )
        drawn = made.draw(scene, generator_for(2, record.id))
        assert not isinstance(drawn, NotApplicable)
        assert drawn.shift == Stay()


def test_the_distance_of_frames() -> None:
    none = Frame(shares=(0.0, 0.0, 0.0, 0.0), levels=(0,), aspect=1.0)
    bar = Frame(shares=(0.1, 0.0, 0.0, 0.05), levels=(255,), aspect=1.0)
    long = Frame(shares=none.shares, levels=(90,), aspect=np.e)
    # 0.15 of width, as much again for its level; the level of no frame does not count.
    expected = [[0, 0.3, 1], [0.3, 0, 0.15 + 0.15 * 165 / 255 + 1]]
    assert frame_distances([none, bar], [none, bar, long]) == pytest.approx(np.array(expected))


def test_unknown_properties_are_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'grey-curve'"):
        make_perturbation("class-shift", {"of": "gray-curve"})
    with pytest.raises(UnknownNameError, match="by-chance"):
        make_perturbation("class-shift", {"of": "noise", "towards": "shuffled"})
