"""A finished run with its images again: the manifest gives them back, and edits are drawn from the same seeds as when they were predicted.

Of the text on the images the run keeps the places, which is all that edits use of it; so no finder is asked again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from msgspec import structs

from audit.data.conditions import Condition
from audit.data.images import pixel_hash, read_mask, read_record
from audit.data.manifests import BAD_MASKS, PIXEL_DIGITS
from audit.data.reading import read_records
from audit.data.records import Record, TextRegion
from audit.errors import CohortError, ImageError, StoreError, UsageError
from audit.perturbations import Perturbation, make_perturbation
from audit.perturbations.suspects import Suspects
from audit.prediction.covering import covered_context
from audit.prediction.table import FinishedRun
from audit.prediction.variants import CohortContext, Variant, cohort_context, make_variant, read_scene
from audit.run.run_inputs import manifest_of, names_of
from audit.run.settings import Settings
from audit.store.folder import RunFolder
from audit.store.numbers import counted
from audit.store.suspects import Sighting, SuspectsDocument

_REGION_COLUMNS = ("record_id", "x0", "y0", "x1", "y1", "text", "confidence", "kind", "detector", "polygon")


class OtherVersionError(StoreError):
    """An edit of a run that this version of audit would make in another way."""


@dataclass(frozen=True, kw_only=True)
class Revisited:
    """A finished run with its records."""

    finished: FinishedRun
    """The run."""
    records: tuple[Record, ...]
    """The audited images, in the run's order."""
    regions: Mapping[str, tuple[TextRegion, ...]]
    """Record id -> its text; a string that may not be shown is empty."""

    _made: dict[str, Perturbation] = field(default_factory=dict, repr=False, compare=False)
    """Perturbations by condition, once they were needed."""

    @cached_property
    def context(self) -> CohortContext:
        """Return what edits used besides the image itself."""
        suspects = self._suspects()
        return cohort_context(self.records, self.regions, self.finished.plan.seed, suspects)

    @cached_property
    def covered(self) -> Mapping[str, tuple[TextRegion, ...]]:
        """Return the regions that pictures do not show, by record id: what stands in them may not be shown, or was not read."""
        if self.finished.plan.privacy.show_text:
            return {record.id: () for record in self.records}
        return {key: tuple(region for region in found if not region.text) for key, found in self.regions.items()}

    @cached_property
    def pictures(self) -> CohortContext:
        """Return the context that pictures are drawn with: text that may not be shown is covered before an edit is made."""
        return covered_context(self.context, self.records, self.covered)

    def variant(self, record: Record, condition: str, draw: int, *, shown: bool = False) -> Variant:
        """Draw an image under a condition again.

        Parameters
        ----------
        record : Record
            The image.
        condition : str
            The condition; `clean` for the image itself.
        draw : int
            Its draw.
        shown : bool
            For a picture: made of images whose text is covered where it may not be shown, so that no edit can carry it along. Otherwise
            exactly as it was predicted.

        Raises
        ------
        OtherVersionError
            If this version of audit would edit the image in another way.
        AuditError
            If an image cannot be read.
        """
        scene = read_scene(record, self.pictures if shown else self.context)
        if condition == "clean":
            return Variant(condition="clean", draw=0, image=scene.image, changed_share=0.0)
        planned = self.finished.suite[condition]
        return make_variant(scene, planned, self._perturbation(planned), draw, self.finished.plan.seed)

    def _perturbation(self, condition: Condition) -> Perturbation:
        if condition.name not in self._made:
            try:
                made = make_perturbation(condition.perturbation, condition.parameters)
            except UsageError as error:
                raise OtherVersionError(
                    f"The edit {condition.name} of the run {self.finished.path} is not known to this version of audit ({error})."
                ) from error
            if made.version != condition.version:
                raise OtherVersionError(
                    f"The edit {condition.name} of the run {self.finished.path} was made by version {condition.version} of "
                    f"{condition.perturbation}; this version of audit has version {made.version}, which edits images in another way."
                )
            self._made[condition.name] = made
        return self._made[condition.name]

    def in_order(self, place: int) -> bool:
        """Say whether an image still fits the run's order, which is that of the digests of pixels: a changed one fits by chance alone.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        own = _pixels(self.records[place])
        before, after = (
            None if not 0 <= other < len(self.records) else _pixels_or_none(self.records[other])
            for other in (place - 1, place + 1)
        )
        return (before is None or before <= own) and (after is None or own <= after)

    def _suspects(self) -> Suspects | None:
        """Return the objects that the run's search proposed; its file names images as the run does, edits go by the digests of pixels."""
        run = RunFolder(self.finished.path)
        if not run.has(SuspectsDocument.FILE):
            return None
        by_name = {record.name: record for record in self.records}
        donors: dict[str, Record] = {}

        def digest(name: str) -> str:
            record = by_name.get(name)
            if record is None:
                raise StoreError(
                    f"{run.path / SuspectsDocument.FILE} names an image that the run does not have. Run the audit again."
                )
            found = _pixels(record)
            donors[found] = record
            return found

        def bare(sighting: Sighting) -> Sighting:
            return structs.replace(sighting, image=digest(sighting.image), picture=None, width=0, height=0, spot=None)

        found = tuple(
            structs.replace(
                suspect,
                sightings=tuple(map(bare, suspect.sightings)),
                without=tuple(map(digest, suspect.without)),
            )
            for suspect in run.read(SuspectsDocument).suspects
        )
        return Suspects(found=found, donors=donors, seed=self.finished.plan.seed)


