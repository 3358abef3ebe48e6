"""Networks of timm, torchxrayvision, MONAI and Hugging Face, where they are installed: the answers are those of the libraries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from audit.errors import ModelError
from audit.models.huggingface import read_processor
from audit.models.opening import open_model
from audit.models.requests import DeclaredInput, ModelRequest
from audit.statistics.outputs import softmax

CLASSES = ("normal", "pneumonia", "covid")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about themselves
        yield


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (260, 300), dtype=np.uint8)


def answers(request: ModelRequest, image: np.ndarray) -> np.ndarray:
    bundle = open_model(request)
    return softmax(bundle.logits(bundle.preprocessing.prepare(image)[None]).numpy())[0]


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_timm(tmp_path: Path, image: np.ndarray, name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    made = timm.create_model(name, pretrained=False, num_classes=3).eval()
    torch.save(made.state_dict(), tmp_path / "w.pth")
    request = ModelRequest(model=str(tmp_path / "w.pth"), kind=f"timm:{name}", classes=CLASSES)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=made))
    with torch.inference_mode():
        expected = torch.softmax(made(transform(Image.fromarray(image).convert("RGB"))[None]), 1)[0].numpy()
    assert np.allclose(answers(request, image), expected, atol=1e-4)
    assert "timm" in " ".join(open_model(request).assumed)


def test_hugging_face(tmp_path: Path, image: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64, patch_size=16,
        id2label=dict(enumerate(CLASSES)), label2id={c: i for i, c in enumerate(CLASSES)},
    )  # fmt: skip
    made = transformers.ViTForImageClassification(config).eval()
    made.save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(
        '{"size": {"height": 64, "width": 64}, "resample": 2, "do_rescale": true, "rescale_factor": 0.00392156862745098, '
        '"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), dtype=np.float32)
    inputs = torch.from_numpy(small / 255 * 2 - 1)[None, None].repeat(1, 3, 1, 1)
    with torch.inference_mode():
        expected = torch.softmax(made(inputs).logits, 1)[0].numpy()
    request = ModelRequest(model=str(tmp_path / "vit"))
    capfd.readouterr()
    open_model(request)
    assert capfd.readouterr().err == "", "no bar of the library's beside the audit's own lines"
    assert np.allclose(answers(request, image), expected, atol=1e-4)
    assert open_model(request).classes == CLASSES


NORMAL = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}


@pytest.mark.parametrize(
    ("told", "fit", "size", "shorter"),
    [
        ({"size": 224}, "squash", 224, None),
        ({"size": {"height": 224, "width": 224}}, "squash", 224, None),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}, "shorter-side", 224, 256),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, "shorter-side", 224, 256),
        ({"size": {"shortest_edge": 224}, "image_processor_type": "ConvNextImageProcessor"}, "shorter-side", 224, 256),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, "squash", 384, None),
    ],
)  # fmt: skip
def test_processors_of_hugging_face(tmp_path: Path, told: dict, fit: str, size: int, shorter: int | None) -> None:
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**NORMAL, **told}))
    read = read_processor(file)
    assert (read.fit, read.size_px, read.interpolation) == (fit, (size, size), "bicubic")
    if shorter is not None:
        assert read.shorter_px == shorter


def test_a_processor_without_a_fixed_size_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**NORMAL, "size": {"shortest_edge": 224}, "do_center_crop": False}))
    with pytest.raises(ModelError, match=r"keep their aspect ratio.*--input-px, --scale and --fit"):
        read_processor(file)


def test_monai(tmp_path: Path, image: np.ndarray) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(0)
    made = nets.DenseNet121(spatial_dims=2, in_channels=1, out_channels=3).eval()
    torch.save({"model": made.state_dict()}, tmp_path / "w.pth")
    request = ModelRequest(
        model=str(tmp_path / "w.pth"), kind="monai:DenseNet121", classes=CLASSES,
        declared=DeclaredInput(input_px=(64,), channels=1, scale="unit", fit="squash"),
    )  # fmt: skip
    small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    with torch.inference_mode():
        expected = torch.softmax(made(torch.from_numpy(small)[None, None]), 1)[0].numpy()
    assert np.allclose(answers(request, image), expected, atol=1e-4)


def test_torchxrayvision(tmp_path: Path, image: np.ndarray) -> None:
    xrv = pytest.importorskip("torchxrayvision")
    torch.manual_seed(0)
    made = xrv.models.DenseNet(num_classes=3, in_channels=1, **xrv.models.get_densenet_params("densenet121")).eval()
    torch.save(made.state_dict(), tmp_path / "w.pth")
    request = ModelRequest(model=str(tmp_path / "w.pth"), kind="torchxrayvision:densenet121", classes=CLASSES)
    bundle = open_model(request)
    inputs = bundle.preprocessing.prepare(image)[None]
    # Where nothing is scaled, the library's own way of values is ours.
    square = image[:224, :224]
    own = torch.from_numpy(xrv.datasets.normalize(square.astype(np.float32), 255))
    assert torch.allclose(bundle.preprocessing.prepare(square)[0], own, atol=1e-2)
    with torch.inference_mode():
        assert torch.allclose(bundle.logits(inputs), made(inputs), atol=1e-4)


def thresholds(n: int) -> torch.Tensor:
    return torch.linspace(0.01, 0.4, n)


def test_torchxrayvision_as_it_comes(tmp_path: Path, image: np.ndarray) -> None:
    """Its 18 outputs by their published names, operating points from the file, or answers that the network calibrates by itself."""
    xrv = pytest.importorskip("torchxrayvision")
    torch.manual_seed(0)
    points = thresholds(18)
    made = xrv.models.DenseNet(
        num_classes=18, in_channels=1, op_threshs=points, **xrv.models.get_densenet_params("densenet121")
    ).eval()
    torch.save(made.state_dict(), tmp_path / "w.pth")
    request = ModelRequest(
        model=str(tmp_path / "w.pth"), kind="torchxrayvision:densenet121", classes=("torchxrayvision",)
    )
    bundle = open_model(request)
    assert list(bundle.classes) == list(xrv.datasets.default_pathologies)
    assert bundle.task == "multi-label"
    assert np.allclose(bundle.points, points)
    square = image[:224, :224]
    own = torch.from_numpy(xrv.datasets.normalize(square.astype(np.float32), 255))[None, None]
    inputs = bundle.preprocessing.prepare(square)[None]
    assert torch.allclose(inputs, own, atol=1e-2)
    with torch.inference_mode():
        calibrated = made(own)
    plain = torch.sigmoid(bundle.logits(inputs))
    assert torch.allclose(xrv.models.op_norm(plain, points), calibrated, atol=1e-4)
    # An output is above its operating point where the library's own calibrated answer is above a half.
    assert torch.equal(plain > points, calibrated > 0.5)
    live = ModelRequest(
        model="xrv", live=made, classes=("torchxrayvision",), answers="probabilities",
        declared=DeclaredInput(input_px=(224,), scale="torchxrayvision", fit="shorter-side"),
    )  # fmt: skip
    again = open_model(live)
    assert torch.allclose(torch.sigmoid(again.logits(again.preprocessing.prepare(square)[None])), calibrated, atol=1e-4)
    # An output without an operating point is a half, whatever the image shows: the library says nothing of it.
    made.op_threshs = torch.where(torch.arange(18) < 14, points, torch.nan)
    with_unknown = open_model(live)
    logits = with_unknown.logits(with_unknown.preprocessing.prepare(square)[None])
    assert torch.allclose(torch.sigmoid(logits)[0, 14:], torch.full((4,), 0.5))
