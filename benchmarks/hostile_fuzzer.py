"""Thousands of hostile files, each followed by the commands that read it: every one must be read or refused in words.

    python -m benchmarks.hostile_fuzzer [--cases 2400] [--seed 0] [--seconds 480] [--only TARGET] [--case N]

A small audit is made first: images, a manifest, a bundle, boxes, a suite, settings, two finished runs, a baseline and a review. Each
case changes one of these files (`tests.hostile_mutations`), makes hashes that vouch for it true again in two cases of three, so that
what lies behind them is reached, and runs a command in a forked process (`tests.forked_commands`).

Counted are tracebacks, faults of the program, hangs over 20 s, memory over 1.5 GB, messages over 2,000 characters, raw control and
bidirectional characters, temporary files left behind, and anything written outside the case's folder, into which links lead. A line
is printed for each, with the number that `--case` repeats it by. Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import image_encodings as made
from tests.forked_commands import faults, run_forked
from tests.hostile_mutations import mutation_for, replace, vouch_for

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
ON_RUN = (
    "report {run}", "gate {run}", "gate {run} --json", "diff {run} {other}", "diff {other} {run} --json", "diff {run} {other} --md",
    "verify {run}", "export mlflow {run}", "export model-card {run}", "export cyclonedx {run}",
    "report --compare {run} {other}", "baseline accept {run}", "baseline accept {run} --file new.json",
    "gate {other} --baseline {run}", "case {run} {name} --data data/manifest.csv", "report {run} --signoff review.json",
)  # fmt: skip
RESUME = "run --model models/C --data data/manifest.csv " + " ".join(QUICK)
PLAN = "plan --model models/C --data data/manifest.csv " + " ".join(QUICK)
TARGETS: Mapping[str, tuple[int, Sequence[str], Sequence[str]]] = {
    # what: its share, files (globs), commands
    "run": (30, (f"{RUN}/*.json", f"{RUN}/*/*.json", f"{RUN}/*.parquet", f"{RUN}/predictions/*"), ON_RUN),
    "kept": (18, (f"{KEPT}/*.json", f"{KEPT}/*/*.json", f"{KEPT}/*.parquet", f"{KEPT}/*/*"), [c.replace("{other}", KEPT) for c in ON_RUN]),
    "resumed": (5, (f"{RUN}/*.json", f"{RUN}/*/*.json", f"{RUN}/*.parquet", f"{RUN}/predictions/*", f"{RUN}/*"), (RESUME,)),
    "image": (14, ("odd/*",), ("look {file}", "look {file} --json --out shown", "text find {file} --detector markers")),
    "cohort image": (2, ("data/images/*",), (PLAN, RESUME)),
    "manifest": (10, ("data/manifest.csv", "data/manifest.parquet"), (
        "plan --model models/C --data {file} " + " ".join(QUICK), "text atlas --data {file} --detector annotated --boxes data/boxes.json",
        f"case {RUN} {{name}} --data {{file}}",
    )),
    "bundle": (10, ("models/C/*",), (PLAN, "curves models/C", "curves models/C models/B", RESUME)),
    "checkpoint": (4, ("foreign/*",), ("import {file} --as densenet-small --classes normal,pneumonia,covid --task single-label",)),
    "boxes": (5, ("data/boxes.json",), ("text score --boxes {file} --detector annotated", PLAN, RESUME)),
    "suite": (5, ("suite.toml",), (PLAN + " --suite suite.toml",)),
    "settings": (8, ("audit.toml", "pyproject.toml"), ("plan", f"gate {RUN}", "baseline prune", "baseline show --json")),
    "baseline": (8, ("audit-baseline.json", "audit-baseline.parquet"), (
        "baseline show", "baseline show --json", "baseline prune", f"gate {RUN} --baseline audit-baseline.json", f"gate {RUN}",
        f"baseline accept {RUN}",
    )),
    "review": (5, ("review.json", f"{RUN}/signoff.json"), (f"report {RUN} --signoff review.json", f"report {RUN}")),
    "list": (1, ("exclude.txt",), ("data build nih --root data --exclude exclude.txt",)),
}  # fmt: skip
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
where = { condition = "text-mask-black" }

[[gate.rule]]
id = "accuracy"
measure = "accuracy"
min = 0.1

[[gate.rule]]
id = "no-worse"
measure = "accuracy"
max_decrease = 0.05
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="of the processor, after which no case is begun"
    )
    parser.add_argument("--only", choices=list(TARGETS))
    parser.add_argument("--case", type=int, help="run this case alone, and print all that it wrote")
    options = parser.parse_args()
    _import_all()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        world = make_world(Path(folder) / "world")
        before = _listed(world)
        counts: Counter[str] = Counter()
        codes: Counter[int] = Counter()
        targets: Counter[str] = Counter()
        slowest, peak, spent, n = (0.0, ""), (0, ""), 0.0, 0
        for number in range(options.cases) if options.case is None else (options.case,):
            if spent > options.seconds:
                break
            n += 1
            rng = random.Random(f"{options.seed}/{number}")
            what = options.only or rng.choices(list(TARGETS), [share for share, _, _ in TARGETS.values()])[0]
            told, ended, found = one_case(world, Path(folder) / "case", what, rng)
            if options.case is not None:
                print(told, ended, sep="\n")
            for fault in found:
                counts[fault] += 1
                print(
                    f"{number:>6}  {fault}: {told}\n        {(ended.err.strip() or ended.out.strip())[-300:]!r}",
                    flush=True,
                )
            targets[what] += 1
            if n % 200 == 0:
                print(f"{n:>6} cases, {spent:.0f} s of the processor", file=sys.stderr, flush=True)
            codes[ended.code] += 1
            spent += ended.cpu_s
            slowest, peak = max(slowest, (ended.cpu_s, told)), max(peak, (ended.peak_bytes, told))
        if _listed(world) != before:
            counts["changed a file in place"] += 1
    print(f"{n} cases, {spent:.0f} s of the processor; exit codes {dict(sorted(codes.items()))}")
    print(", ".join(f"{what} {count}" for what, count in targets.items()))
    print(f"slowest {slowest[0]:.1f} s ({slowest[1]}); most memory {peak[0] / 1e6:.0f} MB ({peak[1]})")
    print("no fault" if not counts else "\n".join(f"{count:>6}  {fault}" for fault, count in counts.most_common()))
    sys.exit(bool(counts))


def one_case(world: Path, folder: Path, what: str, rng: random.Random) -> tuple[str, Any, list[str]]:
    """Change one file and run one command on it; return what was done, what came of it, and what was wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world, folder, copy_function=os.link, symlinks=True)
    _, globs, commands = TARGETS[what]
    files = sorted({path for glob in (rng.choice(globs),) for path in folder.glob(glob) if path.is_file()})
    file = rng.choice(files or [folder / RUN / "plan.json"])
    mutate = mutation_for(file, rng)
    told = mutate(file, rng)
    vouched = rng.random() < 0.67
    if vouched:
        vouch_again(folder)
    if what == "resumed":
        (folder / RUN / "run.json").unlink(missing_ok=True)
        (folder / RUN).rename(folder / "runs" / _name_of(world))
    if what in ("run", "kept") and rng.random() < 0.03:
        _link_out(folder, folder / (RUN if what == "run" else KEPT), rng)
        told += ", outputs are links"
    name = json.loads((world / RUN / "examples/examples.json").read_text())["examples"][0]["record"]
    run = KEPT if what == "kept" else RUN
    place = file.relative_to(folder).as_posix()
    arguments = rng.choice(list(commands)).format(run=run, other=OTHER, file=place, name=name).split()
    outside = _listed(folder / "outside")
    ended = run_forked(arguments, folder)
    found = list(faults(ended, folder))
    if _listed(folder / "outside") != outside:
        found.append("wrote outside")
    return (
        f"{place} ({told}{'' if vouched else ', hashes as they were'}): audit {' '.join(arguments)[:150]}",
        ended,
        found,
    )


