"""Labels of a multi-label task: of every image each output's finding is present, absent or unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from audit.data.ages import says_nothing
from audit.data.strings import shown_string
from audit.errors import CohortError, ModelError, UnknownNameError, UsageError, near_names
from audit.store.numbers import counted

Truth = tuple[int, ...]
"""1, 0 or -1 for each output, in their order."""
PRESENT, ABSENT, UNKNOWN = 1, 0, -1
SEPARATOR = "|"
NONE_PRESENT = "none present"
"""Label of an image on which no output's finding is known to be present."""
_CELLS: Mapping[str, int] = {
    **dict.fromkeys(("1", "true", "yes", "y"), PRESENT),
    **dict.fromkeys(("0", "false", "no", "n"), ABSENT),
    **dict.fromkeys(("", "-1"), UNKNOWN),
}
_NOTHING_FOUND = frozenset({"nofinding", "nofindings", "normal", "healthy", "nonepresent"})
_MOST_NAMED = 8


def check_outputs(model: str, names: Sequence[str]) -> None:
    """Refuse outputs whose names could not be told apart in a label.

    Raises
    ------
    ModelError
        If one holds the separator, or is the label of an image without findings.
    """
    for name in names:
        if SEPARATOR in name or name == NONE_PRESENT:
            raise ModelError(
                f"The model {model} has an output called {shown_string(name)}. The names of a multi-label network's outputs must not "
                f"contain {SEPARATOR}, which separates findings, and none may be called {NONE_PRESENT!r}. Rename it with --classes."
            )


def label_of_truth(truth: Truth, outputs: Sequence[str]) -> str | None:
    """Return the findings that are present, joined by bars; None where nothing is known of any output."""
    if all(value == UNKNOWN for value in truth):
        return None
    return joined_outputs([value == PRESENT for value in truth], outputs)


def unknown_of_truth(truth: Truth, outputs: Sequence[str]) -> str:
    """Return the outputs of which nothing is known, joined by bars."""
    return SEPARATOR.join(name for name, found in zip(outputs, truth, strict=True) if found == UNKNOWN)


def truth_of_label(label: str, unknown: str, outputs: Sequence[str]) -> Truth | None:
    """Read a truth back from what files of a run hold; None where a name is no output."""
    present = names_in(label)
    open_ones = unknown.split(SEPARATOR) if unknown else []
    if not {*present, *open_ones} <= set(outputs):
        return None
    return tuple(PRESENT if name in present else UNKNOWN if name in open_ones else ABSENT for name in outputs)


def names_in(label: str) -> list[str]:
    """Return the outputs that a label of a multi-label task names."""
    return [] if label == NONE_PRESENT else label.split(SEPARATOR)


def joined_outputs(chosen: Sequence[bool], outputs: Sequence[str]) -> str:
    """Return the label that names the chosen outputs."""
    return SEPARATOR.join(name for name, there in zip(outputs, chosen, strict=True) if there) or NONE_PRESENT


