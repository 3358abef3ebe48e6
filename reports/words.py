"""Numbers and verdicts in words: every rendering says the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import pstdev

from audit.metrics import METRICS
from audit.results import Effect
from reports.groups import place, sensitive_groups
from reports.runfolder import RunView

MEASURES = {name: metric.words for name, metric in METRICS.items()}
VIEWS = {
    "features": "what the network extracts",
    "histogram": "the grey levels",
    "border": "the border",
    "thumbnail": "the film at 32 px",
    "text": "the text",
}
VERDICTS = {
    "sensitive": "shown to be larger than the tolerance",
    "robust": "shown to be within the tolerance",
    "inconclusive": "these data cannot tell",
    "descriptive": "reported, not judged",
}
_SHOWN_STRINGS = 8
_SHOWN_GROUPS = 3


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a true minus sign, or a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return "0" if value == 0 else text.removeprefix("-")
    return text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Return a change with its sign, plus too; none where rounding leaves nothing."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(f"{value:.{digits}f}") else text


def estimate(effect: Effect | None) -> str:
    """Return an estimate with its interval."""
    if effect is None or effect.estimate is None:
        return "not measured"
    digits = 3
    if effect.low is None or effect.high is None:
        return number(effect.estimate, digits)
    return f"{number(effect.estimate, digits)} [{number(effect.low, digits)}, {number(effect.high, digits)}]"


def without_folders(value: object) -> str:
    """Return a value of a bundle's story; of a path only its last part, as folders are of one machine."""
    text = str(value)
    is_path = ("/" in text or "\\" in text) and " " not in text and "://" not in text
    return text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if is_path else text


def headline(run: RunView) -> str:
    """Return the finding of a run in a few sentences, one for each outcome; never "no problems found"."""
    effects = run.headline()
    if not any(e.estimate is not None for e in effects):
        return "No edit could be applied to any image, so nothing can be said about shortcuts."
    found = _in_groups(run)
    # What a group gives away is settled: that all films together do not show it is said in the same sentence.
    rest = [e for e in effects if run.suspect(e.condition) not in found]
    said = [*_sensitive(run, effects), *found.values(), *_undecided(run, rest), *_robust(run, rest)]
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


def _undecided(run: RunView, effects: Sequence[Effect]) -> Iterator[str]:
    sensitive = {run.suspect(e.condition) for e in effects if e.verdict == "sensitive"}
    open_effects = [
        e
        for e in effects
        if e.verdict == "inconclusive" and e.estimate is not None and run.suspect(e.condition) not in sensitive
    ]
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


def source_lines(run: RunView) -> list[str]:
    """Say how far the source tells the class, and how well it can itself be told."""
    probe = run.probe
    lines = [
        f"The source alone gives the class of {number(probe['class_from_source'], 2)} of the images (network: "
        f"{number(probe['model_accuracy'], 2)}, most frequent class: {number(probe['majority'], 2)})"
    ]
    for label in dict.fromkeys(p["label"] for p in probe["probes"]):
        told = ", ".join(
            f"{VIEWS[p['view']]} {number(p['auc'], 2)} (p {number(p['p'])})"
            for p in probe["probes"]
            if p["label"] == label
        )
        lines.append(f"Within {label} the source is told, by area under the curve, from {told}")
    return lines


def second_opinion(run: RunView) -> str:
    """Say what EasyOCR thinks of the finder, or why it was not asked."""
    opinion = run.run["second_opinion"]
    if isinstance(opinion, str):
        return opinion
    said = (
        f"EasyOCR looked at {opinion['n_images']} of the images too: {opinion['n_covered']} of the {opinion['n_regions']} regions "
        f"that it marks are covered by those of {run.plan['detector']['name']}."
    )
    read = [f"“{text}”" for text in opinion["missed"] if text][:_SHOWN_STRINGS]
    if not read:
        return said
    return f"{said} In the others it read {', '.join(read)}: text that the finder missed, or its own false alarms."


