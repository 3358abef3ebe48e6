"""What was computed again of a run, in words: when, how much, and whether it was the same."""

from __future__ import annotations

from audit.reports.reading.view import RunView
from audit.store.numbers import counted
from audit.store.recomputation import Recomputation, evidence_of

NEVER = (
    "Never computed again. `audit verify RUN --recompute 0.01` computes one image in a hundred again from manifest and model, and "
    "compares the results."
)


def speaks_of(run: RunView, found: Recomputation) -> bool:
    """Say whether a result is about the files of this run as they are: results were not computed anew since."""
    return found.evidence == evidence_of(run.run.files)


def recomputed_lines(run: RunView) -> list[str]:
    """Return when a share of the run was last computed again, and the outcome for each kind of results."""
    found = run.recomputed
    if found is None:
        return [NEVER]
    day = found.finished[:10]
    if not speaks_of(run, found):
        return [f"A share was computed before, on {day}, but of other files than those of this run. {NEVER}"]
    lines = [
        f"On {day}, {counted(len(found.images), 'image')} of {found.n_images:,} (drawn with seed {found.seed}) were computed again from "
        f"manifest and model, and compared {how_compared(found)}."
    ]
    told = [f"{part}: {outcome}" for part, outcome in part_outcomes(found)]
    return [*lines, f"{'; '.join(told)}."]


def how_compared(found: Recomputation) -> str:
    """Return how strictly values were compared, and why."""
    return "bit by bit" if found.exact else f"within {found.tolerance:g}, because {'; '.join(found.why_not_exact)}"


def part_outcomes(found: Recomputation) -> list[tuple[str, str]]:
    """Return each kind of results that the run holds, with how many were compared and how many differ."""
    told: list[tuple[str, str]] = []
    for part in found.parts:
        if part.why_not:
            told.append((part.part, f"not compared ({part.why_not})"))
        elif part.n_stored:
            outcome = f"{part.n_different:,} differ" if part.n_different else "the same"
            told.append((part.part, f"{part.n_compared:,} of {part.n_stored:,}, {outcome}"))
    return told


def differing_lines(run: RunView, most: int = 20) -> list[str]:
    """Return what was not the same when it was computed again; empty where all was, or nothing was computed."""
    found = run.recomputed
    if found is None or not found.n_differences or not speaks_of(run, found):
        return []
    lines = [
        f"Image {d.image}, {condition_title(run, d.condition)}, draw {d.draw}: {d.field} stored {d.stored}, found {d.found}"
        for d in found.differences[:most]
    ]
    more = found.n_differences - len(lines)
    return [*lines, f"and {counted(more, 'value')} more"] if more else lines


def condition_title(run: RunView, condition: str) -> str:
    """Return the name of a condition for people; of one that the plan does not have, which an edited file may name, its own."""
    return run.titles.get(condition, condition)
