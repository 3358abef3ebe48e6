"""The summary of a run on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from audit.errors import shown_lines
from audit.gates.scope import scope_sentence
from audit.reports.findings.effect_words import estimate, where
from audit.reports.findings.group_effects import sensitive_groups
from audit.reports.findings.output_effects import output_rows
from audit.reports.findings.statements import statements
from audit.reports.findings.summary import (
    first_lines,
    not_applied,
    reach,
    relevance_lines,
    source_lines,
    summary_lines,
)
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.store.numbers import number, signed
from audit.store.results import Effect

_STYLE = {
    "sensitive": "bold red", "robust": "green", "bounded": "green", "reversed": "yellow", "inconclusive": "yellow",
}  # fmt: skip
_MOST_GROUPS = 8
_FLIPS = "flip_rate"
_SHORT = {ACCURACY: "accuracy", _FLIPS: "flips"}
_UNBOUNDED = 10_000
"""Columns of a terminal that would hold every table."""


def render_terminal(run: RunView, console: Console) -> None:
    """Print the headline, the table of judged effects, and where relevance lies.

    Every string is printed as it is: class and file names are not markup, and codes in them do not reach the terminal.
    """
    lines = summary_lines(run)
    console.print(_text(lines[0], style="bold"))
    for line in first_lines(run):
        console.print(_text(line))
    if run.verdict.status == "incomplete":  # no other figure counts, so none is printed
        console.print(_text(lines[-1]))
        return
    accuracy = estimate(run.find("clean", ACCURACY))
    what = "Share of known labels met at the operating points" if run.multi_label else "Accuracy"
    console.print(_text(f"{what} {accuracy}, by source:"))
    sources = Table(box=None, pad_edge=False, show_header=False)
    for effect in run.effects:
        if effect.condition == "clean" and effect.measure == ACCURACY and effect.group.kind == "source":
            sources.add_row(
                _text(f"  {effect.group.value}"),
                _text(estimate(effect)),
                _text(f"n = {effect.n_images}"),
            )
    console.print(sources)
    _print_outputs(run, console)
    _print_headline(run, "edit", "edit − placebo", console)
    _print_groups(run, console)
    _print_headline(run, "sufficiency", "kept alone − placebo", console)
    for line in not_applied(run):
        console.print(_text(f"not applied to {line}"))
    for line in source_lines(run):
        console.print(_text(line))
    for line in relevance_lines(run):
        console.print(_text(line))
    _print_findings(run, console)
    console.print(_text(reach(run)))
    console.print(_text(scope_sentence(run.verdict)))
    for caveat in run.verdict.caveats:
        console.print(_text(caveat, style="bold yellow"))
    for gate in run.verdict.gates:
        console.print(_text(f"gate {gate.name}: {gate.outcome}"))
    console.print(_text(f"{run.verdict.status.upper()}", style="bold"))


def _print_findings(run: RunView, console: Console) -> None:
    """Print each finding on a line of its own, and what it lists below it."""
    for statement in statements(run):
        if len(statement.items) < 2:
            console.print(_text(statement.text))
            continue
        console.print(_text(f"{statement.opening}:"))
        for item in statement.items:
            console.print(_text(f"- {item}"))


def _print_outputs(run: RunView, console: Console) -> None:
    """Print each output of a multi-label network: how good it is, and the edit that moves it most."""
    rows = output_rows(run)
    if not rows:
        return
    known = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("output", "with", "unknown", "AUC", "sensitivity", "specificity"):
        known.add_column(column, justify="left" if column == "output" else "right", overflow="fold")
    for row in rows:
        known.add_row(
            _text(row.name),
            _text(str(row.present)),
            _text(str(row.unknown)),
            *(_text(_plain(e)) for e in (row.auc, row.recall, row.specificity)),
        )
    console.print(known)
    moved = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("output", "most changed by", "edit − placebo", "signed", "verdict"):
        moved.add_column(column, overflow="fold")
    for row in rows:
        if row.largest is not None:
            moved.add_row(
                _text(row.name),
                _text(run.title(row.largest.condition)),
                _text(estimate(row.largest)),
                _text(_change(row.shift)),
                _text(row.largest.verdict, style=_STYLE.get(row.largest.verdict, "")),
            )
    console.print(moved)


def _plain(effect: Effect | None) -> str:
    return "–" if effect is None or effect.estimate is None else number(effect.estimate, 2)


def _print_groups(run: RunView, console: Console) -> None:
    """Print the groups that show what all images together do not."""
    found = sensitive_groups(run)
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("edit − placebo, in groups", "n", "shortcut sensitivity", "verdict"):
        table.add_column(column, justify="right" if column == "n" else "left", overflow="fold")
    for effect in found[:_MOST_GROUPS]:
        table.add_row(
            _text(where(run, effect)),
            _text(str(effect.n_images)),
            _text(estimate(effect)),
            _text(effect.verdict, style=_STYLE.get(effect.verdict, "")),
        )
    console.print(table)
    if len(found) > _MOST_GROUPS:
        console.print(_text(f"and {len(found) - _MOST_GROUPS} more, in the report"))


def _print_headline(run: RunView, role: str, title: str, console: Console) -> None:
    effects = run.headline(role)
    if not effects:
        return
    # A narrow terminal gets fewer columns, rather than names that are broken in two; the report has all of them.
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for secondary in ((ACCURACY, _FLIPS), (ACCURACY,), ()):
        table = _headline_table(run, effects, title, secondary)
        if Measurement.get(console, unbounded, table).maximum <= console.width:
            break
    console.print(table)


def _headline_table(run: RunView, effects: Sequence[Effect], title: str, secondary: Sequence[str]) -> Table:
    """Return the judged measure of each condition, with the secondary measures beside it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    measure = MEASURES[effects[0].measure].title
    for column in (title, "n", measure, *(_SHORT[name] for name in secondary), "verdict"):
        table.add_column(column, justify="right" if column == "n" else "left", overflow="fold")
    for effect in effects:
        # Every column under "edit − placebo" is a difference; the edit's own flips stand in the report.
        others = (run.find(effect.condition, name, controlled=True) for name in secondary)
        table.add_row(
            _text(run.title(effect.condition)),
            _text(str(effect.n_images)),
            _text(estimate(effect)),
            *(_text(_change(other)) for other in others),
            _text(effect.verdict, style=_STYLE.get(effect.verdict, "")),
        )
    return table


def _change(effect: Effect | None) -> str:
    return "" if effect is None or effect.estimate is None else signed(effect.estimate)


def _text(string: str, style: str = "") -> Text:
    return Text(shown_lines(string), style=style)
