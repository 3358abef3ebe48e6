"""A CycloneDX document with one machine-learning model and its model card."""

from __future__ import annotations

import uuid
from typing import Any

from audit.reports.findings.limitations import limitations
from audit.reports.reading.view import RunView
from audit.store.serialise import to_json


def cyclonedx(run: RunView) -> str:
    """Return a CycloneDX 1.6 document with one machine-learning model and its model card; the same run gives the same bytes."""
    plan = run.plan
    metrics = []
    for e in run.measured_headline():
        metric: dict[str, Any] = {"type": e.measure, "value": f"{e.estimate:g}", "slice": f"{e.condition}, {e.group}"}
        if e.low is not None and e.high is not None:
            metric["confidenceInterval"] = {"lowerBound": f"{e.low:g}", "upperBound": f"{e.high:g}"}
        metrics.append(metric)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, run.run.plan_hash)}",
        "version": 1,
        "metadata": {
            "timestamp": run.run.finished,
            "properties": [{"name": "audit:verdict", "value": run.verdict.status}],
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": plan.model.name,
                "version": plan.model.digest[:12],
                "hashes": [{"alg": "SHA-256", "content": plan.model.digest}],
                "modelCard": {
                    "modelParameters": {
                        "task": "classification",
                        "modelArchitecture": plan.model.architecture,
                        "datasets": [{"type": "dataset", "name": plan.data.name}],
                    },
                    "quantitativeAnalysis": {"performanceMetrics": metrics},
                    "considerations": {"technicalLimitations": limitations(run)},
                },
            }
        ],
    }
    return to_json(document)
