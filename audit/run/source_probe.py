"""How well the source of an image can be predicted: from the network's features, and from properties visible without a network.

Prediction is within each class and grouped by patient, so that neither the disease nor the patient reveals the source. A
source that can be predicted is *available* to the network; whether it is *used* is measured by look-transfer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_record
from audit.data.pixels.colour import channels_of
from audit.data.records import Record, TextRegion
from audit.models.bundle import Bundle
from audit.models.classifier import features_of
from audit.models.torch_classifier import one_thread
from audit.prediction.experiment import Experiment
from audit.prediction.tasks import all_tasks
from audit.randomness import generator_for
from audit.run.probing import Table, areas_of, patient_folds, permuted
from audit.store.probe import Probe, ProbedView, SourceProbe
from audit.text.merging import area_px

MAX_IMAGES = 2_000
"""Larger cohorts are sampled: two thousand images are precise enough for a probe, and fit in memory."""
MIN_PATIENTS = 5
"""A source with fewer patients in a class is left out of it."""
_BINS = 64
_THUMBNAIL_PX = 32
_BORDER_PX = 3
_TOKENS = 24


def probe_sources(
    experiment: Experiment,
    *,
    on_image: Callable[[], None],
    workers: int = 1,
    features: dict[int, Table] | None = None,
) -> SourceProbe:
    """Probe how well the source can be predicted (Zech et al. 2018).

    Parameters
    ----------
    experiment : Experiment
        The network, whose features are one view if it has any; labelled images, of which at most `MAX_IMAGES` are drawn from the seed,
        with their text; and the run's seed, which also decides folds and permutations.
    on_image : callable
        Called after each image.
    workers : int
        Processes; their number changes no byte.
    features : dict, optional
        Number of a record -> what the network's last layer reads of it: what is measured is added, so that no image is measured twice.
    """
    records, seed = experiment.records, experiment.seed
    chosen = sorted(generator_for(seed, "source probe").permutation(len(records))[:MAX_IMAGES].tolist())
    shown = [records[i] for i in chosen]
    tokens = frequent_tokens(shown, experiment.context.regions)
    rows = all_tasks(experiment, _look, tokens, chosen, workers=workers, on_item=on_image)
    views = {view: np.stack([row[view] for row in rows]) for view in rows[0]}
    if features is not None and "features" in views:
        features.update(zip(chosen, views["features"], strict=True))
    labels = Counter(r.label for r in shown)
    return SourceProbe(
        n_images=len(chosen),
        majority=max(labels.values()) / len(chosen),
        probes=tuple(p for label in sorted(map(str, labels)) for p in _probe_class(label, shown, views, seed)),
    )


def image_features(bundle: Bundle, image: NDArray[np.uint8]) -> Table | None:
    """Return what the network's last layer reads of an image, (f,); None of a classifier that shows none."""
    features = features_of(bundle.classifier)
    if features is None:
        return None
    with one_thread():  # as predictions, so that the number of cores changes no digit
        found = features(bundle.preprocessing.prepare(image)[None])[0]
    return np.asarray(found.numpy().astype(np.float64))


def _look(experiment: Experiment, tokens: Sequence[str], number: int) -> dict[ProbedView, Table]:
    """Return every view of an image."""
    record = experiment.records[number]
    image = read_record(record)
    found = image_features(experiment.bundle, image)
    plain = _plain_views(image, experiment.context.regions[record.id], tokens)
    return plain if found is None else {"features": found, **plain}


def _plain_views(
    image: NDArray[np.uint8], regions: Sequence[TextRegion], tokens: Sequence[str]
) -> dict[ProbedView, Table]:
    """Return the views that need no network."""
    height, width = image.shape[:2]
    thumbnail = cv2.resize(image, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    frame = np.ones(thumbnail.shape[:2], dtype=np.bool_)
    frame[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
    return {
        "histogram": np.concatenate(
            [np.bincount(c.ravel() // (256 // _BINS), minlength=_BINS) / c.size for c in channels_of(image)]
        ),
        "border": thumbnail[frame].ravel(),
        "thumbnail": thumbnail.ravel(),
        "text": text_row(regions, (height, width), tokens),
    }


def text_row(regions: Sequence[TextRegion], shape: tuple[int, int], tokens: Sequence[str]) -> Table:
    """Return what a probe sees of an image's text: how much there is, in which ninth of the image, and which frequent words."""
    height, width = shape
    ninths = np.zeros((3, 3))
    for r in regions:
        ninths[min(2, 3 * (r.y0 + r.y1) // (2 * height)), min(2, 3 * (r.x0 + r.x1) // (2 * width))] += 1
    read = _tokens(regions)
    area = sum(area_px(r) for r in regions) / (height * width)
    return np.array([len(regions), area, *ninths.ravel(), *(float(t in read) for t in tokens)])


def _tokens(regions: Sequence[TextRegion]) -> set[str]:
    return {token for r in regions for token in r.text.upper().split()}


def frequent_tokens(records: Sequence[Record], regions: Mapping[str, tuple[TextRegion, ...]]) -> list[str]:
    """Return the words on the most regions, the most frequent first."""
    counts = Counter(token for r in records for token in _tokens(regions[r.id]))
    return sorted(counts, key=lambda t: (-counts[t], t))[:_TOKENS]


def _probe_class(label: str, records: Sequence[Record], views: Mapping[ProbedView, Table], seed: int) -> list[Probe]:
    sources_of: defaultdict[str, set[str]] = defaultdict(set)
    for r in records:
        sources_of[r.patient].add(r.source)
    # Patients who were imaged in two places have no single source to predict or to permute.
    members = [i for i, r in enumerate(records) if r.label == label and len(sources_of[r.patient]) == 1]
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for i in members:
        patients[records[i].source].add(records[i].patient)
    sources = sorted(s for s, p in patients.items() if len(p) >= MIN_PATIENTS)
    if len(sources) < 2:
        return []
    members = [i for i in members if records[i].source in sources]
    source = np.array([sources.index(records[i].source) for i in members])
    names = [records[i].patient for i in members]
    group = np.unique(names, return_inverse=True)[1]
    fold = patient_folds(source, group, seed)
    shuffled = permuted(source, group, fold, generator_for(seed, "source probe", label))
    targets = np.stack([source, *shuffled], axis=1)
    found = []
    for view, values in views.items():
        areas = areas_of(values[members], targets, fold, len(sources))
        null = areas[1:]
        found.append(
            Probe(
                view=view,
                label=label,
                n_images=len(members),
                n_patients=int(group.max()) + 1,
                sources=tuple(sources),
                auc=float(areas[0]),
                null_auc=float(null.mean()),
                p=float((1 + np.count_nonzero(null >= areas[0] - 1e-12)) / (1 + len(null))),
            )
        )
    return found
