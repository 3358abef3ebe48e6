"""How the images of a cohort are encoded, and how well that alone predicts their class or their source.

Where one class comes as 12-bit DICOM and the other as JPEG, a network can tell them apart by the traces of the encoding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.images import ImageFacts
from audit.data.records import Record
from audit.randomness import generator_for

N_PERMUTATIONS = 199
_LEVEL = 0.05
_SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingCount:
    """One encoding."""

    encoding: str
    """Format, depth, photometric interpretation, compression, and what of a window, padding and tables was used."""
    n_images: int
    """Images in it."""
    by_target: Mapping[str, int]
    """Images by class, or by source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingTable:
    """The encodings of a cohort by class or by source, and what they predict."""

    target: str
    """class or source."""
    rows: tuple[EncodingCount, ...]
    """Encodings, the most frequent first."""
    n_patients: int
    """Patients that were predicted, each by the others."""
    accuracy: float
    """Balanced accuracy of predicting each patient's class from the encoding alone, learnt from all other patients."""
    chance: float
    """Mean of the same over permuted patients."""
    p: float
    """Share of permutations, the real one counted in, that reach this accuracy."""


def encoding_of(facts: ImageFacts) -> str:
    """Return an encoding in words: what two images have in common that were written in the same way."""
    parts = [facts.format, f"{facts.depth} bits", facts.photometric_interpretation, facts.compression]
    if facts.quantisation is not None:
        parts.append(f"quantisation {facts.quantisation:.0f}")
    parts += [
        name
        for name, used in (
            ("signed", facts.signed),
            ("rescaled", facts.rescale is not None),
            ("window", facts.window is not None),
            ("padding", facts.padding is not None),
            ("turned", facts.orientation != 1),
            ("overlay", bool(facts.overlays)),
        )
        if used
    ]
    return ", ".join(parts)


def encoding_table(
    records: Sequence[Record], facts: Mapping[str, ImageFacts], *, target: str, seed: int = 0
) -> EncodingTable | None:
    """Count encodings by class or source, and measure how well they predict it.

    Each patient counts once, with the most frequent class and encoding of their images. The class is guessed in which the
    patient's encoding is the most frequent among the other patients, as shares of each class, so that chance is one in as
    many as there are classes.

    Parameters
    ----------
    records : sequence of Record
        The cohort; records without a class are left out where the class is asked about.
    facts : mapping
        Record id -> facts of its image.
    target : {"class", "source"}
        What is predicted.
    seed : int
        Seed of the permutations.

    Returns
    -------
    EncodingTable or None
        None where there is one encoding or one class only: nothing can be predicted then.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    of_patient: defaultdict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    for record in records:
        value = record.label if target == "class" else record.source
        if value is None or record.id not in facts:
            continue
        encoding = encoding_of(facts[record.id])
        counts[encoding][value] += 1
        of_patient[record.patient][0][encoding] += 1
        of_patient[record.patient][1][value] += 1
    values = sorted({value for row in counts.values() for value in row})
    if len(counts) < 2 or len(values) < 2:
        return None
    names = sorted(counts)
    pairs = [of_patient[patient] for patient in sorted(of_patient)]
    encodings = np.array([names.index(_most(found)) for found, _ in pairs])
    truth = np.array([values.index(_most(found)) for _, found in pairs])
    rng = generator_for(seed, "encodings", target)
    accuracy = _accuracy(encodings, truth)
    null = np.array([_accuracy(encodings, rng.permutation(truth)) for _ in range(N_PERMUTATIONS)])
    rows = [EncodingCount(encoding=n, n_images=c.total(), by_target=dict(sorted(c.items()))) for n, c in counts.items()]
    return EncodingTable(
        target=target,
        rows=tuple(sorted(rows, key=lambda row: (-row.n_images, row.encoding))),
        n_patients=len(pairs),
        accuracy=accuracy,
        chance=float(null.mean()),
        p=float((1 + np.count_nonzero(null >= accuracy - 1e-12)) / (1 + N_PERMUTATIONS)),
    )


def encoding_notes(records: Sequence[Record], facts: Mapping[str, ImageFacts]) -> list[str]:
    """State where the encoding of the images predicts their class or their source."""
    notes = []
    for target in ("class", "source"):
        table = encoding_table(records, facts, target=target)
        if table is None or table.p > _LEVEL:
            continue
        rows = []
        for row in table.rows[:_SHOWN]:
            by = ", ".join(f"{name} {n}" for name, n in row.by_target.items())
            rows.append(f"{row.encoding}: {by}")
        more = len(table.rows) - _SHOWN
        notes.append(
            f"The encoding of the image files alone predicts the {target} with a balanced accuracy of {table.accuracy:.0%} "
            f"({table.chance:.0%} by chance, p = {table.p:.3f}, {table.n_patients} patients), which a network can use as a "
            f"shortcut. Encodings by {target}: {'; '.join(rows)}{f'; {more} more' if more > 0 else ''}."
        )
    return notes


def _most(found: Counter[str]) -> str:
    return min(found, key=lambda name: (-found[name], name))


def _accuracy(encodings: NDArray[np.int_], truth: NDArray[np.int_]) -> float:
    """Return the balanced accuracy of guessing each one's class from the encodings of all others."""
    n_classes = int(truth.max()) + 1
    pairs = encodings * n_classes + truth
    table = np.bincount(pairs, minlength=(int(encodings.max()) + 1) * n_classes).reshape(-1, n_classes)
    sizes = np.bincount(truth, minlength=n_classes)
    own = np.eye(n_classes, dtype=np.int64)[truth]
    # Shares of each class without the one that is guessed; a class that is empty without it has none.
    shares = (table[encodings] - own) / np.maximum(1, sizes - own)
    hits = shares.argmax(axis=1) == truth
    present = sizes > 0
    return float((np.bincount(truth, weights=hits, minlength=n_classes)[present] / sizes[present]).mean())
