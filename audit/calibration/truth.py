"""What a plant truly does to a network, by intervention at rendering, before any audit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.calibration.corpus import Specimen
from audit.calibration.plants import Kind, Picture, plant
from audit.calibration.zoo import Case
from audit.data.strings import normal_string
from audit.randomness import generator_for

NOT_LEARNT_BELOW = 0.02
"""A network whose plant moves the probabilities by less does not rely on it: a null network."""
CARRIERS_BELOW = 0.10
"""Over carriers it may move a null network's probabilities by less: of few carriers the mean over all images tells little."""
OWN_TEXT_BELOW = 0.03
"""What the images' own text may do to a null network: little enough that calling it sensitive would be false."""
FOUND_FROM, FOUND_FROM_CARRIERS, FEWEST_CARRIERS = 0.10, 0.25, 20
"""From here on a plant must be found: over all images, or over carriers where there are enough of them."""
_OTHERS = 0.1
"""Share of the other classes that gets the name of a source which goes with one class."""
Rank = Literal["null", "faint", "planted"]
Probabilities = NDArray[np.float64]
Predict = Callable[[Sequence[NDArray[np.uint8]]], Probabilities]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Mean total variations between the class probabilities of an image and those of its twin."""

    n_images: int
    """Test images."""
    n_carriers: int
    """Of them with the plant, or with one of its two states."""
    removed: float
    """As planted against the clean twin, over all images: what taking the plant away does."""
    removed_carriers: float | None
    """The same over carriers; None without any."""
    added: float | None
    """With the plant against without it, over images of the other classes that do not carry it: what adding it does; None without any."""
    toggled: float
    """As planted against the other state (without where there was one, with where there was none; R where there was L)."""
    exchanged: float
    """The state of an image of another class minus that of one of its own class, over images of another class at random."""
    transported: float
    """With the plant dealt to every class as often as another class has it, changing as few images as that needs: over all images."""
    taken_on: float | None
    """The same over all images of the classes that have it less often than another one; None where no class has."""
    text: float | None
    """As planted against the twin without any text, the image's own included; None where nobody knows, or a plant is text in part."""
    words: Mapping[str, float]
    """The same over the images that bear a string; empty where `text` is None."""
    accuracy: float
    """Of the planted images."""
    accuracy_clean: float
    """Of their clean twins."""

    @property
    def rank(self) -> Rank:
        """null, planted (it must be found), or faint (between the two)."""
        carried = self.n_carriers >= FEWEST_CARRIERS and (self.removed_carriers or 0.0) >= FOUND_FROM_CARRIERS
        if carried or self.removed >= FOUND_FROM:
            return "planted"
        # A network that reads its images' own text is no null network either.
        own = (self.text or 0.0) < OWN_TEXT_BELOW
        few = (self.removed_carriers or 0.0) < CARRIERS_BELOW
        return "null" if self.removed < NOT_LEARNT_BELOW and few and own else "faint"


def draw_carriers(case: Case, specimens: Sequence[Specimen], *, training: bool) -> NDArray[np.bool_]:
    """Draw which images carry the plant, bool (n); the same image carries it in every process.

    One class carries it with the case's share, the others do not; names of sources go with a tenth of the others too.
    """
    design = "alike" if training and case.design == "unlearnt" else case.design
    target = target_class(case, specimens)
    if design == "none" or (training and design.startswith("names")):
        return np.zeros(len(specimens), dtype=np.bool_)
    shares = {"alike": (case.share, case.share), "names at random": (0.5, 0.5), "names": (case.share, _OTHERS)}
    own, others = shares.get(design, (case.share, 0.0))
    return np.array(
        [
            generator_for(case.seed, "carriers", specimen.id).random() < (own if specimen.label == target else others)
            for specimen in specimens
        ],
        dtype=np.bool_,
    )


def target_class(case: Case, specimens: Sequence[Specimen]) -> int:
    """Return the class that carries the plant."""
    present = sorted({s.label for s in specimens})  # a user's data may lack a class
    return present[case.seed % len(present)]


def planted(case: Case, kind: Kind, specimens: Sequence[Specimen], carried: NDArray[np.bool_]) -> list[Picture]:
    """Return the pictures of a cohort, each with the plant or with what images without it get."""
    if case.design in ("none", "names", "names at random"):
        return [s.picture for s in specimens]
    dose = kind.doses[case.dose == "strong"]
    return [
        plant(kind, s.picture, dose, carried=bool(here), seed=case.seed, name=s.id)
        for s, here in zip(specimens, carried, strict=True)
    ]


