"""How a run was judged: one record a gate, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.store.numbers import compact

Status = Literal["pass", "fail", "inconclusive", "not comparable", "incomplete", "not gated"]
"""Of a run; incomplete: a control changed something, so the audit cannot be trusted and nothing else of it counts."""
GateStatus = Literal["pass", "fail", "inconclusive", "not comparable", "not judged", "incomplete"]
"""Of a gate; not comparable: the baseline rests on other images, another suite or another version, or none is named; not judged:
the baseline that the configuration names does not exist yet, as in the first run."""
Policy = Literal["block", "fail", "pass"]
Weight = Literal["none", "note", "warning", "error"]
_UNDECIDED: Mapping[Policy, Weight] = {"block": "warning", "fail": "error", "pass": "note"}


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """One rule, judged."""

    id: str
    """The rule's stable name."""
    measure: str
    """What it limits."""
    where: str
    """Condition and group that it applies to, for people."""
    operator: str
    """How the value must relate to `expected`."""
    expected: float
    """The limit."""
    actual: float | None
    """The estimate."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""
    n_images: int
    """Images behind it."""
    level: Literal["error", "warn"]
    """warn never changes the run's status."""
    status: GateStatus
    """The judgement."""
    reason: str
    """The reason in words, and what would decide it."""
    rule: str = ""
    """Id of the rule in the configuration; a rule for several conditions gives a result for each."""
    against: Literal["limit", "baseline"] = "limit"
    """limit: the measure itself is compared with the limit; baseline: its change from the baseline."""
    undecided: Policy = "block"
    """Effect on the run's status if it is inconclusive and of level error: block, fail, or pass."""
    figure: str = ""
    """The figure in words where it is not the measure itself: "change in accuracy" under an edit."""
    condition: str = ""
    """Condition that it applies to, as suites and the other files name it."""
    title: str = ""
    """The same for people."""

    @property
    def name(self) -> str:
        """Its name for people: of a rule of the default rules what it limits, of a rule of the user's its id and the condition."""
        if not self.title or not self.condition or self.condition not in self.id:
            return self.id
        if self.rule and self.rule != self.id:
            return f"{self.rule} ({self.title})"
        what = self.measure.replace("_", " ")
        return f"{'change in ' if self.against == 'baseline' else ''}{what}: {self.title}"

    @property
    def requirement(self) -> str:
        """What must be so, in words: which figure is bounded, and by what."""
        figure = self.figure or self.measure.replace("_", " ")
        if self.against == "baseline":
            way = "rise" if self.operator == "<=" else "fall"
            return f"{way} in {figure} since the baseline at most {compact(abs(self.expected))}"
        return f"{figure} at {'most' if self.operator == '<=' else 'least'} {compact(self.expected)}"

    @property
    def weight(self) -> Weight:
        """How heavily a CI must take it: an error fails the run, a warning leaves it undecided, a note changes nothing."""
        if self.status == "pass":
            return "none"
        if self.level == "warn" or self.status == "not judged":
            return "note"
        if self.status != "inconclusive":
            return "error"
        return _UNDECIDED[self.undecided]

    @property
    def outcome(self) -> str:
        """The judgement in words: its status, and whether it is let through."""
        if self.weight != "note" or self.status == "not judged":
            return self.status
        return f"{self.status} ({'warning only' if self.level == 'warn' else 'allowed by the policy'})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The judgement of a run."""

    status: Status
    """Over all error-level gates; `not gated` where none was asked for; `incomplete` where a control failed."""
    summary: str
    """The result of the rules in words, without the status, which is given separately. Never "no problems found"."""
    gates: tuple[GateResult, ...]
    """Every gate; of an incomplete run the controls that failed, and nothing else."""
    tested: tuple[str, ...] = ()
    """Shortcuts of which an effect was judged (`audit.gates.scope`)."""
    not_tested: tuple[str, ...] = ()
    """Shortcuts of which nothing is known: a pass does not speak of them."""
    searched: tuple[str, ...] = ()
    """Shortcuts that were searched for and not found, so that no edit could test them."""
    caveats: tuple[str, ...] = ()
    """What makes every figure of the run doubtful, such as images that trained the network."""
    calibration: str = ""
    """How often the audit finds shortcuts in this network and data, in one sentence (`audit calibrate`), or that this was not measured."""
