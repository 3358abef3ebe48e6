"""`audit data build`: make a manifest from a published data set."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.commands.tables import printed
from audit.store.numbers import counted
from audit.training.datasets import build_manifest
from audit.training.datasets.covid import PAPER, ClassSummary, summarise


def build(name: str, root: Path, out: Path, *, exclude: Path | None, seed: int) -> int:
    """Build a manifest, and print what was included and why the rest was not; the manifest's path is the last line."""
    selection = build_manifest(name, root, out, exclude=exclude, seed=seed)
    console = Console()
    console.print(
        printed(
            f"{counted(len(selection.records), 'image')} of {counted(len({r.patient for r in selection.records}), 'patient')}"
        )
    )
    for reason, n in sorted(selection.left_out.items()):
        console.print(printed(f"left out, {reason}: {n}"))
    for note in selection.notes:
        console.print(printed(note))
    splits = Counter(r.split for r in selection.records)
    if splits.keys() != {None}:
        console.print(printed("splits, no patient in two: " + ", ".join(f"{s} {n}" for s, n in sorted(splits.items()))))
    paper = PAPER if name == "covid" else ()
    console.print(_table(summarise(selection.records), {row.label: row for row in paper}))
    sys.stdout.write(f"{out}\n")
    return 0


def _table(found: tuple[ClassSummary, ...], paper: dict[str, ClassSummary]) -> Table:
    """Lay the classes' patients out, each with the paper's numbers below where there are any."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("class", "images", "patients", "male", "mean age", "sd"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in found:
        table.add_row(*_cells(row.label, row))
        if row.label in paper:
            table.add_row(*_cells("  in the paper", paper[row.label]))
    return table


def _cells(name: str, row: ClassSummary) -> list[Text]:
    male = "–" if row.male_share is None else f"{100 * row.male_share:.1f} %"
    ages = ["–" if age is None else f"{age:.1f}" for age in (row.mean_age, row.sd_age)]
    return [printed(cell) for cell in (name, str(row.n_images), str(row.n_patients), male, *ages)]
