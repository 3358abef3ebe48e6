"""The marker atlas of a cohort, before any model: which text stands where, and how well it predicts the class.

A network can only learn a shortcut that the data hold. Whatever here explains much of the class is one that it may have taken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from audit.data.images import read_gray
from audit.data.records import Record, TextRegion
from audit.data.strings import StringPolicy, policy_for
from audit.errors import CohortError
from audit.randomness import generator_for
from audit.text.glyphs import MAX_GLYPHS, MIN_IMAGES, Glyph, cluster_glyphs, glyph_of, tokens_of
from audit.text.merging import area_px

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """Text in the images of one class from one source."""

    label: str
    """The class."""
    source: str
    """The source."""
    n_images: int
    """Images."""
    n_with_text: int
    """Of them with any region."""
    regions_per_image: float
    """Mean count."""
    area_share: float
    """Mean share of the image inside regions, overlaps counted twice."""
    tokens: Mapping[str, int]
    """The most frequent tokens that may be shown -> images that carry them."""
    places: Mapping[str, int]
    """Ninth of the image -> regions whose centre lies there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tell:
    """One thing that is on an image or not, and how well it predicts the class."""

    feature: str
    """`any text`, `token:L`, `glyph:3`, `place:top-left`; `withheld:2` for a token that may not be shown."""
    n_images: int
    """Images that have it."""
    by_class: Mapping[str, int]
    """The same by class."""
    explained_share: float
    """Mutual information with the class, as a share of the class's entropy: 0 predicts nothing, 1 everything."""
    p: float
    """Share of permutations of whole patients in which it predicts as much."""
    p_adjusted: float
    """The same against the most telling feature of each permutation (Westfall and Young's max-T)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Atlas:
    """What text a cohort carries."""

    n_images: int
    """Labelled images."""
    presence: tuple[Presence, ...]
    """By class and source."""
    glyphs: tuple[Glyph, ...]
    """The largest clusters first."""
    tells: tuple[Tell, ...]
    """Every feature on at least MIN_IMAGES images, the most telling first."""
    n_permutations: int
    """Behind the p-values."""


def draw_atlas(
    records: Sequence[Record],
    regions: Mapping[str, Sequence[TextRegion]],
    *,
    seed: int,
    n_permutations: int = 2_000,
) -> Atlas:
    """Describe the text of labelled records, and test what of it predicts the class.

    Parameters
    ----------
    records : sequence of Record
        With a label; images are read one at a time.
    regions : mapping
        Record id -> its text regions.
    seed : int
        Of the sample of glyphs and of the permutations.
    n_permutations : int
        Permutations of whole patients; p-values are at least 1 / (n_permutations + 1).

    Raises
    ------
    CohortError
        If fewer than two classes are labelled.
    """
    labels = sorted({str(r.label) for r in records})
    if len(labels) < 2:
        raise CohortError(
            f"An atlas compares classes; the cohort has {labels or 'none'}. Use a cohort with two or more."
        )
    features: defaultdict[str, set[int]] = defaultdict(set)
    crops: list[tuple[int, str, NDArray[np.float32]]] = []
    places: list[list[str]] = []
    shares: list[float] = []
    sampling, n_seen = generator_for(seed, "atlas", "glyphs"), 0
    for i, record in enumerate(records):
        image = read_gray(record.path) if regions[record.id] else np.zeros((1, 1), np.uint8)
        height, width = image.shape
        places.append([_place(r, height, width) for r in regions[record.id]])
        shares.append(sum(map(area_px, regions[record.id])) / (height * width))
        for region, place in zip(regions[record.id], places[-1], strict=True):
            features["any text"].add(i)
            features[f"place:{place}"].add(i)
            for token in _tokens([region]):
                features[f"token:{token}"].add(i)
            n_seen += 1
            # A reservoir: whatever the number of regions, an even sample of them is held.
            slot = len(crops) if len(crops) < MAX_GLYPHS else int(sampling.integers(n_seen))
            if slot < MAX_GLYPHS:
                crops[slot : slot + 1] = [
                    (i, region.text, glyph_of(image[region.y0 : region.y1, region.x0 : region.x1]))
                ]
    policy = policy_for(
        ((i, token) for i, record in enumerate(records) for token in _tokens(regions[record.id])), records
    )
    glyphs = cluster_glyphs(crops, features, records, policy)
    codes = np.array([labels.index(str(r.label)) for r in records])
    tells = _tells(
        _withheld(features, policy),
        codes,
        labels,
        records,
        generator_for(seed, "atlas", "permutations"),
        n_permutations,
    )
    return Atlas(
        n_images=len(records),
        presence=_presence(records, regions, places, shares, policy),
        glyphs=glyphs,
        tells=tells,
        n_permutations=n_permutations,
    )


def _tokens(regions: Iterable[TextRegion]) -> set[str]:
    return {token for region in regions for token in tokens_of(region.text)}


def _withheld(features: Mapping[str, set[int]], policy: StringPolicy) -> dict[str, set[int]]:
    """Return the features under names that may be shown: a withheld token may tell the class, too."""
    hidden = [f for f in features if f.startswith("token:") and not policy.shows(f.removeprefix("token:"))]
    # By the images: the place in the alphabet would tell something of the token.
    hidden.sort(key=lambda f: (-len(features[f]), sorted(features[f]), f))
    names = {feature: f"withheld:{number}" for number, feature in enumerate(hidden, start=1)}
    return {names.get(feature, feature): images for feature, images in features.items()}


def explained_share(present: Any, codes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return the mutual information of features (f, n) with the class codes (n), as shares of the class's entropy.

    `present` holds zeros and ones, in an array or a sparse matrix: most tokens are on few images.
    Theil's uncertainty coefficient U(class | feature), with plug-in frequencies.
    """
    n = len(codes)
    one_hot = np.eye(k)[codes]
    totals = one_hot.sum(axis=0)
    with_it = np.asarray(present @ one_hot, dtype=np.float64)
    joint = np.stack([with_it, totals - with_it]) / n
    alone = joint.sum(axis=2, keepdims=True) * (totals / n)
    ratio = np.divide(joint, alone, out=np.ones_like(joint), where=joint > 0)
    share = totals[totals > 0] / n
    entropy = -float((share * np.log(share)).sum())
    information = (joint * np.log(ratio)).sum(axis=(0, 2))
    return np.asarray(np.maximum(information, 0.0) / entropy, dtype=np.float64)


