"""A run folder, read back for rendering."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from msgspec.structs import asdict

from audit.data.findings import NONE_PRESENT, names_in
from audit.data.plan import Plan
from audit.data.strings import normal_string
from audit.errors import StoreError, shown_string
from audit.files import file_sha256, read_regular
from audit.gates.document import VerdictDocument
from audit.prediction.rows import prediction_rows
from audit.reports.reading.view import MOST_CASES, PICTURES, RunView, WordCount
from audit.store.controls import ControlsDocument
from audit.store.folder import RunFolder, verify_run
from audit.store.levels import LevelsDocument
from audit.store.pictures import (
    ClustersDocument,
    Example,
    ExamplesDocument,
    MarkersDocument,
    MovedDocument,
    Picture,
    Thumbnail,
)
from audit.store.probe import ProbeDocument
from audit.store.recomputation import Recomputation
from audit.store.relevance import RelevanceDocument
from audit.store.results import (
    ConditionsDocument,
    EffectsDocument,
)
from audit.store.review import Review, Reviews
from audit.store.run_record import RunRecord
from audit.store.suspects import Sighting, SuspectsDocument

_TOP_WORDS = 8
# RuntimeError: what a generator makes of a look-up that found nothing.
_NOT_UNDERSTOOD = (
    ArithmeticError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, UndefinedError, ValueError,
)  # fmt: skip
_RELEVANCE_COLUMNS = (
    "record_id", "start", "mass_in_text", "signed_share", "placebo_low", "placebo_median", "placebo_high", "placebo_p",
    "fall_when_gone", "at_pixels", "kept_bias", "kept_shift", "kept_stabiliser", "conservation_gap",
)  # fmt: skip


def read_run(path: Path) -> RunView:
    """Read a finished run.

    Raises
    ------
    StoreError
        If a file is missing or damaged, or the run was not finished.
    """
    with understood(path):
        return _read(path)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn missing or malformed content of a folder of another version into one clear error.

    Raises
    ------
    StoreError
        In place of the look-up that failed.
    """
    try:
        yield
    except _NOT_UNDERSTOOD as error:
        raise StoreError(
            f"The run {path} does not have the format of this version of audit ({type(error).__name__}: "
            f"{shown_string(str(error), 200)}). Another version "
            "wrote it, or it was edited. Run the audit again."
        ) from error


def _read(path: Path) -> RunView:
    folder = RunFolder(path)
    run = folder.read(RunRecord)
    if run.status != "complete":
        raise StoreError(f"The run {path} is not complete. Repeat its command to continue it.")
    records = {
        row["record_id"]: row for row in folder.read_rows("records.parquet", ["record_id", "label", "n_regions"])
    }
    judged, plan = folder.read(VerdictDocument), folder.read(Plan)
    multi_label = plan.model.task == "multi-label"
    labels = {
        key: names_in(row["label"]) or [NONE_PRESENT] if multi_label else [row["label"]] for key, row in records.items()
    }
    totals, texts = (
        Counter(label for key in records for label in labels[key]),
        Counter(label for key, r in records.items() if r["n_regions"] for label in labels[key]),
    )
    effects = folder.read(EffectsDocument)
    pictures = folder.read(ExamplesDocument)
    examples = pictures.examples
    return RunView(
        path=path,
        plan=plan,
        run=run,
        verdict=judged.verdict,
        judged_by=judged.config,
        effects=effects.effects,
        trends=effects.trends,
        uses={use.condition: use for use in folder.read(ConditionsDocument).conditions},
        probe=folder.read(ProbeDocument).probe,
        levels=folder.read(LevelsDocument) if folder.has(LevelsDocument.FILE) else None,
        confusion={} if multi_label else _confusion(folder, plan.model.classes),
        words=_words(folder, labels),
        images_with_text={label: (texts[label], totals[label]) for label in sorted(totals)},
        relevance=_relevance(folder, records),
        relevance_summary=folder.read(RelevanceDocument).relevance if folder.has(RelevanceDocument.FILE) else None,
        planted=folder.read(ControlsDocument).planted if folder.has(ControlsDocument.FILE) else (),
        clusters=_clusters(folder),
        suspects=_suspects(folder),
        examples=tuple(_with_pictures(folder, e) for e in examples[:MOST_CASES]),
        thumbnails={t.condition: _with_uris(folder, t) for t in pictures.thumbnails},
        moved=folder.read(MovedDocument) if folder.has(MovedDocument.FILE) else None,
        n_examples=len(examples),
        markers=_markers(folder),
        reviews=_reviews(folder),
        recomputed=folder.read(Recomputation) if folder.has(Recomputation.FILE) else None,
        problems=tuple(verify_run(path)),
    )


