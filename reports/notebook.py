"""A finished run in a notebook: its verdict and the effects that matter, in a few lines of HTML."""

from __future__ import annotations

from markupsafe import Markup

from audit.data.strings import shown_string
from audit.gates.scope import scope_sentence
from audit.reports.findings.effect_words import MARKS, estimate, where
from audit.reports.findings.headline import headline
from audit.reports.findings.summary import telling_effects
from audit.reports.reading.view import RunView

_ROW = Markup("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>")


def notebook_html(run: RunView) -> str:
    """Return a fragment of HTML; names of classes and strings of images are escaped."""
    title = Markup("<p><strong>{}: {}</strong></p>").format(run.plan.model.name, run.verdict.status)
    said = Markup("<p>{}</p>").format(headline(run))
    if run.verdict.status == "incomplete":
        return title + said
    rows = Markup("").join(
        _ROW.format(shown_string(where(run, e), 80), estimate(e), e.n_images, f"{MARKS.get(e.verdict, '')} {e.verdict}")
        for e in telling_effects(run)
    )
    head = Markup("<tr><th>edit</th><th>effect (95 % CI)</th><th>images</th><th>verdict</th></tr>")
    return title + said + Markup("<table>{}{}</table><p>{}</p>").format(head, rows, scope_sentence(run.verdict))
