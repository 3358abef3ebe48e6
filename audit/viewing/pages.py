"""The two pages of `audit view`: the table of all images, and one image under one condition."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from audit.data.strings import MIN_PATIENTS, shown_string
from audit.prediction.table import FinishedRun
from audit.reports.page.templates import environment
from audit.viewing.cases import Case, CaseRow, command_for

_MOST_SCORED = 8
"""Classes whose probabilities a picture shows."""


def images_page(finished: FinishedRun, n_images: int) -> str:
    """Return the page with the table; its script asks for the images, and makes only the rows that are in view."""
    plan = finished.plan
    return (
        environment()
        .get_template("view.html.j2")
        .render(
            plan=plan, n_images=n_images, run=finished.path.resolve().name, multi_label=plan.model.task == "multi-label"
        )
    )


def case_page(finished: FinishedRun, case: Case, row: CaseRow | None, names: Sequence[str]) -> str:
    """Return the page of one image; its script asks for the pictures, and shows a sentence for one that cannot be drawn.

    Parameters
    ----------
    finished : FinishedRun
        The run.
    case : Case
        The image.
    row : CaseRow or None
        The condition and draw that are shown; None where no edit was applied.
    names : sequence of str
        The run's images in its order.
    """
    plan = finished.plan
    clean = case.row("clean")
    titles = {c.name: shown_string(c.title, 80) for c in plan.suite.conditions}
    questions = {c.name: c.question for c in plan.suite.conditions}
    placebo = None if row is None else case.placebo_of(row)
    return (
        environment()
        .get_template("case.html.j2")
        .render(
            plan=plan,
            run=finished.path.resolve().name,
            case=case,
            clean=clean,
            row=row,
            placebo=placebo,
            titles=titles,
            question=questions.get(row.condition, "") if row else "",
            scored=_scored(case, row),
            rows=[r for r in case.rows if r.condition != "clean"],
            asked="" if row is None else f"?condition={quote(row.condition, safe='')}&draw={row.draw}",
            picture=f"../picture/{quote(case.image, safe='')}",
            check=f"../check/{quote(case.image, safe='')}",
            previous=quote(names[case.place - 1], safe="") if case.place else "",
            following=quote(names[case.place + 1], safe="") if case.place + 1 < len(names) else "",
            command=command_for("RUN", case.image, row.condition if row else ""),
            n_images=len(names),
            n_hidden=sum(not t.text for t in case.texts) if not plan.privacy.show_text else 0,
            min_patients=MIN_PATIENTS,
            multi_label=plan.model.task == "multi-label",
        )
    )


def _scored(case: Case, row: CaseRow | None) -> list[str]:
    """Return the classes whose probabilities are shown: the likeliest, and those that moved most."""
    clean = case.row("clean")
    if clean is None:
        return []
    after = row.probabilities if row else clean.probabilities
    order = sorted(clean.probabilities, key=lambda c: -max(clean.probabilities[c], after[c]))
    kept = order[:_MOST_SCORED]
    return [name for name in clean.probabilities if name in kept]
