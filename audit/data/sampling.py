"""A sample of the images: classes in proportion, as many patients as possible, drawn from the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from audit.data.records import Record
from audit.randomness import generator_for


def sample_records(records: Sequence[Record], n: int, seed: int) -> frozenset[str]:
    """Return the ids of the records of a sample; which they are depends on neither their order nor on a pixel.

    Each class gets its share of the sample, and at least one image if the sample has room for every class. Within a class, images of
    patients who are not in the sample yet come first.

    Parameters
    ----------
    records : sequence of Record
        Labelled records.
    n : int
        Size of the sample; all records if there are no more.
    seed : int
        Run seed.
    """
    if len(records) <= n:
        return frozenset(record.id for record in records)
    ordered = sorted(records, key=lambda r: r.id)
    shuffled = [ordered[i] for i in generator_for(seed, "sample").permutation(len(ordered)).tolist()]
    by_class: defaultdict[str, list[Record]] = defaultdict(list)
    for record in shuffled:
        by_class[str(record.label)].append(record)
    n_of_patient: defaultdict[str, int] = defaultdict(int)
    chosen: set[str] = set()
    # The smallest class first: it has the fewest patients to choose from.
    quotas = _quotas({name: len(members) for name, members in by_class.items()}, n)
    for name, quota in sorted(quotas.items(), key=lambda item: (item[1], item[0])):
        left, n_each = by_class[name], 0
        while quota:
            later = []
            for record in left:
                if quota and n_of_patient[record.patient] <= n_each:
                    n_of_patient[record.patient] += 1
                    chosen.add(record.id)
                    quota -= 1
                else:
                    later.append(record)
            left, n_each = later, n_each + 1
    return frozenset(chosen)


def _quotas(sizes: dict[str, int], n: int) -> dict[str, int]:
    """Divide a sample of n among classes in proportion to their sizes, by largest remainders."""
    least = int(n >= len(sizes))
    total, free = sum(sizes.values()), n - least * len(sizes)
    exact = {name: least + (size - least) * free / max(1, total - least * len(sizes)) for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[: n - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
