"""Provenance: the command, the hashes and the machine of the run."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.recomputed import recomputed_lines
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object]:
    """Return run.json, and the digests of model and data."""
    return {
        "result": f"audit {run.plan.tool_version}, plan {run.run.plan_hash[:12]}, finished {run.run.finished}",
        "run": run.run,
        "model_digest": run.plan.model.digest,
        "data_hash": run.plan.data.content_hash,
        "recomputed": recomputed_lines(run),
    }


SECTION = Section(
    name="provenance",
    title="Provenance",
    template="sections/provenance.html.j2",
    view=view,
    comes_from="run.json, plan.json; recomputed.json: when a share of the run was last computed again",
)
