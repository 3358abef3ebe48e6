"""A tiny cohort drawn in code, a tiny network, and regions that are known."""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from audit.cli import main as cli
from audit.data.records import Record
from audit.models import networks
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.models.tasks import Task

Audit = Callable[..., tuple[int, str, str]]

# Names of images must not differ between machines, and a test must not make a key in a home folder.
os.environ["AUDIT_KEY"] = "a key that is used by tests alone"

CLASSES = ("normal", "pneumonia", "covid")

# A run syncs 140 files, for milliseconds each; what a test writes need not survive a power cut. Tests of syncing put in their own.
os.fsync = lambda _file: None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that have slow tests, and end with those after which nothing can be forked.

    A process takes a whole file, and a slow one at the end would keep the others waiting.
    """
    slow, last = (
        {item.path for item in items if item.get_closest_marker(marker)} for marker in ("slow", "leaves_threads")
    )
    items.sort(key=lambda item: (item.path in last, item.path not in slow))


def pytest_collection_finish() -> None:
    """Leave what was imported and collected, a million objects, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


# Two spinning threads on a busy machine are ten times slower than one; the tests' networks are tiny anyway.
torch.set_num_threads(1)


# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("audit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("audit")


def draw_image(index: int, label: str, *, side_px: int = 96) -> np.ndarray:
    """Return a noisy grey image with a bright square whose corner tells the class, as a marker would."""
    rng = np.random.default_rng(index)
    image = rng.normal(110, 12, (side_px, side_px))
    yy, xx = np.mgrid[0:side_px, 0:side_px]
    image -= 50 * np.exp(-(((xx - side_px * 0.3) ** 2 + (yy - side_px * 0.5) ** 2) / 300))
    image -= 50 * np.exp(-(((xx - side_px * 0.7) ** 2 + (yy - side_px * 0.5) ** 2) / 300))
    x0, y0, x1, y1 = marker_box(label, side_px)
    image[y0:y1, x0:x1] = 250
    return np.clip(image, 0, 255).astype(np.uint8)


def marker_box(label: str, side_px: int = 96) -> tuple[int, int, int, int]:
    """Return the place of a class's marker."""
    place = {"normal": (4, 4), "pneumonia": (side_px - 20, 4), "covid": (4, side_px - 14)}[label]
    return place[0], place[1], place[0] + 14, place[1] + 8


def cohort_in(
    folder: Path,
    n_per_class: int = 6,
    *,
    text: bool = True,
    split: bool = False,
    classes: tuple[str, ...] = CLASSES,
) -> Path:
    """Write a small cohort with markers, and its file of boxes; return its manifest."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, boxes = [], {}
    index = 0
    for label in classes:
        for number in range(n_per_class):
            name = f"images/{label}-{number}.png"
            Image.fromarray(draw_image(index, label)).save(folder / name)
            x0, y0, x1, y1 = marker_box(label)
            boxes[name] = [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "text": label.upper()}] if text else []
            row = {
                "path": name,
                "label": label,
                "source": "north" if number % 2 else "south",
                "patient_id": f"{label}-{number // 2}",
                "findings": "No Finding" if label == "normal" else "Pneumonia",
            }
            if split:
                row["split"] = "train" if number < n_per_class // 2 else "test"
            rows.append(row)
            index += 1
    return write_tables(folder, rows, boxes)


def write_tables(folder: Path, rows: list[dict[str, Any]], boxes: dict[str, Any]) -> Path:
    """Write a cohort's manifest and its file of boxes; return the manifest."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "boxes.json").write_text(json.dumps({"schema_version": 1, "images": boxes}))
    return folder / "manifest.csv"


