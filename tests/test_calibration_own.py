"""Calibration of what is no grey network of classes: findings, colours, and networks as their owners have them."""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.calibration import own
from audit.calibration.corpus import Specimen
from audit.calibration.kinds import all_kinds
from audit.calibration.plants import Picture, plant
from audit.calibration.sightings import plant_spots
from audit.calibration.zoo import Case
from audit.data.input_choices import Fit
from audit.errors import CohortError
from audit.models.bodies import Head, body_of, check_head, head_of, with_head
from audit.models.bundle import load_bundle
from audit.models.networks import build_network
from audit.models.opening import open_model
from audit.models.prepared_input import declaring, prepared_input
from audit.models.preprocessing import Preprocessing
from audit.models.requests import DeclaredInput, ModelRequest
from audit.models.saving import save_bundle
from audit.run.settings import Settings
from audit.statistics.outputs import sigmoid

from .conftest import Audit, one_paragraph
from .door_models import network, write_onnx

SIDE = 160
# Four features: strokes in the two upper corners, where words are planted, brightness of the middle and of the lower edge.
MODULE = """
import torch
from torch import nn


class Seen(nn.Module):
    def forward(self, x):
        x = x.mean(1)
        strokes = (x[:, :, 1:] - x[:, :, :-1]).abs()
        high = strokes[:, :40, :].mean((1, 2)) * 30
        middle = x[:, 60:100, 60:100].mean((1, 2)) * 4
        low = x[:, 130:, :].mean((1, 2)) * 4
        level = x.mean((1, 2)) * 4
        return torch.stack([high, middle, low, level], 1)


class Net(nn.Module):
    def __init__(self, rows, ending=None):
        super().__init__()
        self.seen, self.head = Seen(), nn.Linear(4, len(rows))
        self.ending = ending or nn.Identity()
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(rows))
            self.head.bias.fill_(-1.0)

    def forward(self, x):
        return self.ending(self.head(self.seen(x)))


FACTS = {"input_px": 160, "scale": "unit", "fit": "squash"}


def findings():
    rows = [[0.0, 0.8, -0.8, 0.0], [0.0, -0.5, 0.6, 0.1], [0.0, 0.3, 0.3, 0.0]]
    return Net(rows), {**FACTS, "classes": ["Mass", "Edema", "Rare"], "task": "multi-label", "channels": 1, "answers": "logits"}


def probabilities():
    rows = [[0.0, 0.8, -0.8, 0.0], [0.0, -0.5, 0.6, 0.1], [0.0, 0.3, 0.3, 0.0]]
    return Net(rows, nn.Sigmoid()), {
        **FACTS, "classes": ["Mass", "Edema", "Rare"], "task": "multi-label", "channels": 1, "answers": "probabilities"}


def one_sigmoid():
    return Net([[0.0, 0.8, -0.8, 0.1]], nn.Sigmoid()), {
        **FACTS, "classes": ["without", "with"], "channels": 1, "answers": "probabilities"}


def softmax():
    return Net([[0.0, 0.8, -0.8, 0.1], [0.1, 0.0, 0.3, 0.0]], nn.Softmax(1)), {
        **FACTS, "classes": ["without", "with"], "channels": 1, "answers": "probabilities"}


def in_colour():
    return Net([[0.0, 0.8, -0.8, 0.1], [0.1, 0.0, 0.3, 0.0]]), {**FACTS, "classes": ["without", "with"], "colour": "rgb"}


def turned():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.seen, self.first = nn.Linear(5, 2), Seen(), nn.Linear(4, 5)

        def forward(self, x):
            return self.last(self.first(self.seen(x)))

    return Turned(), {**FACTS, "classes": ["without", "with"], "channels": 1}


def cooled():
    class Cooled(nn.Module):
        def forward(self, x):
            return x * 3

    return Net([[0.0, 0.8, -0.8, 0.1], [0.1, 0.0, 0.3, 0.0]], Cooled()), {**FACTS, "classes": ["without", "with"], "channels": 1}
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Write the networks into a module that no other test uses; return its name."""
    name = f"planted_{abs(hash(request.node.nodeid)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return name


