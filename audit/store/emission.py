"""What an emission of images knows of itself, beside its images: what decided them, and which files belong to which audited image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import Meta

from audit.errors import StoreError
from audit.files import write_atomically
from audit.store.documents import read_json
from audit.store.run_record import Sha256
from audit.store.serialise import to_json
from audit.store.typed import Document, FormatError, typed

EmittedForm = Literal["png", "dicom"]
"""What images are written as: dicom where the original is a DICOM file, else png."""
IMAGES = "images"
"""Folder of the images, inside that of the emission."""
ANSWERS = "answers.csv"
"""Table that the answers are filled into."""
_OWN = "emission"
_ABOUT = f"{_OWN}/emission.json"
_D = TypeVar("_D", bound=Document)


class Emission(Document, frozen=True, kw_only=True):
    """What decided the images of an emission."""

    form: EmittedForm
    """What they are written as."""
    classes: tuple[str, ...]
    """Classes that the product is asked for."""
    decided_by: Mapping[str, str]
    """What decides the images, in words -> its SHA-256."""
    n_records: int
    """Audited images."""
    n_parts: int
    """Parts that the audited images are written in."""
    n_images: int
    """Files, once all were written; 0 until then."""

    @property
    def is_complete(self) -> bool:
        """Whether every part was written, and the table for the answers."""
        return self.n_images > 0


class EmittedImage(Document, frozen=True, kw_only=True):
    """One file."""

    file: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\.(png|dcm)$")]
    """Its name in the folder of images: digits of the SHA-256 of its pixels."""
    sha256: Sha256
    """Of its bytes."""


class EmittedPart(Document, frozen=True, kw_only=True):
    """The files of some audited images."""

    records: tuple[tuple[EmittedImage, ...], ...]
    """Of each audited image the files, the unedited one first; equal ones once."""


class EmissionFolder:
    """One emission's files. One that is there is whole.

    Parameters
    ----------
    path : Path
        The folder, existing or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def answers(self) -> Path:
        """The table that the answers are filled into."""
        return self.path / ANSWERS

    def image(self, file: str) -> Path:
        """Return the path of an image."""
        return self.path / IMAGES / file

    def read(self) -> Emission | None:
        """Return what the emission knows of itself; None where there is none.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        path = self.path / _ABOUT
        return self._read(path, Emission) if path.is_file() else None

    def is_foreign(self) -> bool:
        """Say whether it holds anything that is not an emission's, into which nothing may be written."""
        if not self.path.is_dir():
            return self.path.exists()
        # What a start leaves that was killed before it wrote its first file stands in its own folder.
        return any(entry.name != _OWN for entry in self.path.iterdir())

    def write(self, emission: Emission) -> None:
        """Write what the emission knows of itself."""
        write_atomically(self.path / _ABOUT, to_json(emission).encode())

    def has_part(self, number: int) -> bool:
        """Say whether a part was written."""
        return self._part(number).is_file()

    def write_part(self, number: int, part: EmittedPart) -> None:
        """Write which files belong to the audited images of a part; its images come first."""
        write_atomically(self._part(number), to_json(part).encode())

    def parts(self, emission: Emission) -> Iterator[EmittedPart]:
        """Yield the parts in the order of the audited images, one at a time."""
        for number in range(emission.n_parts):
            yield self.part(number)

    def part(self, number: int) -> EmittedPart:
        """Return a part that was written."""
        return self._read(self._part(number), EmittedPart)

    def _part(self, number: int) -> Path:
        return self.path / _OWN / f"part-{number:05d}.json"

    def _read(self, path: Path, kind: type[_D]) -> _D:
        try:
            return typed(read_json(path), kind)
        except (OSError, ValueError, FormatError) as error:
            raise StoreError(
                f"{path} cannot be read ({error}). The emission was edited, or another version of audit wrote it. Emit into another folder."
            ) from error
