"""What changed since an earlier run or the baseline: paired differences of effects, and the figures on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from audit.baseline.comparison import Baseline
from audit.reports.findings.effect_words import estimate
from audit.reports.findings.group_effects import place
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.statistics.selections import comparable, figure_in_words
from audit.store.group import ALL, Group
from audit.store.numbers import counted, signed_bracketed
from audit.store.results import Effect

Outcome = Literal["worse", "better", "not significant", "no estimate", "not comparable"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure, compared image by image."""

    condition: str
    """The condition, as files name it."""
    title: str
    """The same for people."""
    group: Group
    """Which images."""
    measure: str
    """Name of the measure."""
    effect: Effect | None
    """Run minus baseline; None where the two are not comparable."""
    why_not: str
    """Why not; empty where they are."""
    before: Effect | None
    """The figure of the earlier run; None where only a baseline file is known."""
    now: Effect | None
    """The figure of the run."""

    @property
    def figure(self) -> str:
        """The figure in words."""
        return figure_in_words(self.measure, self.condition)

    @property
    def where(self) -> str:
        """The condition, and the images where they are not all."""
        return self.title if self.group == ALL else f"{self.title}, {place(self.group)}"

    @property
    def words(self) -> str:
        """The change in words, or why there is none."""
        if self.effect is None:
            return f"not comparable: {self.why_not}"
        e = self.effect
        if e.estimate is None or e.low is None or e.high is None:
            return e.method
        return f"{signed_bracketed(e.estimate, e.low, e.high)}, {counted(e.n_images, 'image')}"

    @property
    def outcome(self) -> Outcome:
        """Whether the interval excludes no change, and which way that is; each interval by itself."""
        e = self.effect
        if e is None:
            return "not comparable"
        if e.estimate is None or e.low is None or e.high is None:
            return "no estimate"
        if e.low <= 0 <= e.high:
            return "not significant"
        rises = e.low > 0
        if MEASURES[self.measure].better != "near 0":
            return "worse" if rises != MEASURES[self.measure].falls else "better"
        sides = [None if f is None else f.estimate for f in (self.before, self.now)]
        if sides[0] is None or sides[1] is None:  # of a pinned value only the change is known
            return "worse" if rises else "better"
        return "worse" if abs(sides[1]) > abs(sides[0]) else "better"


def changes_since(run: RunView, baseline: Baseline, before: RunView | None) -> list[Change]:
    """Return the change of the accuracy and of every judged effect, in the order of the run.

    Parameters
    ----------
    run : RunView
        The run at hand.
    baseline : Baseline
        Compares it with an earlier one.
    before : RunView or None
        The earlier run, for its own figures; None where it is a baseline file.

    Raises
    ------
    StoreError
        If the baseline cannot be read, or was edited.
    """
    judged = [e for e in run.effects if e.tolerance is not None and e.measure in comparable()]
    asked = [("clean", ACCURACY, ALL), *((e.condition, e.measure, e.group) for e in judged)]
    return [_change(run, baseline, before, *what) for what in asked]


def _change(
    run: RunView, baseline: Baseline, before: RunView | None, condition: str, measure: str, group: Group
) -> Change:
    found = baseline.change(condition, measure, group)
    return Change(
        condition=condition,
        title=run.title(condition),
        group=group,
        measure=measure,
        effect=None if isinstance(found, str) else found,
        why_not=found if isinstance(found, str) else "",
        before=None if before is None else _figure(before, condition, measure, group),
        now=_figure(run, condition, measure, group),
    )


def _figure(run: RunView, condition: str, measure: str, group: Group) -> Effect | None:
    """Return the figure that is compared: beyond the placebo where the condition has one."""
    return run.find(condition, measure, group, controlled=True) or run.find(condition, measure, group)


def figure_of(effect: Effect | None) -> str:
    """Return the figure of one side in words."""
    return estimate(effect) if effect is not None else "–"


def changes_sentence(changes: Sequence[Change]) -> str:
    """Count the changes by outcome, in a sentence."""
    outcomes = [c.outcome for c in changes]
    said: dict[Outcome, str] = {
        "worse": "significantly worse",
        "better": "significantly better",
        "not significant": "without a significant change",
        "no estimate": "without an estimate",
        "not comparable": "not comparable",
    }
    parts = [f"{n} {words}" for outcome, words in said.items() if (n := outcomes.count(outcome))]
    alone = "Each interval stands alone, without correction for multiple comparisons."
    return f"Of {counted(len(changes), 'figure')}: {', '.join(parts)}. {alone}"


def reasons(changes: Sequence[Change]) -> list[str]:
    """Return why figures cannot be compared, each reason once."""
    return list(dict.fromkeys(c.why_not for c in changes if c.why_not))