def images(folder: Path, n: int, *, colour: bool = False) -> Path:
    """Write smooth images without text of which nothing tells the finding but chance, with a label in either form."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(n):
        rng = np.random.default_rng(i)
        shape = (SIDE, SIDE, 3) if colour else (SIDE, SIDE)
        base = np.array((120, 150, 205)) if colour else 110
        image = cv2.GaussianBlur(rng.normal(0, 60, shape), (0, 0), 12) + base
        cv2.imwrite(str(folder / "images" / f"{i}.png"), np.clip(image, 0, 255).astype(np.uint8))
        ill = i // 2 % 2
        rows.append({
            "path": f"images/{i}.png", "patient": f"p{i // 2}", "source": "north", "label": ("without", "with")[ill],
            "Mass": ill, "Edema": int(rng.random() < 0.5) if i % 5 else "", "Rare": -1 if i else 1,
        })  # fmt: skip
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build two networks: one that a word must be found in, and one without a plant that must be quiet."""

    def two(trials: int, finder: str, outputs: tuple[str, ...] = ("",)) -> list[Case]:
        planted = Case(name="planted", kind="word", share=0.9, seed=1, finder=finder, output=outputs[0])
        return [planted, replace(planted, name="null", design="none", share=0.0)]

    monkeypatch.setattr(own, "own_cases", two)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the text of planted images is remembered: one plant is the same for every network, and is read once."""
    return tmp_path_factory.mktemp("texts")


def calibrated(audit: Audit, model: object, manifest: Path, texts: Path, *further: object) -> dict:
    (manifest.parent / "cal" / "networks").mkdir(parents=True)
    (manifest.parent / "cal" / "networks" / "text-cache").symlink_to(texts)
    code, _, errors = audit(
        "calibrate", "--model", model, "--data", manifest, "--suite", "quick", "--detector", "rapidocr", "--workers", 1,
        "--out", manifest.parent / "cal", *further,
    )  # fmt: skip
    assert code == 0, errors
    return json.loads((manifest.parent / "cal" / "calibration.json").read_text())


def check_pair(document: dict) -> None:
    planted, null = document["networks"]
    assert planted["truth"]["removed_carriers"] > 0.25, "the network learnt the word"
    assert planted["rank"] == "planted" and planted["finding"]["exit_code"] == 1, planted["finding"]
    assert "the text" in planted["finding"]["sensitive"]
    assert null["truth"]["removed"] == 0
    assert null["finding"]["exit_code"] != 1 and not null["finding"]["sensitive"]


@pytest.mark.slow
@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("name", ["findings", "one_sigmoid", "softmax"])
def test_a_plant_is_found_and_a_null_is_quiet(audit: Audit, nets: str, texts: Path, tmp_path: Path, name: str) -> None:
    manifest = images(tmp_path / "data", 96)
    document = calibrated(audit, f"{nets}:{name}", manifest, texts)
    check_pair(document)
    if name == "findings":
        assert document["outputs"] == ["Mass", "Edema"], "of Rare no image is known not to have it"
        (folder,) = (tmp_path / "data" / "cal" / "networks").glob("planted")
        with (folder / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["Mass"] for row in rows} == {"0", "1"}
        assert {row["Rare"] for row in rows} <= {"", "1"}
        effects = next(folder.glob("runs/*/effects.json"))
        others = [
            abs(e["estimate"])
            for e in json.loads(effects.read_text())["effects"]
            if (e["group"], e["measure"], e["condition"]) == ("output=Edema", "total_variation", "text-mask-inpaint")
        ]
        assert others and max(others) < 0.05, "the row of another output stays as it was, and does not look at strokes"


@pytest.mark.slow
@pytest.mark.usefixtures("pair")
def test_in_colour(audit: Audit, nets: str, texts: Path, tmp_path: Path) -> None:
    manifest = images(tmp_path / "data", 96, colour=True)
    check_pair(calibrated(audit, f"{nets}:in_colour", manifest, texts))
    planted = cv2.imread(str(next((tmp_path / "data" / "cal").rglob("planted/images/00000.png"))))
    assert planted.ndim == 3 and np.ptp(planted.astype(int), axis=2).max() > 30


def test_a_bundle_of_findings_in_colour(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that training writes, which no other test of this page has: it is written again with each head."""
    monkeypatch.setattr(own, "KINDS", ("word",))
    monkeypatch.setattr(own, "SHARES", (1.0,))
    monkeypatch.setattr(own, "NOT_LEARNT_BELOW", 0.0)
    torch.manual_seed(0)
    bundle = save_bundle(
        tmp_path / "models" / "D", build_network("densenet-small", 3).eval(), name="D", architecture="densenet-small",
        classes=("Mass", "Edema", "Rare"), task="multi-label", preprocessing=Preprocessing(size_px=(64, 64), colour="rgb"),
        provenance={}, metrics={}, splits={}, operating_points=(0.5, 0.5, 0.5),
    )  # fmt: skip
    manifest = images(tmp_path / "data", 48, colour=True)
    asked = ["--model", "D", "--data", manifest, "--suite", "quick", "--detector", "markers"]
    code, said, errors = audit("calibrate", *asked, "--trials", 2, "--workers", 2, "--out", tmp_path / "cal")
    assert code == 0, errors
    document = json.loads((bundle / "calibration.json").read_text())
    assert document["outputs"] == ["Mass"], "of the others too few images are known"
    assert document["model"]["task"] == "multi-label"
    assert document["powers"][0]["found"]["n"] == 2
    assert "on 100 % of images with or without a finding" in said
    built = load_bundle(next((tmp_path / "cal").rglob("000-word-100/bundle")))
    assert (built.task, built.points, built.preprocessing.colour) == ("multi-label", (0.5, 0.5, 0.5), "rgb")
    code, said, errors = audit("run", *asked, "--resamples", 100, "--relevance-images", 0, "--judge-images", 0)
    assert code == 0, errors
    assert "Measured with this network and data" in " ".join(said.split())


