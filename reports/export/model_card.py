"""A model card in Markdown, with a YAML header that model hubs read."""

from __future__ import annotations

import json
import unicodedata

from audit.reports.findings.effect_words import estimate, where, without_folders
from audit.reports.findings.group_effects import told_effects
from audit.reports.findings.headline import headline
from audit.reports.findings.limitations import limitations
from audit.reports.findings.markdown_words import inert
from audit.reports.findings.review import review_sentence, reviewed_findings, standing_reviews
from audit.reports.findings.summary import reach
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.store.numbers import counted


def model_card(run: RunView) -> str:
    """Return a model card with a YAML header that model hubs read; what only a person knows is left open and marked so."""
    plan = run.plan
    told = plan.model.training.provenance
    lines = [
        *_header(run),
        "",
        f"# Model card: {inert(plan.model.name)}",
        "",
        f"- Architecture: {inert(plan.model.architecture)}",
        f"- Digest: {plan.model.digest}",
        f"- Classes: {', '.join(inert(c) for c in plan.model.classes)}",
        "- Intended use: **to be completed by a person**. Research use; not for diagnosis.",
        "",
        "## Training",
        "",
        *(
            [
                f"- {inert(k)}: {inert(without_folders(v))}"
                for k, v in sorted(told.items())
                if isinstance(v, (str, int, float))
            ]
            or ["The bundle has no training record."]
        ),
        "",
        "## Evaluation",
        "",
        f"{counted(plan.data.n_images, 'image')} of {counted(plan.data.n_patients, 'patient')} of "
        f"{inert(plan.data.name)} ({plan.data.content_hash[:12]}). Accuracy {estimate(run.find('clean', ACCURACY))}.",
        "",
        f"{inert(headline(run))} {inert(reach(run))}",
        "",
        "| Condition | Measure | Estimate | Images | Verdict |",
        "|---|---|---|---|---|",
        *(
            f"| {inert(where(run, e))} | {e.measure} | {estimate(e)} | {e.n_images} | {e.verdict} |"
            for e in told_effects(run)
        ),
        "",
        "## Review",
        "",
        *_reviewed(run),
        "",
        "## Limitations",
        "",
        *(f"- {inert(line)}" for line in limitations(run)),
    ]
    return "\n".join(lines) + "\n"


def _reviewed(run: RunView) -> list[str]:
    """Return who reviewed the run, with every finding that somebody doubts or that reviewers disagree about."""
    reviews = standing_reviews(run)
    lines = [f"{inert(review_sentence(run))}."]
    for found in reviewed_findings(run, reviews):
        told = [(r.reviewer, a) for r, a in zip(reviews, found.answers, strict=True) if a is not None]
        if found.disagreed or any(a.answer == "disagree" for _, a in told):
            said = "; ".join(
                f"{inert(who)}: {a.answer}{f' ({inert(a.comment)})' if a.comment else ''}" for who, a in told
            )
            lines.append(f"- {inert(found.text)} — {said}")
    return [lines[0], *([""] if len(lines) > 1 else []), *lines[1:]]


def _header(run: RunView) -> list[str]:
    """Return the card's metadata: a model index with the accuracy and every judged effect that was measured."""
    lines = [
        "---",
        'pipeline_tag: "image-classification"',
        'tags: ["audit", "shortcut-learning"]',
        "model-index:",
        f"- name: {_yaml(run.plan.model.name)}",
        "  results:",
        '  - task: {type: "image-classification"}',
        "    dataset:",
        f"      name: {_yaml(run.plan.data.name)}",
        f"      type: {_yaml('sha256:' + run.plan.data.content_hash)}",
        "    metrics:",
    ]
    for e in run.measured_headline():
        name = f"{MEASURES[e.measure].title}, {run.title(e.condition)}"
        lines.append(f"    - {{type: {_yaml(e.measure)}, name: {_yaml(name)}, value: {e.estimate:.6f}}}")
    if lines[-1] == "    metrics:":
        lines[-1] = "    metrics: []"
    return [*lines, "---"]


def _yaml(value: object) -> str:
    """Quote a string for YAML: one line, and every character that does not print, or turns text round, as an escape."""
    quoted = json.dumps(" ".join(str(value).split()), ensure_ascii=False)
    return "".join(f"\\U{ord(c):08x}" if unicodedata.category(c)[0] == "C" else c for c in quoted)
