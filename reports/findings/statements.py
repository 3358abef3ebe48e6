"""The findings of a run as statements, one for each suspect and outcome: every rendering and every next step follows from these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.data.strings import shown_string
from audit.reports.findings.accuracy_worth import says_little, worth
from audit.reports.findings.effect_words import points, points_interval, reads
from audit.reports.findings.fill_agreement import fills_that_disagree
from audit.reports.findings.group_effects import place, sensitive_groups
from audit.reports.findings.output_effects import (
    headline_words,
    outputs_sentence,
    sensitive_outputs,
    undecided_outputs,
)
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.statistics.verdicts import is_within
from audit.store.results import Effect

Kind = Literal["found", "undecided", "reversed", "held", "silent", "disagreeing", "worth", "incomplete"]
"""found: an effect exceeds its limit; held: effects are within it; silent: nothing could be measured; disagreeing: two fills of the text
differ; worth: accuracy says little; incomplete: a control failed, nothing else counts."""
_SHOWN_GROUPS = 3
_SHOWN = ("robust", "bounded")
"""Verdicts that show an effect to be small."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One finding."""

    kind: Kind
    """What it states."""
    text: str
    """In sentences."""
    effect: Effect | None = None
    """The effect that it gives the numbers of; None where it gives none."""
    also: tuple[Effect, ...] = ()
    """Further effects that it covers, one for each further suspect."""


def statements(run: RunView) -> list[Statement]:
    """Return the findings, those that matter most first; there is always one, and never "no problems found"."""
    if run.verdict.status == "incomplete":
        return [Statement(kind="incomplete", text=run.verdict.summary)]
    effects = run.headline()
    if not any(e.estimate is not None for e in effects):
        none = "No edit could be applied to any image, so nothing can be concluded about shortcuts."
        return [Statement(kind="silent", text=none, effect=effects[0] if effects else None, also=_others(run, effects))]
    found = _in_groups(run)
    # What a group gives away is settled: that all images together do not show it is said in the same sentence.
    falls = _falls(run, effects)
    rest = [e for e in effects if run.suspect(e.condition) not in {*found, *falls}]
    said = [*_sensitive(run, effects), *found.values(), *falls.values(), *_undecided(run, rest), *_reversed(run, rest)]
    said += _cleared(run, rest)
    unmeasured = [e for e in effects if e.estimate is None]
    silent = _suspects(run, unmeasured, besides=[e for e in effects if e.estimate is not None])
    if silent:
        text = f"Nothing can be concluded about {silent}: no image could be edited this way."
        said.append(Statement(kind="silent", text=text, effect=unmeasured[0], also=_others(run, unmeasured)))
    said += [Statement(kind="disagreeing", text=text) for text in fills_that_disagree(run)]
    if says_little(run):
        said.append(Statement(kind="worth", text=worth(run)[0]))
    return said


def _sensitive(run: RunView, effects: Sequence[Effect]) -> Iterator[Statement]:
    """Yield a statement for each suspect with a sensitive effect, for its strongest condition."""
    seen: set[tuple[str, str]] = set()
    for e in effects:
        key = (run.suspect(e.condition), e.measure)
        if e.verdict != "sensitive" or key in seen:
            continue
        seen.add(key)
        outputs = sensitive_outputs(run, key[0]) if MEASURES[e.measure].judged_in_groups else []
        if outputs:
            yield Statement(kind="found", text=outputs_sentence(run, key[0], outputs), effect=outputs[0])
            continue
        text = MEASURES[e.measure].finding.format(
            suspect=key[0],
            Suspect=_capital(key[0]),
            reads=reads(run, e.condition),
            edit=run.edit(e.condition),
            points=points(e.estimate),
            interval=points_interval(e),
        )
        yield Statement(kind="found", text=text, effect=e)


def _in_groups(run: RunView) -> dict[str, Statement]:
    """Return suspect -> a statement on the groups with an effect, where all images together do not show it."""
    by_suspect: dict[str, list[Effect]] = {}
    for e in sensitive_groups(run):
        by_suspect.setdefault(run.suspect(e.condition), []).append(e)
    return {suspect: _grouped(run, suspect, found) for suspect, found in by_suspect.items()}


def _grouped(run: RunView, suspect: str, found: Sequence[Effect]) -> Statement:
    if any(e.group.kind == "output" for e in found):
        outputs = sensitive_outputs(run, suspect)
        return Statement(kind="found", text=outputs_sentence(run, suspect, outputs), effect=outputs[0])
    first = found[0]
    said = (
        f"The network {reads(run, first.condition)} {suspect} in {place(first.group)}. With {run.edit(first.condition)}, the class "
        f"probabilities of these {first.n_images} images shift by {points(first.estimate)} percentage points more than with the placebo, "
        f"on average {points_interval(first)}"
    )
    others = {e.group: e for e in reversed(found) if e.group != first.group}
    if others:
        shown = sorted(others.values(), key=lambda e: -(e.estimate or 0.0))[:_SHOWN_GROUPS]
        more = f" and {len(others) - len(shown)} more groups" if len(others) > len(shown) else ""
        said += "; likewise in " + ", ".join(f"{place(e.group)} ({points(e.estimate)})" for e in shown) + more
    whole = run.find(first.condition, first.measure, controlled=True)
    if whole is not None and whole.estimate is not None:
        said += f". Averaged over all images the shift is {points(whole.estimate)} {points_interval(whole)}: {whole.verdict}"
    return Statement(kind="found", text=f"{said}.", effect=first)