def test_what_has_no_such_layer_is_one_sentence(audit: Audit, nets: str, tmp_path: Path) -> None:
    manifest = images(tmp_path / "data", 48)
    for name in ("cooled", "turned"):
        code, _, err = audit("calibrate", "--model", f"{nets}:{name}", "--data", manifest, "--out", tmp_path / "a")
        assert code == 4 and "changes what its last linear layer gives before it answers" in one_paragraph(err)
    file = write_onnx(tmp_path / "net.onnx", network(outputs=2))
    code, _, err = audit("import", file, "--classes", "without,with", "--scale", "unit")
    assert code == 0, err
    code, _, err = audit("calibrate", "--model", "net", "--data", manifest, "--out", tmp_path / "b")
    assert code == 4 and "gives no linear output layer that could be trained again" in one_paragraph(err)


@given(seed=st.integers(0, 1000), output=st.sampled_from([0, 1, 2]))
def test_the_head_of_one_output_leaves_the_others_alone(seed: int, output: int) -> None:
    space: dict = {"__name__": "planted_nets"}
    exec(compile(MODULE, "planted_nets", "exec"), space)
    live, facts = space["findings"]()
    request = ModelRequest(
        model="m", live=live, classes=tuple(facts["classes"]), task="multi-label", answers="logits",
        declared=DeclaredInput(input_px=(SIDE,), scale="unit", fit="squash", channels=1),
    )  # fmt: skip
    body = replace(body_of(open_model(request)), output=output)
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) for _ in range(3)]
    head = Head(weight=rng.normal(size=(2, 4)).astype(np.float32), bias=rng.normal(size=2).astype(np.float32))
    inputs = torch.stack([body.preprocessing.prepare(picture) for picture in pictures])
    with torch.inference_mode():
        before, after = body.network(inputs).numpy(), with_head(body, head)(inputs).numpy()
    apart = [k for k in range(3) if k != output]
    assert np.array_equal(before[:, apart], after[:, apart])
    features = body.features(pictures)
    assert sigmoid(after[:, output]) == pytest.approx(head.probabilities(features)[:, 1], abs=1e-5)
    assert sigmoid(before[:, output]) == pytest.approx(head_of(body).probabilities(features)[:, 1], abs=1e-5)
    check_head(body, pictures, multi_label=True, where="m")
    # What the plant truly does is known: a feature that moves by d under a weight w moves the probability from s(z) to s(z - w d).
    (w, d), z = (float(head.weight[1, 0] - head.weight[0, 0]), 0.4), after[:, output].astype(np.float64)
    moved = features.copy()
    moved[:, 0] -= d
    assert head.probabilities(moved)[:, 1] == pytest.approx(sigmoid(z - w * d), abs=1e-5)


