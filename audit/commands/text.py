"""`audit text`: what the finder finds, and how well."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.commands.progress import Stages
from audit.files import write_atomically
from audit.images import read_gray
from audit.results import to_json
from audit.text.boxes import read_boxes
from audit.text.detectors import make_detector
from audit.text.scoring import FinderScore, score_detector


def find(images: Sequence[Path], detector: str, *, boxes: Path | None, as_json: bool) -> int:
    """Print the text regions of images, in pixels of the stored image."""
    finder = make_detector(detector, boxes)
    with Stages(quiet=as_json) as stages:
        step = stages("finding text", len(images))
        found = []
        for image in images:
            regions = finder.detect(read_gray(image))
            found.append((image, regions))
            step()
    if as_json:
        sys.stdout.write(to_json([{"path": str(image), "regions": list(regions)} for image, regions in found]))
        return 0
    console = Console()
    for image, regions in found:
        console.print(Text(f"{image}: {len(regions)} region{'' if len(regions) == 1 else 's'}"))
        for r in regions:
            read = f"{r.text!r} " if r.text else ""
            console.print(Text(f"  {r.x0},{r.y0} – {r.x1},{r.y1}  {read}{r.kind}, {r.detector} {r.confidence:.2f}"))
    return 0


def score(boxes: Path, detector: str, *, out: Path | None, as_json: bool) -> int:
    """Score a finder against hand-drawn boxes; print the figures, and write them for `audit run --finder-score`."""
    images = read_boxes(boxes)
    finder = make_detector(detector, boxes)
    with Stages(quiet=as_json) as stages:
        found = score_detector(images, finder, stages("finding text", len(images)))
    if out is not None:
        write_atomically(out, to_json(found).encode())
    if as_json:
        sys.stdout.write(to_json(found))
    else:
        _print(found)
        if out is not None:
            sys.stdout.write(f"{out}\n")
    return 0


def _print(found: FinderScore) -> None:
    console = Console()
    console.print(Text(f"{found.detector} on {found.n_images} images, {found.n_with_text} of them with text"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("boxes", "n", "found", "recall", "95 %"):
        table.add_column(column, justify="left" if column == "boxes" else "right")
    for r in found.recalls:
        interval = "–" if r.low is None or r.high is None else f"{r.low:.2f} to {r.high:.2f}"
        cells = (r.group, str(r.n_boxes), str(r.n_found), _figure(r.recall), interval)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    console.print(Text(f"images with all text covered: {_figure(found.fully_covered_share)}"))
    console.print(Text(f"images without text left alone: {_figure(found.clean_share)}"))
    console.print(Text(f"false regions per image: {found.false_regions_per_image:.2f}"))


def _figure(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"
