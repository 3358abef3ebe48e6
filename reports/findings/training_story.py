"""The training record of a bundle: losses by epoch, the best network of every phase, the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.reports.findings.paper_networks import PaperNetwork, counts_in_order, paper_network
from audit.reports.findings.training_phases import PhaseEnd, is_number, mapping, read_phases
from audit.reports.reading.view import RunView


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A confusion matrix."""

    title: str
    """Whose it is, and from which images."""
    classes: tuple[str, ...]
    """Of rows (true) and columns (predicted)."""
    counts: tuple[tuple[int, ...], ...]
    """Images."""

    @property
    def accuracy(self) -> float | None:
        """Return the share on the diagonal; None of no image."""
        total = sum(map(sum, self.counts))
        return sum(row[i] for i, row in enumerate(self.counts)) / total if total else None


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything that a bundle records about its training."""

    facts: tuple[tuple[str, str], ...]
    """What it was trained from and how, in words."""
    epochs: tuple[Mapping[str, Any], ...]
    """A row an epoch."""
    phases: tuple[PhaseEnd, ...]
    """In their order."""
    matrices: tuple[Matrix, ...]
    """The model's own, and the paper's if it is one of the paper's networks."""
    paper: PaperNetwork | None
    """The paper's network of this name; None for any other model."""


def training_story(run: RunView) -> Story:
    """Return the training record of a run's bundle; missing or malformed parts are left out."""
    told = run.plan.model.training
    provenance, metrics = told.provenance, told.metrics
    curves = mapping(metrics.get("curves"))
    epochs = tuple(row for row in _rows(curves.get("epochs")) if is_number(row.get("epoch")))
    phases = read_phases(metrics)
    own = own_matrix(metrics, f"{run.plan.model.name}: its own test images")
    # A foreign model that happens to be called C is not the paper's: only the chain's bundles say which network they are.
    paper = paper_network(provenance.get("network"), own.classes if own else run.plan.model.classes)
    return Story(
        facts=tuple(
            (key.replace("_", " "), str(value))
            for key, value in provenance.items()
            if isinstance(value, (str, int, float)) and not isinstance(value, bool)
        ),
        epochs=epochs,
        phases=phases,
        matrices=tuple(m for m in (own, paper_matrix(paper, own)) if m is not None),
        paper=paper,
    )


def own_matrix(metrics: Mapping[str, Any], title: str) -> Matrix | None:
    """Return the confusion matrix of a bundle's test images; None if it records no square one."""
    found = mapping(mapping(metrics.get("test")).get("confusion"))
    classes, counts = found.get("classes"), found.get("counts")
    if not isinstance(classes, (list, tuple)) or not isinstance(counts, (list, tuple)) or len(counts) != len(classes):
        return None
    if not all(isinstance(row, (list, tuple)) and len(row) == len(classes) for row in counts):
        return None
    if not all(is_number(value) for row in counts for value in row):
        return None
    return Matrix(
        title=title, classes=tuple(map(str, classes)), counts=tuple(tuple(int(v) for v in row) for row in counts)
    )


def paper_matrix(paper: PaperNetwork | None, own: Matrix | None) -> Matrix | None:
    """Return the paper's matrix with its classes in the order of ours."""
    if paper is None or own is None:
        return None
    return Matrix(
        title=f"The paper's {paper.name}, on its own test images ({paper.source})",
        classes=own.classes,
        counts=counts_in_order(paper, own.classes),
    )


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, (list, tuple)) else []
