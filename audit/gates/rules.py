"""The rules of a gate, read from a configuration and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from audit.errors import UnknownNameError, UsageError, shown_value
from audit.gates.groups import EVERY, EVERY_JUDGED, read_group
from audit.statistics.catalogue import MEASURES
from audit.statistics.selections import comparable, headline_of
from audit.store.group import ALL, Group
from audit.store.verdict import Policy

Operator = Literal["<=", ">="]
Against = Literal["limit", "baseline"]
FirstRunPolicy = Literal["skip", "refuse"]
Correction = Literal["holm", "none"]
Evidence = Literal["interval", "point"]
_GATE_KEYS = ("inconclusive", "min_images", "baseline", "first_run", "correction", "rule")
_LIMITS: Mapping[str, tuple[Operator, Against]] = {
    "max": ("<=", "limit"),
    "min": (">=", "limit"),
    "max_increase": ("<=", "baseline"),
    "max_decrease": (">=", "baseline"),
}
_RULE_KEYS = ("id", "measure", "where", *_LIMITS, "level", "evidence", "inconclusive", "if_exceeded", "reason")
_WHERE_KEYS = ("condition", "group")
_LARGEST_LIMIT = 1e6
_POLICIES = ("block", "fail", "pass")
_LEVELS = ("error", "warn")
_CORRECTIONS = ("holm", "none")
_FIRST_RUN = ("skip", "refuse")
_EVIDENCE = ("interval", "point")
_IF_EXCEEDED = ("fail", "inconclusive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One limit on one measure."""

    id: str
    """Stable, kebab-case, unique."""
    measure: str
    """One of `audit.statistics.catalogue.MEASURES`."""
    operator: Operator
    """`<=` where the limit is a maximum, `>=` where it is a minimum."""
    limit: float
    """In the measure's own unit; negative for a decrease from the baseline."""
    against: Against = "limit"
    """limit: the rule limits the measure itself; baseline: its change from the baseline."""
    condition: str | None = None
    """Condition that it applies to; None for every edit that has the measure, each a gate; `*` for every judged one, together
    a gate."""
    group: Group = ALL
    """The images that it is about, strings in capitals; or every group of a kind: `column=*`, or `*` for classes and words."""
    level: Literal["error", "warn"] = "error"
    """A warning never changes the run's status."""
    evidence: Evidence = "interval"
    """interval: the whole interval must lie on one side of the limit; point: the estimate alone is compared with it."""
    inconclusive: Policy | None = None
    """Effect of an undecided result; None for the policy of the whole gate."""
    if_exceeded: Literal["fail", "inconclusive"] = "fail"
    """Outcome where the limit is exceeded; inconclusive for a rule about what the data can show."""
    reason: str = ""
    """Reason for this limit, in the words of its author."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """The `[gate]` table of `audit.toml`."""

    rules: tuple[Rule, ...]
    """In the order of the file; empty for the default rules."""
    inconclusive: Policy = "block"
    """What an undecided error-level rule does: block (exit 3), fail (exit 1) or pass (exit 0)."""
    min_images: int = 0
    """With fewer images a rule is inconclusive."""
    baseline: str = ""
    """What `max_increase` and `max_decrease` compare with: a run folder, or a file of `audit baseline accept`; empty where
    none is named."""
    first_run: FirstRunPolicy = "skip"
    """If the baseline file does not exist yet: skip the rules that need it, or refuse to run."""
    correction: Correction = "holm"
    """holm: the probability of any false failure is at most 1 - level; none: each rule is judged alone."""


def rules_from_config(table: Mapping[str, Any]) -> GateConfig:
    """Read the `[gate]` table of a configuration.

    Parameters
    ----------
    table : mapping
        `inconclusive`, `min_images`, `baseline`, `first_run`, `correction` and `rule`, a list of tables with `id`, `measure`, one of `max`,
        `min`, `max_increase`, `max_decrease`, and optionally `where = {condition, group}`, `level`, `evidence`, `reason`.

    Raises
    ------
    UnknownNameError
        If a key, measure, level or policy is not known; the nearest known names are suggested.
    UsageError
        If a value has the wrong type, a rule lacks something, or an id comes twice.
    """
    if not isinstance(table, Mapping):
        raise UsageError("[gate] must be a table, with its rules as [[gate.rule]] tables.")
    _check_keys("key of [gate]", table, _GATE_KEYS)
    policy = _policy(table, "inconclusive gates") or "block"
    min_images = table.get("min_images", 0)
    if not isinstance(min_images, int) or isinstance(min_images, bool) or min_images < 0:
        raise UsageError(f"[gate] min_images must be a whole number from 0, found {shown_value(min_images)}.")
    rows = table.get("rule", [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UsageError("The rules of a gate are written as [[gate.rule]] tables, one for each rule.")
    rules = tuple(_rule(row) for row in rows)
    baseline = table.get("baseline", "")
    if not isinstance(baseline, str):
        raise UsageError(
            f"[gate] baseline must be the path of a run folder or of a baseline file, found {shown_value(baseline)}."
        )
    first_run = table.get("first_run", "skip")
    if first_run not in _FIRST_RUN:
        raise UnknownNameError("policy for a first run ([gate] first_run)", str(first_run), _FIRST_RUN)
    correction = table.get("correction", "holm")
    if correction not in _CORRECTIONS:
        raise UnknownNameError("correction of gates", str(correction), _CORRECTIONS)
    _check_contradictions(rules)
    ids = [rule.id for rule in rules]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise UsageError(f"Two gate rules are called {twice[0]!r}. Ids must be unique.")
    return GateConfig(
        rules=rules,
        inconclusive=policy,
        min_images=min_images,
        baseline=baseline,
        first_run=first_run,
        correction=correction,
    )


def _policy(table: Mapping[str, Any], what: str) -> Policy | None:
    policy: Policy | None = table.get("inconclusive")
    if policy is not None and policy not in _POLICIES:
        raise UnknownNameError(f"policy for {what}", str(policy), _POLICIES)
    return policy


def _check_keys(kind: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise UnknownNameError(kind, str(key), known)


def _rule(row: Mapping[str, Any]) -> Rule:
    name = row.get("id")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name):
        raise UsageError(
            f"Every gate rule needs an id, a short unique name of letters, digits, dots, dashes and underscores; found {shown_value(name)}."
        )
    if "metric" in row:
        raise UsageError(
            f"Gate rule {name!r}: the key `metric` is called `measure`. Write measure = {shown_value(str(row['metric']))}."
        )
    _check_keys(f"key of gate rule {name!r}", row, _RULE_KEYS)
    measure = MEASURES.get(str(row.get("measure")))
    if measure is None:
        raise UnknownNameError(f"measure (gate rule {name!r})", str(row.get("measure")), MEASURES)
    limits = [key for key in _LIMITS if key in row]
    if len(limits) != 1:
        raise UsageError(
            f"Gate rule {name!r} needs one of {', '.join(_LIMITS)}, found {' and '.join(limits) or 'none'}. Write a rule for each."
        )
    limit = row[limits[0]]
    operator, against = _LIMITS[limits[0]]
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not abs(limit) <= _LARGEST_LIMIT:
        raise UsageError(f"Gate rule {name!r}: {limits[0]} must be a finite number, found {shown_value(limit)}.")
    if against == "baseline" and limit < 0:
        raise UsageError(f"Gate rule {name!r}: {limits[0]} must be 0 or more, found {shown_value(limit)}.")
    if against == "baseline" and not measure.comparable:
        raise UsageError(
            f"Gate rule {name!r}: {measure.name} has no number for each image, so it cannot be compared with a baseline image by "
            f"image. These can: {', '.join(comparable())}."
        )
    where = row.get("where", {})
    if not isinstance(where, Mapping) or not all(isinstance(value, str) for value in where.values()):
        raise UsageError(f'Gate rule {name!r}: where must look like {{ condition = "...", group = "..." }}.')
    _check_keys(f"key of `where` in gate rule {name!r}", where, _WHERE_KEYS)
    if where.get("group") == str(EVERY_JUDGED) and not measure.judged_in_groups:
        raise UsageError(
            f'Gate rule {name!r}: group = "*" means the classes and words for which {headline_of("edit").name} is judged; '
            f'for {measure.name} write group = "class=*", or another column.'
        )
    level = row.get("level", "error")
    if level not in _LEVELS:
        raise UnknownNameError(f"level (gate rule {name!r})", str(level), _LEVELS)
    evidence = row.get("evidence", "interval")
    if evidence not in _EVIDENCE:
        raise UnknownNameError(f"evidence (gate rule {name!r})", str(evidence), _EVIDENCE)
    if_exceeded = row.get("if_exceeded", "fail")
    if if_exceeded not in _IF_EXCEEDED:
        raise UnknownNameError(f"if_exceeded (gate rule {name!r})", str(if_exceeded), _IF_EXCEEDED)
    return Rule(
        id=name,
        measure=measure.name,
        operator=operator,
        limit=-float(limit) if limits[0] == "max_decrease" else float(limit),
        against=against,
        condition=where.get("condition"),
        group=read_group(where.get("group", str(ALL))),
        level=level,
        evidence=evidence,
        inconclusive=_policy(row, f"an inconclusive gate rule {name!r}"),
        if_exceeded=if_exceeded,
        reason=str(row.get("reason", "")),
    )


def _check_contradictions(rules: Sequence[Rule]) -> None:
    """Reject a minimum above a maximum of the same measure for the same effect: no run could pass both."""
    for top in rules:
        for bottom in rules:
            same = (top.measure, top.group, top.against) == (bottom.measure, bottom.group, bottom.against)
            # A rule without a condition applies to every edit, so to the other rule's too, unless that one is about the clean images.
            conditions = {None if rule.condition == EVERY else rule.condition for rule in (top, bottom)}
            same = same and (len(conditions) == 1 or (None in conditions and "clean" not in conditions))
            if same and top.operator == "<=" and bottom.operator == ">=" and bottom.limit > top.limit:
                raise UsageError(
                    f"Gate rules {top.id!r} and {bottom.id!r} contradict each other: {top.measure} cannot be at most "
                    f"{top.limit:g} and at least {bottom.limit:g}. Correct one of them."
                )