def test_a_foreign_network_is_sent_by_what_opens_it(nets: str) -> None:
    body = body_of(open_model(ModelRequest(model=f"{nets}:one_sigmoid")))
    again = pickle.loads(pickle.dumps(replace(body, output=0)))
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    assert np.array_equal(body.features([picture]), again.features([picture]))
    assert again.output == 0 and head_of(again).weight.shape == (2, 4)


@given(
    fit=st.sampled_from(["squash", "shorter-side", "letterbox", "none"]),
    channels=st.sampled_from([1, 3]),
    per_image=st.booleans(),
    clahe=st.sampled_from([0.0, 2.0]),
    top=st.sampled_from([0.0, 0.25]),
    span=st.sampled_from([(0.0, 1.0), (0.0, 255.0), (-1024.0, 1024.0)]),
)
def test_an_input_is_declared_as_it_is(
    fit: Fit, channels: int, per_image: bool, clahe: float, top: float, span: tuple[float, float]
) -> None:
    steps = Preprocessing(
        size_px=(64, 48), mean=(0.0,) * channels if per_image else (0.25,) * channels,
        std=(1.0,) * channels if per_image else (0.5,) * channels, fit=fit, shorter_px=72 if fit == "shorter-side" else None,
        per_image=per_image, clahe=clahe, crop=(0.0, top, 1.0, 1.0), value_range=span, library="opencv", interpolation="area",
    )  # fmt: skip
    declared = DeclaredInput(**declaring(steps))
    assert prepared_input(ModelRequest(model="m", declared=declared))[0] == steps


@pytest.mark.parametrize("name", ["word", "electrode", "gamma", "sticker"])
def test_plants_in_colour_stand_where_grey_ones_do(name: str) -> None:
    kind = all_kinds()[name]
    grey = np.full((SIDE, SIDE), 120, np.uint8)
    colour = np.stack([np.full_like(grey, level) for level in (205, 150, 120)], axis=-1)
    one, other = (
        plant(kind, Picture(image=image), kind.doses[1], carried=True, seed=3, name="x") for image in (grey, colour)
    )
    assert other.image.shape == colour.shape and other.image.dtype == np.uint8
    if not kind.local:
        assert np.ptp(other.image.reshape(-1, 3).astype(int), axis=0).max() == 0, "the whole image moves alike"
        return
    where = (other.image != colour).any(axis=2)
    assert np.array_equal(where, one.image != grey)
    drop = (colour.astype(int) - other.image)[where]
    assert drop.min() >= 0 and (drop[:, 0] >= drop[:, 2]).all(), "blue: red falls furthest"
    specimens = [Specimen(id="x", label=0, patient="x", picture=Picture(image=image)) for image in (grey, colour)]
    assert plant_spots(specimens[:1], [one]) == plant_spots(specimens[1:], [other])


def test_too_few_images_of_every_output_are_refused(nets: str, tmp_path: Path) -> None:
    manifest = images(tmp_path / "data", 16)
    settings = Settings(model=f"{nets}:findings", data=str(manifest))
    with pytest.raises(CohortError, match=r"10 images with and without the finding Mass to fit on"):
        own.calibrate_own(settings, tmp_path / "out", trials=1, workers=1, on_stage=lambda _n, _s: lambda: None)
