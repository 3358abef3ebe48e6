"""Images that lie in a folder for each class, with folders for splits above or without."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from audit.data.layouts.found import FoundSet, Layout, image_paths
from audit.data.rows import SPLIT_SPELLINGS

_LOOKED_AT = 2_000


def _sign(folder: Path) -> str:
    parts = [path.split("/") for path in itertools.islice(image_paths(folder), _LOOKED_AT)]
    if not parts or any(len(path) < 2 for path in parts):
        return ""
    if _has_splits(parts):
        if any(len(path) < 3 for path in parts):
            return ""
        names = sorted({path[1] for path in parts})
        return f"the folders {', '.join(names[:4])} below {', '.join(sorted({path[0] for path in parts}))}"
    names = sorted({path[0] for path in parts})
    # One folder is no class against another; it is where a data set was unpacked to.
    return f"the folders {', '.join(names[:4])}" if len(names) > 1 else ""


def _has_splits(parts: Sequence[Sequence[str]]) -> bool:
    return all(path[0].casefold() in SPLIT_SPELLINGS for path in parts)


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    paths = list(image_paths(folder))
    parts = [path.split("/") for path in paths]
    with_splits = _has_splits(parts)
    place = 1 if with_splits else 0
    known = {name.casefold(): name for name in classes}
    columns = {
        "path": paths,
        # Folders are written in capitals as often as not; a network's classes are what they mean.
        "label": [known.get(path[place].casefold(), path[place]) for path in parts],
    }
    told_by = {"path": "the files", "label": "the folder's name"}
    if with_splits:
        columns["split"], told_by["split"] = [path[0] for path in parts], "the folder above"
    return FoundSet(folder=folder, columns=columns, told_by=told_by)


FOLDERS = Layout(name="folders", title="a folder for each class", sign=_sign, read=_read)
