"""The pictures of a run: for each edit the images that it moved most, before, after, and where the network looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.conditions import Suite
from audit.errors import RelevanceError
from audit.files import write_atomically
from audit.models.bundle import Bundle
from audit.perturbations import Scene
from audit.pictures import film_jpeg, hidden_id, relevance_png, shown_size
from audit.predict import Stage, make_perturbations, make_variant, read_scene, softmax
from audit.records import Record
from audit.relevance.lrp import Attributor
from audit.relevance.start import start_relevance
from audit.results import PredictionTable
from audit.store import RunFolder
from audit.words import may_be_personal, normal_string

N_EXAMPLES = 24
N_MARKERS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    record: int
    condition: str
    draw: int
    total_variation: float


def write_examples(
    run: RunFolder,
    bundle: Bundle,
    suite: Suite,
    records: Sequence[Record],
    stage: Stage,
    table: PredictionTable,
    seed: int,
    key: str,
    relevance: Mapping[str, Any],
    on_example: Callable[[], None],
) -> None:
    """Write `examples/`: pictures of the images that each edit moved most, and `examples.json`.

    The edits are drawn again from their seeds, so that nothing has to be kept while predicting. Images
    are named by a keyed hash: a file name may be a patient's.

    Parameters
    ----------
    table : PredictionTable
        Says which images moved.
    key : str
        Key of the hash of record ids; the plan's, so that two runs cannot be joined by it.
    relevance : mapping
        The `relevance` part of the plan: preset and start of the overlays.
    on_example : callable
        Called after each of at most `N_EXAMPLES`.
    """
    if run.has("examples/examples.json"):
        return
    perturbations = make_perturbations(suite)
    entries = []
    overlays = _Overlays(bundle, relevance["preset"], relevance["start"])
    for case, choice in enumerate(_choose(suite, table), start=1):
        scene = read_scene(records[choice.record], stage)
        condition = suite[choice.condition]
        edit = make_variant(scene, condition, perturbations[condition.name], choice.draw, seed).image
        entries.append(_example(run, suite, scene, edit, choice, case, key, table, overlays))
        on_example()
    _write_markers(run, records, stage, key)
    run.write_json("examples/examples.json", {"examples": entries})


def _write_markers(run: RunFolder, records: Sequence[Record], stage: Stage, key: str) -> None:
    """Write crops of the commonest strings, at most two films of each class, cut from the films at their own size."""
    by_id = {record.id: record for record in records}
    films: dict[str, dict[str, dict[str, Any]]] = {}
    for row in run.read_rows("regions.parquet", ["record_id", "x0", "y0", "x1", "y1", "text"]):
        text = normal_string(row["text"])
        # A string with digits may be a date of birth or a number of somebody: it is counted, not pictured.
        if text and not may_be_personal(text) and row["record_id"] in by_id:
            films.setdefault(text, {}).setdefault(row["record_id"], row)
    common = sorted((t for t in films if len(films[t]) > 1), key=lambda t: (-len(films[t]), t))[:N_MARKERS]
    entries: list[dict[str, Any]] = []
    for index, text in enumerate(common):
        shown: dict[str, int] = {}
        for record_id, row in sorted(films[text].items()):
            record = by_id[record_id]
            label = str(record.label)
            if shown.get(label, 0) == 2:
                continue
            shown[label] = shown.get(label, 0) + 1
            image = read_scene(record, stage).image
            margin = max(4, (row["y1"] - row["y0"]) // 3)
            crop = image[
                max(0, row["y0"] - margin) : row["y1"] + margin, max(0, row["x0"] - margin) : row["x1"] + margin
            ]
            if crop.size == 0:
                continue
            width, height = shown_size(crop.shape, 96)
            name = f"marker-{index:02d}-{len(entries):03d}.jpg"
            write_atomically(run.path / "examples" / name, film_jpeg(crop, (width, height)))
            entries.append(
                {
                    "text": text,
                    "label": label,
                    "record": hidden_id(record, key),
                    "file": name,
                    "width": width,
                    "height": height,
                }
            )
    run.write_json("examples/markers.json", {"markers": entries})


def _choose(suite: Suite, table: PredictionTable) -> list[_Choice]:
    """Take the images of largest total variation, in turn from each edit, a record once an edit."""
    clean = softmax(table.logits["clean"][0])
    ranked = []
    for condition in suite.conditions:
        if not condition.judged:
            continue
        moved = 0.5 * np.abs(softmax(table.logits[condition.name]) - clean).sum(axis=2)
        moved = np.where(table.applied[condition.name], moved, -1.0)
        draws = moved.argmax(axis=0)
        most = moved.max(axis=0)
        order = sorted(np.flatnonzero(most >= 0).tolist(), key=lambda i: (-most[i], str(table.record_ids[i])))
        ranked.append(
            [
                _Choice(record=i, condition=condition.name, draw=int(draws[i]), total_variation=float(most[i]))
                for i in order
            ]
        )
    turns = [row[turn] for turn in range(N_EXAMPLES) for row in ranked if turn < len(row)]
    return turns[:N_EXAMPLES]


def _example(
    run: RunFolder,
    suite: Suite,
    scene: Scene,
    edit: NDArray[np.uint8],
    choice: _Choice,
    case: int,
    key: str,
    table: PredictionTable,
    overlays: _Overlays,
) -> dict[str, Any]:
    difference = np.abs(edit.astype(np.int16) - scene.image.astype(np.int16)).astype(np.uint8)
    width, height = shown_size(scene.image.shape)
    scale = width / scene.image.shape[1]
    stem = f"examples/{case:03d}"
    for name, image in (("clean", scene.image), ("edit", edit), ("difference", difference)):
        write_atomically(run.path / f"{stem}-{name}.jpg", film_jpeg(image, (width, height)))
    overlay = overlays.of(scene)
    if overlay is not None:
        write_atomically(run.path / f"{stem}-relevance.png", overlay)

    def scores(condition: str, draw: int) -> dict[str, Any]:
        values = softmax(table.logits[condition][draw, choice.record])
        return {
            "predicted": table.classes[int(values.argmax())],
            "probabilities": {name: round(float(v), 4) for name, v in zip(table.classes, values, strict=True)},
        }

    return {
        "case": case,
        "record": hidden_id(scene.record, key),
        "label": scene.record.label,
        "source": scene.record.source,
        "condition": choice.condition,
        "question": suite[choice.condition].question,
        "clean": {"file": f"{case:03d}-clean.jpg", **scores("clean", 0)},
        "edit": {"file": f"{case:03d}-edit.jpg", **scores(choice.condition, choice.draw)},
        "difference": {"file": f"{case:03d}-difference.jpg"},
        "overlay": None if overlay is None else {"file": f"{case:03d}-relevance.png"},
        "width": width,
        "height": height,
        "regions": [
            {
                "x0": round(r.x0 * scale, 1),
                "y0": round(r.y0 * scale, 1),
                "x1": round(r.x1 * scale, 1),
                "y1": round(r.y1 * scale, 1),
                "text": r.text,
            }
            for r in scene.regions
        ],
        "total_variation": round(choice.total_variation, 4),
    }


class _Overlays:
    """The relevance of clean images as transparent maps: warm supports the prediction, cold speaks against it."""

    def __init__(self, bundle: Bundle, preset: str, start: str) -> None:
        self._bundle = bundle
        self._start = start
        self._drawn: dict[str, bytes] = {}
        self._attributor: Attributor | None = None
        # A network whose maps cannot be right is audited without them.
        with suppress(RelevanceError):
            self._attributor = Attributor(bundle.network, preset)

    def of(self, scene: Scene) -> bytes | None:
        """Return the overlay of one image as PNG; None where there is no relevance."""
        if self._attributor is None:
            return None
        if scene.record.id not in self._drawn:
            inputs = self._bundle.preprocessing.prepare(scene.image)[None]
            try:
                found = self._attributor.attribute(
                    inputs, lambda logits: start_relevance(logits, self._bundle.classes, self._start)
                )
            except RelevanceError:
                return None
            self._drawn[scene.record.id] = relevance_png(found.maps[0, 0])
        return self._drawn[scene.record.id]
