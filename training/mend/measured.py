"""What a network does on validation images: how far the edits of a suspect move it, and how often it is right with and without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.statistics.outputs import probabilities_of
from audit.training.mend.copies import Copies, Place
from audit.training.mend.honest import FEWEST, Honest, Moved, find_honest

_ROUNDING = 1e-9
_NORMAL = 1.96
Logits = Mapping[Place, NDArray[np.float32]]
MOST_LEFT = 1 / 3
"""Share of the old effect that a mended network may keep."""
SMALL = 0.06
"""Effect below which a third is noise: an effect of a third of this or less is enough, whatever it was."""
MOST_LOST = 0.01
"""Accuracy that it may lose on validation images with the suspect edited, and on those where the shortcut plays no part: what the shortcut
itself bought does not count as lost."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of one network on the validation images; `None` where no image has them."""

    effects: Mapping[str, float]
    """Edit -> shortcut sensitivity: mean total variation, minus the placebo's."""
    accuracy: float
    """Share of unedited images that are classified correctly; of findings the share of known labels."""
    accuracy_edited: float
    """The same with the suspects edited: of each image over its edited copies, or as it is where it has none."""
    honest: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(n,) how often each image is right where the shortcut plays no part, NaN where it does not count; empty where nobody asked."""

    @property
    def accuracy_honest(self) -> float | None:
        """Its mean; None where fewer than `FEWEST` images count."""
        counted = np.isfinite(self.honest)
        return float(self.honest[counted].mean()) if counted.sum() >= FEWEST else None

    @property
    def effect(self) -> float:
        """The largest of the effects; 0 where there is none."""
        return max(self.effects.values(), default=0.0)


def measure(
    copies: Copies,
    logits: Logits,
    targets: NDArray[np.int64],
    rows: NDArray[np.bool_],
    honest: Honest | None = None,
) -> Measured:
    """Measure a network on some images.

    Parameters
    ----------
    copies : Copies
        Which edits could be applied to which image.
    logits : mapping
        Place -> (n, k) its answers.
    targets : int64 (n), or (n, k)
        The truth; of findings -1 is unknown.
    rows : bool (n)
        Images that count.
    honest : Honest, optional
        How they count where the shortcut plays no part.
    """
    exclusive = targets.ndim == 1
    clean = probabilities_of(logits["clean", 0], exclusive=exclusive)
    placebos = {c.name: c.placebo for c in copies.edits}
    effects: dict[str, float] = {}
    n_copies = np.zeros(len(targets))
    right = np.zeros(len(targets))
    by_edit: dict[str, NDArray[np.float64]] = {}
    for name, placebo in placebos.items():
        assert placebo is not None
        moved, everywhere = _moved(copies, logits, clean, name, exclusive=exclusive)
        other, both = _moved(copies, logits, clean, placebo, exclusive=exclusive)
        counted = rows & everywhere & both
        if counted.any():
            effects[name] = float((moved - other)[counted].mean())
        own, own_right = np.zeros(len(targets)), np.zeros(len(targets))
        for place in copies.draws(name):
            here = copies.applied[place]
            found = probabilities_of(logits[place], exclusive=exclusive)
            own += here
            own_right += np.where(here, _right(found, targets), 0.0)
        n_copies += own
        right += own_right
        by_edit[name] = own_right / np.maximum(own, 1)
    as_is = _right(clean, targets)
    # An edit that only one class can take would otherwise measure how often that class is named.
    edited = np.where(n_copies > 0, right / np.maximum(n_copies, 1), as_is)
    return Measured(
        effects=effects,
        accuracy=float(as_is[rows].mean()),
        accuracy_edited=float(edited[rows].mean()),
        honest=np.empty(0) if honest is None else np.where(rows, honest.right(as_is, by_edit), np.nan),
    )


def honest_images(copies: Copies, *, exclusive: bool) -> Honest:
    """Say how the images count where the shortcut plays no part, by what the edits do to the old network's answers.

    Parameters
    ----------
    copies : Copies
        With these answers.
    exclusive : bool
        Whether exactly one output applies to an image.
    """
    clean = probabilities_of(copies.logits["clean", 0], exclusive=exclusive)
    found = []
    for c in copies.edits:
        moved, everywhere = _moved(copies, copies.logits, clean, c.name, exclusive=exclusive)
        other, both = _moved(copies, copies.logits, clean, str(c.placebo), exclusive=exclusive)
        found.append(
            Moved(
                edit=c.name,
                suspect=c.suspect,
                removes=bool(c.declared.removes),
                applied=everywhere,
                by=moved - np.where(both, other, 0.0),
            )
        )
    return find_honest(found, len(clean))


def share_left(new: Measured, old: Measured) -> float:
    """Return the largest share of an old effect that is left, over the edits; of effects too small to halve reliably a share of `SMALL`."""
    return max((effect / max(old.effects.get(name, 0.0), SMALL) for name, effect in new.effects.items()), default=0.0)


def is_affordable(new: Measured, old: Measured) -> bool:
    """Say whether a network loses no more than a point of accuracy, with the suspect edited and where the shortcut plays no part."""
    now, was = new.accuracy_honest, old.accuracy_honest
    kept = now is None or was is None or not is_loss(now - was, int(np.isfinite(old.honest).sum()))
    return kept and new.accuracy_edited >= old.accuracy_edited - MOST_LOST


def is_loss(change: float, n_images: int) -> bool:
    """Say whether a change of accuracy on some images is a loss of more than a point, and of more than one image."""
    return change < -max(MOST_LOST, 1 / n_images) - _ROUNDING


def is_shown_loss(new: Measured, old: Measured) -> bool:
    """Say whether more accuracy than a point is lost beyond chance: the whole paired 95 % interval lies below that."""
    if new.accuracy_honest is None or old.accuracy_honest is None:
        return not is_affordable(new, old)
    change = (new.honest - old.honest)[np.isfinite(old.honest)]
    reach = _NORMAL * float(change.std(ddof=1)) / np.sqrt(len(change))
    return (
        bool(is_loss(float(change.mean()) + reach, len(change)))
        or new.accuracy_edited < old.accuracy_edited - MOST_LOST
    )


def knowledge(found: Measured) -> float:
    """Return the accuracy that candidates are compared by: where the shortcut plays no part and with the suspect edited, alike."""
    honest = found.accuracy_honest
    return found.accuracy_edited if honest is None else (honest + found.accuracy_edited) / 2


def is_enough(new: Measured, old: Measured) -> bool:
    """Say whether a network keeps at most a third of each old effect, at an affordable cost."""
    return share_left(new, old) <= MOST_LEFT and is_affordable(new, old)


def _moved(
    copies: Copies, logits: Logits, clean: NDArray[np.float64], condition: str, *, exclusive: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (n,) the total variation under a condition, its draws averaged, and whether every draw could be applied."""
    places = copies.draws(condition)
    moved = [np.abs(probabilities_of(logits[place], exclusive=exclusive) - clean) for place in places]
    shift = [m.sum(axis=1) / 2 if exclusive else m.max(axis=1) for m in moved]
    return np.mean(shift, axis=0), np.all([copies.applied[place] for place in places], axis=0)


def _right(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    if targets.ndim == 1:
        return np.asarray(probabilities.argmax(axis=1) == targets, dtype=np.float64)
    known = targets >= 0
    met = ((probabilities > 0.5) == (targets == 1)) & known
    return np.asarray(met.sum(axis=1) / np.maximum(known.sum(axis=1), 1), dtype=np.float64)
