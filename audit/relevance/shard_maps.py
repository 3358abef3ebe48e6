"""The maps of a few images that are attributed together: the rows that say how much of them is text, and their file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.images import read_record
from audit.data.plan import PlannedRelevance
from audit.data.records import Record, TextRegion
from audit.perturbations.masking import MaskDraw, TextMask
from audit.perturbations.places import text_boxes
from audit.prediction.covering import Disclosure, flatten_relevance
from audit.prediction.experiment import Experiment
from audit.randomness import generator_for
from audit.relevance.heatmaps import pack_heatmaps
from audit.relevance.images import ImageAttributor
from audit.relevance.methods import Relevance
from audit.relevance.regions import map_boxes, mass_inside, summarise_relevance
from audit.relevance.start import WINNER, start_each, start_relevance, start_signs
from audit.store.results import RelevanceRow

# Above this many outputs only the map of the start is made: one for each would cost a backward pass each.
MAX_OUTPUTS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownText:
    """What is known of the text on an image."""

    regions: tuple[TextRegion, ...]
    """Its regions, with the strings that may be shown."""
    covered: tuple[TextRegion, ...]
    """Those that maps do not show."""


def shown_text(records: Sequence[Record], disclosure: Disclosure) -> dict[str, ShownText]:
    """Return record id -> what is known of the text on it."""
    return {r.id: ShownText(regions=disclosure.text[r.id], covered=disclosure.covered[r.id]) for r in records}


@dataclass(frozen=True, kw_only=True)
class Attributed:
    """What the shards of a run share."""

    options: PlannedRelevance
    """Preset, start, and relocations."""
    shown: Mapping[str, ShownText]
    """Record id -> its text, of the images that are attributed."""
    first: Record
    """The image on which the form that is attributed is held against the network: the same in every process."""
    _kept: dict[str, ImageAttributor] = field(default_factory=dict, repr=False, compare=False)
    """The attributor of this process."""

    def attributor(self, experiment: Experiment, next_one: Record) -> ImageAttributor:
        """Return what attributes with the experiment's network, held against that; made once."""
        if "made" not in self._kept:
            made = ImageAttributor(experiment.bundle, self.options.preset, experiment.batch)
            if next_one.id != self.first.id:
                made.settle(read_record(self.first))
            self._kept["made"] = made
        return self._kept["made"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardMaps:
    """The maps of a few images."""

    rows: list[RelevanceRow]
    """One for each image."""
    maps: bytes
    """Their file."""
    method: str
    """See `Measured`."""
    note: str
    """See `Measured`."""
    logit_gap: float | None
    """See `Measured`."""


def attribute_shard(experiment: Experiment, asked: Attributed, shard: Sequence[Record]) -> ShardMaps:
    """Attribute the images of one shard together; no other shard has a part in what is found.

    Raises
    ------
    RelevanceError
        If the network's maps cannot be right.
    """
    classes, options, shown = experiment.bundle.classes, asked.options, asked.shown
    attributor = asked.attributor(experiment, shard[0])
    images = [read_record(record) for record in shard]
    made = _attribute(attributor, classes, images, [shown[record.id].regions for record in shard], options.start)
    kept = _kept(made, [shown[record.id].covered for record in shard])
    return ShardMaps(
        rows=[
            _row(made, i, attributor.preset, classes, options, record, shown[record.id].regions, experiment.seed)
            for i, record in enumerate(shard)
        ],
        maps=pack_heatmaps(kept, made.signs, made.bare),
        method=attributor.method,
        note=attributor.note,
        logit_gap=attributor.logit_gap,
    )


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """Everything that was computed of a shard of n images."""

    found: Relevance
    signs: NDArray[np.float32]
    """(n, k) how the map of the start is put together from those of the outputs."""
    bare: NDArray[np.float32]
    """(n, h, w) the map of the start after the text was inpainted."""
    bare_start: NDArray[np.float64]
    """(n,) what the output that was explained is then."""
    sizes: Sequence[tuple[int, ...]]
    """(h, w) of the stored images."""


def _attribute(
    attributor: ImageAttributor,
    classes: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    regions: Sequence[tuple[TextRegion, ...]],
    start: str,
) -> _Maps:
    def of_start(logits: torch.Tensor) -> torch.Tensor:
        return start_relevance(logits, classes, start)

    every = len(classes) <= MAX_OUTPUTS
    found = attributor.attribute(images, start_each if every else of_start)
    signs = start_signs(torch.from_numpy(found.logits), classes, start).numpy()
    weights = signs.astype(np.float32) if every else np.ones((len(images), 1), dtype=np.float32)
    bare = np.einsum("nk,nkhw->nhw", weights, found.maps)
    bare_start = (signs * found.logits).sum(axis=1)
    with_text = [i for i, found_here in enumerate(regions) if found_here]
    if with_text:
        painted = [_without_text(images[i], regions[i]) for i in with_text]
        again = attributor.attribute(painted, of_start)
        bare[with_text] = again.maps[:, 0]
        bare_start[with_text] = (signs[with_text] * again.logits).sum(axis=1)
    return _Maps(
        found=found, signs=weights, bare=bare, bare_start=bare_start, sizes=[image.shape[:2] for image in images]
    )


def _kept(made: _Maps, covered: Sequence[tuple[TextRegion, ...]]) -> NDArray[np.float32]:
    """Return the maps as they are kept: letters that may not be shown could be read in them."""
    every = zip(made.found.maps, covered, made.sizes, strict=True)
    return np.stack([flatten_relevance(maps, map_boxes(hidden, size, maps.shape[-2:])) for maps, hidden, size in every])


def _without_text(image: NDArray[np.uint8], regions: tuple[TextRegion, ...]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    boxes = text_boxes(regions, (height, width))
    return TextMask(fill="inpaint").apply(image, MaskDraw(boxes=boxes, text=boxes))


def _row(
    made: _Maps,
    i: int,
    preset: str,
    classes: Sequence[str],
    options: PlannedRelevance,
    record: Record,
    regions: tuple[TextRegion, ...],
    seed: int,
) -> RelevanceRow:
    signs, outputs = made.signs[i], np.asarray(made.found.maps[i], dtype=np.float64)
    relevance = np.tensordot(signs, outputs, axes=1)
    begun = float(signs @ made.found.start[i])
    per_start = (1.0 / begun) if begun else 0.0
    boxes = map_boxes(regions, made.sizes[i], relevance.shape)
    rng = generator_for(seed, record.id, "relevance placebo")
    summary = summarise_relevance(relevance, boxes, rng, options.n_placebo)
    kept = {account: float(signs @ values[i]) * per_start for account, values in made.found.kept.items()}
    gap = float(made.found.gap[i].max())
    return RelevanceRow(
        record_id=record.name,
        target_class=classes[int(made.found.logits[i].argmax())] if options.start == WINNER else options.start,
        preset=preset,
        start=begun,
        mass_in_text=summary.mass_in_text,
        signed_share=None if summary.mass_in_text is None else summary.signed * per_start,
        area_share=summary.area_share,
        enrichment=summary.enrichment,
        rank_accuracy=summary.rank_accuracy,
        placebo_low=summary.placebo_low,
        placebo_median=summary.placebo_median,
        placebo_high=summary.placebo_high,
        placebo_mean=summary.placebo_mean,
        relocation_p=summary.relocation_p,
        same_place_p=None,
        placebo_p=summary.relocation_p,
        mass_gone=mass_inside(made.bare[i], boxes) if boxes else None,
        fall_when_gone=begun - float(made.bare_start[i]) if boxes else None,
        map_boxes=boxes,
        region_masses=summary.box_masses,
        region_areas=summary.box_areas,
        at_pixels=float(relevance.sum()) * per_start,
        kept_bias=kept.get("bias", 0.0),
        kept_shift=kept.get("shift", 0.0),
        kept_stabiliser=kept.get("stabiliser", 0.0),
        class_cosine=_class_cosine(outputs),
        conservation_gap=gap if np.isfinite(gap) else None,
        # Above `MAX_OUTPUTS` there is one map alone, that of the start.
        output_masses=tuple(mass_inside(output, boxes) for output in outputs)
        if boxes and len(outputs) == len(classes)
        else (),
    )


def _class_cosine(outputs: NDArray[np.float64]) -> float | None:
    """Return the mean over pairs of outputs of |cosine| between their maps (k, h, w)."""
    flat = outputs.reshape(len(outputs), -1)
    norms = np.linalg.norm(flat, axis=1)
    alive = [i for i in range(len(flat)) if norms[i] > 0]
    cosines = [abs(float(flat[i] @ flat[j])) / (norms[i] * norms[j]) for i, j in combinations(alive, 2)]
    return float(np.mean(cosines)) if cosines else None
