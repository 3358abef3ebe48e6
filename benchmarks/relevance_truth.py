"""Do heatmaps tell the truth? On phantoms what the text does to a logit is known exactly: the same image without it.

A network is trained on images whose words alone tell the class, then 200 fresh images are attributed with several methods: the
relevance inside the true text boxes, from the winning output, against the fall of that output on the same image without text.

    python -m benchmarks.relevance_truth [--severity 1] [--images 200] [--model FOLDER] [--figure validity.png]

Training takes about three minutes on two cores; `--model` takes a bundle instead.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from zennit.composites import EpsilonPlusFlat

from audit.data.records import TextRegion
from audit.models.bundle import Bundle, load_bundle
from audit.relevance.lrp import Attributor
from audit.relevance.methods import SURROGATES
from audit.relevance.presets import DEFAULT_PRESET, PRESETS
from audit.relevance.regions import map_boxes
from audit.relevance.start import start_relevance
from audit.training.chain import train_network
from audit.training.phantom.cohort import image_specs, make_phantoms
from audit.training.phantom.image import PhantomImage, render
from audit.training.recipes import load_recipe

SIDE_PX = 256
STOCK = "zennit as it comes"


def train(folder: Path, severity: float) -> Path:
    """Train a network on words; findings of the given severity tell the class too."""
    options = {"word_association": 1.0, "source_association": 0.0}
    images = make_phantoms(folder / "images", task="classes", n_images=540, seed=5, severity=severity, **options)
    findings = make_phantoms(folder / "findings", task="findings", n_images=300, seed=6)
    train_network(
        "C", images, load_recipe("demo"), folder / "C", findings_manifest=findings, seed=0, on_progress=lambda _: None
    )
    return folder / "C"


def stock_zennit(bundle: Bundle) -> Callable[[torch.Tensor], np.ndarray]:
    """Return the obvious use: the composite on the network as torchvision builds it."""
    network = copy.deepcopy(bundle.network)

    def attribute(inputs: torch.Tensor) -> np.ndarray:
        seen = inputs.clone().requires_grad_(True)
        with EpsilonPlusFlat().context(network) as modified:
            logits = modified(seen)
            (found,) = torch.autograd.grad(logits, seen, start_relevance(logits.detach(), bundle.classes)[:, 0])
        return found.sum(1).detach().numpy()

    return attribute


def ours(bundle: Bundle, method: str) -> Callable[[torch.Tensor], np.ndarray]:
    attributor = Attributor(bundle.network, method)
    return lambda inputs: attributor.attribute(inputs, lambda z: start_relevance(z, bundle.classes)).maps[:, 0]


def inside(maps: np.ndarray, image: PhantomImage) -> np.ndarray:
    """Return which pixels of a map (h, w) lie in true text."""
    cover = np.zeros(maps.shape, bool)
    regions = [TextRegion(x0=b.x0, y0=b.y0, x1=b.x1, y1=b.y1) for b in image.boxes]
    for x0, y0, x1, y1 in map_boxes(regions, image.image.shape, maps.shape):
        cover[y0:y1, x0:x1] = True
    return cover


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--severity", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = load_bundle(options.model or train(Path(temporary), options.severity))
    specs = list(
        image_specs(
            task="classes", n_images=options.images, seed=4242, word_association=1.0, source_association=0.0,
            severity=options.severity,
        )
    )  # fmt: skip
    images = [render(s, SIDE_PX) for s in specs]
    inputs = torch.stack([bundle.preprocessing.prepare(f.image) for f in images])
    bare = torch.stack([bundle.preprocessing.prepare(render(s, SIDE_PX, with_text=False).image) for s in specs])
    with_text, without = bundle.logits(inputs).numpy(), bundle.logits(bare).numpy()
    winner, rows = with_text.argmax(1), np.arange(len(images))
    labels = np.array([bundle.classes.index(s.label) for s in specs])
    fall = with_text[rows, winner] - without[rows, winner]
    print(
        f"{len(images)} images, severity {options.severity:g}: accuracy {np.mean(winner == labels):.3f} with text, "
        f"{np.mean(without.argmax(1) == labels):.3f} without; the winning logit falls by {fall.mean():.2f} (SD {fall.std():.2f})"
    )
    driven = (winner == labels) & (fall > 0.3 * with_text[rows, winner])
    methods = {STOCK: stock_zennit(bundle)} | {name: ours(bundle, name) for name in (*PRESETS, *SURROGATES)}
    print(f"{'':28} Pearson  Spearman  Pearson where text drives (n = {driven.sum()})  mass in text  enrichment")
    points = {}
    for name, method in methods.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            maps = np.concatenate([method(inputs[i : i + 4]) for i in range(0, len(images), 4)]).astype(float)
        covers = np.stack([inside(m, f) for m, f in zip(maps, images, strict=True)])
        credited = (maps * covers).sum((1, 2))
        positive = np.clip(maps, 0, None)
        mass = (positive * covers).sum((1, 2)) / np.maximum(positive.sum((1, 2)), 1e-12)
        points[name] = credited
        print(
            f"{name:28} {pearsonr(credited, fall)[0]:7.3f}  {spearmanr(credited, fall)[0]:8.3f}  "
            f"{pearsonr(credited[driven], fall[driven])[0]:38.3f}  {mass.mean():12.3f}  "
            f"{mass.mean() / covers.mean():10.1f}"
        )
    if options.figure:
        panels = [scatter(points[name], fall, name) for name in (STOCK, DEFAULT_PRESET)]
        cv2.imwrite(str(options.figure), np.hstack(panels))
        print(options.figure)


def scatter(credited: np.ndarray, fall: np.ndarray, name: str, side: int = 520) -> np.ndarray:
    """Draw one method's images: what its maps credit to text, against what text does."""
    picture = np.full((side, side, 3), 255, np.uint8)
    low, high = 60, side - 45

    def place(values: np.ndarray) -> np.ndarray:
        least, most = min(values.min(), 0.0), max(values.max(), 0.0)
        return low + (values - least) / (most - least) * (high - low)

    for x, y in zip(place(credited), side - place(fall), strict=True):
        cv2.circle(picture, (round(x), round(y)), 4, (160, 90, 10), -1, cv2.LINE_AA)
    cv2.rectangle(picture, (low - 10, side - high - 10), (high + 10, side - low + 10), (120, 120, 120), 1)
    for text, where in (
        (f"{name}: r = {pearsonr(credited, fall)[0]:.2f}", (50, 24)),
        ("logit credited to text by the map", (130, side - 15)),
    ):
        cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (20, 20, 20), 1, cv2.LINE_AA)
    label = np.full((40, side, 3), 255, np.uint8)
    cv2.putText(
        label, "logit lost without the text", (130, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (20, 20, 20), 1, cv2.LINE_AA
    )
    picture[:, :40] = cv2.rotate(label, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return picture


if __name__ == "__main__":
    main()
