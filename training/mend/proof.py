"""The proof: the old and the new network on the same test images, paired image by image, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.baseline.comparison import Baseline
from audit.baseline.ratchet import Held, weigh_changes
from audit.data.plan import PlannedCondition
from audit.prediction.table import read_finished
from audit.statistics.selections import headline_of
from audit.store.folder import RunFolder
from audit.store.group import ALL, Group
from audit.store.mend import Compared, MendedSuspect, MendVerdict, Paired
from audit.store.numbers import number, signed_bracketed
from audit.store.results import Effect, EffectsDocument
from audit.training.mend.honest import FEWEST, HONEST
from audit.training.mend.measured import MOST_LEFT, MOST_LOST, is_loss
from audit.training.mend.performance import EDITED, measure_performance
from audit.training.mend.suspects import Target


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Old against new."""

    verdict: MendVerdict
    """Of all suspects together."""
    summary: str
    """In sentences."""
    suspects: tuple[MendedSuspect, ...]
    """What was to be mended."""
    effects: tuple[Compared, ...]
    """Every judged effect over all images."""
    performance: tuple[Paired, ...]
    """On unedited images."""


def prove(before: Path, after: Path, targets: Sequence[Target]) -> Proof:
    """Compare two finished runs on the same images.

    Parameters
    ----------
    before, after : Path
        Run folders of the old and of the new network.
    targets : sequence of Target
        What was to be mended.

    Raises
    ------
    StoreError
        If a run is damaged.
    """
    run = read_finished(after)
    old, new = (RunFolder(path).read(EffectsDocument).effects for path in (before, after))
    baseline = Baseline(run, before)
    judged = [c for c in run.plan.suite.conditions if c.judged]
    pairs = [(c, ALL) for c in judged]
    pairs += [(c, t.effect.group) for t in targets for c in judged if c.name == t.effect.condition]
    compared = _compared(list(dict.fromkeys((c.name, group) for c, group in pairs)), judged, old, new, baseline)
    suspects = tuple(
        _suspect(t, next(c for c in compared if (c.before.condition, c.group) == (t.effect.condition, t.effect.group)))
        for t in targets
        if any((c.before.condition, c.group) == (t.effect.condition, t.effect.group) for c in compared)
    )
    mended = {s.suspect for s in suspects}
    others = [c for c in compared if c.suspect not in mended]
    performance = measure_performance(read_finished(before), run, targets)
    lost = [p for p in performance if p.name == EDITED and p.high is not None and p.high < -MOST_LOST]
    cost = next((p for p in performance if p.name == HONEST and p.n_images >= FEWEST), None)
    if cost is not None and is_cost(cost):
        lost.append(cost)
    verdict = _verdict([s.verdict for s in suspects], others, accuracy_lost=bool(lost))
    return Proof(
        verdict=verdict,
        summary=_summary(verdict, suspects, others, lost, cost),
        suspects=suspects,
        effects=tuple(c for c in compared if c.group == ALL),
        performance=performance,
    )


def _compared(
    places: Sequence[tuple[str, Group]],
    judged: Sequence[PlannedCondition],
    old: Sequence[Effect],
    new: Sequence[Effect],
    baseline: Baseline,
) -> list[Compared]:
    conditions = {c.name: c for c in judged}
    made: list[Compared] = []
    for name, group in places:
        condition = conditions[name]
        measure = headline_of(condition.role).name
        before, after = (
            next(
                (e for e in effects if (e.condition, e.measure, e.group) == (name, measure, group) and e.placebo),
                None,
            )
            for effects in (old, new)
        )
        if before is None or after is None:
            continue
        change = baseline.change(name, measure, group)
        made.append(
            Compared(
                title=condition.title or name,
                suspect=condition.suspect,
                measure=measure,
                group=group,
                before=before,
                after=after,
                change=None if isinstance(change, str) or change.estimate is None else change,
                why_not=change if isinstance(change, str) else "" if change.estimate is not None else change.method,
                newly=is_woken(before, after),
                worse=False,
            )
        )
    changes = [(i, c.change) for i, c in enumerate(made) if c.change is not None]
    outcomes = weigh_changes([Held(way="higher", change=change) for _, change in changes])
    worse = {i for (i, _), outcome in zip(changes, outcomes, strict=True) if outcome == "worse"}
    return [
        Compared(**{name: getattr(c, name) for name in c.__struct_fields__} | {"worse": i in worse})
        for i, c in enumerate(made)
    ]


def is_woken(before: Effect, after: Effect) -> bool:
    """Say whether an effect exceeds its limit now, and did not before: not even its estimate, whatever could be decided then."""
    within = before.estimate is None or before.estimate <= (before.tolerance or 0.0)
    return after.verdict == "sensitive" and before.verdict != "sensitive" and within


