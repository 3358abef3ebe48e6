"""What the audit checked of itself in a run: each statement, its outcome (passed, failed or undecided), and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from audit.reports.findings.summary import second_opinion
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section, state_of
from audit.statistics.catalogue import CONTROL_MEASURE
from audit.store.controls import PlantedCheck
from audit.store.numbers import number

# Maps that stay as alike as this although every weight was shuffled show the images, not the network.
MAX_SHUFFLED_SSIM = 0.6
MAX_CONSERVATION_GAP = 1e-4
Outcome = Literal["passed", "undecided", "failed", "not checked"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """One statement that can be false."""

    what: str
    """The statement."""
    found: str
    """What was found, in words."""
    outcome: Outcome
    """undecided: the sample is too small to tell; not checked: it could not be applied."""


def controls(run: RunView) -> list[Control]:
    """Return every check that the run recorded; one that it did not record is not in the list."""
    return [*_own_crops(run), *_planted(run), *_relevance(run)]


def _own_crops(run: RunView) -> Iterator[Control]:
    for effect in run.effects:
        if effect.measure == CONTROL_MEASURE:
            change = effect.estimate
            outcome: Outcome = "not checked" if change is None else "passed" if change == 0 else "failed"
            yield Control(
                what=f"{run.title(effect.condition)}: this changes no class probability",
                found="not applied to any image"
                if change is None
                else f"largest change {change:g} in {effect.n_images} images; 0 is required",
                outcome=outcome,
            )


def _planted(run: RunView) -> Iterator[Control]:
    for check in run.planted:
        interval = f"{number(check.estimate)} ({number(check.low)} to {number(check.high)})"
        people = f"{check.n_images} images of {check.n_patients} patients"
        if check.kind == "planted":
            found = check.verdict == "sensitive"
            yield Control(
                what=f"a planted shift of {number(check.strength, 2)} is called sensitive",
                found=f"the outputs under {run.quoted(check.condition)} were shifted by {number(check.strength, 2)} on average, by twice "
                f"that in half of the patients; estimate {interval} in {people}: {check.verdict}"
                + ("" if found else "; this run does not detect effects of this size"),
                outcome="passed" if found else "failed",
            )
        else:
            yield Control(
                what="a null effect is not called sensitive",
                found=f"{run.quoted(check.condition)} and its placebo were swapped in half of the patients, which removes any effect; "
                f"estimate {interval} in {people}: {check.verdict}" + _null_in_words(check),
                outcome=_null_outcome(check),
            )


def _null_outcome(check: PlantedCheck) -> Outcome:
    """Return failed for a false alarm, passed where the null is shown to be small, undecided in between."""
    return {"sensitive": "failed", "robust": "passed"}.get(check.verdict, "undecided")  # type: ignore[return-value]


def _null_in_words(check: PlantedCheck) -> str:
    outcome = _null_outcome(check)
    if outcome == "failed":
        return ", a false alarm"
    return (
        "" if outcome == "passed" else "; no false alarm, but this sample is too small to show that the effect is small"
    )


def _relevance(run: RunView) -> Iterator[Control]:
    gaps = [r["conservation_gap"] for r in run.relevance if r["conservation_gap"] is not None]
    summary = run.relevance_summary
    if summary is not None and summary.logit_gap is not None:
        gap, limit = summary.logit_gap, summary.logit_tolerance
        yield Control(
            what="LRP: the canonical form of the network gives the same logits as the network",
            found=f"largest difference {gap:.1e} of the largest logit, on the first image; the limit is {limit:.0e}",
            outcome="passed" if gap <= limit else "failed",
        )
    if gaps:
        yield Control(
            what="LRP: relevance is conserved from layer to layer",
            found=f"largest conservation error {max(gaps):.1e} of the relevance at the output; the limit is {MAX_CONSERVATION_GAP:.0e}",
            outcome="passed" if max(gaps) < MAX_CONSERVATION_GAP else "failed",
        )
    shuffled = () if summary is None else summary.randomisation
    if shuffled:
        *partly, whole = shuffled
        alike = whole.ssim
        # A map may rightly survive a shuffled output layer: what decides is a network of which nothing is left.
        others = ", ".join(f"{number(s.ssim, 2)} with {s.layers} shuffled" for s in partly)
        yield Control(
            what=f"LRP: the heatmap changes when {whole.layers} are shuffled",
            found=f"structural similarity to the original heatmap {number(alike, 2)} (1 means no change); the limit is {MAX_SHUFFLED_SSIM}"
            + (f" (for comparison, without a limit: {others})" if others else ""),
            outcome="passed" if alike < MAX_SHUFFLED_SSIM else "failed",
        )


def view(run: RunView) -> Mapping[str, object]:
    """Return the controls, and the comparison with the second text finder."""
    found = controls(run)
    counts = Counter(c.outcome for c in found)
    result = ", ".join(f"{n} {name}" for name, n in counts.items()) or "no controls were recorded"
    return {"result": result, "controls": found, "second_opinion": second_opinion(run), "planted": bool(run.planted)}


SECTION = Section(
    name="controls",
    title="Controls",
    template="sections/controls.html.j2",
    view=view,
    state=lambda run: state_of(c.outcome for c in controls(run)),
    comes_from="controls.json (a planted effect and a null), relevance.json (equality of logits, shuffled weights), relevance.parquet "
    "(conservation), effects.json (own crops), run.json (a second text finder)",
)
