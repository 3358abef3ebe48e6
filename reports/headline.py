"""What a run found, in sentences: one for each suspect and outcome; never "no problems found"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audit.results import Effect
from audit.words import shown_string
from reports.groups import place, sensitive_groups
from reports.runfolder import RunView
from reports.words import estimate, number

_SHOWN_GROUPS = 3


def headline(run: RunView) -> str:
    """Return the finding of a run in a few sentences, one for each outcome; never "no problems found"."""
    effects = run.headline()
    if not any(e.estimate is not None for e in effects):
        return "No edit could be applied to any image, so nothing can be said about shortcuts."
    found = _in_groups(run)
    # What a group gives away is settled: that all films together do not show it is said in the same sentence.
    falls = _falls(run, effects)
    rest = [e for e in effects if run.suspect(e.condition) not in {*found, *falls}]
    said = [*_sensitive(run, effects), *found.values(), *falls.values(), *_undecided(run, rest), *_robust(run, rest)]
    silent = _suspects(
        run, [e for e in effects if e.estimate is None], besides=[e for e in effects if e.estimate is not None]
    )
    if silent:
        said.append(f"Nothing can be said about {silent}: no image could be edited so.")
    return " ".join(said)


def _sensitive(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    """Yield a sentence for each suspect that moves the network, its strongest condition first."""
    seen: set[tuple[str, str]] = set()
    for e in effects:
        key = (run.suspect(e.condition), e.measure)
        if e.verdict != "sensitive" or key in seen:
            continue
        seen.add(key)
        interval = f"({round(100 * e.level)} % interval {number(e.low)} to {number(e.high)})"
        beyond = f"{interval}, beyond the tolerance of {number(e.tolerance, 2)}."
        if e.measure == "sufficiency":
            yield (
                f"{_capital(key[0])} alone gives the class away: under {e.condition} the true class has {number(e.estimate)} more "
                f"probability than under {e.placebo} {beyond}"
            )
        else:
            yield (
                f"The network reads {key[0]}: under {e.condition} the class probabilities move by {number(e.estimate)} more "
                f"than under {e.placebo} {beyond}"
            )


def _in_groups(run: RunView) -> dict[str, str]:
    """Return suspect -> a sentence on the groups that it moves, where all films together do not show it."""
    by_suspect: dict[str, list[Effect]] = {}
    for e in sensitive_groups(run):
        by_suspect.setdefault(run.suspect(e.condition), []).append(e)
    return {suspect: _grouped(run, suspect, found) for suspect, found in by_suspect.items()}


def _grouped(run: RunView, suspect: str, found: Sequence[Effect]) -> str:
    first = found[0]
    said = (
        f"The network reads {suspect} in {place(first.group)}: under {first.condition} the class probabilities of these "
        f"{first.n_images} films move by {number(first.estimate)} more than under {first.placebo} ({round(100 * first.level)} % "
        f"interval {number(first.low)} to {number(first.high)}), beyond the tolerance of {number(first.tolerance, 2)}"
    )
    others = {e.group: e for e in reversed(found) if e.group != first.group}
    if others:
        shown = sorted(others.values(), key=lambda e: -(e.estimate or 0.0))[:_SHOWN_GROUPS]
        more = f" and {len(others) - len(shown)} groups more" if len(others) > len(shown) else ""
        said += "; likewise in " + ", ".join(f"{place(e.group)} ({number(e.estimate)})" for e in shown) + more
    whole = run.find(first.condition, first.measure, controlled=True)
    return f"{said}. Over all films together it is {estimate(whole)}" + (
        "." if whole is None else f": {whole.verdict}."
    )


def _falls(run: RunView, effects: Sequence[Effect]) -> dict[str, str]:
    """Return suspect -> a sentence on the accuracy that its edit takes, where shortcut sensitivity does not show it."""
    shown = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    found: dict[str, Effect] = {}
    for e in effects:
        fall = run.find(e.condition, "accuracy", controlled=True)
        if fall is not None and fall.verdict == "sensitive" and run.suspect(e.condition) not in shown:
            found.setdefault(run.suspect(e.condition), fall)
    return {suspect: _fall(suspect, e) for suspect, e in found.items()}


def _fall(suspect: str, e: Effect) -> str:
    assert e.estimate is not None
    assert e.low is not None
    assert e.high is not None
    return (
        f"Accuracy hangs on {suspect}: under {e.condition} it falls by {number(-e.estimate)} more than under {e.placebo} "
        f"({round(100 * e.level)} % interval {number(-e.high)} to {number(-e.low)}), beyond the tolerance of {number(e.tolerance, 2)}."
    )


def _undecided(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    sensitive = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    open_effects = [
        e
        for e in effects
        if e.verdict == "inconclusive" and e.estimate is not None and run.suspect(e.condition) not in sensitive
    ]
    silent = [e for e in open_effects if _is_within(e)]
    open_effects = [e for e in open_effects if e not in silent]
    if silent:
        first = silent[0]
        yield (
            f"Of class {' and '.join(shown_string(c) for c in first.classes_absent)} no film could be edited under {first.condition}, so "
            f"whether the network reads {_suspects(run, silent)} there is not known; in the other films the estimate is "
            f"{number(first.estimate)} ({round(100 * first.level)} % interval {number(first.low)} to {number(first.high)}), within "
            f"the tolerance of {number(first.tolerance, 2)}."
        )
    if open_effects:
        first = open_effects[0]
        low, high, together = first.low, first.high, ""
        if low is not None and first.tolerance is not None and low > first.tolerance:
            # By itself it lies beyond; what holds the tolerance is the interval that allows for all that was judged.
            low, high, together = (
                first.simultaneous_low,
                first.simultaneous_high,
                " together with the other judged effects",
            )
        yield (
            f"These data cannot tell whether the network reads {_suspects(run, open_effects)}: under {first.condition} the "
            f"estimate is {number(first.estimate)} ({round(100 * first.level)} % interval{together} {number(low)} to "
            f"{number(high)}), and the interval holds the tolerance of {number(first.tolerance, 2)}."
        )


def _is_within(e: Effect) -> bool:
    """Say whether an effect is undecided only because a class could not be edited."""
    within = e.high is not None and e.tolerance is not None and e.high < e.tolerance
    return within and bool(e.classes_absent)


def _robust(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    others = [e for e in effects if e.verdict != "robust" and e.estimate is not None]
    robust = [e for e in effects if e.verdict == "robust"]
    cleared = _suspects(run, robust, besides=others)
    if cleared:
        mine = [e for e in robust if run.suspect(e.condition) not in {run.suspect(o.condition) for o in others}]
        yield (
            f"Every edit of {cleared} is shown to stay below the tolerance of {number(mine[0].tolerance, 2)} beyond its placebo, on "
            f"average over all films; the largest estimate is {number(mine[0].estimate)} ({mine[0].condition})."
        )


def _suspects(run: RunView, effects: Sequence[Effect], besides: Sequence[Effect] = ()) -> str:
    """Name what effects look at, in their order, without what `besides` looks at too: "the text and the border"."""
    taken = {run.suspect(e.condition) for e in besides}
    names = [name for name in dict.fromkeys(run.suspect(e.condition) for e in effects) if name not in taken]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
