"""Stored predictions of the current run or of any finished run, without the network or the images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.data.conditions import Condition, Suite
from audit.data.findings import truth_of_label
from audit.data.groups import WITHHELD, Audited, group_columns
from audit.data.plan import Plan, PlannedCondition
from audit.data.planned_model import PlannedModel
from audit.data.strings import common_words
from audit.errors import StoreError, shown_string
from audit.prediction.rows import position_of, prediction_batches, prediction_parts
from audit.statistics.alignment import MIN_GROUP_PATIENTS
from audit.store.folder import RunFolder, check_run
from audit.store.results import ConditionUse, PredictionTable

_NO_DRAW = np.zeros((0, 0), dtype=np.int64)
"""How often the draws of a condition that the plan does not have may be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    name: str
    label: str
    patient: str
    source: str
    site: str
    view: str
    sex: str
    age: float | None
    truth: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run, with everything that is needed to measure again."""

    path: Path
    """Its folder."""
    plan: Plan
    """The content of `plan.json`."""
    suite: Suite
    """Its conditions."""
    table: PredictionTable
    """Its predictions."""


def read_finished(path: Path, *, but: frozenset[str] = frozenset()) -> FinishedRun:
    """Read the predictions of a finished run.

    Parameters
    ----------
    path : Path
        Its folder.
    but : frozenset of str
        Files that may have changed since (`audit.store.folder.check_run`).

    Raises
    ------
    StoreError
        If a file is missing, damaged, of another version, or was changed since the run ended.
    """
    check_run(path, but=but)
    run = RunFolder(path)
    plan = run.read(Plan)
    suite = planned_suite(plan)
    texts = ["label", "patient", "source", "site", "view", "sex"]
    multi_label = plan.model.task == "multi-label"
    further = ["unknown"] if multi_label else []
    records = [
        _Row(
            name=row["record_id"],
            age=row["age"],
            truth=_truth(run, row, plan.model.classes) if multi_label else (),
            **{key: "" if row[key] in (None, WITHHELD) else row[key] for key in texts},
        )
        for row in run.read_rows("records.parquet", ["record_id", "age", *texts, *further])
    ]
    table = read_predictions(run, prediction_parts(run), suite, records, plan.model)
    return FinishedRun(path=path, plan=plan, suite=suite, table=table)


def planned_suite(plan: Plan) -> Suite:
    """Return the conditions of a run as its plan states them."""
    return Suite(
        name=plan.suite.name,
        version=plan.suite.version,
        description=plan.suite.description,
        conditions=tuple(_condition(planned) for planned in plan.suite.conditions),
    )


def _truth(run: RunFolder, row: Mapping[str, Any], outputs: tuple[str, ...]) -> tuple[int, ...]:
    """Return what is known of the findings of a stored record."""
    found = truth_of_label(str(row["label"]), row["unknown"] or "", outputs)
    if found is None:
        raise StoreError(
            f"The records of the run {run.path} do not fit its plan: one has findings that the network has no output for "
            f"({shown_string(str(row['label']))}). The run was edited. Run the audit again."
        )
    return found


def stored_cuts(model: PlannedModel) -> tuple[float, ...]:
    """Return the probability above which each output of a multi-label network is stored as predicted; empty for other tasks.

    Where no operating point is given it is 0.5: Youden's index needs all predictions, and is taken when effects are measured.
    """
    if model.task != "multi-label":
        return ()
    points = model.operating_points or (None,) * len(model.classes)
    return tuple(0.5 if point is None else point for point in points)


def _condition(planned: PlannedCondition) -> Condition:
    known = (
        "name",
        "title",
        "perturbation",
        "role",
        "draws",
        "placebo",
        "parameters",
        "suspect",
        "question",
        "declared",
        "dose",
    )
    return Condition(**{key: getattr(planned, key) for key in known}, version=planned.perturbation_version)


def read_predictions(
    run: RunFolder, parts: Sequence[str], suite: Suite, records: Sequence[Audited], model: PlannedModel
) -> PredictionTable:
    """Gather the parts into arrays, with the words on the images: 4 bytes a logit, the only thing of a run that grows in memory."""
    classes, multi_label = model.classes, model.task == "multi-label"
    position = {record.name: i for i, record in enumerate(records)}
    n, k = len(records), len(classes)
    logits = {c.name: np.zeros((c.draws, n, k), dtype=np.float32) for c in suite.conditions}
    applied = {c.name: np.zeros((c.draws, n), dtype=np.bool_) for c in suite.conditions}
    donors = {c.name: np.full((c.draws, n), -1, dtype=np.int64) for c in suite.conditions}
    index = {name: i for i, name in enumerate(classes)}
    _check_records(run, records, index, multi_label=multi_label)
    told = {name: np.zeros(array.shape, dtype=np.int64) for name, array in applied.items()}
    for part in parts:
        for batch in prediction_batches(run, part, len(classes)):
            rows, from_rows = position_of(batch.record_ids, position), position_of(batch.donors, position)
            for name, of_name in batch.by_condition():
                draws, images = batch.draws[of_name], rows[of_name]
                counts = told.get(name, _NO_DRAW)
                wrong = (images < 0) | (draws < 0) | (draws >= len(counts))
                if not wrong.any():
                    np.add.at(counts, (draws, images), 1)
                    wrong = counts[draws, images] > 1
                if wrong.any():
                    raise StoreError(
                        f"{run.path / part} has a prediction that does not belong to the run's plan and records: {shown_string(name)}, "
                        f"draw {draws[wrong][0]}. The run was edited. Run the audit again."
                    )
                donors[name][draws, images] = from_rows[of_name]
                logits[name][draws, images] = batch.logits[of_name]
                applied[name][draws, images] = batch.applied[of_name]
    lacking = {name: int((array == 0).sum()) for name, array in told.items() if not array.all()}
    if lacking:
        raise StoreError(
            f"The run {run.path} lacks {sum(lacking.values())} predictions, the first under {shown_string(next(iter(lacking)))}. The run "
            "was edited. Run the audit again."
        )
    return PredictionTable(
        record_ids=np.array([r.name for r in records]),
        # The order of the run's records, which no key decides; that of names would be another with every key.
        ranks=np.arange(n),
        labels=np.zeros(n, dtype=np.int64)
        if multi_label
        else np.array([index[r.label] for r in records if r.label is not None], dtype=np.int64),
        truth=np.array([r.truth for r in records], dtype=np.int8) if multi_label else None,
        points=np.array([np.nan if p is None else p for p in model.operating_points], dtype=np.float64)
        if model.operating_points
        else None,
        patients=np.array([r.patient for r in records]),
        groups=group_columns(records),
        classes=classes,
        logits=logits,
        applied=applied,
        donors={name: array for name, array in donors.items() if (array >= 0).any()},
        words=common_words(
            (
                (position[row["record_id"]], row["text"])
                for row in run.read_rows("regions.parquet", ["record_id", "text"])
                if row["record_id"] in position
            ),
            [r.patient for r in records],
            min_patients=MIN_GROUP_PATIENTS,
        ),
    )


def _check_records(
    run: RunFolder, records: Sequence[Audited], classes: Mapping[str, int], *, multi_label: bool
) -> None:
    """Reject records that a run cannot have: none, two with one name, or one without a class of the network."""
    names = Counter(record.name for record in records)
    for what, found in (
        ("no record", None if records else "the table is empty"),
        ("two records of one name", next((name for name, n in names.items() if n > 1), None)),
        (
            "a record of another class",
            None if multi_label else next((str(r.label) for r in records if r.label not in classes), None),
        ),
    ):
        if found is not None:  # an empty name, too, is none that a run can have
            raise StoreError(
                f"The records of the run {run.path} do not fit its plan: it has {what} ({shown_string(found)}). The run was edited. Run "
                "the audit again."
            )


def read_uses(run: RunFolder, parts: Sequence[str], suite: Suite) -> list[ConditionUse]:
    """Count the images that each condition was applied to in all its draws, and the reasons for the others."""
    applied: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {c.name: Counter() for c in suite.conditions}
    changed: defaultdict[str, float] = defaultdict(float)
    n_variants: Counter[str] = Counter()
    for part in parts:  # a record lies in one part, with all its conditions
        why: dict[tuple[str, str], str] = {}
        for row in run.read_rows(part, ["record_id", "condition", "applied", "why_not", "changed_share"]):
            key, name = (row["record_id"], row["condition"]), row["condition"]
            if name not in reasons:
                raise StoreError(
                    f"{run.path / part} has a prediction under {shown_string(name)}, which is no condition of the run's plan. The run was "
                    "edited. Remove the folder, and run the audit again."
                )
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
