"""What an audit found of each output of a multi-label network: how good it is, and how far edits shift it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.data.strings import shown_string
from audit.reports.findings.effect_words import capital, points, points_interval, reads
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import PROBABILITY_SHIFT
from audit.store.group import Group
from audit.store.results import Effect

_SHOWN_OUTPUTS = 3


@dataclass(frozen=True, kw_only=True)
class OutputRow:
    """One output of a multi-label network."""

    name: str
    """Its name, fit to be printed."""
    present: int
    """Images with its finding."""
    unknown: int
    """Images of which that is unknown."""
    auc: Effect | None
    """On the unedited images; None where the labels are all alike or unknown."""
    recall: Effect | None
    """Its sensitivity: the share of images with the finding above the operating point."""
    specificity: Effect | None
    """Share of images without the finding below it."""
    largest: Effect | None
    """Its judged effect that is sensitive, else that is largest; None where nothing was judged."""
    shift: Effect | None
    """The change of its probability under that edit, with its sign, compared with the placebo."""


def output_rows(run: RunView) -> list[OutputRow]:
    """Return every output in the network's order; none of a network whose classes exclude each other."""
    if not run.multi_label:
        return []
    data = run.plan.data
    return [
        OutputRow(
            name=shown_string(name),
            present=data.class_counts[name],
            unknown=data.unknown_counts.get(name, 0),
            auc=run.find("clean", "auc", group),
            recall=run.find("clean", "recall", group),
            specificity=run.find("clean", "specificity", group),
            largest=largest,
            shift=None if largest is None else _shift(run, largest),
        )
        for name in run.plan.model.classes
        for group in [Group(kind="output", value=name)]
        for largest in [_largest(run, group)]
    ]


def sensitive_outputs(run: RunView, suspect: str) -> list[Effect]:
    """Return the sensitive effects on outputs of the edits of one suspect, the largest of each output, largest first."""
    largest: dict[Group, Effect] = {}
    for e in _judged(run):
        known = largest.get(e.group)
        found = e.verdict == "sensitive" and run.suspect(e.condition) == suspect
        if found and (known is None or (e.estimate or 0.0) > (known.estimate or 0.0)):
            largest[e.group] = e
    return sorted(largest.values(), key=lambda e: -(e.estimate or 0.0))


def outputs_sentence(run: RunView, suspect: str, found: Sequence[Effect]) -> str:
    """State which outputs follow a suspect, and by how many percentage points and which way the first of them is shifted."""
    first = found[0]
    said = (
        f"The network {reads(run, first.condition)} {suspect} for {_named(first)}. {capital(run.when(first.condition))}, the probability "
        f"of {_named(first)} shifts by {points(first.estimate)} percentage points more than with the placebo, on average "
        f"{points_interval(first)}"
    )
    if found[1:]:
        more = f" and {len(found) - 1 - _SHOWN_OUTPUTS} more" if len(found) - 1 > _SHOWN_OUTPUTS else ""
        others = ", ".join(f"{_named(e)} ({points(e.estimate)})" for e in found[1 : 1 + _SHOWN_OUTPUTS])
        said += f"; likewise that of {others}{more}"
    shift = _shift(run, first)
    if shift is None or shift.estimate is None or shift.low is None or shift.high is None:
        return f"{said}."
    if shift.low <= 0 <= shift.high:
        return (
            f"{said}. It shifts this probability in both directions: on average by {points(shift.estimate)} percentage points "
            f"({points(shift.low)} to {points(shift.high)})."
        )
    way, ends = ("raises", (shift.low, shift.high)) if shift.estimate > 0 else ("lowers", (-shift.high, -shift.low))
    return (
        f"{said}. It {way} this probability by {points(abs(shift.estimate))} percentage points on average ({points(ends[0])} to "
        f"{points(ends[1])})."
    )


def undecided_outputs(run: RunView, conditions: Sequence[str]) -> str:
    """Name the outputs that are not shown to be within the limit under edits; empty where all are."""
    names = dict.fromkeys(_named(e) for e in _judged(run) if e.condition in conditions and e.verdict != "robust")
    if not names:
        return ""
    shown = ", ".join(list(names)[:_SHOWN_OUTPUTS])
    more = f" and {len(names) - _SHOWN_OUTPUTS} more outputs" if len(names) > _SHOWN_OUTPUTS else ""
    return f"{shown}{more}"


def _judged(run: RunView) -> list[Effect]:
    return [e for e in run.effects if e.tolerance is not None and e.group.kind == "output" and e.estimate is not None]


def _largest(run: RunView, group: Group) -> Effect | None:
    mine = [e for e in _judged(run) if e.group == group]
    return max(mine, key=lambda e: (e.verdict == "sensitive", e.estimate or 0.0), default=None)


def _shift(run: RunView, effect: Effect) -> Effect | None:
    return run.find(effect.condition, PROBABILITY_SHIFT, effect.group, controlled=True)


def _named(effect: Effect) -> str:
    return shown_string(effect.group.value or "")
