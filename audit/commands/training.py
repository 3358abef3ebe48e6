"""`audit train` and `audit curves`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from audit.commands.keys import announce_key
from audit.commands.progress import ProgressLines
from audit.commands.tables import TableTeller
from audit.data.reading import TableOptions
from audit.models.bundle import find_bundle
from audit.reports.comparison.curves import render_curves
from audit.reports.findings.training_phases import read_phases
from audit.run.settings import Settings
from audit.store.documents import read_json
from audit.store.numbers import number, signed_bracketed
from audit.store.sensitivity import EpochAudit, SensitivityDocument
from audit.training.chain import Progress, train_network
from audit.training.recipes import load_recipe
from audit.training.sensitivity import audit_epochs, read_keep_every
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
    audit_every: str | None,
    settings: Settings,
    seed: int,
) -> int:
    """Train a network, say how well it does, and where its bundle is; audit the networks of earlier epochs if asked."""
    chosen = load_recipe(recipe)
    keep_every = None if audit_every is None else read_keep_every(audit_every, network, chosen)
    if keep_every is not None:
        announce_key(settings)
    found = None
    with join_team() as team, ProgressLines(quiet=not team.leads) as on_stage:
        folder = train_network(
            network,
            data,
            chosen,
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
            keep_every=keep_every,
            on_progress=training_listener(on_stage) if team.leads else None,
        )
        if keep_every is not None and team.leads:
            # The bundle knows how its manifest is read.
            found = audit_epochs(folder, settings, keep_every, command=["audit", *sys.argv[1:]], on_stage=on_stage)
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
        if found is not None:
            sys.stdout.write("\n".join(sensitivity_lines(found)) + "\n")
        sys.stdout.write(f"{folder}\n")
    return 0


def sensitivity_lines(document: SensitivityDocument) -> list[str]:
    """Return the effects by epoch for a terminal, and their paired change from the first to the last."""
    shown = [e for e in document.edits if any(_estimate(audit, e.condition) is not None for audit in document.epochs)]
    heads = ["edit − placebo", *(f"epoch {audit.epoch}" for audit in document.epochs), "paired change, first to last"]
    rows = [heads, ["accuracy", *(number(audit.accuracy) for audit in document.epochs), ""]]
    for e in shown:
        change = "–" if e.change is None else signed_bracketed(e.change.estimate or 0.0, e.change.low, e.change.high)
        rows.append([e.title, *(number(_estimate(audit, e.condition)) for audit in document.epochs), change])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _estimate(audit: EpochAudit, condition: str) -> float | None:
    return next((e.estimate for e in audit.effects if e.condition == condition), None)


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
