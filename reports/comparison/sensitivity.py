"""Sensitivity by epoch, beside the curves of the training that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import StoreError
from audit.reports.figures.training_charts import Chart, sensitivity_charts, training_charts
from audit.reports.findings.training_phases import mapping, read_phases
from audit.store.documents import read_json
from audit.store.results import SCHEMA_VERSION
from audit.store.sensitivity import EpochAudit, SensitivityDocument
from audit.store.typed import FormatError, typed


@dataclass(frozen=True, kw_only=True)
class SensitivityView:
    """The audits of one network's earlier epochs, as the page shows them."""

    document: SensitivityDocument
    """What was found."""
    training: tuple[Chart, ...]
    """Loss and score by epoch."""
    effects: tuple[Chart, ...]
    """A chart for each judged edit, all on one scale."""
    rows: tuple[tuple[str, tuple[float | None, ...], Any], ...]
    """Edit, its effect in every audited epoch, and its paired change from the first to the last."""


def sensitivity_view(bundle: Path, metrics: object) -> SensitivityView | None:
    """Read what the audits of a bundle's earlier epochs found; None where there are none.

    Parameters
    ----------
    bundle : Path
        Folder of the final network.
    metrics : object
        The `metrics` of its `model.json`.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    path = bundle / SensitivityDocument.FILE
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        version = found.pop("schema_version", None) if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise FormatError(f"its schema version must be {SCHEMA_VERSION}")
        document = typed(found, SensitivityDocument)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"{path} cannot be read ({why}). Repeat `audit train` with --audit-every.") from error
    phases = read_phases(metrics)
    of_edit = {e.title: [_of(audit, e.condition) for audit in document.epochs] for e in document.edits}
    measured = {title: values for title, values in of_edit.items() if any(v is not None for v in values)}
    points = {
        title: [(audit.epoch, v) for audit, v in zip(document.epochs, values, strict=True) if v is not None]
        for title, values in measured.items()
    }
    return SensitivityView(
        document=document,
        training=training_charts(_epochs(metrics), phases),
        effects=sensitivity_charts(points, phases),
        rows=tuple((e.title, tuple(measured[e.title]), e) for e in document.edits if e.title in measured),
    )


def _of(audit: EpochAudit, condition: str) -> float | None:
    return next((e.estimate for e in audit.effects if e.condition == condition), None)


def _epochs(metrics: object) -> Sequence[Mapping[str, Any]]:
    rows = mapping(mapping(metrics).get("curves")).get("epochs")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, (list, tuple)) else []
