"""What a rendering may show of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.data.plan import Plan, PlannedCondition
from audit.data.strings import shown_string
from audit.gates.rules import GateConfig
from audit.reports.reading.clauses import clause
from audit.statistics.catalogue import ACCURACY
from audit.statistics.selections import headlines
from audit.store.controls import PlantedCheck
from audit.store.group import ALL, Group
from audit.store.levels import LevelsDocument
from audit.store.pictures import MovedDocument
from audit.store.probe import SourceProbe
from audit.store.recomputation import Recomputation
from audit.store.relevance import RelevanceSummary
from audit.store.results import ConditionUse, DoseTrend, Effect
from audit.store.review import Review
from audit.store.run_record import RunRecord
from audit.store.verdict import Verdict

PICTURES = ("clean", "edit", "placebo", "difference", "overlay")
"""Of a case; not every case has a placebo, or an `overlay`, which is its relevance."""
MOST_CASES = 150
"""Largest number of cases in a report: more would not be viewed, and a page with thousands does not open."""


@dataclass(frozen=True, kw_only=True)
class WordCount:
    """One string that occurs on images."""

    text: str
    """As the engine read it; hostile until escaped."""
    by_class: Mapping[str, int]
    """Class -> images that carry it."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """Everything that a rendering may show."""

    path: Path
    """The run folder."""
    plan: Plan
    """plan.json."""
    run: RunRecord
    """run.json."""
    verdict: Verdict
    """verdict.json."""
    judged_by: GateConfig
    """What the run was last judged by."""
    effects: tuple[Effect, ...]
    """effects.json."""
    trends: tuple[DoseTrend, ...]
    """The same file's trends of ladders; empty where no ladder was tested."""
    uses: Mapping[str, ConditionUse]
    """conditions.json, by condition."""
    probe: SourceProbe
    """source_probe.json."""
    levels: LevelsDocument | None
    """levels.json; None in runs that measured none."""
    confusion: Mapping[str, Mapping[str, int]]
    """True class -> predicted class -> clean images."""
    words: tuple[WordCount, ...]
    """The strings on most images."""
    images_with_text: Mapping[str, tuple[int, int]]
    """Class -> (images with text, images)."""
    relevance: tuple[Mapping[str, Any], ...]
    """Rows of relevance.parquet, with the label of each image; empty where there is none."""
    relevance_summary: RelevanceSummary | None
    """relevance.json; None where there is none."""
    planted: tuple[PlantedCheck, ...]
    """controls.json: what the audit said of effects that it made itself; empty in runs that made none."""
    clusters: tuple[Mapping[str, Any], ...]
    """clusters.json, with every picture as a data URI."""
    suspects: tuple[Mapping[str, Any], ...]
    """objects/suspects.json, with every picture as a data URI; empty in runs that proposed none."""
    examples: tuple[Mapping[str, Any], ...]
    """examples.json up to `MOST_CASES`, with every picture as a data URI; None in place of one that is gone."""
    thumbnails: Mapping[str, Mapping[str, Any]]
    """Condition -> what it does to an image, with both pictures as data URIs; conditions that were never applied have none."""
    moved: MovedDocument | None
    """examples/moved.json: the most moved images; None in runs that judged no edit."""
    n_examples: int
    """Cases in the run folder, of which `examples` may be the first."""
    markers: tuple[Mapping[str, Any], ...]
    """markers.json: crops of the commonest strings by class, with data URIs; empty in runs that drew none."""
    reviews: tuple[Review, ...]
    """signoff.json: what reviewers said; empty before the first review."""
    recomputed: Recomputation | None
    """recomputed.json: what `audit verify --recompute` found last; None before it was used."""
    problems: tuple[str, ...]
    """How the folder differs from what the run left; empty if it does not."""

    @property
    def multi_label(self) -> bool:
        """Whether each output of the network is a finding of its own."""
        return self.plan.model.task == "multi-label"

    def find(self, condition: str, measure: str, group: Group = ALL, *, controlled: bool = False) -> Effect | None:
        """Return one effect; the placebo-controlled one if asked for."""
        for effect in self.effects:
            found = (effect.condition, effect.measure, effect.group) == (condition, measure, group)
            if found and (effect.placebo is not None) == controlled:
                return effect
        return None

    def judged(self) -> list[PlannedCondition]:
        """Return the suite's edits and sufficiency conditions that are held against a tolerance."""
        return [c for c in self.plan.suite.conditions if c.role in headlines() and c.dose is None]

    def measured(self) -> list[PlannedCondition]:
        """Return the conditions that are measured, not judged: stresses and the rungs of ladders."""
        conditions = self.plan.suite.conditions
        return [c for c in conditions if c.role == "stress" or (c.role in headlines() and c.dose is not None)]

    def headline(self, role: str = "") -> list[Effect]:
        """Return the headline effect of every judged condition (of one role, if asked for), the largest first."""
        wanted = {c.name: headlines()[c.role] for c in self.judged() if role in ("", c.role)}
        found = [
            e for e in self.effects if e.group == ALL and e.placebo is not None and wanted.get(e.condition) == e.measure
        ]
        return sorted(found, key=lambda e: -(e.estimate if e.estimate is not None else -9.0))

    def measured_headline(self) -> list[Effect]:
        """Return the accuracy and every headline effect, of those the measured ones."""
        found = [self.find("clean", ACCURACY), *self.headline()]
        return [e for e in found if e is not None and e.estimate is not None]

    def planned(self, condition: str) -> PlannedCondition:
        """Return a condition as the plan states it."""
        return next(c for c in self.plan.suite.conditions if c.name == condition)

    def suspect(self, condition: str) -> str:
        """Return what the network would be reading if this condition gave it away."""
        return self.planned(condition).suspect

    def title(self, condition: str) -> str:
        """Return the name of a condition for people, fit to be printed."""
        return shown_string(self.planned(condition).title)

    @property
    def titles(self) -> dict[str, str]:
        """Return the name for people of every condition."""
        return {c.name: shown_string(c.title) for c in self.plan.suite.conditions}

    def when(self, condition: str) -> str:
        """Return what it does to an image as a clause of a sentence: "when the text is inpainted"."""
        return clause(self.title(condition))

    def quoted(self, condition: str) -> str:
        """Return its name as a sentence quotes it: "“Text inpainted”"."""
        return f"“{self.title(condition)}”"
