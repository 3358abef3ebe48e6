"""A run in ten lines, and further lines."""

from __future__ import annotations

from statistics import pstdev

from audit.data.input_words import greyed_in_words, sample_in_words
from audit.data.strings import shown_string
from audit.gates.scope import scope_sentence
from audit.reports.findings.accuracy_worth import further_worth
from audit.reports.findings.effect_words import estimate, points, where
from audit.reports.findings.group_effects import sensitive_groups
from audit.reports.findings.headline import headline
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import MEASURES
from audit.statistics.power import weakest_power
from audit.store.group import ALL
from audit.store.numbers import counted, number
from audit.store.results import Effect

VIEWS = {
    "features": "the network's features",
    "histogram": "the grey levels",
    "border": "the border",
    "thumbnail": "the image at 32 px",
    "text": "the text",
}
_SHOWN_STRINGS = 8


def summary_lines(run: RunView) -> list[str]:
    """Return the run in at most ten lines."""
    plan = run.plan
    if run.verdict.status == "incomplete":
        return [headline(run), f"{plan.model.name} on {plan.data.name}: incomplete, no verdict"]
    word = "with " if run.multi_label else ""
    counts = ", ".join(f"{n} {word}{name}" for name, n in plan.data.class_counts.items())
    lines = [
        f"{plan.model.name} ({plan.model.architecture}) on {plan.data.name}: "
        f"{counted(plan.data.n_images, 'image')} of {counted(plan.data.n_patients, 'patient')} ({counts})",
        *first_lines(run),
        f"{verdict_words(run)} {headline(run)}",
        *further_worth(run)[:2],
    ]
    told = telling_effects(run, 2)[:4]
    lines += [f"{where(run, e)}: {MEASURES[e.measure].title} {estimate(e)}, {e.verdict}" for e in told]
    lines += relevance_lines(run)
    return [*lines[:8], reach(run), scope_sentence(run.verdict)]


def verdict_words(run: RunView) -> str:
    """Return the verdict in capitals, with the reasons to doubt every figure."""
    return " ".join([f"Verdict: {run.verdict.status.upper()}.", *run.verdict.caveats])


def first_lines(run: RunView) -> list[str]:
    """State that only a sample was audited, and that colour images were read as grey; nothing where neither is so."""
    data = run.plan.data
    return [
        line for line in (sample_in_words(data.n_images, data.sampled_from), greyed_in_words(data.n_greyed)) if line
    ]


def telling_effects(run: RunView, most_groups: int = 3) -> list[Effect]:
    """Return the most informative effects: sensitive ones first, those over all images before those of groups."""
    return sorted([*run.headline(), *sensitive_groups(run)[:most_groups]], key=lambda e: e.verdict != "sensitive")


def source_lines(run: RunView) -> list[str]:
    """State what accuracy is worth compared with a guess from the source, and how well the source can be predicted."""
    probe = run.probe
    lines = further_worth(run)
    for label in dict.fromkeys(p.label for p in probe.probes):
        told = ", ".join(
            f"{number(p.auc, 2)} from {VIEWS[p.view]} (p {number(p.p)})" for p in probe.probes if p.label == label
        )
        lines.append(f"AUC of the source within class {shown_string(label)}: {told}")
    return lines


def second_opinion(run: RunView) -> str:
    """State how many of EasyOCR's regions the finder covers, or why EasyOCR was not used."""
    opinion = run.run.second_opinion
    if isinstance(opinion, str):
        return opinion
    said = (
        f"EasyOCR also read {opinion.n_images} of the images: {opinion.n_covered} of the {opinion.n_regions} regions "
        f"that it found are covered by those of {run.plan.detector.name}."
    )
    read = [f"“{text}”" for text in opinion.missed if text][:_SHOWN_STRINGS]
    if not read:
        return said
    return f"{said} In the other regions it read {', '.join(read)}: text that the text finder missed, or false alarms of EasyOCR."


def not_applied(run: RunView) -> list[str]:
    """State why conditions were not applied to some images: for each reason, the largest number of images, and under which conditions."""
    found: dict[str, dict[str, int]] = {}
    for use in run.uses.values():
        for reason, count in use.not_applied.items():
            found.setdefault(reason, {})[use.condition] = count
    total = run.plan.data.n_images
    lines = []
    for reason, counts in sorted(found.items(), key=lambda item: (-max(item[1].values()), item[0])):
        most = max(counts.values())
        worst = run.quoted(next(name for name, count in counts.items() if count == most))
        of = f"{most} of {total} images"
        if len(counts) == 1:
            lines.append(f"{of} under {worst}: {reason}")
        elif min(counts.values()) == most:
            lines.append(f"{of} under each of {len(counts)} conditions, such as {worst}: {reason}")
        else:
            lines.append(f"up to {of} under each of {len(counts)} conditions, most under {worst}: {reason}")
    return lines


def reach(run: RunView) -> str:
    """State the smallest effect that the data could have shown."""
    weakest = weakest_power(run.effects)
    if weakest is None:
        return "No edit was judged, so no detectable effect can be given."
    if weakest.minimum_detectable is None:
        return f"This sample is too small to detect any effect {run.when(weakest.condition)}, however large, with 80 % power."
    return (
        f"With this sample, a true shift of {points(weakest.minimum_detectable)} percentage points or more is detected with at least 80 % "
        f"power under every judged edit (lowest power: {run.quoted(weakest.condition)})."
    )


def relevance_lines(run: RunView) -> list[str]:
    """State the share of relevance in text compared with both controls, and how well it predicts the effect of the text."""
    summary = run.relevance_summary
    whole = next((g for g in summary.groups if g.group == ALL), None) if summary else None
    if summary is None or whole is None:
        return [run.run.relevance_note] if run.run.relevance_note else []
    line = (
        f"The heatmaps give text {number(whole.enrichment.value, 1)} times the relevance that its area alone would get "
        f"({counted(whole.n_images, 'image')}"
    )
    if whole.significant is not None:
        line += f"; more than in both controls in {number(100 * whole.significant, 0)} % of them"
    line += ")."
    agreement = next((a.signed for a in summary.agreement if a.signed is not None), None)
    if agreement is not None and text_matters(run):
        line += (
            f" This relevance and the measured effect of the text have a correlation of {number(agreement.value, 2)}."
        )
    elif agreement is not None:
        line += " Inpainting the text hardly changes the outputs."
    return [line]


def text_matters(run: RunView) -> bool:
    """Return whether inpainting the text changes the outputs enough to test the heatmaps.

    If the change is below a quarter of the outputs' own spread, a correlation with the effect of the text is only noise.
    """
    falls = [r["fall_when_gone"] for r in run.relevance if r["fall_when_gone"] is not None]
    starts = [r["start"] for r in run.relevance if r["fall_when_gone"] is not None]
    return len(falls) > 1 and pstdev(falls) >= 0.25 * pstdev(starts)
