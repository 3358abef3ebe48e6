"""A folder in place of a manifest: which data set it is, by name or by a guess that is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.data.layouts.chexpert import CHEXPERT
from audit.data.layouts.classes import FOLDERS
from audit.data.layouts.found import DEFAULT_CLASSES, FoundSet, Layout, candidates, only_child
from audit.data.layouts.mimic import MIMIC
from audit.data.layouts.nih import NIH
from audit.data.layouts.padchest import PADCHEST
from audit.data.layouts.rsna import RSNA
from audit.data.layouts.vindr import VINDR
from audit.errors import CohortError, UnknownNameError

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (NIH, CHEXPERT, MIMIC, PADCHEST, VINDR, RSNA, FOLDERS)}
"""Every layout by its name; folders of classes are guessed last, as data sets have folders too."""
AUTO = "auto"
"""Said in place of a name: guess it."""


@dataclass(frozen=True, kw_only=True)
class GuessedSet:
    """A folder's data set, and how it was recognised."""

    layout: Layout
    """What it is."""
    sign: str
    """What it was recognised by."""
    found: FoundSet
    """Its images."""


def check_layout(name: str) -> None:
    """Check the name of a layout, without a folder.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name != AUTO and name not in LAYOUTS:
        raise UnknownNameError("layout", name, (AUTO, *LAYOUTS))


def read_folder(root: Path, name: str, classes: Sequence[str] | None) -> GuessedSet:
    """Read a data set that has no manifest.

    Parameters
    ----------
    root : Path
        Where it was unpacked.
    name : str
        Of a layout, or `auto`.
    classes : sequence of str, optional
        What the findings are turned into; normal and pneumonia if omitted. Folders of classes keep their names.

    Raises
    ------
    CohortError
        If the folder does not look like it, like nothing known, or like several data sets; or holds none of the images.
    """
    check_layout(name)
    try:
        return _read_folder(root, name, classes)
    except OSError as error:
        raise CohortError(
            f"The folder {root} cannot be read: {error.strerror or error}. Check that you may read it and all folders in it."
        ) from error


def _read_folder(root: Path, name: str, classes: Sequence[str] | None) -> GuessedSet:
    asked = list(LAYOUTS.values()) if name == AUTO else [LAYOUTS[name]]
    seen = [(layout, folder, sign) for layout in asked if (place := _place(root, layout)) for folder, sign in [place]]
    if name == AUTO and len(seen) > 1:
        seen = [one for one in seen if one[0] is not FOLDERS]
    if not seen:
        inside = ", ".join(sorted(path.name for path in root.iterdir())[:6]) or "nothing"
        what = "any known data set" if name == AUTO else LAYOUTS[name].title
        raise CohortError(
            f"The folder {root} does not look like {what}. It contains {inside}. Give a manifest, or a folder with a folder for each "
            f"class, or name the data set with --layout: {', '.join(LAYOUTS)}."
        )
    if len(seen) > 1:
        titles = ", ".join(layout.name for layout, *_ in seen)
        raise CohortError(
            f"The folder {root} looks like several data sets: {titles}. Choose one with --layout, or give its own folder."
        )
    layout, folder, sign = seen[0]
    found = layout.read(folder, tuple(classes) if classes is not None else DEFAULT_CLASSES)
    if not found.columns.get("path"):
        n = sum(found.left_out.values())
        raise CohortError(
            f"None of the {n:,} images in the tables of {layout.title} is below {folder}. Unpack the images next to the tables."
        )
    return GuessedSet(layout=layout, sign=sign, found=found)


def _place(root: Path, layout: Layout) -> tuple[Path, str] | None:
    folders = only_child(root) if layout is FOLDERS else candidates(root)
    return next(((folder, sign) for folder in folders if (sign := layout.sign(folder))), None)
