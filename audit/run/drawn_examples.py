"""Examples that an interrupted run has drawn: a note of each beside its pictures, until all are in one document."""

from __future__ import annotations

from contextlib import suppress

from audit.errors import StoreError
from audit.store.folder import RunFolder
from audit.store.pictures import Example
from audit.store.serialise import plain
from audit.store.typed import FormatError, typed

_NOTES = "examples/drawn-*.json"


def keep_drawn(run: RunFolder, example: Example) -> None:
    """Write down an example whose pictures were written."""
    run.write_json(_note(example.case), {"example": plain(example)})


def read_drawn(run: RunFolder, case: int) -> Example | None:
    """Return the example of a case; None where it, or one of its pictures, has to be drawn again."""
    if not run.has(_note(case)):
        return None
    try:
        example = typed(run.read_json(_note(case)).get("example"), Example)
    except (StoreError, FormatError):  # of another version of audit, or damaged
        return None
    pictures = [example.clean, example.edit, example.placebo, example.difference, example.overlay]
    there = all(run.has(f"examples/{picture.file}") for picture in pictures if picture is not None)
    return example if there and example.case == case else None


def forget_drawn(run: RunFolder) -> None:
    """Remove the notes: everything in them is in `examples.json`."""
    for note in run.path.glob(_NOTES):
        with suppress(FileNotFoundError):
            note.unlink()


def _note(case: int) -> str:
    return f"examples/drawn-{case:03d}.json"
