"""How the images of a cohort are encoded, and how well that alone predicts their class or their source.

Where one class comes as 12-bit DICOM and the other as JPEG, a network can tell them apart by the traces of the encoding.
"""

from __future__ import annotations

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
    chosen = [
        (r.patient, facts[r.id], value)
        for r in records
        if (value := r.label if target == "class" else r.source) is not None and r.id in facts
    ]
    # Images share few encodings, and facts that are equal are mostly one object: each is put into words once.
    words: dict[int, str] = {}
    for _, of_image, _ in chosen:
        if id(of_image) not in words:
            words[id(of_image)] = encoding_of(of_image)
    names, encoded = _coded([words[id(of_image)] for _, of_image, _ in chosen])
    values, valued = _coded([value for *_, value in chosen])
    if len(names) < 2 or len(values) < 2:
        return None
    n_patients, patients = len({patient for patient, *_ in chosen}), _coded([patient for patient, *_ in chosen])[1]
    encodings = _most(patients, encoded, n_patients, len(names))
    truth = _most(patients, valued, n_patients, len(values))
    table = np.bincount(encoded * len(values) + valued, minlength=len(names) * len(values)).reshape(len(names), -1)
    rng = generator_for(seed, "encodings", target)
    accuracy = _accuracy(encodings, truth)
    null = np.array([_accuracy(encodings, rng.permutation(truth)) for _ in range(N_PERMUTATIONS)])
    rows = [
        EncodingCount(
            encoding=name,
            n_images=int(row.sum()),
            by_target={value: n for value, n in zip(values, row.tolist(), strict=True) if n},
        )
        for name, row in zip(names, table, strict=True)
    ]
    return EncodingTable(
        target=target,
        rows=tuple(sorted(rows, key=lambda row: (-row.n_images, row.encoding))),
        n_patients=n_patients,
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


def _coded(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int_]]:
    """Return the different texts, sorted, and the place of each text among them."""
    names = sorted(set(texts))
    places = {name: i for i, name in enumerate(names)}
    return names, np.fromiter((places[text] for text in texts), np.int_, len(texts))


def _most(patients: NDArray[np.int_], codes: NDArray[np.int_], n_patients: int, n_codes: int) -> NDArray[np.int_]:
    """Return each patient's most frequent code; the first of several that are equally frequent."""
    pairs, counts = np.unique(patients * n_codes + codes, return_counts=True)
    # Sorted by patient, then from the most frequent code to the least, then by code: the first of each patient is wanted.
    order = np.lexsort((pairs % n_codes, -counts, pairs // n_codes))
    owners = (pairs // n_codes)[order]
    first = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    chosen: NDArray[np.int_] = (pairs % n_codes)[order][first]
    assert len(chosen) == n_patients
    return chosen


def _accuracy(encodings: NDArray[np.int_], truth: NDArray[np.int_]) -> float:
    """Return the balanced accuracy of guessing each one's class from the encodings of all others."""
    n_classes = int(truth.max()) + 1
    table = np.bincount(encodings * n_classes + truth, minlength=(int(encodings.max()) + 1) * n_classes)
    table = table.reshape(-1, n_classes)
    sizes = table.sum(axis=0)
    # All of one encoding and class are guessed alike: [encoding, true class, guessed class].
    own = np.eye(n_classes, dtype=np.int64)
    # Shares of each class without the one that is guessed; a class that is empty without it has none.
    shares = (table[:, None, :] - own) / np.maximum(1, sizes - own)
    hits = np.where(shares.argmax(axis=2) == np.arange(n_classes), table, 0).sum(axis=0)
    present = sizes > 0
    return float((hits[present] / sizes[present]).mean())