def measure_truth(
    case: Case,
    kind: Kind,
    specimens: Sequence[Specimen],
    carried: NDArray[np.bool_],
    predict: Predict,
    n_classes: int,
) -> Truth:
    """Intervene on every test image, and measure how far the network's probabilities move.

    Parameters
    ----------
    case, kind : Case, Kind
        What was planted.
    specimens : sequence of Specimen
        Test images, without the plant.
    carried : bool (n)
        Which carry it.
    predict : callable
        Images -> class probabilities (n, k).
    n_classes : int
        k.
    """
    labels = np.array([s.label for s in specimens])
    clean = [s.picture for s in specimens]
    here, other = planted(case, kind, specimens, carried), planted(case, kind, specimens, ~carried)
    p_clean = predict([p.image for p in clean])
    p_here, p_other = (_known_or_predicted(pictures, clean, p_clean, predict) for pictures in (here, other))
    holds = np.array([a is not b for a, b in zip(here, clean, strict=True)])
    bare = ~holds & (labels != target_class(case, specimens))
    removed, toggled = total_variation(p_here, p_clean), total_variation(p_here, p_other)
    moved, gains = transport_weights(labels, carried)
    text = _text_moves(case, kind, specimens, carried, p_here, predict)
    return Truth(
        n_images=len(specimens),
        n_carriers=int(holds.sum()),
        removed=float(removed.mean()),
        removed_carriers=float(removed[holds].mean()) if holds.any() else None,
        added=float(toggled[bare].mean()) if bare.any() else None,
        toggled=float(toggled.mean()),
        exchanged=float((toggled * exchange_weights(labels, carried, n_classes)).mean()),
        transported=float((toggled * moved).mean()),
        taken_on=float((toggled * moved)[gains].mean()) if gains.any() else None,
        text=None if text is None else float(text.mean()),
        words={} if text is None else _by_word(here, text),
        accuracy=float((p_here.argmax(axis=1) == labels).mean()),
        accuracy_clean=float((p_clean.argmax(axis=1) == labels).mean()),
    )


def _text_moves(
    case: Case,
    kind: Kind,
    specimens: Sequence[Specimen],
    carried: NDArray[np.bool_],
    p_here: Probabilities,
    predict: Predict,
) -> NDArray[np.float64] | None:
    """Return how far each image's probabilities are (n) from those without any text; a plant that is no text stays."""
    bare = [
        replace(s, picture=replace(s.picture, image=s.textless, boxes=())) for s in specimens if s.textless is not None
    ]
    if len(bare) < len(specimens) or ("text" in kind.parts and case.design != "none"):
        return None
    pictures = [s.picture for s in bare] if kind.family == "text" else planted(case, kind, bare, carried)
    return total_variation(p_here, predict([p.image for p in pictures]))


def _by_word(pictures: Sequence[Picture], moved: NDArray[np.float64]) -> dict[str, float]:
    """Return string -> mean over the images that bear it, as the audit groups them."""
    bearers: dict[str, set[int]] = defaultdict(set)
    for row, picture in enumerate(pictures):
        for box in picture.boxes:
            bearers[normal_string(box.text)].add(row)
    return {word: float(moved[sorted(rows)].mean()) for word, rows in sorted(bearers.items())}


def total_variation(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Return half the sum of absolute differences of the class probabilities (n, k), for each image (n)."""
    return np.asarray(np.abs(p - q).sum(axis=1) / 2)


def exchange_weights(labels: NDArray[np.int64], carried: NDArray[np.bool_], n_classes: int) -> NDArray[np.float64]:
    """Return by how much more often an image of another class is in the other state than one of the same class, (n)."""
    weights = np.zeros(len(labels))
    for row, (label, state) in enumerate(zip(labels.tolist(), carried.tolist(), strict=True)):
        differs = carried != state
        same = labels == label
        same_but = same.copy()
        same_but[row] = False
        if same_but.any() and (~same).any():
            weights[row] = differs[~same].mean() - differs[same_but].mean()
    return weights


def transport_weights(
    labels: NDArray[np.int64], carried: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the chance that an image changes its state if its class gets the plant as often as another class at random has it, (n).

    As few change as that needs: where the other class has it less often, carriers lose it, and where it has it more often, others gain
    it. Also return which images belong to a class that would gain it, bool (n).
    """
    shares = {label: float(carried[labels == label].mean()) for label in np.unique(labels).tolist()}
    weights, gains = np.zeros(len(labels)), np.zeros(len(labels), dtype=np.bool_)
    for row, (label, state) in enumerate(zip(labels.tolist(), carried.tolist(), strict=True)):
        own, others = shares[label], [share for other, share in shares.items() if other != label]
        if others:
            lost, gained = (float(np.mean([max(0.0, sign * (own - other)) for other in others])) for sign in (1, -1))
            weights[row] = lost / own if state else gained / (1 - own)
            gains[row] = gained > lost
    return weights, gains


def _known_or_predicted(
    pictures: Sequence[Picture], clean: Sequence[Picture], known: Probabilities, predict: Predict
) -> Probabilities:
    """Predict only those that differ from their clean twins."""
    changed = [i for i, (a, b) in enumerate(zip(pictures, clean, strict=True)) if a is not b]
    found = known.copy()
    if changed:
        found[changed] = predict([pictures[i].image for i in changed])
    return found
