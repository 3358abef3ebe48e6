"""What DICOM headers say of a patient where a data set's tables do not: age, sex and view, and nothing that names anybody."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from audit.data.pixels.dicom import is_dicom
from audit.files import open_regular

KEYWORDS: Mapping[str, str] = {"age": "PatientAge", "sex": "PatientSex", "view": "ViewPosition"}
"""Column -> element of the header."""
_HEAD_BYTES = 256 * 1024
"""These elements stand among the first of a file; the pixels, far behind them, are not read."""
_LONGEST = 64
"""Characters of a value."""


def read_headers(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Read the columns of `KEYWORDS` from the headers of images.

    Parameters
    ----------
    paths : sequence of Path
        Images; of one that is no DICOM file, or whose header cannot be read, every cell is empty.

    Returns
    -------
    dict
        Column -> a cell for every image; without the columns that no image fills.
    """
    rows = [_read(path) for path in paths]
    columns = {column: [row.get(column, "") for row in rows] for column in KEYWORDS}
    return {column: cells for column, cells in columns.items() if any(cells)}


def _read(path: Path) -> dict[str, str]:
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
    except OSError:  # an image that cannot be read is reported when its pixels are
        return {}
    if not is_dicom(head):
        return {}
    # Imported here: most cohorts hold no DICOM, and pydicom costs a third of a second.
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # values that are not as the standard wants them are the reader's to understand
            dataset = pydicom.dcmread(
                io.BytesIO(head), force=True, stop_before_pixels=True, specific_tags=list(KEYWORDS.values())
            )
            return {column: str(dataset.get(keyword) or "").strip()[:_LONGEST] for column, keyword in KEYWORDS.items()}
    except Exception:  # pydicom raises a dozen kinds; each means that the header says nothing
        return {}
