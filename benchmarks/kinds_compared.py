"""One network in every form that the door lets in: its predictions and verdicts beside those of its owner's own pipeline. Prints a table.

    python -m benchmarks.kinds_compared [--model BUNDLE] [--images 24] [--only PART...]

The network is a DenseNet-121 with random weights, or that of a bundle; below it stand networks of other inputs and outputs. The images are
radiographs of AUDIT_CXR_DIR, or phantoms where there are none. The reference of each is its owner's own pipeline (Pillow, numpy, torch) as
a function that gets every edited image. Forms whose library is not installed are named as not run.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

import audit
from audit.calibration.corpus import radiograph_folder
from audit.data.images import read_gray
from audit.models.bundle import find_bundle, load_bundle
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.run.emission import emit_images
from audit.run.setting_checks import make_settings
from audit.store.folder import RunFolder
from audit.store.results import EffectsDocument
from audit.training.phantom.cohort import make_phantoms
from benchmarks import kinds_made as made

CLASSES = ("normal", "pneumonia", "covid")
TOLERANCE = 1e-4
"""Largest difference of a probability that counts as the same."""
_ENOUGH = 24
"""Images from which on the network that reads the word must be found sensitive."""
_LIBRARIES = ("timm", "torchxrayvision")
"""Those whose DenseNet-121 has torchvision's layers under the same names."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A network as somebody has it."""

    name: str
    """Stands in the table."""
    settings: Mapping[str, Any]
    """Of `audit.run_audit`."""
    like: str
    """The form that it must agree with; its own name for a reference."""
    package: str = ""
    """What must be installed; empty for nothing."""
    make: Callable[[], object] = lambda: None
    """Writes its files."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What its audit gave."""

    rows: Mapping[tuple[str, str, int], Sequence[float]]
    """Record, condition and draw -> probabilities."""
    verdicts: Mapping[tuple[str, str, str], str]
    """Condition, measure and group -> verdict."""
    seconds: float
    """From the call to the report."""


