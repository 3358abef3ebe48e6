"""Objects that nobody named: found where they recur, shown where the network reads them, dismissed where it does not.

True values, written down before the search was: on phantoms whose COVID-19 images carry an electrode at a share of 60 %, the reader's
probability of COVID-19 is a function of the electrode alone, so removing it moves the probabilities by nearly 1 and adding it likewise;
the null network reads the upper half of the image alone, the electrode lies below, so every effect of the object is exactly 0.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from torch import nn

from audit.data.conditions import Condition
from audit.data.plan import PlannedObjects
from audit.data.records import Record, TextRegion
from audit.discovery.candidates import split_by_class
from audit.discovery.fitting import Fitted, Half, Scored, _extent
from audit.discovery.parts import pairs
from audit.discovery.search import _without, chance_limit, proposal_samples, search_objects
from audit.errors import UnknownNameError, UsageError
from audit.gates.scope import find_scope, scope_sentence
from audit.gates.suspects import suspect_outcomes
from audit.models import networks
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.perturbations import NotApplicable, Scene, make_perturbation
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.objects import elsewhere
from audit.perturbations.places import cover
from audit.perturbations.plausible import MOST_OBJECT_LUNG_SHARE, GreyRange
from audit.perturbations.suspects import Suspects, at_search_scale, best_place, decode_template, half_of
from audit.prediction.pool import map_side_by_side
from audit.prediction.table import read_finished
from audit.prediction.variants import Variant, make_variant
from audit.randomness import generator_for
from audit.run.settings import Settings
from audit.statistics.catalogue import MOVEMENT
from audit.store.pictures import Spot
from audit.store.serialise import plain, to_json
from audit.store.suspects import LONGEST_TEMPLATE_PX, FoundSuspect, Sighting, SuspectTemplate
from audit.store.verdict import Verdict
from audit.suites.reader import load_suite
from audit.training.phantom.artefacts import CENTRE, RADIUS, stick_electrode
from audit.training.phantom.cohort import image_specs, make_phantoms
from audit.training.phantom.image import render
from audit.viewing.cases import read_case
from audit.viewing.pictures import CasePictures

from .conftest import CLASSES, Audit
from .documents import planned
from .test_emission import fill, product
from .test_power import EFFECT

SIDE = 160
MORE = {"task": "classes", "severity": 0.5}


class ElectrodeReader(nn.Module):
    """Takes the largest correlation with an electrode for the sign of COVID-19: 14 to 20 with one, 4 to 10 without."""

    def __init__(self, k: int) -> None:
        super().__init__()
        bare = np.full((SIDE, SIDE), 60, np.uint8)
        drawn = stick_electrode(bare, np.random.default_rng(0)).astype(np.float32) - 60
        reach = round(1.4 * RADIUS * SIDE)
        y, x = np.unravel_index(int(cv2.GaussianBlur(drawn, (0, 0), RADIUS * SIDE).argmax()), drawn.shape)
        kernel = torch.from_numpy(drawn[y - reach : y + reach + 1, x - reach : x + reach + 1].copy())
        self.kernel = nn.Parameter(((kernel - kernel.mean()) / (kernel - kernel.mean()).norm())[None, None])
        self.classifier = nn.Linear(1, k)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[0.0], [0.0], [2.0]]))
            self.classifier.bias.copy_(torch.tensor([0.0, 0.0, -2.0 * 12.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = nn.functional.conv2d(x[:, :1], self.kernel).amax((2, 3))
        return self.classifier(found)


class UpperHalf(nn.Module):
    """Reads how bright the upper half is: no electrode lies there."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(1, k)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[-4.0], [0.0], [4.0]]))
            self.classifier.bias.copy_(torch.tensor([-3.2, 0.0, 2.4]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(x[:, :1, : x.shape[2] // 2].mean((2, 3)))


N_IMAGES = 150
"""Some hundred patients: ten of either half carry an electrode where 60 % of COVID-19 do, and six of them propose it."""


def scans(share: float, n: int = N_IMAGES, seed: int = 6) -> tuple[list[np.ndarray], list[str], list[bool]]:
    """Images of one patient each, text taken out, with their classes and whether an electrode is there."""
    specs = {s.patient: s for s in image_specs(n_images=n, seed=seed, electrode_share=share, **MORE)}
    images = []
    for spec in specs.values():
        scan = render(spec, SIDE)
        regions = [TextRegion(x0=b.x0, y0=b.y0, x1=b.x1, y1=b.y1) for b in scan.boxes]
        images.append(at_search_scale(scan.image, regions))
    return images, [s.label for s in specs.values()], [s.electrode for s in specs.values()]


def record_of(index: int, label: str = "covid") -> Record:
    return Record(id=str(index), path=Path("x.png"), label=label, patient=f"p{index}")


def halves_of(images: list[np.ndarray], labels: list[str], seed: int = 0) -> tuple[Half, Half]:
    """Deal images to the two halves, as a run does; an image is called by its number."""
    chosen: tuple[list[int], list[int]] = ([], [])
    for i in range(len(images)):
        chosen[half_of(record_of(i), seed)].append(i)
    first, second = (
        Half(
            images=tuple(images[i] for i in half),
            labels=tuple(labels[i] for i in half),
            names=tuple(str(i) for i in half),
        )
        for half in chosen
    )
    return first, second


Proposed = tuple[list[np.ndarray], list[str], list[bool], tuple[FoundSuspect, ...]]


@pytest.fixture(scope="module")
def proposed() -> Proposed:
    images, labels, there = scans(0.6)
    return images, labels, there, search_objects(*halves_of(images, labels), most=4).suspects


def test_an_electrode_is_found_on_the_images_that_carry_it(proposed: Proposed) -> None:
    images, _, there, found = proposed
    first = found[0]
    assert first.home == ("covid",)
    assert first.prevalence["normal"][0] == first.prevalence["pneumonia"][0] == 0
    assert [t.half for t in first.templates] == [0, 1], "both halves propose it, each for the other to test"
    for template in first.templates:
        scores = [best_place(image, decode_template(template))[0] >= template.threshold for image in images]
        assert np.mean(np.array(scores) == np.array(there)) >= 0.95
    for sighting in first.sightings:
        assert there[int(sighting.image)]
        assert any(b.x0 < CENTRE[0] < b.x1 and b.y0 < CENTRE[1] < b.y1 for b in sighting.boxes)


@pytest.mark.parametrize(("lacking", "of_class"), [(9, True), (6, True), (5, False), (0, False)])
def test_images_without_an_object_are_of_its_class_where_there_are_enough(lacking: int, of_class: bool) -> None:
    """Twenty images of a class, the last of which do not show it, and ten of another; scores fall from image to image."""
    scores = np.r_[np.linspace(0.9, 0.8, 20 - lacking), np.linspace(0.4, 0.3, lacking), np.linspace(0.6, 0.5, 10)]
    half = Half(
        images=(np.zeros((8, 8), np.uint8),) * 30,
        labels=("a",) * 20 + ("b",) * 10,
        names=tuple(f"{i:02d}" for i in range(30)),
    )
    scored = Scored(scores=scores, places=((0, 0),) * 30)
    part = Fitted(
        template=half.images[0], reach=((0, 0, 8, 8),), label="a", threshold=0.7, told=0.5, separation=3.0, own=scored, other=scored,
        p=0.001,
    )  # fmt: skip
    found = _without(part, half, 12)
    members = range(20 - lacking, 20) if of_class else range(20, 30)
    assert set(found) <= {f"{i:02d}" for i in members}, (
        "what was missed of a class that always shows it is not without it"
    )
    assert found == [f"{i:02d}" for i in reversed(members)][: (len(members) + 1) // 2], (
        "nor is what was missed otherwise"
    )
    assert _without(part, half, 2) == found[:2]


def test_without_an_object_nothing_tells_the_classes() -> None:
    images, labels, _ = scans(0.0)
    assert search_objects(*halves_of(images, labels), most=4).suspects == ()


def test_an_object_that_both_classes_show_alike_is_not_proposed(proposed: Proposed) -> None:
    images, _, there, _ = proposed
    order = np.random.default_rng(5).permutation(len(images)).tolist()
    labels = ["covid" if place % 2 else "normal" for place in range(len(images))]
    shuffled = [images[i] for i in order]
    for suspect in search_objects(*halves_of(shuffled, labels), most=4).suspects:
        shown = np.mean([there[order[int(s.image)]] for s in suspect.sightings])
        assert shown < 0.9, "the electrode tells nothing of these labels"


def test_several_processes_propose_the_same(proposed: Proposed) -> None:
    images, labels, _, alone = proposed
    together = search_objects(
        *halves_of(images, labels), most=4, spread=lambda task, job, n: map_side_by_side(task, job, n, workers=2)
    )
    assert to_json(plain(alone)) == to_json(plain(together.suspects))


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.integers(1, 8), st.booleans())
def test_the_threshold_is_one_of_the_best(seed: int, n_own: int, n_others: int, least: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.5, 0.2, n_own + n_others)
    scores[:n_own] += rng.uniform(0, 0.5)
    scores = np.round(scores, 1) if coarse else scores
    own = np.arange(len(scores)) < n_own
    told, threshold = split_by_class(scores, own, ~own, least)
    values = np.unique(scores)
    middles = (values[1:] + values[:-1]) / 2
    every = {
        float(t): (scores[own] >= t).mean() - (scores[~own] >= t).mean()
        for t in middles
        if (scores >= t).sum() >= least
    }
    if not every:
        assert (told, threshold) == (0.0, float("inf"))
        return
    best = max(every.values())
    assert every[min(every, key=lambda t: abs(t - threshold))] == pytest.approx(told)
    assert told >= best - np.sqrt(max(0.0, best * (1 - best)) / n_own) - 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 20))
def test_chance_keeps_a_template_as_holm_says(probabilities: list[float], unmade: int) -> None:
    """A test is kept if each of those that are stronger passes its step, as adjusted probabilities say it."""
    every = sorted([*probabilities, *[1.0] * unmade])
    adjusted = np.maximum.accumulate([(len(every) - rank) * p for rank, p in enumerate(every)])
    kept = [p for p, a in zip(every, adjusted, strict=True) if a <= 0.1]
    clear = not any(abs(a - 0.1) < 1e-9 for a in adjusted)
    if clear:
        assert chance_limit(probabilities, len(every)) == max(kept, default=-1.0)


def test_the_halves_are_of_patients_and_one_image_of_each_is_searched(tmp_path: Path) -> None:
    records = [
        Record(id=f"r{i}", path=tmp_path / "x.png", label=CLASSES[i % 3], patient=f"p{i // 2}") for i in range(1200)
    ]
    samples = proposal_samples(records, seed=4)
    for half, sample in enumerate(samples):
        assert len({r.patient for r in sample}) == len(sample) == 200
        assert all(half_of(r, 4) == half for r in sample)
    assert 0.4 < np.mean([half_of(r, 4) for r in records]) < 0.6
    assert proposal_samples(list(reversed(records)), seed=5) != samples


def patient_of(half: int) -> str:
    """Name a patient of a half."""
    return next(f"t{i}" for i in range(99) if half_of(replace(record_of(0), patient=f"t{i}"), 0) == half)


def scene_of(image: np.ndarray, label: str, suspects: Suspects | None, donors: DonorPool, half: int) -> Scene:
    """A scene of a patient of a half."""
    record = Record(id="target", path=Path("x.png"), label=label, patient=patient_of(half))
    return Scene(image=image, record=record, regions=(), donors=donors, suspects=suspects)


@pytest.mark.parametrize("half", [0, 1])
def test_removing_leaves_no_electrode_and_adding_brings_one(proposed: Proposed, half: int) -> None:
    images, _, there, found = proposed
    suspect = found[0]
    records = {name: record_of(int(name)) for name in (*(s.image for s in suspect.sightings), *suspect.without)}
    pool = DonorPool((Donor(record=r, regions=()) for r in records.values()), read=lambda r: images[int(r.id)])
    suspects = Suspects(found=found, donors=records, seed=0)
    with_it, without = images[there.index(True)], images[there.index(False)]
    template = next(t for t in suspect.templates if t.half != half)

    def edited(
        image: np.ndarray, label: str, action: str, who: Suspects | None = suspects
    ) -> np.ndarray | NotApplicable:
        made = make_perturbation("object", {"suspect": 1, "action": action})
        drawn = made.draw(scene_of(image, label, who, pool, half), generator_for(1, action))
        if isinstance(drawn, NotApplicable):
            return drawn
        if drawn.donor is not None:
            assert half_of(drawn.donor, 0) != half, "what is added comes from a patient of the other half"
            assert there[int(drawn.donor.id)] == (action == "add")
        return made.apply(image, drawn)

    shows = {
        action: best_place(edited(image, label, action), decode_template(template))[0] >= template.threshold  # type: ignore[arg-type]
        for action, image, label in (
            ("remove", with_it, "covid"),
            ("remove-elsewhere", with_it, "covid"),
            ("add", without, "normal"),
            ("add-patch", without, "normal"),
        )
    }
    assert shows == {"remove": False, "remove-elsewhere": True, "add": True, "add-patch": False}
    assert edited(without, "normal", "remove") == NotApplicable("object not found")
    assert edited(with_it, "covid", "add") == NotApplicable("it shows the object already")
    assert edited(without, "covid", "add") == NotApplicable("its class often shows the object")
    assert edited(with_it, "covid", "remove", None) == NotApplicable("no such object was proposed")
    everywhere = replace(suspects, found=(structs.replace(suspect, without=()),))
    assert edited(without, "normal", "add-patch", everywhere) == NotApplicable("no image without the object")
    alone = structs.replace(suspect, templates=tuple(t for t in suspect.templates if t.half == half))
    proposing = replace(suspects, found=(alone, *found[1:]))
    assert edited(with_it, "covid", "remove", proposing) == NotApplicable("its patient's half proposed the object")


def test_an_image_is_shrunk_and_searched_once_for_all_its_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    images, suspects, _ = suspected(20, 60)
    looked: list[int] = []

    def counted(image: np.ndarray, template: np.ndarray) -> tuple[float, int, int]:
        looked.append(1)
        return best_place(image, template)

    monkeypatch.setattr("audit.perturbations.suspects.best_place", counted)
    record = replace(record_of(0), patient=patient_of(0))
    with_it, without = images["remove"], images["add"]
    found = [suspects.locate(1, record, image, ()) for image in (with_it, with_it, without, without, with_it)]
    assert len(looked) == 3, "once for each image in turn"
    assert found[0] == found[1] == found[4] != ()
    assert found[2] == found[3] == ()
    assert suspects.locate(1, record, with_it, (TextRegion(x0=14, y0=24, x1=44, y1=54),)) == (), (
        "what is text is no object"
    )
    assert suspects.locate(1, replace(record, patient=patient_of(1)), with_it, ()) == found[0]


def test_the_placebo_takes_a_place_of_like_texture() -> None:
    """The left half of the image is smooth, the right half rough; the object lies on the rough one."""
    rng = np.random.default_rng(0)
    image = np.full((128, 128), 120, np.uint8)
    image[:, 64:] = np.clip(120 + rng.normal(0, 25, (128, 64)), 0, 255).astype(np.uint8)
    rough = [elsewhere(image, ((90, 50, 104, 64),), (), generator_for(7, number)) for number in range(12)]
    smooth = [elsewhere(image, ((20, 50, 34, 64),), (), generator_for(8, number)) for number in range(12)]
    assert np.mean([moved is not None and moved[0][0] >= 60 for moved in rough]) > 0.9
    assert np.mean([moved is not None and moved[0][2] <= 66 for moved in smooth]) > 0.9


def test_text_is_no_object() -> None:
    image = np.full((128, 128), 40, np.uint8)
    cv2.putText(image, "R", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    assert at_search_scale(image, [TextRegion(x0=38, y0=34, x1=66, y1=64)]).max() < 60


@pytest.mark.parametrize(
    ("parameters", "error"),
    [({"action": "eat"}, UnknownNameError), ({"suspect": 0}, UsageError), ({"suspect": 13}, UsageError), ({"suspect": True}, UsageError)],
)  # fmt: skip
def test_an_edit_that_means_nothing_is_refused(parameters: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        make_perturbation("object", parameters)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[objects]\npropose = 13", "objects.propose must be an integer <= 12, found 13"),
        ("[objects]\npropose = true", "objects.propose must be an integer, found True"),
        ("[objects]\npropse = 2", "propose"),
        ("objects = 3", "objects must be an object, found 3"),
    ],
)
def test_a_suite_that_asks_wrongly_is_refused(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(f'name = "own"\n{line}\n')
    with pytest.raises((UsageError, UnknownNameError), match=words):
        load_suite(str(path))


SUITE = """
name = "own"
description = "Text and objects."

[objects]
propose = 2

[[condition]]
name = "text-mask-inpaint"
perturbation = "text-mask"
role = "edit"
placebo = "placebo-mask-inpaint"
parameters = { fill = "inpaint" }

[[condition]]
name = "placebo-mask-inpaint"
perturbation = "placebo-mask"
role = "placebo"
parameters = { fill = "inpaint" }
"""


def asked(manifest: Path) -> list[object]:
    """Return the command that audits network C with the suite above."""
    found: list[object] = [
        "run",
        "--model",
        "C",
        "--data",
        manifest,
        "--suite",
        "suite.toml",
        "--gate",
        "--resamples",
        500,
    ]
    found += [
        "--detector",
        "annotated",
        "--boxes",
        manifest.parent / "boxes.json",
        "--cache",
        manifest.parent / "cache",
    ]
    return [*found, "--relevance-images", 0, "--judge-images", 0]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms with an electrode on 60 % of COVID-19; what a search finds on them is cached beside them, for every network alike."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    return make_phantoms(folder, n_images=N_IMAGES, size_px=SIDE, seed=6, electrode_share=0.6, **MORE)


def run_on_phantoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, network: Callable[[int], nn.Module], manifest: Path
) -> tuple[int, dict[str, object], Path]:
    """Audit a network on phantoms; return the exit code, the verdict and the run folder."""
    monkeypatch.setattr(networks, "ARCHITECTURES", {**networks.ARCHITECTURES, "reader": network})
    save_bundle(
        tmp_path / "models" / "C", network(3).eval(), name="C", architecture="reader", classes=CLASSES, task="single-label",
        preprocessing=Preprocessing(size_px=(SIDE, SIDE)), provenance={}, metrics={}, splits={},
    )  # fmt: skip
    (tmp_path / "suite.toml").write_text(SUITE)
    # Some thirty images carry an electrode: they decide on effects of a quarter, not of a twentieth.
    (tmp_path / "audit.toml").write_text("[tolerance]\nshortcut_sensitivity = 0.25\n")
    code, _, said = audit(*asked(manifest), "--workers", 1)  # this process alone knows the network
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 1, said
    return code, json.loads((runs[0] / "verdict.json").read_text()), runs[0]


def effect_of(
    run: Path, condition: str, measure: str = "shortcut_sensitivity", *, controlled: bool = True
) -> dict[str, object]:
    effects = json.loads((run / "effects.json").read_text())["effects"]
    wanted = (condition, measure, "all", controlled)
    return next(e for e in effects if (e["condition"], e["measure"], e["group"], e["placebo"] is not None) == wanted)


def test_a_network_that_reads_the_electrode_fails_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, manifest: Path
) -> None:
    code, verdict, run = run_on_phantoms(tmp_path, monkeypatch, audit, ElectrodeReader, manifest)
    assert code == 1
    for condition in ("object-1-removed", "object-1-added"):
        effect = effect_of(run, condition)
        assert effect["verdict"] == "sensitive"
        assert effect["estimate"] > 0.7, condition  # type: ignore[operator]
    assert any("suspect-1" in words for words in verdict["tested"])  # type: ignore[union-attr]
    page = (run / "report.html").read_text()
    assert "suspect-1" in page and "the network relies on it" in page
    found = json.loads((run / "objects" / "suspects.json").read_text())
    assert found["suspects"][0]["sightings"][0]["picture"]
    assert len(list((run / "objects").glob("01-*.jpg"))) == 4
    before = (run / "effects.json").read_bytes()
    again = [
        "verify",
        run,
        "--recompute",
        0.05,
        "--model",
        "C",
        "--data",
        manifest,
        "--cache",
        manifest.parent / "cache",
    ]
    code, out, err = audit(*again, "--boxes", manifest.parent / "boxes.json", "--json")
    assert code == 0, err + out
    assert {p["part"]: p["n_different"] for p in json.loads(out)["recomputed"]["parts"] if p["n_compared"]} == {
        "text regions": 0, "edits": 0, "predictions": 0,
    }  # fmt: skip
    (run / "run.json").unlink()
    (run / "effects.json").unlink()
    for kept in (manifest.parent / "cache" / "objects").iterdir():
        kept.unlink()
    command = asked(manifest)
    assert audit(*command, "--workers", 2)[0] == 1
    assert (run / "effects.json").read_bytes() == before, "searched again by two processes, the same suspects are found"
    # The search looks at images and labels alone, so a product that is not loaded needs no second round of images.
    command = [a for a in command if a not in ("--model", "C")] + ["--classes", ",".join(CLASSES)]
    assert audit(*command, "--emit", "product")[0] == 0
    table = tmp_path / "product" / "answers.csv"
    fill(table, product(tmp_path / "product", tmp_path / "models" / "C", batch=16, answers="logits"), CLASSES)
    code, out, err = audit(*command, "--answers", "logits", "--predictions", table)
    assert code == 1, err
    assert (Path(out.splitlines()[-1]).parent / "effects.json").read_bytes() == before


