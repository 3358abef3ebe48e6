"""A world whose truth is known: a network of two features, one of them a printed marker, and images that hold both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from audit.models import networks
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle

from .conftest import write_tables

SIDE = 64
CLASSES = ("healthy", "ill")
MARKER = (4, 4, 24, 12)
"""x0, y0, x1, y1 of what is printed."""
CENTRE = (22, 22, 42, 42)
"""Where the disease is."""


class Known(nn.Module):
    """Reads the brightness of the marker's place and of the centre, and nothing else."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.features = _TwoPlaces()
        self.classifier = nn.Linear(2, n_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(inputs))


class _TwoPlaces(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        grey = inputs.mean(dim=1)
        return torch.stack([grey[:, y0:y1, x0:x1].mean(dim=(1, 2)) for x0, y0, x1, y1 in (MARKER, CENTRE)], dim=1)


def know_world(patch: pytest.MonkeyPatch) -> None:
    """Let bundles hold such networks."""
    patch.setattr(networks, "ARCHITECTURES", {**networks.ARCHITECTURES, "known": Known})


def known_bundle_in(folder: Path, *, marker: float, disease: float = 12.0, name: str = "K") -> Path:
    """Write a network whose weights on the marker and on the disease are known, of inputs between 0 and 1."""
    network = Known(2)
    with torch.no_grad():
        network.classifier.weight.copy_(torch.tensor([[-marker, -disease], [marker, disease]]) / 2)
        level = 0.5 * disease + 0.65 * marker
        network.classifier.bias.copy_(torch.tensor([level, -level]) / 2)
    return save_bundle(
        folder / name,
        network.eval(),
        name=name,
        architecture="known",
        classes=CLASSES,
        task="single-label",
        preprocessing=Preprocessing(size_px=(SIDE, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3),
        provenance={},
        metrics={},
        splits={},
    )


@dataclass(frozen=True)
class World:
    """Where it lies."""

    manifest: Path
    bundle: Path

    def settings(self) -> list[Any]:
        """Return the options of its audit."""
        return [
            "--model", self.bundle, "--data", self.manifest, "--suite", "quick", "--detector", "annotated",
            "--boxes", self.manifest.parent / "boxes.json", "--resamples", 200, "--relevance-images", 0, "--judge-images", 0,
            "--plain-ids", "--workers", 1,
        ]  # fmt: skip


def world_in(
    folder: Path,
    *,
    marker: float = 12.0,
    carried: tuple[float, float] = (0.1, 0.9),
    splits: bool = True,
    text: bool = True,
    n: int = 40,
) -> World:
    """Write n images of each class for training and for testing, n / 2 for validation, and the network.

    `carried` is the share of each class that bears the marker; boxes are known where it is.
    """
    rng = np.random.default_rng(3)
    (folder / "data" / "images").mkdir(parents=True, exist_ok=True)
    rows, boxes = [], {}
    for split, size in (("train", n), ("validation", n // 2), ("test", n)):
        for number in range(2 * size):
            label = number % 2
            image = rng.normal(90, 6, (SIDE, SIDE))
            x0, y0, x1, y1 = CENTRE
            image[y0:y1, x0:x1] = rng.normal(115 + 25 * label, 15) + rng.normal(0, 6, (y1 - y0, x1 - x0))
            here = rng.random() < carried[label]
            x0, y0, x1, y1 = MARKER
            if here:
                image[y0:y1, x0:x1] = 240
            name = f"images/{split}-{number}.png"
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / "data" / name)
            drawn = {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "text": "WARD"}
            boxes[name] = [drawn] if here and text else []
            row = {"path": name, "label": CLASSES[label], "patient_id": f"{split}-{number}", "source": "one"}
            rows.append({**row, **({"split": split} if splits else {})})
    return World(write_tables(folder / "data", rows, boxes), known_bundle_in(folder / "models", marker=marker))
