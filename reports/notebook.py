"""A finished run in a notebook: its verdict, the forest of its effects, and the images that moved most."""

from __future__ import annotations

from audit.data.strings import shown_string
from audit.gates.scope import scope_sentence
from audit.reports.figures.dots import effect_forest
from audit.reports.findings.effect_words import MARKS, estimate, where
from audit.reports.findings.headline import headline
from audit.reports.findings.summary import telling_effects
from audit.reports.page.templates import environment
from audit.reports.reading.view import RunView

N_CASES = 3
"""Cases that are shown: one of each of the first edits."""


def notebook_html(run: RunView) -> str:
    """Return a fragment of HTML; names of classes and strings of images are escaped."""
    edits = [e for e in run.headline("edit") if e.estimate is not None]
    seen: dict[str, object] = {}
    for example in run.examples:
        seen.setdefault(example["condition"], {**example, "title": run.title(example["condition"])})
    return (
        environment()
        .get_template("notebook.html.j2")
        .render(
            run=run,
            id=run.run.plan_hash[:8],
            headline=headline(run),
            incomplete=run.verdict.status == "incomplete",
            forest=effect_forest(edits, labels=[run.title(e.condition) for e in edits]),
            effects=[
                {
                    "where": shown_string(where(run, e), 80),
                    "estimate": estimate(e),
                    "n_images": e.n_images,
                    "verdict": f"{MARKS.get(e.verdict, '')} {e.verdict}",
                }
                for e in telling_effects(run)
            ],
            cases=list(seen.values())[:N_CASES],
            scope=scope_sentence(run.verdict),
        )
    )
