"""Are the heatmaps valid for this network? Relevance inside text compared with the measured effect of editing the text.

A heatmap is a claim; masking is a test of it. On the run's own images the relevance of the text is held against the fall of
the very output that was explained when the text is masked, image by image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from audit.data.conditions import Suite
from audit.relevance.start import WINNER, parse_start
from audit.store.relevance import Agreement, Estimate
from audit.store.results import PredictionTable, RelevanceRow

MIN_IMAGES = 10
RESAMPLES = 2_000


def measure_agreement(
    rows: Sequence[RelevanceRow],
    table: PredictionTable,
    suite: Suite,
    *,
    start: str,
    level: float,
    rng: np.random.Generator,
) -> tuple[Agreement, ...]:
    """Correlate relevance with the effects of every edit that removes or adds text.

    Parameters
    ----------
    rows : sequence of RelevanceRow
    table : PredictionTable
        Clean and edited logits of the same records.
    start : str
        Where relevance started.
    level : float
        Nominal coverage of the intervals, which resample patients.
    rng : numpy Generator
        For the resamples.
    """
    known = [row for row in rows if row.fall_when_gone is not None and row.enrichment is not None]
    who = {str(r): str(p) for r, p in zip(table.record_ids, table.patients, strict=True)}
    found = []
    if len(known) >= MIN_IMAGES:
        patients = np.unique([who[row.record_id] for row in known], return_inverse=True)[1]
        fall = np.array([row.fall_when_gone for row in known], dtype=np.float64)
        found.append(_agreement("text inpainted", known, fall, patients, rng, level, removes=True))
    place = {str(record): i for i, record in enumerate(table.record_ids)}
    with_text = [row for row in rows if row.enrichment is not None and row.record_id in place]
    for condition in suite.conditions:
        if not condition.declared.concerns("text") or condition.role != "edit" or condition.dose is not None:
            continue
        applied = np.asarray(table.applied[condition.name].all(axis=0))
        members = [row for row in with_text if applied[place[row.record_id]]]
        chosen = np.array([place[row.record_id] for row in members], dtype=np.intp)
        if len(members) < MIN_IMAGES:
            continue
        patients = np.unique(table.patients[chosen], return_inverse=True)[1]
        fall = _fall(table, condition.name, chosen, start)
        removes = "text" in condition.declared.removes
        found.append(_agreement(condition.name, members, fall, patients, rng, level, removes=removes))
    return tuple(found)


def _agreement(
    condition: str,
    rows: Sequence[RelevanceRow],
    fall: NDArray[np.float64],
    patients: NDArray[np.intp],
    rng: np.random.Generator,
    level: float,
    *,
    removes: bool,
) -> Agreement:
    weights = _weights(patients, rng)
    credited = np.array([(row.signed_share or 0.0) * row.start for row in rows])
    enrichment = np.array([row.enrichment for row in rows], dtype=np.float64)
    return Agreement(
        condition=condition,
        n_images=len(rows),
        n_patients=int(patients.max()) + 1,
        signed=_correlation(credited, fall, weights, level) if removes else None,
        enrichment=_correlation(rankdata(enrichment), rankdata(np.abs(fall)), weights, level),
    )


def _fall(table: PredictionTable, condition: str, chosen: NDArray[np.intp], start: str) -> NDArray[np.float64]:
    """Return by how much the explained output falls under an edit, (n,), its draws averaged."""
    clean = table.logits["clean"][0, chosen].astype(np.float64)
    edited = table.logits[condition][:, chosen].astype(np.float64).mean(axis=0)
    signs = np.zeros_like(clean)
    if start == WINNER:
        signs[np.arange(len(clean)), clean.argmax(axis=1)] = 1.0
    else:
        for name, sign in parse_start(start, table.classes).items():
            signs[:, table.classes.index(name)] = sign
    fall: NDArray[np.float64] = (signs * (clean - edited)).sum(axis=1)
    return fall


def _weights(patients: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each resample holds each image, (resamples, n): its patient's draws."""
    n_patients = int(patients.max()) + 1
    counts = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=RESAMPLES)
    return counts[:, patients].astype(np.float64)


def _correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64], level: float
) -> Estimate | None:
    """Return a correlation with the percentile interval of its resamples; ranks are those of the whole sample."""
    observed = _weighted(a, b, np.ones((1, len(a))))[0]
    if not np.isfinite(observed):
        return None
    resampled = _weighted(a, b, weights)
    seen = resampled[np.isfinite(resampled)]
    if len(seen) < RESAMPLES / 2:
        return Estimate(value=float(observed), low=None, high=None)
    low, high = np.quantile(seen, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Estimate(value=float(observed), low=low, high=high)


def _weighted(a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum(axis=1)
    # Centred first, so that the sums of squares do not cancel.
    a, b = a - a.mean(), b - b.mean()
    mean_a, mean_b = weights @ a / total, weights @ b / total
    covariance = weights @ (a * b) / total - mean_a * mean_b
    variance_a = weights @ (a * a) / total - mean_a**2
    variance_b = weights @ (b * b) / total - mean_b**2
    tiny = 1e-12 * max(float(np.square(a).mean() * np.square(b).mean()), 1e-300)
    product = variance_a * variance_b
    correlation: NDArray[np.float64] = np.divide(
        covariance, np.sqrt(np.maximum(product, 0)), out=np.full(len(total), np.nan), where=product > tiny
    )
    return np.clip(correlation, -1, 1)
