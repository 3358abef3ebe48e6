"""A finished run with its images again: the manifest gives them back, and edits are drawn from the same seeds as when they were predicted.

Of the text on the images the run keeps the places, which is all that edits use of it; so no finder is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from audit.data.conditions import Condition
from audit.data.images import pixel_hash, read_mask, read_record
from audit.data.manifests import BAD_MASKS, PIXEL_DIGITS
from audit.data.records import Record
from audit.errors import CohortError, ImageError
from audit.perturbations import Perturbation
from audit.prediction.covering import Disclosure, covered_context
from audit.prediction.table import FinishedRun
from audit.prediction.variants import CohortContext, Variant, cohort_context, make_variant, read_scene
from audit.run.edit_inputs import same_perturbation, stored_suspects, stored_text
from audit.run.run_inputs import manifest_of
from audit.run.settings import Settings
from audit.store.folder import RunFolder
from audit.store.numbers import counted


@dataclass(frozen=True, kw_only=True)
class Revisited:
    """A finished run with its records."""

    finished: FinishedRun
    """The run."""
    records: tuple[Record, ...]
    """The audited images, in the run's order."""
    text: Disclosure
    """Where text is, and what of it pictures do not show."""

    _made: dict[str, Perturbation] = field(default_factory=dict, repr=False, compare=False)
    """Perturbations by condition, once they were needed."""

    @cached_property
    def context(self) -> CohortContext:
        """Return what edits used besides the image itself."""
        plan = self.finished.plan
        suspects = stored_suspects(RunFolder(self.finished.path), plan, self.records, _pixels)
        return cohort_context(self.records, self.text.text, plan.seed, suspects)

    @cached_property
    def pictures(self) -> CohortContext:
        """Return the context that pictures are drawn with: text that may not be shown is covered before an edit is made."""
        return covered_context(self.context, self.records, self.text.covered)

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
            self._made[condition.name] = same_perturbation(self.finished.path, condition)
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
    manifest = manifest_of(path, plan, settings)
    by_name = {record.name: record for record in manifest.records}
    run = RunFolder(path)
    rows = list(run.read_rows("records.parquet", ["record_id", "label", "source"]))
    lacking = sum(row["record_id"] not in by_name for row in rows)
    if lacking:
        are = "is" if lacking == 1 else "are"
        raise CohortError(
            f"{counted(lacking, 'image')} of {len(rows)} in the run {path} {are} not in {manifest.path}: the run used another manifest, or "
            "ids have changed since. Use --data with the manifest of the run."
        )
    # Label and source as the run has them: ignored labels have none, and sources of few patients have a neutral name.
    records = tuple(
        replace(by_name[row["record_id"]], label=row["label"], source=row["source"], colour=plan.data.colour)
        for row in rows
    )
    if any(BAD_MASKS in note for note in plan.data.notes):
        records = tuple(map(_without_bad_mask, records))
    return Revisited(finished=finished, records=records, text=stored_text(run, plan, records))


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
