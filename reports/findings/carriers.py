"""The images that carry most of an effect over all images: those with one string, or those of one source."""

from __future__ import annotations

from dataclasses import replace

from audit.reports.findings.effect_words import points
from audit.reports.findings.group_effects import explored_groups, place
from audit.reports.reading.view import RunView
from audit.statistics.effective_counts import critical_value
from audit.store.group import ALL
from audit.store.results import Effect

_MOST = 0.5
"""Share of the effect over all images above which it comes mostly from a group."""


def carrier(run: RunView, effect: Effect) -> Effect | None:
    """Return the group whose images account for most of an effect, with its simultaneous interval; None where none is shown to.

    A group of n of N images is shown to if, even at the lower end L of its simultaneous interval, n L exceeds half of N times the
    estimate m over all images, L exceeds m, and L exceeds the limit. Words are judged, so their intervals are those of the run;
    sources are not, so theirs are widened by Bonferroni's correction for all that the run measures of sources.

    Parameters
    ----------
    run : RunView
        The run.
    effect : Effect
        A sensitive effect over all images.
    """
    if effect.group != ALL or effect.verdict != "sensitive" or effect.estimate is None or effect.tolerance is None:
        return None
    total, least = effect.n_images * effect.estimate, max(effect.tolerance, effect.estimate)

    def surely(e: Effect) -> float:
        return e.n_images * (e.simultaneous_low or 0.0)

    shown = [
        e
        for e in (*_words(run, effect), *_sources(run, effect))
        if e.n_images < effect.n_images
        and e.simultaneous_low is not None
        and e.simultaneous_low > least
        and surely(e) > _MOST * total
    ]
    # A word says more of what is read than the place that prints it.
    return max(shown, key=lambda e: (e.group.kind == "word", surely(e)), default=None)


def carrier_sentence(run: RunView, effect: Effect) -> str:
    """Name the group that accounts for most of an effect, with its images, size and interval; empty where none is shown to."""
    found = carrier(run, effect)
    if found is None:
        return ""
    interval = f"{round(100 * found.level)} % CI {points(found.simultaneous_low)} to {points(found.simultaneous_high)}"
    return (
        f" Most of this comes from {place(found.group)}: they shift by {points(found.estimate)} percentage points "
        f"({found.n_images} images; {interval}, corrected for multiple comparisons)."
    )


def _words(run: RunView, effect: Effect) -> list[Effect]:
    return [
        e
        for e in run.effects
        if (e.condition, e.placebo, e.measure) == (effect.condition, effect.placebo, effect.measure)
        and e.group.kind == "word"
        and e.verdict == "sensitive"
    ]


def _sources(run: RunView, effect: Effect) -> list[Effect]:
    of_sources = [e for e in explored_groups(run) if e.group.kind == "source"]
    return [_widened(e, len(of_sources)) for e in of_sources if e.condition == effect.condition]


def _widened(effect: Effect, n_tests: int) -> Effect:
    """Return an effect with the simultaneous interval of as many tests: its own, stretched by the ratio of Student's quantiles."""
    if effect.estimate is None or effect.low is None or effect.high is None:
        return effect
    wider = 1 - (1 - effect.level) / n_tests
    stretch = critical_value(wider, effect.n_patients) / critical_value(effect.level, effect.n_patients)
    low, high = (effect.estimate + stretch * (end - effect.estimate) for end in (effect.low, effect.high))
    return replace(effect, simultaneous_low=max(-1.0, low), simultaneous_high=min(1.0, high))
