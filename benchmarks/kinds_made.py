"""Networks for `kinds_compared`, their owners' own pipelines, and their files in every form that the door lets in."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from audit.data.images import read_gray
from audit.models.networks import build_network, last_layer
from audit.models.preprocessing import Preprocessing
from audit.store.results import SCHEMA_VERSION

Pipeline = Callable[[np.ndarray], np.ndarray]
"""Stored images (n, h, w) -> probabilities (n, k), by Pillow, numpy and torch alone."""
_BUILT: dict[str, nn.Module] = {}
"""Name -> the network that a factory below returns."""
WORD_BOX = (0.02, 0.02, 0.30, 0.12)
"""Left, top, right and bottom of the painted word, as shares of the image."""
OTHER_BOX = (0.02, 0.86, 0.30, 0.96)


def hold(name: str, network: nn.Module) -> nn.Module:
    """Keep a network for the factory of its name."""
    _BUILT[name] = network.eval().requires_grad_(False)
    return network


def shared() -> nn.Module:
    return _BUILT["shared"]


def shared_from(path: str) -> nn.Module:
    network = build_network(str(_BUILT["shared"].architecture), len(_BUILT["shared"].classes))  # type: ignore[arg-type]
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def grey_resnet() -> nn.Module:
    return _BUILT["grey"]


def of_255() -> nn.Module:
    return _BUILT["of 255"]


def two_logits() -> nn.Module:
    return _BUILT["two logits"]


def one_sigmoid() -> nn.Module:
    return _BUILT["one sigmoid"]


def reads_the_word() -> nn.Module:
    return _BUILT["word"]


def pipeline(network: nn.Module, steps: Preprocessing, *, sigmoid: bool = False) -> Pipeline:
    """Return the pipeline of a network's owner: squashed by Pillow, normalised, softmax or sigmoids."""
    height, width = steps.input_px
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (steps.mean, steps.std))

    def predict(images: np.ndarray) -> np.ndarray:
        found = []
        for image in images:
            small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            planes = (np.asarray(small, dtype=np.float32)[None] / np.float32(255) - mean) / std
            with torch.inference_mode():
                answer = network(torch.from_numpy(planes)[None])
                logits = answer if isinstance(answer, torch.Tensor) else answer.logits
            found.append((torch.sigmoid(logits) if sigmoid else torch.softmax(logits, 1))[0].numpy())
        return np.stack(found)

    return predict


def with_telling_head(network: nn.Module, images: Sequence[np.ndarray], steps: Preprocessing) -> nn.Module:
    """Give a random network a head that tells the images apart: with flat answers all forms would agree without a reason."""
    head, seen = last_layer(network), []
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1)))
    predict = pipeline(network.eval(), steps)
    for image in images:
        predict(image[None])
    hook.remove()
    with torch.no_grad():
        logits = torch.cat(seen) @ head.weight.T
        head.weight.mul_(2 / logits.std(0)[:, None])
        head.bias.copy_(-2 * logits.mean(0) / logits.std(0))
    return network


