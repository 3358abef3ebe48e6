"""Images in colour, from the file to the report.

The truth that everything here rests on, written down first: an image of three equal channels is that grey image. Whatever edits, prepares,
names or attributes it gives three times what it gives for grey, to the last level. So colour can only ever add what grey does not have.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from PIL import Image, ImageDraw, ImageFont

from audit.data.images import decode_gray, look, look_at, pixel_hash, read_image, read_record
from audit.data.pixels.colour import coloured_share, in_colour, luminance
from audit.data.pixels.facts import shows_colour
from audit.data.pixels.writing import encode_dicom, encode_png
from audit.data.records import Record, TextRegion
from audit.models.preprocessing import Preprocessing, why_impossible
from audit.perturbations import NotApplicable, Scene, SelfChecking, changed_pixels, make_perturbation
from audit.perturbations.background import MeanImage
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.objects import ACTIONS
from audit.perturbations.plausible import GreyRange
from audit.perturbations.properties import GroupProperties, by_source
from audit.perturbations.suspects import Suspects, at_search_scale
from audit.randomness import generator_for
from audit.store.pictures import Spot
from audit.store.suspects import FoundSuspect, Sighting, SuspectTemplate
from audit.text.finders import make_finder
from audit.text.planes import find_on_planes, text_planes

from .test_perturbations import EVERY_USE, of_class_that_can_move, scan

EVERY_EDIT = [
    *EVERY_USE,
    *(pytest.param("object", {"suspect": 1, "action": action}, id=f"object:{action}") for action in ACTIONS),
]
OWN = 30
"""Number of the image that is edited."""
STICKER = (60, 6, 76, 22)
"""Where the object lies on images that show it, (x0, y0, x1, y1)."""


def tinted(grey: np.ndarray, seed: int) -> np.ndarray:
    """Return an image whose channels are different curves of grey."""
    gains = np.random.default_rng(seed).uniform(0.4, 1.0, 3)
    return np.clip(grey[..., None] * gains + [30, 10, 0], 0, 255).astype(np.uint8)


def make_scene(folder: Path, *, colour: bool, tint: bool = False) -> Scene:
    """Return a scene with donors in files, read in colour or as grey; the files hold three equal channels unless they are tinted."""
    folder.mkdir(exist_ok=True)
    records, regions = [], {}
    for number in range(31):
        label, shows = ("normal", False) if number % 2 else ("covid", True)
        image = scan((96, 100 + 4 * (number % 3)), number)
        top = 2 + 26 * shows  # letters of either class have their own places
        words = (2, top, 15, top + 8), (50 - 30 * shows, 80, 68 - 30 * shows, 90)
        if number == OWN:
            label, shows, words = "normal", False, ((70, 40, 84, 48), (4, 60, 16, 70))
        for x0, y0, x1, y1 in words:
            image[y0:y1, x0:x1] = 240
        if label == "covid":  # the other class is less sharp
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), dtype=np.uint8)
        if number != OWN:  # whose frame nobody shares; those of covid are wider
            rows = 8 if label == "covid" else 4
            image[:rows] = image[-rows:] = 0
        if shows:
            x0, y0, x1, y1 = STICKER
            image[y0:y1, x0:x1] = np.where(np.add(*np.mgrid[0 : y1 - y0, 0 : x1 - x0]) // 4 % 2, 250, 20)
        path = folder / f"d{number}.{'jpg' if number % 3 == 1 else 'png'}"
        if not path.exists():
            if number // 2 % 2:  # a source of fewer levels
                image = image // 16 * 16
            stored = tinted(image, number) if tint else image if number % 4 else in_colour(image)
            Image.fromarray(stored).save(path)
        record = Record(
            id=f"d{number}", path=path, label=label, patient=f"p{number}", source="ab"[number // 2 % 2], colour=colour
        )
        records.append(record)
        regions[record.id] = tuple(TextRegion(x0=x0, y0=y0, x1=x1, y1=y1, text="L") for x0, y0, x1, y1 in words)
    own = records[OWN]
    image = read_record(own)
    image.setflags(write=False)
    lungs = np.zeros(image.shape[:2], bool)
    lungs[30:70, 34:48] = lungs[50:70, 60:85] = True
    small = at_search_scale(decode_gray((folder / "d0.png").read_bytes(), folder), regions["d0"])
    left, top, right, bottom = (round(v * small.shape[1] / 100) for v in STICKER)
    pattern = np.ascontiguousarray(small[top:bottom, left:right])
    sightings = tuple(
        Sighting(image=r.id, label="covid", likeness=0.9, boxes=(Spot(x0=0.6, y0=0.06, x1=0.76, y1=0.23),))
        for r in records
        if r.label == "covid"
    )
    templates = tuple(
        SuspectTemplate(
            half=half,
            height=pattern.shape[0],
            width=pattern.shape[1],
            reach=((0, 0, pattern.shape[1], pattern.shape[0]),),
            template=base64.b64encode(pattern.tobytes()).decode(),
            threshold=0.6,
            p=0.01,
        )
        for half in (0, 1)
    )
    suspect = FoundSuspect(
        templates=templates, prevalence={"covid": (15, 15)}, n_patients=15, home=("covid",), sightings=sightings,
        without=tuple(r.id for r in records if r.label != "covid"),
    )  # fmt: skip
    pool = DonorPool(Donor(record=r, regions=regions[r.id]) for r in records)
    return Scene(
        image=image,
        record=own,
        regions=regions[own.id],
        donors=pool,
        lungs=lungs,
        properties=GroupProperties(records, regions, 0, read_record),
        sources=GroupProperties(records, regions, 0, read_record, by_source),
        background=MeanImage(records, regions, 0),
        leaves_range=GreyRange(records, 0, read_record).leaves,
        suspects=Suspects(found=(suspect,), donors={r.id: r for r in records}),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("colour")


@pytest.fixture(scope="module")
def grey_scene(files: Path) -> Scene:
    return make_scene(files / "equal", colour=False)


@pytest.fixture(scope="module")
def equal_scene(files: Path) -> Scene:
    return make_scene(files / "equal", colour=True)


@pytest.fixture(scope="module")
def tinted_scene(files: Path) -> Scene:
    return make_scene(files / "tinted", colour=True, tint=True)


def shown(scene: Scene, parameters: dict[str, object]) -> Scene:
    """Return the scene, on an image that shows the object where that is what is edited."""
    if parameters.get("of") in ("noise", "sharpness"):  # of two classes one can lose and gain: with its sticker covid
        parameters = {"action": "remove"}
    if not str(parameters.get("action", "")).startswith("remove"):
        return scene
    assert scene.suspects is not None
    donors = scene.suspects.donors
    record = donors["d0"]
    image = read_record(record)
    image.setflags(write=False)
    return replace(scene, image=image, record=record, lungs=np.zeros(image.shape[:2], bool))


def edits(name: str, parameters: dict[str, object], scene: Scene, n_seeds: int = 6) -> list[np.ndarray | str]:
    """Return what an edit makes of a scene from several seeds, or why not."""
    perturbation = make_perturbation(name, parameters)
    made: list[np.ndarray | str] = []
    for seed in range(n_seeds):
        drawn = perturbation.draw(scene, generator_for(seed, "r", name, 0))
        if isinstance(drawn, NotApplicable):
            made.append(drawn.reason)
            continue
        made.append(perturbation.apply(scene.image, drawn))
        if isinstance(perturbation, SelfChecking):
            why = perturbation.check(scene, made[-1])
            made.append("plausible" if why is None else why.reason)
    return made


@pytest.mark.parametrize(("name", "parameters"), EVERY_EDIT)
def test_three_equal_channels_are_edited_as_the_grey_image(
    name: str, parameters: dict[str, object], grey_scene: Scene, equal_scene: Scene
) -> None:
    grey = edits(name, parameters, shown(grey_scene, parameters))
    colour = edits(name, parameters, shown(equal_scene, parameters))
    assert any(isinstance(one, np.ndarray) for one in grey), grey
    for one, three in zip(grey, colour, strict=True):
        if isinstance(one, str):
            assert three == one
        else:
            assert isinstance(three, np.ndarray)
            assert np.array_equal(three, in_colour(one))


@pytest.mark.parametrize(("name", "parameters"), EVERY_EDIT)
def test_the_contract_holds_in_colour(name: str, parameters: dict[str, object], tinted_scene: Scene) -> None:
    scene = shown(tinted_scene, parameters)
    if parameters.get("of") == "compression":
        scene = of_class_that_can_move(scene, parameters)
    before = scene.image.copy()
    assert not np.array_equal(before[..., 0], before[..., 1])
    made = [one for one in edits(name, parameters, scene) if isinstance(one, np.ndarray)]
    assert made
    assert np.array_equal(scene.image, before)
    for one in made:
        assert one.dtype == np.uint8
        assert one.shape == scene.image.shape
        assert changed_pixels(scene.image, one).shape == scene.image.shape[:2]
    again = [one for one in edits(name, parameters, scene) if isinstance(one, np.ndarray)]
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
    if "own" in parameters.values():
        assert not any(changed_pixels(scene.image, one).any() for one in made)
    else:
        assert any(changed_pixels(scene.image, one).any() for one in made)


def write_rgb(path: Path, image: np.ndarray, **how: object) -> Path:
    Image.fromarray(image).save(path, **how)
    return path


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 40), width=st.integers(1, 40))
def test_brightness_of_a_colour_reading_is_the_grey_reading(
    seed: int, height: int, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = write_rgb(tmp_path_factory.getbasetemp() / "one.png", rgb)
    assert np.array_equal(read_image(path, colour=True), rgb)
    assert np.array_equal(luminance(rgb), read_image(path, colour=False))
    grey = rgb[..., 0]
    assert np.array_equal(luminance(in_colour(grey)), grey)
    assert pixel_hash(in_colour(grey)) == pixel_hash(grey), "grey that is stored as colour is the same image"
    assert (pixel_hash(rgb) == pixel_hash(grey)) == bool((rgb == grey[..., None]).all())


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("orientation", [1, 5, 8])
def test_every_mode_is_read_in_colour(mode: str, orientation: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base = Image.fromarray(rng.integers(0, 256, (24, 17, 3), dtype=np.uint8))
    image = Image.fromarray(rng.integers(0, 60000, (24, 17), dtype=np.uint16)) if mode == "I;16" else base.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path, exif=exif)
    grey, colour = look(path), look(path, colour=True)
    assert colour.pixels.shape == (*grey.pixels.shape, 3)
    assert grey.facts == colour.facts
    assert grey.notes == colour.notes
    off = np.abs(luminance(colour.pixels).astype(int) - grey.pixels).max()
    assert off <= (1 if mode in ("P", "CMYK") else 0), "a palette rounds otherwise than a photograph"
    assert (grey.facts.coloured_share is not None) == (mode in ("RGB", "RGBA", "P", "CMYK"))


def test_a_deep_png_and_a_dicom_file_keep_their_colours(tmp_path: Path) -> None:
    rgb = np.zeros((20, 30, 3), np.uint16)
    rgb[..., 0], rgb[5:9, 3:20, 1] = 40_000, 65_535
    fine, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    assert fine
    seen = look_at(data.tobytes(), Path("deep.png"), colour=True)
    assert np.array_equal(seen.pixels, np.rint(rgb / 257).astype(np.uint8))
    image = tinted(scan((40, 31), 1), 5)
    path = tmp_path / "a.dcm"
    path.write_bytes(encode_dicom(image, {"Modality": "XC"}, "n"))
    assert np.array_equal(read_image(path, colour=True), image)
    assert np.array_equal(read_image(path, colour=False), luminance(image))
    assert encode_png(image) != encode_png(luminance(image))


def test_noise_of_a_grey_jpeg_is_no_colour_and_a_small_stamp_is(tmp_path: Path) -> None:
    grey = in_colour(scan((200, 160), 3))
    stored = look(write_rgb(tmp_path / "a.jpg", grey, quality=70)).facts.coloured_share
    assert not shows_colour(stored)
    assert coloured_share(grey) is None
    stamped = grey.copy()
    stamped[10:16, 10:22] = (200, 30, 30)
    assert shows_colour(look(write_rgb(tmp_path / "b.png", stamped)).facts.coloured_share)


STEPS = [
    {"fit": "squash"},
    {"fit": "letterbox", "pad": 90},
    {"fit": "shorter-side", "shorter_px": 40},
    {"fit": "squash", "library": "opencv", "interpolation": "area"},
    {"fit": "letterbox", "library": "torch-antialias", "interpolation": "bicubic"},
    {"fit": "squash", "library": "torch", "interpolation": "nearest"},
    {"crop": (0.1, 0.2, 0.9, 1.0), "value_range": (0.0, 255.0)},
]


@pytest.mark.parametrize("steps", STEPS)
def test_three_equal_channels_are_prepared_as_the_grey_image(steps: dict[str, object]) -> None:
    grey = scan((50, 70), 2)
    wants = Preprocessing(size_px=(32, 40), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), **steps)
    shown = structs.replace(wants, colour="rgb")
    assert torch.equal(shown.prepare(in_colour(grey)), wants.prepare(grey))
    assert torch.equal(shown.prepare(grey), wants.prepare(grey)), "a run of grey images alone is not in colour"
    colour = tinted(grey, 4)
    found = shown.prepare(colour)
    plain = structs.replace(wants, mean=(0.0,) * 3, std=(1.0,) * 3)
    each = torch.stack([plain.prepare(np.ascontiguousarray(colour[..., k]))[k] for k in range(3)])
    expected = (each - torch.tensor(wants.mean)[:, None, None]) / torch.tensor(wants.std)[:, None, None]
    assert torch.allclose(found, expected)
    turned = structs.replace(shown, colour="bgr").prepare(colour)
    assert torch.equal(turned, shown.prepare(np.ascontiguousarray(colour[..., ::-1])))


def test_the_mean_of_an_image_in_colour_is_that_of_all_its_channels() -> None:
    wants = Preprocessing(size_px=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3, per_image=True, colour="rgb")
    found = wants.prepare(tinted(scan((32, 32), 2), 4))
    assert abs(float(found.mean())) < 1e-5
    assert abs(float(found.std(correction=0)) - 1) < 1e-4


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"mean": (0.5,), "std": (0.5,)}, "colours need 3 channels, found 1"),
        ({"clahe": 2.0}, "CLAHE equalises grey images"),
    ],
)
def test_an_input_that_cannot_be_in_colour_is_refused(steps: dict[str, object], words: str) -> None:
    assert words in why_impossible(Preprocessing(size_px=(32, 32), colour="rgb", **steps))
    assert not why_impossible(Preprocessing(size_px=(32, 32), **steps))


def test_red_letters_on_red_skin_of_equal_brightness_are_found() -> None:
    """The letters differ from the skin in hue alone: as grey, not one pixel differs by more than rounding."""
    skin = np.empty((300, 400, 3))
    skin[:] = 200, 150, 130
    skin += np.random.default_rng(0).normal(0, 3, (300, 400, 1))
    mask = Image.new("L", (400, 300))
    ImageDraw.Draw(mask).text((40, 40), "SEDUTO", font=ImageFont.load_default(30), fill=255)
    redder = np.array([40, -40 * 299 / 587, 0])
    plain, stamped = (np.rint(skin + np.asarray(mask)[..., None] / 255 * k * redder).astype(np.uint8) for k in (0, 1))
    assert np.abs(luminance(stamped).astype(int) - luminance(plain)).max() <= 1
    finder = make_finder("cascade")
    asked: list[np.ndarray] = []

    def find(plane: np.ndarray) -> Sequence[TextRegion]:
        asked.append(plane)
        # As grey there is nothing to find, which the levels above have shown.
        return [] if len(asked) == 1 else finder.find(plane)

    found = find_on_planes(stamped, find)
    assert [r.text for r in found] == ["SEDUTO"]
    x0, y0, x1, y1 = mask.getbbox() or (0, 0, 0, 0)
    assert found[0].x0 <= x0 + 4 and found[0].y0 <= y0 + 4 and found[0].x1 >= x1 - 4 and found[0].y1 >= y1 - 4
    assert len(asked) == 2
    assert np.array_equal(asked[0], luminance(stamped))
    for image in (luminance(stamped), in_colour(luminance(stamped)), plain):
        assert len(text_planes(image)) == 1, "an image without letters in colour costs what a grey one does"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_finders_that_look_images_up_are_asked_once(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    asked: list[np.ndarray] = []
    region = TextRegion(x0=1, y0=2, x1=9, y1=8)

    def find(plane: np.ndarray) -> Sequence[TextRegion]:
        asked.append(plane)
        return [region]

    assert find_on_planes(image, find, once=True) == [region]
    assert len(asked) == 1
    assert np.array_equal(asked[0], luminance(image))
    assert [(r.x0, r.y0, r.x1, r.y1) for r in find_on_planes(image, find)] == [(1, 2, 9, 8)]
