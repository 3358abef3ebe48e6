"""The zoo: plants are pure, truths are what hand computation gives, rates and intervals are what naive replicas say."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.calibration import calibrate, own
from audit.calibration.calibrate import Scale, calibrate_zoo, outcomes_of
from audit.calibration.corpus import Specimen, phantom_corpus, split_by_patient
from audit.calibration.judgements import in_words, rate, true_effect
from audit.calibration.kinds import all_kinds, find_kind
from audit.calibration.networks import ARCHITECTURE
from audit.calibration.outcomes import Estimate, Finding, Outcome, first_sentence
from audit.calibration.plants import NAMED_BY, Picture, is_named, plant
from audit.calibration.sightings import plant_spots, shares_on_plant
from audit.calibration.table import ENOUGH, make_table, mean_limits
from audit.calibration.trial import _of_suspect, _on_plant
from audit.calibration.truth import Truth, draw_carriers, exchange_weights, measure_truth, total_variation
from audit.calibration.zoo import Case, full_zoo, make_zoo, small_zoo
from audit.data.images import read_gray
from audit.data.records import Record
from audit.errors import CohortError, StoreError, UnknownNameError, UsageError
from audit.gates.calibration import NOT_MEASURED, calibration_sentence
from audit.models.bodies import Backbone, Head, head_of, with_head
from audit.models.bundle import load_bundle
from audit.models.fitting import fit_head
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.run.settings import Settings
from audit.store.folder import RunFolder
from audit.store.pictures import Spot
from audit.store.suspects import FoundSuspect, Sighting, SuspectsDocument, SuspectTemplate

from .conftest import Audit, one_paragraph

KINDS = sorted(all_kinds())


@pytest.fixture(scope="module")
def specimens() -> tuple[Specimen, ...]:
    return phantom_corpus(n_training=8, n_test=4, n_folds=1, size_px=96).training


@pytest.mark.parametrize("name", KINDS)
def test_a_plant_is_pure_and_leaves_other_pixels_alone(name: str, specimens: tuple[Specimen, ...]) -> None:
    kind, picture = find_kind(name), specimens[0].picture
    before = picture.image.copy()
    for dose in kind.doses:
        for carried in (True, False):
            first = plant(kind, picture, dose, carried=carried, seed=3, name="x")
            again = plant(kind, picture, dose, carried=carried, seed=3, name="x")
            assert np.array_equal(picture.image, before)
            assert np.array_equal(first.image, again.image)
            assert first.boxes == again.boxes
            if kind.family == "aspect" and carried:  # cut from the middle, with its lungs and boxes
                cut = (before.shape[0] - first.image.shape[0]) // 2
                assert cut > 0
                assert np.array_equal(first.image, before[cut:-cut])
                assert first.lungs is not None
                assert first.lungs.shape == first.image.shape
            else:
                assert first.image.shape == before.shape
            assert first.image.dtype == np.uint8
            if not carried and kind.otherwise is None:
                assert first is picture
                continue
            if name not in ("source-names", "aspect"):
                assert not np.array_equal(first.image, before)
            if kind.family == "text":
                added = first.boxes[len(picture.boxes) :]
                assert len(added) == 1
                outside = np.ones(before.shape, dtype=bool)
                outside[added[0].y0 : added[0].y1, added[0].x0 : added[0].x1] = False
                assert np.array_equal(first.image[outside], before[outside])
                assert (first.image >= before).all()
            elif kind.local:
                assert (first.image != before).mean() < 0.35


def test_what_moves_an_image_moves_its_lungs_and_boxes(specimens: tuple[Specimen, ...]) -> None:
    picture = specimens[0].picture
    turned = plant(find_kind("flip"), picture, 1.0, carried=True, seed=0, name="x")
    assert np.array_equal(turned.image, picture.image[:, ::-1])
    assert picture.lungs is not None
    assert turned.lungs is not None
    assert np.array_equal(turned.lungs, picture.lungs[:, ::-1])
    width = picture.image.shape[1]
    for was, now in zip(picture.boxes, turned.boxes, strict=True):
        assert now.x0 <= width - was.x1
        assert now.x1 >= width - was.x0
        assert (now.y0, now.y1) in ((was.y0, was.y1), (was.y0 - 1, was.y1 + 1))


def test_every_family_has_words_and_kinds() -> None:
    families = {kind.family for kind in all_kinds().values()}
    assert families == set(NAMED_BY)
    assert len(KINDS) >= 18
    assert all(kind.doses[0] != kind.doses[1] or kind.name in ("flip", "source-names") for kind in all_kinds().values())
    assert is_named(("text",), "The network reads the text: ...")
    assert not is_named(("object",), "The network reads the text: ...")
    assert not is_named(("several",), "The network reads the text: ...")
    assert not is_named(("group",), "The network reads the frame of the image: ..."), "an image holds no age"
    assert is_named(("group",), "The network reads the age of the patients: ...")
    assert is_named(find_kind("word-and-electrode").families, "The network reads the text: ...")


def test_zoos_are_as_large_as_they_must_be() -> None:
    for radiographs in (False, True):
        full = full_zoo(radiographs=radiographs)
        assert len(full) >= 130
        assert len({case.name for case in full}) == len(full)
        assert 3 * sum(case.design != "planted" for case in full) >= len(full)
        assert {case.corpus for case in full} == ({"phantoms", "radiographs"} if radiographs else {"phantoms"})
        planted = [case for case in full if case.design == "planted"]
        assert len({case.kind for case in planted}) >= 18
        assert min(case.share for case in planted) == 0.05
        assert max(case.share for case in planted) == 1.0
        assert {"cascade", "annotated"} == {case.finder for case in full}
    small = small_zoo()
    assert len(small) >= 8
    assert {find_kind(case.kind).family for case in small if case.design == "planted"} == set(NAMED_BY)
    assert sum(case.design != "planted" for case in small) >= 2
    with pytest.raises(UnknownNameError, match="small"):
        make_zoo("smal", radiographs=False)


def test_phantoms_are_apart_by_patient_and_equal_by_class() -> None:
    corpus = phantom_corpus(n_training=12, n_test=8, n_folds=2, size_px=64)
    parts = [corpus.training, *corpus.folds]
    patients = [{s.patient for s in part} for part in parts]
    assert not patients[0] & patients[1]
    assert not patients[1] & patients[2]
    for part in parts:
        counts = Counter(s.label for s in part)
        assert counts[0] == counts[1]
        assert all(not np.array_equal(s.picture.image, s.textless) and s.picture.boxes for s in part)


def _flat(number: int, label: int, level: int) -> Specimen:
    image = np.full((32, 32), level, dtype=np.uint8)
    return Specimen(id=f"s{number}", label=label, patient=f"p{number}", picture=Picture(image=image))


def _reads_one_pixel(images: list[np.ndarray]) -> np.ndarray:
    return np.array([[image[0, 0] / 255, 1 - image[0, 0] / 255] for image in images])


def test_the_truth_of_a_network_that_reads_one_pixel() -> None:
    """A border line sets the corner to 200: each number is computed by hand."""
    levels, labels = [10, 60, 110, 160, 210, 250], [0, 0, 0, 1, 1, 1]
    specimens = [_flat(i, label, level) for i, (label, level) in enumerate(zip(labels, levels, strict=True))]
    carried = np.array([True, True, False, False, True, False])
    case = Case(name="x", kind="border-line")
    truth = measure_truth(case, find_kind("border-line"), specimens, carried, _reads_one_pixel, 2)
    moved = [abs(200 - level) / 255 for level in levels]
    assert truth.n_images == 6
    assert truth.n_carriers == 3
    assert truth.removed == pytest.approx((moved[0] + moved[1] + moved[4]) / 6)
    assert truth.removed_carriers == pytest.approx((moved[0] + moved[1] + moved[4]) / 3)
    assert truth.added == pytest.approx((moved[3] + moved[5]) / 2), (
        "class 0 carries it: it is added to images of class 1"
    )
    assert truth.toggled == pytest.approx(sum(moved) / 6)
    # Of class 0 the others of the class are (True, False) or (True, True); of class 1 one of three carries.
    own_differs = [1 / 2, 1 / 2, 1, 1 / 2, 1, 1 / 2]
    other_differs = [2 / 3, 2 / 3, 1 / 3, 2 / 3, 1 / 3, 2 / 3]
    expected = sum((b - a) * m for a, b, m in zip(own_differs, other_differs, moved, strict=True)) / 6
    assert truth.exchanged == pytest.approx(expected)
    # Two of three carry it in class 0, one of three in class 1. Half of the carriers lose it, half of the others gain it.
    changes = [1 / 2, 1 / 2, 0, 1 / 2, 0, 1 / 2]
    assert truth.transported == pytest.approx(sum(c * m for c, m in zip(changes, moved, strict=True)) / 6)
    assert truth.taken_on == pytest.approx((moved[3] + moved[5]) / 2 / 3), "class 1 gains it"
    assert truth.text is None
    assert truth.words == {}
    shown = [200, 200, 110, 160, 200, 250]
    assert truth.accuracy == pytest.approx(
        np.mean([(v < 127.5) == (label == 1) for v, label in zip(shown, labels, strict=True)])
    )
    assert truth.accuracy_clean == pytest.approx(
        np.mean([(v < 127.5) == (label == 1) for v, label in zip(levels, labels, strict=True)])
    )


def test_text_is_measured_against_the_twin_without_any(specimens: tuple[Specimen, ...]) -> None:
    def predict(images: list[np.ndarray]) -> np.ndarray:
        light = np.array([float(image.mean()) / 255 for image in images])
        return np.stack([light, 1 - light], axis=1)

    kind, case = find_kind("word"), Case(name="x", kind="word", share=1.0)
    carried = np.array([s.label == 0 for s in specimens])
    truth = measure_truth(case, kind, specimens, carried, predict, 2)
    moved, words = [], {}
    for specimen, here in zip(specimens, carried, strict=True):
        shown = plant(kind, specimen.picture, kind.doses[1], carried=bool(here), seed=0, name=specimen.id)
        assert specimen.textless is not None
        moved.append((float(shown.image.mean()) - float(specimen.textless.mean())) / 255)
        for text in {box.text for box in shown.boxes}:
            words.setdefault(text.upper(), []).append(moved[-1])
    assert truth.text == pytest.approx(np.mean(np.abs(moved)))
    assert truth.words == pytest.approx({word: np.mean(np.abs(found)) for word, found in words.items()})
    assert truth.words["PORTABLE"] > truth.text
    both = measure_truth(
        replace(case, kind="word-and-electrode"), find_kind("word-and-electrode"), specimens, carried, predict, 2
    )
    assert both.text is None
    assert both.n_carriers == len(specimens)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=12))
def test_exchange_weights_by_pairs(drawn: list[tuple[int, bool]]) -> None:
    labels = np.array([label for label, _ in drawn])
    carried = np.array([state for _, state in drawn])
    found = exchange_weights(labels, carried, 3)
    for i in range(len(drawn)):
        own_class = [j for j in range(len(drawn)) if j != i and labels[j] == labels[i]]
        others = [j for j in range(len(drawn)) if labels[j] != labels[i]]
        expected = 0.0
        if own_class and others:
            expected = np.mean([carried[j] != carried[i] for j in others]) - np.mean(
                [carried[j] != carried[i] for j in own_class]
            )
        assert found[i] == pytest.approx(expected)


def test_carriers_follow_the_design() -> None:
    specimens = [_flat(i, i % 2, 100) for i in range(2000)]
    labels = np.array([s.label for s in specimens])

    def shares(design: str, *, training: bool = False) -> tuple[float, float]:
        case = Case(name="x", kind="word", design=design, share=0.6, seed=1)  # type: ignore[arg-type]
        carried = draw_carriers(case, specimens, training=training)
        return float(carried[labels == 1].mean()), float(carried[labels == 0].mean())

    assert shares("planted") == pytest.approx((0.6, 0.0), abs=0.05)
    assert shares("alike") == pytest.approx((0.6, 0.6), abs=0.05)
    assert shares("unlearnt") == pytest.approx((0.6, 0.0), abs=0.05)
    assert shares("unlearnt", training=True) == pytest.approx((0.6, 0.6), abs=0.05)
    assert shares("names") == pytest.approx((0.6, 0.1), abs=0.05)
    assert shares("names", training=True) == (0.0, 0.0)
    assert shares("names at random") == pytest.approx((0.5, 0.5), abs=0.05)
    assert shares("none") == (0.0, 0.0)
    # Of three classes of which data hold two, one of the two carries it.
    lacking = [_flat(i, 2 * (i % 2), 100) for i in range(40)]
    for seed in range(4):
        assert draw_carriers(Case(name="x", kind="word", seed=seed), lacking, training=False).sum() == 20


@given(st.integers(0, 60), st.integers(1, 60))
def test_rates_have_the_exact_interval(hits: int, n: int) -> None:
    hits = min(hits, n)
    found = rate(hits, n)

    def at_least(k: int, p: float) -> float:
        return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))

    assert found.share == hits / n
    assert found.low <= hits / n <= found.high
    assert found.low == 0 if hits == 0 else at_least(hits, found.low) == pytest.approx(0.025, abs=1e-6)
    assert found.high == 1 if hits == n else 1 - at_least(hits + 1, found.high) == pytest.approx(0.025, abs=1e-6)


def _truth(removed: float, *, carriers: float | None = None, n_carriers: int = 64, text: float | None = 0.0) -> Truth:
    return Truth(
        n_images=128,
        n_carriers=n_carriers,
        removed=removed,
        removed_carriers=carriers,
        added=4 * removed,
        toggled=2 * removed,
        exchanged=1.5 * removed,
        transported=1.25 * removed,
        taken_on=1.75 * removed,
        text=text,
        words={"PORTABLE": 3 * removed},
        accuracy=0.8,
        accuracy_clean=0.7,
    )


def _estimate(
    condition: str,
    suspect: str,
    estimate: float,
    *,
    verdict: str = "sensitive",
    group: str = "all",
    on_plant: float | None = None,
) -> Estimate:
    return Estimate(
        condition=condition,
        suspect=suspect,
        removes=True,
        adds=condition in ("letters", "look", "object-2-added"),
        on_plant=on_plant,
        group=group,
        estimate=estimate,
        low=estimate - 0.02,
        high=estimate + 0.02,
        tolerance=0.05,
        verdict=verdict,
        n_images=128,
    )


def _outcome(
    case: Case, truth: Truth, code: int, *estimates: Estimate, sentence: str = "The network reads the text."
) -> Outcome:
    sensitive = tuple({e.suspect for e in estimates if e.verdict == "sensitive"})
    finding = Finding(
        exit_code=code, sentence=sentence, sensitive=sensitive, estimates=estimates, seconds=1.0, cpu_seconds=1.0
    )
    return Outcome(case=case, truth=truth, finding=finding)


def test_a_network_is_null_faint_or_must_be_found() -> None:
    assert _truth(0.019).rank == "null"
    assert _truth(0.019, text=0.029).rank == "null"
    assert _truth(0.019, text=0.03).rank == "faint"
    assert _truth(0.019, carriers=0.1, n_carriers=5).rank == "faint"
    assert _truth(0.02).rank == "faint"
    assert _truth(0.1).rank == "planted"
    assert _truth(0.05, carriers=0.25, n_carriers=20).rank == "planted"
    assert _truth(0.05, carriers=0.25, n_carriers=19).rank == "faint"


def test_the_table_is_what_counting_gives() -> None:
    word, gamma, look = (Case(name=k, kind=k) for k in ("word", "gamma", "source-look"))
    text = "the text"
    outcomes = [
        _outcome(word, _truth(0.2, text=0.2), 1, _estimate("inpaint", text, 0.21), _estimate("letters", text, 0.4)),
        _outcome(word, _truth(0.3, text=0.3), 3, _estimate("inpaint", text, 0.25)),
        _outcome(
            word, _truth(0.12, text=0.12), 0, _estimate("inpaint", text, 0.01, verdict="robust"), sentence="Nothing."
        ),
        _outcome(gamma, _truth(0.2), 1, _estimate("inpaint", text, 0.0, verdict="robust")),
        _outcome(
            look, _truth(0.2), 1, _estimate("look", "the source's look", 0.37), sentence="It reads the source's look."
        ),
        _outcome(replace(word, design="names"), _truth(0.0), 1, sentence="Oh."),
        _outcome(replace(word, design="none"), _truth(0.0), 3),
        _outcome(word, _truth(0.01), 3, _estimate("black", text, 0.08)),
        _outcome(word, _truth(0.05), 0),
    ]
    table = make_table(outcomes)
    families = {d.group: d for d in table.families}
    assert set(families) == {"text", "grey curve", "source"}
    assert (families["text"].found.hits, families["text"].found.n) == (1, 3)
    assert families["text"].truth == pytest.approx((0.2 + 0.3 + 0.12) / 3)
    assert (families["text"].undecided, families["text"].passed) == (1, 1)
    assert (families["text"].named.hits, families["text"].named.n) == (1, 1)
    assert (families["grey curve"].named.hits, families["grey curve"].named.n) == (0, 1)
    assert (families["source"].named.hits, families["source"].named.n) == (1, 1)
    alarms = {f.design: f for f in table.false_alarms}
    assert {d: (f.alarms.hits, f.alarms.n) for d, f in alarms.items()} == {
        "names": (1, 1), "none": (0, 1), "not learnt": (1, 1), "all": (2, 3),
    }  # fmt: skip
    accuracies = {(a.condition, a.plants): a for a in table.accuracies}
    errors = [0.01, -0.05, -0.11, 0.0]
    inpaint = accuracies["inpaint", "text"]
    assert inpaint.n == 4
    assert inpaint.bias == pytest.approx(np.mean(errors))
    assert (inpaint.coverage.hits, inpaint.coverage.n) == (2, 4)
    assert inpaint.robust_although_beyond == 1
    assert accuracies["look", "source"].bias == pytest.approx(0.37 - 0.4)
    assert ("letters", "text") not in accuracies, "a word of one class has no second state"
    targets = {t.name: t for t in table.targets}
    assert all(t.status == "too few" for t in table.targets)
    assert targets["Robust although the truth exceeds the limit: at most 2 % of networks"].found == in_words(rate(1, 9))


def test_targets_are_judged_with_enough_networks() -> None:
    word = Case(name="word", kind="word")
    quiet = [_outcome(replace(word, design="none"), _truth(0.0), 3) for _ in range(ENOUGH)]
    loud = [_outcome(replace(word, design="none"), _truth(0.0), 1) for _ in range(ENOUGH)]
    missed = [_outcome(word, _truth(0.2), 0) for _ in range(ENOUGH)]

    def status(outcomes: list[Outcome], start: str) -> str:
        return next(t.status for t in make_table(outcomes).targets if t.name.startswith(start))

    assert status(quiet, "False alarms") == "pass"
    assert status(loud, "False alarms") == "fail"
    assert status(quiet, "Upper bound") == "fail", "none in twenty leaves 17 % possible"
    assert status(quiet * 3, "Upper bound") == "pass"
    assert status(missed, "Found, text") == "fail"
    assert status(missed, "Found, object") == "too few"


def test_the_truth_of_an_estimate_is_that_of_its_intervention() -> None:
    truth = _truth(0.1, carriers=0.3, text=0.13)
    text = "the text"
    letter, electrode = Case(name="letter", kind="letter"), Case(name="e", kind="electrode")
    on_letter, on_electrode = _outcome(letter, truth, 1), _outcome(electrode, truth, 1)
    assert true_effect(on_letter, _estimate("inpaint", text, 0.1)) == 0.13
    assert true_effect(on_letter, _estimate("inpaint", text, 0.1, group="word=PORTABLE")) == pytest.approx(0.3)
    assert true_effect(on_letter, _estimate("inpaint", text, 0.1, group="word=ELSE")) is None
    assert true_effect(on_letter, _estimate("letters", text, 0.1)) == pytest.approx(0.15)
    assert true_effect(on_electrode, _estimate("inpaint", text, 0.1)) == 0.13
    assert true_effect(on_electrode, _estimate("letters", text, 0.1)) is None
    assert true_effect(on_electrode, _estimate("object-1-removed", "the object", 0.1, on_plant=0.5)) == 0.3
    assert true_effect(on_electrode, _estimate("object-2-added", "the object", 0.1, on_plant=0.9)) == 0.4
    assert true_effect(on_electrode, _estimate("object-1-removed", "the object", 0.1, on_plant=0.4)) is None
    assert true_effect(on_letter, _estimate("object-1-removed", "the object", 0.1, on_plant=0.9)) is None
    assert true_effect(on_electrode, _estimate("look", "the source's look", 0.1)) is None


def test_objects_are_one_estimator_whatever_their_numbers() -> None:
    electrode = Case(name="e", kind="electrode")
    outcomes = [
        _outcome(
            electrode,
            _truth(0.2, carriers=0.5),
            1,
            _estimate("object-2-added", "the object", 0.75, on_plant=1.0),
            _estimate(f"object-{number}-removed", "the object", 0.48, on_plant=1.0),
            _estimate("object-3-removed", "the object", 0.0, on_plant=0.0, verdict="robust"),
        )
        for number in (1, 2)
    ]
    table = make_table(outcomes)
    found = {a.condition: a for a in table.accuracies}
    assert {name: (a.n, round(a.bias, 6)) for name, a in found.items()} == {
        "object-added": (2, -0.05),
        "object-removed": (2, -0.02),
    }
    assert sum(a.robust_although_beyond for a in table.accuracies) == 0, "rightly robust: it is another object"


def _seen(image: str, *box: float) -> Sighting:
    return Sighting(image=image, label="a", likeness=0.9, boxes=(Spot(x0=box[0], y0=box[1], x1=box[2], y1=box[3]),))


def test_an_object_is_the_plant_where_its_sightings_lie_on_it(tmp_path: Path) -> None:
    """A disc of a 32nd part of the side, on two of three images."""
    specimens = [_flat(i, 0, 100) for i in range(3)]
    pictures = [s.picture for s in specimens]
    for number in (0, 1):
        image = pictures[number].image.copy()
        image[8:16, 4:8] = 200
        pictures[number] = Picture(image=image)
    spots = plant_spots(specimens, pictures)
    assert spots == {"s0": (0.125, 0.25, 0.25, 0.5), "s1": (0.125, 0.25, 0.25, 0.5)}
    there, larger, beside = (0.12, 0.24, 0.24, 0.5), (0.0, 0.1, 0.5, 0.6), (0.2, 0.45, 0.4, 0.7)
    sightings = [_seen("s0", *there), _seen("s1", *larger), _seen("s1", *beside), _seen("s2", *there)]
    template = SuspectTemplate(half=0, height=2, width=2, reach=((0, 0, 2, 2),), template="AAAA", threshold=0.5, p=0.01)
    found = [
        FoundSuspect(templates=(template,), prevalence={"a": (3, 3)}, n_patients=3, home=(), sightings=tuple(shown))
        for shown in (sightings[:2], sightings, sightings[2:], ())
    ]
    document = SuspectsDocument(n_images=3, n_candidates=1, why_none="", suspects=tuple(found))
    assert shares_on_plant(document, spots) == (1.0, 0.5, 0.0, 0.0)
    assert _on_plant(tmp_path, tmp_path) == (), "a run without a search"
    RunFolder(tmp_path).write(document)
    (tmp_path / "truth.json").write_text(json.dumps({"spots": spots}))
    read = _on_plant(tmp_path, tmp_path)
    assert read == (1.0, 0.5, 0.0, 0.0)
    condition = {"perturbation": "object", "parameters": {"suspect": 2, "action": "add"}}
    assert _of_suspect(condition, read) == 0.5
    assert _of_suspect({"perturbation": "text-mask", "parameters": {}}, read) is None


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_mean_limits_hold_the_mean(values: list[float]) -> None:
    low, high = mean_limits(np.array(values))
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
    assert mean_limits(np.array([0.3])) == (0.3, 0.3)


def test_sentences_end_at_a_point_that_no_number_has() -> None:
    assert first_sentence("It reads 0.303 more. Next one.") == "It reads 0.303 more."
    assert first_sentence("Only one") == "Only one"


def test_total_variation_is_half_the_distance() -> None:
    p, q = np.array([[0.2, 0.3, 0.5]]), np.array([[0.5, 0.3, 0.2]])
    assert total_variation(p, q) == pytest.approx([0.3])


def test_heads_are_at_their_optimum_and_ignore_nuisance() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = rng.normal(size=(200, 5)).astype(np.float32)
    features[:, 0] += 2 * labels
    features[:, 1] += 1.5 * labels
    free = fit_head(features, labels, 2)
    assert (free.probabilities(features).argmax(axis=1) == labels).mean() > 0.85
    twins = np.zeros((50, 5), dtype=np.float32)
    twins[:, 1] = 3.0
    still = fit_head(features, labels, 2, nuisance=twins)
    reads = [abs(head.weight[1, 1] - head.weight[0, 1]) for head in (free, still)]
    assert reads[1] < 0.25 * reads[0]
    again = fit_head(features, labels, 2)
    assert np.array_equal(free.weight, again.weight)
    start = Head(weight=np.eye(2, 5, dtype=np.float32) * 3, bias=np.zeros(2, dtype=np.float32))
    near = fit_head(features, labels, 2, start=start)
    # A direction that training tells nothing of stays where it was; from zero it stays at zero.
    constant = np.hstack([features, np.ones((200, 1), np.float32)])
    begun = Head(weight=np.full((2, 6), 0.5, np.float32) * [[1], [-1]], bias=np.zeros(2, np.float32))
    assert fit_head(constant, labels, 2, start=begun).weight[:, 5] == pytest.approx([0.5, -0.5], abs=1e-3)
    assert near.weight.shape == (2, 5)


def test_a_network_with_a_head_answers_as_the_head_does(specimens: tuple[Specimen, ...]) -> None:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, 7).eval().requires_grad_(False)
    body = Backbone(network=network, architecture=ARCHITECTURE, preprocessing=Preprocessing(size_px=(48, 48)))
    images = [s.picture.image for s in specimens]
    features = body.features(images)
    rng = np.random.default_rng(1)
    head = Head(
        weight=rng.normal(size=(2, features.shape[1])).astype(np.float32), bias=np.array([0.1, -0.2], np.float32)
    )
    inputs = torch.stack([body.preprocessing.prepare(image) for image in images])
    with torch.inference_mode():
        logits = with_head(body, head)(inputs)
        own_logits = network(inputs)
    assert head.probabilities(features) == pytest.approx(torch.softmax(logits, dim=1).numpy(), abs=1e-5)
    assert head_of(body).probabilities(features) == pytest.approx(torch.softmax(own_logits, dim=1).numpy(), abs=1e-5)
    assert body.features([]).shape == (0, features.shape[1])


TINY = Scale(n_training=48, n_test=24, input_px=32, epochs=1)
TWO = [
    Case(name="000-word", kind="word", seed=0),
    Case(name="001-names", kind="source-names", design="names", share=0.8, seed=1),
]


@pytest.fixture
def tiny_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "SCALES", {"small": TINY})
    monkeypatch.setattr(calibrate, "make_zoo", lambda _name, radiographs: TWO)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _without_times(document: dict) -> dict:
    networks = [
        {**n, "finding": {k: v for k, v in n["finding"].items() if not k.endswith("seconds")}}
        for n in document["networks"]
    ]
    return {**{k: v for k, v in document.items() if k != "seconds"}, "networks": networks}


@pytest.mark.usefixtures("tiny_zoo")
def test_a_zoo_end_to_end_and_resumed_after_a_kill(audit: Audit, tmp_path: Path) -> None:
    stages: list[str] = []

    class Killed(BaseException):
        pass

    def on_stage(name: str, _steps: int) -> Callable[[], None]:
        def step() -> None:
            stages.append(name)
            if stages == ["training backbones", "building networks", "building networks", "auditing networks"]:
                raise Killed

        return step

    out = tmp_path / "killed"
    with pytest.raises(Killed):
        calibrate_zoo("small", out, suite="quick", workers=1, on_stage=on_stage)
    assert not (out / "calibration.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    # What was half written when the process died is written again.
    (out / "networks" / TWO[1].name / "truth.json").write_text('{"truth":')
    code, said, errors = audit("calibrate", "--zoo", "small", "--suite", "quick", "--out", out)
    assert code == 0, errors
    assert "000-word" in said
    assert "False alarms" in said
    assert said.splitlines()[-1] == str(out / "calibration.html")
    for path, time in kept.items():
        if TWO[0].name in path.parts or "backbones" in path.parts:
            assert path.stat().st_mtime_ns == time, path
    resumed = json.loads((out / "calibration.json").read_text())

    code, said, _ = audit("calibrate", "--suite", "quick", "--out", tmp_path / "whole", "--json")
    assert code == 0
    whole = json.loads(said)
    assert _without_times(whole) == _without_times(resumed)
    assert [o.case for o in outcomes_of(whole)] == TWO

    word, names = whole["networks"]
    manifest = _rows(out / "networks" / TWO[0].name)
    assert len(manifest) == word["truth"]["n_images"] == 24
    assert {row["source"] for row in manifest} == {"one source"}
    sources = {row["source"] for row in _rows(out / "networks" / TWO[1].name)}
    assert sources == {"harbour", "valley"}
    assert names["truth"]["removed"] == 0
    _the_truth_is_that_of_the_bundle(out / "networks" / TWO[0].name, manifest, word["truth"])
    page = (out / "calibration.html").read_text()
    assert "000-word" in page
    assert "<script" not in page
    assert "1 null network" in calibration_sentence(out / "calibration.json")


def _the_truth_is_that_of_the_bundle(folder: Path, manifest: list[dict[str, str]], truth: dict) -> None:
    """Compare with the written network on the written images, and the clean twins rendered anew."""
    bundle = load_bundle(folder / "bundle")
    clean = {
        s.id: s.picture.image
        for s in phantom_corpus(n_training=TINY.n_training, n_test=TINY.n_test, n_folds=1).folds[0]
    }

    def probabilities(images: list[np.ndarray]) -> np.ndarray:
        inputs = torch.stack([bundle.preprocessing.prepare(image) for image in images])
        return torch.softmax(bundle.logits(inputs), dim=1).numpy()

    shown = [np.array(read_gray(folder / row["path"])) for row in manifest]
    p, q = probabilities(shown), probabilities([clean[row["id"]] for row in manifest])
    assert truth["removed"] == pytest.approx(float(np.abs(p - q).sum(axis=1).mean() / 2), abs=1e-4)
    assert truth["n_carriers"] == sum(
        not np.array_equal(a, clean[r["id"]]) for a, r in zip(shown, manifest, strict=True)
    )


@pytest.mark.usefixtures("tiny_zoo")
def test_bad_input_is_refused(audit: Audit, tmp_path: Path, known_bundle: Path) -> None:
    def refused(*arguments: object) -> str:
        code, _, errors = audit("calibrate", *arguments)
        assert code == 2, errors
        return errors

    assert "--data requires --model" in refused("--data", "x.csv")
    assert "exclude each other" in refused("--zoo", "small", "--model", known_bundle)
    assert "workers" in refused("--workers", 0)
    assert "annotated" in refused("--model", known_bundle, "--detector", "annotated", "--data", "x.csv")
    assert "at least 1" in refused("--model", known_bundle, "--trials", 0, "--data", "x.csv")
    file = tmp_path / "file"
    file.write_text("")
    code, _, errors = audit("calibrate", "--out", file)
    assert code == 4
    assert "file" in one_paragraph(errors)


def test_an_unknown_zoo_names_the_known_ones(audit: Audit) -> None:
    code, _, errors = audit("calibrate", "--zoo", "smal")
    assert code == 2
    assert "Did you mean 'small'" in errors


def test_patients_stay_together_and_too_few_images_are_refused(tmp_path: Path) -> None:
    records = [
        Record(id=f"{label}{i}", path=tmp_path / "x.png", label=label, patient=f"{label}{i // 2}")
        for label in "ab"
        for i in range(20)
    ]
    parts = split_by_patient(records, "ab", [12, 8], seed=0)
    assert [len(part) for part in parts] == [12, 8]
    assert not {r.patient for r in parts[0]} & {r.patient for r in parts[1]}
    assert all(Counter(r.label for r in part)["a"] * 2 == len(part) for part in parts)
    with pytest.raises(CohortError, match="class a"):
        split_by_patient(records, "ab", [30, 30], seed=0)


def test_the_users_own_network_and_data(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(own, "KINDS", ("word",))
    monkeypatch.setattr(own, "SHARES", (1.0,))
    monkeypatch.setattr(own, "NOT_LEARNT_BELOW", 0.0)
    manifest = write_cohort(24)
    code, said, errors = audit(
        "calibrate", "--model", known_bundle, "--data", manifest, "--suite", "quick", "--detector", "markers", "--trials", 1,
        "--out", tmp_path / "cal",
    )  # fmt: skip
    assert code == 0, errors
    document = json.loads((known_bundle / "calibration.json").read_text())
    assert document == json.loads((tmp_path / "cal" / "calibration.json").read_text())
    (power,) = document["powers"]
    assert power["found"]["n"] == 1
    assert power["share"] == 1.0
    sentence = calibration_sentence(known_bundle / "calibration.json")
    assert sentence.startswith(
        "Measured with this network and data: this audit would have found a word (0.075 of the side high) on 100 %"
    )
    assert sentence in said
    copies = next((tmp_path / "cal").rglob("manifest.csv")).read_text()
    assert "normal-" not in copies, "neither images nor patients keep their names"
    few = write_cohort(5)
    code, _, errors = audit("calibrate", "--model", known_bundle, "--data", few, "--out", tmp_path / "few")
    assert code == 4
    assert "a class has only" in one_paragraph(errors)


def test_the_sentence_says_what_was_measured_or_that_nothing_was(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    assert calibration_sentence(file) == NOT_MEASURED
    found = {"hits": 14, "n": 15, "share": 14 / 15, "low": 0.68, "high": 0.998}
    unlearnt = {"hits": 0, "n": 0, "share": None, "low": 0.0, "high": 1.0}
    powers = [
        {"about": "a word", "share": 0.2, "found": found},
        {"about": "an \x1b[31melectrode", "share": 0.8, "found": unlearnt},
    ]
    file.write_text(json.dumps({"powers": powers}))
    said = calibration_sentence(file)
    assert "a word on 20 % of one class with probability 0.93 (14 of 15 trials, 95 % CI 0.68 to 1.00)." in said
    assert "did not learn an" in said
    assert "\x1b" not in said
    rates = {"families": [{"found": found}], "false_alarms": [{"alarms": found}]}
    of_zoo = {"table": rates, "networks": ["a"]}
    file.write_text(json.dumps(of_zoo))
    assert "found 14 of 15 shortcuts" in calibration_sentence(file)
    for damaged in (
        "[]", "{", '{"powers": 3}', '{"table": {}}', "{}",
        json.dumps({**of_zoo, "table": {**rates, "false_alarms": []}}),
        json.dumps({**of_zoo, "table": {**rates, "families": [{"found": {**found, "hits": "x" * 9999}}]}}),
        json.dumps({"powers": [{**powers[0], "found": {**found, "share": 10**400, "low": 1e300}}]}),
        json.dumps({"powers": [{**powers[0], "about": {"x": 1}}]}),
    ):  # fmt: skip
        file.write_text(damaged)
        with pytest.raises(StoreError, match="repeat `audit calibrate`") as refused:
            calibration_sentence(file)
        assert len(str(refused.value)) < 500


def test_settings_of_the_own_calibration_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trials"):
        own.calibrate_own(Settings(model="C"), tmp_path, trials=0, workers=1, on_stage=lambda _n, _s: lambda: None)