@pytest.fixture
def write_cohort(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small cohort into the test's folder; see `cohort_in`."""
    return partial(cohort_in, tmp_path / "data")


def know_tiny(patch: pytest.MonkeyPatch) -> str:
    """Register a DenseNet of a few thousand weights, and return its name."""
    import torchvision

    def build(k: int) -> torch.nn.Module:
        torch.manual_seed(0)
        return torchvision.models.DenseNet(
            growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=k
        )

    patch.setattr(networks, "ARCHITECTURES", {**networks.ARCHITECTURES, "tiny": build})
    return "tiny"


@pytest.fixture
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a test know the tiny DenseNet; return its name."""
    return know_tiny(monkeypatch)


def tiny_bundle_in(
    folder: Path,
    name: str = "C",
    *,
    classes: tuple[str, ...] = CLASSES,
    n_outputs: int | None = None,
    task: Task = "single-label",
    provenance: dict | None = None,
    splits: dict | None = None,
    pixels: dict | None = None,
) -> Path:
    """Write a bundle of the tiny network, untrained but with live statistics; `know_tiny` comes first."""
    network = networks.build_network("tiny", n_outputs or len(classes))
    generator = torch.Generator().manual_seed(1)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 64, 64, generator=generator))
    return save_bundle(
        folder / name,
        network.eval(),
        name=name,
        architecture="tiny",
        classes=classes,
        task=task,
        preprocessing=Preprocessing(size_px=(64, 64)),
        provenance=provenance or {},
        metrics={},
        splits=splits or {},
        pixels=pixels,
    )


@pytest.fixture
def write_bundle(tmp_path: Path, tiny_architecture: str) -> Callable[..., Path]:
    """Return a function that writes a bundle of the tiny network into the test's folder; see `tiny_bundle_in`."""
    return partial(tiny_bundle_in, tmp_path / "models")


@pytest.fixture
def known_bundle(tmp_path: Path) -> Path:
    """Write a bundle C of small images and an architecture that every process knows, untrained; return its folder."""
    torch.manual_seed(0)
    return save_bundle(
        tmp_path / "models" / "C",
        networks.build_network("densenet-small", len(CLASSES)).eval(),
        name="C",
        architecture="densenet-small",
        classes=CLASSES,
        task="single-label",
        preprocessing=Preprocessing(size_px=(32, 32)),
        provenance={},
        metrics={},
        splits={},
    )


def quick_audit(manifest: Path, *further: object) -> list[object]:
    """Return the command that audits bundle C on a cohort of `write_cohort`, without relevance, in a second or two."""
    asked: list[object] = ["run", "--model", "C", "--data", manifest, "--suite", "quick", "--resamples", 100]
    asked += ["--detector", "annotated", "--boxes", manifest.parent / "boxes.json"]
    return [*asked, "--relevance-images", 0, "--judge-images", 0, *further]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a copy of the run that is kept for the report's tests, to be edited."""
    from .report_runs import kept_run

    return kept_run(tmp_path)


@pytest.fixture(scope="session")
def small_run_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the finished run of the tiny network on twelve images; nobody may change it."""
    from .report_runs import finished_run

    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        know_tiny(patch)
        return finished_run(cohort_in(folder / "data", 4), tiny_bundle_in(folder / "models"), folder)


@pytest.fixture
def small_run(small_run_made_once: Path, tmp_path: Path) -> Path:
    """Return a copy of that run, to be edited."""
    return shutil.copytree(small_run_made_once, tmp_path / "runs" / small_run_made_once.name)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a browser for the tests of a module."""
    from .chromium import started

    with started() as browser:
        yield browser


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Return a record of nobody."""
    return Record(id="r1", path=tmp_path / "r1.png", label="normal", patient="p1")


@pytest.fixture(scope="session")
def cxr_folder() -> Path:
    """Return the folder of real radiographs, or skip."""
    folder = Path(os.environ.get("AUDIT_CXR_DIR", Path(__file__).parents[2] / "shared" / "cxr"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no real radiographs at {folder}; set AUDIT_CXR_DIR")
    return folder


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Audit:
    """Return a function that runs the command in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["audit", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        written = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), written.out, written.err

    return run


def one_paragraph(text: str) -> str:
    """Return the complaint: the last line of standard error, after the progress; never a traceback."""
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if line.startswith("audit: ")]
    assert len(lines) == 1, text
    return lines[0]
