"""Effects, measures and verdicts in words that all renderings share."""

from __future__ import annotations

from audit.gates.needed import needed_in_words
from audit.reports.findings.group_effects import place
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import MEASURES
from audit.store.group import ALL
from audit.store.numbers import bracketed, compact, number
from audit.store.results import Effect

VERDICTS = {
    "sensitive": "significantly larger than the limit, corrected for multiple comparisons",
    "robust": "within the limit, in both directions",
    "bounded": "within the limit, in the harmful direction only",
    "reversed": "the placebo disturbs the network more than the edit: no evidence of robustness, use another fill",
    "inconclusive": "the sample is too small to decide",
    "void": "a control failed: nothing can be concluded",
    "descriptive": "reported, not judged",
}
MARKS = {"sensitive": "◆", "robust": "●", "bounded": "●", "reversed": "◁", "inconclusive": "○", "void": "✕"}
"""Sign of each verdict that is judged, for those who do not see colours."""


def estimate(effect: Effect | None) -> str:
    """Return an estimate with its interval."""
    if effect is None or effect.estimate is None:
        return "not measured"
    return bracketed(effect.estimate, effect.low, effect.high)


def points(value: float | None) -> str:
    """Return a probability or a share in percentage points."""
    return number(None if value is None else 100 * value, 1)


def points_interval(effect: Effect, *, turned: bool = False) -> str:
    """Return the interval and the limit of an effect in percentage points: `(95 % CI 25.6 to 36.9; limit 5)`.

    Of an effect that exceeds the limit, but not once it is corrected for multiple comparisons, it is the corrected interval: the other
    would not show why the effect is undecided. The limit has both signs unless the effect exceeds it, or is one-sided.

    Parameters
    ----------
    effect : Effect
        An effect with an estimate.
    turned : bool
        Whether a fall is stated as a positive number.
    """
    corrected = effect.verdict == "inconclusive" and (effect.low or 0.0) > (effect.tolerance or 0.0)
    low, high = (effect.simultaneous_low, effect.simultaneous_high) if corrected else (effect.low, effect.high)
    if turned:
        low, high = (None if v is None else -v for v in (high, low))
    sign = "" if effect.verdict == "sensitive" or MEASURES[effect.measure].one_sided else "±"
    limit = "" if effect.tolerance is None else f"; limit {sign}{compact(100 * effect.tolerance, 3)}"
    what = ", corrected for multiple comparisons" if corrected else ""
    return f"({round(100 * effect.level)} % CI {points(low)} to {points(high)}{what}{limit})"


def needed_words(effect: Effect) -> str:
    """State what would decide an effect that this sample leaves open."""
    if effect.patients_to_decide is None and (effect.blind or effect.classes_absent):
        return "more patients alone would not decide"
    return needed_in_words(effect.patients_to_decide, effect.n_patients)


def where(run: RunView, effect: Effect) -> str:
    """Name the condition of an effect, and its group where it is not all images."""
    title = run.title(effect.condition)
    return title if effect.group == ALL else f"{title}, {place(effect.group)}"


def reads(run: RunView, condition: str) -> str:
    """Return the verb for what a condition gives away: text is read, anything else is relied on."""
    return "reads" if run.planned(condition).declared.concerns("text") else "relies on"


def capital(text: str) -> str:
    """Return a text that begins a sentence."""
    return text[:1].upper() + text[1:]


def without_folders(value: object) -> str:
    """Return a value of a bundle's story; of a path only its last part, as folders are of one machine."""
    text = str(value)
    is_path = ("/" in text or "\\" in text) and " " not in text and "://" not in text
    return text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if is_path else text
