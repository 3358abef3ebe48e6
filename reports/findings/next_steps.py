"""What to do next: for every statement of a run the images to look at, the data to collect, and the command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from audit.gates.calibration import NOT_MEASURED
from audit.gates.needed import OUT_OF_REACH
from audit.reports.findings.effect_words import capital, points, points_interval
from audit.reports.findings.group_effects import JUDGED_COLUMNS, judged_groups, place
from audit.reports.findings.statements import Statement
from audit.reports.reading.view import RunView
from audit.statistics.blindness import CHECK_DECLARED
from audit.statistics.verdicts import is_within
from audit.store.group import ALL, Group
from audit.store.numbers import counted
from audit.store.results import Effect

AUDIT = "audit run --model MODEL --data MANIFEST"
_REPEATS = "repeats the audit"
_WITH_THEM = "repeats the audit with them"
_MOST_IMAGES = 3
_MOST_GROUPS = 3
_REMEDIES: Mapping[str, str] = {
    "text": "Mask printed text before training, or collect images whose text does not differ between the classes; then train again.",
    "border": "Crop the border before training, or collect images whose border does not differ between the classes; then train again.",
    "look": "Collect images of every class from every source; then train again.",
    "object": "Decide first, by its pictures, whether the object is a sign of disease. If it is not, collect images of all classes "
    "with it; then train again.",
}
"""Content that a network relies on (`audit.data.conditions.CONTENTS`) -> what to change in the data."""


@dataclass(frozen=True, kw_only=True)
class OpenGroup:
    """One group of images that this sample does not decide, as a row of a table."""

    images: str
    """Which images."""
    edit: str
    """The edit that comes nearest to a finding."""
    shift: str
    """What was seen, in percentage points."""
    interval: str
    """Its interval and limit."""
    n_patients: int
    """Patients behind it."""
    needed: str
    """Patients that would decide."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One next step."""

    about: str
    """The suspect or topic that it follows from."""
    images: tuple[tuple[int, str], ...]
    """(case, pseudonym) of images to look at first."""
    text: str
    """What to do, in one or two sentences."""
    command: str
    """The command; empty where there is none."""
    does: str = ""
    """What the command does, in half a line; empty where there is none."""
    groups: tuple[OpenGroup, ...] = ()
    """The groups that it is about; empty of all other steps."""


def next_steps(run: RunView, said: Sequence[Statement]) -> list[Step]:
    """Return the next steps, in the order of the statements; at least one."""
    steps = [step for statement in said for step in _of(run, statement)]
    steps += _undecided_groups(run, said)
    steps += _calibrate(run)
    if not any(s.kind != "held" for s in said):
        steps.append(
            Step(
                about="Later versions",
                images=(),
                text="Accept this run as the baseline, so that later versions of the model are compared with it.",
                command="audit baseline accept RUN",
                does="makes this run the baseline",
            )
        )
    return steps


def _of(run: RunView, statement: Statement) -> Iterator[Step]:
    effect = statement.effect
    if statement.kind == "incomplete":
        yield Step(
            about="Controls",
            images=(),
            text="Find out why the control changed the predictions: the model may not be deterministic.",
            command=AUDIT,
            does=_REPEATS,
        )
    elif statement.kind == "found" and effect is not None:
        yield _found(run, effect)
    elif statement.kind == "undecided" and effect is not None:
        yield from (_undecided(run, e) for e in (effect, *statement.also))
    elif statement.kind == "reversed" and effect is not None:
        yield Step(
            about=_topic(run, effect),
            images=_images(run, effect),
            text="Compare the edit with its placebo in these images. The full suite has edits with other fills.",
            command=f"{AUDIT} --suite full",
            does="repeats the audit with further fills",
        )
    elif statement.kind == "silent":
        # Where no class has more noise or a stronger compression than another, nothing is missing.
        unmoved = [e for e in (effect, *statement.also) if e is None or not run.planned(e.condition).declared.one_way]
        yield from (_silent(run, e) for e in unmoved)
    elif statement.kind == "disagreeing":
        yield Step(
            about="Fills of the text",
            images=(),
            text="Look at the cases of both fills: one of them may leave a trace, or remove more than the text.",
            command="",
        )
    elif statement.kind == "worth":
        several = len(run.plan.data.source_counts) > 1
        text = (
            "Collect test images of every class from the same source: only then does accuracy measure the task. If the network has learnt "
            "little, train it further."
            if several
            else "Train the network further, or correct its labels or preprocessing: it is not better than naming one class."
        )
        yield Step(about="Accuracy", images=(), text=text, command="")


def _found(run: RunView, effect: Effect) -> Step:
    declared = run.planned(effect.condition).declared
    concerned = [text for content, text in _REMEDIES.items() if declared.concerns(content)]
    suspect = run.suspect(effect.condition)
    other = f"Collect or preprocess images so that {suspect} does not differ between the classes; then train again."
    images = _images(run, effect)
    command = f"audit case RUN {images[0][1]}" if images else AUDIT
    return Step(
        about=_topic(run, effect),
        images=images,
        text=concerned[0] if concerned else other,
        command=command,
        does="lists its predictions under every edit" if images else _REPEATS,
    )


