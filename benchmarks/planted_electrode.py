"""Is an artefact found that nobody named? Trains a network on images of which some carry an electrode, and groups its heatmaps.

    python -m benchmarks.planted_electrode [--share 0.6] [--images 180] [--model FOLDER] [--rows 4] [--out groups.jpg]

Of the COVID-19 images `--share` show an electrode, which no other image does and no text finder knows. Prints, for every group
that spectral relevance analysis finds, how many of its images carry one and where it differs, and draws the groups. Training
takes about three minutes on two cores; `--model` takes a bundle instead.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from audit.data.records import TextRegion
from audit.models.bundle import load_bundle
from audit.relevance.lrp import Attributor
from audit.relevance.regions import map_boxes
from audit.relevance.spectral_analysis import find_clusters, grid_maps
from audit.relevance.start import start_relevance
from audit.training.chain import train_network
from audit.training.phantom.cohort import image_specs, make_phantoms
from audit.training.phantom.image import render
from audit.training.recipes import load_recipe

IMAGE_PX, SHOWN_PX = 256, 200
SEVERITY = 0.5


def train(folder: Path, share: float) -> Path:
    """Train a network on images whose words tell nothing, and whose findings are faint."""
    images = make_phantoms(
        folder / "images", task="classes", n_images=540, seed=6, severity=SEVERITY, electrode_share=share
    )
    findings = make_phantoms(folder / "findings", task="findings", n_images=300, seed=6)
    train_network(
        "C", images, load_recipe("demo"), folder / "C", findings_manifest=findings, seed=0, on_progress=lambda _: None
    )
    return folder / "C"


def painted(image: np.ndarray, relevance: np.ndarray, spot: tuple[float, float, float, float]) -> np.ndarray:
    side = SHOWN_PX
    grey = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)[..., None].repeat(3, 2).astype(float)
    limit = float(np.quantile(np.abs(relevance), 0.995)) or 1.0
    strength = cv2.resize(np.clip(relevance / limit, -1, 1), (side, side))[..., None]
    weight = np.sqrt(np.abs(strength)) * 0.75
    picture = (grey * (1 - weight) + np.where(strength >= 0, (1, 97, 230), (170, 90, 45)) * weight).astype(np.uint8)
    corners = [round(v * side) for v in spot]
    cv2.rectangle(picture, (corners[0], corners[1]), (corners[2], corners[3]), (43, 53, 210), 2)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.6)
    parser.add_argument("--images", type=int, default=180)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rows", type=int, default=4, help="groups to draw")
    parser.add_argument("--out", type=Path, default=Path("groups.jpg"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = load_bundle(options.model or train(Path(temporary), options.share))
    specs = list(
        image_specs(
            task="classes", n_images=options.images, seed=99, severity=SEVERITY, electrode_share=options.share
        )
    )  # fmt: skip
    attributor = Attributor(bundle.network)
    images, maps, boxes, outputs = [], [], [], []
    for spec in specs:
        image = render(spec, IMAGE_PX)
        found = attributor.attribute(
            bundle.preprocessing.prepare(image.image)[None], lambda z: start_relevance(z, bundle.classes)
        )
        regions = [TextRegion(x0=b.x0, y0=b.y0, x1=b.x1, y1=b.y1) for b in image.boxes]
        images.append(image.image)
        maps.append(found.maps[0, 0])
        boxes.append(map_boxes(regions, image.image.shape, maps[-1].shape))
        outputs.append(bundle.classes[int(found.logits[0].argmax())])
    groups = find_clusters(grid_maps(zip(maps, boxes, strict=True)), outputs, seed=0)
    print(f"{options.images} images, an electrode on {sum(s.electrode for s in specs)}; accuracy "
          f"{np.mean([o == s.label for o, s in zip(outputs, specs, strict=True)]):.3f}")  # fmt: skip
    lines = []
    for output, clusters in groups.items():
        for cluster in clusters:
            with_it = sum(specs[i].electrode for i in cluster.members)
            print(
                f"{output}: {len(cluster.members)} of {outputs.count(output)} images, {with_it} with an electrode; "
                f"{100 * cluster.spot_mass:.0f} % of the relevance in x {cluster.spot[0]:.2f} to {cluster.spot[2]:.2f}, "
                f"y {cluster.spot[1]:.2f} to {cluster.spot[3]:.2f}, of other images {100 * cluster.spot_mass_elsewhere:.0f} %, "
                f"{100 * cluster.spot_text:.0f} % of it in text"
            )
            row = [painted(images[i], maps[i], cluster.spot) for i in cluster.members[:4]]
            title = np.full((26, SHOWN_PX * 4, 3), 255, np.uint8)
            text = f"{output}: {len(cluster.members)} of {outputs.count(output)} images, {with_it} with an electrode"
            cv2.putText(title, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
            lines.append(np.vstack([title, np.hstack(row)]))
    cv2.imwrite(str(options.out), np.vstack(lines[: options.rows]), [cv2.IMWRITE_JPEG_QUALITY, 80])
    print(options.out)


if __name__ == "__main__":
    main()
