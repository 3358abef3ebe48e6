"""The findings of a run, in sentences: one for each suspect and outcome; never "no problems found"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audit.data.strings import shown_string
from audit.reports.findings.accuracy_worth import says_little, worth
from audit.reports.findings.effect_words import estimate
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
from audit.store.numbers import number
from audit.store.results import Effect

_SHOWN_GROUPS = 3
_SHOWN = ("robust", "bounded")
"""Verdicts that show an effect to be small."""


def headline(run: RunView) -> str:
    """Return the finding of a run in a few sentences, one for each outcome; never "no problems found"."""
    if run.verdict.status == "incomplete":
        return run.verdict.summary
    effects = run.headline()
    if not any(e.estimate is not None for e in effects):
        return "No edit could be applied to any image, so nothing can be concluded about shortcuts."
    found = _in_groups(run)
    # What a group gives away is settled: that all images together do not show it is said in the same sentence.
    falls = _falls(run, effects)
    rest = [e for e in effects if run.suspect(e.condition) not in {*found, *falls}]
    said = [*_sensitive(run, effects), *found.values(), *falls.values(), *_undecided(run, rest), *_reversed(run, rest)]
    said += _cleared(run, rest)
    silent = _suspects(
        run, [e for e in effects if e.estimate is None], besides=[e for e in effects if e.estimate is not None]
    )
    if silent:
        said.append(f"Nothing can be concluded about {silent}: no image could be edited this way.")
    said += fills_that_disagree(run)
    if says_little(run):
        said += worth(run)[:1]
    return " ".join(said)


def _sensitive(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    """Yield a sentence for each suspect with a sensitive effect, for its strongest condition."""
    seen: set[tuple[str, str]] = set()
    for e in effects:
        key = (run.suspect(e.condition), e.measure)
        if e.verdict != "sensitive" or key in seen:
            continue
        seen.add(key)
        outputs = sensitive_outputs(run, key[0]) if MEASURES[e.measure].judged_in_groups else []
        if outputs:
            yield outputs_sentence(run, key[0], outputs)
            continue
        yield MEASURES[e.measure].finding.format(
            suspect=key[0],
            Suspect=_capital(key[0]),
            condition=e.condition,
            estimate=number(e.estimate),
            placebo=e.placebo,
            interval=_interval(e),
        )


def _interval(e: Effect) -> str:
    return f"({round(100 * e.level)} % CI {number(e.low)} to {number(e.high)}; limit {number(e.tolerance, 2)})"


def _in_groups(run: RunView) -> dict[str, str]:
    """Return suspect -> a sentence on the groups with an effect, where all images together do not show it."""
    by_suspect: dict[str, list[Effect]] = {}
    for e in sensitive_groups(run):
        by_suspect.setdefault(run.suspect(e.condition), []).append(e)
    return {suspect: _grouped(run, suspect, found) for suspect, found in by_suspect.items()}


def _grouped(run: RunView, suspect: str, found: Sequence[Effect]) -> str:
    outputs = [e for e in found if e.group.kind == "output"]
    if outputs:
        return outputs_sentence(run, suspect, sensitive_outputs(run, suspect))
    first = found[0]
    said = (
        f"The network reads {suspect} in {place(first.group)}: {first.condition} changes the class probabilities of these "
        f"{first.n_images} images by {number(first.estimate)} more than {first.placebo} {_interval(first)}"
    )
    others = {e.group: e for e in reversed(found) if e.group != first.group}
    if others:
        shown = sorted(others.values(), key=lambda e: -(e.estimate or 0.0))[:_SHOWN_GROUPS]
        more = f" and {len(others) - len(shown)} more groups" if len(others) > len(shown) else ""
        said += "; likewise in " + ", ".join(f"{place(e.group)} ({number(e.estimate)})" for e in shown) + more
    whole = run.find(first.condition, first.measure, controlled=True)
    return f"{said}. Averaged over all images it is {estimate(whole)}" + (
        "." if whole is None else f" ({whole.verdict})."
    )


def _falls(run: RunView, effects: Sequence[Effect]) -> dict[str, str]:
    """Return suspect -> a sentence on the accuracy lost under its edit, where shortcut sensitivity does not show an effect."""
    shown = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    found: dict[str, Effect] = {}
    for e in effects:
        fall = run.find(e.condition, ACCURACY, controlled=True)
        if fall is not None and fall.verdict == "sensitive" and run.suspect(e.condition) not in shown:
            found.setdefault(run.suspect(e.condition), fall)
    return {suspect: _fall(suspect, e) for suspect, e in found.items()}


def _fall(suspect: str, e: Effect) -> str:
    assert e.estimate is not None
    assert e.low is not None
    assert e.high is not None
    return (
        f"Accuracy depends on {suspect}: under {e.condition} it falls by {number(-e.estimate)} more than under {e.placebo} "
        f"({round(100 * e.level)} % CI {number(-e.high)} to {number(-e.low)}; limit {number(e.tolerance, 2)})."
    )


def _undecided(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    sensitive = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    undecided = [
        e
        for e in effects
        if e.verdict == "inconclusive" and e.estimate is not None and run.suspect(e.condition) not in sensitive
    ]
    blind = [e for e in undecided if e.blind and is_within(e)]
    if blind:
        yield (
            f"Nothing can be concluded about {_suspects(run, blind)}: the network's predictions of the unedited images hardly vary, always "
            "name one class or are saturated, so a small change is not evidence of robustness."
        )
    silent = [e for e in undecided if is_within(e) and not e.blind]  # only a class that could not be edited
    rest = [e for e in undecided if e not in silent and e not in blind]
    if silent:
        first = silent[0]
        yield (
            f"No image of class {' and '.join(shown_string(c) for c in first.classes_absent)} could be edited by {first.condition}, so "
            f"whether the network relies on {_suspects(run, silent)} there cannot be concluded; in the other images the effect is "
            f"{number(first.estimate)} {_interval(first)}."
        )
    if rest:
        first = rest[0]
        low, high, corrected = first.low, first.high, ""
        if low is not None and first.tolerance is not None and low > first.tolerance:
            low, high, corrected = (
                first.simultaneous_low,
                first.simultaneous_high,
                ", corrected for multiple comparisons",
            )
        decide = f"; about {first.patients_to_decide:,} patients would decide" if first.patients_to_decide else ""
        limit = number(first.tolerance, 2)
        yield (
            f"This sample is too small to decide whether the network relies on {_suspects(run, rest)}: the effect of {first.condition} is "
            f"{number(first.estimate)} ({round(100 * first.level)} % CI {number(low)} to {number(high)}{corrected}; "
            f"limit {limit if MEASURES[first.measure].one_sided else f'±{limit}'}){decide}."
        )


def _reversed(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    """Yield a sentence for each suspect whose edit disturbs the network less than its placebo: no evidence either way."""
    seen: set[str] = set()
    for e in effects:
        suspect = run.suspect(e.condition)
        if e.verdict == "reversed" and suspect not in seen:
            seen.add(suspect)
            yield (
                f"{e.condition} does not show whether the network relies on {suspect}: its placebo {e.placebo} disturbs the network more "
                f"than the edit does ({estimate(e)}), which can hide an effect. Use an edit with another fill."
            )


def _cleared(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    others = [e for e in effects if e.verdict not in _SHOWN and e.estimate is not None]
    open_suspects = {run.suspect(o.condition) for o in others}
    for verdict in _SHOWN:
        shown = [e for e in effects if e.verdict == verdict]
        cleared = _suspects(run, shown, besides=others)
        if not cleared:
            continue
        largest = next(e for e in shown if run.suspect(e.condition) not in open_suspects)
        limit, value = number(largest.tolerance, 2), f"{number(largest.estimate)} ({largest.condition})"
        if verdict == "robust":
            yield (
                f"No edit of {cleared} changes {headline_words(run)} by more than the limit of {limit} compared with its placebo, "
                f"averaged over all images; the largest effect is {value}.{undecided_outputs(run, [e.condition for e in shown])}"
            )
        else:
            yield (
                f"{_capital(cleared)} alone does not raise the probability of the true class by more than the limit of {limit} compared "
                f"with its placebo, averaged over all images; the largest effect is {value}."
            )


def _suspects(run: RunView, effects: Sequence[Effect], besides: Sequence[Effect] = ()) -> str:
    """Name the suspects of effects, in their order, without those of `besides`: "the text or the border"."""
    taken = {run.suspect(e.condition) for e in besides}
    names = [name for name in dict.fromkeys(run.suspect(e.condition) for e in effects) if name not in taken]
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
