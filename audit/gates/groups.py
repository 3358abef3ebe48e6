"""Groups that gate rules name: checked before the run if they are known by then; excused if they may be absent."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from audit.data.conditions import Condition, Suite
from audit.data.strings import MAX_WORDS, may_be_personal, normal_string
from audit.errors import UnknownNameError, UsageError
from audit.statistics.alignment import MIN_GROUP_PATIENTS
from audit.store.group import Group, parse_group
from audit.store.results import Effect

EVERY = "*"
"""As a condition of a rule: every judged edit; as the value of its group: every group of the kind."""
EVERY_JUDGED = Group(kind=EVERY)
"""As the group of a rule: every class, output and word for which shortcut sensitivity is judged."""
_JUDGED = ("class", "output", "word")


def read_group(text: str) -> Group:
    """Parse the group of a rule in the form that effects use: strings are compared in capitals, with single blanks between words."""
    group = parse_group(text)
    return (
        group if group.kind != "word" or group.value is None else Group(kind="word", value=normal_string(group.value))
    )


def is_pattern(group: Group) -> bool:
    """Return whether a rule's group means every group of a kind: `column=*`, or `*` for every class, output and word."""
    return group == EVERY_JUDGED or group.value == EVERY


def covers(asked: Group, group: Group) -> bool:
    """Return whether a rule for a group, or for every group of a kind, applies to this one."""
    if asked == EVERY_JUDGED:
        return group.kind in _JUDGED
    return group.kind == asked.kind if is_pattern(asked) else group == asked


def looks_at(asked: Group, effect: Effect) -> bool:
    """Return whether a rule's group is that of an effect; `*` covers only groups that are judged, not those that are merely reported."""
    return covers(asked, effect.group) and (asked != EVERY_JUDGED or effect.family == "declared")


def check_group(rule_id: str, group: Group, condition: str | None, suite: Suite, known: Collection[Group]) -> None:
    """Check the group of a rule before anything is computed.

    Parameters
    ----------
    rule_id : str
        Of the rule.
    group : Group
        Of the rule.
    condition : str or None
        Of the rule; it is None or `*` where it looks at every edit.
    suite : Suite
        What the images are put under.
    known : collection of Group
        Groups of the cohort (`audit.data.groups.known_groups`); empty where they are not known yet. Words never are: text is
        found later.

    Raises
    ------
    UnknownNameError
        If the cohort has no such group.
    UsageError
        If a word is requested under a condition that is not reported by word.
    """
    if group.kind != "word":
        if known and group != EVERY_JUDGED and not any(covers(group, other) for other in known):
            raise UnknownNameError(f"group (gate rule {rule_id!r})", str(group), map(str, known))
        return
    told = [c.name for c in suite.conditions if _is_told_by_word(c)]
    if condition in (None, EVERY) and told:
        return
    if condition not in told:
        raise UsageError(
            f"Gate rule {rule_id!r} names {group} under {condition or 'any edit'}, but words are judged only under edits that remove "
            f"text and have a placebo: in suite {suite.name} {', '.join(told) or 'there are none'}."
        )


def _is_told_by_word(condition: Condition) -> bool:
    return condition.role == "edit" and "text" in condition.declared.removes and condition.placebo is not None


def may_be_absent(group: Group) -> bool:
    """Return whether a run may legitimately have no effect of such a group: words and sites are reported only for enough patients."""
    return group == EVERY_JUDGED or group.kind in ("word", "site")


def edits_without_group(group: Group, effects: Iterable[Effect]) -> frozenset[str]:
    """Return the conditions that are legitimately not reported by such a group: only edits that remove text are reported by word.

    Empty where no condition is reported by it, because then all of them have too few images of any such group.
    """
    if group.kind != "word" and group != EVERY_JUDGED:
        return frozenset()
    kind = group if group == EVERY_JUDGED else Group(kind="word", value=EVERY)
    everything = list(effects)
    told = {e.condition for e in everything if looks_at(kind, e)}
    return frozenset(e.condition for e in everything if e.condition not in told) if told else frozenset()


def why_absent(group: Group) -> str:
    """Return why a run has no effect of a group that its rules name."""
    if is_pattern(group):
        kind = "class, output or word" if group == EVERY_JUDGED else group.kind
        return f"no {kind} can be judged here: none occurs on the images of {MIN_GROUP_PATIENTS} or more patients, or it has no such figure"
    if group.kind != "word":
        return f"too few patients of {group}: fewer than {MIN_GROUP_PATIENTS}"
    if may_be_personal(str(group)):
        return f"{group} has a digit: it may be a date or a patient number, so it is not reported"
    return (
        f"fewer than {MIN_GROUP_PATIENTS} patients have images that carry {group} and could be edited, or {MAX_WORDS} other strings "
        "occur in more patients"
    )
