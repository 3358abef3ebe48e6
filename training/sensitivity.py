"""Networks of earlier epochs, audited on the same test images: how sensitive the network was to each edit while it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from audit.baseline.comparison import Baseline
from audit.errors import UsageError
from audit.files import write_atomically
from audit.prediction.table import FinishedRun, read_finished
from audit.run.pipeline import run_audit
from audit.run.recording import OnStage
from audit.run.settings import Settings
from audit.statistics.selections import headline_of
from audit.store.documents import read_json
from audit.store.folder import RunFolder
from audit.store.group import ALL
from audit.store.results import SCHEMA_VERSION, Effect, EffectsDocument
from audit.store.sensitivity import EpochAudit, JudgedEdit, SensitivityDocument
from audit.store.serialise import plain, to_json
from audit.training.kept import kept_folder
from audit.training.networks import NETWORKS
from audit.training.recipes import Recipe
from audit.training.steps import KeepEvery


def read_keep_every(text: str, network: str, recipe: Recipe) -> KeepEvery:
    """Return what `--audit-every` asks for, before anything is trained.

    Raises
    ------
    UsageError
        If it is neither `phase` nor a number of epochs that the recipe has, or the network has no classes to audit.
    """
    if network in NETWORKS and not NETWORKS[network].classes:
        raise UsageError(
            f"--audit-every audits networks of the last step, but {network} ends with the findings. Omit it."
        )
    if text == "phase":
        return "phase"
    epochs = sum(phase.epochs for phase in recipe.classes.phases)
    if text.isascii() and text.isdecimal() and 0 < int(text) <= epochs:
        return int(text)
    raise UsageError(
        f"--audit-every must be phase or a number of epochs from 1 to {epochs}, as many as the last step of recipe {recipe.name} has, but "
        f"is {text!r}."
    )


def audit_epochs(
    bundle: Path, settings: Settings, keep_every: KeepEvery, *, command: Sequence[str], on_stage: OnStage
) -> SensitivityDocument:
    """Audit the networks that a training kept, and write `sensitivity.json` beside the final one; what was audited is read back.

    Parameters
    ----------
    bundle : Path
        The final network.
    settings : Settings
        Data and audit; each network takes the place of the model.
    keep_every : "phase" or int
        What the training was asked to keep.
    command : sequence of str
        How this was started, for the record.
    on_stage : callable
        Called for every stage, and for every step in it.

    Raises
    ------
    UsageError
        If the training stopped before the first network was kept.
    """
    audited: list[tuple[int, Path]] = []
    for epoch in _kept(bundle, keep_every):
        # Heatmaps of earlier networks are shown nowhere, and cost more than the predictions.
        here = replace(
            settings,
            model=str(kept_folder(bundle, epoch)),
            runs=str(bundle / "epochs" / "runs"),
            check="",
            relevance_images=0,
        )
        audited.append((epoch, run_audit(here, judge_gates=True, command=command, on_stage=on_stage)[0]))
    document = _document(audited)
    text = to_json({"schema_version": SCHEMA_VERSION, **plain(document)})
    write_atomically(bundle / SensitivityDocument.FILE, text.encode("utf-8", "surrogateescape"))
    return document


def _kept(bundle: Path, keep_every: KeepEvery) -> list[int]:
    """Return the epochs whose networks this training kept; folders of an earlier one may lie there too."""
    curves = read_json(bundle / "model.json")["metrics"]["curves"]
    if keep_every == "phase":
        return sorted({int(phase["best_epoch"]) for phase in curves["phases"]})
    last = max(int(row["epoch"]) for row in curves["epochs"])
    if keep_every is None or last < keep_every:
        raise UsageError(
            f"--audit-every {keep_every} kept no network, because the training stopped after {last} epochs. Use a smaller number, or phase."
        )
    return list(range(keep_every, last + 1, keep_every))


def _document(audited: Sequence[tuple[int, Path]]) -> SensitivityDocument:
    runs = [read_finished(path) for _, path in audited]
    conditions = [c for c in runs[-1].plan.suite.conditions if c.judged]
    measures = {c.name: headline_of(c.role).name for c in conditions}
    baseline = Baseline(runs[-1], audited[0][1])
    edits = []
    for c in conditions:
        change = "only one network was audited" if len(audited) < 2 else baseline.change(c.name, measures[c.name], ALL)
        edits.append(
            JudgedEdit(
                condition=c.name,
                title=c.title or c.name,
                suspect=c.suspect,
                change=None if isinstance(change, str) or change.estimate is None else change,
                why_not=change if isinstance(change, str) else "" if change.estimate is not None else change.method,
            )
        )
    return SensitivityDocument(
        suite=runs[-1].plan.suite.name,
        n_images=len(runs[-1].table.record_ids),
        epochs=tuple(
            EpochAudit(
                epoch=epoch,
                run=path.name,
                accuracy=_accuracy(run),
                effects=_judged(RunFolder(path).read(EffectsDocument).effects, measures),
            )
            for (epoch, path), run in zip(audited, runs, strict=True)
        ),
        edits=tuple(edits),
    )


def _judged(effects: Sequence[Effect], measures: dict[str, str]) -> tuple[Effect, ...]:
    return tuple(e for e in effects if e.group == ALL and e.placebo and measures.get(e.condition) == e.measure)


def _accuracy(run: FinishedRun) -> float:
    clean = run.table.logits["clean"][0]
    return float((clean.argmax(axis=1) == run.table.labels).mean())
