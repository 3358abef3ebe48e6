"""The findings of a run as statements, one for each suspect and outcome: every rendering and every next step follows from these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.data.strings import shown_string
from audit.reports.findings.accuracy_worth import says_little, worth
from audit.reports.findings.carriers import carrier_sentence
from audit.reports.findings.effect_words import capital, needed_words, points, points_interval, reads
from audit.reports.findings.fill_agreement import fills_that_disagree
from audit.reports.findings.group_effects import place, sensitive_groups
from audit.reports.findings.output_effects import (
    outputs_sentence,
    sensitive_outputs,
    undecided_outputs,
)
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.statistics.verdicts import is_within
from audit.store.numbers import counted
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
    opening: str = ""
    """Where it lists several things, what stands before them; empty where it does not."""
    items: tuple[str, ...] = ()
    """These things, with their figures; the text holds them too."""
    names: tuple[str, ...] = ()
    """The same without figures, for a page that has these in a table."""
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
    settled = {(suspect, "edit") for suspect in (*found, *falls)}
    rest = [e for e in effects if _topic(run, e) not in settled]
    said = [*_sensitive(run, effects), *found.values(), *falls.values(), *_undecided(run, rest), *_reversed(run, rest)]
    said += _cleared(run, rest)
    unmeasured = [e for e in effects if e.estimate is None]
    silent = _names(run, unmeasured, besides=[e for e in effects if e.estimate is not None])
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
            text = f"{outputs_sentence(run, key[0], outputs)}{carrier_sentence(run, e)}"
            yield Statement(kind="found", text=text, effect=outputs[0])
            continue
        text = MEASURES[e.measure].finding.format(
            suspect=key[0],
            Suspect=capital(key[0]),
            reads=reads(run, e.condition),
            When=capital(run.when(e.condition)),
            points=points(e.estimate),
            interval=points_interval(e),
        )
        yield Statement(kind="found", text=f"{text}{_on_which(run, e)}{carrier_sentence(run, e)}", effect=e)


def _on_which(run: RunView, e: Effect) -> str:
    """State on how many images an object was edited: no others count for its effect."""
    declared = run.planned(e.condition).declared
    if "object" in declared.removes:
        return f" This was measured on the {counted(e.n_images, 'image')} that show it."
    return (
        f" This was measured on the {counted(e.n_images, 'image')} that it was added to."
        if "object" in declared.adds
        else ""
    )


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
        f"The network {reads(run, first.condition)} {suspect} in {place(first.group)}. {capital(run.when(first.condition))}, the class "
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
        f"Accuracy depends on {suspect}. {capital(run.when(e.condition))}, accuracy falls by {points(-(e.estimate or 0.0))} percentage "
        f"points more than with the placebo {points_interval(e, turned=True)}."
    )
    return Statement(kind="found", text=text, effect=e)


def _undecided(run: RunView, effects: Sequence[Effect]) -> Iterator[Statement]:
    sensitive = {_topic(run, e) for e in effects if e.verdict == "sensitive"}
    undecided = [
        e for e in effects if e.verdict == "inconclusive" and e.estimate is not None and _topic(run, e) not in sensitive
    ]
    blind = [e for e in undecided if e.blind and is_within(e)]
    if blind:
        text = (
            f"Nothing can be concluded about {_names(run, blind)}: the network's predictions of the unedited images hardly vary, always "
            "name one class or are saturated, so a small change is not evidence of robustness."
        )
        yield Statement(kind="undecided", text=text, effect=blind[0], also=_others(run, blind))
    silent = [e for e in undecided if is_within(e) and not e.blind]  # only a class that could not be edited
    rest = [e for e in undecided if e not in silent and e not in blind]
    if silent:
        first = silent[0]
        text = (
            f"No image of class {' and '.join(shown_string(c) for c in first.classes_absent)} could be edited this way "
            f"({run.quoted(first.condition)}), so for that class nothing can be concluded about {_names(run, silent)}. In the other images "
            f"the shift is {points(first.estimate)} percentage points {points_interval(first)}."
        )
        yield Statement(kind="undecided", text=text, effect=silent[0], also=_others(run, silent))
    if rest:
        also = _others(run, rest)
        opening, names = "This sample is too small to decide", tuple(_asked(run, e) for e in (rest[0], *also))
        items = tuple(f"{name}: {_seen(run, e)}" for name, e in zip(names, (rest[0], *also), strict=True))
        text = f"{opening}{': ' if also else ' '}{'; '.join(items)}."
        yield Statement(
            kind="undecided", text=text, opening=opening, items=items, names=names, effect=rest[0], also=also
        )


def _asked(run: RunView, e: Effect) -> str:
    """Return the question that an effect leaves open."""
    suspect = run.suspect(e.condition)
    if MEASURES[e.measure].one_sided:
        return f"whether {suspect} alone reveals the class"
    return f"whether the network {reads(run, e.condition)} {suspect}"


def _seen(run: RunView, e: Effect) -> str:
    """State what was seen of an open question, and what would decide it."""
    seen = "the probability of the true class changes by" if MEASURES[e.measure].one_sided else "the shift is"
    return (
        f"compared with the placebo, {seen} {points(e.estimate)} percentage points {run.when(e.condition)} {points_interval(e)}, and "
        f"{needed_words(e)}"
    )


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


def _cleared(run: RunView, rest: Sequence[Effect]) -> Iterator[Statement]:
    """Yield a list of what is shown to be small, with the largest effect of each suspect."""
    open_topics = {_topic(run, e) for e in rest if e.verdict not in _SHOWN and e.estimate is not None}
    shown = [e for e in rest if e.verdict in _SHOWN and _topic(run, e) not in open_topics]
    if not shown:
        return
    also = _others(run, shown)
    names = [_name(run, e) for e in (shown[0], *also)]
    items = [f"{name}: {_small(e)}" for name, e in zip(names, (shown[0], *also), strict=True)]
    unsure = undecided_outputs(run, [e.condition for e in shown if e.verdict == "robust"])
    if unsure:
        unsure = f"not shown for these outputs taken alone: {unsure}"
        items.append(unsure)
        names.append(unsure)
    opening = "Within the limit, compared with the placebo, on average over the images that were edited"
    yield Statement(
        kind="held",
        text=f"{opening}: {'; '.join(items)}.",
        opening=opening,
        items=tuple(items),
        names=tuple(names),
        effect=shown[0],
        also=also,
    )


def _small(e: Effect) -> str:
    figure = "probability of the true class" if MEASURES[e.measure].one_sided else "shift"
    return f"{figure} {points(e.estimate)} percentage points {points_interval(e)}"


def _topic(run: RunView, e: Effect) -> tuple[str, str]:
    """Return what an effect is about: its suspect, and whether it was edited or kept alone."""
    return run.suspect(e.condition), run.planned(e.condition).role


def _name(run: RunView, e: Effect) -> str:
    suspect, role = _topic(run, e)
    return f"{suspect} alone" if role == "sufficiency" else suspect


def _others(run: RunView, effects: Sequence[Effect]) -> tuple[Effect, ...]:
    """Return the first effect of each topic but that of the first effect."""
    first = {_topic(run, e): e for e in reversed(effects)}
    return tuple(e for e in effects[1:] if first[_topic(run, e)] is e)


def _names(run: RunView, effects: Sequence[Effect], besides: Sequence[Effect] = ()) -> str:
    """Name what effects are about, in their order, without that of `besides`: "the text or the border alone"."""
    taken = {_name(run, e) for e in besides}
    names = [name for name in dict.fromkeys(_name(run, e) for e in effects) if name not in taken]
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
