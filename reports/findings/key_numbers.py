"""The five numbers of the first screen."""

from __future__ import annotations

from dataclasses import dataclass

from audit.reports.findings.effect_words import points, points_interval
from audit.reports.findings.group_effects import place
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, ACCURACY_OVER_SOURCE, AUC_OVER_SOURCE, MEASURES
from audit.store.group import ALL
from audit.store.numbers import counted, number
from audit.store.results import Effect


@dataclass(frozen=True, kw_only=True)
class KeyNumber:
    """One number."""

    value: str
    """As it is shown, with its unit."""
    label: str
    """What it is."""
    note: str
    """Its interval, and what it is compared with."""


def key_numbers(run: RunView, effect: Effect | None) -> list[KeyNumber]:
    """Return the size of the effect, the predictions that it changes, the performance and what that is worth, and the sample.

    Parameters
    ----------
    run : RunView
        The run.
    effect : Effect
        The effect that the verdict's sentence is about; None where nothing was measured.
    """
    data = run.plan.data
    sample = KeyNumber(
        value=f"{data.n_images:,}",
        label="images audited",
        note=f"{counted(data.n_patients, 'patient')}, {counted(len(data.source_counts), 'source')}",
    )
    effects = [] if effect is None or effect.estimate is None else [_size(run, effect), _changed(run, effect)]
    return [*effects, *_performance(run), sample]


def _size(run: RunView, effect: Effect) -> KeyNumber:
    what = MEASURES[effect.measure]
    label = "probability of the true class" if what.one_sided else "accuracy" if effect.measure == ACCURACY else "shift"
    images = "" if effect.group == ALL else f" in {place(effect.group)}"
    return KeyNumber(
        value=f"{points(effect.estimate)} points",
        label=f"{label}{images} {run.when(effect.condition)}",
        note=points_interval(effect).strip("()"),
    )


def _changed(run: RunView, effect: Effect) -> KeyNumber:
    flips = run.find(effect.condition, "flip_rate", effect.group) or run.find(effect.condition, "flip_rate")
    placebo = run.find(effect.placebo, "flip_rate") if effect.placebo else None
    beside = "" if placebo is None or placebo.estimate is None else f"{points(placebo.estimate)} % with the placebo"
    whose = "images with a changed finding" if run.multi_label else "predictions that change"
    return KeyNumber(
        value="–" if flips is None or flips.estimate is None else f"{points(flips.estimate)} %",
        label=f"{whose} {run.when(effect.condition)}",
        note=beside,
    )


def _performance(run: RunView) -> list[KeyNumber]:
    name, over = ("macro_auc", AUC_OVER_SOURCE) if run.multi_label else (ACCURACY, ACCURACY_OVER_SOURCE)
    whole, above = run.find("clean", name), run.find("clean", over)
    if whole is None or whole.estimate is None or whole.low is None or whole.high is None:
        return []
    ends = f"{round(100 * whole.level)} % CI"
    if run.multi_label:
        mine = KeyNumber(
            value=number(whole.estimate, 2),
            label="mean AUC",
            note=f"{ends} {number(whole.low, 2)} to {number(whole.high, 2)}",
        )
    else:
        mine = KeyNumber(
            value=f"{points(whole.estimate)} %",
            label="accuracy",
            note=f"{ends} {points(whole.low)} to {points(whole.high)}",
        )
    if above is None or above.estimate is None:
        return [mine]
    guess = whole.estimate - above.estimate
    label = (
        "from guessing by the source"
        if len(run.plan.data.source_counts) > 1
        else "from always naming the most frequent class"
    )
    beside = KeyNumber(
        value=number(guess, 2) if run.multi_label else f"{points(guess)} %",
        label=f"{'mean AUC' if run.multi_label else 'accuracy'} {label}",
        note="without looking at the image",
    )
    return [mine, beside]
