"""What the fuzzer of hostile files damages: a small audit with everything that a command reads."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from tests import image_encodings as made
from tests.forked_commands import run_forked
from tests.hostile_sets import make_sets

RUN, OTHER, KEPT = "runs/now", "runs/before", "runs/kept"
QUICK = [
    "--suite",
    "quick",
    "--resamples",
    "100",
    "--detector",
    "annotated",
    "--boxes",
    "data/boxes.json",
    "--relevance-images",
    "0",
    "--judge-images",
    "0",
]
RESUME = "run --model models/C --data data/manifest.csv " + " ".join(QUICK)
EMIT = "run --model robot --emit product --classes normal,pneumonia,covid --data data/manifest.csv " + " ".join(QUICK)
ANSWERED = EMIT + " --predictions product/answers.csv"
ATLAS = "text atlas --data data/manifest.csv --detector annotated --boxes data/boxes.json"
SETTINGS = """\
[run]
model = "models/C"
data = "data/manifest.csv"
suite = "quick"
detector = "annotated"
boxes = "data/boxes.json"
resamples = 100
relevance_images = 0
judge_images = 0
seed = 3

[tolerance]
shortcut_sensitivity = 0.1

[recall]
all = [90, 100]

[columns]
path = "path"
label = "label"

[gate]
baseline = "audit-baseline.json"

[[gate.rule]]
id = "text"
measure = "shortcut_sensitivity"
max = 0.05
where = { condition = "text-mask-inpaint" }

[[gate.rule]]
id = "accuracy"
measure = "accuracy"
min = 0.1