class Of255(nn.Module):
    """The network inside one that takes values from 0 to 255 and normalises them itself."""

    def __init__(self, network: nn.Module, steps: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(steps.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(steps.std)[:, None, None])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network((inputs / 255 - self.mean) / self.std)


class First(nn.Module):
    """The first two logits of a network, or the probability of the second as one sigmoid."""

    def __init__(self, network: nn.Module, *, sigmoid: bool) -> None:
        super().__init__()
        self.network, self.sigmoid = network, sigmoid

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits = self.network(inputs)[:, :2]
        return torch.sigmoid(logits[:, 1:] - logits[:, :1]) if self.sigmoid else logits


class ReadsTheWord(nn.Module):
    """Finds pneumonia where strokes stand in one corner, and a mass where the middle is bright: two independent sigmoids."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        side = inputs.shape[-1]
        x0, y0, x1, y1 = (round(v * side) for v in WORD_BOX)
        strokes = (inputs[:, 0, y0:y1, x0 + 1 : x1] - inputs[:, 0, y0:y1, x0 : x1 - 1]).abs().mean((1, 2))
        middle = inputs[:, 0, side // 3 : 2 * side // 3, side // 3 : 2 * side // 3].mean((1, 2))
        return torch.stack([80 * (strokes - 0.05), 12 * (middle - 0.5)], 1)


def as_monai(network: nn.Module, n_classes: int) -> dict[str, torch.Tensor]:
    """Return the weights of torchvision's DenseNet-121 under MONAI's names: the layers stand in the same order."""
    from monai.networks.nets import DenseNet121

    with contextlib.redirect_stdout(io.StringIO()):
        names = DenseNet121(spatial_dims=2, in_channels=3, out_channels=n_classes).state_dict()
    values = network.state_dict()
    assert [v.shape for v in names.values()] == [v.shape for v in values.values()], "the layers stand in another order"
    return dict(zip(names, values.values(), strict=True))


def write_exported(path: Path, network: nn.Module, steps: Preprocessing) -> None:
    """Write the network as ONNX, .pt2 or TorchScript, as the ending says."""
    example, count = torch.zeros(2, steps.channels, *steps.input_px), {0: torch.export.Dim("n", min=1, max=64)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if path.suffix == ".onnx":
            torch.onnx.export(network, (example,), str(path), dynamo=True, dynamic_shapes=(count,), external_data=False)
        elif path.suffix == ".pt2":
            torch.export.save(torch.export.export(network, (example,), dynamic_shapes=(count,)), path)
        else:
            torch.jit.trace(network, example).save(str(path))  # type: ignore[no-untyped-call]


def write_vit(folder: Path, classes: Sequence[str], images: Sequence[np.ndarray], steps: Preprocessing) -> nn.Module:
    """Write a small Vision Transformer as `save_pretrained` does, and return it."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    made = ViTForImageClassification(
        ViTConfig(
            hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128, image_size=steps.input_px[0],
            patch_size=16, id2label=dict(enumerate(classes)), label2id={c: i for i, c in enumerate(classes)},
        )
    )  # fmt: skip
    with_telling_head(made, images, steps).save_pretrained(folder)
    height, width = steps.input_px
    document = {
        "image_processor_type": "ViTImageProcessor", "size": {"height": height, "width": width}, "resample": 2,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": steps.mean, "image_std": steps.std,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(document))
    return made


def answer_table(table: Path, predict: Pipeline) -> None:
    """Fill in the table of an emission, as a script of the product's owner does."""
    with table.open(newline="") as file:
        head, *rows = csv.reader(file)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for name, *_ in rows:
            with Image.open(table.parent / name) as image:
                writer.writerow([name, *(repr(float(p)) for p in predict(np.array(image)[None])[0])])


def paint_findings(folder: Path, images: Sequence[Path]) -> Path:
    """Write each image twice: with pneumonia and a word in one corner, and without it and the word in another; on some a mass is drawn."""
    (folder / "images").mkdir(parents=True)
    rng, rows, boxes = np.random.default_rng(0), [], {}
    for number, (path, ill) in enumerate((path, ill) for path in images for ill in (True, False)):
        image = read_gray(path).copy()
        height, width = image.shape
        mass = bool(rng.random() < 0.5)
        if mass:
            cv2.circle(image, (width // 2, height // 2), min(height, width) // 6, 255, -1)
        x0, y0, x1, y1 = (
            round(v * (width if i % 2 == 0 else height)) for i, v in enumerate(WORD_BOX if ill else OTHER_BOX)
        )
        image[y0:y1, x0:x1] = 0
        scale = (x1 - x0) / 100
        cv2.putText(
            image,
            "SITIO",
            (x0 + 2, y1 - (y1 - y0) // 4),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            255,
            max(1, round(2 * scale)),
        )
        name = f"images/{number:04}.png"
        cv2.imwrite(str(folder / name), image)
        boxes[name] = [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "text": "SITIO"}]
        rows.append((name, int(ill), int(mass), f"p{number // 2}"))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "Pneumonia", "Mass", "patient"), *rows])
    (folder / "boxes.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "images": boxes}))
    return folder / "manifest.csv"
