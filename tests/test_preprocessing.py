"""Preprocessing as an owner declares it, against the libraries' own ways; and where a place of the input lies in the image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms import functional as tv

from audit.data.input_words import input_in_words
from audit.data.planned_model import InputSteps
from audit.errors import ImageError, ModelError, UsageError
from audit.models.bundle import Bundle, load_bundle
from audit.models.networks import build_network
from audit.models.opening import open_model
from audit.models.parity import check_parity
from audit.models.preprocessing import IMAGENET_MEAN, Preprocessing, declared_steps, why_impossible
from audit.models.requests import DeclaredInput, ModelRequest
from audit.models.saving import save_bundle
from audit.models.scaling import METHODS, crop_box, onto_image
from audit.statistics.outputs import softmax

from .door_models import CLASSES, SIDE, network, write_onnx

PLAIN = {"mean": (0.0,), "std": (1.0,)}
shapes = st.tuples(st.integers(30, 130), st.integers(30, 130))


def noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@example(shape=(48, 48), shorter=55)  # an image of the input's size is enlarged and cut too
@given(shape=shapes, shorter=st.sampled_from([None, 48, 55]))
def test_shorter_side_and_centre_are_torchvisions(shape: tuple[int, int], shorter: int | None) -> None:
    image = noise(shape)
    steps = Preprocessing(size_px=(48, 48), fit="shorter-side", shorter_px=shorter, **PLAIN)
    expected = tv.center_crop(tv.resize(Image.fromarray(image), shorter or 48), [48, 48])
    assert np.array_equal(steps.resize(image), np.asarray(expected))


@given(shape=shapes)
def test_letterbox_keeps_the_aspect_ratio_and_pads(shape: tuple[int, int]) -> None:
    image = noise(shape) // 2 + 100
    seen = Preprocessing(size_px=(40, 60), fit="letterbox", pad=3, **PLAIN).resize(image)
    scale = min(40 / shape[0], 60 / shape[1])
    rows, columns = (np.flatnonzero((seen != 3).any(axis=axis)) for axis in (1, 0))
    assert abs(len(rows) - shape[0] * scale) <= 1 and abs(len(columns) - shape[1] * scale) <= 1
    assert abs(rows[0] - (39 - rows[-1])) <= 1 and abs(columns[0] - (59 - columns[-1])) <= 1, "in the middle"
    inside = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = (inside.shape[1], inside.shape[0])
    assert np.array_equal(inside, np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)))


@pytest.mark.parametrize(("library", "how"), [(name, how) for name, ways in METHODS.items() for how in ways])
def test_each_library_scales_in_its_own_way(library: str, how: str) -> None:
    image = noise((90, 70))
    seen = Preprocessing(size_px=(32, 40), library=library, interpolation=how, **PLAIN).resize(image)
    values = torch.from_numpy(image.astype(np.float32))[None, None]
    expected = {
        "pil": lambda: np.asarray(
            Image.fromarray(image).resize((40, 32), {"area": 4, "nearest": 0, "bilinear": 2, "bicubic": 3, "lanczos": 1}[how])
        ),
        "opencv": lambda: cv2.resize(
            image, (40, 32), interpolation={"area": 3, "nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 4}[how]
        ),
        "torch": lambda: F.interpolate(values, (32, 40), mode=how).clamp(0, 255)[0, 0].numpy(),
        "torch-antialias": lambda: tv.resize(
            values[0], [32, 40], interpolation=tv.InterpolationMode(how), antialias=True
        ).clamp(0, 255)[0].numpy(),
    }[library]()  # fmt: skip
    assert np.allclose(seen, expected, atol=1e-3)
    assert seen.dtype == (np.float32 if library.startswith("torch") else np.uint8)


def test_values_are_those_declared() -> None:
    image = noise((32, 32))
    steps = {"size_px": (32, 32)}
    assert torch.equal(
        Preprocessing(**steps, **PLAIN, value_range=(0, 255)).prepare(image)[0], torch.tensor(image).float()
    )
    span = Preprocessing(**steps, **PLAIN, value_range=(-1024, 1024)).prepare(image)
    assert torch.allclose(span[0], (2 * torch.tensor(image).float() / 255 - 1) * 1024, atol=1e-3)
    own = Preprocessing(**steps, mean=(0.0,) * 3, std=(1.0,) * 3, per_image=True).prepare(image)
    assert own.shape == (3, 32, 32) and abs(float(own.mean())) < 1e-5 and abs(float(own.std(correction=0)) - 1) < 1e-5
    part = Preprocessing(size_px=(16, 32), **PLAIN, crop=(0, 0.25, 1, 0.75)).resize(image)
    assert np.array_equal(part, image[8:24])
    even = Preprocessing(**steps, **PLAIN, clahe=2.0).resize(image)
    assert np.array_equal(even, cv2.createCLAHE(2.0, (8, 8)).apply(image))
    assert Preprocessing(size_px=(32, 32)).mean == IMAGENET_MEAN
    with pytest.raises(ImageError, match=r"has 30 x 32 pixels, but the network expects 32 x 32 .*--fit"):
        Preprocessing(**steps, **PLAIN, fit="none").resize(image[:, :30])


def test_what_a_bundle_keeps_of_the_usual_way_is_what_it_kept_before() -> None:
    usual = Preprocessing(size_px=(64, 64))
    assert set(declared_steps(usual)) == {"size_px", "mean", "std"}, "digests of earlier bundles rest on it"
    other = Preprocessing(size_px=(64, 64), fit="letterbox", clahe=2.0)
    assert set(declared_steps(other)) == {"size_px", "mean", "std", "fit", "clahe"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"size_px": (4, 64)}, "8 to 4096 px"),
        ({"mean": (0.5, 0.5)}, "1 or 3 channels"),
        ({"std": (0.0,) * 3}, "std must be above 0"),
        ({"std": (float("nan"),) * 3}, "std must be above 0"),
        (
            {"library": "torch-antialias", "interpolation": "nearest"},
            "torch-antialias has no interpolation nearest; it has bilinear",
        ),
        ({"shorter_px": 70}, "only used with fit = shorter-side"),
        ({"fit": "shorter-side", "shorter_px": 20}, "to 64 to 4096 px, found 20"),
        ({"pad": 300}, "0 to 255"),
        ({"crop": (0.5, 0, 0.4, 1)}, "shares from 0 to 1"),
        ({"clahe": -1.0}, "clip limit"),
        ({"value_range": (1.0, 1.0)}, "two different numbers"),
        ({"size_px": None, "fit": "letterbox"}, "needs the size"),
    ],
)
def test_what_cannot_be_done_is_said(changed: dict[str, object], says: str) -> None:
    assert says in why_impossible(Preprocessing(**{"size_px": (64, 64), **changed}))
    assert not why_impossible(Preprocessing(size_px=(64, 64)))


# Places


ways = st.fixed_dictionaries(
    {
        "fit": st.sampled_from(["squash", "letterbox", "shorter-side"]),
        "crop": st.sampled_from([(0.0, 0.0, 1.0, 1.0), (0.1, 0.0, 0.8, 1.0), (0.0, 0.2, 0.9, 0.9)]),
    }
)


@example(shape=(38, 38), way={"fit": "letterbox", "crop": (0.1, 0.0, 0.8, 1.0)}, seed=4)
@given(shape=shapes, way=ways, seed=st.integers(0, 9))
def test_a_place_of_the_input_is_carried_to_its_place_in_the_image(
    shape: tuple[int, int], way: dict[str, object], seed: int
) -> None:
    steps = Preprocessing(size_px=(48, 48), **PLAIN, **way)
    rng = np.random.default_rng(seed)
    y, x = int(rng.integers(0, shape[0] - 10)), int(rng.integers(0, shape[1] - 10))
    image = np.zeros(shape, dtype=np.uint8)
    image[y : y + 10, x : x + 10] = 255
    seen = np.asarray(steps.prepare(image)[0])
    window = steps.window(shape)
    assert window is not None
    carried = onto_image(seen[None], window, shape)[0]
    assert carried.shape == (48, 48)
    inside = window[0] >= 0 and window[1] >= 0 and window[2] <= shape[0] and window[3] <= shape[1]
    total = float(seen.sum())
    if inside or way["fit"] == "letterbox":  # padding is black
        assert np.isclose(carried.sum(), total, rtol=1e-4, atol=1e-4)
    if total > 5:
        rows, columns = carried.sum(1), carried.sum(0)
        middle_y = (rows * (np.arange(48) + 0.5)).sum() / rows.sum() * shape[0] / 48
        middle_x = (columns * (np.arange(48) + 0.5)).sum() / columns.sum() * shape[1] / 48
        top, left, bottom, right = window
        x0, y0, x1, y1 = crop_box(shape, steps)  # beside it a letterbox's window shows padding
        low_y, high_y = max(y, top, y0), min(y + 10, bottom, y1)
        low_x, high_x = max(x, left, x0), min(x + 10, right, x1)
        assert abs(middle_y - (low_y + high_y) / 2) < 2 + shape[0] / 48
        assert abs(middle_x - (low_x + high_x) / 2) < 2 + shape[1] / 48


def test_a_squashed_image_is_its_input() -> None:
    maps = np.random.default_rng(0).normal(0, 1, (2, 48, 48)).astype(np.float32)
    window = Preprocessing(size_px=(48, 48)).window((90, 70))
    assert window == (0, 0, 90, 70)
    assert onto_image(maps, window, (90, 70)) is maps


def test_words_name_everything_that_is_not_usual() -> None:
    steps = InputSteps(
        size_px=(32, 48), mean=(0.0,), std=(1.0,), fit="letterbox", pad=9, library="torch-antialias", interpolation="bicubic",
        crop=(0, 0, 0.5, 1), clahe=3, value_range=(0, 255),
    )  # fmt: skip
    words = input_in_words(steps)
    for part in (
        "48 × 32 px",
        "0, 0, 0.5, 1",
        "clip limit 3",
        "padded with 9",
        "bicubic (torch, antialiased)",
        "1 channel",
        "0 to 255",
    ):
        assert part in words, part


# Parity


@pytest.fixture
def opened(tmp_path: Path) -> Bundle:
    file = write_onnx(tmp_path / "m.onnx", network())
    return open_model(
        ModelRequest(model=str(file), classes=CLASSES, declared=DeclaredInput(scale="unit", input_px=(SIDE,)))
    )


def write_answers(
    folder: Path, bundle: Bundle, steps: Preprocessing, n: int = 4, order: tuple[int, ...] = (0, 1, 2)
) -> Path:
    lines = [",".join(["image", *CLASSES])]
    yy, xx = np.mgrid[0:90, 0:70]
    for i in range(n):
        image = (
            (noise((90, 70), i) // 3 + 80 * (np.hypot(yy - 40, xx - 20 - 8 * i) < 18) + yy)
            .clip(0, 255)
            .astype(np.uint8)
        )
        Image.fromarray(image).save(folder / f"{i}.png")
        row = softmax(bundle.logits(steps.prepare(image)[None]).numpy())[0][list(order)]
        lines.append(",".join([f"{i}.png", *(f"{value:.6f}" for value in row)]))
    (folder / "answers.csv").write_text("\n".join(lines) + "\n")
    return folder / "answers.csv"


def test_the_same_answers_are_parity(opened: Bundle, tmp_path: Path) -> None:
    found = check_parity(opened, write_answers(tmp_path, opened, opened.preprocessing))
    assert found.n_images == 4 and found.largest < 1e-5 and found.limit == 1e-3


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"fit": "letterbox"}, "--fit letterbox"),
        ({"library": "opencv"}, "--library opencv"),
        ({"fit": "letterbox", "interpolation": "bicubic"}, "--fit letterbox --interpolation bicubic"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "--scale symmetric"),
        ({"clahe": 40.0}, "--clahe 40"),
    ],
)
def test_other_answers_stop_and_the_fitting_variant_is_named(
    opened: Bundle, tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    from msgspec import structs

    table = write_answers(tmp_path, opened, structs.replace(opened.preprocessing, **changed))
    with pytest.raises(UsageError, match=r"differ by up to 0\.\d+, at class .* of \d\.png .*limit 0\.001") as told:
        check_parity(opened, table)
    message = str(told.value)
    assert "This preparation reproduces your numbers" in message
    # What it names does reproduce them: options become what they mean.
    options = message.split("Use ")[-1].rstrip(".").split(" ")
    assert set(says.split(" ")) <= set(options), message


def test_a_wrong_order_of_classes_is_named(opened: Bundle, tmp_path: Path) -> None:
    table = write_answers(tmp_path, opened, opened.preprocessing, order=(1, 2, 0))
    with pytest.raises(UsageError, match=r"use --classes covid,normal,pneumonia\.|use --classes") as told:
        check_parity(opened, table)
    names = str(told.value).split("use --classes ")[-1].rstrip(".").split(",")
    again = open_model(
        ModelRequest(
            model=opened.request.model, classes=tuple(names), declared=DeclaredInput(scale="unit", input_px=(SIDE,))
        )
    )
    assert check_parity(again, table).largest < 1e-5


def test_answers_of_something_else_name_no_variant(opened: Bundle, tmp_path: Path) -> None:
    table = write_answers(tmp_path, opened, opened.preprocessing)
    text = table.read_text().splitlines()
    table.write_text("\n".join([text[0], *(f"{line.partition(',')[0]},0.2,0.3,0.5" for line in text[1:])]))
    with pytest.raises(UsageError, match="No declared preparation that was tried reproduces your numbers"):
        check_parity(opened, table)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "image,normal,covid\n0.png,0.5,0.5\n",
            r"must have a column image and one for each class .*found image, normal, covid",
        ),
        ("image,normal,pneumonia,covid\n", "1 to 2000 rows, found 0"),
        ("image,normal,pneumonia,covid\n0.png,0.5,x,0.5\n", "must hold a probability"),
        ("image,normal,pneumonia,covid\n0.png,5,-1,0\n", "from 0 to 1, found -1 to 5"),
        (
            "image,normal,pneumonia,covid\n0.png,0.9,0.9,0.9\n",
            r"must sum to 1, but a row is off by 1\.700.*multi-label",
        ),
    ],
)
def test_tables_that_are_none_are_one_sentence(opened: Bundle, tmp_path: Path, text: str, says: str) -> None:
    Image.fromarray(noise((90, 70))).save(tmp_path / "0.png")
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(UsageError, match=says):
        check_parity(opened, tmp_path / "answers.csv")


# The door of a bundle


def test_a_bundle_refuses_at_once_what_a_run_would_refuse(tmp_path: Path) -> None:
    def save(**changed: object) -> Path:
        given = {
            "name": "x", "architecture": "resnet18", "classes": CLASSES, "task": "single-label",
            "preprocessing": Preprocessing(size_px=(32, 32)), "provenance": {}, "metrics": {}, "splits": {},
        }  # fmt: skip
        return save_bundle(tmp_path / "bundle", build_network("resnet18", 3), **{**given, **changed})

    for changed, says in (
        ({"classes": ("a", "b")}, r"do not fit the architecture resnet18.*size mismatch|named"),
        ({"classes": ("a", "A", "b")}, "different names"),
        ({"architecture": "resnet19"}, "Did you mean 'resnet18'"),
        ({"architecture": "resnet50"}, "do not fit the architecture resnet50"),
        ({"preprocessing": Preprocessing(size_px=(2, 2))}, "8 to 4096 px"),
        ({"preprocessing": Preprocessing(size_px=None)}, "no size_px"),
        ({"preprocessing": Preprocessing(size_px=(32, 32), mean=(0.5,), std=(0.5,))}, "channels"),
        ({"task": "softmax"}, "No task is called"),
        ({"name": "\x1b[2J"}, "control characters"),
    ):
        with pytest.raises((ModelError, UsageError), match=says):
            save(**changed)
        assert not (tmp_path / "bundle").exists(), changed
    assert load_bundle(save()).architecture == "resnet18"
