"""How one network's audit is judged against its truth, and rates of such judgements."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from audit.calibration.kinds import find_kind
from audit.calibration.outcomes import Estimate, Outcome
from audit.calibration.plants import is_named
from audit.store.group import parse_group

LEVEL = 0.95
"""Of every interval of a calibration."""
ONE_WAY = frozenset({"sharpness", "noise", "resolution", "compression"})
"""Families whose edits only add the plant to images that lack it: what it took away does not come back."""
IS_PLANT = 0.5
"""Share of an object's sightings that lie on the plant from which on it is the plant."""
_FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of networks with its exact interval (Clopper and Pearson)."""

    hits: int
    """Networks that count."""
    n: int
    """Networks."""
    share: float | None
    """hits / n; None of none."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""


def rate(hits: int, n: int) -> Rate:
    """Return a share with its exact interval: what binomial tests at 2.5 % on either side do not reject."""
    tail = (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return Rate(hits=hits, n=n, share=hits / n if n else None, low=low, high=high)


def is_found(outcome: Outcome) -> bool:
    """Say whether the audit failed the network."""
    return outcome.finding.exit_code == _FAILED


def names_its_cause(outcome: Outcome) -> bool:
    """Say whether the first sentence names the kind of the plant."""
    return is_named(find_kind(outcome.case.kind).families, outcome.finding.sentence)


def is_false_alarm(outcome: Outcome) -> bool:
    """Say whether a network was failed, or any effect of it called sensitive."""
    return is_found(outcome) or bool(outcome.finding.sensitive)


def judged_in_words(outcome: Outcome) -> str:
    """Return the judgement of one audit in a word or two."""
    if outcome.truth.rank == "null":
        return "false alarm" if is_false_alarm(outcome) else "quiet"
    if is_found(outcome):
        return "found"
    return "missed" if outcome.truth.rank == "planted" else "not found"


def true_effect(outcome: Outcome, estimate: Estimate) -> float | None:
    """Return what an estimate should have been; None where no intervention of the zoo says it.

    Taking text away is compared with the twin without any text, of all images or of those that bear a string; taking another plant
    away with the clean twin. Another source's look is the other state of the image. Letters of another class are compared with the
    state of an image of another class, beyond that of one of its own; a property of another class with the plant dealt as often as
    that class has it. An object is tested on the images that show it,
    or on those of other classes that do not: it is compared with the truth over these, where it is the plant.
    """
    kind, truth = find_kind(outcome.case.kind), outcome.truth
    if is_named(("text",), estimate.suspect):
        if not estimate.adds:
            return truth.text if estimate.group == "all" else truth.words.get(parse_group(estimate.group).value or "")
        return (
            truth.exchanged
            if kind.family == "text" and kind.otherwise is not None and estimate.group == "all"
            else None
        )
    if estimate.group != "all" or not is_named(kind.families, estimate.suspect) or len(kind.families) > 1:
        return None
    if kind.family == "object":
        if estimate.on_plant is None or estimate.on_plant < IS_PLANT:
            return None
        return truth.added if estimate.adds else truth.removed_carriers
    if kind.family == "source":
        return truth.toggled
    if not estimate.adds:
        return truth.removed
    return truth.taken_on if kind.family in ONE_WAY else truth.transported


def is_wrongly_robust(outcome: Outcome) -> bool:
    """Say whether any effect was called robust while its truth exceeds the limit."""
    truths = ((estimate, true_effect(outcome, estimate)) for estimate in outcome.finding.estimates)
    return any(e.verdict == "robust" and truth is not None and truth > e.tolerance for e, truth in truths)


def in_words(found: Rate) -> str:
    """Return a rate as a sentence holds it."""
    if found.share is None:
        return "no network"
    return f"{found.hits} of {found.n}, {found.share:.2f} [{found.low:.2f}, {found.high:.2f}]"
