"""What each suspect looks like on an image, in numbers: its text, its source, how it was exposed and framed, whether it shows an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition
from audit.perturbations.base import Scene
from audit.perturbations.properties import Properties, measure_properties
from audit.prediction.experiment import Experiment
from audit.prediction.tasks import all_tasks
from audit.prediction.variants import read_scene
from audit.run.probing import Table
from audit.run.source_probe import frequent_tokens, image_features, text_row

_QUANTILES = slice(4, 64, 8)
"""Levels of the grey curve that are kept."""
_PROPERTIES = {
    "grey-curve": "curve",
    "sharpness": "sharpness",
    "noise": "noise",
    "compression": "compression",
    "frame": "frame",
}


@dataclass(frozen=True, kw_only=True)
class SuspectViews:
    """Every suspect of a suite on the images (n), in numbers, and what the network makes of the images."""

    views: Mapping[str, Table]
    """Suspect, in words -> (n, v)."""
    features: Table | None
    """(n, f) what the last layer reads; None for a classifier that shows none."""


def kind_of(condition: Condition) -> str:
    """Return which view shows the suspect of a judged condition; empty for one that has no number for an image."""
    parameters = condition.parameters
    if condition.perturbation == "class-shift":
        return _PROPERTIES.get(str(parameters.get("of")), "")
    if condition.perturbation == "object":
        return f"object {parameters.get('suspect')}"
    if condition.perturbation == "look-transfer":
        return "source"
    return "text" if condition.declared.concerns("text") else ""


def view_suspects(
    experiment: Experiment,
    numbers: Sequence[int],
    *,
    on_image: Callable[[], None],
    workers: int = 1,
    features: Mapping[int, Table] = MappingProxyType({}),
) -> SuspectViews:
    """Look at images for every suspect of the judged conditions.

    Parameters
    ----------
    experiment : Experiment
        The network, the conditions (those of one suspect share a view), the images, their text and objects.
    numbers : sequence of int
        Which of the images (n) are looked at.
    on_image : callable
        Called after each image.
    workers : int
        Processes; their number changes no byte.
    features : mapping
        Number of a record -> its features, of those that are known.
    """
    kinds: dict[str, str] = {}
    for condition in experiment.suite.conditions:
        if condition.judged and kind_of(condition):
            kinds.setdefault(condition.suspect, kind_of(condition))
    records = [experiment.records[i] for i in numbers]
    look = _Look(
        wanted=frozenset(kinds.values()),
        tokens=tuple(frequent_tokens(records, experiment.context.regions)),
        sources=tuple(sorted({r.source for r in records})),
        known=frozenset(features),
    )
    rows = all_tasks(experiment, _look, look, numbers, workers=workers, on_item=on_image)
    table = {kind: np.stack([row[kind] for row in rows]) for kind in look.wanted}
    seen = [row.get("features", features.get(i)) for i, row in zip(numbers, rows, strict=True)]
    shown = [row for row in seen if row is not None]
    return SuspectViews(
        views={suspect: table[kind] for suspect, kind in kinds.items()},
        features=np.stack(shown) if len(shown) == len(seen) else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What is looked for."""

    wanted: frozenset[str]
    tokens: tuple[str, ...]
    sources: tuple[str, ...]
    known: frozenset[int]


def _look(experiment: Experiment, look: _Look, number: int) -> dict[str, Table]:
    context = experiment.context
    scene = read_scene(experiment.records[number], context)
    found = _rows(scene, look.wanted, look.tokens, look.sources)
    if number not in look.known:
        features = image_features(experiment.bundle, scene.image)
        if features is not None:
            found["features"] = features
    return found


def _rows(scene: Scene, wanted: Set[str], tokens: Sequence[str], sources: Sequence[str]) -> dict[str, Table]:
    height, width = scene.image.shape[:2]
    found: dict[str, Table] = {}
    if "text" in wanted:
        found["text"] = text_row(scene.regions, (height, width), tokens)
    if "source" in wanted:
        found["source"] = np.array([float(scene.record.source == name) for name in sources])
    if wanted & set(_PROPERTIES.values()):
        known = None if scene.properties is None else scene.properties.of(scene.record)
        found |= _measured(known or measure_properties(scene.image, scene.regions, scene.lungs))
    for kind in wanted:
        if kind.startswith("object "):
            found[kind] = np.array([float(_shows(scene, int(kind.removeprefix("object "))))])
    return {kind: found[kind] for kind in wanted}


def _measured(properties: Properties) -> dict[str, Table]:
    total = properties.texture.total
    frame = properties.frame
    return {
        "curve": np.concatenate([channel[_QUANTILES] for channel in properties.curve]),
        # Bands that the image's resolution does not have are silent.
        "sharpness": np.where(np.isfinite(total), total, 0.0),
        "noise": _finite([properties.texture.noise]),
        "compression": _finite([properties.quality]),
        "frame": _finite([*frame.shares, frame.aspect]),
    }


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    return np.nan_to_num(np.array(values, dtype=np.float64))


def _shows(scene: Scene, number: int) -> bool:
    """Say whether an image shows an object, by the template that the other half of the patients proposed."""
    suspects = scene.suspects
    if suspects is None or not suspects.tests(number, scene.record):
        return False
    return bool(suspects.locate(number, scene.record, scene.image, scene.regions))