def read_figures(path: Path) -> RunView:
    """Read what a finished run measured and how it was judged, without its predictions and pictures.

    `problems` names only those of the files read here that are not what the run left.

    Raises
    ------
    StoreError
        As `read_run`.
    """
    with understood(path):
        folder = RunFolder(path)
        run = folder.read(RunRecord)
        if run.status != "complete":
            raise StoreError(f"The run {path} is not complete. Repeat its command to continue it.")
        judged, effects = folder.read(VerdictDocument), folder.read(EffectsDocument)
        documents = (Plan.FILE, VerdictDocument.FILE, EffectsDocument.FILE, ProbeDocument.FILE, ControlsDocument.FILE)
        changed = [n for n in documents if folder.has(n) and file_sha256(path / n) != run.files.get(n)]
        return RunView(
            path=path,
            plan=folder.read(Plan),
            run=run,
            verdict=judged.verdict,
            judged_by=judged.config,
            effects=effects.effects,
            trends=effects.trends,
            uses={},
            probe=folder.read(ProbeDocument).probe,
            levels=None,
            confusion={},
            words=(),
            images_with_text={},
            relevance=(),
            relevance_summary=None,
            planted=folder.read(ControlsDocument).planted if folder.has(ControlsDocument.FILE) else (),
            clusters=(),
            suspects=(),
            examples=(),
            thumbnails={},
            moved=None,
            n_examples=0,
            markers=(),
            reviews=(),
            recomputed=None,
            problems=tuple(f"{name} was changed" for name in changed),
        )


def _reviews(folder: RunFolder) -> tuple[Review, ...]:
    """Return the reviews; a person may have edited them, and the run is none the worse for it."""
    if not folder.has(Reviews.FILE):
        return ()
    try:
        return folder.read(Reviews).reviews
    except StoreError as error:
        raise StoreError(
            f"{folder.path / Reviews.FILE} does not hold reviews as `audit report --signoff` writes them. Delete it, and pass the reviews "
            "that the page saved again."
        ) from error


def _markers(folder: RunFolder) -> tuple[Mapping[str, Any], ...]:
    if not folder.has(MarkersDocument.FILE):
        return ()
    return tuple(
        {**asdict(crop), "uri": _data_uri(folder.path / "examples", crop.file)}
        for crop in folder.read(MarkersDocument).markers
    )


def _confusion(folder: RunFolder, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for row in prediction_rows(folder, classes, ["condition", "label", "predicted"]):
        if row["condition"] == "clean":
            cells = counts.setdefault(row["label"], {})
            cells[row["predicted"]] = cells.get(row["predicted"], 0) + 1
    return counts


def _words(folder: RunFolder, labels: Mapping[str, Sequence[str]]) -> tuple[WordCount, ...]:
    """Count, for each string that may be shown, the images of each class that carry it."""
    images: defaultdict[str, set[str]] = defaultdict(set)
    for row in folder.read_rows("regions.parquet", ["record_id", "text"]):
        text = normal_string(row["text"])
        if text:
            images[text].add(row["record_id"])
    common = sorted(images, key=lambda t: (-len(images[t]), t))[:_TOP_WORDS]
    return tuple(
        WordCount(text=t, by_class=dict(Counter(label for i in sorted(images[t]) for label in labels[i])))
        for t in common
    )


def _relevance(folder: RunFolder, records: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    if not folder.has("relevance.parquet"):
        return ()
    rows = folder.read_rows("relevance.parquet", _RELEVANCE_COLUMNS)
    return tuple({**row, "label": records[row["record_id"]]["label"]} for row in rows)


def _clusters(folder: RunFolder) -> tuple[Mapping[str, Any], ...]:
    if not folder.has(ClustersDocument.FILE):
        return ()
    place = folder.path / "clusters"

    def shown(picture: Picture) -> dict[str, Any]:
        return {**asdict(picture), "uri": _data_uri(place, picture.file)}

    return tuple(
        {
            **asdict(cluster),
            "mean": shown(cluster.mean),
            "exemplars": [
                {**asdict(e), "image": shown(e.image), "overlay": shown(e.overlay)} for e in cluster.exemplars
            ],
        }
        for cluster in folder.read(ClustersDocument).clusters
    )


def _suspects(folder: RunFolder) -> tuple[Mapping[str, Any], ...]:
    if not folder.has(SuspectsDocument.FILE):
        return ()
    place = folder.path / "objects"

    def shown(sighting: Sighting) -> dict[str, Any]:
        picture = sighting.picture and {**asdict(sighting.picture), "uri": _data_uri(place, sighting.picture.file)}
        return {**asdict(sighting), "picture": picture}

    return tuple(
        {**asdict(suspect), "sightings": [shown(s) for s in suspect.sightings]}
        for suspect in folder.read(SuspectsDocument).suspects
    )


def _with_pictures(folder: RunFolder, example: Example) -> dict[str, Any]:
    shown = asdict(example)
    for part in PICTURES:
        if (picture := getattr(example, part)) is not None:
            shown[part] = {**asdict(picture), "uri": _data_uri(folder.path / "examples", picture.file)}
    return shown


def _with_uris(folder: RunFolder, thumbnail: Thumbnail) -> dict[str, Any]:
    place = folder.path / "examples"
    return {
        **asdict(thumbnail),
        **{part: _data_uri(place, getattr(thumbnail, part).file) for part in ("clean", "edit")},
    }


def _data_uri(folder: Path, name: str) -> str | None:
    """Return a picture as a data URI; None if it was deleted since, which the report states in its place."""
    path = folder / Path(name).name  # a name from a file: never a path out of the folder
    shown = f"{folder}/{shown_string(path.name, 100)}"
    kind = {".jpg": "jpeg", ".png": "png"}.get(path.suffix)
    if kind is None:
        raise StoreError(f"The picture {shown} is neither .jpg nor .png.")
    try:
        data = read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"The picture {shown} cannot be read ({error.strerror}).") from error
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
