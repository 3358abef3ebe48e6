"""What the accuracy is worth: compared with a guess from the source, by source, and how well the source can be predicted."""

from __future__ import annotations

from audit.data.strings import shown_string
from audit.reports.findings.effect_words import estimate, points
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, ACCURACY_OVER_SOURCE, AUC_OVER_SOURCE
from audit.store.numbers import number
from audit.store.results import Effect

_TOLD = 0.05
"""Largest p at which the source counts as predicted by the network's features."""


def worth(run: RunView) -> list[str]:
    """State what the accuracy is worth, in one to three sentences; the first screen of every rendering contains them."""
    return [_beside_source(run), *_by_source(run), *_in_features(run)]


def further_worth(run: RunView) -> list[str]:
    """Return the sentences that are not in the headline, for renderings that print both."""
    return worth(run)[1:] if says_little(run) else worth(run)


def says_little(run: RunView) -> bool:
    """Return whether the network has not been shown to be better than a guess from the source alone."""
    over = run.find("clean", AUC_OVER_SOURCE if run.multi_label else ACCURACY_OVER_SOURCE)
    return over is None or over.low is None or over.low <= 0


def _auc_beside_source(run: RunView) -> str:
    mean, over = run.find("clean", "macro_auc"), run.find("clean", AUC_OVER_SOURCE)
    if mean is None or mean.estimate is None or over is None or over.estimate is None:
        return "AUC was not measured: no output has images with and without its finding."
    said = (
        f"The mean AUC of the outputs is {estimate(mean)}; ranking images by how common the finding is in their source gives "
        f"{number(mean.estimate - over.estimate, 3)}"
    )
    if not says_little(run):
        return f"{said}."
    return f"{said}. The network is not significantly better than that, so its AUC says little about the task."


def _beside_source(run: RunView) -> str:
    if run.multi_label:
        return _auc_beside_source(run)
    accuracy, over = run.find("clean", ACCURACY), run.find("clean", ACCURACY_OVER_SOURCE)
    if accuracy is None or accuracy.estimate is None or over is None or over.estimate is None:
        return "Accuracy was not measured."
    one_source = len(run.plan.data.source_counts) < 2
    what = (
        "always predicting the most frequent class"
        if one_source
        else "always predicting each source's most frequent class"
    )
    interval = (
        f" ({round(100 * accuracy.level)} % CI {points(accuracy.low)} to {points(accuracy.high)})"
        if accuracy.low is not None
        else ""
    )
    said = f"Accuracy is {points(accuracy.estimate)} %{interval}; {what} gives {points(accuracy.estimate - over.estimate)} %"
    if not says_little(run):
        return f"{said}."
    return f"{said}. The network is not significantly better than that, so its accuracy says little about the task."


def _by_source(run: RunView) -> list[str]:
    found = [
        e
        for e in run.effects
        if e.condition == "clean" and e.measure == ACCURACY and e.group.kind == "source" and e.estimate is not None
    ]
    if len(found) < 2:
        return []
    found.sort(key=lambda e: e.estimate or 0.0)
    return [f"Accuracy by source ranges from {_source(found[0])} to {_source(found[-1])}."]


def _source(e: Effect) -> str:
    return f"{points(e.estimate)} % ({shown_string(e.group.value or '')}, {e.n_images} images)"


def _in_features(run: RunView) -> list[str]:
    told = [p for p in run.probe.probes if p.view == "features" and p.p <= _TOLD]
    if not told:
        return []
    clearest = max(told, key=lambda p: p.auc)
    return [
        f"The network's features reveal the source: within class {shown_string(clearest.label)} they predict it with an AUC of "
        f"{number(clearest.auc, 2)} (0.5 is chance). The edit that applies another source's look tests whether the network uses it."
    ]