def vouch_again(folder: Path) -> None:
    """Make the hashes in a case's folder true again where what holds them can still be read: a hash is no defence against its author."""
    for run in (folder / RUN, folder / KEPT):
        vouch_for(run)
    bundle, weights = folder / "models/C/model.json", folder / "models/C/weights.safetensors"
    if (document := _object(bundle)) is not None and _is_small_file(weights):
        _put(bundle, {**document, "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()})
    baseline, images = folder / "audit-baseline.json", folder / "audit-baseline.parquet"
    if (document := _object(baseline)) is not None:
        document.pop("sha256", None)
        if _is_small_file(images):
            document["images_sha256"] = hashlib.sha256(images.read_bytes()).hexdigest()
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
        _put(baseline, {**document, "sha256": digest})


def make_world(folder: Path) -> Path:
    """Make an audit with everything that a command reads."""
    import torch
    from PIL import Image

    from audit.models import networks
    from audit.models.bundle import save_bundle
    from audit.models.preprocessing import Preprocessing
    from tests.conftest import CLASSES, draw_film, marker_box
    from tests.golden.make_report import RUN as GOLDEN

    (folder / "data/images").mkdir(parents=True)
    (folder / "outside").mkdir()
    (folder / "outside/secret.png").write_bytes(b"secret")
    rows, boxes = [], {}
    for index in range(30):
        label = CLASSES[index % 3]
        name = f"images/{label}-{index}.png"
        Image.fromarray(draw_film(index, label)).save(folder / "data" / name)
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
    shutil.rmtree(folder / ".audit-cache", ignore_errors=True)
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


def _link_out(folder: Path, run: Path, rng: random.Random) -> None:
    """Let links stand where a command writes: each leads to a file outside that must stay as it is."""
    for name in rng.sample(("report.html", "summary.md", "junit.xml", "signoff.json", "verdict.json", "run.json"), 3):
        outside = folder / "outside" / name
        if (run / name).is_file() and not (run / name).is_symlink():
            shutil.copy(run / name, outside)
            (run / name).unlink()
        elif not (run / name).exists():
            outside.write_text("untouched")
        if not os.path.lexists(run / name) and outside.exists():
            (run / name).symlink_to(outside)


def _name_of(world: Path) -> str:
    return (world / "name").read_text()


def _is_small_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size < 50_000_000


def _object(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes()) if _is_small_file(path) and not path.is_symlink() else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _put(path: Path, document: Mapping[str, Any]) -> None:
    replace(path, json.dumps(document, indent=2, sort_keys=True).encode("utf-8", "surrogatepass"))


def _listed(folder: Path) -> list[tuple[str, int, int]]:
    """Return every file below a folder with its size and the time of its last change."""
    found = [(path, path.lstat()) for path in folder.rglob("*") if not path.is_dir()]
    return sorted((path.as_posix(), status.st_size, status.st_mtime_ns) for path, status in found)


def _import_all() -> None:
    """Import what commands import, so that no case pays for it; with one thread, for more do not survive a fork."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("AUDIT_KEY", "a key that is used by the fuzzer alone")
    for name in ("AUDIT_DEBUG", "GITHUB_STEP_SUMMARY"):
        os.environ.pop(name, None)
    import importlib
    import pkgutil

    import torch

    torch.set_num_threads(1)
    for package in (
        "audit.commands",
        "audit.reports",
        "audit.models",
        "audit.data",
        "audit.run",
        "audit.baseline",
        "audit.text",
    ):
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            try:
                importlib.import_module(module.name)
            except ImportError:  # an extra that is not installed
                continue


if __name__ == "__main__":
    main()
