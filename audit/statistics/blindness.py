"""If the predictions cannot change, no measure can detect a shortcut: a pass must state this."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.statistics.saturation import SATURATED_ABOVE, saturated_outputs, too_many_saturated
from audit.store.controls import Blindness
from audit.store.numbers import compact

CONSTANT_RANGE = 1e-3
"""A probability that varies less than this over all images counts as constant."""
CHECK_DECLARED = (
    "Check that the declared task (`--task`, or `task` in model.json), the preprocessing and the order of the classes are the right ones: "
    "`--check answers.csv` compares the network with your own pipeline."
)
"""What to do where answers hardly vary: a network that is shown other inputs than its own, or whose outputs are read wrongly, looks so."""


def find_blindness(
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    tolerance: float,
    exclusive: bool = True,
) -> tuple[Blindness, ...]:
    """Check the clean predictions for properties that make the measures blind.

    A network with constant output, or with outputs of another task that are read as a softmax, passes every test of its
    probabilities, because they cannot change. This does not prove a fault, but an effect that cannot be seen must not count
    as absent.

    Parameters
    ----------
    probabilities : array
        (n, k), unedited images; rows with a value that is not finite are left out.
    labels : sequence of str
        Label of each image (n).
    classes : sequence of str
        Class of each column (k).
    tolerance : float
        Of the shortcut sensitivity. Where images of several labels differ from each other by less, even an edit that put
        another image in place of an image would be within it.
    exclusive : bool
        Whether exactly one class applies to an image; if not, they are findings of which any number does, and a label is a set of
        them.

    Returns
    -------
    tuple of Blindness
        At most one of each kind; empty for fewer than two images.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    usable = np.asarray(np.isfinite(values).all(axis=1), dtype=np.bool_)
    values = values[usable]
    n = len(values)
    if n < 2:
        return ()
    kept = np.asarray([label for label, good in zip(labels, usable.tolist(), strict=True) if good])
    n_labels = len(set(kept.tolist()))
    found = []
    ranges = values.max(axis=0) - values.min(axis=0)
    still: NDArray[np.bool_] = ranges < CONSTANT_RANGE
    if still.any():
        names = tuple(name for name, constant in zip(classes, still.tolist(), strict=True) if constant)
        every = "every class" if exclusive else "every output"
        what = every if still.all() else _listed(names)
        found.append(
            Blindness(
                kind="constant",
                classes=names,
                total=bool(still.all()),
                sentence=f"The probability of {what} varies by less than {100 * CONSTANT_RANGE:g} percentage points over "
                f"{n} images: an effect on it cannot be measured.",
            )
        )
    furthest = (
        float(ranges.sum()) / 2 if exclusive else float(ranges.max())
    )  # no total variation between two images is larger
    if not still.all() and n_labels > 1 and furthest < tolerance:
        found.append(
            Blindness(
                kind="narrow",
                classes=(),
                total=True,
                sentence=f"No two of the {n} images, although they carry {n_labels} labels, have predictions that differ by as much as "
                f"the limit of {compact(tolerance)}: no edit can be expected to exceed it, whatever the network relies on.",
            )
        )
    if not exclusive:
        return (*found, *_saturated_outputs(values, classes, tolerance))
    won = np.bincount(values.argmax(axis=1), minlength=len(classes))
    most = max(kept.tolist().count(label) for label in set(kept.tolist()))
    # All but as few as may change by the limit anyway, unless as many images carry one label.
    if (won.max() == n and n_labels > 1) or won.max() >= (1 - tolerance) * n > most:
        winner, which = classes[int(won.argmax())], f"all {n}" if won.max() == n else f"{won.max()} of the {n}"
        found.append(
            Blindness(
                kind="one winner",
                classes=(winner,),
                total=True,
                sentence=f"The network predicts {winner} for {which} images, although they carry {n_labels} labels: it distinguishes them "
                f"no better than a guess, so small effects are not evidence of robustness. {CHECK_DECLARED}",
            )
        )
    if too_many_saturated(values, kept, tolerance):
        n_saturated = int((values.max(axis=1) > SATURATED_ABOVE).sum())
        found.append(
            Blindness(
                kind="saturated",
                classes=(),
                total=False,
                sentence=f"For {n_saturated} of {n} images the network gives one class more than {100 * SATURATED_ABOVE:g} %: these "
                "probabilities are saturated, so edits that change the logits may not change them. Effects are only called robust if "
                "they also are at a lower temperature, at which these images can show a change.",
            )
        )
    return tuple(found)


def _saturated_outputs(values: NDArray[np.float64], classes: Sequence[str], tolerance: float) -> tuple[Blindness, ...]:
    too_many = saturated_outputs(values, tolerance)
    if not too_many.any():
        return ()
    names = tuple(name for name, found in zip(classes, too_many.tolist(), strict=True) if found)
    return (
        Blindness(
            kind="saturated",
            classes=names,
            total=False,
            sentence=f"The probability of {_listed(names)} is below {100 * (1 - SATURATED_ABOVE):.1g} % or above "
            f"{100 * SATURATED_ABOVE:g} % on more than {100 * tolerance:g} % of {len(values)} images: edits that change these logits may "
            "not change the probabilities. Effects are only called robust if they also are at a lower temperature, at which these images "
            "can show a change.",
        ),
    )


def _listed(names: tuple[str, ...]) -> str:
    return " and of ".join([", of ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
