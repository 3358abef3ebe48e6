"""mend.html: a mended network beside the old one, on the same test images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audit.errors import StoreError
from audit.files import write_atomically
from audit.reports.comparison.runs import cell
from audit.reports.figures.multiples import WIDTH_PX, Multiples, multiples
from audit.reports.page.templates import whole_page
from audit.statistics.catalogue import MEASURES
from audit.store.documents import read_json
from audit.store.mend import MendDocument
from audit.store.results import SCHEMA_VERSION
from audit.store.typed import FormatError, typed

PAGE = "mend.html"
NAMES = ("before", "after")


def render_mended(bundle: Path) -> Path:
    """Write the page of a mended bundle into its folder.

    Raises
    ------
    StoreError
        If the bundle has no proof, or its page cannot be written.
    """
    document = read_mended(bundle)
    figures = list(_figures(document))
    page = whole_page("comparison/mended.html.j2", document=document, names=NAMES, figures=figures, width=WIDTH_PX)
    write_atomically(bundle / PAGE, page)
    return bundle / PAGE


def read_mended(bundle: Path) -> MendDocument:
    """Read the proof of a mended bundle.

    Raises
    ------
    StoreError
        If there is none, or it is damaged.
    """
    path = bundle / MendDocument.FILE
    try:
        found = read_json(path)
        version = found.pop("schema_version", None) if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise FormatError(f"its schema version must be {SCHEMA_VERSION}")
        return typed(found, MendDocument)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"{path} cannot be read ({why}). Repeat `audit mend` with the same --out.") from error


def _figures(document: MendDocument) -> Iterator[Multiples]:
    """Yield a figure for each headline measure: a panel for each condition, the old network above the new one."""
    for measure in dict.fromkeys(c.measure for c in document.effects):
        mine = [c for c in document.effects if c.measure == measure]
        tolerances = {e.tolerance for c in mine for e in (c.before, c.after) if e.tolerance is not None}
        yield multiples(
            MEASURES[measure].title.capitalize(),
            "Condition",
            MEASURES[measure].explained,
            f"{MEASURES[measure].title} minus the placebo's",
            [(c.title, [cell(name, e) for name, e in zip(NAMES, (c.before, c.after), strict=True)]) for c in mine],
            holds=[],
            reference=0.0,
            tolerance=tolerances.pop() if len(tolerances) == 1 else None,
        )
