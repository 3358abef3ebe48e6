"""Numbers and names in words: every rendering says the same."""

from __future__ import annotations

from audit.metrics import METRICS
from audit.results import Effect
from reports.groups import place

MEASURES = {name: metric.words for name, metric in METRICS.items()}
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


def where(effect: Effect) -> str:
    """Name the condition of an effect, and its group where it is not all films."""
    return effect.condition if effect.group == "all" else f"{effect.condition}, {place(effect.group)}"


def without_folders(value: object) -> str:
    """Return a value of a bundle's story; of a path only its last part, as folders are of one machine."""
    text = str(value)
    is_path = ("/" in text or "\\" in text) and " " not in text and "://" not in text
    return text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if is_path else text
