"""Predictions read back: of the run at hand, or of any finished run, without the network or the images."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from audit.conditions import Condition, Dose, Suite
from audit.errors import StoreError
from audit.results import ConditionUse, PredictionTable
from audit.store import RunFolder, check_run


class Audited(Protocol):
    """What statistics must know of a record."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def label(self) -> str | None:
        """Its class."""
        ...

    @property
    def patient(self) -> str:
        """Who was imaged, or a pseudonym."""
        ...

    @property
    def source(self) -> str:
        """Where it comes from."""
        ...

    @property
    def view(self) -> str:
        """Its projection."""
        ...

    @property
    def sex(self) -> str:
        """F, M or empty."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    id: str
    label: str
    patient: str
    source: str
    view: str
    sex: str


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run, read back far enough to measure anything anew."""

    path: Path
    """Its folder."""
    plan: Mapping[str, Any]
    """The content of `plan.json`."""
    suite: Suite
    """Its conditions."""
    table: PredictionTable
    """Its predictions."""


def pseudonym(content_hash: str, name: str) -> str:
    """Return a patient's or image's name in files that go out: the same for the same data, unlike the id in the manifest.

    It keeps ids out of sight; it does not keep them secret from one who can guess them and knows the data's hash.

    Parameters
    ----------
    content_hash : str
        Of the cohort; it salts the hash, so that two data sets cannot be joined by their patients.
    name : str
        The id in the manifest.
    """
    return hashlib.sha256(f"{content_hash}\0{name}".encode()).hexdigest()[:16]


def read_finished(path: Path) -> FinishedRun:
    """Read the predictions of a finished run.

    Raises
    ------
    StoreError
        If a file is missing, damaged, of another version, or was changed since the run ended.
    """
    check_run(path)
    run = RunFolder(path)
    plan = run.read_json("plan.json")
    if run.read_json("run.json").get("status") != "complete":
        raise StoreError(f"The run {path} is not complete; repeat its command and it goes on where it stopped.")
    conditions = tuple(_condition(row) for row in plan["suite"]["conditions"])
    suite = Suite(name=plan["suite"]["name"], version=plan["suite"]["version"], description="", conditions=conditions)
    columns = ["record_id", "label", "patient", "source", "view", "sex"]
    records = [
        _Row(id=row["record_id"], **{key: row[key] or "" for key in columns[1:]})
        for row in run.read_rows("records.parquet", columns)
    ]
    parts = [f"predictions/{part.name}" for part in sorted((path / "predictions").glob("part-*.parquet"))]
    table = read_predictions(run, parts, suite, records, tuple(plan["model"]["classes"]))
    return FinishedRun(path=path, plan=plan, suite=suite, table=table)


def _condition(row: Mapping[str, Any]) -> Condition:
    known = ("name", "perturbation", "role", "draws", "placebo", "parameters", "suspect", "question")
    dose = None if row["dose"] is None else Dose(**row["dose"])
    return Condition(**{key: row[key] for key in known}, dose=dose)


def read_predictions(
    run: RunFolder, parts: Sequence[str], suite: Suite, records: Sequence[Audited], classes: tuple[str, ...]
) -> PredictionTable:
    """Gather the parts into arrays: 4 bytes a logit, the only thing of a run that grows in memory."""
    position = {record.id: i for i, record in enumerate(records)}
    n, k = len(records), len(classes)
    logits = {c.name: np.zeros((c.draws, n, k), dtype=np.float32) for c in suite.conditions}
    applied = {c.name: np.zeros((c.draws, n), dtype=np.bool_) for c in suite.conditions}
    donors = {c.name: np.full((c.draws, n), -1, dtype=np.int64) for c in suite.conditions}
    index = {name: i for i, name in enumerate(classes)}
    for part in parts:
        for row in run.read_rows(part, ["record_id", "condition", "draw", "applied", "donor_class", "logits"]):
            i = position[row["record_id"]]
            donors[row["condition"]][row["draw"], i] = index.get(row["donor_class"], -1)
            logits[row["condition"]][row["draw"], i] = row["logits"]
            applied[row["condition"]][row["draw"], i] = row["applied"]
    return PredictionTable(
        record_ids=np.array([r.id for r in records]),
        labels=np.array([index[r.label] for r in records if r.label is not None], dtype=np.int64),
        patients=np.array([r.patient for r in records]),
        groups={
            "source": np.array([r.source for r in records]),
            "view": np.array([r.view or "unknown" for r in records]),
            "sex": np.array([r.sex or "unknown" for r in records]),
        },
        classes=classes,
        logits=logits,
        applied=applied,
        donors={name: array for name, array in donors.items() if (array >= 0).any()},
    )


def read_uses(run: RunFolder, parts: Sequence[str], suite: Suite) -> list[ConditionUse]:
    """Count to how many images each condition was applied in all its draws, and why not to the others."""
    applied: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {c.name: Counter() for c in suite.conditions}
    changed: defaultdict[str, float] = defaultdict(float)
    n_variants: Counter[str] = Counter()
    for part in parts:  # a record lies in one part, with all its conditions
        why: dict[tuple[str, str], str] = {}
        for row in run.read_rows(part, ["record_id", "condition", "applied", "why_not", "changed_share"]):
            key, name = (row["record_id"], row["condition"]), row["condition"]
            why[key] = why.get(key, "") or row["why_not"]
            n_variants[name] += row["applied"]
            changed[name] += row["changed_share"]
        for (_, name), reason in why.items():
            if reason:
                reasons[name][reason] += 1
            else:
                applied[name] += 1
    return [
        ConditionUse(
            condition=c.name,
            n_images=applied[c.name],
            not_applied=dict(sorted(reasons[c.name].items())),
            changed_share=changed[c.name] / n_variants[c.name] if n_variants[c.name] else None,
        )
        for c in suite.conditions
    ]
