"""`audit mend`: a network without a shortcut, and the audit that proves it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from audit.commands.auditing import render
from audit.commands.keys import announce_key
from audit.commands.progress import ProgressLines
from audit.errors import shown_lines
from audit.run.settings import Settings
from audit.run.shares import check_whole
from audit.store.mend import MendDocument, MendStory, MendVerdict, Paired
from audit.store.numbers import bracketed, number, signed_bracketed
from audit.store.serialise import plain, printed_json
from audit.training.mend.making import Choice

EXIT_CODES: Mapping[MendVerdict, int] = {"mended": 0, "partly": 3, "inconclusive": 3, "not": 1, "worse": 1}
"""Exit code of each verdict."""


def mend(
    settings: Settings,
    out: Path,
    *,
    run: Path | None,
    suspects: Sequence[str],
    method: Choice,
    as_json: bool,
    command: Sequence[str],
) -> int:
    """Mend a network, write its page and reports, print what changed; return the exit code."""
    from audit.reports.comparison.mended import render_mended
    from audit.training.mend.mending import mend as mended

    check_whole(settings, "mending")
    announce_key(settings)
    with ProgressLines(quiet=as_json) as on_stage:
        found = mended(
            settings,
            out,
            run=run,
            suspects=suspects,
            method=method,
            command=command,
            on_stage=on_stage,
            tell=lambda note: on_stage.say([note]),
        )
        # A run that was there before keeps the report that it has.
        made = (found.before if run is None else None, found.after)
        reports = [render(path) for path in made if path is not None]
        page = None if found.document is None else render_mended(out)
    code = (3 if found.undecided else 0) if found.document is None else EXIT_CODES[found.document.verdict]
    if as_json:
        document = {} if found.document is None else plain(found.document)
        links = {"bundle": None if page is None else out, "page": page, "reports": reports, "message": found.message}
        sys.stdout.write(printed_json({**document, **links, "exit_code": code}))
        return code
    if found.document is None:
        sys.stdout.write(shown_lines(f"{found.message}\n"))
        return code
    sys.stdout.write(shown_lines("\n".join(_lines(found.document)) + "\n"))
    sys.stdout.write("".join(f"{path}\n" for path in (*reports, page, out)))
    return code


def _lines(document: MendDocument) -> list[str]:
    """Return the proof for a terminal."""
    rows = [("edit − placebo", "before", "after", "paired change", "verdict before, after")]
    for c in document.effects:
        change = "–" if c.change is None else signed_bracketed(c.change.estimate or 0.0, c.change.low, c.change.high)
        marks = f"{c.before.verdict}, {c.after.verdict}" + (" (newly)" if c.newly else "")
        rows.append((c.title, _figure(c.before.estimate, c.before.low, c.before.high),
                     _figure(c.after.estimate, c.after.low, c.after.high), change, marks))  # fmt: skip
    performance = [("unedited images", "before", "after", "paired change", "n"), *map(_row, document.performance)]
    figures, story = document.story.before, document.story
    tried = [("validation images", "largest effect", "accuracy", "accuracy, edited", "change, no shortcut", "seconds")]
    tried.append(
        (
            "before",
            *_figures(max(figures.effects.values(), default=None), figures.accuracy, figures.accuracy_edited),
            "",
            "",
        )
    )
    for t in story.tried:
        name = f"{t.method} (chosen)" if t.method == story.method else t.method
        f = t.figures
        cells = (
            ("not possible", "", "")
            if f is None
            else _figures(max(f.effects.values(), default=None), f.accuracy, f.accuracy_edited)
        )
        cost = "" if t.honest is None else signed_bracketed(t.honest.change, t.honest.low, t.honest.high)
        tried.append((name, *cells, cost, f"{t.seconds:.0f}"))
    words = (
        "not mended"
        if document.verdict == "not"
        else "partly mended"
        if document.verdict == "partly"
        else document.verdict
    )
    return [
        *_in_columns(tried),
        "",
        *_taught(story),
        *_in_columns(rows),
        "",
        *_in_columns(performance),
        "",
        document.summary,
        words.upper(),
    ]


def _taught(story: MendStory) -> list[str]:
    """Return how many training images of each class carry the suspects, for a terminal."""
    lines = []
    for t in story.taught:
        counts = list(t.images_by_class.items())
        rows = [(f"training images: {t.suspect}", *(f"{name} ({n})" for name, n in counts))]
        rows += [(c.name, *(str(c.by_class[name]) for name, _ in counts)) for c in t.carried]
        lines += [*_in_columns(rows), ""]
    return lines


def _figure(estimate: float | None, low: float | None, high: float | None) -> str:
    return "not measured" if estimate is None else bracketed(estimate, low, high)


def _figures(effect: float | None, accuracy: float, edited: float) -> tuple[str, str, str]:
    return number(effect), number(accuracy), number(edited)


def _row(p: Paired) -> tuple[str, ...]:
    change = signed_bracketed(p.change, p.low, p.high)
    return p.name, number(p.before), number(p.after), change, str(p.n_images)


def _in_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in lines]
