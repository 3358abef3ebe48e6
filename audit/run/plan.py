"""The plan, which is written before anything runs, and the name of the run."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.data.conditions import Suite
from audit.data.plan import Plan, plan_hash
from audit.data.records import AuditedSplit, Cohort
from audit.data.tasks import Task
from audit.models.classifier import lacking
from audit.models.devices import batch_of, device_of
from audit.models.preprocessing import declared_steps
from audit.provenance import tool_version, without_paths
from audit.relevance.presets import about_method
from audit.run.settings import Settings
from audit.statistics.multiplicity import DECLARED, DRAWS, EXPLORATORY
from audit.store.serialise import plain, to_json
from audit.store.typed import typed

if TYPE_CHECKING:  # plans are hashed without predicting: torch takes seconds to import
    from audit.models.bundle import Bundle
    from audit.relevance.budget import MapBudget
    from audit.text.base import TextFinder

N_RELEVANCE_PLACEBOS = 200
_PACKAGES = (
    "torch",
    "torchvision",
    "zennit",
    "easyocr",
    "rapidocr",
    "onnxruntime",
    "opencv-python-headless",
    "numpy",
    "scipy",
    "pillow",
    "pyarrow",
)


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            # opencv has several package names; they contain the same library.
            found[name] = "another build"
    return found


def make_plan(
    bundle: Bundle,
    task: Task,
    points: tuple[float | None, ...],
    cohort: Cohort,
    split: AuditedSplit,
    suite: Suite,
    finder: TextFinder,
    settings: Settings,
    tolerances: Mapping[str, float],
    impossible: Mapping[str, str],
    start_signs: Mapping[str, float],
    maps: MapBudget,
    key: str | None,
) -> Plan:
    """Write down everything that determines the results.

    Parameters
    ----------
    bundle, task, points, cohort, split, suite, finder, settings, tolerances
        What is audited, and how.
    impossible : mapping
        Condition -> what the cohort lacks for it.
    start_signs : mapping
        Class -> sign of its output where relevance starts; empty for the winning output.
    maps : MapBudget
        How many images get a heatmap.

    Returns
    -------
    Plan
        The content of `plan.json`. It contains no path of this machine, no time, and no gate rules: a finished run can be
        judged by other rules without new predictions.
    """
    document = {
        "tool_version": tool_version(),
        "model": {
            "name": bundle.name,
            "digest": bundle.digest,
            "architecture": bundle.architecture,
            "classes": bundle.classes,
            "task": task,
            "operating_points": points,
            "assumed": bundle.assumed,
            "parity": bundle.parity,
            "backend": bundle.backend,
            "device": device_of(bundle).type,
            "batch_size": batch_of(bundle, settings.batch_size),
            "lacks": lacking(bundle.classifier),
            "preprocessing": declared_steps(bundle.preprocessing),
            "training": {"provenance": without_paths(bundle.provenance), "metrics": without_paths(bundle.metrics)},
        },
        "data": {
            # Not the folder's name by itself: folders are named after patients, too.
            "name": settings.data_name or f"data {cohort.content_hash[:8]}",
            "content_hash": cohort.content_hash,
            "masks_hash": cohort.masks_hash,
            "records_hash": records_hash(cohort),
            "split": split.words,
            "split_name": split.name,
            "split_told_by": split.told_by,
            "n_images": len(cohort.records),
            "n_seen_in_training": cohort.n_seen,
            "n_patients": len({r.patient for r in cohort.records}),
            "sampled_from": cohort.sampled_from,
            "max_images": settings.max_images if cohort.sampled_from else 0,
            "colour": cohort.colour,
            "n_greyed": cohort.n_greyed,
            "class_counts": cohort.class_counts(),
            "unknown_counts": cohort.unknown_counts(),
            "source_counts": dict(sorted(Counter(r.source for r in cohort.records).items())),
            "left_out": cohort.left_out,
            "notes": cohort.notes,
        },
        "suite": {
            "name": suite.name,
            "version": suite.version,
            "description": suite.description,
            "conditions": planned_conditions(suite, impossible),
        },
        "detector": {"name": finder.name, "version": finder.version, "config": finder.config()},
        "finder": {"about": finder.about, "parts": [list(part) for part in finder.parts]},
        # What the search found is added after it (`audit.run.objects`).
        "objects": {"asked": suite.objects, "n_images": 0, "n_found": 0, "why_none": "", "search_version": 0},
        "relevance": {
            "preset": settings.relevance_preset,
            "about": about_method(settings.relevance_preset),
            "start": settings.relevance_start,
            "start_signs": start_signs,
            "n_placebo": N_RELEVANCE_PLACEBOS,
            "max_images": maps.n_images,
            "cost": maps.cost,
        },
        "privacy": {"key": key, "plain_ids": settings.plain_ids, "show_text": settings.show_text},
        "seed": settings.seed,
        "statistics": {
            "resamples": settings.resamples,
            "level": settings.level,
            "declared": DECLARED,
            "declared_draws": DRAWS,
            "exploratory": EXPLORATORY,
        },
        "tolerances": dict(tolerances),
        "recall": dict(settings.recall),
        "packages": package_versions(),
        "python": platform.python_version(),
    }
    # As a reader gets it, so that the hash of a plan is the same before it is written and after it is read.
    return typed(plain(document), Plan)


def records_hash(cohort: Cohort) -> str:
    """Return the SHA-256 of the audited records: with the pixels, for a hash of ids alone could be tested against guesses."""
    return hashlib.sha256(to_json([[r.id, cohort.pixels[r.id]] for r in cohort.records]).encode()).hexdigest()


def planned_conditions(suite: Suite, impossible: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the conditions of a suite as a plan stores them; `impossible` names what the cohort lacks for a condition."""
    return [
        {
            "name": c.name,
            "title": c.title,
            "perturbation": c.perturbation,
            "perturbation_version": c.version,
            "declared": plain(c.declared),
            "role": c.role,
            "draws": c.draws,
            "placebo": c.placebo,
            "parameters": c.parameters,
            "suspect": c.suspect,
            "dose": c.dose,
            "cohort_lacks": impossible.get(c.name, ""),
            "question": c.question,
        }
        for c in suite.conditions
    ]


def run_path(runs: Path, plan: Plan) -> Path:
    """Return the folder of a plan: an existing one from an earlier start, otherwise a new one with today's date."""
    digest = plan_hash(plan)[:8]
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in plan.model.name)[:40]
    earlier = sorted(runs.glob(f"*-{digest}")) if runs.is_dir() else []
    if earlier:
        return earlier[0]
    return runs / f"{datetime.now(UTC):%Y-%m-%d}-{name}-{digest}"
