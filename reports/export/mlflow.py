"""Parameters and metrics of a run for MLflow."""

from __future__ import annotations

import hashlib
import re

from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY

# MLflow admits 250 characters, of which the measure needs some; and 500 in the parameters of its older versions.
_MOST_METRIC, _MOST_PARAMETER = 150, 500


def mlflow_numbers(run: RunView) -> tuple[dict[str, str], dict[str, float]]:
    """Return parameters and metrics under names that every store of MLflow admits."""
    parameters = {
        "model": str(run.plan["model"]["name"]),
        "model_digest": str(run.plan["model"]["digest"]),
        "data_hash": str(run.plan["data"]["content_hash"]),
        "suite": f"{run.plan['suite']['name']} {run.plan['suite']['version']}",
        "plan_hash": str(run.run["plan_hash"]),
        "verdict": run.verdict.status,
    }
    metrics = {}
    for e in [run.find("clean", ACCURACY), *run.headline()]:
        if e is None:
            continue
        name = f"{_metric_name(e.condition)}/{e.measure}"
        # Its store of files makes a folder of what stands before a slash: the bounds may not lie under the estimate.
        ends = {"": e.estimate, "_low": e.low, "_high": e.high}
        metrics.update({name + end: value for end, value in ends.items() if value is not None})
    return {key: value[:_MOST_PARAMETER] for key, value in parameters.items()}, metrics


def _metric_name(condition: str) -> str:
    """Return a condition's name as MLflow admits it: one part of a path; what had to be changed is told apart by a digest."""
    plain = re.sub(r"[^\w .-]", "_", condition).strip(". ")[:_MOST_METRIC]
    return plain if plain == condition else f"{plain}-{hashlib.sha256(condition.encode()).hexdigest()[:6]}"