def _falls(run: RunView, effects: Sequence[Effect]) -> dict[str, Statement]:
    """Return suspect -> a statement on the accuracy lost under its edit, where shortcut sensitivity does not show an effect."""
    shown = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    found: dict[str, Effect] = {}
    for e in effects:
        fall = run.find(e.condition, ACCURACY, controlled=True)
        if fall is not None and fall.verdict == "sensitive" and run.suspect(e.condition) not in shown:
            found.setdefault(run.suspect(e.condition), fall)
    return {suspect: _fall(run, suspect, e) for suspect, e in found.items()}


def _fall(run: RunView, suspect: str, e: Effect) -> Statement:
    text = (
        f"Accuracy depends on {suspect}. With {run.edit(e.condition)}, it falls by {points(-(e.estimate or 0.0))} percentage points more "
        f"than with the placebo {points_interval(e, turned=True)}."
    )
    return Statement(kind="found", text=text, effect=e)


def _undecided(run: RunView, effects: Sequence[Effect]) -> Iterator[Statement]:
    sensitive = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    undecided = [
        e
        for e in effects
        if e.verdict == "inconclusive" and e.estimate is not None and run.suspect(e.condition) not in sensitive
    ]
    blind = [e for e in undecided if e.blind and is_within(e)]
    if blind:
        text = (
            f"Nothing can be concluded about {_suspects(run, blind)}: the network's predictions of the unedited images hardly vary, always "
            "name one class or are saturated, so a small change is not evidence of robustness."
        )
        yield Statement(kind="undecided", text=text, effect=blind[0], also=_others(run, blind))
    silent = [e for e in undecided if is_within(e) and not e.blind]  # only a class that could not be edited
    rest = [e for e in undecided if e not in silent and e not in blind]
    if silent:
        first = silent[0]
        text = (
            f"No image of class {' and '.join(shown_string(c) for c in first.classes_absent)} could be edited this way "
            f"({run.edit(first.condition)}), so whether the network relies on {_suspects(run, silent)} there cannot be concluded. In the "
            f"other images the shift is {points(first.estimate)} percentage points {points_interval(first)}."
        )
        yield Statement(kind="undecided", text=text, effect=silent[0], also=_others(run, silent))
    if rest:
        first = rest[0]
        interval = points_interval(first, two_sided=not MEASURES[first.measure].one_sided)
        decide = f" About {first.patients_to_decide:,} patients would decide." if first.patients_to_decide else ""
        text = (
            f"This sample is too small to decide whether the network relies on {_suspects(run, rest)}. With {run.edit(first.condition)}, "
            f"the shift is {points(first.estimate)} percentage points {interval}.{decide}"
        )
        yield Statement(kind="undecided", text=text, effect=rest[0], also=_others(run, rest))


def _reversed(run: RunView, effects: Sequence[Effect]) -> Iterator[Statement]:
    """Yield a statement for each suspect whose edit disturbs the network less than its placebo: no evidence either way."""
    seen: set[str] = set()
    for e in effects:
        suspect = run.suspect(e.condition)
        if e.verdict == "reversed" and suspect not in seen:
            seen.add(suspect)
            text = (
                f"{run.title(e.condition)}: this edit does not show whether the network relies on {suspect}. Its placebo disturbs the "
                f"network more than the edit does ({points(e.estimate)} percentage points), which can hide an effect. Use an edit with "
                "another fill."
            )
            yield Statement(kind="reversed", text=text, effect=e)


def _cleared(run: RunView, effects: Sequence[Effect]) -> Iterator[Statement]:
    others = [e for e in effects if e.verdict not in _SHOWN and e.estimate is not None]
    open_suspects = {run.suspect(o.condition) for o in others}
    for verdict in _SHOWN:
        shown = [e for e in effects if e.verdict == verdict]
        cleared = _suspects(run, shown, besides=others)
        if not cleared:
            continue
        largest = next(e for e in shown if run.suspect(e.condition) not in open_suspects)
        amount = f"{points(largest.estimate)} percentage points, with {run.edit(largest.condition)} {points_interval(largest)}"
        if verdict == "robust":
            text = (
                f"No edit of {cleared} shifts {headline_words(run)} by more than the limit compared with its placebo, averaged over the "
                f"images that it was applied to. The largest shift is {amount}.{undecided_outputs(run, [e.condition for e in shown])}"
            )
        else:
            text = (
                f"{_capital(cleared)} alone does not raise the probability of the true class by more than the limit compared with the "
                f"placebo, averaged over all images. The largest difference is {amount}."
            )
        yield Statement(kind="held", text=text, effect=largest)


def _others(run: RunView, effects: Sequence[Effect]) -> tuple[Effect, ...]:
    """Return the first effect of each suspect but that of the first effect."""
    first = {run.suspect(e.condition): e for e in reversed(effects)}
    return tuple(e for e in effects[1:] if first[run.suspect(e.condition)] is e)


def _suspects(run: RunView, effects: Sequence[Effect], besides: Sequence[Effect] = ()) -> str:
    """Name the suspects of effects, in their order, without those of `besides`: "the text or the border"."""
    taken = {run.suspect(e.condition) for e in besides}
    names = [name for name in dict.fromkeys(run.suspect(e.condition) for e in effects) if name not in taken]
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
