"""What an audit tested, and what it did not: stated with every verdict, because a pass does not cover the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from audit.data.plan import Plan, PlannedCondition, PlannedData, PlannedObjects
from audit.gates.calibration import NOT_MEASURED
from audit.gates.suspects import suspect_outcomes
from audit.statistics.selections import headlines
from audit.store.controls import Blindness
from audit.store.group import ALL
from audit.store.results import Effect
from audit.store.verdict import Verdict

_CONTENTS: Mapping[str, str] = {
    "text": "printed text and markers detected by the text finder",
    "border": "the border of the image",
    "look": "the appearance of another source",
    "grey-curve": "differences between classes in exposure, contrast and gamma",
    "sharpness": "differences between classes in sharpness and resolution",
    "noise": "differences between classes in noise",
    "frame": "uniform frame and aspect ratio of the image",
    "compression": "differences between classes in JPEG compression",
}
"""Content (`audit.data.conditions.CONTENTS`) -> what it is, in words."""
_OBJECTS = "objects without text (electrodes, tubes, clips, rulers, stickers)"
_NEVER = (
    "bit depth",
    "position, rotation and zoom",
    "patient characteristics (sex, age)",
)
"""What no suite edits."""
SEARCHED = "Searched for, none found"
"""How every rendering announces what was searched for and not found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """The scope of one run."""

    tested: tuple[str, ...]
    """Shortcuts for which an effect was judged."""
    not_tested: tuple[str, ...]
    """Shortcuts that were not tested, with the reason if the run states one."""
    searched: tuple[str, ...] = ()
    """Shortcuts that were searched for and not found, so that no edit could test them."""


def find_scope(
    conditions: Sequence[PlannedCondition], effects: Sequence[Effect], objects: PlannedObjects | None = None
) -> Scope:
    """Find what was tested: contents that a judged condition removes, adds or keeps, and that have an estimate.

    Parameters
    ----------
    conditions : sequence of PlannedCondition
        Of the plan's suite.
    effects : sequence of Effect
        Of the run; where a control failed nothing counts as tested.
    objects : PlannedObjects
        The plan's search for objects that recur; None where there was none.
    """
    estimated = {
        e.condition
        for e in effects
        if e.tolerance is not None and e.group == ALL and e.measure in headlines().values()
        if e.estimate is not None and e.verdict != "void"
    }
    tested, not_tested = [], []
    for content, words in _CONTENTS.items():
        concerned = [c for c in conditions if c.declared.concerns(content)]
        if any(c.name in estimated for c in concerned):
            tested.append(words)
            continue
        lacks = {c.cohort_lacks for c in concerned if c.cohort_lacks}
        why = f" (the cohort has no {' and no '.join(sorted(lacks))})" if lacks else ""
        not_tested.append(words + why)
    found = _objects_in_words(conditions, effects, objects)
    return Scope(
        tested=(*tested, *found.tested),
        not_tested=(*not_tested, *found.not_tested, *_NEVER),
        searched=found.searched,
    )


def _objects_in_words(
    conditions: Sequence[PlannedCondition], effects: Sequence[Effect], objects: PlannedObjects | None
) -> Scope:
    """Return which objects were tested, searched for in vain, and not tested: never all, because the search finds only some."""
    if objects is None or not objects.asked:
        return Scope(tested=(), not_tested=(f"{_OBJECTS}: not searched for",))
    if objects.why_none:
        return Scope(tested=(), not_tested=(f"{_OBJECTS}: not searched for, because {objects.why_none}",))
    if not objects.n_found:
        return Scope(
            tested=(),
            not_tested=(f"{_OBJECTS} that the search cannot find, such as one that few images show",),
            searched=(f"{_OBJECTS} that recur in one class more often than in the others",),
        )
    by_outcome: dict[str, list[str]] = {}
    for found in suspect_outcomes(conditions, effects):
        by_outcome.setdefault(found.outcome, []).append(f"suspect-{found.number}")
    tested = by_outcome.get("shown", []) + by_outcome.get("dismissed", [])
    left = by_outcome.get("undecided", []) + by_outcome.get("not tested", [])
    others = f"{_OBJECTS} that the search did not propose" + (f"; {', '.join(sorted(left))} undecided" if left else "")
    proposed = (f"recurring objects that the search proposed ({', '.join(sorted(tested))})",) if tested else ()
    return Scope(tested=proposed, not_tested=(others,))


def find_caveats(data: PlannedData, blindness: Sequence[Blindness]) -> tuple[str, ...]:
    """Return the reasons to doubt every figure of a run, in sentences.

    Parameters
    ----------
    data : PlannedData
        Of the plan.
    blindness : sequence of Blindness
        Of `controls.json`: why effects could exist without being measured.
    """
    seen, n = data.n_seen_in_training, data.n_images
    which = "All" if seen == n else f"{seen} of the {n}"
    trained = f"{which} audited images were used to train the network: its accuracy is overstated, and effects on new images may differ."
    return (*((trained,) if seen else ()), *(found.sentence for found in blindness))


def with_reach(
    verdict: Verdict,
    plan: Plan,
    effects: Sequence[Effect],
    blindness: Sequence[Blindness],
    calibration: str,
) -> Verdict:
    """Add to a verdict what it covers and what it does not, and repeat the caveats in its summary."""
    scope, caveats = find_scope(plan.suite.conditions, effects, plan.objects), find_caveats(plan.data, blindness)
    return replace(
        verdict,
        summary=" ".join([verdict.summary, *caveats]),
        tested=scope.tested,
        not_tested=scope.not_tested,
        searched=scope.searched,
        caveats=caveats,
        calibration=calibration,
    )


def scope_sentence(verdict: Verdict) -> str:
    """State what was tested, searched for in vain, and not tested, and how often this audit would have found a shortcut."""
    searched = f" {SEARCHED}: {'; '.join(verdict.searched)}." if verdict.searched else ""
    return (
        f"Tested: {'; '.join(verdict.tested) or 'nothing'}.{searched} Not tested: {'; '.join(verdict.not_tested)}. "
        f"{verdict.calibration or NOT_MEASURED}"
    )
