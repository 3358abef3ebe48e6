"""A published folder -> a manifest that `audit train` and `audit run` read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from audit.data.layouts.guess import LAYOUTS
from audit.data.records import Record
from audit.errors import CohortError, UnknownNameError
from audit.files import read_text_file, write_atomically
from audit.training.datasets.arranged import arranged
from audit.training.datasets.chestxray14 import chestxray14
from audit.training.datasets.chexpert import chexpert
from audit.training.datasets.cohen import cohen
from audit.training.datasets.covid import covid
from audit.training.datasets.published import Selection
from audit.training.datasets.tuberculosis import montgomery, shenzhen

BUILDERS: Mapping[str, Callable[..., Selection]] = MappingProxyType(
    {
        "chestxray14": chestxray14,
        "covid-chestxray-dataset": cohen,
        "chexpert": chexpert,
        "montgomery": montgomery,
        "shenzhen": shenzhen,
        "covid": covid,
        **{name: arranged(layout) for name, layout in LAYOUTS.items() if name not in ("chexpert", "folders")},
    }
)
_COLUMNS = ("id", "path", "label", "findings", "source", "site", "patient", "view", "sex", "age", "split")


def build_manifest(name: str, root: Path, out: Path, *, exclude: Path | None = None, seed: int = 0) -> Selection:
    """Turn a published folder into a manifest.

    Parameters
    ----------
    name : str
        A key of `BUILDERS`.
    root : Path
        Folder into which the publisher's archive was unpacked.
    out : Path
        CSV to write; image paths in it are relative to its folder.
    exclude : Path, optional
        Text file with one file name a line (images with arrows, for example); `#` begins a comment.
    seed : int
        Of draws and splits.

    Returns
    -------
    Selection
        What was taken, and why the rest was not.

    Raises
    ------
    UnknownNameError, CohortError, StoreError
        The name, the folder, a column or the output cannot be used.
    """
    if name not in BUILDERS:
        raise UnknownNameError("data set", name, BUILDERS)
    names = _names(exclude)
    try:
        selection = BUILDERS[name](root, exclude=names, seed=seed)
    except OSError as error:
        raise CohortError(
            f"The folder {root} cannot be read: {error.strerror or error}. Check that you may read it and all folders in it."
        ) from error
    write_atomically(out, _csv(selection.records, out.parent).encode("utf-8", "surrogateescape"))
    return selection


def _names(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        lines = read_text_file(path, errors="strict").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError(
            f"The list of excluded files {path} cannot be read: {error}. Expected one name per line."
        ) from error
    return frozenset(name for line in lines if (name := line.split("#", 1)[0].strip()))


def _csv(records: Sequence[Record], folder: Path) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for r in records:
        age = "" if r.age is None else f"{r.age:g}"
        path = Path(os.path.relpath(r.path, folder)).as_posix()
        findings = "|".join(r.findings)
        writer.writerow(
            (r.id, path, r.label or "", findings, r.source, r.site, r.patient, r.view, r.sex, age, r.split or "")
        )
    return text.getvalue()
