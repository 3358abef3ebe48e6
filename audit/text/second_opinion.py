"""EasyOCR, the reference engine, looks at a few of the images too: how much of what it marks has the finder found.

Two engines that miss the same letter agree, so this bounds the finder's misses from below; `audit text score` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audit.data.records import Record, TextRegion
from audit.data.strings import StringPolicy
from audit.errors import TextError
from audit.randomness import generator_for
from audit.store.run_record import SecondOpinion
from audit.text.cache import RegionCache
from audit.text.find import find_in
from audit.text.merging import covered_share

COVERED_SHARE = 0.7
"""Share of a region inside the finder's from which on it counts as covered."""


def ask_second_opinion(
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    second: RegionCache,
    *,
    policy: StringPolicy,
    n_images: int,
    seed: int,
    on_image: Callable[[], None],
) -> SecondOpinion:
    """Compare the finder's regions with another engine's on a few images.

    Parameters
    ----------
    records : sequence of Record
        The audited images.
    regions : mapping
        Record id -> what the finder found.
    second : RegionCache
        The second engine.
    policy : StringPolicy
        Which strings may be shown.
    n_images : int
        How many images it looks at.

    Raises
    ------
    TextError
        If the engine cannot start, or fails.
    """
    drawn = second_sample(records, n_images, seed)
    n_regions, missed = 0, list[str]()
    for record in drawn:
        try:
            marked = find_in(record.path, second, colour=record.colour)
        except TextError as error:  # the message stands in the run: it names the file
            raise TextError(str(error).replace(str(record.path), record.name)) from error
        n_regions += len(marked)
        missed += [region.text for region in marked if covered_share(region, regions[record.id]) < COVERED_SHARE]
        on_image()
    return SecondOpinion(
        judge=second.finder_name,
        n_images=len(drawn),
        n_regions=n_regions,
        n_covered=n_regions - len(missed),
        missed=tuple(text for text in missed if policy.shows(text)),
    )


def second_sample(records: Sequence[Record], n_images: int, seed: int) -> list[Record]:
    """Draw the images that the second engine looks at."""
    return [records[i] for i in generator_for(seed, "second opinion").permutation(len(records))[:n_images].tolist()]
