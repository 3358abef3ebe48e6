"""Images for a product that cannot be loaded: the same variants that a loaded network would be asked about, written as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from audit.data.images import read_image
from audit.data.pixels.facts import StoredImage
from audit.data.pixels.writing import dicom_tags, encode_dicom, encode_png
from audit.errors import ImageError
from audit.files import file_sha256, write_atomically
from audit.models.recorded import image_key
from audit.perturbations import Perturbation
from audit.prediction.experiment import Experiment
from audit.prediction.shards import shard_of
from audit.prediction.variants import read_scene, variants
from audit.store.emission import EmissionFolder, EmittedForm, EmittedImage, EmittedPart


def emit_shard(
    number: int,
    experiment: Experiment,
    perturbations: Mapping[str, Perturbation],
    form: EmittedForm,
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Write the variants of one shard of the records, one at a time; return how many records it holds.

    Variants that are equal to the pixel are one file, as they share one forward pass of a loaded network.
    """
    folder, shard = EmissionFolder(experiment.run.path), shard_of(experiment.records, number)
    records = []
    for record in shard:
        scene = read_scene(record, experiment.context)
        tags = dicom_tags(record.path) if form == "dicom" else None
        files: dict[str, EmittedImage] = {}
        for variant in variants(scene, experiment.suite, perturbations, experiment.seed):
            key = image_key(variant.image)
            if key not in files:
                files[key] = _write(folder, key, variant.image, tags)
        records.append(tuple(files.values()))
        on_image()
    folder.write_part(number, EmittedPart(records=tuple(records)))
    return len(shard)


def _write(folder: EmissionFolder, key: str, image: StoredImage, tags: dict[str, Any] | None) -> EmittedImage:
    """Write one image, unless a whole one is there: of a start that was interrupted, or of another record with the same pixels."""
    name = f"{key}.png" if tags is None else f"{key}.dcm"
    path = folder.image(name)
    if not shows(path, colour=image.ndim == 3):
        write_atomically(path, encode_png(image) if tags is None else encode_dicom(image, tags, key))
    return EmittedImage(file=name, sha256=file_sha256(path))


def shows(path: Path, *, colour: bool) -> bool:
    """Say whether a file of an emission is there, and shows the pixels that its name says."""
    if not path.is_file():
        return False
    try:
        return image_key(read_image(path, colour=colour)) == path.stem
    except ImageError:
        return False
