"""Probabilities close to 0 and 1 hide the effect of an edit on the logits: what they would show at a lower temperature.

A network multiplied by 1000 decides as before, and its probabilities jump only where the decision does. Its flips are
effects, and are measured; a shift that does not cause a flip is not, although the same network shows it before the
multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.statistics.outputs import sigmoid
from audit.statistics.verdicts import is_within, judge_effect
from audit.store.results import Effect, PredictionTable

SATURATED_ABOVE = 0.999
"""An image whose largest probability exceeds this is saturated: its logits must move by four to change it by 5 points."""
_MARGIN = 3.0
# Half of the saturated images then have a lead of their winner below this: about 95 % of two classes.


def too_many_saturated(probabilities: NDArray[np.floating], labels: NDArray[np.generic], limit: float) -> bool:
    """Return whether so many images of a label are saturated that the change which they can hide exceeds the limit.

    Parameters
    ----------
    probabilities : array
        (n, k), of unedited images.
    labels : array
        (n,) label of each.
    limit : float
        Of the shortcut sensitivity: an image hides at most a change of 1, and so a share of them at most itself.
    """
    saturated = np.asarray(probabilities).max(axis=1) > SATURATED_ABOVE
    return any(float(saturated[labels == label].mean()) > limit for label in np.unique(labels))


def saturated_outputs(probabilities: NDArray[np.floating], limit: float) -> NDArray[np.bool_]:
    """Return, for each output of a multi-label network, whether so many images are saturated that their change may exceed the limit.

    Parameters
    ----------
    probabilities : array
        (n, k), of unedited images, of independent findings.
    limit : float
        Of the shortcut sensitivity.
    """
    values = np.asarray(probabilities)
    found: NDArray[np.bool_] = (np.maximum(values, 1 - values) > SATURATED_ABOVE).mean(axis=0) > limit
    return found


def at_lower_temperature(table: PredictionTable, limit: float) -> PredictionTable | None:
    """Return the table with the logits of its saturated images divided by one number; None where they hide too little.

    Images that are not saturated are left unchanged. Winners, and so flips and accuracy, stay the same.
    """
    clean = np.asarray(table.logits["clean"][0], dtype=np.float64)
    if table.truth is not None:
        return _findings_at_lower_temperature(table, clean, limit)
    ordered = np.sort(clean, axis=1)
    powers = np.exp(clean - ordered[:, -1:])
    if not too_many_saturated(powers / powers.sum(axis=1, keepdims=True), table.labels, limit):
        return None
    saturated = 1 / powers.sum(axis=1) > SATURATED_ABOVE
    lead = float(np.median((ordered[:, -1] - ordered[:, -2])[saturated]))
    scale = np.where(saturated, _MARGIN / lead, 1.0)[None, :, None]
    return replace(table, logits={name: (values * scale).astype(np.float32) for name, values in table.logits.items()})


def _findings_at_lower_temperature(
    table: PredictionTable, clean: NDArray[np.float64], limit: float
) -> PredictionTable | None:
    """Divide the saturated logits of each output of which too many are: those of one image do not depend on each other."""
    probabilities = sigmoid(clean)
    too_many = saturated_outputs(probabilities, limit)
    if not too_many.any():
        return None
    saturated = (np.maximum(probabilities, 1 - probabilities) > SATURATED_ABOVE) & too_many
    scale = np.ones_like(clean)
    for output in np.flatnonzero(too_many):
        members = saturated[:, output]
        scale[members, output] = _MARGIN / float(np.median(np.abs(clean[members, output])))
    return replace(table, logits={name: (values * scale).astype(np.float32) for name, values in table.logits.items()})


def confirm(effects: Sequence[Effect], cooler: Sequence[Effect]) -> list[Effect]:
    """Withdraw the verdicts robust and bounded where the same effect at a lower temperature is neither.

    Parameters
    ----------
    effects : sequence of Effect
        As measured.
    cooler : sequence of Effect
        The same effects on the table of `at_lower_temperature`.
    """
    within = {(e.condition, e.placebo, e.measure, e.group): is_within(e) for e in cooler}
    return [
        judge_effect(replace(e, blind=True))
        if e.verdict in ("robust", "bounded") and not within[e.condition, e.placebo, e.measure, e.group]
        else e
        for e in effects
    ]
