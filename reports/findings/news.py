"""Whether the findings of a run are new: its verdicts compared with those of the last earlier run of the same images."""

from __future__ import annotations

from audit.baseline.identity import other_cohort, other_edit
from audit.data.strings import shown_string
from audit.reports.reading.siblings import runs_beside
from audit.reports.reading.view import RunView

NOT_KNOWN = "Not known: no earlier run on these images was found beside this one. `audit diff RUN EARLIER` compares any two runs."
"""Where there is nothing to compare with."""


def news(run: RunView) -> str:
    """State what an earlier run of the same images did not find, in a sentence or two, or that there is none to compare with."""
    if run.problems:
        return "Not known: files of this run were changed after it ended."
    before = _last_before(run)
    if before is None:
        return NOT_KNOWN
    kept = [e.condition for e in run.headline() if not other_edit(run.plan, before.plan, e.condition)[0]]
    now, then = (_sensitive(one, kept) for one in (run, before))
    said = [
        f"{name}: {', '.join(run.title(c) for c in kept if c in found)}"
        for name, found in (
            ("newly sensitive", now - then),
            ("no longer sensitive", then - now),
            ("sensitive in both", now & then),
        )
        if found
    ] or ["no edit is sensitive in either"]
    untold = [e.condition for e in run.headline() if e.condition not in kept and e.verdict == "sensitive"]
    if untold:
        said.append(f"not compared, because the earlier run edited otherwise: {', '.join(map(run.title, untold))}")
    name = shown_string(before.path.absolute().name, 80)
    return (
        f"Compared with {name} (verdict {before.verdict.status}), {'; '.join(said)}. A changed verdict is no test: "
        "`audit diff RUN BASELINE` tests each change image by image."
    )


def _sensitive(run: RunView, conditions: list[str]) -> set[str]:
    return {e.condition for e in run.headline() if e.condition in conditions and e.verdict == "sensitive"}


def _last_before(run: RunView) -> RunView | None:
    """Return the last earlier run of the same images and outputs."""
    own = (run.run.started, run.path.absolute().name)
    earlier = [
        other
        for other in runs_beside(run)
        if (other.run.started, other.path.absolute().name) < own
        and not other.problems
        and not other_cohort(other.plan, run.plan)
        and other.plan.model.task == run.plan.model.task
    ]
    return max(earlier, key=lambda other: (other.run.started, other.path.absolute().name), default=None)