def test_a_network_that_reads_elsewhere_passes_with_the_object_dismissed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, manifest: Path
) -> None:
    code, verdict, run = run_on_phantoms(tmp_path, monkeypatch, audit, UpperHalf, manifest)
    assert effect_of(run, "object-1-added")["estimate"] == 0
    assert effect_of(run, "object-1-removed", MOVEMENT, controlled=False)["estimate"] == 0
    assert effect_of(run, "object-1-removed")["verdict"] != "sensitive"
    assert "dismissed: the effects of removing and adding it" in (run / "report.html").read_text()
    assert code != 1 or not any(g["status"] == "fail" for g in verdict["gates"] if "object" in g["where"])  # type: ignore[union-attr]
    # From the run's own file, which names images by their pseudonyms, the edits of the object are drawn again as they were predicted.
    finished = read_finished(run)
    pictures = CasePictures(finished, Settings(model="C", data=str(manifest)))
    cases = [read_case(run, name) for name in finished.table.record_ids[:10].tolist()]
    drawn = [(case, row) for case in cases for row in case.rows if row.condition.startswith("object-")]
    assert any(row.applied for _, row in drawn)
    assert {pictures.check(case, row)[0] for case, row in drawn} == {True}


@pytest.mark.parametrize(
    ("entries", "outcome"),
    [
        ([("sensitive", 0.3, 0.4), ("inconclusive", 0.0, 0.2)], "shown"),
        ([("inconclusive", 0.0, 0.04), ("robust", 0.0, 0.02)], "dismissed"),
        ([("inconclusive", 0.0, 0.04), ("inconclusive", 0.0, 0.2)], "undecided"),
        ([("void", 0.3, 0.4)], "not tested"),
        ([("inconclusive", None, None)], "not tested"),
    ],
)
def test_what_the_test_said_is_one_word(entries: list[tuple[str, float | None, float | None]], outcome: str) -> None:
    names = ["object-1-removed", "object-1-added"][: len(entries)]
    conditions = [
        planned(name, perturbation="object", role="edit", dose=None, parameters={"suspect": 1, "action": "add"})
        for name in names
    ]
    effects = [
        replace(EFFECT, condition=name, verdict=verdict, estimate=estimate, high=high, tolerance=0.05, blind=False)  # type: ignore[arg-type]
        for name, (verdict, estimate, high) in zip(names, entries, strict=True)
    ]
    found = suspect_outcomes(conditions, effects)
    assert [(o.number, o.outcome) for o in found] == [(1, outcome)]
    objects = PlannedObjects(asked=2, n_images=40, n_found=1, why_none="", search_version=1)
    scope = find_scope(conditions, effects, objects)
    assert any("suspect-1" in words for words in scope.tested) == (outcome in ("shown", "dismissed"))
    assert any("suspect-1 undecided" in words for words in scope.not_tested) == (outcome in ("undecided", "not tested"))


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (None, "stickers): not searched for"),
        (
            PlannedObjects(asked=2, n_images=0, n_found=0, why_none="there are few", search_version=1),
            "not searched for, because there are few",
        ),
        (
            PlannedObjects(asked=2, n_images=80, n_found=0, why_none="", search_version=1),
            "that the search cannot find",
        ),
    ],
)
def test_objects_that_were_not_tested_are_named(objects: PlannedObjects | None, words: str) -> None:
    scope = find_scope([], [], objects)
    assert [line for line in scope.not_tested if "objects without text" in line and words in line]
    # A search that found none is not the same as no search, and neither is a test.
    assert len(scope.searched) == (objects is not None and not objects.why_none)
    assert not any("object" in line for line in scope.tested)
    told = scope_sentence(
        Verdict(status="pass", summary="", gates=(), not_tested=scope.not_tested, searched=scope.searched)
    )
    assert ("Searched for, none found: objects without text" in told) == bool(scope.searched)


