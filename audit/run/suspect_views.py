"""What each suspect looks like on an image, in numbers: its text, its source, how it was exposed and framed, whether it shows an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition
from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.models.classifier import features_of
from audit.models.torch_classifier import one_thread
from audit.perturbations.base import Scene
from audit.perturbations.properties import Properties, measure_properties
from audit.prediction.variants import CohortContext, read_scene
from audit.run.probing import Table
from audit.run.source_probe import frequent_tokens, text_row

_QUANTILES = slice(4, 64, 8)
"""Levels of the grey curve that are kept."""
_PROPERTIES = {"grey-curve": "curve", "sharpness": "sharpness", "noise": "noise", "frame": "frame"}


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
    bundle: Bundle,
    records: Sequence[Record],
    conditions: Sequence[Condition],
    context: CohortContext,
    *,
    on_image: Callable[[], None],
) -> SuspectViews:
    """Look at every image for every suspect of the judged conditions.

    Parameters
    ----------
    bundle : Bundle
        The network.
    records : sequence of Record
        The images (n).
    conditions : sequence of Condition
        Of the suite; those of one suspect share a view.
    context : CohortContext
        Text and objects.
    on_image : callable
        Called after each image.
    """
    kinds: dict[str, str] = {}
    for condition in conditions:
        if condition.judged and kind_of(condition):
            kinds.setdefault(condition.suspect, kind_of(condition))
    wanted = set(kinds.values())
    tokens = frequent_tokens(records, context.regions)
    sources = sorted({r.source for r in records})
    rows: defaultdict[str, list[Table]] = defaultdict(list)
    features = features_of(bundle.classifier)
    for record in records:
        scene = read_scene(record, context)
        for kind, row in _rows(scene, wanted, tokens, sources).items():
            rows[kind].append(row)
        if features is not None:
            with one_thread():  # as predictions, so that the number of cores changes no digit
                found = features(bundle.preprocessing.prepare(scene.image)[None])[0]
            rows["features"].append(found.numpy().astype(np.float64))
        on_image()
    table = {kind: np.stack(found) for kind, found in rows.items()}
    return SuspectViews(views={suspect: table[kind] for suspect, kind in kinds.items()}, features=table.get("features"))


def _rows(scene: Scene, wanted: set[str], tokens: Sequence[str], sources: Sequence[str]) -> dict[str, Table]:
    height, width = scene.image.shape[:2]
    found: dict[str, Table] = {}
    if "text" in wanted:
        found["text"] = text_row(scene.regions, (height, width), tokens)
    if "source" in wanted:
        found["source"] = np.array([float(scene.record.source == name) for name in sources])
    if wanted & set(_PROPERTIES.values()):
        found |= _measured(measure_properties(scene.image, scene.regions, scene.lungs))
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
