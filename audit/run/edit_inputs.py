"""What edits used besides the images, as a finished run stored it: places of text, proposed objects, versions of perturbations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import structs

from audit.data.conditions import Condition
from audit.data.plan import Plan
from audit.data.records import Record, TextRegion
from audit.data.strings import shown_string
from audit.errors import StoreError, UsageError
from audit.perturbations import Perturbation, make_perturbation
from audit.perturbations.suspects import Suspects
from audit.prediction.covering import Disclosure
from audit.store.folder import RunFolder
from audit.store.suspects import Sighting, SuspectsDocument

_REGIONS = "regions.parquet"


class OtherVersionError(StoreError):
    """An edit of a run that this version of audit would make in another way."""


def stored_text(run: RunFolder, plan: Plan, records: Sequence[Record]) -> Disclosure:
    """Read where a run found text, and what of it pictures do not show: a string that may not be shown is stored as empty.

    No edit uses strings, so no text finder is needed to make one again.

    Raises
    ------
    StoreError
        If the table names images that the run does not have.
    """
    found: dict[str, list[TextRegion]] = {r.name: [] for r in records}
    fields = list(TextRegion.__slots__)
    for row in run.read_rows(_REGIONS, ["record_id", *fields]):
        if row["record_id"] not in found:
            raise other_names(run.path, _REGIONS)
        polygon = tuple((float(x), float(y)) for x, y in row["polygon"] or ())
        found[row["record_id"]].append(TextRegion(**{**{name: row[name] for name in fields}, "polygon": polygon}))
    text = {r.id: tuple(found[r.name]) for r in records}
    covered = {
        key: () if plan.privacy.show_text else tuple(r for r in regions if not r.text) for key, regions in text.items()
    }
    return Disclosure(text=text, covered=covered)


def stored_suspects(
    run: RunFolder, plan: Plan, records: Sequence[Record], pixels_of: Callable[[Record], str]
) -> Suspects | None:
    """Read the objects that a run's search proposed; its file names images as the run does, edits go by the digests of pixels.

    Parameters
    ----------
    run, plan, records
        The run.
    pixels_of : callable
        Returns the digest of an image's pixels; asked for the images of the search alone.

    Returns
    -------
    Suspects or None
        None where no search was asked for.

    Raises
    ------
    StoreError
        If the search names images that the run does not have.
    """
    if not plan.objects.asked:
        return None
    by_name = {record.name: record for record in records}
    donors: dict[str, Record] = {}

    def digest(name: str) -> str:
        if name not in by_name:
            raise other_names(run.path, SuspectsDocument.FILE)
        found = pixels_of(by_name[name])
        donors[found] = by_name[name]
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
    return Suspects(found=found, donors=donors, seed=plan.seed)


def same_perturbation(path: Path, condition: Condition) -> Perturbation:
    """Make the perturbation of a condition as it was made for a run.

    Raises
    ------
    OtherVersionError
        If this version of audit does not know it, or edits images with it in another way.
    """
    title = shown_string(condition.title, 80)
    try:
        made = make_perturbation(condition.perturbation, condition.parameters)
    except UsageError as error:
        raise OtherVersionError(
            f"The edit “{title}” of the run {path} is not known to this version of audit ({error}). Use the version of audit that the run "
            "names."
        ) from error
    if made.version != condition.version:
        raise OtherVersionError(
            f"The edit “{title}” of the run {path} was made by version {condition.version} of {shown_string(condition.perturbation)}, and "
            f"this version of audit has version {made.version}, which edits images in another way. Use the version of audit that the run "
            "names."
        )
    return made


def other_names(path: Path, table: str) -> StoreError:
    """Return the error for a file of a run that names images which the run does not have."""
    return StoreError(
        f"{table} of the run {path} names images that the run does not have. It was edited. Run the audit again."
    )
