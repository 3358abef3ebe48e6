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
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.forked_commands import faults, run_forked
from tests.hostile_mutations import mutation_for, replace, vouch_for
from tests.hostile_world import ANSWERED, ATLAS, EMIT, KEPT, OTHER, QUICK, RESUME, RUN, make_world

ON_RUN = (
    "report {run}", "gate {run}", "gate {run} --json", "diff {run} {other}", "diff {other} {run} --json", "diff {run} {other} --md",
    "verify {run}", "export mlflow {run}", "export model-card {run}", "export cyclonedx {run}",
    "report --compare {run} {other}", "baseline accept {run}", "baseline accept {run} --file new.json",
    "gate {other} --baseline {run}", "case {run} {name} --data data/manifest.csv", "report {run} --signoff review.json",
)  # fmt: skip
PLAN = "plan --model models/C --data data/manifest.csv " + " ".join(QUICK)
PLAN_OF_PRODUCT = EMIT.replace("run ", "plan ", 1)
TARGETS: Mapping[str, tuple[int, Sequence[str], Sequence[str]]] = {
    # what: its share, files (globs), commands
    "run": (30, (f"{RUN}/*.json", f"{RUN}/*/*.json", f"{RUN}/*.parquet", f"{RUN}/predictions/*"), ON_RUN),
    "kept": (18, (f"{KEPT}/*.json", f"{KEPT}/*/*.json", f"{KEPT}/*.parquet", f"{KEPT}/*/*"), [c.replace("{other}", KEPT) for c in ON_RUN]),
    "resumed": (5, (f"{RUN}/*.json", f"{RUN}/*/*.json", f"{RUN}/*.parquet", f"{RUN}/predictions/*", f"{RUN}/*",
        "models/C/calibration.json"), (RESUME,)),
    "image": (14, ("odd/*",), ("look {file}", "look {file} --json --out shown", "text find {file} --detector markers")),
    "cohort image": (2, ("data/images/*",), (PLAN, RESUME)),
    "manifest": (10, ("data/manifest.csv", "data/manifest.parquet"), (
        "plan --model models/C --data {file} " + " ".join(QUICK), "text atlas --data {file} --detector annotated --boxes data/boxes.json",
        f"case {RUN} {{name}} --data {{file}}",
    )),
    "bundle": (10, ("models/C/*",), (PLAN, "curves models/C", "curves models/C models/B", RESUME)),
    "checkpoint": (8, ("foreign/*",), ("import {file} --as densenet-small --classes normal,pneumonia,covid --task single-label",)),
    "boxes": (5, ("data/boxes.json",), ("text score --boxes {file} --detector annotated", PLAN, RESUME)),
    "cached regions": (1, (".audit-cache/*/*/*.json",), (ATLAS,)),
    "layout": (6, ("sets/*/*.csv", "sets/*/*/*.csv", "sets/nih/test_list.txt"), (
        "plan --model models/C --data {folder} " + " ".join(QUICK), "data build {set} --root {folder} --out built.csv",
        "data build chestxray14 --root {folder} --out built.csv", "data build chexpert --root {folder} --out built.csv",
    )),
    "recipe": (3, ("recipe.toml",), (
        "train C --data data/manifest.csv --recipe recipe.toml --backbone-weights nowhere.pt --out models/new",
    )),
    "key": (2, ("key",), (PLAN, f"case {RUN} {{name}} --data data/manifest.csv", RESUME)),
    "suite": (6, ("suite.toml",), (PLAN + " --suite suite.toml", PLAN + " --suite suite.toml", RESUME + " --suite suite.toml")),
    "settings": (8, ("audit.toml", "pyproject.toml"), ("plan", f"gate {RUN}", "baseline prune", "baseline show --json")),
    "baseline": (8, ("audit-baseline.json", "audit-baseline.parquet"), (
        "baseline show", "baseline show --json", "baseline prune", f"gate {RUN} --baseline audit-baseline.json", f"gate {RUN}",
        f"baseline accept {RUN}",
    )),
    "review": (5, ("review.json", f"{RUN}/signoff.json"), (f"report {RUN} --signoff review.json", f"report {RUN}")),
    "answers": (8, ("product/answers.csv", "product/emission/*", "product/images/*"), (ANSWERED, ANSWERED, EMIT, PLAN_OF_PRODUCT)),
    "own answers": (3, ("check.csv",), (RESUME + " --check check.csv",)),
    "list": (1, ("exclude.txt",), ("data build nih --root sets/nih --exclude exclude.txt --out built.csv",)),
}  # fmt: skip


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
    import_all()
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
        finished = folder / RUN / "run.json"
        shutil.rmtree(finished) if finished.is_dir() else finished.unlink(missing_ok=True)
        (folder / RUN).rename(folder / "runs" / _name_of(world))
    if what in ("run", "kept") and rng.random() < 0.03:
        _link_out(folder, folder / (RUN if what == "run" else KEPT), rng)
        told += ", outputs are links"
    name = json.loads((world / RUN / "examples/examples.json").read_text())["examples"][0]["record"]
    run = KEPT if what == "kept" else RUN
    place = file.relative_to(folder).as_posix()
    arguments = rng.choice(list(commands)).format(run=run, other=OTHER, file=place, name=name, **_set_of(place)).split()
    outside = _listed(folder / "outside")
    ended = run_forked(arguments, folder, {"AUDIT_KEY": None, "AUDIT_KEY_FILE": "key"} if what == "key" else {})
    found = list(faults(ended, folder))
    if _listed(folder / "outside") != outside:
        found.append("wrote outside")
    return (
        f"{place} ({told}{'' if vouched else ', hashes as they were'}): audit {' '.join(arguments)[:150]}",
        ended,
        found,
    )


def _set_of(place: str) -> dict[str, str]:
    """Return the data set that a file belongs to, by its folder and by its name."""
    parts = place.split("/")
    name = parts[1] if parts[0] == "sets" else ""
    return {"folder": f"sets/{name}", "set": {"mimic": "mimic-cxr-jpg"}.get(name, name)}


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
    """Return every file below a folder with its size and the time of its last change; of a cache each use changes it."""
    found = [
        (path, path.lstat()) for path in folder.rglob("*") if not path.is_dir() and ".audit-cache" not in path.parts
    ]
    return sorted((path.as_posix(), status.st_size, status.st_mtime_ns) for path, status in found)


def import_all() -> None:
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
