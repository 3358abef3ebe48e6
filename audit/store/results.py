"""What a run measured: predictions, the use of conditions, effects, trends over doses, relevance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from audit.store.group import Group
from audit.store.typed import RunDocument

SCHEMA_VERSION = 1

EffectVerdict = Literal["sensitive", "robust", "bounded", "reversed", "inconclusive", "void", "descriptive"]
"""See `audit.statistics.verdicts`; void: a control failed, so nothing is concluded."""
IntervalKind = Literal["none", "exact", "range", "score", "student", "gaussian", "bootstrap"]
"""How an interval was made: exact, of a figure that nothing is inferred from; range, all that the measure can be; a score interval on
effective counts; Student's t over patients; the Gaussian limit of the bootstrap; the percentile bootstrap over patients."""
EffectFamily = Literal["declared", "exploratory", "none"]


@dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """All predictions of a run, aligned by record (n images, k classes)."""

    record_ids: NDArray[np.str_]
    """(n,) names of the images, in the order of the run's records."""
    labels: NDArray[np.int64]
    """(n,) index of the true class; 0 of a multi-label task."""
    patients: NDArray[np.str_]
    """(n,) who was imaged."""
    groups: Mapping[str, NDArray[np.str_]]
    """Grouping columns by name ("source", "site", "view", "sex", "age" in bands), each (n,)."""
    classes: tuple[str, ...]
    """Class names in the order of the logits."""
    logits: Mapping[str, NDArray[np.float32]]
    """Condition name -> (draws, n, k); where a condition was not applied, the clean logits."""
    applied: Mapping[str, NDArray[np.bool_]]
    """Condition name -> (draws, n): was the image edited at all?"""
    donors: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Condition name -> (draws, n) row of the image that the edit was taken from; -1 for none."""
    words: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """String that was read on the images of enough patients -> (n,) on which (`audit.data.strings.common_words`)."""
    ranks: NDArray[np.intp] | None = None
    """(n,) the images' places in the order in which they are measured; None for the order of their names."""
    truth: NDArray[np.int8] | None = None
    """(n, k) of a multi-label task, whether each output's finding is present: 1, 0, or -1 where that is unknown; else None."""
    points: NDArray[np.float64] | None = None
    """(k,) probability above which each finding counts as found, NaN where that is not given; None where none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionUse:
    """The number of images that a condition was applied to."""

    condition: str
    """Its name."""
    n_images: int
    """Images to which it was applied in all its draws."""
    not_applied: Mapping[str, int]
    """Reason -> images that it was not applied to."""
    changed_share: float | None
    """Mean share of an image's pixels that it changed where it was applied; None where it never was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """One estimand: how a condition moves a measure, with its interval."""

    condition: str
    """Name of the condition, or `clean` for performance on unedited images."""
    placebo: str | None
    """The condition whose effect was subtracted; None for a raw effect."""
    measure: str
    """One of `audit.statistics.catalogue.MEASURES`."""
    group: Group
    """The images that it is about."""
    estimate: float | None
    """For `clean` the measure itself; for a condition its change from clean; with a placebo that change minus the placebo's.
    None where it is undefined."""
    low: float | None
    """Lower end of the interval."""
    high: float | None
    """Upper end of the interval."""
    level: float
    """Nominal coverage of the interval."""
    method: str
    """How the interval was computed, with the reason for the method."""
    n_images: int
    """Images behind the estimate."""
    n_patients: int
    """Patients among them."""
    discordant: int
    """Images whose prediction changed under the edit (or its placebo)."""
    p: float | None
    """Two-sided p-value for no effect; None where it is not tested."""
    p_adjusted: float | None
    """The same, corrected for multiple comparisons within its `family`; None where it is not tested."""
    tolerance: float | None
    """The largest effect that counts as small; None for entries that are not judged."""
    verdict: EffectVerdict
    """sensitive, robust, bounded, reversed, inconclusive, void, or descriptive where nothing is judged."""
    minimum_detectable: float | None
    """The smallest true effect that is detected with 80 % power: called sensitive for judged effects, significantly different
    from 0 for others."""
    family: EffectFamily = "none"
    """declared: `p_adjusted` (step-down max-T of Westfall and Young) and the simultaneous interval hold over all declared entries about
    all images, or over all declared entries about groups; exploratory: `p_adjusted` bounds the false discovery rate over all
    exploratory ones (Benjamini-Hochberg); none: not tested."""
    simultaneous_low: float | None = None
    """Lower end of the simultaneous interval of its family (all images, or groups); None outside the families."""
    simultaneous_high: float | None = None
    """Upper end of the same."""
    patients_to_decide: int | None = None
    """For an inconclusive entry, about how many patients would decide it at this estimate; None where no number would."""
    interval_kind: IntervalKind = "none"
    """Kind of interval; `method` gives the reason. none where there is no estimate."""
    classes_absent: tuple[str, ...] = ()
    """Classes that have images, but none that the condition could be applied to: an entry over all images does not cover
    them."""
    blind: bool = False
    """Whether the clean predictions leave no room for an effect (they hardly vary, always name one class, or are saturated),
    so that a small effect is no evidence of robustness."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DoseTrend:
    """Change of the predictions along a ladder of increasingly strong edits, compared with the same doses of the placebo."""

    ladder: str
    """Name that the rungs share."""
    placebo: str | None
    """Name that the placebo's rungs share; None where the doses themselves are tested."""
    parameter: str
    """The parameter that increases."""
    doses: tuple[float, ...]
    """Its values, in increasing order."""
    estimates: tuple[float, ...]
    """Mean over images of the total variation at each dose, minus the placebo's at the same dose."""
    slope: float | None
    """Rise of the estimate from the first dose to the last along a straight line over the dose's ranks."""
    p: float | None
    """One-sided p of no rise: the share of sign flips of whole patients with at least this slope."""
    dose_one_sd: float | None
    """Dose at which the mean margin has fallen by one standard deviation of the clean margins; None if none does."""
    n_images: int
    """Images that every dose was applied to."""
    n_patients: int
    """Patients among them."""
    method: str
    """How the test was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelevanceRow:
    """Where the relevance of one clean image lies."""

    record_id: str
    """The image."""
    target_class: str
    """Output at which relevance started: the winner, or the start that was asked for."""
    preset: str
    """Name of the LRP preset, or of the method where it is another."""
    start: float
    """The relevance that started: the logit, or the difference of two."""
    mass_in_text: float | None
    """Positive relevance inside text over all positive relevance; None without text."""
    signed_share: float | None
    """Signed relevance inside text over the start: how much of the logit the map credits to text; None without text."""
    area_share: float
    """Area of the text regions over the image's."""
    enrichment: float | None
    """mass_in_text / area_share; 1 is chance. None without text."""
    rank_accuracy: float | None
    """Share of the pixels of most relevance, as many as text has, that lie inside text; None without text."""
    placebo_low: float | None
    """2.5 % quantile of mass_in_text over relocated regions."""
    placebo_median: float | None
    """Median of the same."""
    placebo_high: float | None
    """97.5 % quantile of the same."""
    placebo_mean: float | None
    """Mean of the same."""
    relocation_p: float | None
    """(1 + relocations with at least this mass) / (1 + relocations)."""
    same_place_p: float | None
    """The same against this place in other images' maps, made after their text was inpainted."""
    placebo_p: float | None
    """The larger of the two: small only if neither the border nor the place explains the mass."""
    mass_gone: float | None
    """mass_in_text of the same regions after the text was inpainted; None without text."""
    fall_when_gone: float | None
    """How far the output that was explained fell when the text was inpainted; None without text."""
    map_boxes: tuple[tuple[int, int, int, int], ...]
    """The regions in pixels of the map: x0, y0, x1, y1, half-open."""
    region_masses: tuple[float, ...]
    """mass_in_text of each region alone, in the order of regions.parquet."""
    region_areas: tuple[float, ...]
    """Area of each region over the image's."""
    at_pixels: float
    """Share of the start that arrived at the pixels."""
    kept_bias: float
    """Share of the start that biases kept."""
    kept_shift: float
    """Share of the start that shifts of BatchNorms kept."""
    kept_stabiliser: float
    """Share of the start that stabilisers and dead units kept."""
    class_cosine: float | None
    """Mean cosine, without its sign, between the heatmaps of two outputs; near 1, the heatmaps do not distinguish classes."""
    conservation_gap: float | None
    """|start - (input + what was kept)| / |start|, the worst of the outputs; None where the method conserves nothing."""
    output_masses: tuple[float | None, ...] = ()
    """Of a multi-label network, for each output the share of its own positive relevance that lies inside text; None where it has none."""


class EffectsDocument(RunDocument, frozen=True, kw_only=True):
    """Every estimate of a run."""

    FILE: ClassVar[str] = "effects.json"

    effects: tuple[Effect, ...]
    """One entry for each estimand."""
    trends: tuple[DoseTrend, ...] = ()
    """One entry for each ladder of doses."""


class ConditionsDocument(RunDocument, frozen=True, kw_only=True):
    """What was applied to how many images."""

    FILE: ClassVar[str] = "conditions.json"

    conditions: tuple[ConditionUse, ...]
    """One entry for each condition of the suite."""
