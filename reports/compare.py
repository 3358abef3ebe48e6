"""comparison.html: several finished runs side by side, in small multiples on one axis a measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.errors import UsageError
from audit.files import write_atomically
from reports.figures import WIDTH_PX, Dots, dots
from reports.html import environment, frame
from reports.relevance import interval
from reports.runfolder import HEADLINES, RunView, read_run
from reports.words import estimate

_Row = tuple[str, str, float | None, float | None, float | None, str]


def render_comparison(paths: Sequence[Path], out: Path) -> Path:
    """Write one page with the accuracy, the judged effects and the enrichment of several runs.

    Raises
    ------
    UsageError
        If fewer than two runs are given.
    StoreError
        If a run is not complete or a file of it is damaged.
    """
    if len(paths) < 2:
        raise UsageError(f"--compare needs at least two run folders, found {len(paths)}.")
    runs = [read_run(path) for path in paths]
    names = _names(runs)
    page = (
        environment()
        .get_template("compare.html.j2")
        .render(
            runs=list(zip(names, runs, strict=True)),
            warnings=_warnings(runs),
            figures_of=_figures(names, runs),
            width=WIDTH_PX,
            **frame(),
        )
    )
    write_atomically(out, page.encode("utf-8", "xmlcharrefreplace"))
    return out


def _names(runs: Sequence[RunView]) -> list[str]:
    """Name runs by their models, numbered where two have the same."""
    models = [str(run.plan["model"]["name"]) for run in runs]
    return [
        name if models.count(name) == 1 else f"{name} ({models[: i + 1].count(name)})" for i, name in enumerate(models)
    ]


def _warnings(runs: Sequence[RunView]) -> list[str]:
    """Say why runs may not be compared as they stand."""
    found = []
    if len({run.plan["data"]["content_hash"] for run in runs}) > 1:
        found.append("The runs rest on different images: a difference between models may be one between data.")
    if len({(run.plan["suite"]["name"], run.plan["suite"]["version"]) for run in runs}) > 1:
        found.append("The runs used different suites.")
    if any(run.problems for run in runs):
        found.append("A run folder was changed after its run; its own report says how.")
    found.append("Intervals are of each run alone; two that overlap may still differ, as the images are the same.")
    return found


def _figures(names: Sequence[str], runs: Sequence[RunView]) -> list[tuple[str, Dots]]:
    """Draw a small multiple for each measure, a row a run; effects of one measure share their axis."""
    found = [
        (
            "Accuracy on the unedited images",
            _drawn("accuracy", _effect_rows(names, runs, "clean", "accuracy"), [0.0, 1.0]),
        )
    ]
    conditions = dict.fromkeys((c["name"], HEADLINES[c["role"]]) for run in runs for c in run.judged())
    for measure in dict.fromkeys(HEADLINES.values()):
        mine = [(name, _effect_rows(names, runs, name, measure)) for name, m in conditions if m == measure]
        # One axis for the measure: small multiples are compared by eye.
        extent = [v for _, rows in mine for row in rows for v in row[2:5] if v is not None]
        found += [
            (f"{measure.replace('_', ' ').capitalize()}: {name}", _drawn(measure, rows, [0.0, *extent]))
            for name, rows in mine
        ]
    enrichment = _enrichment(names, runs)
    if enrichment:
        found.append(
            (
                "Relevance inside text over its share of the area; 1 is chance",
                _drawn("enrichment", enrichment, [0.0, 1.0]),
            )
        )
    return found


def _drawn(axis: str, rows: Sequence[_Row], extra: Sequence[float]) -> Dots:
    zero = 1.0 if axis == "enrichment" else 0.0
    return dots(axis.replace("_", " "), axis.replace("_", " "), rows, extra, [(zero, "zero", "")], None)


def _effect_rows(names: Sequence[str], runs: Sequence[RunView], condition: str, measure: str) -> list[_Row]:
    rows: list[_Row] = []
    for name, run in zip(names, runs, strict=True):
        e = run.find(condition, measure, controlled=condition != "clean")
        kind = "plain" if e is None or e.verdict == "descriptive" else e.verdict
        values = (None, None, None) if e is None else (e.estimate, e.low, e.high)
        rows.append((name, estimate(e), *values, kind))
    return rows


def _enrichment(names: Sequence[str], runs: Sequence[RunView]) -> list[_Row]:
    rows: list[_Row] = []
    for name, run in zip(names, runs, strict=True):
        groups = run.relevance_summary["groups"] if run.relevance_summary else []
        whole = next((g["enrichment"] for g in groups if g["group"] == "all"), None)
        if whole is not None:
            rows.append((name, interval(whole, 2), whole["value"], whole["low"], whole["high"], "plain"))
    return rows
