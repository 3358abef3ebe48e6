"""Images in colour, from the file to the report.

The truth that everything here rests on, written down first: an image of three equal channels is that grey image. Whatever edits, prepares,
names or attributes it gives three times what it gives for grey, to the last level. So colour can only ever add what grey does not have.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data.images import decode_gray, read_record
from audit.data.pixels.colour import in_colour
from audit.data.records import Record, TextRegion
from audit.perturbations import NotApplicable, Scene, SelfChecking, changed_pixels, make_perturbation
from audit.perturbations.background import MeanFilm
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.objects import ACTIONS
from audit.perturbations.plausible import GreyRange
from audit.perturbations.properties import ClassProperties
from audit.perturbations.suspects import Suspects, at_search_scale
from audit.randomness import generator_for
from audit.store.pictures import Spot
from audit.store.suspects import FoundSuspect, Sighting, SuspectTemplate

from .test_perturbations import EVERY_USE, film

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
        image = film((96, 100 + 4 * (number % 3)), number)
        top = 2 + 26 * shows  # letters of either class have their own places
        words = (2, top, 15, top + 8), (50 - 30 * shows, 80, 68 - 30 * shows, 90)
        if number == OWN:
            label, shows, words = "normal", False, ((70, 40, 84, 48), (4, 60, 16, 70))
        for x0, y0, x1, y1 in words:
            image[y0:y1, x0:x1] = 240
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
        templates=templates, prevalence={"covid": (15, 15)}, n_patients=15, home=("covid",), sightings=sightings
    )
    pool = DonorPool(Donor(record=r, regions=regions[r.id]) for r in records)
    return Scene(
        image=image,
        record=own,
        regions=regions[own.id],
        donors=pool,
        lungs=lungs,
        properties=ClassProperties(records, regions, 0, read_record),
        background=MeanFilm(records, regions, 0),
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
