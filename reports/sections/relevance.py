"""Text, the relevance inside it, and whether the heatmaps can be believed."""

from __future__ import annotations

from collections.abc import Mapping

from audit.data.map_budget import map_limit_in_words
from audit.reports.figures import relevance_figures as figures
from audit.reports.figures.dots import WIDTH_PX
from audit.reports.figures.placebos import placebo_figure
from audit.reports.findings.methods_facts import Relevance, read_facts
from audit.reports.findings.methods_sentences import relevance_sentence
from audit.reports.findings.relevance_by_group import group_rows, text_by_class, text_edits, where_it_went
from audit.reports.findings.summary import relevance_lines, text_matters
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object]:
    """Return what lies in text by group and word, and how heatmaps agree with edits."""
    made = read_facts(run).relevance
    conserved = bool(run.relevance) and run.relevance[0]["conservation_gap"] is not None
    return {
        "result": " ".join(relevance_lines(run)) or "no image with text has a heatmap",
        "titles": run.titles,
        "with_text": text_by_class(run),
        "summary": run.relevance_summary,
        "figure": figures.group_dots(run),
        "width": WIDTH_PX,
        "placebos": placebo_figure(run),
        "edits": text_edits(run),
        "groups": group_rows(run, ("all", "output", "class", "source")),
        "strings": group_rows(run, ("word",)),
        "scatter": figures.validity_scatter(run),
        "scatter_width": figures.WIDTH_PX,
        "scatter_height": figures.HEIGHT_PX,
        "text_matters": text_matters(run),
        "made": relevance_sentence(made) if isinstance(made, Relevance) else "",
        "went": where_it_went(run) if conserved else {},
        "limit": map_limit_in_words(run.plan),
        "why_none": run.run.relevance_note or "No image with text has a heatmap.",
    }


SECTION = Section(
    name="relevance",
    title="Relevance",
    template="sections/relevance.html.j2",
    view=view,
    comes_from="relevance.json, relevance.parquet, regions.parquet",
)
