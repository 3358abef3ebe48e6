"""A finished run in other tools' forms: a model card in Markdown, a CycloneDX document, numbers for MLflow."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import uuid
from typing import Any

from audit.reports.groups import told_effects
from audit.reports.headline import headline
from audit.reports.limits import limitations
from audit.reports.runfolder import RunView
from audit.reports.summary import reach
from audit.reports.words import estimate, where, without_folders
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.store.numbers import counted
from audit.store.results import Effect, to_json

# MLflow admits 250 characters, of which the measure needs some; and 500 in the parameters of its older versions.
_MOST_METRIC, _MOST_PARAMETER = 150, 500


def model_card(run: RunView) -> str:
    """Return a model card with a YAML header that model hubs read; what only a person knows is left open and marked so."""
    plan = run.plan
    told = plan["model"].get("training", {}).get("provenance") or {}
    lines = [
        *_header(run),
        "",
        f"# Model card: {_inert(plan['model']['name'])}",
        "",
        f"- Architecture: {_inert(plan['model']['architecture'])}",
        f"- Digest: {plan['model']['digest']}",
        f"- Classes: {', '.join(_inert(c) for c in plan['model']['classes'])}",
        "- Intended use: **to be completed by a person**. Research use; not for diagnosis.",
        "",
        "## Training",
        "",
        *(
            [
                f"- {_inert(k)}: {_inert(without_folders(v))}"
                for k, v in sorted(told.items())
                if isinstance(v, (str, int, float))
            ]
            or ["The bundle has no training record."]
        ),
        "",
        "## Evaluation",
        "",
        f"{counted(plan['data']['n_images'], 'image')} of {counted(plan['data']['n_patients'], 'patient')} of "
        f"{_inert(plan['data']['name'])} ({plan['data']['content_hash'][:12]}). Accuracy {estimate(run.find('clean', ACCURACY))}.",
        "",
        f"{_inert(headline(run))} {_inert(reach(run))}",
        "",
        "| Condition | Measure | Estimate | Images | Verdict |",
        "|---|---|---|---|---|",
        *(
            f"| {_inert(where(e))} | {e.measure} | {estimate(e)} | {e.n_images} | {e.verdict} |"
            for e in told_effects(run)
        ),
        "",
        "## Limitations",
        "",
        *(f"- {_inert(line)}" for line in limitations(run)),
    ]
    return "\n".join(lines) + "\n"


def _header(run: RunView) -> list[str]:
    """Return the card's metadata: a model index with the accuracy and every judged effect that was measured."""
    lines = [
        "---",
        'pipeline_tag: "image-classification"',
        'tags: ["audit", "shortcut-learning"]',
        "model-index:",
        f"- name: {_yaml(run.plan['model']['name'])}",
        "  results:",
        '  - task: {type: "image-classification"}',
        "    dataset:",
        f"      name: {_yaml(run.plan['data']['name'])}",
        f"      type: {_yaml('sha256:' + run.plan['data']['content_hash'])}",
        "    metrics:",
    ]
    for e in _measured(run):
        name = f"{MEASURES[e.measure].title}, {e.condition}"
        lines.append(f"    - {{type: {_yaml(e.measure)}, name: {_yaml(name)}, value: {e.estimate:.6f}}}")
    if lines[-1] == "    metrics:":
        lines[-1] = "    metrics: []"
    return [*lines, "---"]


def _measured(run: RunView) -> list[Effect]:
    return [e for e in (run.find("clean", ACCURACY), *run.headline()) if e is not None and e.estimate is not None]


def _yaml(value: object) -> str:
    """Quote a string for YAML: one line, and every character that does not print, or turns text round, as an escape."""
    quoted = json.dumps(" ".join(str(value).split()), ensure_ascii=False)
    return "".join(f"\\U{ord(c):08x}" if unicodedata.category(c)[0] == "C" else c for c in quoted)


def cyclonedx(run: RunView) -> str:
    """Return a CycloneDX 1.6 document with one machine-learning model and its model card; the same run gives the same bytes."""
    plan = run.plan
    metrics = []
    for e in _measured(run):
        metric: dict[str, Any] = {"type": e.measure, "value": f"{e.estimate:g}", "slice": f"{e.condition}, {e.group}"}
        if e.low is not None and e.high is not None:
            metric["confidenceInterval"] = {"lowerBound": f"{e.low:g}", "upperBound": f"{e.high:g}"}
        metrics.append(metric)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, str(run.run['plan_hash']))}",
        "version": 1,
        "metadata": {
            "timestamp": run.run["finished"],
            "properties": [{"name": "audit:verdict", "value": run.verdict.status}],
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": plan["model"]["name"],
                "version": plan["model"]["digest"][:12],
                "hashes": [{"alg": "SHA-256", "content": plan["model"]["digest"]}],
                "modelCard": {
                    "modelParameters": {
                        "task": "classification",
                        "modelArchitecture": plan["model"]["architecture"],
                        "datasets": [{"type": "dataset", "name": plan["data"]["name"]}],
                    },
                    "quantitativeAnalysis": {"performanceMetrics": metrics},
                    "considerations": {"technicalLimitations": limitations(run)},
                },
            }
        ],
    }
    return to_json(document)


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


def _inert(value: object) -> str:
    """Make a string inert in Markdown: one line, no markup, no HTML, nothing invisible that turns the text round."""
    flat = " ".join(str(value).split())
    flat = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in flat)
    return re.sub(r"([\\`*_\[\]|#!~])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