def chosen_records(folder: Path, n: int) -> Path:
    """Write a manifest of n images, classes equal: real radiographs, or phantoms."""
    cxr, each = radiograph_folder(), max(2, n // len(CLASSES))
    if cxr is None:
        return make_phantoms(folder / "phantoms", task="classes", n_images=len(CLASSES) * each, word_association=0.9)
    with (cxr / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for label in CLASSES for row in [r for r in rows if r["label"] == label][:each]]
    for row in chosen:
        for key in ("path", "lung_mask"):
            row[key] = str((cxr / row[key]).resolve()) if row[key] else ""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return folder / "manifest.csv"


def listed(manifest: Path) -> list[tuple[Path, str]]:
    with manifest.open(newline="") as file:
        return [(manifest.parent / row["path"], row["label"]) for row in csv.DictReader(file)]


def random_bundle(folder: Path, images: Sequence[np.ndarray]) -> Path:
    torch.manual_seed(0)
    steps = Preprocessing(size_px=(224, 224))
    network = made.with_telling_head(build_network("densenet121", len(CLASSES)), images, steps)
    return save_bundle(
        folder / "random", network, name="random", architecture="densenet121", classes=CLASSES, task="single-label",
        preprocessing=steps, provenance={}, metrics={}, splits={},
    )  # fmt: skip


def forms(folder: Path, manifest: Path, bundle: Path, images: Sequence[np.ndarray]) -> list[Form]:
    """Return the bundle's network in every form."""
    own = load_bundle(bundle)
    network, steps, classes, name = own.network, own.preprocessing, own.classes, own.architecture
    made.hold("shared", network)
    network.architecture, network.classes = name, classes  # type: ignore[assignment]
    owner, common = made.pipeline(network, steps), {"classes": classes, "data": manifest}
    told = {
        **common,
        "input_px": steps.input_px,
        "fit": "squash",
        "mean": steps.mean,
        "std": steps.std,
        "colour": "grey",
    }
    of_library = {**told, "value_range": (0.0, 1.0), "interpolation": "bilinear", "model": folder / "net.pth"}
    torch.save(network.state_dict(), folder / "net.pth")
    like, here = "callable of probabilities", "benchmarks.kinds_made"
    found = [
        Form(name=like, settings={"model": owner, **common}, like=like),
        Form(name="bundle", settings={"model": bundle, "data": manifest}, like=like),
        Form(name="torch factory", settings={"model": f"{here}:shared", **told}, like=like),
        Form(name="factory with a checkpoint", like=like,
             settings={"model": f"{here}:shared_from", "checkpoint": str(folder / "net.pth"), **told}),
        Form(name="live torch module", settings={"model": network, **told}, like=like),
    ]  # fmt: skip
    for label, end, package in (
        ("ONNX", "onnx", "onnxscript"),
        ("torch.export .pt2", "pt2", ""),
        ("TorchScript", "torchscript", ""),
    ):
        path = folder / f"net.{end}"
        found.append(
            Form(name=label, settings={"model": path, "trust": end != "onnx", **told}, like=like, package=package,
                 make=lambda path=path: made.write_exported(path, network, steps))
        )  # fmt: skip
    found.append(Form(name=f"torchvision:{name}", settings={**of_library, "kind": f"torchvision:{name}"}, like=like))
    if name == "densenet121":
        for library in _LIBRARIES:
            settings = {**of_library, "kind": f"{library}:densenet121", "channels": 3}
            found.append(Form(name=f"{library}:densenet121", settings=settings, like=like, package=library))
        monai = folder / "monai.pth"
        found.append(
            Form(name="monai:DenseNet121", settings={**of_library, "model": monai, "kind": "monai:DenseNet121", "channels": 3},
                 like=like, package="monai", make=lambda: torch.save(made.as_monai(network, len(classes)), monai))
        )  # fmt: skip
    product = {"model": "product", "emit": str(folder / "product"), **common}
    table = folder / "product" / "answers.csv"

    def answered() -> None:
        emit_images(make_settings({**USUAL, **product}), on_stage=lambda *_: lambda: None)
        made.answer_table(table, owner)

    found.append(
        Form(name="--emit and --predictions", settings={**product, "predictions": str(table)}, like=like, make=answered)
    )
    return [
        *found,
        *vit_forms(folder, common, classes, images),
        *other_forms(folder, common, told, network, steps, images),
    ]


def vit_forms(
    folder: Path, common: Mapping[str, Any], classes: Sequence[str], images: Sequence[np.ndarray]
) -> list[Form]:
    """Return a transformer as a folder of Hugging Face."""
    steps, path, like = (
        Preprocessing(size_px=(96, 96), mean=(0.5,) * 3, std=(0.5,) * 3),
        folder / "vit",
        "ViT: callable",
    )
    settings: dict[str, Any] = {**common}

    def write() -> None:
        settings["model"] = made.pipeline(made.write_vit(path, classes, images, steps), steps)

    return [
        Form(name=like, settings=settings, like=like, package="transformers", make=write),
        Form(
            name="ViT: Hugging Face folder",
            settings={"model": path, "data": common["data"]},
            like=like,
            package="transformers",
        ),
    ]


def other_forms(
    folder: Path,
    common: Mapping[str, Any],
    told: Mapping[str, Any],
    network: nn.Module,
    steps: Preprocessing,
    images: Sequence[np.ndarray],
) -> list[Form]:
    """Return networks of other inputs and of other outputs, each with its owner's pipeline."""
    here, data, classes = "benchmarks.kinds_made", common["data"], common["classes"]
    torch.manual_seed(1)
    grey, narrow = build_network("resnet18", len(classes)), Preprocessing(size_px=(128, 128), mean=(0.5,), std=(0.25,))
    grey.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    made.hold("grey", made.with_telling_head(grey, images, narrow))
    made.hold("of 255", made.Of255(network, steps))
    binary = {"classes": classes[:2], "data": data, "ignore_label": tuple(classes[2:])}
    two = made.hold("two logits", made.First(network, sigmoid=False))
    made.hold("one sigmoid", made.First(network, sigmoid=True))
    plain = {k: v for k, v in told.items() if k not in ("mean", "std", "classes", "data")}
    found = [
        Form(name="ResNet: callable", settings={"model": made.pipeline(grey, narrow), **common}, like="ResNet: callable"),
        Form(name="ResNet of 1 channel", like="ResNet: callable", settings={
            "model": f"{here}:grey_resnet", **common, "input_px": (128,), "fit": "squash", "mean": (0.5,), "std": (0.25,)}),
        Form(name="input of 0 to 255", like="callable of probabilities", settings={
            "model": f"{here}:of_255", **common, **plain, "channels": 3, "value_range": (0, 255)}),
        Form(name="binary: callable", settings={"model": made.pipeline(two, steps), **binary}, like="binary: callable"),
        Form(name="binary: two logits", like="binary: callable", settings={
            "model": f"{here}:two_logits", **told, **binary, "task": "binary"}),
        Form(name="binary: one sigmoid", like="binary: callable", settings={
            "model": f"{here}:one_sigmoid", **told, **binary, "answers": "probabilities"}),
    ]  # fmt: skip
    word, unit = made.hold("word", made.ReadsTheWord()), Preprocessing(size_px=(224, 224), mean=(0.0,), std=(1.0,))
    painted = made.paint_findings(folder / "painted", [path for path, _ in listed(Path(data))])
    findings = {
        "classes": ("Pneumonia", "Mass"), "task": "multi-label", "operating_points": (0.5,), "data": painted,
        "detector": "annotated", "boxes": str(painted.parent / "boxes.json"),
    }  # fmt: skip
    like = "multi-label: callable"
    return [
        *found,
        Form(name=like, like=like, settings={"model": made.pipeline(word, unit, sigmoid=True), "answers": "probabilities", **findings}),
        Form(name="multi-label that reads the word", like=like, settings={
            "model": f"{here}:reads_the_word", "answers": "logits", "channels": 1, "input_px": (224,), "scale": "unit",
            "fit": "squash", **findings}),
    ]  # fmt: skip


USUAL: dict[str, Any] = {
    "suite": "quick", "resamples": 500, "judge_images": 0, "relevance_images": 0, "plain_ids": True, "split": "all",
}  # fmt: skip


def audited(form: Form) -> Found:
    form.make()
    begun = time.monotonic()
    result = audit.run_audit(gate=False, **{**USUAL, **form.settings})
    seconds = time.monotonic() - begun
    rows = [r for part in sorted((result.path / "predictions").iterdir()) for r in pq.read_table(part).to_pylist()]
    effects = RunFolder(result.path).read(EffectsDocument).effects
    return Found(
        rows={(r["record_id"], r["condition"], r["draw"]): r["probabilities"] for r in rows if r["applied"]},
        verdicts={(e.condition, e.measure, str(e.group)): e.verdict for e in effects},
        seconds=seconds,
    )


def compared(found: Found, other: Found) -> tuple[float, int, bool]:
    """Return the largest difference of a probability, the images compared, and whether all verdicts are the same."""
    assert found.rows.keys() == other.rows.keys(), "other images were edited"
    largest = max(float(np.abs(np.subtract(row, other.rows[key])).max()) for key, row in found.rows.items())
    return largest, len(found.rows), found.verdicts == other.verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument(
        "--only", nargs="*", default=[], help="forms whose name contains one of these, and their references"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # so that seconds can be compared, whatever else the machine does
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        USUAL.update(runs=str(folder / "runs"), cache=str(folder / "cache"))
        manifest = chosen_records(folder, options.images)
        images = [read_gray(path) for path, _ in listed(manifest)]
        bundle = find_bundle(options.model) if options.model else random_bundle(folder, images)
        every = forms(folder, manifest, bundle, images)
        wanted = {f.like for f in every if any(part in f.name for part in options.only)}
        asked = [
            f for f in every if not options.only or f.name in wanted or any(part in f.name for part in options.only)
        ]
        print(
            f"{len(images)} images, {'radiographs' if radiograph_folder() else 'phantoms'}; bundle {load_bundle(bundle).name}"
        )
        print(f"{'kind':34} {'images':>6} {'largest difference':>18}  {'same verdicts':13} {'seconds':>7}")
        known: dict[str, Found] = {}
        failed = []
        for form in asked:
            if form.package and importlib.util.find_spec(form.package) is None:
                print(f"{form.name:34} not run: {form.package} is not installed")
                continue
            found = known[form.name] = audited(form)
            largest, n, same = compared(found, known[form.like])
            told = (
                f"{largest:18.1e}  {'yes' if same else 'NO':13}"
                if form.like != form.name
                else f"{'(reference)':>18}  {'':13}"
            )
            print(f"{form.name:34} {n:6} {told} {found.seconds:7.1f}", flush=True)
            if largest > TOLERANCE or not same:
                failed.append(form.name)
        if "multi-label that reads the word" in known:
            outputs = {
                group.partition("=")[2]: verdict
                for (condition, measure, group), verdict in known["multi-label that reads the word"].verdicts.items()
                if (condition, measure) == ("text-mask-inpaint", "shortcut_sensitivity") and group.startswith("output=")
            }
            print("masking the text, by output: " + ", ".join(f"{name} {verdict}" for name, verdict in outputs.items()))
            if len(images) >= _ENOUGH and outputs["Pneumonia"] != "sensitive":
                failed.append("the verdict on the output that reads the word")
        if failed:
            raise SystemExit(f"Not the same as the owner's pipeline: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
