"""The file of hand-drawn boxes: what a finder is scored with, and what `annotated` obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.data.records import TextRegion
from audit.errors import TextError, TextUsageError, shown_string
from audit.files import is_file, why_unreadable
from audit.store.documents import read_json
from audit.store.typed import typed

_CORNERS = ("x0", "y0", "x1", "y1")
_MOST_CHARACTERS = 1000
"""Of a string that was read on an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxedImage:
    """One image and the text that a person saw in it."""

    path: Path
    """The image file."""
    regions: tuple[TextRegion, ...]
    """Its text."""
    ignored: tuple[TextRegion, ...] = ()
    """Fragments and prints of which nobody can say whether they are text: neither hit nor false alarm."""
    label: str = "unknown"
    """Class of the image, if the file states it."""
    source: str = "unknown"
    """Source of the image, if the file states it."""


def read_boxes(file: Path) -> tuple[BoxedImage, ...]:
    """Read a JSON file of boxes in either of two forms.

    `{"images": {path: [box, ...]}}`, or `{"images": [{"path": path, "boxes": [box, ...], "label": ..., "source": ...}]}`.
    A box is half-open, in pixels of the stored image: `{"x0": 0, "y0": 0, "x1": 9, "y1": 9}` or `{"box": [0, 0, 9, 9]}`,
    with `text`, `kind`, `polygon` and `ignore` if wanted. Paths are relative to the file's folder.

    Raises
    ------
    TextError
        If the file is missing or of another form, or lists an image that is not there.
    """
    try:
        images = read_json(file)["images"]
        if isinstance(images, Mapping):
            images = [{"path": path, "boxes": boxes} for path, boxes in images.items()]
        elif not images:
            raise ValueError("no image is listed")
        found = tuple(_image(file.parent, row) for row in images)
    except FileNotFoundError as error:
        raise TextUsageError(f"The file of boxes {file} does not exist. Check the path.") from error
    except OSError as error:
        raise TextError(f"The file of boxes {file} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TextError(
            f"The file of boxes {file} does not have the expected form (images: path -> list of boxes, or a list of objects "
            f"with path and boxes): {shown_string(f'{type(error).__name__}: {error}', 200)}."
        ) from error
    missing = next((image.path for image in found if not is_file(image.path)), None)
    if missing is not None:
        raise TextError(
            f"The file of boxes {file} lists the image {shown_string(str(missing), 200)}, which {why_unreadable(missing)}. Paths are "
            "relative to the file's folder; correct them, or move the file."
        )
    return found


def _image(folder: Path, row: Mapping[str, Any]) -> BoxedImage:
    boxes = list(row["boxes"])
    return BoxedImage(
        path=folder / str(row["path"]),
        regions=tuple(_region(box) for box in boxes if not box.get("ignore")),
        ignored=tuple(_region(box) for box in boxes if box.get("ignore")),
        label=str(row.get("label") or "unknown"),
        source=str(row.get("source") or "unknown"),
    )


def _region(box: Mapping[str, Any]) -> TextRegion:
    corners = box["box"] if "box" in box else [box[name] for name in _CORNERS]
    told = {name: box[name] for name in ("text", "kind", "polygon") if box.get(name) is not None}
    region = typed({**dict(zip(_CORNERS, map(int, corners), strict=True)), **told}, TextRegion)
    if region.x1 < region.x0 or region.y1 < region.y0:
        raise ValueError(f"a box ends before it begins: {list(corners)}")
    for words in (region.text, region.kind):
        if len(words) > _MOST_CHARACTERS:
            raise ValueError(f"the text or kind of a box has more than {_MOST_CHARACTERS} characters")
        words.encode()  # half a character, as JSON can hold it, is no text
    return region
