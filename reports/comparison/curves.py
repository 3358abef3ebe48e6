"""curves.html: the paper's Figure 1 and its confusion matrices, drawn from the bundles of several networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from audit.data.bundle_record import MAX_CLASS_NAME
from audit.errors import ModelError, shown_string
from audit.reports.comparison.sensitivity import SensitivityView, sensitivity_view
from audit.reports.figures import training_charts
from audit.reports.findings.paper_networks import PaperNetwork, paper_network
from audit.reports.findings.training_phases import LARGEST, read_phases
from audit.reports.findings.training_story import Matrix, own_matrix, paper_matrix
from audit.reports.page.templates import whole_page
from audit.store.documents import read_json
from audit.store.numbers import number
from audit.store.output import write_output
from audit.store.typed import typed

WIDTH_PX, HEIGHT_PX = 760, 380
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 60, 90, 16, 48
# Told apart without colour: each has its own dashes and its own mark.
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "14 5", "1 6")
_LABEL_PX = 16
Share = Annotated[float, Meta(ge=0, le=1)]
"""A part of one."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a bundle records of its training."""

    name: str
    """Name of the bundle."""
    architecture: str
    """Its architecture."""
    start: str
    """What it started from, in words."""
    hours: float | None
    """Of the last step."""
    epochs: tuple[int, ...]
    """Epoch of every phase's best network."""
    accuracies: tuple[float, ...]
    """Test accuracy of every phase's best network."""
    test: _Figures
    """Of the final network."""
    matrices: tuple[Matrix, ...]
    """Its confusion matrix, and the paper's next to it where it is one of the paper's networks."""
    paper: PaperNetwork | None
    """The paper's network of its name; None for any other."""
    sensitivity: SensitivityView | None
    """What the audits of its earlier epochs found; None where there were none."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One network in the figure, in pixels of the drawing."""

    name: str
    """Label at its end."""
    points: tuple[tuple[float, float], ...]
    """A point a phase."""
    dashes: str
    """Pattern of the line."""
    label_y: float
    """Position of the label, shifted so that labels do not overlap."""


def render_curves(folders: Sequence[Path], out: Path) -> Path:
    """Write `curves.html` for bundles of networks A to E.

    Raises
    ------
    ModelError
        If a folder contains no bundle, or one without test accuracy by phase.
    StoreError
        If what the audits of its epochs found cannot be read.
    """
    networks = [_read(folder) for folder in folders]
    lines, x_ticks, y_ticks = _lines(networks)
    page = whole_page(
        "comparison/curves.html.j2",
        networks=networks,
        lines=lines,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        width=WIDTH_PX,
        height=HEIGHT_PX,
        chart_width=training_charts.WIDTH_PX,
        chart_height=training_charts.HEIGHT_PX,
        left=_LEFT_PX,
        right=WIDTH_PX - _RIGHT_PX,
        bottom=HEIGHT_PX - _BOTTOM_PX,
    )
    write_output(out, page)
    return out


class _Figures(Struct, frozen=True, kw_only=True):
    """What of a bundle's test figures stands in the table."""

    n_images: Annotated[int, Meta(ge=0)]
    """Test images."""
    accuracy: Share
    """Of the final network."""
    balanced_accuracy: Share | None = None
    """Mean over the classes."""


class _Metrics(Struct, frozen=True, kw_only=True):
    """What of a bundle's metrics stands in the table; the phases are read where the report reads them."""

    test: _Figures
    """On the test images."""


class _Provenance(Struct, frozen=True, kw_only=True):
    """What of a bundle's story stands in the table."""

    starting_weights: Annotated[str, Meta(max_length=MAX_CLASS_NAME)] = "not said"
    """What it started from, in words."""
    hours: Annotated[float, Meta(ge=0, le=LARGEST)] | None = None
    """Of the last step."""
    network: str | None = None
    """Which network of the paper it is."""


class _Told(Struct, frozen=True, kw_only=True):
    """A bundle, as far as this page shows it; weights are not needed for it."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_CLASS_NAME)]
    """Name of the bundle."""
    architecture: Annotated[str, Meta(max_length=MAX_CLASS_NAME)]
    """Its architecture."""
    provenance: _Provenance
    """Its story."""
    metrics: _Metrics
    """Its figures."""


def _read(folder: Path) -> Network:
    """Read the story of one bundle."""
    try:
        document = read_json(folder / "model.json")
        told = typed(document, _Told)
        ends = [(p.best_epoch, p.accuracy) for p in read_phases(document["metrics"])]
        points = [(epoch, accuracy) for epoch, accuracy in ends if epoch is not None and accuracy is not None]
        if not points or len(points) < len(ends):
            raise ValueError("no best epoch and test accuracy for each phase")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} does not contain the test accuracy of every phase ({shown_string(str(error), 200)}). Expected a bundle written "
            "by `audit train A` to `E`."
        ) from error
    own = own_matrix(document["metrics"], told.name)
    paper = paper_network(told.provenance.network, own.classes if own else ())
    return Network(
        name=told.name,
        architecture=told.architecture,
        start=told.provenance.starting_weights,
        hours=told.provenance.hours,
        epochs=tuple(epoch for epoch, _ in points),
        accuracies=tuple(accuracy for _, accuracy in points),
        test=told.metrics.test,
        matrices=tuple(m for m in (own, paper_matrix(paper, own)) if m is not None),
        paper=paper,
        sensitivity=sensitivity_view(folder, document["metrics"]),
    )


def _lines(
    networks: Sequence[Network],
) -> tuple[list[Line], list[tuple[float, str]], list[tuple[float, str]]]:
    """Lay out the figure: epochs to the right, test accuracy upwards to 1."""
    last = max(epoch for n in networks for epoch in n.epochs) or 1
    lowest = min(a for n in networks for a in n.accuracies)
    floor = max(0.0, int(lowest * 20 - 1) / 20)

    def x(epoch: float) -> float:
        return round(_LEFT_PX + epoch / last * (WIDTH_PX - _LEFT_PX - _RIGHT_PX), 1)

    def y(accuracy: float) -> float:
        return round(_TOP_PX + (1 - accuracy) / (1 - floor) * (HEIGHT_PX - _TOP_PX - _BOTTOM_PX), 1)

    lines = []
    taken: list[float] = []
    for index, network in sorted(enumerate(networks), key=lambda pair: -pair[1].accuracies[-1]):
        label = max([y(network.accuracies[-1]) + 4, *(t + _LABEL_PX for t in taken[-1:])])
        taken.append(label)
        points = tuple((x(e), y(a)) for e, a in zip(network.epochs, network.accuracies, strict=True))
        lines.append(Line(name=network.name, points=points, dashes=_DASHES[index % len(_DASHES)], label_y=label))
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (1 - floor) / s <= 8)
    count = round((1 - floor) / step)
    y_ticks = [(y(1 - k * step), number(1 - k * step, 2)) for k in range(count + 1) if 1 - k * step >= floor - 1e-9]
    x_ticks = [(x(e), str(e)) for e in sorted({0, *(e for n in networks for e in n.epochs)})]
    return lines, x_ticks, y_ticks