[[gate.rule]]
id = "no-worse"
measure = "accuracy"
max_decrease = 0.05
"""


def make_world(folder: Path) -> Path:
    """Make an audit with everything that a command reads."""
    import torch
    from PIL import Image

    import audit.training  # noqa: F401  # where the recipes lie
    from audit.models import networks
    from audit.models.preprocessing import Preprocessing
    from audit.models.saving import save_bundle
    from tests.conftest import CLASSES, draw_image, marker_box
    from tests.golden.make_report import RUN as GOLDEN

    (folder / "data/images").mkdir(parents=True)
    (folder / "outside").mkdir()
    (folder / "outside/secret.png").write_bytes(b"secret")
    rows, boxes = [], {}
    for index in range(30):
        label = CLASSES[index % 3]
        name = f"images/{label}-{index}.png"
        Image.fromarray(draw_image(index, label)).save(folder / "data" / name)
        x0, y0, x1, y1 = marker_box(label)
        boxes[name] = [
            {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "text": label.upper(), "polygon": [[x0, y0], [x1, y0], [x1, y1]]}
        ]
        rows.append(
            {"path": name, "label": label, "source": ("north", "south")[index % 2], "patient_id": f"p{index // 2}",
             "age": f"0{20 + index}Y", "sex": "FM"[index % 2], "view": "PA"}
        )  # fmt: skip
    import pandas as pd

    table = pd.DataFrame(rows)
    table.to_csv(folder / "data/manifest.csv", index=False)
    table.to_parquet(folder / "data/manifest.parquet")
    (folder / "data/boxes.json").write_text(json.dumps({"schema_version": 1, "images": boxes}))
    (folder / "odd").mkdir()
    cases = [*made.encodings(made.picture()), *(case for _, _, case in made.radiography_encodings())]
    for number, case in enumerate(cases):
        (folder / f"odd/{number:03d}{case.suffix}").write_bytes(case.data)
    for name in ("C", "B"):
        torch.manual_seed(ord(name))
        network = networks.build_network("densenet-small", len(CLASSES)).eval()
        save_bundle(
            folder / "models" / name, network, name=name, architecture="densenet-small", classes=CLASSES, task="single-label",
            preprocessing=Preprocessing(size_px=(64, 64)), provenance=PROVENANCE, metrics=METRICS,
            splits={f"images/{label}-9{label}.png": "train" for label in CLASSES},
        )  # fmt: skip
    (folder / "foreign").mkdir()
    torch.save(network.state_dict(), folder / "foreign/state.pt")
    torch.save(network, folder / "foreign/old.pth", _use_new_zipfile_serialization=False)
    shutil.copy(folder / "models/C/weights.safetensors", folder / "foreign/weights.safetensors")
    (folder / "suite.toml").write_bytes(
        Path(sys.modules["audit"].__file__ or "").with_name("suites").joinpath("quick.toml").read_bytes()
    )
    for seed, place in ((0, RUN), (1, OTHER)):
        ended = run_forked([*RESUME.split(), "--seed", seed, "--runs", "first"], folder)
        assert ended.code in (0, 3), ended
        (found,) = (folder / "first").iterdir()
        (folder / "runs").mkdir(exist_ok=True)
        found.rename(folder / place)
        if seed == 0:
            (folder / "name").write_text(found.name)
    shutil.copytree(GOLDEN, folder / KEPT)
    (folder / "audit.toml").write_text(
        SETTINGS.replace('baseline = "audit-baseline.json"\n', "").rpartition("[[gate.rule]]")[0]
    )
    for arguments in (f"baseline accept {RUN} --file audit-baseline.json", f"gate {RUN}", f"gate {OTHER}"):
        ended = run_forked(arguments.split(), folder)
        assert ended.code in (0, 1, 3), ended
    (folder / "audit.toml").write_text(SETTINGS)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n' + re.sub(r"^(\[\[?)", r"\1tool.audit.", SETTINGS, flags=re.M)
    )
    _write_review(folder)
    (folder / "exclude.txt").write_text("a.png\nb.png\n")
    (folder / "key").write_text("0123456789abcdef" * 4 + "\n")
    make_sets(folder / "sets")
    recipes = Path(sys.modules["audit.training"].__file__ or "").with_name("recipes")
    (folder / "recipe.toml").write_bytes((recipes / "demo.toml").read_bytes())
    _write_calibration(folder / "models/C")
    _emit_and_answer(folder)
    _write_own_answers(folder)
    shutil.rmtree(folder / ".audit-cache", ignore_errors=True)
    ended = run_forked(ATLAS.split(), folder)
    assert ended.code == 0, ended
    return folder


PROVENANCE: dict[str, Any] = {
    "network": "C", "manifest": "../../data/manifest.csv", "ignore_labels": [], "on_bad_image": "fail", "columns": {"path": "path"},
    "layout": "auto", "starting_weights": "random weights", "hours": 0.25, "cohort_hash": "0" * 64, "seed": 0,
}  # fmt: skip
METRICS: dict[str, Any] = {
    "curves": {
        "epochs": [
            {"phase": "p", "epoch": e, "train_loss": 1 / e, "validation_loss": 2 / e, "validation_score": 0.5, "best": True}
            for e in range(1, 5)
        ],
        "phases": [
            {"phase": f"p{e}", "epoch": e, "best_epoch": e - 1, "validation_loss": 0.5, "found": {"accuracy": 0.6 + e / 10}}
            for e in (2, 4)
        ],
    },
    "test": {
        "accuracy": 0.9, "balanced_accuracy": 0.9, "n_images": 6,
        "confusion": {"classes": ["normal", "pneumonia", "covid"], "counts": [[2, 0, 0], [0, 2, 0], [1, 0, 1]]},
    },
}  # fmt: skip


def _write_calibration(bundle: Path) -> None:
    from audit.models.bundle import load_bundle

    found = {"hits": 9, "n": 10, "share": 0.9, "low": 0.6, "high": 0.98}
    document = {
        "schema_version": 1,
        "model": {"digest": load_bundle(bundle).digest},
        "powers": [{"about": "a word", "share": 0.5, "found": found}],
        "table": {"families": [{"found": found}], "false_alarms": [{"alarms": found}]},
        "networks": ["a", "b"],
    }
    (bundle / "calibration.json").write_text(json.dumps(document))


def _emit_and_answer(folder: Path) -> None:
    """Emit the images of a product that is not loaded, and answer them by their brightness."""
    import csv

    from audit.data.images import read_gray

    ended = run_forked(EMIT.split(), folder)
    assert ended.code == 0, ended
    table = folder / "product/answers.csv"
    head, *rows = csv.reader(table.read_text().splitlines())
    for row in rows:
        bright = float(read_gray(table.parent / row[0]).mean()) / 255
        row[1:] = [f"{v:.4f}" for v in (bright / 2, bright / 2, 1 - bright)]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def _write_own_answers(folder: Path) -> None:
    """Write what the owner of bundle C would have answered to twenty images."""
    import csv

    from audit.data.images import read_gray
    from audit.models.bundle import load_bundle
    from audit.statistics.outputs import softmax

    bundle = load_bundle(folder / "models/C")
    with (folder / "check.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *bundle.classes])
        for path in sorted((folder / "data/images").iterdir())[:20]:
            seen = bundle.preprocessing.prepare(read_gray(path))
            writer.writerow([f"images/{path.name}", *softmax(bundle.logits(seen[None]).numpy())[0].tolist()])


def _write_review(folder: Path) -> None:
    from audit.reports.findings.review import evidence_digest, findings, read_signoff
    from audit.reports.reading.folder import read_run

    run = read_run(folder / RUN)
    answers = [{"id": f.id, "answer": "agree", "comment": "as shown"} for f in findings(run)]
    review = {
        "kind": "audit-signoff",
        "evidence": evidence_digest(run),
        "reviewer": "A. Reader",
        "saved": "2026-01-02",
        "findings": answers,
    }
    (folder / "review.json").write_text(json.dumps(review))
    read_signoff(folder / RUN, folder / "review.json")
