"""Numbers and verdicts in words: every rendering says the same."""

from __future__ import annotations

from audit.results import Effect
from reports.runfolder import RunView

MEASURES = {
    "accuracy": "share of images that are classified correctly",
    "balanced_accuracy": "mean over the classes of the share that is classified correctly",
    "recall": "share of a class's images that are classified correctly",
    "margin": "logit of the true class minus the largest other logit",
    "flip_rate": "share of images whose predicted class changes",
    "harm": "probability of the true class that is lost",
    "total_variation": "how far the class probabilities move: half the sum of their absolute changes, from 0 to 1",
    "shortcut_sensitivity": "total variation under the edit minus the same under its placebo, from -1 to 1",
    "max_abs_probability_change": "largest change of any class probability in any image",
}
VERDICTS = {
    "sensitive": "shown to be larger than the tolerance",
    "robust": "shown to be within the tolerance",
    "inconclusive": "these data cannot tell",
    "descriptive": "reported, not judged",
}
_PERCENT = {"accuracy", "balanced_accuracy", "recall", "flip_rate"}


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a true minus sign, or a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return "0" if float(text) == 0 and value == 0 else text.replace("-", "−")


def estimate(effect: Effect | None) -> str:
    """Return an estimate with its interval."""
    if effect is None or effect.estimate is None:
        return "not measured"
    digits = 3
    if effect.low is None or effect.high is None:
        return number(effect.estimate, digits)
    return f"{number(effect.estimate, digits)} [{number(effect.low, digits)}, {number(effect.high, digits)}]"


def headline(run: RunView) -> str:
    """Return the finding of a run in one or two sentences; never "no problems found"."""
    effects = [e for e in run.headline() if e.estimate is not None]
    if not effects:
        return "No edit could be applied to any image, so nothing can be said about text."
    sensitive = [e for e in effects if e.verdict == "sensitive"]
    robust = [e for e in effects if e.verdict == "robust"]
    level = round(100 * effects[0].level)
    if sensitive:
        first = sensitive[0]
        return (
            f"The network reads the text: under {first.condition} the class probabilities move by {number(first.estimate)} more "
            f"than under {first.placebo} ({level} % interval {number(first.low)} to {number(first.high)}), beyond the tolerance "
            f"of {number(first.tolerance, 2)}."
        )
    if len(robust) == len(effects):
        return (
            f"Every edit of the text is shown to move the class probabilities by at most {number(effects[0].tolerance, 2)} more "
            f"than its placebo; the largest estimate is {number(effects[0].estimate)} ({effects[0].condition})."
        )
    first = next(e for e in effects if e.verdict == "inconclusive")
    return (
        f"These data cannot tell whether the network reads the text: under {first.condition} the estimate is "
        f"{number(first.estimate)} ({level} % interval {number(first.low)} to {number(first.high)}), and the interval holds the "
        f"tolerance of {number(first.tolerance, 2)}."
    )


def reach(run: RunView) -> str:
    """Say how small an effect the data could have shown."""
    floors = [e.minimum_detectable for e in run.headline() if e.minimum_detectable is not None]
    if not floors:
        return "No smallest detectable effect can be given."
    return f"The smallest shortcut sensitivity that these data would find in four of five repetitions is {number(min(floors))}."


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
    lines += [f"{e.condition}: shortcut sensitivity {estimate(e)}, {e.verdict}" for e in run.headline()[:4]]
    masses = [r["enrichment"] for r in run.relevance if r["enrichment"] is not None]
    if masses:
        middle = sorted(masses)[len(masses) // 2]
        lines.append(
            f"Relevance inside text: {number(middle, 1)} times its share of the area (median of {len(masses)} images)"
        )
    elif run.run.get("relevance_note"):
        lines.append(str(run.run["relevance_note"]))
    lines.append(reach(run))
    return lines[:10]
