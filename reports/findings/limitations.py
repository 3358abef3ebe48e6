"""Deviations of a run from its plan, and what cannot be concluded from it."""

from __future__ import annotations

from audit.data.bundle_record import RECORDED_KIND
from audit.data.groups import UNKNOWN
from audit.data.input_words import greyed_in_words
from audit.data.map_budget import map_limit_in_words
from audit.reports.findings.accuracy_worth import says_little, worth
from audit.reports.findings.effect_words import needed_words, points, points_interval
from audit.reports.findings.summary import not_applied
from audit.reports.reading.view import PICTURES, RunView
from audit.store.group import ALL

MIN_PATIENTS = 10
"""Groups with fewer patients are grey in the figure and the table: their intervals are too wide to compare."""


def deviations(run: RunView) -> list[str]:
    """Report where less was done than planned."""
    found = [f"Left out: {n} {what}." for what, n in sorted(run.run.skipped.items())]
    found += [f"Not applied to {line}." for line in not_applied(run)]
    found += run.plan.model.lacks
    if run.run.relevance_note:
        found.append(run.run.relevance_note)
    pictures = [e[part] for e in run.examples for part in PICTURES if e[part] is not None]
    pictures += [c["mean"] for c in run.clusters] + [e[p] for c in run.clusters for e in c["exemplars"] for p in _MAPS]
    gone = sum(picture["uri"] is None and not picture.get("left_out") for picture in [*pictures, *run.markers])
    if gone:
        found.append(
            f"{gone} picture{'s have' if gone > 1 else ' has'} been deleted from the run folder since it was finished."
        )
    if run.plan.relevance.max_images:
        n, wanted = len(run.relevance), run.plan.data.n_images
        if n < wanted:
            found.append(map_limit_in_words(run.plan) or f"Relevance was computed for {n} of {wanted} images.")
    return found


def limitations(run: RunView) -> list[str]:
    """Return the limitations of every run, followed by this run's own."""
    return [*_FIXED, *_own(run)]


def _own(run: RunView) -> list[str]:
    found = []
    if run.plan.data.n_greyed:
        found.append(
            f"{greyed_in_words(run.plan.data.n_greyed)} What the network would do with their colours was not tested, and text that differs "
            "from its surroundings in colour alone was not found."
        )
    assumed = run.plan.model.assumed
    if assumed:
        found.append(
            f"Not declared of the model, and assumed: {'; '.join(assumed)}. If this is wrong, the results are those of another model."
        )
    if run.plan.model.training.provenance.get("opened_as") == RECORDED_KIND:
        found.append(
            "The product's answers were taken from a table and could not be repeated. It saw 8-bit "
            + (
                "colour files. From the original files it may read more bits"
                if run.plan.data.colour
                else "grey files. From the original files it may read more bits, colour"
            )
            + " or other tags, and answer otherwise."
        )
    elif run.plan.model.parity is None and _FOREIGN & set(run.plan.model.training.provenance):
        found.append(
            "Parity was not shown: the network's probabilities were not compared with those of its owner's own pipeline (--check). If the "
            "declared preprocessing is not the owner's, the results are those of another model."
        )
    undecided = [e for e in run.headline() if e.verdict == "inconclusive"]
    if undecided:
        e = undecided[0]
        found.append(
            f"{len(undecided)} of {len(run.headline())} judged effects {'is' if len(undecided) == 1 else 'are'} undecided; the largest is "
            f"{points(e.estimate)} percentage points {run.when(e.condition)} {points_interval(e)}: {needed_words(e)}."
        )
    sources = {e.group for e in run.effects if e.group.kind == "source"}
    if len(sources) < 2:
        found.append("All images come from one source: nothing can be concluded about another.")
    elif not run.probe.probes:
        found.append(
            "No class has enough images from two sources: effects of the source and of the class cannot be separated."
        )
    known = {e.group.kind for e in run.effects if e.group.value != UNKNOWN}
    absent = [name for name in ("sex", "age", "view") if name not in known]
    if absent:
        found.append(
            f"The manifest gives no usable {', '.join(absent)}: no groups by {' or '.join(absent)} are compared."
        )
    few = {e.group for e in run.effects if e.condition == "clean" and e.group != ALL and e.n_patients < MIN_PATIENTS}
    if few:
        hold = "1 group has" if len(few) == 1 else f"{len(few)} groups have"
        found.append(f"{hold} fewer than {MIN_PATIENTS} patients; their intervals are too wide to compare.")
    if says_little(run):
        found.append(f"{worth(run)[0]} A network that has learnt little shows only small effects.")
    return found


_FOREIGN = {"opened_as", "imported_from"}
"""Marks of a network whose way from an image to its input was declared, not trained by this tool."""
_UNKNOWN = {"sex=unknown", "age=unknown", "view=unknown"}
_MAPS = ("image", "overlay")
_FIXED = (
    "Text that the finder misses is not edited, so the true effect of the text may be larger. Finders miss single letters first.",
    "A black rectangle or a blurred patch leaves a trace of its own. The effects of trace and text do not add up, so the placebo cannot "
    "correct for the trace: these fills are reported, not judged. Text is judged by fills that remove it.",
    "Removing text, replacing it with other text and adding text are three different tests. A network can react to one and not to another.",
    "The look of another source is taken from images of the same class. Where a class comes from one source only, the effect of the "
    "source cannot be separated from the class and is not tested.",
    "Differences between classes in grey curve, sharpness and noise are measured outside the lungs, which excludes disease in the lungs "
    "but not disease that changes the rest of the image.",
    "The limits were chosen before the run. The effects apply to this model on these images; images from another hospital may carry "
    "other text.",
    "Heatmaps show where a network looks, not why. Only edits show what changes the prediction.",
)
