"""Images as files for somebody else's product: PNG, or DICOM with those tags of the original that identify nobody.

Reading such a file gives the same pixels again (`audit.data.images`).
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from audit.data.pixels.dicom import is_dicom, open_dataset
from audit.data.pixels.facts import StoredImage
from audit.data.pixels.limits import image_errors, read_image_bytes

KEPT_TAGS = (
    "SOPClassUID", "ImageType", "Modality", "Manufacturer", "ManufacturerModelName", "PresentationIntentType", "BodyPartExamined",
    "ViewPosition", "Laterality", "ImageLaterality", "PatientOrientation", "PatientPosition", "PatientSex", "PatientAge", "PixelSpacing",
    "ImagerPixelSpacing", "PixelAspectRatio", "KVP", "Exposure", "ExposureTime", "XRayTubeCurrent", "DistanceSourceToDetector",
    "DistanceSourceToPatient", "DetectorType", "Grid", "LossyImageCompression",
)  # fmt: skip
"""Tags that are copied from the original: what an image shows and how it was taken, and nothing that names a person, place or day."""
_COMPUTED = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage, for an original that does not say what it is."""
_MAX_TEXT = 64
"""Characters of a text tag; DICOM allows no more in these."""


def encode_png(image: StoredImage) -> bytes:
    """Return an image, (h, w) or (h, w, 3), as a PNG of 8 bits a channel."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def dicom_tags(path: Path) -> dict[str, Any] | None:
    """Return the tags that images made from a file keep of it; None where it is no DICOM file.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    data = read_image_bytes(path)
    if not is_dicom(data):
        return None
    with image_errors(path):
        dataset = open_dataset(data, pixels=False)
        return {name: dataset[name].value for name in KEPT_TAGS if name in dataset and _is_plain(dataset[name].value)}


def encode_dicom(image: StoredImage, tags: dict[str, Any], name: str) -> bytes:
    """Return an image as a DICOM file of 8 bits without a window, whose values are the levels themselves.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        The image.
    tags : dict
        As `dicom_tags` returns them.
    name : str
        Name of the image, from which its identifiers are made: each image is a patient, study and series of its own, so that a product
        does not compare it with others.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    height, width = image.shape[:2]
    dataset: Any = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID = UID(str(tags.get("SOPClassUID") or _COMPUTED))
    kinds = [str(kind) for kind in _listed(tags.get("ImageType"))]
    # Its values were computed from those of the original, which is what the first word says.
    dataset.ImageType = ["DERIVED", *(kinds[1:] or ["PRIMARY"])]
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, UID(_identifier(keyword, name)))
    dataset.PatientID = dataset.PatientName = name
    for keyword in (
        "PatientBirthDate",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyID",
    ):
        setattr(dataset, keyword, "")
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Only tags of the image itself were kept"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.SamplesPerPixel = 1 if image.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if image.ndim == 2 else "RGB"
    if image.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = height, width
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    pixels = np.ascontiguousarray(image).tobytes()
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _is_plain(value: Any) -> bool:
    """Say whether a value can be copied: not empty, of a sane length, no sequence of data sets."""
    return bool(_listed(value)) and all(len(str(part)) <= _MAX_TEXT for part in _listed(value))


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]


def _identifier(what: str, name: str) -> str:
    """Return a DICOM identifier made from a name, as those of UUIDs are (PS3.5 B.2)."""
    return f"2.25.{int(hashlib.sha256(f'{what} {name}'.encode()).hexdigest()[:32], 16)}"
