"""report.html: one file, no request, complete with scripts off, within a budget of bytes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audit.data.strings import MIN_PATIENTS as MIN_SHOWN
from audit.data.strings import shown_string
from audit.files import write_atomically
from audit.gates.scope import scope_sentence
from audit.reports import doses, groups, relevance, summary, training, words
from audit.reports.cases import scored_classes
from audit.reports.checklist import checklist
from audit.reports.controls import controls
from audit.reports.figures import WIDTH_PX, Dots, accuracy_dots, effect_forest
from audit.reports.groups import JUDGED_COLUMNS, drawn, group_accuracy, judged_groups
from audit.reports.headline import headline
from audit.reports.limits import MIN_PATIENTS, deviations, limitations
from audit.reports.markers import marker_rows
from audit.reports.methods import Relevance, methods, read_facts, relevance_sentence
from audit.reports.placebos import placebo_figure
from audit.reports.runfolder import RunView, read_run, understood
from audit.reports.signoff import ANSWERS, evidence_digest, findings
from audit.reports.training import training_story
from audit.reports.worth import further_worth, worth
from audit.statistics.catalogue import MEASURES, figure_in_words, rows_of
from audit.store.numbers import bracketed, compact, counted

OPEN_EXAMPLES = 12
MOST_PRINTED = 120
"""Rows of a folded table that paper gets too: what holds more would take a page after a page."""
# Larger files stall browsers and mail servers.
MAX_BYTES = 10_000_000
_PICTURES = ("clean", "edit", "difference", "overlay")


def render_html(path: Path, *, max_bytes: int = MAX_BYTES) -> Path:
    """Write `report.html` of a finished run; the same run gives the same bytes.

    A page beyond the budget loses pictures, the folded cases' first and from the last, and says how many.

    Parameters
    ----------
    path : Path
        The run folder.
    max_bytes : int
        Most that the page may weigh.

    Raises
    ------
    StoreError
        If the run is not complete or a file of it is damaged.
    """
    run = read_run(path)
    with understood(path):
        page = within_budget(run, max_bytes)
    target = path / "report.html"
    write_atomically(target, page)
    return target


def within_budget(run: RunView, max_bytes: int) -> bytes:
    """Return the page, without as many of the last cases' pictures as it takes to stay within the budget."""
    page = _page(run, dropped=0)
    shown = len(run.examples)
    while len(page) > max_bytes and shown:
        excess = len(page) - max_bytes
        while shown and excess > -4096:
            shown -= 1
            excess -= sum(len((run.examples[shown][part] or {}).get("uri") or "") for part in _PICTURES)
        few = (*run.examples[:shown], *(_without_pictures(e) for e in run.examples[shown:]))
        page = _page(dataclasses.replace(run, examples=few), dropped=len(run.examples) - shown)
    return page


def _without_pictures(example: Any) -> dict[str, Any]:
    """Leave out the pictures that are there; one that is gone stays one that is gone."""
    left_out = {"uri": None, "left_out": True}
    return {
        **example,
        **{part: {**example[part], **left_out} for part in _PICTURES if example[part] and example[part]["uri"]},
    }


def environment() -> Environment:
    """Return the templates, escaping everything, failing on names that are not given."""
    found = Environment(
        loader=PackageLoader("audit.templates", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=words.number, signed=words.signed, bracketed=bracketed, compact=compact, counted=counted, figure=figure_in_words,
        estimate=words.estimate, shown=shown_string,
    )  # fmt: skip
    return found


def frame(*, script: bool = True) -> dict[str, Any]:
    """Return what every page is framed by: style, script, and the policy that admits these two alone."""
    style, ours = _asset("report.css"), _asset("report.js") if script else ""
    return {
        "policy": _policy(style, ours),
        "style": Markup(style),  # noqa: S704  # our own file, and its hash is in the policy
        "script": Markup(ours),  # noqa: S704
    }


def _page(run: RunView, *, dropped: int) -> bytes:
    facts = read_facts(run)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            plan=run.plan,
            words=words,
            measures=MEASURES.values(),
            measures_of=rows_of,
            headline=headline(run),
            worth=worth(run),
            further_worth=further_worth(run),
            scope=scope_sentence(run.verdict),
            run_lines=summary,
            width=WIDTH_PX,
            forest=effect_forest(run.headline("edit")),
            alone=effect_forest(run.headline("sufficiency")),
            ladders=doses.dose_curves(run),
            dose_width=doses.WIDTH_PX,
            dose_height=doses.HEIGHT_PX,
            groups=accuracy_dots(drawn(group_accuracy(run)), MIN_PATIENTS),
            group_effects=group_accuracy(run),
            group_forest=_group_forest(run),
            classes=judged_groups(run, "class"),
            strings=judged_groups(run, "word"),
            by_group=groups,
            maps=relevance,
            relevance_figure=relevance.group_dots(run),
            placebos=placebo_figure(run),
            scatter=relevance.validity_scatter(run),
            subgroups=groups.explored_groups(run),
            controls=controls(run),
            story=training_story(run),
            chart_width=training.WIDTH_PX,
            chart_height=training.HEIGHT_PX,
            open_examples=OPEN_EXAMPLES,
            scored=scored_classes,
            most_printed=MOST_PRINTED,
            dropped=dropped,
            n_covered=sum(e["n_covered"] for e in {e["record"]: e for e in run.examples}.values()),
            min_shown=MIN_SHOWN,
            markers=marker_rows(run),
            min_patients=MIN_PATIENTS,
            deviations=deviations(run),
            limitations=limitations(run),
            methods=methods(facts),
            made=relevance_sentence(facts.relevance) if isinstance(facts.relevance, Relevance) else "",
            checklist=checklist(run),
            findings=findings(run),
            answers=ANSWERS,
            evidence=evidence_digest(run),
            **frame(),
        )
    )
    return page.encode("utf-8", "xmlcharrefreplace")


def _asset(name: str) -> str:
    return (resources.files("audit.templates") / name).read_text(encoding="utf-8").strip()


def _policy(style: str, script: str) -> str:
    """Return a content policy that admits these two blocks, pictures in the file, and nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    runs = f"script-src 'sha256-{digest(script)}'; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(style)}'; {runs}"
        "base-uri 'none'; form-action 'none'"
    )


def _group_forest(run: RunView) -> Dots | None:
    """Draw the judged groups under the edit of text that leaves no artefact of its own; None where no word is judged."""
    for edit in relevance.text_edits(run):
        rows = [r for kind in JUDGED_COLUMNS for r in judged_groups(run, kind) if r.effect.condition == edit]
        if any(r.effect.group.kind == "word" for r in rows):
            return effect_forest([r.effect for r in rows], f"{edit}, by class and word", [r.name for r in rows])
    return None
