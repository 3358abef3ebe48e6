"""`audit train` and `audit demo`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from audit.commands import auditing
from audit.commands.keys import announce_key
from audit.commands.progress import ProgressLines
from audit.errors import UsageError
from audit.models.bundle import find_bundle
from audit.reports.comparison.curves import render_curves
from audit.reports.findings.training_phases import read_phases
from audit.run.settings import Settings
from audit.store.numbers import number
from audit.training.chain import Progress, train_network
from audit.training.phantom.cohort import make_phantoms
from audit.training.recipes import load_recipe
from audit.training.team import join_team

# Enough for a verdict within minutes; the parameters of the planted shortcut are the demo's subject, not its size.
DEMO_FILMS_PER_CLASS = 150
DEMO_FINDINGS_FILMS = 240


def train(
    network: str,
    data: Path,
    recipe: str,
    *,
    findings_data: Path | None,
    out: Path,
    ignore_labels: tuple[str, ...],
    on_bad_image: Literal["fail", "skip"],
    backbone_weights: Path | None,
    checkpoint: Path | None,
    checkpoint_batches: int,
    tensorboard: Path | None,
    seed: int,
) -> int:
    """Train a network, say how well it does, and where its bundle is."""
    with join_team() as team, ProgressLines(quiet=not team.leads) as on_stage:
        folder = train_network(
            network,
            data,
            load_recipe(recipe),
            out,
            findings_manifest=findings_data,
            ignore_labels=ignore_labels,
            on_bad_image=on_bad_image,
            backbone_weights=backbone_weights,
            checkpoint=checkpoint,
            seed=seed,
            team=team,
            checkpoint_batches=checkpoint_batches,
            tensorboard=tensorboard,
            on_progress=_listener(on_stage) if team.leads else None,
        )
    if team.leads:
        document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        sys.stdout.write(f"Starting weights: {document['provenance']['starting_weights']}\n")
        for end in read_phases(document["metrics"]):
            if end.accuracy is not None:
                sys.stdout.write(
                    f"Test accuracy of the best network of phase {end.name} (epoch {end.best_epoch}): {number(end.accuracy)}\n"
                )
        if "test" in document["metrics"]:
            sys.stdout.write(f"Test accuracy: {number(document['metrics']['test']['accuracy'])}\n")
        sys.stdout.write(f"{folder}\n")
    return 0


def curves(models: Sequence[str], out: Path) -> int:
    """Write the page of several networks' training; its path is the last line."""
    sys.stdout.write(f"{render_curves([find_bundle(model) for model in models], out)}\n")
    return 0


def demo(out: Path, *, association: float, seed: int, command: Sequence[str]) -> int:
    """Make phantoms, train a small C on them, audit it; the report's path is the last line."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder, but {out} is a file.")
    announce_key(Settings())
    with ProgressLines() as on_stage:
        step = on_stage("making radiographs", DEMO_FINDINGS_FILMS + 3 * DEMO_FILMS_PER_CLASS)
        findings = make_phantoms(
            out / "findings",
            task="findings",
            n_images=DEMO_FINDINGS_FILMS,
            seed=seed + 1,
            on_image=lambda done, total: step(),
        )
        films = make_phantoms(
            out / "films",
            task="classes",
            n_images=3 * DEMO_FILMS_PER_CLASS,
            seed=seed,
            word_association=association,
            source_association=association / 2,
            on_image=lambda done, total: step(),
        )
        folder = train_network(
            "C",
            films,
            load_recipe("demo"),
            out / "models" / "C",
            findings_manifest=findings,
            seed=seed,
            on_progress=_listener(on_stage),
        )
        from audit.run.pipeline import run_audit

        settings = Settings(
            model=str(folder),
            data=str(films),
            runs=str(out / "runs"),
            models=str(out / "models"),
            cache=str(out / "cache"),
            seed=seed,
            data_name="phantoms",
        )
        path, verdict = run_audit(settings, judge_gates=True, command=command, on_stage=on_stage)
        written = on_stage("writing the report", 1)
        report = auditing.render(path)
        written()
    auditing.show(path, verdict, report, as_json=False)
    return 0


def _listener(on_stage: Callable[[str, int], Callable[[], None]]) -> Callable[[Progress], None]:
    """Turn the chain's progress into stages: a new one whenever the step changes."""
    current = ""
    shown = 0
    step: Callable[[], None] | None = None

    def listen(progress: Progress) -> None:
        nonlocal current, shown, step
        if progress.step != current:
            current, shown = progress.step, 0
            step = on_stage(f"training: {progress.step}", progress.total)
        while step is not None and shown < progress.done:
            shown += 1
            step()
        if progress.message and (progress.step == "backbone" or progress.total == 0):
            sys.stderr.write(progress.message + "\n")

    return listen