def not_applied(run: RunView) -> list[str]:
    """Say why conditions were not applied to some images: for each reason, to how many at most, under which conditions."""
    found: dict[str, dict[str, int]] = {}
    for use in run.uses.values():
        for reason, count in use.not_applied.items():
            found.setdefault(reason, {})[use.condition] = count
    total = run.plan["data"]["n_images"]
    lines = []
    for reason, counts in sorted(found.items(), key=lambda item: (-max(item[1].values()), item[0])):
        most = max(counts.values())
        worst = next(name for name, count in counts.items() if count == most)
        where = worst if len(counts) == 1 else f"{len(counts)} conditions, most under {worst}"
        up_to = "" if min(counts.values()) == most else "up to "
        lines.append(f"{reason}: {up_to}{most} of {total} images, {where}")
    return lines


def reach(run: RunView) -> str:
    """Say how small an effect the data could have shown."""
    found = [e for e in run.headline() if e.minimum_detectable is not None]
    if not found:
        return "No smallest detectable effect can be given."
    best = min(found, key=lambda e: e.minimum_detectable or 0.0)
    return (
        f"The smallest effect that these data would find in four of five repetitions is {number(best.minimum_detectable)} "
        f"({best.condition})."
    )


def summary_lines(run: RunView) -> list[str]:
    """Return the run in at most ten lines."""
    plan = run.plan
    accuracy = run.find("clean", "accuracy")
    counts = ", ".join(f"{n} {name}" for name, n in plan["data"]["class_counts"].items())
    lines = [
        f"{plan['model']['name']} ({plan['model']['architecture']}) on {plan['data']['name']}: "
        f"{plan['data']['n_images']} images of {plan['data']['n_patients']} patients ({counts})",
        f"Verdict: {run.verdict.status.upper()}. {headline(run)}",
        f"Accuracy {estimate(accuracy)}",
    ]
    # Those that say most: over all films first, but what only groups show before what shows nothing.
    telling = sorted([*run.headline(), *sensitive_groups(run)[:2]], key=lambda e: e.verdict != "sensitive")[:4]
    lines += [f"{where(e)}: {e.measure.replace('_', ' ')} {estimate(e)}, {e.verdict}" for e in telling]
    lines += relevance_lines(run)
    lines.append(reach(run))
    return lines[:10]


def where(effect: Effect) -> str:
    """Name the condition of an effect, and its group where it is not all films."""
    return effect.condition if effect.group == "all" else f"{effect.condition}, {place(effect.group)}"


def relevance_lines(run: RunView) -> list[str]:
    """Say where relevance lies, against both controls, and how well it foretells what text does."""
    summary = run.relevance_summary
    whole = next((g for g in summary["groups"] if g["group"] == "all"), None) if summary else None
    if summary is None or whole is None:
        return [str(run.run["relevance_note"])] if run.run.get("relevance_note") else []
    line = (
        f"Relevance inside text: {number(whole['enrichment']['value'], 1)} times its share of the area "
        f"({whole['n_images']} images)"
    )
    if whole["significant"] is not None:
        line += f", beyond both controls in {number(100 * whole['significant'], 0)} % of them"
    agreement = next((a for a in summary["agreement"] if a["signed"] is not None), None)
    if agreement is not None and text_matters(run):
        line += f"; its correlation with what the text really does is {number(agreement['signed']['value'], 2)}"
    elif agreement is not None:
        line += "; painted over, the text hardly moves the outputs"
    return [line]


def text_matters(run: RunView) -> bool:
    """Say whether painting the text over moves outputs enough for maps to be right or wrong about it.

    Below a quarter of the outputs' own spread a correlation with what the text does is one with noise.
    """
    falls = [r["fall_when_gone"] for r in run.relevance if r["fall_when_gone"] is not None]
    starts = [r["start"] for r in run.relevance if r["fall_when_gone"] is not None]
    return len(falls) > 1 and pstdev(falls) >= 0.25 * pstdev(starts)
