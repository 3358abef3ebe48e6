"""comparison.html: several finished runs side by side, in small multiples on one axis a measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from audit.errors import UsageError
from audit.reports.figures.multiples import WIDTH_PX, Cell, Multiples, labels, multiples
from audit.reports.findings.effect_words import estimate, where
from audit.reports.findings.group_effects import sensitive_groups
from audit.reports.findings.relevance_by_group import interval
from audit.reports.findings.review import evidence_digest
from audit.reports.page.templates import whole_page
from audit.reports.reading.folder import read_run, understood
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.statistics.selections import headlines
from audit.store.group import ALL, Group
from audit.store.numbers import number
from audit.store.output import write_output
from audit.store.relevance import RelevanceGroup
from audit.store.results import Effect


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
    twice = [path for i, path in enumerate(paths) if path.resolve() in {p.resolve() for p in paths[:i]}]
    if twice:
        raise UsageError(f"--compare names {twice[0]} twice. Name each run once.")
    runs = [read_run(path) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        with understood(path):  # each alone first, so that an error names the folder that it is of
            _figures([""], [run])
    names = _names(runs)
    with understood(paths[0]):
        page = whole_page(
            "comparison/runs.html.j2",
            runs=[(name, run, *_summary(run)) for name, run in zip(names, runs, strict=True)],
            names=names,
            warnings=[*_warnings(names, runs), *_tolerance_warnings(runs)],
            measures=_figures(names, runs),
            width=WIDTH_PX,
        )
    write_output(out, page)
    return out


def _names(runs: Sequence[RunView]) -> list[str]:
    """Name runs by their models; numbered where two have the same, or look the same once figures have cut them."""
    models = [run.plan.model.name for run in runs]
    names = [
        name if models.count(name) == 1 else f"{name} ({models[: i + 1].count(name)})" for i, name in enumerate(models)
    ]
    if len(set(labels(names))) < len(names):
        return [f"{i}. {name}" for i, name in enumerate(names, start=1)]
    return names


def _warnings(names: Sequence[str], runs: Sequence[RunView]) -> list[str]:
    """Return the reasons why runs may not be comparable."""
    found = []
    same_images = len({run.plan.data.content_hash for run in runs}) == 1
    if not same_images:
        found.append(
            "The runs used different images: a difference between models may be a difference between data sets."
        )
    if len({tuple(run.plan.model.classes) for run in runs}) > 1:
        found.append("The models have different classes: where a model lacks a class, the figure has a gap.")
    evidence = [evidence_digest(run) for run in runs]
    twice = [name for name, digest in zip(names, evidence, strict=True) if evidence.count(digest) > 1]
    if twice:
        found.append(f"The same run is listed more than once: {', '.join(twice)}.")
    if len({(run.plan.suite.name, run.plan.suite.version) for run in runs}) > 1:
        found.append("The runs used different suites.")
    changed = [name for name, run in zip(names, runs, strict=True) if run.problems]
    if changed:
        found.append(
            f"Run folders that were changed after their run: {', '.join(changed)}; see their reports for details."
        )
    found.append(
        "Each interval refers to one run"
        + (
            "; two models may differ significantly even if their intervals overlap, because the images are the same."
            if same_images
            else "."
        )
    )
    return found


def _tolerance_warnings(runs: Sequence[RunView]) -> list[str]:
    return [
        f"The runs used different limits of {MEASURES[measure].title}, so no limit is drawn for it."
        for measure in headlines().values()
        if len(_tolerances(runs, measure)) > 1
    ]


def _tolerances(runs: Sequence[RunView], measure: str) -> set[float]:
    return {e.tolerance for run in runs for e in run.headline() if e.measure == measure and e.tolerance is not None}


def _summary(run: RunView) -> tuple[str, str, str]:
    """Return accuracy, the largest judged effect, and the enrichment of one run, in words."""
    found = [e for e in (*run.headline()[:1], *sensitive_groups(run)) if e.estimate is not None]
    largest = max(found, key=lambda e: e.estimate or 0.0, default=None)
    whole = _enrichment(run, ALL)
    return (
        estimate(run.find("clean", ACCURACY)),
        "not measured" if largest is None else f"{number(largest.estimate)} ({where(run, largest)})",
        "–" if whole is None else number(whole.enrichment.value, 1),
    )


def _figures(names: Sequence[str], runs: Sequence[RunView]) -> list[Multiples]:
    """Draw each measure; conditions that only some of the suites have are drawn with gaps."""
    return [f for f in (_accuracy(names, runs), *_shortcuts(names, runs), _relevance(names, runs)) if f is not None]


def _accuracy(names: Sequence[str], runs: Sequence[RunView]) -> Multiples:
    classes = dict.fromkeys(name for run in runs for name in run.plan.model.classes)
    panels = [("all images", [cell(n, r.find("clean", ACCURACY)) for n, r in zip(names, runs, strict=True)])]
    for name in classes:
        row = [
            cell(n, r.find("clean", "recall", Group(kind="class", value=name)))
            for n, r in zip(names, runs, strict=True)
        ]
        panels.append((f"recall of {name}", row))
    return multiples(
        "Accuracy",
        "Images",
        "The share of unedited images that are classified correctly: overall, and for each class.",
        "accuracy or recall",
        panels,
        holds=[0.0, 1.0],
        reference=None,
    )


def _shortcuts(names: Sequence[str], runs: Sequence[RunView]) -> Iterator[Multiples]:
    """Yield a figure for each judged measure."""
    conditions = dict.fromkeys((c.name, headlines()[c.role]) for run in runs for c in run.judged())
    # Of runs of several versions the last one names a condition.
    titles = {c.name: run.title(c.name) for run in runs for c in run.judged()}
    for measure in headlines().values():
        mine = [name for name, m in conditions if m == measure]
        tolerances = _tolerances(runs, measure)
        panels = [
            (titles[name], [cell(n, r.find(name, measure, controlled=True)) for n, r in zip(names, runs, strict=True)])
            for name in mine
        ]
        if panels:
            yield multiples(
                MEASURES[measure].title.capitalize(),
                "Condition",
                MEASURES[measure].explained,
                f"{MEASURES[measure].title} minus the placebo's",
                panels,
                holds=[],
                reference=0.0,
                tolerance=tolerances.pop() if len(tolerances) == 1 else None,
            )


def _relevance(names: Sequence[str], runs: Sequence[RunView]) -> Multiples | None:
    measured = {g.group for run in runs if run.relevance_summary for g in run.relevance_summary.groups}
    classes = dict.fromkeys(Group(kind="class", value=name) for run in runs for name in run.plan.model.classes)
    groups = [group for group in (ALL, *classes) if group in measured]
    if not groups:
        return None
    panels = []
    for group in groups:
        row = []
        for name, run in zip(names, runs, strict=True):
            found = _enrichment(run, group)
            e = None if found is None else found.enrichment
            row.append(
                Cell(
                    run=name,
                    value=None if e is None else e.value,
                    low=None if e is None else e.low,
                    high=None if e is None else e.high,
                    kind="plain",
                    text="not measured" if e is None else interval(e, 1),
                    n_images=None if found is None else found.n_images,
                )
            )
        panels.append((group.value or "all images", row))
    return multiples(
        "Enrichment of relevance in text",
        "Images",
        "Share of relevance inside text divided by the text's share of the area. At 1, the solid line, text gets no more than its "
        "area. Compare heatmaps of different architectures with care.",
        "enrichment",
        panels,
        holds=[0.0],
        reference=1.0,
    )


def _enrichment(run: RunView, group: Group) -> RelevanceGroup | None:
    groups = run.relevance_summary.groups if run.relevance_summary else ()
    return next((g for g in groups if g.group == group), None)


def cell(name: str, e: Effect | None) -> Cell:
    """Return what a model shows in a panel: one of its effects, or that there is none."""
    outer = None
    if e is not None and e.simultaneous_low is not None and e.simultaneous_high is not None:
        outer = (e.simultaneous_low, e.simultaneous_high)
    return Cell(
        run=name,
        value=None if e is None else e.estimate,
        low=None if e is None else e.low,
        high=None if e is None else e.high,
        kind="plain" if e is None or e.verdict == "descriptive" else e.verdict,
        text=estimate(e),
        n_images=None if e is None or e.estimate is None else e.n_images,
        outer=outer,
    )
