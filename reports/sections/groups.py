"""The groups: predictions by class, effects and accuracy by group."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.figures.dots import WIDTH_PX, Dots, accuracy_dots, effect_forest
from audit.reports.findings.group_effects import (
    JUDGED_COLUMNS,
    attributes_sentence,
    drawn,
    explored_groups,
    group_accuracy,
    judged_groups,
    undecided,
)
from audit.reports.findings.limitations import MIN_PATIENTS
from audit.reports.findings.output_effects import output_rows
from audit.reports.findings.relevance_by_group import text_edits
from audit.reports.reading.view import RunView
from audit.reports.sections.base import MOST_PRINTED, Section, state_of
from audit.store.numbers import counted


def view(run: RunView) -> Mapping[str, object]:
    """Return the confusion matrix, the judged groups, the accuracy by group, and the groups that are not judged."""
    names = run.plan.model.classes
    accuracy = group_accuracy(run)
    return {
        "result": undecided(run) or f"accuracy of {counted(len(accuracy), 'group')}; no group was judged",
        "titles": run.titles,
        "names": names,
        "confusion": []
        if run.multi_label
        else [(actual, [run.confusion.get(actual, {}).get(name, 0) for name in names]) for actual in names],
        "outputs": output_rows(run),
        "judged_outputs": judged_groups(run, "output"),
        "classes": judged_groups(run, "class"),
        "strings": judged_groups(run, "word"),
        "undecided": undecided(run),
        "forest": _forest(run),
        "figure": accuracy_dots(drawn(accuracy), MIN_PATIENTS),
        "accuracy": accuracy,
        "attributes": attributes_sentence(run),
        "explored": explored_groups(run),
        "width": WIDTH_PX,
        "min_patients": MIN_PATIENTS,
        "most_printed": MOST_PRINTED,
    }


def _forest(run: RunView) -> Dots | None:
    """Draw the judged groups under the edit of text that leaves no artefact of its own; None where no word is judged."""
    for edit in text_edits(run):
        rows = [r for kind in JUDGED_COLUMNS for r in judged_groups(run, kind) if r.effect.condition == edit]
        if any(r.effect.group.kind == "word" for r in rows):
            return effect_forest(
                [r.effect for r in rows], f"{run.quoted(edit)}, by class and word", [r.name for r in rows]
            )
    return None


SECTION = Section(
    name="groups",
    title="Groups",
    template="sections/groups.html.j2",
    view=view,
    state=lambda run: state_of(r.effect.verdict for kind in JUDGED_COLUMNS for r in judged_groups(run, kind)),
    comes_from="predictions/, effects.json: classes and strings with verdicts, the rest as exploratory; accuracy, with groups of fewer "
    f"than {MIN_PATIENTS} patients greyed out",
)
