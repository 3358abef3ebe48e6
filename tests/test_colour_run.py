"""A whole audit in colour, on photographs of skin whose shortcut is known.

True values, written down first. The reader of stickers knows the class by the blue of a sticker alone, so removing it or adding it moves
the probabilities by nearly 1. The null network reads a strip at the top in which nothing is ever laid, so that whatever is done to
stickers, rulers and ink, every effect is exactly 0. As grey, neither could be told from the other: the difference is in the colours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from PIL import Image
from torch import nn

from audit.data.images import read_image
from audit.data.manifests import load_cohort
from audit.errors import UsageError
from audit.models import networks
from audit.models.bundle import load_bundle
from audit.models.huggingface import read_processor
from audit.models.parity import check_parity
from audit.models.prepared_input import prepared_input
from audit.models.preprocessing import Preprocessing
from audit.models.requests import DeclaredInput, ModelRequest
from audit.models.saving import save_bundle
from audit.statistics.catalogue import MOVEMENT
from audit.text.finders import make_finder
from audit.text.planes import find_on_planes
from audit.training.phantom.skin import (
    CLASSES,
    STICKER_CENTRE,
    STICKER_CLASS,
    make_skin,
    render_skin,
    skin_specs,
)
from audit.training.skin import skin_recipe, train_skin

from .conftest import Audit
from .test_emission import fill, product
from .test_objects import SUITE, effect_of

SIDE = 160


class StickerReader(nn.Module):
    """Takes what is far bluer than red for the sign of a benign lesion: neither skin, lesion nor ink is."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(1, k)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[1200.0], [-1200.0]]))
            self.classifier.bias.copy_(torch.tensor([-3.0, 3.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.relu(x[:, 2] - x[:, 0] - 0.25).mean((1, 2))[:, None])


class StripReader(nn.Module):
    """Reads how red a strip at the top is: no sticker, ruler or lesion lies there."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(1, k)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[2.0], [-2.0]]))
            self.classifier.bias.copy_(torch.tensor([-1.0, 1.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        return self.classifier(x[:, 0, : height // 8, width // 3 :].mean((1, 2))[:, None])


@pytest.fixture(scope="module")
def skin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_skin(tmp_path_factory.mktemp("skin"), n_images=96, size_px=SIDE, seed=3, sticker_association=1.0)


def prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Callable[[int], nn.Module], colour: str = "rgb"
) -> None:
    monkeypatch.setattr(networks, "ARCHITECTURES", {**networks.ARCHITECTURES, "reader": network})
    save_bundle(
        tmp_path / "models" / "C", network(2).eval(), name="C", architecture="reader", classes=CLASSES, task="binary",
        preprocessing=Preprocessing(size_px=(SIDE, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3, colour=colour),
        provenance={}, metrics={}, splits={},
    )  # fmt: skip
    (tmp_path / "suite.toml").write_text(SUITE.replace("propose = 2", "propose = 1"))
    # Some twenty images of the half that tests carry the sticker: they decide on effects of a quarter, not of a twentieth.
    (tmp_path / "audit.toml").write_text("[tolerance]\nshortcut_sensitivity = 0.25\n")


def asked(manifest: Path, *more: object, maps: int = 2) -> list[object]:
    boxes = ["--detector", "annotated", "--boxes", manifest.parent / "boxes.json"]
    common = ["--data", manifest, "--suite", "suite.toml", "--gate", "--resamples", 200, *boxes, "--workers", 1]
    # The search looks at images and labels alone: networks that are audited on the same images share it.
    cache = ["--cache", manifest.parent / "cache"]
    return ["run", *common, *cache, "--relevance-images", maps, "--judge-images", 0, *more]


def run_in(folder: Path) -> Path:
    return next((folder / "runs").iterdir())


def is_of_the_sticker(suspect: dict[str, Any]) -> bool:
    """Say whether the boxes of every sighting lie about where stickers do."""
    middles = [
        ((b["x0"] + b["x1"]) / 2, (b["y0"] + b["y1"]) / 2)
        for sighting in suspect["sightings"]
        for b in sighting["boxes"]
    ]
    return bool(np.abs(np.array(middles) - STICKER_CENTRE).max() < 0.15)


def test_a_network_that_reads_the_sticker_fails_by_it_and_its_run_is_in_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, skin: Path
) -> None:
    prepared(tmp_path, monkeypatch, StickerReader)
    code, _, said = audit(*asked(skin, "--model", "C"))
    assert code == 1, said
    assert "colour: 96 images are read and edited in colour" in said
    assert "read as grey" not in said
    run = run_in(tmp_path)
    plan = json.loads((run / "plan.json").read_text())
    assert plan["data"]["colour"] is True
    assert plan["model"]["preprocessing"]["colour"] == "rgb"
    suspects = json.loads((run / "objects" / "suspects.json").read_text())["suspects"]
    number = 1 + next(i for i, suspect in enumerate(suspects) if is_of_the_sticker(suspect))
    assert suspects[number - 1]["home"] == [STICKER_CLASS]
    for action in ("removed", "added"):
        effect = effect_of(run, f"object-{number}-{action}")
        assert effect["verdict"] == "sensitive"
        assert effect["estimate"] > 0.6, action  # type: ignore[operator]
    assert effect_of(run, "text-mask-inpaint")["verdict"] != "sensitive"
    page = (run / "report.html").read_text()
    assert "Images were read and edited in colour" in page
    for picture in [*(run / "examples").glob("*-clean.jpg"), *(run / "objects").glob("*.jpg")]:
        shown = read_image(picture, colour=True)
        assert np.ptp(shown.astype(int), axis=2).max() > 40, f"{picture} is grey"
    assert (run / "relevance.parquet").exists()


def test_a_sticker_is_no_text_to_the_finder() -> None:
    """Else the demo would name the text: a sticker with a hole is read as the letter O."""
    finder = make_finder("cascade")
    for spec in [s for s in skin_specs(n_images=16, seed=0, sticker_association=1.0) if s.sticker]:
        found = find_on_planes(render_skin(spec, 192).image, finder.find)
        assert [r for r in found if min(r.x0 + r.x1, r.y0 + r.y1) > 1.3 * 192] == [], spec.index


def test_a_product_is_shown_the_same_colours_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit
) -> None:
    prepared(tmp_path, monkeypatch, StickerReader)
    (tmp_path / "suite.toml").write_text(SUITE.replace("[objects]\npropose = 2\n", ""))
    manifest = make_skin(tmp_path / "data", n_images=12, size_px=64, seed=3)
    assert audit(*asked(manifest, "--model", "C", maps=0))[0] != 4
    before = (run_in(tmp_path) / "effects.json").read_bytes()
    command = asked(manifest, "--classes", ",".join(CLASSES), "--task", "binary", "--colour", "rgb", maps=0)
    assert audit(*command, "--emit", "product")[0] == 0
    emitted = list((tmp_path / "product" / "images").glob("*.png"))
    with Image.open(emitted[0]) as picture:
        assert picture.mode == "RGB"
    assert {read_image(path, colour=True).shape for path in emitted} == {(64, 64, 3)}
    table = tmp_path / "product" / "answers.csv"
    fill(table, product(tmp_path / "product", tmp_path / "models" / "C", batch=16, answers="logits"), CLASSES)
    code, out, err = audit(*command, "--answers", "logits", "--predictions", table)
    assert code != 4, err
    assert (Path(out.splitlines()[-1]).parent / "effects.json").read_bytes() == before
    # They are not the images of a run in grey.
    grey = [a for a in command if a not in ("--colour", "rgb")]
    code, _, err = audit(*grey, "--answers", "logits", "--predictions", table)
    assert code == 2
    assert "--colour" in err


def test_a_network_that_reads_elsewhere_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, skin: Path
) -> None:
    prepared(tmp_path, monkeypatch, StripReader)
    code, _, said = audit(*asked(skin, "--model", "C", maps=0))
    run = run_in(tmp_path)
    effects = json.loads((run / "effects.json").read_text())["effects"]
    judged = [e for e in effects if e["verdict"] != "descriptive" and e["measure"] == "shortcut_sensitivity"]
    assert {e["condition"] for e in judged} >= {"object-1-removed", "text-mask-inpaint"}
    assert not [e for e in judged if e["verdict"] == "sensitive"]
    sticker = 1 + next(
        i
        for i, suspect in enumerate(json.loads((run / "objects" / "suspects.json").read_text())["suspects"])
        if is_of_the_sticker(suspect)
    )
    # Its placebo is laid anywhere, the strip included; the edit itself is not.
    assert effect_of(run, f"object-{sticker}-removed", MOVEMENT, controlled=False)["estimate"] == 0
    assert effect_of(run, f"object-{sticker}-added")["estimate"] == 0
    assert code in (0, 3), said


def test_greying_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, skin: Path) -> None:
    prepared(tmp_path, monkeypatch, StickerReader, colour="grey")
    sentence = "96 colour images are read as grey."
    code, out, said = audit("plan", "--model", "C", "--data", skin, "--suite", "suite.toml", "--workers", 1,
                            "--detector", "annotated", "--boxes", skin.parent / "boxes.json", "--relevance-images", 0)  # fmt: skip
    assert code == 0, said
    assert sentence in said
    assert "--colour rgb" not in said, "a bundle states itself what its network is shown"
    code, out, _ = audit("plan", "--model", "C", "--data", skin, "--suite", "suite.toml", "--workers", 1, "--json",
                         "--detector", "annotated", "--boxes", skin.parent / "boxes.json", "--relevance-images", 0)  # fmt: skip
    data = json.loads(out)["plan"]["data"]
    assert data["n_greyed"] == 96
    assert "colour" not in data
    assert sentence in data["notes"]


def test_a_bundle_is_not_shown_what_it_does_not_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audit: Audit, skin: Path
) -> None:
    prepared(tmp_path, monkeypatch, StickerReader)
    code, _, said = audit("plan", "--model", "C", "--data", skin, "--colour", "grey")
    assert code == 2
    assert "states --colour rgb, but --colour grey was given" in said


def test_an_image_is_what_its_spec_says() -> None:
    """What is planted can be switched on and off alone, and tells the class as strongly as was asked for."""
    specs = list(skin_specs(n_images=400, seed=1, sticker_association=0.8))
    for label, share in ((STICKER_CLASS, 0.9), ("malignant", 0.1)):
        of_class = [s.sticker for s in specs if s.label == label]
        assert len(of_class) == 200
        assert abs(np.mean(of_class) - share) < 0.08
    plain = list(skin_specs(n_images=400, seed=1))
    assert abs(np.mean([s.sticker for s in plain if s.label == STICKER_CLASS]) - 0.5) < 0.1
    shown = next(s for s in specs if s.sticker and not s.ruler)
    image = render_skin(shown, SIDE).image
    assert np.array_equal(image, render_skin(shown, SIDE).image)
    x, y = (round(c * SIDE) for c in STICKER_CENTRE)
    blue = image[y - 9 : y + 9, x - 9 : x + 9].astype(int)
    assert np.median(blue[..., 2] - blue[..., 0]) > 60
    skin_of = image[4:12, 40:60].astype(int)
    assert np.median(skin_of[..., 0] - skin_of[..., 2]) > 20
    ruled = next(s for s in specs if s.ruler)
    boxes = render_skin(ruled, SIDE).boxes
    assert [b.text for b in boxes] == [str(n + 1) for n in range(len(boxes))]
    assert len(boxes) >= 6


def test_the_demo_network_learns_from_colours(tmp_path: Path) -> None:
    manifest = make_skin(tmp_path / "data", n_images=48, size_px=64, seed=2, sticker_association=1.0)
    folder = train_skin(manifest, tmp_path / "net", recipe=skin_recipe(input_px=64, test_per_class=6, epochs=1))
    stated = json.loads((folder / "model.json").read_text())
    assert stated["preprocessing"]["colour"] == "rgb"
    pixels = {row.split(",")[2] for row in (folder / "splits.csv").read_text().splitlines()[1:]}
    assert pixels == set(load_cohort(manifest, classes=CLASSES, colour=True).pixels.values())


class Channels(nn.Module):
    """Answers by the mean of each channel, so that colours, their order and grey all give other answers."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, k)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[5.0, -2.0, 1.0], [-4.0, 3.0, 2.0]]))
            self.classifier.bias.copy_(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(x.mean((2, 3)))


@pytest.mark.parametrize(("stated", "truth"), [("grey", "rgb"), ("rgb", "bgr"), ("bgr", "grey")])
def test_parity_names_the_colours_that_reproduce_the_owners_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str, truth: str
) -> None:
    prepared(tmp_path, monkeypatch, Channels, colour=stated)
    bundle = load_bundle(tmp_path / "models" / "C")
    manifest = make_skin(tmp_path / "data", n_images=6, size_px=64)
    files = sorted((manifest.parent / "images").glob("*.png"))
    wants = structs.replace(bundle.preprocessing, colour=truth)
    inputs = torch.stack([wants.prepare(read_image(file, colour=truth != "grey")) for file in files])
    rows = torch.softmax(bundle.logits(inputs), 1).tolist()
    table = manifest.parent / "images" / "answers.csv"
    table.write_text(
        "image,benign,malignant\n" + "".join(f"{f.name},{a},{b}\n" for f, (a, b) in zip(files, rows, strict=True))
    )
    with pytest.raises(UsageError, match=f"Use --colour {truth}"):
        check_parity(bundle, table)
    prepared(tmp_path / "right", monkeypatch, Channels, colour=truth)
    assert check_parity(load_bundle(tmp_path / "right" / "models" / "C"), table).largest < 1e-4


@pytest.mark.parametrize(("mean", "colour"), [([0.5, 0.5, 0.5], "rgb"), ([0.5], "grey")])
def test_a_processor_of_three_channels_shows_colours(tmp_path: Path, mean: list[float], colour: str) -> None:
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({"size": {"height": 32, "width": 32}, "image_mean": mean, "image_std": mean}))
    assert read_processor(file).colour == colour


def test_what_the_owner_declares_goes_before_what_a_library_states() -> None:
    told = Preprocessing(size_px=(32, 32), colour="rgb")
    for said, expected in ((None, "rgb"), ("grey", "grey"), ("bgr", "bgr")):
        request = ModelRequest(model="x.pth", declared=DeclaredInput(colour=said))
        assert prepared_input(request, told=told)[0].colour == expected
    one = ModelRequest(model="x.pth", declared=DeclaredInput(channels=1, scale="unit"))
    assert prepared_input(one, told=told)[0].colour == "grey"
    none = ModelRequest(model="x.pth", declared=DeclaredInput(input_px=(32,)))
    assert prepared_input(none, channels=3)[0].colour == "grey"
    impossible = ModelRequest(model="x.pth", declared=DeclaredInput(channels=1, scale="unit", colour="rgb"))
    with pytest.raises(UsageError, match="declares one grey channel, and colours need three"):
        prepared_input(impossible, told=told)
