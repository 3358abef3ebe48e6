"""Matching: each rule with the effects that it applies to.

A rule is judged on the placebo-controlled effect where the condition has a placebo, else on the raw one. A group that is too
small to be reported has no estimate, which is never a pass; a rule that matches no effect is a mistake in the configuration.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from audit.errors import UnknownNameError, UsageError
from audit.gates.groups import EVERY, covers, edits_without_group, is_pattern, looks_at, may_be_absent, why_absent
from audit.gates.rules import Rule
from audit.store.group import ALL, Group
from audit.store.results import Effect

Compare = Callable[[str, str, Group], "Effect | str"]
"""(condition, measure, group) -> how much larger it is than in the baseline, or why the two are not comparable."""
NO_BASELINE = "no baseline is named; use --baseline RUN or FILE, or set baseline in [gate]"
"""Why a rule against the baseline is not comparable where none is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstRun:
    """Placeholder for a baseline that the configuration names but that has not been accepted yet."""

    baseline: str
    """The file that will contain it."""
    run: str
    """The current run, as a path for the command line."""

    @property
    def words(self) -> str:
        """State what is missing, and the command that creates it."""
        command = shlex.join(["audit", "baseline", "accept", self.run])
        return f"The baseline {self.baseline} does not exist yet. `{command}` accepts this run as the baseline."


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """One rule applied to one effect."""

    name: str
    """Of the gate; a rule for every group of a kind is one gate, whose places share it."""
    rule: Rule
    """The rule."""
    effect: Effect
    """What it is applied to: the effect, or its change from the baseline."""
    why_not: str
    """Why there is nothing to compare with; empty where there is."""
    first: bool = False
    """There is no baseline yet, so the rule is not judged."""


def match_rules(rules: Sequence[Rule], effects: Sequence[Effect], compare: Compare | FirstRun | None) -> list[Match]:
    """Find the effects that each rule applies to.

    Parameters
    ----------
    rules : sequence of Rule
        Without a condition, a rule applies to every edit that has its measure.
    effects : sequence of Effect
        The run's effects.
    compare : callable, FirstRun or None
        Comparison for rules against the baseline; None where no baseline is named.

    Raises
    ------
    UnknownNameError
        If a rule names a condition or group that the run does not have.
    UsageError
        If a rule matches no effect, or two gates would have one name.
    """
    matches = [match for rule in rules for match in _matched(rule, effects, compare)]
    named = Counter(name for name, _ in {(match.name, match.rule.id) for match in matches})
    twice = sorted(name for name, n in named.items() if n > 1)
    if twice:
        raise UsageError(
            f"Two gates are called {twice[0]!r}: a rule's id, and another's with its condition. Rename one."
        )
    return matches


def _matched(rule: Rule, effects: Sequence[Effect], compare: Compare | FirstRun | None) -> list[Match]:
    """Find each effect that a rule applies to; an effect that cannot be compared is never a pass."""
    found: list[Match] = []
    for effect in _effects_of(rule, effects):
        # Named by its condition wherever there may be several: otherwise a new edit would rename an existing gate.
        alone = rule.condition is not None or is_pattern(rule.group)  # for `*` only the most extreme effect is reported
        name, why_not, held = rule.id if alone else f"{rule.id}-{effect.condition}", "", effect
        first = isinstance(compare, FirstRun) and rule.against == "baseline"
        if rule.against == "baseline":
            changed: Effect | str
            if isinstance(compare, FirstRun):
                changed = compare.words
            else:
                changed = compare(effect.condition, rule.measure, effect.group) if compare else NO_BASELINE
            if isinstance(changed, str):
                why_not, changed = changed, replace(effect, estimate=None, low=None, high=None, method=changed)
            held = replace(changed, classes_absent=effect.classes_absent)
        found.append(Match(name=name, rule=rule, effect=held, why_not=why_not, first=first))
    return found


def placebos_of(effects: Sequence[Effect]) -> set[str]:
    """Return the conditions that only serve as a comparison, so that no rule applies to them.

    Of two fills that are compared with each other, each has a placebo of its own.
    """
    compared = {e.condition for e in effects if e.placebo is not None}
    return {e.placebo for e in effects if e.placebo is not None} - compared


def _effects_of(rule: Rule, effects: Sequence[Effect]) -> list[Effect]:
    """Find one effect for each condition and group that the rule applies to, the controlled one where there is one."""
    placebos = placebos_of(effects)
    if rule.condition in (None, EVERY):
        candidates = [e for e in effects if e.condition != "clean" and e.condition not in placebos]
    else:
        candidates = [e for e in effects if e.condition == rule.condition]
        if not candidates:
            raise UnknownNameError(f"condition (gate rule {rule.id!r})", rule.condition, {e.condition for e in effects})
    judged_only = rule.condition == EVERY
    candidates = [e for e in candidates if e.measure == rule.measure and (e.family == "declared" or not judged_only)]
    groups = {e.group for e in effects}
    known = any(covers(rule.group, group) for group in groups)
    if not known and not may_be_absent(rule.group):
        raise UnknownNameError(f"group (gate rule {rule.id!r})", str(rule.group), map(str, groups))
    chosen: dict[tuple[str, Group], Effect] = {}
    for effect in candidates:
        place = effect.condition, effect.group
        if looks_at(rule.group, effect) and (effect.placebo is not None or place not in chosen):
            chosen[place] = effect
    if chosen or any(e.group == ALL for e in candidates):
        # A group of too few patients has no entry; that is never a pass.
        excused = edits_without_group(rule.group, effects) if rule.condition in (None, EVERY) else frozenset()
        told = {condition for condition, _ in chosen}
        for effect in candidates:
            if effect.condition not in told | excused:
                chosen.setdefault((effect.condition, rule.group), _too_few(effect, rule.group))
    if not chosen:
        places = sorted({e.condition for e in effects if e.measure == rule.measure})
        looked = "any judged edit" if judged_only else rule.condition or "any edit"
        raise UsageError(
            f"Gate rule {rule.id!r} matches no effect: {rule.measure} is not measured under {looked}. It is measured under: "
            f"{', '.join(places) or 'no condition of this run'}. "
            'Name one with where = { condition = "..." }.'
        )
    return list(chosen.values())


def _too_few(effect: Effect, group: Group) -> Effect:
    why = f"no estimate: {why_absent(group)}"
    empty = replace(effect, group=group, estimate=None, low=None, high=None, n_images=0, n_patients=0, method=why)
    return replace(empty, simultaneous_low=None, simultaneous_high=None)
