"""`audit train` and `audit curves`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from audit.commands.progress import ProgressLines
from audit.commands.tables import TableTeller
from audit.data.reading import TableOptions
from audit.models.bundle import find_bundle
from audit.reports.comparison.curves import render_curves
from audit.reports.findings.training_phases import read_phases
from audit.store.documents import read_json
from audit.store.numbers import number
from audit.training.chain import Progress, train_network
from audit.training.recipes import load_recipe
from audit.training.team import join_team


def train(
    network: str,
    data: Path,
    recipe: str,
    *,
    findings_data: Path | None,
    out: Path,
    ignore_labels: tuple[str, ...],
    on_bad_image: Literal["fail", "skip"],
    how: TableOptions,
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
            how=how,
            on_table=TableTeller(on_stage) if team.leads else None,
            backbone_weights=backbone_weights,
            checkpoint=checkpoint,
            seed=seed,
            team=team,
            checkpoint_batches=checkpoint_batches,
            tensorboard=tensorboard,
            on_progress=training_listener(on_stage) if team.leads else None,
        )
    if team.leads:
        document = read_json(folder / "model.json")
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


def training_listener(on_stage: Callable[[str, int], Callable[[], None]]) -> Callable[[Progress], None]:
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