def _undecided(run: RunView, effect: Effect) -> Step:
    needed, does = effect.patients_to_decide, _WITH_THEM
    if effect.blind and is_within(effect):
        text, does = f"The predictions hardly vary. {CHECK_DECLARED}", _REPEATS
    elif effect.classes_absent and not needed:
        text = f"Add images of class {' and '.join(effect.classes_absent)} that this edit applies to."
    elif needed and needed <= OUT_OF_REACH * effect.n_patients:
        text = (
            f"About {needed:,} patients would decide if the estimate stays the same; this estimate is based on {effect.n_patients:,}. Add "
            "images of further patients."
        )
    elif needed:
        does = ""
        text = (
            f"The estimate is so close to the limit that more than {OUT_OF_REACH} times as many patients would be needed to decide "
            f"({effect.n_patients:,} now). Treat the question as open, and say so where the network is used."
        )
    else:
        does = ""
        text = "The estimate equals the limit, so no number of patients would decide. Decide whether the limit is the right one."
    return Step(
        about=_topic(run, effect),
        images=_images(run, effect),
        text=text,
        command=AUDIT if does else "",
        does=does,
    )


def _undecided_groups(run: RunView, said: Sequence[Statement]) -> Iterator[Step]:
    """Yield one step, with a table, for the undecided groups: those nearest to a finding, of suspects that are not found already."""
    if run.verdict.status == "incomplete":
        return
    found = {run.suspect(s.effect.condition) for s in said if s.kind == "found" and s.effect is not None}
    judged = [row.effect for kind in JUDGED_COLUMNS for row in judged_groups(run, kind)]
    open_ = [
        e
        for e in judged
        if e.verdict == "inconclusive" and e.estimate is not None and run.suspect(e.condition) not in found
        if not (e.blind and is_within(e))
    ]
    # Of a group the edit that comes nearest to a finding.
    nearest: dict[Group, Effect] = {}
    for e in sorted(open_, key=lambda e: -(e.estimate or 0.0)):
        nearest.setdefault(e.group, e)
    if not nearest:
        return
    shown = list(nearest.values())[:_MOST_GROUPS]
    more = len(nearest) - len(shown)
    rest = f" The section Groups lists {counted(more, 'more group')}." if more else ""
    yield Step(
        about="Undecided groups",
        images=_images(run, shown[0]),
        text=f"Collect images of patients of the groups in the table.{rest}",
        command=AUDIT,
        does=_WITH_THEM,
        groups=tuple(_open_group(run, e) for e in shown),
    )


def _open_group(run: RunView, effect: Effect) -> OpenGroup:
    needed = effect.patients_to_decide
    return OpenGroup(
        images=capital(place(effect.group)),
        edit=run.title(effect.condition),
        shift=points(effect.estimate),
        interval=points_interval(effect).strip("()"),
        n_patients=effect.n_patients,
        needed="no number: the estimate equals the limit"
        if not needed
        else f"more than {OUT_OF_REACH} times as many"
        if needed > OUT_OF_REACH * effect.n_patients
        else f"about {needed:,}",
    )


def _silent(run: RunView, effect: Effect | None) -> Step:
    why = ""
    if effect is not None:
        lacks = run.planned(effect.condition).cohort_lacks
        reasons = run.uses[effect.condition].not_applied
        why = f"the cohort has no {lacks}" if lacks else max(reasons, key=lambda r: reasons[r], default="")
    reason = f"The reason: {why}. " if why else ""
    return Step(
        about=_topic(run, effect) if effect is not None else "Edits",
        images=(),
        text=f"{reason}Add what is missing to the images or the manifest.",
        command="audit plan --model MODEL --data MANIFEST",
        does="lists what these images lack, without running the audit",
    )


def _calibrate(run: RunView) -> Iterator[Step]:
    if run.verdict.status != "incomplete" and (run.verdict.calibration or NOT_MEASURED) == NOT_MEASURED:
        yield Step(
            about="Detection rate",
            images=(),
            text="Measure how often this audit finds a shortcut that is planted in your own data.",
            command="audit calibrate --model MODEL --data MANIFEST",
            does="audits copies of the network that were taught a known shortcut",
        )


def _topic(run: RunView, effect: Effect) -> str:
    alone = " alone" if run.planned(effect.condition).role == "sufficiency" else ""
    return capital(f"{run.suspect(effect.condition)}{alone}")


def _images(run: RunView, effect: Effect) -> tuple[tuple[int, str], ...]:
    """Return the cases of an effect's condition, those of its class first, the largest change first."""
    mine = [e for e in run.examples if e["condition"] == effect.condition]
    if effect.group != ALL and effect.group.kind == "class":
        mine = [e for e in mine if e["label"] == effect.group.value]
    mine.sort(key=lambda e: -e["total_variation"])
    return tuple((e["case"], e["record"]) for e in mine[:_MOST_IMAGES])
