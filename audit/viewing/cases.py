"""One image of a finished run: what was predicted under every condition, how far that moved, and the text that was read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audit.data.groups import age_band
from audit.data.plan import Plan, PlannedCondition
from audit.data.strings import shown_string
from audit.errors import StoreError, UnknownNameError, UsageError, near_names
from audit.prediction.rows import prediction_parts, prediction_rows
from audit.run.case_choice import moved_by
from audit.store.folder import RunFolder
from audit.store.pictures import ExamplesDocument

MIN_DIGITS = 4
"""Of a name that is given by its beginning."""
_COLUMNS = (
    "record_id",
    "condition",
    "draw",
    "applied",
    "why_not",
    "donor",
    "changed_share",
    "predicted",
    "probabilities",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRow:
    """The image under one draw of one condition."""

    condition: str
    """The condition."""
    title: str
    """Its name for people."""
    role: str
    """What it is for."""
    draw: int
    """The draw, from 0."""
    applied: bool
    """Whether the condition applies to the image."""
    why_not: str
    """Why it does not; empty where it does."""
    predicted: str
    """The winning class, or the findings above their operating points."""
    probabilities: dict[str, float]
    """Class -> probability."""
    change: float | None
    """How far the probabilities lie from those of the unedited image (total variation; of a multi-label network the largest difference);
    null where the condition was not applied."""
    placebo: str | None
    """The condition's placebo; null where it has none."""
    placebo_change: float | None
    """The same for the placebo, on average over its draws; null where none was applied."""
    changed_share: float
    """Share of the pixels that the edit changed."""
    donor: str
    """Name of the image that the edit was taken from; empty where it was taken from none."""

    @property
    def beyond(self) -> float | None:
        """How much further the condition moved the probabilities than its placebo."""
        return None if self.change is None or self.placebo_change is None else self.change - self.placebo_change


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseText:
    """A text region, in pixels of the image."""

    x0: int
    """Left edge."""
    y0: int
    """Upper edge."""
    x1: int
    """Right edge."""
    y1: int
    """Lower edge."""
    text: str
    """What was read; empty where it may not be shown, or nothing was read."""
    withheld: bool
    """Whether it was read and may not be shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image of a run, with nothing that names a person."""

    image: str
    """Its name in the run."""
    place: int
    """Its place in the run's order."""
    label: str
    """Its true class."""
    source: str
    """Its source."""
    facts: dict[str, str]
    """What else is known of it: site, view, sex, band of age; only what is."""
    rows: tuple[CaseRow, ...]
    """By condition and draw."""
    texts: tuple[CaseText, ...]
    """The text that was found."""
    examples: tuple[tuple[int, str], ...]
    """(number, condition) of its cases in report.html."""

    def row(self, condition: str, draw: int | None = None) -> CaseRow | None:
        """Return the row of a condition: of a draw, else of the one that moved the prediction most."""
        found = [r for r in self.rows if r.condition == condition and draw in (None, r.draw)]
        return max(found, key=lambda r: (r.applied, r.change or 0.0, -r.draw), default=None)

    def placebo_of(self, row: CaseRow) -> CaseRow | None:
        """Return the placebo that is shown beside a row: of the same draw, else the first that was applied; None where there is none."""
        found = [r for r in self.rows if row.placebo is not None and r.condition == row.placebo]
        return min(found, key=lambda r: (not r.applied, r.draw != row.draw, r.draw), default=None)

    def most_moved(self) -> CaseRow | None:
        """Return the edit that moved the prediction most; None where none was applied."""
        return max(
            (r for r in self.rows if r.role == "edit" and r.applied), key=lambda r: r.change or 0.0, default=None
        )


def find_image(path: Path, known: Sequence[str], asked: str, *, plain: bool) -> str:
    """Return the name of an image of a run that is asked for by its name or the beginning of it.

    Parameters
    ----------
    path : Path
        The run, for messages.
    known : sequence of str
        Names of its images.
    asked : str
        Hostile; names differ from one another in case only where they are ids.
    plain : bool
        Whether names are ids, which are never given by their beginning.

    Raises
    ------
    UsageError
        If no image, or more than one, is called so; the nearest names are suggested.
    """
    if asked in known:
        return asked
    begun = [name for name in known if name.startswith(asked.lower())] if not plain and len(asked) >= MIN_DIGITS else []
    if len(begun) == 1:
        return begun[0]
    near = begun[:3] or near_names(asked[:200], known)
    hint = f" Did you mean {', '.join(shown_string(name, 80) for name in near)}?" if near else ""
    said = "no image" if not begun else f"{len(begun)} images"
    raise UsageError(
        f"{path} has {said} called {shown_string(asked)!r}.{hint} Pseudonyms are next to each picture of the report and in the column "
        f"record_id of records.parquet; give one, or at least its first {MIN_DIGITS} digits."
    )


