"""`audit text`: what the finder finds, how well, and what the text of a cohort reveals about its classes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from audit.commands.progress import ProgressLines
from audit.commands.tables import TableTeller, printed
from audit.data.manifests import load_cohort
from audit.data.reading import TableOptions
from audit.errors import StoreError
from audit.store.numbers import counted
from audit.store.output import write_output
from audit.store.serialise import plain, printed_json, to_json
from audit.text.boxes import read_boxes
from audit.text.cache import RegionCache
from audit.text.find import find_in, find_regions
from audit.text.finders import make_finder
from audit.text.scoring import FinderScore, score_finder

if TYPE_CHECKING:
    from audit.text.atlas import Atlas
    from audit.text.glyphs import Glyph


def find(images: Sequence[Path], detector: str, *, boxes: Path | None, cache: Path | None, as_json: bool) -> int:
    """Print the text regions of images, in pixels of the stored image."""
    finder = RegionCache(cache, make_finder(detector, boxes))
    with ProgressLines(quiet=as_json) as stages:
        step = stages("finding text", len(images))
        found = []
        for image in images:
            found.append((image, find_in(image, finder, colour=True)))
            step()
    if as_json:
        sys.stdout.write(printed_json([{"path": str(image), "regions": list(regions)} for image, regions in found]))
        return 0
    console = Console()
    for image, regions in found:
        console.print(printed(f"{image}: {len(regions)} region{'' if len(regions) == 1 else 's'}"))
        for r in regions:
            read = f"{r.text!r} " if r.text else ""
            console.print(printed(f"  {r.x0},{r.y0} – {r.x1},{r.y1}  {read}{r.kind}, {r.detector} {r.confidence:.2f}"))
    return 0


def score(boxes: Path, detector: str, *, out: Path | None, as_json: bool) -> int:
    """Score a finder against hand-drawn boxes; print the figures, and write them if asked."""
    images = read_boxes(boxes)
    # A finder that is scored must not be told the answers.
    finder = make_finder(detector, boxes if detector == "annotated" else None)
    with ProgressLines(quiet=as_json) as stages:
        found = score_finder(images, finder, stages("finding text", len(images)))
    if out is not None:
        write_output(out, to_json(found).encode())
    if as_json:
        sys.stdout.write(printed_json(found))
    else:
        _print(found)
        if out is not None:
            sys.stdout.write(f"{out}\n")
    return 0


def atlas(
    data: Path,
    detector: str,
    *,
    boxes: Path | None,
    cache: Path,
    ignore_labels: tuple[str, ...],
    on_bad_image: Literal["fail", "skip"],
    how: TableOptions,
    seed: int,
    sheet: Path | None,
    as_json: bool,
) -> int:
    """Draw the marker atlas of a cohort: which text is where, and how well it predicts the class."""
    from audit.text.atlas import draw_atlas

    finder = RegionCache(cache, make_finder(detector, boxes))
    with ProgressLines(quiet=as_json) as stages:
        table = TableTeller(stages)
        cohort = load_cohort(
            data,
            ignore_labels=ignore_labels,
            on_bad_image=on_bad_image,
            how=how,
            withhold=True,
            on_table=table,
            colour=True,
        )
        records = cohort.labelled()
        found = find_regions(records, finder, stages("finding text", len(records)), on_bad_image=on_bad_image)
        drawn = draw_atlas([r for r in records if r.id not in found.failures], found.regions, seed=seed)
    if sheet is not None:
        write_output(sheet, _sheet(drawn.glyphs))
    if as_json:
        document = plain(drawn)
        for glyph in document["glyphs"]:
            del glyph["picture"]
        document["table"] = table.document
        sys.stdout.write(printed_json(document))
    else:
        _print_atlas(drawn)
        if sheet is not None:
            sys.stdout.write(f"{sheet}\n")
    return 0


def _sheet(glyphs: Sequence[Glyph]) -> bytes:
    """Lay the clusters' mean pictures out with their names, eight a row, as PNG."""
    cell = 96
    rows = max(1, -(-len(glyphs) // 8))
    canvas = np.full((rows * cell, 8 * cell), 30, np.uint8)
    for i, glyph in enumerate(glyphs):
        y, x = i // 8 * cell, i % 8 * cell
        canvas[y + 4 : y + 68, x + 16 : x + 80] = cv2.resize(glyph.picture, (64, 64), interpolation=cv2.INTER_NEAREST)
        caption = f"{glyph.name.removeprefix('glyph:')}: {glyph.n_regions}"
        cv2.putText(canvas, caption, (x + 16, y + 86), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 230, 1, cv2.LINE_AA)
    fine, data = cv2.imencode(".png", canvas)
    if not fine:
        raise StoreError("The sheet of glyphs cannot be encoded as PNG.")
    return bytes(data.tobytes())


def _print_atlas(drawn: Atlas) -> None:
    console = Console()
    rows = []
    for p in drawn.presence:
        tokens = ", ".join(f"{token} {n}" for token, n in list(p.tokens.items())[:5])
        share = f"{p.n_with_text / p.n_images:.0%}"
        rows.append(
            (p.label, p.source, tokens, str(p.n_images), share, f"{p.regions_per_image:.1f}", f"{p.area_share:.1%}")
        )
    console.print(_table(("class", "source", "tokens"), ("images", "with text", "regions", "area"), rows))
    console.print(
        printed(
            "\nWhat predicts the class (share of its entropy explained; p from permuted patients, corrected for multiple comparisons):"
        )
    )
    tells = []
    for t in drawn.tells[:12]:
        counts = ", ".join(f"{label} {n}" for label, n in t.by_class.items())
        tells.append((t.feature, counts, str(t.n_images), f"{t.explained_share:.3f}", f"{t.p_adjusted:.4f}"))
    console.print(_table(("feature", "by class"), ("images", "explained", "p"), tells))


def _print(found: FinderScore) -> None:
    console = Console()
    console.print(
        printed(f"{found.detector} on {counted(found.n_images, 'image')}, {found.n_with_text} of them with text")
    )
    rows = []
    for r in found.recalls:
        interval = "–" if r.low is None or r.high is None else f"{r.low:.2f} to {r.high:.2f}"
        rows.append((str(r.group), str(r.n_boxes), str(r.n_found), _figure(r.recall), interval))
    console.print(_table(("boxes",), ("n", "found", "recall", "95 %"), rows))
    console.print(printed(f"images with all text covered: {_figure(found.fully_covered_share)}"))
    console.print(printed(f"images without text and without false regions: {_figure(found.clean_share)}"))
    console.print(printed(f"false regions per image: {found.false_regions_per_image:.2f}"))


def _table(words: Sequence[str], figures: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Lay rows out, the columns of words to the left, those of figures to the right; nothing in a cell is markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for word in words:
        table.add_column(word)
    for figure in figures:
        table.add_column(figure, justify="right")
    for row in rows:
        table.add_row(*(printed(cell) for cell in row))
    return table


def _figure(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"