def revisit(finished: FinishedRun, settings: Settings) -> Revisited:
    """Find the images of a finished run in its manifest; no image is read yet.

    Parameters
    ----------
    finished : FinishedRun
        The run.
    settings : Settings
        Manifest, or the model whose manifest is meant.

    Raises
    ------
    AuditError
        If the key or the manifest is not that of the run, or cannot be read.
    """
    path, plan = finished.path, finished.plan
    names = names_of(path, plan)
    manifest, ignored, options = manifest_of(path, plan, settings)
    read, _ = read_records(
        manifest,
        how=options,
        classes=plan.model.classes,
        names=names,
        multi_label=plan.model.task == "multi-label",
        ignored=ignored,
    )
    by_name = {record.name: record for record in read}
    run = RunFolder(path)
    rows = list(run.read_rows("records.parquet", ["record_id", "label", "source"]))
    lacking = sum(row["record_id"] not in by_name for row in rows)
    if lacking:
        raise CohortError(
            f"{counted(lacking, 'image')} of {len(rows)} in the run {path} {'is' if lacking == 1 else 'are'} not in {manifest}: the run "
            "used another manifest, or ids have changed since. Use --data with the manifest of the run."
        )
    # Label and source as the run has them: ignored labels have none, and sources of few patients have a neutral name.
    records = tuple(
        replace(by_name[row["record_id"]], label=row["label"], source=row["source"], colour=plan.data.colour)
        for row in rows
    )
    if any(BAD_MASKS in note for note in plan.data.notes):
        records = tuple(map(_without_bad_mask, records))
    found: defaultdict[str, list[TextRegion]] = defaultdict(list)
    for row in run.read_rows("regions.parquet", _REGION_COLUMNS):
        polygon = tuple((point[0], point[1]) for point in row.pop("polygon") or ())
        found[row.pop("record_id")].append(TextRegion(polygon=polygon, **row))
    return Revisited(finished=finished, records=records, regions={r.id: tuple(found[r.name]) for r in records})


def _without_bad_mask(record: Record) -> Record:
    """Return a record as the run has it, which treats a mask that cannot be used as missing."""
    if record.lung_mask is None:
        return record
    height, width = read_record(record).shape[:2]
    try:
        read_mask(record.lung_mask, (height, width))
    except ImageError:
        return replace(record, lung_mask=None)
    return record


def _pixels(record: Record) -> str:
    return pixel_hash(read_record(record))[:PIXEL_DIGITS]


def _pixels_or_none(record: Record) -> str | None:
    """Return the digest of an image's pixels; None of a neighbour that cannot be read, which is no fault of the image between."""
    try:
        return _pixels(record)
    except ImageError:
        return None