@pytest.mark.parametrize("side", [30, 46, 60, LONGEST_TEMPLATE_PX])
def test_a_template_never_outgrows_what_the_document_holds(side: int) -> None:
    """A chequered square larger than any template: its extent is cut to the largest that `suspects.json` may hold."""
    rng = np.random.default_rng(0)
    images = [rng.integers(90, 110, (160, 160)).astype(np.uint8) for _ in range(24)]
    for image in images[:12]:
        image[20:140, 20:140] = np.where(np.add.outer(np.arange(120) // 4, np.arange(120) // 4) % 2, 230, 20)
    where = Scored(scores=np.r_[np.ones(12), np.zeros(12)], places=((50, 50),) * 24)
    template = np.full((side, side), 230, np.uint8)
    fitted = Fitted(
        template=template,
        reach=((0, 0, side, side),),
        label="a",
        threshold=0.5,
        told=0.5,
        separation=3.0,
        own=where,
        other=where,
        p=0.001,
    )
    x0, y0, x1, y1 = _extent(images, fitted)
    assert max(x1 - x0, y1 - y0) <= LONGEST_TEMPLATE_PX


def test_the_halves_proposals_are_paired_by_identity() -> None:
    """The second of the other half's templates, of another size than its first, is the same object: nothing compares their pixels."""

    def fitted(side: int, own: list[int], other: list[int], left: int) -> Fitted:
        def scored(shows: list[int]) -> Scored:
            return Scored(scores=np.isin(np.arange(12), shows).astype(float), places=((left, 20),) * 12)

        return Fitted(
            template=np.zeros((side, side + 3), np.uint8), reach=((0, 0, side, side),), label="a", threshold=0.5, told=0.5, separation=3.0,
            own=scored(own), other=scored(other), p=0.001,
        )  # fmt: skip

    one = fitted(10, [0, 1, 2, 3], [6, 7, 8, 9], left=10)
    elsewhere, same = fitted(12, [0, 1, 2], [0, 1], left=80), fitted(14, [6, 7, 8, 9], [0, 1, 2, 3], left=12)
    found = pairs([one], [elsewhere, same])
    assert [(a is one, b is same, b is elsewhere) for a, b in found] == [(True, True, False), (False, False, True)]


LUNGS = np.zeros((128, 128), bool)
LUNGS[24:104, 16:56] = LUNGS[24:104, 72:112] = True


def chequered(level: int, side: int = 0) -> np.ndarray:
    """An image of noise, its lungs darker; with `side` a chequered square of the level lies in the left lung, its corner bright."""
    image = np.random.default_rng(side).normal(110, 6, LUNGS.shape)
    image[LUNGS] -= 40
    if side:
        image[28 : 28 + side, 18 : 18 + side] += np.where(np.indices((side, side)).sum(0) // 4 % 2, level, 0.9 * level)
        image[28:40, 18:30] = np.where(np.indices((12, 12)).sum(0) // 3 % 2, 220, 40)
    return np.clip(image, 0, 255).astype(np.uint8)


def suspected(side: int, level: int) -> tuple[dict[str, np.ndarray], Suspects, DonorPool]:
    """The square as a suspect of both halves, which is found by its corner, and two donors that show it."""
    donor = chequered(level, side)
    small = at_search_scale(donor, ())
    corner = np.ascontiguousarray(small[56:80, 36:60])
    templates = tuple(
        SuspectTemplate(
            half=half, height=24, width=24, reach=((0, 0, 2 * side, 2 * side),), threshold=0.8, p=0.001,
            template=base64.b64encode(corner.tobytes()).decode(),
        )
        for half in (0, 1)
    )  # fmt: skip
    donors = {str(half): replace(record_of(0), id=f"d{half}", patient=patient_of(half)) for half in (0, 1)}
    spot = Spot(x0=18 / 128, y0=28 / 128, x1=(18 + side) / 128, y1=(28 + side) / 128)
    sightings = tuple(Sighting(image=name, label="covid", likeness=1.0, boxes=(spot,)) for name in donors)
    found = FoundSuspect(
        templates=templates, prevalence={}, n_patients=2, home=("covid",), sightings=sightings, without=tuple(donors)
    )
    pool = DonorPool((Donor(record=r, regions=()) for r in donors.values()), read=lambda _: donor)
    return {"remove": donor, "add": chequered(0)}, Suspects(found=(found,), donors=donors, seed=0), pool


def made_of(action: str, side: int, level: int) -> Variant:
    """Edit an image with the square, or one without, as a run does."""
    images, suspects, pool = suspected(side, level)
    remove = action.startswith("remove")
    cohort = [record_of(i) for i in range(6)]
    # Without masks the inner part of an image stands for its lungs: here it is as dark as they are.
    grey = GreyRange(cohort, 0, lambda r: np.where(LUNGS, chequered(0), 70 + np.uint8(int(r.id))).astype(np.uint8))
    scene = replace(
        scene_of(images["remove" if remove else "add"], "covid" if remove else "normal", suspects, pool, 0),
        lungs=LUNGS,
        leaves_range=grey.leaves,
    )
    condition = Condition(name=action, perturbation="object", role="edit", parameters={})
    return make_variant(scene, condition, make_perturbation("object", {"suspect": 1, "action": action}), 0, 1)


@pytest.mark.parametrize("action", ["remove", "remove-elsewhere", "add", "add-patch"])
def test_an_object_that_covers_a_lung_is_not_edited(action: str) -> None:
    assert made_of(action, 20, 60).why_not == ""
    assert made_of(action, 28, 10).why_not == "", "less than a quarter of the lungs"
    assert made_of(action, 50, 10).why_not == "boxes over the object cover more than 25 % of the lungs"


def test_an_object_that_whitens_the_lungs_is_not_added() -> None:
    added = made_of("add", 30, 250)
    assert added.why_not == "the edited lungs are brighter than any in the cohort"
    assert np.array_equal(added.image, chequered(0)), "nothing of it is predicted"


@pytest.mark.parametrize("half", [0, 1])
def test_a_placebo_spares_what_its_edit_must(half: int) -> None:
    """A wide object below the lungs: elsewhere at its distance from the border it may lie across both, and then it is not laid there."""
    images, suspects, pool = suspected(20, 60)
    wide = structs.replace(suspects.found[0].templates[half], half=half, reach=((-20, 0, 140, 44),))
    suspects = replace(suspects, found=(structs.replace(suspects.found[0], templates=(wide,)),))
    scene = replace(scene_of(np.roll(images["remove"], 60, axis=0), "covid", suspects, pool, 1 - half), lungs=LUNGS)
    made = make_perturbation("object", {"suspect": 1, "action": "remove-elsewhere"})
    assert not isinstance(
        make_perturbation("object", {"suspect": 1, "action": "remove"}).draw(scene, generator_for(0)), NotApplicable
    )
    for number in range(12):
        drawn = made.draw(scene, generator_for(number))
        if isinstance(drawn, NotApplicable):
            assert drawn.reason == "no free place for the placebo"
        else:
            assert cover(drawn.boxes, LUNGS.shape)[LUNGS].mean() <= MOST_OBJECT_LUNG_SHARE
