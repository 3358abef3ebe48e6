"""VinDr-CXR as it unpacks: from PhysioNet with a column a finding, or from Kaggle with a row a box; three readers an image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from audit.data.layouts.found import NO_FINDING, FoundSet, Layout, header_of, images_below, labels_of, read_named

SOURCE = "VinDr"
_KAGGLE = ("image_id", "class_name", "rad_id")


def _sign(folder: Path) -> str:
    for name in ("annotations/image_labels_train.csv", "annotations/image_labels_test.csv", "image_labels_train.csv"):
        if (folder / name).is_file() and "image_id" in header_of(folder / name):
            return name
    kaggle = folder / "train.csv"
    return "train.csv" if kaggle.is_file() and set(_KAGGLE) <= set(header_of(kaggle)) else ""


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    sign = _sign(folder)
    found: dict[str, tuple[str, str]] = {}
    if sign == "train.csv":
        table = read_named(folder / sign, _KAGGLE)
        rows = zip(table["image_id"], table["rad_id"], table["class_name"], strict=True)
        found = {image: (names, "train") for image, names in _agreed(_by_reader(rows)).items()}
    else:
        for split in ("train", "test"):
            path = folder / sign.replace("_train", f"_{split}").replace("_test", f"_{split}")
            if path.is_file():
                found |= {image: (names, split) for image, names in _agreed(_of_columns(path)).items()}
    images = {name.rpartition(".")[0]: path for name, path in images_below(folder).items()}
    kept = [image for image in found if image in images]
    findings = [found[image][0] for image in kept]
    columns = {
        "id": kept,
        "path": [images[image] for image in kept],
        "label": labels_of(findings, classes),
        "findings": findings,
        "source": [SOURCE] * len(kept),
        "view": ["PA"] * len(kept),
        "split": [found[image][1] for image in kept],
    }
    told_by = {"path": "image_id", "label": "the findings that most readers agree on", "split": "the tables"}
    absent = len(found) - len(kept)
    return FoundSet(folder=folder, columns=columns, told_by=told_by, left_out={"not on disk": absent} if absent else {})


def _by_reader(rows: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, set[str]]]:
    """Return image -> reader -> findings."""
    readers: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    for image, reader, name in rows:
        readers[image].setdefault(reader, set()).add(name)
    return readers


def _of_columns(path: Path) -> dict[str, dict[str, set[str]]]:
    """Read a table with a row a reader, or a consensus, and a column a finding."""
    names = [name for name in header_of(path) if name not in ("image_id", "rad_id", "rad_ID")]
    table = read_named(path, ("image_id", *names), ("rad_id", "rad_ID"))
    told = table.get("rad_id") or table.get("rad_ID") or ["consensus"] * len(table["image_id"])
    readers: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    cells = zip(*(table[name] for name in names), strict=True)
    for image, reader, values in zip(table["image_id"], told, cells, strict=True):
        readers[image][reader] = {name for name, value in zip(names, values, strict=True) if value in ("1", "1.0")}
    return readers


def _agreed(readers: Mapping[str, Mapping[str, set[str]]]) -> dict[str, str]:
    """Keep what more than half of an image's readers found."""
    agreed = {}
    for image, of_one in readers.items():
        votes = Counter(name for names in of_one.values() for name in names)
        kept = sorted(name for name, n in votes.items() if 2 * n > len(of_one))
        agreed[image] = "|".join(NO_FINDING if name.casefold() == "no finding" else name for name in kept)
    return agreed


VINDR = Layout(name="vindr", title="VinDr-CXR", sign=_sign, read=_read)