def known_condition(conditions: Sequence[str], asked: str | None) -> None:
    """Make sure that a run has the condition that is asked for, if any is.

    Raises
    ------
    UnknownNameError
        If the run has none of that name; the nearest are suggested.
    """
    if asked is not None and asked not in conditions:
        raise UnknownNameError("condition of the run", asked, conditions)


def command_for(run: str, image: str, condition: str) -> str:
    """Return the command that opens the page of an image under a condition."""
    further = ["--condition", condition] if condition else []
    return shlex.join(["audit", "view", run, "--case", image, *further])


def read_case(path: Path, image: str) -> Case:
    """Read one image of a finished run.

    Parameters
    ----------
    path : Path
        The run.
    image : str
        Name of an image that it has.

    Raises
    ------
    StoreError
        If a file of the run is missing or damaged.
    """
    run = RunFolder(path)
    plan = run.read(Plan)
    multi_label = plan.model.task == "multi-label"
    columns = ["record_id", "label", "source", "site", "view", "sex", "age"]
    records = list(run.read_rows("records.parquet", columns))
    place = next(i for i, row in enumerate(records) if row["record_id"] == image)
    found = records[place]
    age = age_band(found["age"])
    facts = {"site": found["site"], "view": found["view"], "sex": found["sex"], "age": age if age != "unknown" else ""}
    texts = run.read_rows("regions.parquet", ["record_id", "x0", "y0", "x1", "y1", "text", "withheld"])
    examples = run.read(ExamplesDocument).examples if run.has(ExamplesDocument.FILE) else ()
    parts = prediction_parts(run)
    stored: list[dict[str, object]] = []
    for part in _nearest_first(parts, place, len(records)):
        stored = [
            row
            for row in prediction_rows(run, plan.model.classes, _COLUMNS, parts=[part], multi_label=multi_label)
            if row.pop("record_id") == image
        ]
        if stored:  # a record lies in one part, with all its conditions
            break
    return Case(
        image=image,
        place=place,
        label=found["label"],
        source=found["source"],
        facts={name: value for name, value in facts.items() if value},
        rows=tuple(_rows(path, plan, stored, multi_label=multi_label)),
        texts=tuple(
            CaseText(**{key: row[key] for key in CaseText.__slots__}) for row in texts if row["record_id"] == image
        ),
        examples=tuple((e.case, e.condition) for e in examples if e.record == image),
    )


def _nearest_first(parts: Sequence[str], place: int, n_records: int) -> list[str]:
    """Return the tables of predictions, first those that a record at a place is likely to lie in."""
    likely = place * len(parts) // max(n_records, 1)
    return [parts[i] for i in sorted(range(len(parts)), key=lambda i: abs(i - likely))]


def _rows(path: Path, plan: Plan, stored: Sequence[dict[str, object]], *, multi_label: bool) -> Iterator[CaseRow]:
    planned = {c.name: c for c in plan.suite.conditions}
    foreign = next((str(row["condition"]) for row in stored if row["condition"] not in planned), None)
    if foreign is not None:
        raise StoreError(
            f"The run {path} has a prediction under {shown_string(foreign)}, which is no condition of its plan. The run was edited. Run "
            "the audit again."
        )
    clean = next((np.array(row["probabilities"]) for row in stored if row["condition"] == "clean"), None)
    moved: dict[tuple[object, object], float] = {}
    for row in stored:
        if row["applied"] and clean is not None:
            moved[row["condition"], row["draw"]] = float(
                moved_by(np.array(row["probabilities"]), clean, exclusive=not multi_label)
            )
    for row in stored:
        condition: PlannedCondition = planned[str(row["condition"])]
        of_placebo = [change for (name, _), change in moved.items() if name == condition.placebo]
        yield CaseRow(
            condition=condition.name,
            title=shown_string(condition.title, 80),
            role=condition.role,
            draw=row["draw"],  # type: ignore[arg-type]
            applied=bool(row["applied"]),
            why_not=shown_string(str(row["why_not"]), 300),
            predicted=str(row["predicted"]),
            probabilities=dict(zip(plan.model.classes, row["probabilities"], strict=True)),  # type: ignore[call-overload]
            change=moved.get((row["condition"], row["draw"])),
            placebo=condition.placebo,
            placebo_change=float(np.mean(of_placebo)) if of_placebo else None,
            changed_share=float(row["changed_share"]),  # type: ignore[arg-type]
            donor=str(row["donor"] or ""),
        )
