"""What heatmaps show, as `relevance.json` holds it: relevance inside text by group, and whether the maps can be believed."""

from __future__ import annotations

from typing import ClassVar

from audit.store.group import Group
from audit.store.typed import Document, RunDocument


class Estimate(Document, frozen=True, kw_only=True):
    """A figure with its interval."""

    value: float
    """The estimate."""
    low: float | None
    """Lower end; None from fewer than two patients."""
    high: float | None
    """Upper end."""


class RelevanceGroup(Document, frozen=True, kw_only=True):
    """Relevance inside the text of one group of images that have text."""

    group: Group
    """All images, a class, a source, an output or a word; an output counts its own heatmaps alone, a word its own regions."""
    n_images: int
    """Images with text, and with positive relevance."""
    n_patients: int
    """Patients behind them."""
    mass: Estimate
    """Mean share of the positive relevance that lies inside text."""
    area_share: float
    """Mean share of the area."""
    enrichment: Estimate
    """Mean mass over mean area; 1 is chance."""
    beyond_placebo: Estimate | None
    """Mean of mass minus the mean mass of the relocated regions; None for words, and where nothing could be relocated."""
    significant: float | None
    """Share of the images whose relocations reach the observed mass in at most 5 % of cases."""
    mass_gone: Estimate | None
    """Mean mass at the same places after the text was inpainted; None for words."""
    signed_share: Estimate | None
    """Share of the outputs' sum that the maps credit to text; None for words, and where outputs of both signs cancel."""
    rank_accuracy: Estimate | None
    """Mean rank accuracy; None for words."""


class Agreement(Document, frozen=True, kw_only=True):
    """How well relevance inside text predicts the effect of an edit of the text."""

    condition: str
    """The edit; `text inpainted` was applied to every image with text for its second heatmap."""
    n_images: int
    """Images with text that it was applied to."""
    n_patients: int
    """Patients behind them."""
    signed: Estimate | None
    """Pearson correlation of the signed relevance inside text (a logit) with the fall of the output that was explained; None
    for edits that leave the text where it is, and where nothing varies."""
    enrichment: Estimate | None
    """Spearman correlation of enrichment with the size of the change, up or down; None where nothing varies."""


class Randomisation(Document, frozen=True, kw_only=True):
    """Similarity of heatmaps after layers are shuffled, from the output layer downwards."""

    layers: str
    """Which: the output layer, the upper half, or all."""
    ssim: float
    """Mean structural similarity to the network's own maps; 1 is no change."""
    n_images: int
    """Images behind it."""


class RelevanceSummary(Document, frozen=True, kw_only=True):
    """The relevance of a run."""

    preset: str
    """LRP preset that was used, or the method used in place of LRP."""
    about: str
    """The same in words."""
    start: str
    """Where relevance started."""
    method: str
    """How the heatmaps were made."""
    note: str
    """Why LRP was not used; empty if it was, or if another method was requested."""
    logit_gap: float | None
    """Difference between the logits of the canonical form and of the network, relative to the largest logit; null where the
    network itself is attributed."""
    logit_tolerance: float
    """Largest allowed difference."""
    level: float
    """Nominal coverage of the intervals."""
    n_images: int
    """Images with a map."""
    n_with_text: int
    """Images among them with text."""
    n_without_relevance: int
    """Images among those with no positive relevance anywhere."""
    class_cosine: float | None
    """Median cosine between the heatmaps of two outputs of an image; near 1, the heatmaps do not distinguish classes."""
    groups: tuple[RelevanceGroup, ...]
    """Relevance inside text, by group."""
    agreement: tuple[Agreement, ...]
    """Correlation with the effects of edits of the text, one entry for each edit."""
    randomisation: tuple[Randomisation, ...]
    """Similarity of the heatmaps of shuffled networks to the original ones, from the output layer downwards."""


class RelevanceDocument(RunDocument, frozen=True, kw_only=True):
    """The relevance of a run; a run without heatmaps has none."""

    FILE: ClassVar[str] = "relevance.json"

    relevance: RelevanceSummary
    """What heatmaps show."""
