"""Effects, measures and verdicts in words that all renderings share."""

from __future__ import annotations

from audit.reports.findings.group_effects import place
from audit.store.group import ALL
from audit.store.numbers import bracketed
from audit.store.results import Effect

VERDICTS = {
    "sensitive": "significantly larger than the limit, corrected for multiple comparisons",
    "robust": "within plus and minus the limit",
    "bounded": "below the limit; a one-sided statement",
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


def where(effect: Effect) -> str:
    """Name the condition of an effect, and its group where it is not all images."""
    return effect.condition if effect.group == ALL else f"{effect.condition}, {place(effect.group)}"


def without_folders(value: object) -> str:
    """Return a value of a bundle's story; of a path only its last part, as folders are of one machine."""
    text = str(value)
    is_path = ("/" in text or "\\" in text) and " " not in text and "://" not in text
    return text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if is_path else text
