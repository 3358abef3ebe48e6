"""`audit look`: how the audit reads an image, and the facts in the file that determine it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.data import images as reader
from audit.data.images import ImageFacts
from audit.data.pixels.facts import shows_colour
from audit.data.pixels.limits import named
from audit.data.pixels.writing import encode_png
from audit.errors import ImageError
from audit.files import write_atomically
from audit.store.serialise import plain, printed_json

GREYED = (
    "The image shows colours and was read as grey. A network that is declared with --colour rgb is shown the colours."
)
_REFUSED = 4
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One image of the command's answer."""

    path: str
    """The path as it was given."""
    height: int | None
    """Rows; None if the image was refused."""
    width: int | None
    """Columns; None if the image was refused."""
    facts: ImageFacts | dict[str, Any]
    """What the grey levels were made from; empty if the image was refused."""
    notes: tuple[str, ...]
    """What a reader should know."""
    png: str | None
    """The picture that was written; None without --out, or if the image was refused."""
    error: str | None
    """Why the image was refused; None if it was read."""


def look(images: Sequence[Path], *, out: Path | None, as_json: bool, colour: bool = False) -> int:
    """Print how each image is read; return 4 if any was refused, otherwise 0."""
    taken: set[str] = set()
    found = []
    for path in images:
        seen = _look(path, out, taken, colour=colour)
        found.append(seen)
        if not as_json:
            _print(path, seen)
    if as_json:
        # ASCII, so that no name of a file reaches a terminal as anything but its escapes.
        sys.stdout.write(printed_json(found))
    return _REFUSED if any(seen.error is not None for seen in found) else 0


def _look(path: Path, out: Path | None, taken: set[str], *, colour: bool) -> Look:
    try:
        seen = reader.look(path, colour=colour)
    except ImageError as error:
        return Look(path=str(path), height=None, width=None, facts={}, notes=(), png=None, error=str(error))
    target = None if out is None else out / _name(path, taken)
    if target is not None:
        write_atomically(target, encode_png(seen.pixels))
    return Look(
        path=str(path),
        height=seen.pixels.shape[0],
        width=seen.pixels.shape[1],
        facts=seen.facts,
        notes=(*seen.notes, *([GREYED] if not colour and shows_colour(seen.facts.coloured_share) else [])),
        png=None if target is None else str(target),
        error=None,
    )


def _name(path: Path, taken: set[str]) -> str:
    """Choose a name that no image of this call has, and that no image itself is likely to have."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.name)[:_LONGEST_NAME].strip("-") or "image"
    name, number = f"{stem}.seen.png", 2
    while name.casefold() in taken:
        name, number = f"{stem}-{number}.seen.png", number + 1
    taken.add(name.casefold())
    return name


def _print(path: Path, seen: Look) -> None:
    if seen.error is not None:
        sys.stderr.write(f"audit: {seen.error}\n")
        return
    lines = [f"{named(path)}: {seen.width} x {seen.height} pixels"]
    for name, value in plain(seen.facts).items():
        if value not in (None, [], False):
            shown = " to ".join(f"{v:g}" for v in value) if name in ("scaled_from", "padding") else value
            shown = (
                ", ".join(shown) if isinstance(shown, list) else f"{shown:.3f}" if isinstance(shown, float) else shown
            )
            if name == "coloured_share":
                shown = f"{100 * value:.1f} % of the pixels"
            lines.append(f"  {name.replace('_', ' '):<28}{shown}")
    lines += [f"  note: {note}" for note in seen.notes]
    if seen.png is not None:
        lines.append(f"  picture: {named(Path(seen.png))}")
    sys.stdout.write("\n".join(lines) + "\n")
