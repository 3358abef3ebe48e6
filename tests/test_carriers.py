"""Which images carry most of an effect: true values by hand, what is not named, and how often chance alone names a group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from audit.reports.findings.carriers import carrier, carrier_sentence
from audit.reports.findings.headline import headline
from audit.reports.findings.summary import summary_lines
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.store.group import ALL, Group
from audit.store.results import Effect

from .golden.make_report import RUN
from .test_effects import measure, pick, table
from .test_word_groups import pulled, with_words

WORD, SOURCE = Group(kind="word", value="<COVID>"), Group(kind="source", value="south")


@pytest.fixture(scope="module")
def kept() -> RunView:
    return read_run(RUN)


def whole(view: RunView) -> Effect:
    """An effect of 0.30 over 100 images."""
    return replace(
        view.headline("edit")[0], verdict="sensitive", estimate=0.3, low=0.25, high=0.35, n_images=100, n_patients=90, tolerance=0.05,
        simultaneous_low=0.22, simultaneous_high=0.38,
    )  # fmt: skip


def with_groups(view: RunView, *groups: Effect) -> RunView:
    rest = [e for e in view.effects if e.measure != "shortcut_sensitivity" or e.placebo is None]
    return replace(view, effects=(*rest, whole(view), *groups))


def word(view: RunView, n: int, estimate: float, low: float, *, group: Group = WORD) -> Effect:
    return replace(
        whole(view), group=group, n_images=n, n_patients=n, estimate=estimate, low=low + 0.02, high=2 * estimate - low - 0.02,
        simultaneous_low=low, simultaneous_high=2 * estimate - low,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n", "estimate", "low", "named"),
    [
        (40, 0.60, 0.45, True),  # at least 18 of 30 points
        (40, 0.60, 0.38, True),  # at least 15.2 of 30
        (40, 0.60, 0.37, False),  # 14.8 of 30: the lower end is not most
        (80, 0.35, 0.28, False),  # 22 of 30, but its images shift as all do
        (80, 0.35, 0.31, True),
        (100, 0.30, 0.22, False),  # it is all images
        (10, 0.90, 0.85, False),  # the strongest, but 9 of 30
    ],
)
def test_a_group_is_named_if_its_interval_shows_that_most_comes_from_it(
    kept: RunView, n: int, estimate: float, low: float, named: bool
) -> None:
    view = with_groups(kept, word(kept, n, estimate, low))
    found = carrier(view, whole(kept))
    assert (found is not None) == named
    if named:
        said = carrier_sentence(view, whole(kept))
        assert said == (
            f" Most of this comes from images that carry “<COVID>”: they shift by {100 * estimate:.1f} percentage points ({n} images; "
            f"95 % CI {100 * low:.1f} to {100 * (2 * estimate - low):.1f}, corrected for multiple comparisons)."
        )
        assert said.strip() in headline(view)
        assert any(said.strip() in line for line in summary_lines(view))


def test_only_what_was_shown_is_named(kept: RunView) -> None:
    group = word(kept, 40, 0.6, 0.45)
    for changed in (
        replace(group, verdict="inconclusive"),
        replace(group, simultaneous_low=None),
        replace(group, condition="placebo-mask-black"),
        replace(group, group=Group(kind="class", value="covid")),
    ):
        assert carrier(with_groups(kept, changed), whole(kept)) is None
    view = with_groups(kept, group)
    assert carrier(view, replace(whole(kept), verdict="inconclusive")) is None
    assert carrier(view, replace(whole(kept), group=WORD)) is None


def test_a_sources_interval_is_widened_for_all_sources(kept: RunView) -> None:
    """Bonferroni: of k sources each has level 1 − 0.05 / k, by Student's quantiles."""

    def source(name: str, n: int, estimate: float, error: float) -> Effect:
        half = error * stats.t.ppf(0.975, n - 1)
        return replace(
            word(kept, n, estimate, 0.0, group=Group(kind="source", value=name)), tolerance=None, verdict="descriptive",
            low=estimate - half, high=estimate + half, simultaneous_low=None, simultaneous_high=None,
        )  # fmt: skip

    groups = [source("south", 40, 0.6, 0.07), source("north", 30, 0.1, 0.07), source("west", 30, 0.1, 0.07)]
    found = carrier(with_groups(kept, *groups), whole(kept))
    assert found is not None
    assert found.group == SOURCE
    t = stats.t.ppf(1 - 0.025 / 3, 39)
    assert (found.simultaneous_low, found.simultaneous_high) == pytest.approx((0.6 - t * 0.07, 0.6 + t * 0.07))
    # Of many sources the correction is larger, and this one is no longer shown to carry most.
    many = [*groups, *(source(f"s{i}", 30, 0.1, 0.07) for i in range(100))]
    assert carrier(with_groups(kept, *many), whole(kept)) is None
    both = with_groups(kept, word(kept, 40, 0.6, 0.45), *groups)
    assert (carrier(both, whole(kept)) or groups[0]).group == WORD, "a word says more than the place that prints it"


def measured(view: RunView, effects: list[Effect]) -> tuple[RunView, Effect]:
    """Return the run with effects of the mask, as the run's own edit."""
    condition = view.headline("edit")[0]
    mine = [
        replace(e, condition=condition.condition, placebo=condition.placebo)
        for e in effects
        if e.condition == "mask" and e.placebo == "elsewhere" and e.measure == "shortcut_sensitivity"
    ]
    changed = replace(view, effects=tuple(mine))
    return changed, next(e for e in mine if e.group == ALL)


def test_the_word_that_was_planted_is_named_and_no_other(kept: RunView) -> None:
    """Masking moves 120 of 300 images, those with SITIO; PORTABLE is on the other half of the images."""
    effects = measure(pulled(300, range(0, 240, 2)))
    view, effect = measured(kept, effects)
    assert effect.verdict == "sensitive"
    found = carrier(view, effect)
    assert found is not None
    assert found.group == Group(kind="word", value="SITIO")
    assert found.estimate == pick(effects, "mask", "shortcut_sensitivity", "word=SITIO", "elsewhere").estimate
    assert found.estimate > effect.estimate


def test_where_all_images_are_moved_alike_no_word_is_named(kept: RunView) -> None:
    """Words on random 60 % of the images: each has more than half of the effect, and none carries it."""
    named = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        t = table(n=120, n_patients=120, pull=3.0)
        words = {f"W{i}": sorted(rng.choice(120, 72, replace=False).tolist()) for i in range(5)}
        view, effect = measured(kept, measure(with_words(t, **words)))
        named += carrier(view, effect) is not None
    assert named <= 1
