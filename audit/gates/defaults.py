"""The gates of a run: those of its configuration, checked against its suite, or the defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from audit.data.conditions import Condition, Suite
from audit.errors import UnknownNameError, UsageError
from audit.gates.groups import EVERY, EVERY_JUDGED, check_group
from audit.gates.rules import GateConfig, Rule, rules_from_config
from audit.statistics.catalogue import ACCURACY_OVER_SOURCE, AUC_OVER_SOURCE, MEASURES
from audit.statistics.measure import Measure
from audit.statistics.selections import headline_of, headlines, judged_measures
from audit.store.group import ALL, Group


def config_for(
    table: Mapping[str, Any] | None,
    suite: Suite,
    tolerances: Mapping[str, float],
    *,
    asked: bool,
    impossible: Collection[str] = (),
    groups: Collection[Group] = (),
    multi_label: bool = False,
) -> GateConfig | None:
    """Return the gates of a run before it starts: those of the configuration, otherwise the defaults if requested.

    By default the shortcut sensitivity of every judged edit that has a placebo, and the sufficiency of every condition of
    that role, must be at most its tolerance; with a baseline it must not have risen by more than that either. No class, and
    no group of images with a common word, may exceed it significantly, because a shortcut of few images is diluted in the
    mean over all images. Accuracy must not fall significantly by more than its tolerance. Undecided effects do not fail these
    two rules. Finally, the network must be significantly more accurate than a guess from the source alone; otherwise the run
    is undecided.

    Parameters
    ----------
    table : mapping or None
        The `[gate]` table; None where there is none.
    suite : Suite
        Names the edits.
    tolerances : mapping
        Measure -> the largest effect that counts as small.
    asked : bool
        Judge although nothing is configured.
    impossible : collection of str
        Conditions that cannot be applied to the cohort; the defaults leave them out, a configured rule does not.
    groups : collection of Group
        Of the cohort (`audit.data.groups.known_groups`); empty where they are not known yet.
    multi_label : bool
        Whether the network is: it is held against the source by its AUCs, as most findings are rare.

    Raises
    ------
    UsageError
        If the defaults are asked for and the suite has no edit with a placebo, or a rule names a condition that the
        suite does not have, or a group that the cohort does not have.
    """
    if table is None and not asked:
        return None
    config = GateConfig(rules=()) if table is None else rules_from_config(table)
    names = [c.name for c in suite.conditions]
    for rule in config.rules:
        if rule.condition not in (None, EVERY, *names):
            raise UnknownNameError(
                f"condition of suite {suite.name} (gate rule {rule.id!r})", str(rule.condition), names
            )
        check_group(rule.id, rule.group, rule.condition, suite, groups)
    if config.rules:
        check_baseline_is_used(config.rules, config.baseline)
        return config
    measured = [
        (c, headline_of(c.role))
        for c in suite.conditions
        if c.judged and c.placebo is not None and c.name not in impossible
    ]
    if not measured:
        raise UsageError(
            f"The default gate limits the shortcut sensitivity of edits that have a placebo, but suite {suite.name} has "
            "none that can be applied to this cohort. Choose a suite with placebos, or write [[gate.rule]] tables in audit.toml."
        )
    # Many proposals of a search are harmless: an undecided one is listed as not tested and does not block the run.
    proposed = {c.name for c in suite.conditions if c.declared.concerns("object")}
    rules = tuple(
        Rule(
            id=f"{_kebab(measure)}-{c.name}",
            measure=measure.name,
            operator="<=",
            limit=tolerances[measure.name],
            condition=c.name,
            inconclusive="pass" if _may_stay_open(c, measured) or c.name in proposed else None,
            reason=measure.demand,
        )
        for c, measure in measured
    )
    if any(measure.judged_in_groups for _, measure in measured):
        rules += _default_safeguards(tolerances, multi_label=multi_label)
    return with_rises(replace(config, rules=rules)) if config.baseline else replace(config, rules=rules)


def _may_stay_open(condition: Condition, judged: Sequence[tuple[Condition, Measure]]) -> bool:
    """Return whether an undecided border does not block, nor a compression of which no class has more.

    Most cohorts show no traces of a compression, or lost them: it is then listed as not tested. With 128 images, a border that matters
    is found, but that it does not matter is shown for only half of the networks that do not use it. If edits are judged too, an
    undecided border is therefore only reported.
    """
    open_border = "border" in condition.declared.keeps and any(c.role == "edit" for c, _ in judged)
    return open_border or condition.declared.concerns("compression")


def _default_safeguards(tolerances: Mapping[str, float], *, multi_label: bool) -> tuple[Rule, ...]:
    """Return the rules on groups, on accuracy under edits, and on accuracy compared with a guess from the source."""
    headline = headline_of("edit")
    groups = Rule(
        id=f"{_kebab(headline)}-of-groups",
        measure=headline.name,
        operator="<=",
        limit=tolerances[headline.name],
        condition=EVERY,
        group=EVERY_JUDGED,
        inconclusive="pass",
        reason="No output of the network, and no predictions of images with a common word, may change significantly more."
        if multi_label
        else "The predictions of no class, and of no images with a common word, may change significantly more.",
    )
    beside = tuple(
        Rule(
            id=f"{_kebab(measure)}-under-edits",
            measure=measure.name,
            operator=">=" if measure.falls else "<=",
            limit=-tolerances[measure.name] if measure.falls else tolerances[measure.name],
            condition=EVERY,
            inconclusive="pass",
            reason=measure.demand,
        )
        for measure in (MEASURES[name] for name in judged_measures("edit"))
        if measure is not headline
    )
    over_source = MEASURES[AUC_OVER_SOURCE if multi_label else ACCURACY_OVER_SOURCE]
    worth = Rule(
        id=_kebab(over_source),
        measure=over_source.name,
        operator=">=",
        limit=0.0,
        condition="clean",
        # If the source reveals the class, any network may do worse than the source: this does not show a fault of the network.
        if_exceeded="inconclusive",
        reason="If the source alone ranks images as well as the network, its AUC says little about the task."
        if multi_label
        else "If the network is not more accurate than guessing from the source alone, accuracy says little about the task.",
    )
    return groups, *beside, worth


def _kebab(measure: Measure) -> str:
    return measure.name.replace("_", "-")


def check_baseline_is_used(rules: Sequence[Rule], baseline: str) -> None:
    """Reject a baseline that no rule uses.

    Raises
    ------
    UsageError
        If there is one.
    """
    if baseline and not any(rule.against == "baseline" for rule in rules):
        raise UsageError(
            f"The baseline {baseline} would not be used: no rule has max_increase or max_decrease. Write one, or omit the "
            "baseline."
        )


def with_rises(config: GateConfig) -> GateConfig:
    """Apply the maxima of the default rules over all images to the rise since the baseline as well."""
    rises = tuple(
        replace(rule, id=f"{rule.id}-rise", against="baseline", reason="It must not have risen since the baseline.")
        for rule in config.rules
        if rule.against == "limit"
        and rule.operator == "<="
        and rule.measure in headlines().values()
        and rule.group == ALL
    )
    return replace(config, rules=config.rules + rises)