def is_cost(honest: Paired) -> bool:
    """Say whether more accuracy was lost than may be lost where the shortcut plays no part; chance is no excuse for what is claimed.

    The estimate decides, because few samples can show a loss of one point: a loss that is seen is reported, whatever its interval.
    """
    return is_loss(honest.change, honest.n_images)


def _suspect(target: Target, compared: Compared) -> MendedSuspect:
    return MendedSuspect(suspect=target.suspect, verdict=judge_change(compared), compared=compared)


def judge_change(compared: Compared) -> MendVerdict:
    """Judge what became of the effect of one suspect.

    mended: the interval of the change lies below 0, the new effect does not exceed its limit, and a third of the old one or less is left
    or the new one is shown to be small; partly: the interval lies below 0; worse: it lies above 0; inconclusive: a third or less is
    left, but the interval includes 0, or there is none; not: anything else.
    """
    before, after, change = compared.before, compared.after, compared.change
    if change is None or change.low is None or change.high is None or before.estimate is None or after.estimate is None:
        return "inconclusive"
    little = after.estimate <= MOST_LEFT * max(before.estimate, 0.0)
    if change.low > 0:
        return "worse"
    if change.high < 0:
        small = little or after.verdict in ("robust", "bounded")
        return "mended" if small and after.verdict != "sensitive" else "partly"
    return "inconclusive" if little else "not"


def _verdict(suspects: Sequence[MendVerdict], others: Sequence[Compared], *, accuracy_lost: bool) -> MendVerdict:
    if "worse" in suspects or any(c.worse and c.newly for c in others):
        return "worse"
    if suspects and all(v == "mended" for v in suspects):
        return "partly" if accuracy_lost or any(c.newly for c in others) else "mended"
    if any(v in ("mended", "partly") for v in suspects):
        return "partly"
    return "inconclusive" if "inconclusive" in suspects or not suspects else "not"


_SENTENCES = {
    "mended": "{Suspect}: mended. With {edit}, the effect is {after} (before: {before}); paired change {change}.",
    "partly": "{Suspect}: partly mended. With {edit}, the effect fell to {after} (before: {before}); paired change {change}.",
    "not": "{Suspect}: not mended. With {edit}, the effect is {after} (before: {before}); the interval of the paired change {change} "
    "includes 0.",
    "worse": "{Suspect}: worse. With {edit}, the effect rose to {after} (before: {before}); paired change {change}.",
    "inconclusive": "{Suspect}: inconclusive. With {edit}, the effect is {after} (before: {before}), but this sample is too small to show "
    "the change {change}.",
}


def _summary(
    verdict: MendVerdict,
    suspects: Sequence[MendedSuspect],
    others: Sequence[Compared],
    lost: Sequence[Paired],
    cost: Paired | None,
) -> str:
    parts = []
    for s in suspects:
        c = s.compared
        change = (
            "(not estimated)"
            if c.change is None
            else signed_bracketed(c.change.estimate or 0.0, c.change.low, c.change.high)
        )
        parts.append(
            _SENTENCES[s.verdict].format(
                Suspect=f"{s.suspect[:1].upper()}{s.suspect[1:]}",
                edit=f"{c.title[:1].lower()}{c.title[1:]}",
                before=number(c.before.estimate),
                after=number(c.after.estimate),
                change=change,
            )
        )
    decided = dict.fromkeys(
        c.suspect for c in others if c.after.verdict == "sensitive" and c.before.verdict != "sensitive" and not c.newly
    )
    parts += [f"{s[:1].upper()}{s[1:]} exceeds its limit; its estimate did before, but was undecided." for s in decided]
    newly = list(dict.fromkeys(c.suspect for c in others if c.newly))
    parts.append(
        f"Newly above its limit: {', '.join(newly)}." if newly else "No other judged suspect newly exceeds its limit."
    )
    parts += [
        f"Accuracy was lost that the shortcut did not buy: {signed_bracketed(p.change, p.low, p.high)} with the suspects edited."
        for p in lost
        if p.name == EDITED
    ]
    if cost is not None:
        parts.append(_cost(cost))
    return " ".join(parts)


def _cost(cost: Paired) -> str:
    """Return what mending costs where the shortcut plays no part, in a sentence."""
    change = f"{signed_bracketed(cost.change, cost.low, cost.high)} (n = {cost.n_images})"
    if is_cost(cost):
        shown = "" if cost.high is not None and cost.high < 0 else ", though chance alone could explain it"
        return f"Where the shortcut plays no part, accuracy fell by more than a point{shown}: {change}."
    if cost.low is not None and cost.low >= -MOST_LOST:
        return f"Where the shortcut plays no part, accuracy did not fall by more than a point: {change}."
    return f"Where the shortcut plays no part, the change of accuracy is {change}; a loss of more than a point is not excluded."
