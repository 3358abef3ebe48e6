"""Relevance rows become estimates by class, source and word, each with an interval over patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from audit.data.findings import NONE_PRESENT, names_in
from audit.data.records import Record, TextRegion
from audit.data.strings import normal_string
from audit.store.group import ALL, Group
from audit.store.relevance import Estimate, RelevanceGroup
from audit.store.results import RelevanceRow

MIN_WORD_IMAGES = 3
MAX_WORDS = 12


@dataclass(frozen=True, kw_only=True)
class _Member:
    row: RelevanceRow
    patient: str
    mass: float
    area: float


def summarise_groups(
    rows: Sequence[RelevanceRow],
    records: Mapping[str, Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    level: float,
    outputs: Sequence[str] = (),
) -> tuple[RelevanceGroup, ...]:
    """Summarise relevance inside text over all images, by class, by source, and by the words that several images carry.

    Parameters
    ----------
    rows : sequence of RelevanceRow
        One for each image.
    records : mapping of record id to Record
        Who and what the images show.
    regions : mapping of record id to its regions
        In the order of each row's `region_masses`.
    level : float
        Nominal coverage in (0, 1).
    outputs : sequence of str
        Of a multi-label network: each is summarised by its own heatmaps.

    Returns
    -------
    tuple of RelevanceGroup
        Empty groups are left out.
    """
    with_text = [row for row in rows if row.mass_in_text is not None]
    found = []
    for group, members in _by_group(with_text, records).items():
        found.append(_summarise(group, members, level, whole=True))
    for output, members in _by_output(rows, records, outputs).items():
        found.append(_summarise(Group(kind="output", value=output), members, level, whole=False))
    for word, members in _by_word(with_text, records, regions).items():
        found.append(_summarise(Group(kind="word", value=word), members, level, whole=False))
    return tuple(found)


def _by_group(rows: Sequence[RelevanceRow], records: Mapping[str, Record]) -> dict[Group, list[_Member]]:
    groups: dict[Group, list[_Member]] = defaultdict(list)
    for row in rows:
        record = records[row.record_id]
        member = _Member(row=row, patient=record.patient, mass=float(row.mass_in_text or 0.0), area=row.area_share)
        groups[ALL].append(member)
        for name in names_in(str(record.label)) or [NONE_PRESENT] if record.truth else [str(record.label)]:
            groups[Group(kind="class", value=name)].append(member)
        groups[Group(kind="source", value=record.source)].append(member)
    order = [ALL.kind, "class", "source"]
    return dict(sorted(groups.items(), key=lambda item: (order.index(item[0].kind), item[0])))


def _by_output(
    rows: Sequence[RelevanceRow], records: Mapping[str, Record], outputs: Sequence[str]
) -> dict[str, list[_Member]]:
    found: dict[str, list[_Member]] = defaultdict(list)
    for row in rows:
        for output, mass in zip(outputs, row.output_masses, strict=False):
            if mass is not None:
                found[output].append(
                    _Member(row=row, patient=records[row.record_id].patient, mass=mass, area=row.area_share)
                )
    return dict(found)


def _by_word(
    rows: Sequence[RelevanceRow], records: Mapping[str, Record], regions: Mapping[str, tuple[TextRegion, ...]]
) -> dict[str, list[_Member]]:
    words: dict[str, list[_Member]] = defaultdict(list)
    for row in rows:
        found = regions[row.record_id]
        if len(found) != len(row.region_masses):
            continue  # a region that lies outside its image has no place in the map
        by_text: dict[str, list[int]] = defaultdict(list)
        for i, region in enumerate(found):
            if region.text.strip():
                by_text[normal_string(region.text)].append(i)
        for text, places in by_text.items():
            mass, area = (float(sum(values[i] for i in places)) for values in (row.region_masses, row.region_areas))
            words[text].append(_Member(row=row, patient=records[row.record_id].patient, mass=mass, area=area))
    common = [(text, members) for text, members in words.items() if len(members) >= MIN_WORD_IMAGES]
    return dict(sorted(common, key=lambda item: (-len(item[1]), item[0]))[:MAX_WORDS])


def _summarise(group: Group, members: Sequence[_Member], level: float, *, whole: bool) -> RelevanceGroup:
    patients = np.unique([m.patient for m in members], return_inverse=True)[1]
    mass, area = np.array([m.mass for m in members]), np.array([m.area for m in members])

    def over(read: Callable[[RelevanceRow], float | None]) -> Estimate | None:
        values = [read(m.row) for m in members]
        seen = np.array([value is not None for value in values])
        if not whole or not seen.any():
            return None
        return mean_over_patients(np.array([v for v in values if v is not None]), patients[seen], level)

    placed = [m.row.placebo_p for m in members if m.row.placebo_p is not None]
    return RelevanceGroup(
        group=group,
        n_images=len(members),
        n_patients=int(patients.max()) + 1,
        mass=mean_over_patients(mass, patients, level),
        area_share=float(area.mean()),
        enrichment=_ratio(mass, area, patients, level),
        beyond_placebo=over(
            lambda row: None if row.placebo_mean is None else float(row.mass_in_text or 0.0) - row.placebo_mean
        ),
        significant=sum(p <= 0.05 for p in placed) / len(placed) if placed and whole else None,
        mass_gone=over(lambda row: row.mass_gone),
        signed_share=_signed_share(members, patients, level) if whole else None,
        rank_accuracy=over(lambda row: row.rank_accuracy),
    )


def _signed_share(members: Sequence[_Member], patients: NDArray[np.intp], level: float) -> Estimate | None:
    """Return a ratio of sums: single outputs may lie near zero, where a share of them means nothing."""
    start = np.array([m.row.start for m in members])
    credited = np.array([(m.row.signed_share or 0.0) * m.row.start for m in members])
    if abs(start.sum()) < 1e-9:
        return None
    share = float(credited.sum() / start.sum())
    half = _half_width((credited - share * start) / start.sum(), patients, level)
    if half is None:
        return Estimate(value=share, low=None, high=None)
    # Outputs of both signs that nearly cancel leave nothing to take a share of.
    return Estimate(value=share, low=share - half, high=share + half) if half <= 1 else None


def mean_over_patients(values: NDArray[np.float64], patients: NDArray[np.intp], level: float) -> Estimate:
    """Return a mean of shares over images with Student's t interval over patients (linearised, as of clusters).

    Parameters
    ----------
    values : array, (n images,)
        In -1..1.
    patients : array of int, (n images,)
        Index of each image's patient.
    level : float
        Nominal coverage.
    """
    mean = float(values.mean())
    half = _half_width((values - mean) / len(values), patients, level)
    if half is None:
        return Estimate(value=mean, low=None, high=None)
    # A mean of shares is a share.
    least, most = (0.0 if values.min() >= 0 else -1.0), 1.0
    return Estimate(value=mean, low=max(least, mean - half), high=min(most, mean + half))


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64], patients: NDArray[np.intp], level: float) -> Estimate:
    """Return a ratio of two means; its interval is symmetric in the logarithm."""
    ratio = float(top.mean() / bottom.mean())
    if ratio <= 0:
        return Estimate(value=ratio, low=None, high=None)
    influence = (top / top.mean() - bottom / bottom.mean()) / len(top)
    half = _half_width(influence, patients, level)
    if half is None:
        return Estimate(value=ratio, low=None, high=None)
    return Estimate(value=ratio, low=ratio * math.exp(-half), high=ratio * math.exp(half))


def _half_width(influence: NDArray[np.float64], patients: NDArray[np.intp], level: float) -> float | None:
    n_patients = int(patients.max()) + 1
    sums = np.bincount(patients, weights=influence, minlength=n_patients)
    present = np.bincount(patients, minlength=n_patients) > 0
    n_seen = int(present.sum())
    if n_seen < 2:
        return None
    error = math.sqrt(n_seen / (n_seen - 1) * float(np.square(sums[present]).sum()))
    return float(stdtrit(n_seen - 1, (1 + level) / 2)) * error
