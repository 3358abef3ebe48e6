"""Pictures of the objects that the search proposed: each with its surroundings, on images that proposed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from audit.data.records import Record
from audit.files import write_atomically
from audit.perturbations.suspects import Suspects
from audit.prediction.covering import Covered, covered_context
from audit.prediction.variants import CohortContext
from audit.relevance.pictures import image_jpeg, shown_size
from audit.store.folder import RunFolder
from audit.store.pictures import Picture, Spot
from audit.store.suspects import Sighting, SuspectsDocument

N_PICTURES = 4
"""Pictures of one suspect."""
_SURROUNDINGS = 1.5
"""Margin of a picture around the object, as a multiple of the object's side."""
_LONG_SIDE_PX = 220


def write_suspects(
    run: RunFolder,
    document: SuspectsDocument,
    suspects: Suspects,
    records: Sequence[Record],
    context: CohortContext,
    covered: Covered,
) -> None:
    """Write `objects/`: pictures of every suspect, and `suspects.json`, which identifies images by their names in the run.

    Parameters
    ----------
    run : RunFolder
        The run's files.
    document : SuspectsDocument
        What the search proposed, images by the digest of their pixels.
    suspects : Suspects
        The same, with the records.
    records : sequence of Record
        The audited ones: an image that was left out since has no picture.
    context : CohortContext
        Reads images.
    covered : mapping
        Record id -> text that pictures do not show.
    """
    if run.has(SuspectsDocument.FILE):
        return
    pictures = covered_context(context, records, covered)
    audited = {r.id for r in records}
    donors = {key: r for key, r in suspects.donors.items() if r.id in audited}
    shown = tuple(
        structs.replace(
            suspect,
            sightings=tuple(
                _pictured(run, number, place, sighting, donors, pictures)
                for place, sighting in enumerate(s for s in suspect.sightings if s.image in donors)
            ),
            without=tuple(donors[key].name for key in suspect.without if key in donors),
        )
        for number, suspect in enumerate(document.suspects, start=1)
    )
    run.write(structs.replace(document, suspects=shown))


def _pictured(
    run: RunFolder, number: int, place: int, sighting: Sighting, donors: Mapping[str, Record], pictures: CohortContext
) -> Sighting:
    record = donors[sighting.image]
    if place >= N_PICTURES:
        return structs.replace(sighting, image=record.name)
    image = pictures.read(record)
    height, width = image.shape[:2]
    box = _around(sighting.boxes)
    reach = _SURROUNDINGS * max((box.x1 - box.x0) * width, (box.y1 - box.y0) * height)
    left, top = max(0, round(box.x0 * width - reach)), max(0, round(box.y0 * height - reach))
    right, bottom = min(width, round(box.x1 * width + reach)), min(height, round(box.y1 * height + reach))
    crop = image[top:bottom, left:right]
    name = f"{number:02d}-{place}.jpg"
    size = shown_size(crop.shape, _LONG_SIDE_PX)
    write_atomically(run.path / "objects" / name, image_jpeg(crop, size))
    spot = Spot(
        x0=(box.x0 * width - left) / (right - left),
        y0=(box.y0 * height - top) / (bottom - top),
        x1=(box.x1 * width - left) / (right - left),
        y1=(box.y1 * height - top) / (bottom - top),
    )
    return structs.replace(
        sighting, image=record.name, picture=Picture(file=name), width=size[0], height=size[1], spot=spot
    )


def _around(boxes: Sequence[Spot]) -> Spot:
    return Spot(
        x0=min(b.x0 for b in boxes),
        y0=min(b.y0 for b in boxes),
        x1=max(b.x1 for b in boxes),
        y1=max(b.y1 for b in boxes),
    )
