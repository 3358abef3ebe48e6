"""The training story that a bundle tells: losses by epoch, the best network of every phase, the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.reports.figures.dots import nice_step, tick_text, tick_values
from audit.reports.findings.effect_words import number
from audit.reports.findings.paper import PaperNetwork, counts_in_order, paper_network
from audit.reports.findings.phases import PhaseEnd, is_number, mapping, read_phases
from audit.reports.reading.folder import RunView

WIDTH_PX, HEIGHT_PX = 480, 250
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 48, 14, 26, 40
_MOST_X_TICKS = 8
# A loss that jumps in one epoch would press all others into a line at the bottom.
_CUT_QUANTILE, _CUT_FACTOR = 0.9, 1.6


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One figure by epoch, in pixels of the drawing."""

    name: str
    """What it is, in words."""
    look: str
    """Class of its line: told apart by dashes, not by colour alone."""
    points: tuple[tuple[float, float], ...]
    """(x, y) of every epoch."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Figures over epochs, with the phases."""

    title: str
    """What it shows, for readers who cannot see it."""
    axis: str
    """What is drawn upwards."""
    traces: tuple[Trace, ...]
    """From the first drawn to the last."""
    marks: tuple[tuple[float, float, str], ...]
    """(x, y, text) of what was measured at the best network of every phase."""
    phases: tuple[tuple[float, str], ...]
    """Where each phase begins, and its name; without a name where there is no room for one."""
    x_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    y_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    cut: bool
    """Does a value lie above the figure's upper end?"""


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
    """All that a bundle tells of its training."""

    facts: tuple[tuple[str, str], ...]
    """What it was trained from and how, in words."""
    epochs: tuple[Mapping[str, Any], ...]
    """A row an epoch."""
    phases: tuple[PhaseEnd, ...]
    """In their order."""
    charts: tuple[Chart, ...]
    """Losses, and scores; empty where fewer than two epochs are told."""
    matrices: tuple[Matrix, ...]
    """The model's own, and the paper's beside it where it is one of the paper's networks."""
    paper: PaperNetwork | None
    """The paper's network of this name; None for any other model."""


def training_story(run: RunView) -> Story:
    """Return what the bundle of a run told; what it did not tell, or told in another shape, is left out."""
    told = run.plan["model"].get("training") or {}
    provenance, metrics = mapping(told.get("provenance")), mapping(told.get("metrics"))
    curves = mapping(metrics.get("curves"))
    epochs = tuple(row for row in _rows(curves.get("epochs")) if is_number(row.get("epoch")))
    phases = read_phases(metrics)
    own = own_matrix(metrics, f"{run.plan['model']['name']}: its own test images")
    # A foreign model that happens to be called C is not the paper's: only the chain's bundles say which network they are.
    paper = paper_network(provenance.get("network"), own.classes if own else run.plan["model"]["classes"])
    return Story(
        facts=tuple(
            (key.replace("_", " "), str(value))
            for key, value in provenance.items()
            if isinstance(value, (str, int, float)) and not isinstance(value, bool)
        ),
        epochs=epochs,
        phases=phases,
        charts=_charts(epochs, phases) if len(epochs) > 1 else (),
        matrices=tuple(m for m in (own, paper_matrix(paper, own)) if m is not None),
        paper=paper,
    )


def own_matrix(metrics: Mapping[str, Any], title: str) -> Matrix | None:
    """Return the confusion matrix of a bundle's test images; None where it tells none that is square."""
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


def _charts(epochs: Sequence[Mapping[str, Any]], phases: Sequence[PhaseEnd]) -> tuple[Chart, ...]:
    losses = _chart(
        "Loss by epoch",
        "loss",
        [("training", "train", "train_loss"), ("validation", "validation", "validation_loss")],
        epochs,
        phases,
        [(end.best_epoch, end.validation_loss, "best") for end in phases],
        top=None,
    )
    scores = _chart(
        "Score by epoch",
        "score",
        [("validation score", "validation", "validation_score")],
        epochs,
        phases,
        [(end.best_epoch, end.accuracy, "test") for end in phases],
        top=1.0,
    )
    return tuple(chart for chart in (losses, scores) if chart is not None)


def _chart(
    title: str,
    axis: str,
    wanted: Sequence[tuple[str, str, str]],
    epochs: Sequence[Mapping[str, Any]],
    phases: Sequence[PhaseEnd],
    marks: Sequence[tuple[float | None, float | None, str]],
    *,
    top: float | None,
) -> Chart | None:
    """Draw columns of the epochs; None where none of them holds numbers."""
    series = [
        (name, look, [(float(r["epoch"]), float(r[key])) for r in epochs if is_number(r.get(key))])
        for name, look, key in wanted
    ]
    series = [s for s in series if s[2]]
    if not series:
        return None
    values = sorted(v for _, _, points in series for _, v in points)
    high = values[-1] if top is None else top
    if top is None:
        high = min(high, _CUT_FACTOR * values[int(_CUT_QUANTILE * (len(values) - 1))])
    low = min(0.0, values[0])
    high = high if high > low else low + 1.0
    last = max(float(r["epoch"]) for r in epochs) or 1.0

    def x(epoch: float) -> float:
        return round(_LEFT_PX + epoch / last * (WIDTH_PX - _LEFT_PX - _RIGHT_PX), 1)

    def y(value: float) -> float:
        share = (min(value, high) - low) / (high - low)
        return round(HEIGHT_PX - _BOTTOM_PX - share * (HEIGHT_PX - _TOP_PX - _BOTTOM_PX), 1)

    drawn = [(float(e), float(v), text) for e, v, text in marks if e is not None and v is not None]
    ends = [0.0, *(float(p.last_epoch) for p in phases)]
    x_step = max(1, round(nice_step(last * 7 / _MOST_X_TICKS)))
    return Chart(
        title=f"{title}: " + ", ".join(f"{name} ends at {number(points[-1][1])}" for name, _, points in series),
        axis=axis,
        traces=tuple(
            Trace(name=name, look=look, points=tuple((x(e), y(v)) for e, v in points)) for name, look, points in series
        ),
        marks=tuple((x(e), y(v), text) for e, v, text in drawn),
        phases=tuple(
            # A phase's name needs about seven pixels a letter.
            (x(start), p.name if x(end) - x(start) > 7 * len(p.name) + 8 else "")
            for start, end, p in zip(ends, ends[1:], phases, strict=False)
        ),
        x_ticks=tuple((x(e), str(e)) for e in range(0, int(last) + 1, x_step)),
        y_ticks=tuple((y(v), tick_text(v)) for v in tick_values(low, high)),
        cut=values[-1] > high,
    )


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, (list, tuple)) else []