def _tells(
    features: Mapping[str, set[int]],
    codes: NDArray[np.int64],
    labels: Sequence[str],
    records: Sequence[Record],
    rng: np.random.Generator,
    n_permutations: int,
) -> tuple[Tell, ...]:
    names = sorted(name for name, images in features.items() if len(images) >= MIN_IMAGES)
    if not names:
        return ()
    columns = [sorted(features[name]) for name in names]
    starts = np.cumsum([0, *map(len, columns)])
    present = sparse.csr_matrix((np.ones(starts[-1]), np.concatenate(columns), starts), shape=(len(names), len(codes)))
    found = explained_share(present, codes, len(labels))
    # A patient's images carry the same marker and the same label: patients are shuffled, not images.
    by_patient: defaultdict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        by_patient[record.patient].append(i)
    blocks = [np.array(images) for _, images in sorted(by_patient.items())]
    order = np.concatenate(blocks)
    as_much, as_much_as_any = np.zeros(len(names)), np.zeros(len(names))
    for _ in range(n_permutations):
        shuffled = np.empty_like(codes)
        shuffled[order] = np.concatenate([codes[blocks[j]] for j in rng.permutation(len(blocks))])
        null = explained_share(present, shuffled, len(labels))
        as_much += null >= found - 1e-12
        as_much_as_any += null.max() >= found - 1e-12
    rows = [
        Tell(
            feature=name,
            n_images=len(columns[f]),
            by_class={label: int((codes[columns[f]] == c).sum()) for c, label in enumerate(labels)},
            explained_share=float(found[f]),
            p=float((1 + as_much[f]) / (1 + n_permutations)),
            p_adjusted=float((1 + as_much_as_any[f]) / (1 + n_permutations)),
        )
        for f, name in enumerate(names)
    ]
    return tuple(sorted(rows, key=lambda t: (-t.explained_share, t.feature)))


def _presence(
    records: Sequence[Record],
    regions: Mapping[str, Sequence[TextRegion]],
    places: Sequence[Sequence[str]],
    shares: Sequence[float],
    policy: StringPolicy,
) -> tuple[Presence, ...]:
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        groups[str(record.label), record.source].append(i)
    rows = []
    for (label, source), images in sorted(groups.items()):
        found = [regions[records[i].id] for i in images]
        tokens = Counter(token for rs in found for token in _tokens(rs) if policy.shows(token))
        rows.append(
            Presence(
                label=label,
                source=source,
                n_images=len(images),
                n_with_text=sum(bool(rs) for rs in found),
                regions_per_image=sum(map(len, found)) / len(images),
                area_share=float(np.mean([shares[i] for i in images])),
                tokens=dict(sorted(tokens.items(), key=lambda item: (-item[1], item[0]))[:12]),
                places=dict(sorted(Counter(place for i in images for place in places[i]).items())),
            )
        )
    return tuple(rows)


def _place(region: TextRegion, height: int, width: int) -> str:
    row = min(2, max(0, 3 * (region.y0 + region.y1) // (2 * height)))
    column = min(2, max(0, 3 * (region.x0 + region.x1) // (2 * width)))
    return f"{_ROWS[row]}-{_COLUMNS[column]}"
