"""Images under conditions: every draw of every condition of a suite, applied to one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import SPLITS, Condition, Suite
from audit.data.images import read_mask, read_record
from audit.data.records import Record, TextRegion
from audit.errors import AuditError
from audit.perturbations import NotApplicable, Perturbation, Scene, SelfChecking, changed_pixels, make_perturbation
from audit.perturbations.background import MeanImage
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.measures import CohortMeasures
from audit.perturbations.plausible import GreyRange
from audit.perturbations.properties import GroupProperties, Properties, by_class, by_source
from audit.perturbations.suspects import Suspects
from audit.randomness import generator_for


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One image under one draw of one condition."""

    condition: str
    """Name of the condition."""
    draw: int
    """Number of the draw, from 0."""
    image: NDArray[np.uint8]
    """(h, w) or (h, w, 3); the clean image itself where the condition does not apply."""
    changed_share: float
    """Share of the stored pixels that differ from the clean image's."""
    why_not: str = ""
    """Why the condition does not apply; empty where it does."""
    donor: str = ""
    """Name of the image that the edit was taken from; empty where it was taken from none."""


@dataclass(frozen=True, kw_only=True)
class CohortContext:
    """What perturbations may use besides the image itself; the same for all images of a run."""

    regions: Mapping[str, tuple[TextRegion, ...]]
    """Record id -> its text regions."""
    donors: DonorPool
    """The audited images, as donors."""
    background: MeanImage
    """Their mean image."""
    properties: GroupProperties
    """Grey curve, sharpness, noise and frames of their classes."""
    sources: GroupProperties
    """The same of each source within each class."""
    grey_range: GreyRange
    """Brightness and contrast of their lungs."""
    places: Mapping[str, int]
    """Record id -> the image's place in the run's order; of an image that the run does not have, none."""
    suspects: Suspects | None = None
    """Objects that the run's search proposed."""
    measured: CohortMeasures | None = None
    """What was measured on the images before; the rest is measured when an edit asks for it."""
    read: Callable[[Record], NDArray[np.uint8]] = read_record
    """Reads a record's image; pictures that go out are drawn on covered ones (`audit.prediction.covering`)."""


def cohort_context(
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    seed: int,
    suspects: Suspects | None = None,
    measured: CohortMeasures | None = None,
) -> CohortContext:
    """Collect what perturbations may use besides the image itself."""
    known = CohortMeasures() if measured is None else measured
    properties: dict[str, Properties] = {**known.properties}
    return CohortContext(
        regions=regions,
        donors=DonorPool(Donor(record=r, regions=regions[r.id]) for r in records),
        background=MeanImage(records, regions, seed, known.parts),
        properties=GroupProperties(records, regions, seed, read_record, by_class, properties),
        sources=GroupProperties(records, regions, seed, read_record, by_source, properties),
        grey_range=GreyRange(records, seed, read_record, known.levels),
        places={record.id: place for place, record in enumerate(records)},
        suspects=suspects,
        measured=measured,
    )


def read_scene(record: Record, context: CohortContext) -> Scene:
    """Read one image, with everything that perturbations may look at."""
    image = context.read(record)
    image.setflags(write=False)
    height, width = image.shape[:2]
    return Scene(
        image=image,
        record=record,
        regions=context.regions[record.id],
        donors=context.donors,
        lungs=None if record.lung_mask is None else read_mask(record.lung_mask, (height, width)),
        background=context.background,
        properties=context.properties,
        sources=context.sources,
        leaves_range=context.grey_range.leaves,
        suspects=context.suspects,
        split=context.places.get(record.id, 0) % SPLITS,
    )


def make_perturbations(suite: Suite) -> dict[str, Perturbation]:
    """Make the perturbation of every condition but `clean`."""
    return {c.name: make_perturbation(c.perturbation, c.parameters) for c in suite.conditions[1:]}


def variants(scene: Scene, suite: Suite, perturbations: Mapping[str, Perturbation], seed: int) -> Iterator[Variant]:
    """Yield the clean image, then every draw of every condition, in the suite's order, one at a time."""
    yield Variant(condition="clean", draw=0, image=scene.image, changed_share=0.0)
    for condition in suite.conditions[1:]:
        for draw in range(condition.draws):
            yield make_variant(scene, condition, perturbations[condition.name], draw, seed)


def make_variant(scene: Scene, condition: Condition, perturbation: Perturbation, draw: int, seed: int) -> Variant:
    """Edit one image; the result depends on (seed, record id, condition, draw) alone."""
    if draw < 2 * condition.pairs:
        # The draws of a pair differ in the half of the patients that they see, and in nothing else.
        draw_of_pair = draw // 2
        scene = replace(scene, half=draw % 2, split=scene.split + SPLITS * draw_of_pair)
    else:
        draw_of_pair = draw
    drawn = perturbation.draw(scene, generator_for(seed, scene.record.id, condition.stream, draw_of_pair))
    if isinstance(drawn, NotApplicable):
        return _not_made(scene, condition, draw, drawn)
    if drawn is None:
        raise AuditError(
            f"The perturbation of condition {condition.name} returned None from draw(). If it does not apply, draw() must return "
            "NotApplicable with a reason."
        )
    edited = perturbation.apply(scene.image, drawn)
    if edited.shape != scene.image.shape or edited.dtype != np.uint8:
        raise AuditError(
            f"The perturbation of condition {condition.name} returned {edited.dtype} {edited.shape} for an image uint8 "
            f"{scene.image.shape}. An edit must keep type and shape; correct its apply()."
        )
    implausible = perturbation.check(scene, edited) if isinstance(perturbation, SelfChecking) else None
    if implausible is not None:
        return _not_made(scene, condition, draw, implausible)
    share = float(changed_pixels(scene.image, edited).mean())
    donor = getattr(drawn, "donor", None)
    name = donor.name if isinstance(donor, Record) else ""
    return Variant(condition=condition.name, draw=draw, image=edited, changed_share=share, donor=name)


def _not_made(scene: Scene, condition: Condition, draw: int, why: NotApplicable) -> Variant:
    reason = why.reason or "no reason given"
    return Variant(condition=condition.name, draw=draw, image=scene.image, changed_share=0.0, why_not=reason)
