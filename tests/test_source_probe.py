"""What tells the source, and what the source tells, on cohorts where both are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data.records import Record, TextRegion
from audit.models.bundle import Bundle, load_bundle
from audit.models.classifier import features_of
from audit.prediction.experiment import Experiment
from audit.prediction.variants import cohort_context
from audit.run.probing import N_PERMUTATIONS, areas_of
from audit.run.source_probe import probe_sources
from audit.store.folder import RunFolder
from audit.store.probe import SourceProbe
from audit.suites.reader import load_suite

LABELS = ("normal", "covid")


def cohort(folder: Path, *, apart: bool, purity: float = 0.5) -> tuple[list[Record], dict[str, tuple[TextRegion, ...]]]:
    """Return 80 images of 40 patients from two sources; `apart` gives one of them a darker border and a word."""
    rng = np.random.default_rng(0)
    records, regions = [], {}
    for number in range(80):
        patient = number // 2
        north = patient % 2 == 0
        label = LABELS[int(north if patient % 20 < 20 * (2 * purity - 1) else patient % 4 < 2)]
        image = rng.normal(120, 20, (64, 64))
        if apart and north:
            image[:6] -= 60
        path = folder / f"{number}.png"
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path)
        record = Record(
            id=str(number), path=path, label=label, patient=f"p{patient}", source="north" if north else "south"
        )
        records.append(record)
        word = "MOBILE" if apart and north else "ERECT"
        regions[record.id] = (TextRegion(x0=2, y0=2, x1=30, y1=9, text=word),)
    return records, regions


def experiment_of(bundle: Bundle, records: list[Record], regions: dict[str, tuple[TextRegion, ...]]) -> Experiment:
    """Return an experiment that is never written down."""
    return Experiment(
        run=RunFolder(Path("nowhere")),
        bundle=bundle,
        suite=load_suite("quick"),
        records=records,
        context=cohort_context(records, regions, 0),
        seed=0,
    )


@pytest.fixture
def probe(tmp_path: Path, write_bundle: Callable[..., Path]) -> Callable[..., SourceProbe]:
    bundle = load_bundle(write_bundle("C", classes=LABELS))

    def run(*, opaque: bool = False, **how: object) -> SourceProbe:
        records, regions = cohort(tmp_path, **how)
        if opaque:
            bundle.classifier.ability = lambda name: None  # type: ignore[method-assign]
        return probe_sources(experiment_of(bundle, records, regions), on_image=lambda: None)

    return run


def test_what_is_there_is_told_and_what_is_not_is_chance(probe: Callable[..., SourceProbe]) -> None:
    told = {(p.label, p.view): p for p in probe(apart=True).probes}
    assert set(told) == {
        (label, v) for label in LABELS for v in ("features", "histogram", "border", "thumbnail", "text")
    }
    for label in LABELS:
        for view in ("border", "text", "thumbnail"):
            assert told[label, view].auc > 0.95, (label, view)
            assert told[label, view].p == 1 / (1 + N_PERMUTATIONS)
            assert (told[label, view].n_images, told[label, view].n_patients) == (40, 20)
    none = probe(apart=False).probes
    assert sum(p.p <= 0.05 for p in none) <= 1, "ten probes of nothing"
    assert all(abs(p.null_auc - 0.5) < 0.08 for p in none), "the null must be chance"


def test_without_features_the_other_views_are_probed(probe: Callable[..., SourceProbe]) -> None:
    assert {p.view for p in probe(apart=True, opaque=True).probes} == {"histogram", "border", "thumbnail", "text"}


def test_a_class_of_one_source_is_not_probed(probe: Callable[..., SourceProbe]) -> None:
    assert probe(apart=False).majority == 0.5
    assert not probe(apart=False, purity=1.0).probes, "no class from two sources"


def test_penultimate_is_what_the_head_reads(write_bundle: Callable[..., Path]) -> None:
    import torch

    bundle = load_bundle(write_bundle("C"))
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    read = features_of(bundle.classifier)
    assert read is not None
    assert torch.allclose(bundle.network.classifier(read(inputs)), bundle.logits(inputs), atol=1e-6)


def test_areas_are_those_of_every_pair_of_images() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (24, 4))
    values[:, 3] = 1.0  # a column without a spread, so that scores are equal in places
    fold = np.arange(24) % 4
    targets = rng.integers(0, 3, (24, 5))
    found = areas_of(values, targets, fold, 3)
    for b in range(5):
        areas = []
        for source in range(3):
            hit = (targets[:, b] == source).astype(float)
            score = np.zeros(24)
            for number in range(4):
                train, test = fold != number, fold == number
                mean, spread = values[train].mean(0), values[train].std(0)
                spread[spread == 0] = 1.0
                x = (values - mean) / spread
                centred = hit[train] - hit[train].mean()
                weight = np.linalg.solve(x[train].T @ x[train] + 4 * np.eye(4), x[train].T @ centred)
                score[test] = x[test] @ weight + hit[train].mean()
            wins = [(i > j) + 0.5 * (i == j) for i in score[hit == 1] for j in score[hit == 0]]
            areas.append(np.mean(wins))
        assert found[b] == pytest.approx(np.mean(areas), abs=1e-9)
