"""The search for objects that recur: each half of the patients proposes, and is believed where the other half confirms it.

It knows neither the network nor its answers. How like a template an image must be is not set by hand: the threshold is where the classes
differ most among the patients who proposed it. The number of candidates, the chance that is allowed and the least number of patients
are set. A template is kept if, on the patients who did not propose it, its class shows it more often than the other classes do, by Fisher's
exact test, corrected for all candidates (Holm 1979). Anatomy that recurs in every class fails that test. Anatomy that tells the classes
passes it, and is left to the test with the network.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.records import Record
from audit.discovery.candidates import Candidate, find_candidates
from audit.discovery.fitting import Fitted, Half, fit, outlined
from audit.discovery.parts import distinct, pairs
from audit.perturbations.suspects import half_of
from audit.randomness import generator_for
from audit.store.pictures import Spot
from audit.store.suspects import LEAST_PATIENTS, MOST_SIGHTINGS, FoundSuspect, Sighting, SuspectTemplate

SEARCH_VERSION = 4
"""Raised whenever another search finds other suspects."""
MOST_IMAGES = 200
"""Images of each half that are searched, one a patient."""
_CANDIDATES = 8
"""Of each half: objects lead the rankings, and every further candidate weakens the confirmation of all."""
_CHANCE = 0.1
"""Share of the searches that may keep anything that tells the classes by chance."""
Spread = Callable[[Callable[[Any, int], Any], Any, int], list[Any]]
"""Calls a function with a job and every number below n, and returns what it returned, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What the search works on: sent to every process that takes part."""

    halves: tuple[Half, Half]
    """The images."""
    candidates: tuple[tuple[int, Candidate], ...] = ()
    """(half that proposes, candidate)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search proposed."""

    suspects: tuple[FoundSuspect, ...]
    """Those that tell the classes best first."""
    n_candidates: int
    """Places that were counted on the half that did not propose them."""


def proposal_samples(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record]]:
    """Choose the images of each half that are searched: one a patient, classes in turn, at most `MOST_IMAGES`."""
    order = generator_for(seed, "objects", "sample").permutation(len(records)).tolist()
    halves: tuple[defaultdict[str, dict[str, Record]], ...] = (defaultdict(dict), defaultdict(dict))
    for index in order:
        record = records[index]
        if record.label is not None:
            halves[half_of(record, seed)][record.label].setdefault(record.patient, record)
    first, second = (_in_turn(by_class) for by_class in halves)
    return first, second


def _in_turn(by_class: Mapping[str, Mapping[str, Record]]) -> list[Record]:
    rows = [list(by_class[label].values()) for label in sorted(by_class)]
    turns = [row[turn] for turn in range(max(map(len, rows), default=0)) for row in rows if turn < len(row)]
    # A patient with images of two classes counts once.
    return list({r.patient: r for r in reversed(turns)}.values())[::-1][:MOST_IMAGES]


def one_by_one(task: Callable[[Any, int], Any], job: Any, n: int) -> list[Any]:
    """Call a task with every number below n, in this process."""
    return [task(job, number) for number in range(n)]


def search_objects(first: Half, second: Half, *, most: int, spread: Spread = one_by_one) -> Found:
    """Propose objects that recur on the images of a class.

    Parameters
    ----------
    first, second : Half
        The images of either half of the patients.
    most : int
        Suspects, at most.
    spread : callable
        How the work is done: `one_by_one`, or by several processes. The result is the same.
    """
    halves = (first, second)
    proposed = spread(_propose, Search(halves=halves), len(halves))
    search = Search(halves=halves, candidates=tuple((h, c) for h, found in enumerate(proposed) for c in found))
    fitted: list[Fitted | None] = spread(_fit, search, len(search.candidates))
    parts: tuple[list[Fitted], list[Fitted]] = ([], [])
    limit = chance_limit([f.p for f in fitted if f is not None], len(fitted))
    for (half, _), found in zip(search.candidates, fitted, strict=True):
        if found is not None and found.p <= limit:
            parts[half].append(outlined(found, halves[half]))
    # An object that both halves found is not punished for the worse of them.
    whole = sorted(
        pairs(distinct(parts[0]), distinct(parts[1])), key=lambda pair: min(f.p for f in pair if f is not None)
    )
    suspects = tuple(_suspect(pair, halves) for pair in whole[:most])
    return Found(suspects=suspects, n_candidates=len(search.candidates))


def chance_limit(probabilities: Sequence[float], n: int) -> float:
    """Return the largest of the probabilities that Holm's procedure keeps over `n` tests; -1 for none.

    Parameters
    ----------
    probabilities : sequence of float
        Of the tests that could be made.
    n : int
        Tests in all: one that could not be made counts as one that said nothing.
    """
    limit = -1.0
    for rank, p in enumerate(sorted(probabilities)):
        if p > _CHANCE / (n - rank):
            break
        limit = p
    return limit


def _propose(search: Search, number: int) -> list[Candidate]:
    half = search.halves[number]
    if len(half.images) < 2 * LEAST_PATIENTS:
        return []
    return find_candidates(half.images, half.labels, least=LEAST_PATIENTS, most=_CANDIDATES)


def _fit(search: Search, number: int) -> Fitted | None:
    half, candidate = search.candidates[number]
    return fit(candidate, search.halves[half], search.halves[1 - half])


def _suspect(pair: tuple[Fitted | None, Fitted | None], halves: tuple[Half, Half]) -> FoundSuspect:
    parts = [(number, part) for number, part in enumerate(pair) if part is not None]
    labels = np.array([label for number, _ in parts for label in halves[number].labels])
    shows = np.concatenate([part.shows for _, part in parts])
    prevalence = {
        str(label): (int((shows & (labels == label)).sum()), int((labels == label).sum()))
        for label in sorted(set(labels.tolist()))
    }
    shares = {label: n / of for label, (n, of) in prevalence.items()}
    # Home is where it is at least half as common as where it is commonest; where all classes are home, it is added to any image.
    home = tuple(label for label, share in shares.items() if share >= 0.5 * max(shares.values()))
    sightings = [
        sighting
        for number, part in parts
        for sighting in _sightings(part, halves[number], MOST_SIGHTINGS // len(parts))
    ]
    return FoundSuspect(
        templates=tuple(
            SuspectTemplate(
                half=number,
                height=part.template.shape[0],
                width=part.template.shape[1],
                reach=part.reach,
                template=base64.b64encode(np.ascontiguousarray(part.template).tobytes()).decode(),
                threshold=round(part.threshold, 6),
                p=part.p,
            )
            for number, part in parts
        ),
        prevalence=prevalence,
        n_patients=int(shows.sum()),
        home=home if len(home) < len(shares) else (),
        sightings=tuple(sorted(sightings, key=lambda s: (-s.likeness, s.image))),
        without=tuple(
            name for number, part in parts for name in _without(part, halves[number], MOST_SIGHTINGS // len(parts))
        ),
    )


def _without(part: Fitted, half: Half, most: int) -> list[str]:
    """Name images of a half that do not show it: of its class, so that all that they lack is the object; of the others where they are few.

    The less likely half of them: near the threshold are images on which the object was missed.
    """
    lacking = sorted(np.flatnonzero(~part.shows).tolist(), key=lambda i: (part.own.scores[i], half.names[i]))
    own = [i for i in lacking if half.labels[i] == part.label]
    chosen = own if len(own) >= LEAST_PATIENTS else [i for i in lacking if half.labels[i] != part.label]
    return [half.names[i] for i in chosen[: (len(chosen) + 1) // 2][:most]]


def _sightings(part: Fitted, half: Half, most: int) -> list[Sighting]:
    scores: NDArray[np.float64] = part.own.scores
    # Those of its class are the object; the others may be something like it.
    order = sorted(
        np.flatnonzero(part.shows).tolist(),
        key=lambda i: (half.labels[i] != part.label, -scores[i], half.names[i]),
    )
    found = []
    for i in order[:most]:
        (left, top), (height, width) = part.own.places[i], half.images[i].shape
        boxes = tuple(
            Spot(
                x0=min(max(0, left + x0), width - 1) / width,
                y0=min(max(0, top + y0), height - 1) / height,
                x1=min(max(1, left + x1), width) / width,
                y1=min(max(1, top + y1), height) / height,
            )
            for x0, y0, x1, y1 in part.reach
        )
        found.append(
            Sighting(image=half.names[i], label=half.labels[i], likeness=round(float(scores[i]), 4), boxes=boxes)
        )
    return found
