"""Data sets that the engine reads as they lie on disk, written down as a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from audit.data.layouts.found import Layout
from audit.data.reading import TableOptions, read_records
from audit.errors import CohortError
from audit.training.datasets.published import Selection


def arranged(layout: Layout) -> Callable[..., Selection]:
    """Return the builder of a layout: every image that is on disk, with the labels normal and pneumonia."""

    def build(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
        """Read the folder; nothing is drawn.

        Raises
        ------
        CohortError
            If the folder does not hold the data set.
        """
        if not root.is_dir():
            raise CohortError(
                f"The folder {root} does not exist. Use the folder into which {layout.title} was unpacked."
            )
        records, reading = read_records(root, how=TableOptions(layout=layout.name))
        kept = tuple(r for r in records if r.id not in exclude and r.path.name not in exclude)
        left_out = {"excluded by name": len(records) - len(kept)} if len(kept) < len(records) else {}
        return Selection(records=kept, left_out=left_out, notes=reading.warnings)

    return build