def truth_counts(truths: Collection[Truth], outputs: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return output -> images with the finding, without it, and of which that is unknown."""
    return {
        name: (found[PRESENT], found[ABSENT], found[UNKNOWN])
        for i, name in enumerate(outputs)
        for found in [Counter(truth[i] for truth in truths)]
    }


def truth_notes(truths: Collection[Truth], outputs: Sequence[str]) -> list[str]:
    """State which labels are unknown, and which outputs cannot be compared with labels, in sentences."""
    counts = truth_counts(truths, outputs)
    never = [name for name, (present, absent, _) in counts.items() if not present + absent]
    some = {name: unknown for name, (present, absent, unknown) in counts.items() if unknown and present + absent}
    one_sided = [name for name, (present, absent, _) in counts.items() if bool(present) != bool(absent)]
    notes = []
    if some:
        told = [f"{shown_string(name)} {n}" for name, n in some.items()]
        notes.append(
            f"Unknown labels (blank or -1) are left out of the measures that compare an output with its label: {_listed(told)} of "
            f"{counted(len(truths), 'image')}."
        )
    if never:
        notes.append(
            f"No image has a label for {_listed([shown_string(name) for name in never])}: of these outputs only the change of the "
            "probability is measured."
        )
    if one_sided:
        notes.append(
            f"The labels of {_listed([shown_string(name) for name in one_sided])} are the same on all labelled images, so AUC is not "
            "measured."
        )
    return notes


def check_ignored(manifest: Path, cells: Collection[str], outputs: Sequence[str], ignored: Collection[str]) -> None:
    """Refuse labels to ignore that cannot be meant: an output of the network, or a slip of what the lists name.

    Raises
    ------
    UsageError
        For the first such label.
    """
    places = {_folded(name) for name in outputs}
    seen = {part.strip() for cell in set(cells) for part in cell.split(SEPARATOR) if part.strip()}
    folded = {_folded(part) for part in seen}
    for name in sorted(ignored):
        if _folded(name) in places:
            raise UsageError(
                f"The label to ignore {shown_string(name)!r} is an output of the network: its finding is part of what is audited. Ignore "
                "only labels that the network has no output for."
            )
        if _folded(name) not in folded and near_names(_folded(name), folded | places):
            raise UnknownNameError(f"label to ignore in {manifest}", name, seen | set(outputs))


def read_lists(
    manifest: Path, cells: Sequence[str], outputs: Sequence[str], first_row: int, *, ignored: Collection[str] = ()
) -> list[Truth]:
    """Read cells that name the findings of an image, separated by bars.

    A finding that a cell does not name is absent; an empty cell says nothing. An output that no cell of the column names was not
    looked for, so it is unknown everywhere.

    Raises
    ------
    CohortError
        If a cell names something that is no output.
    """
    places = {_folded(name): i for i, name in enumerate(outputs)}
    left = {_folded(name) for name in ignored}
    read: dict[str, frozenset[int] | None] = {}
    foreign: Counter[str] = Counter()
    for cell in cells:
        if cell not in read:
            parts = [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
            read[cell] = None if says_nothing(cell) or not parts else frozenset(_places(parts, places))
        foreign.update(_foreign(cell, places, left) if read[cell] is not None else ())
    if foreign:
        found = _listed([f"{shown_string(name)} ({counted(n, 'image')})" for name, n in foreign.most_common()])
        first = shown_string(next(iter(foreign)))
        row = next(i for i, cell in enumerate(cells) if _foreign(cell, places, left)) + first_row
        raise CohortError(
            f"Manifest {manifest} has findings that are no output of the network: {found}, first in row {row}. The outputs are "
            f"{_listed([shown_string(name) for name in outputs])}. Correct them, or leave them out with --ignore-label {first!r}."
        )
    named = frozenset().union(*(found for found in read.values() if found is not None))
    return [
        tuple(
            UNKNOWN if found is None or i not in named else PRESENT if i in found else ABSENT
            for i in range(len(outputs))
        )
        for found in (read[cell] for cell in cells)
    ]


def read_columns_of_outputs(
    manifest: Path, columns: Mapping[str, Sequence[str]], outputs: Sequence[str], first_row: int
) -> list[Truth]:
    """Read a column of 0 and 1 for each output; blank, NaN and -1 say that it is unknown, and so does a column that is not there.

    Raises
    ------
    CohortError
        If a cell holds something else.
    """
    values = [_values(manifest, name, columns.get(name), first_row) for name in outputs]
    n = next(len(cells) for cells in columns.values())
    return list(zip(*(found or [UNKNOWN] * n for found in values), strict=True))


def output_columns(names: Sequence[str], outputs: Sequence[str]) -> dict[str, int]:
    """Return output -> place of the column of a table that is called as it is, whatever its case, blanks and underscores."""
    folded = [_folded(name) for name in names]
    return {name: folded.index(_folded(name)) for name in outputs if _folded(name) in folded}


def _values(manifest: Path, name: str, cells: Sequence[str] | None, first_row: int) -> list[int]:
    known: dict[str, int] = {}
    found = []
    for row, cell in enumerate(cells or (), start=first_row):
        if cell not in known:
            plain = cell.strip().casefold().removesuffix(".0")
            value = UNKNOWN if says_nothing(cell) else _CELLS.get(plain)
            if value is None:
                raise CohortError(
                    f"Row {row} of {manifest} has {shown_string(cell, 40)!r} in the column of the output {shown_string(name)}. Write 1 for "
                    "present, 0 for absent, and an empty cell or -1 for unknown."
                )
            known[cell] = value
        found.append(known[cell])
    return found


def _places(parts: Sequence[str], places: Mapping[str, int]) -> list[int]:
    return [places[_folded(part)] for part in parts if _folded(part) in places]


def _foreign(cell: str, places: Mapping[str, int], ignored: Collection[str]) -> list[str]:
    parts = [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
    return [p for p in parts if _folded(p) not in {*places, *ignored, *_NOTHING_FOUND}]


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST_NAMED
    return ", ".join(parts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
