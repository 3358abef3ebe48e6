"""Whether two runs measured the same: the same images under the same edits; what is not is said as the end of a sentence."""

from __future__ import annotations

from typing import Any

from audit.data.plan import Edit, Identity


def other_cohort(plan: Identity, other: Identity) -> str:
    """Return how a run's images, classes or text finder differ from another's: `used other data`; empty where they are the same."""
    for key, what in (
        ("content_hash", "other data"),
        ("records_hash", "other images"),
        ("masks_hash", "other lung masks"),
    ):
        if getattr(plan.data, key) != getattr(other.data, key):
            return f"used {what}"
    if plan.model.classes != other.model.classes:
        return "has other classes"
    if plan.detector != other.detector:
        return "used another text finder, or another version of it"
    return ""


def other_edit(plan: Identity, other: Identity, condition: str) -> tuple[str, bool]:
    """Return which edit of a condition two runs do not share, and whether the other run has one of its name; empty where they do."""
    own, theirs = ({edit.name: edit for edit in identity.suite.conditions} for identity in (plan, other))
    if condition not in theirs:
        return condition, False
    for name in (condition, own[condition].placebo):
        if name is not None and _edit(own[name]) != _edit(theirs.get(name)):
            return name, True
    return "", True


def _edit(edit: Edit | None) -> tuple[Any, ...] | None:
    return None if edit is None else tuple(getattr(edit, name) for name in Edit.__struct_fields__)
