"""What the audit checked of itself in a run, each with what was found and whether that is as it must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reports.runfolder import RunView
from reports.words import number

# Maps that stay as alike as this although every weight was shuffled show the images, not the network.
MAX_SHUFFLED_SSIM = 0.6
MAX_CONSERVATION_GAP = 1e-4


@dataclass(frozen=True, kw_only=True)
class Control:
    """One check."""

    what: str
    """What must be so."""
    found: str
    """What was found, in words."""
    holds: bool
    """Whether it is so."""


def controls(run: RunView) -> list[Control]:
    """Return every check that the run recorded; one that it did not record is not in the list."""
    return [*_own_crops(run), *_planted(run), *_relevance(run)]


def _own_crops(run: RunView) -> Iterator[Control]:
    for effect in run.effects:
        if effect.measure == "max_abs_probability_change":
            change = effect.estimate
            yield Control(
                what=f"{effect.condition}: own crops pasted back change nothing",
                found="not applied to any image"
                if change is None
                else f"largest change {change:g} in {effect.n_images} images",
                holds=change == 0,
            )


def _planted(run: RunView) -> Iterator[Control]:
    for check in run.planted:
        interval = f"{number(check['estimate'])} ({number(check['low'])} to {number(check['high'])})"
        people = f"{check['n_images']} images of {check['n_patients']} patients"
        if check["kind"] == "planted":
            yield Control(
                what="a planted shortcut is found",
                found=f"the outputs under {check['condition']} were moved by {number(check['strength'], 2)} on average, twice "
                f"that in half of the patients; found {interval} in {people}: {check['verdict']}"
                + ("" if check["as_expected"] else ", so effects of this size escape this run"),
                holds=bool(check["as_expected"]),
            )
        else:
            yield Control(
                what="no shortcut stays quiet",
                found=f"{check['condition']} and its placebo changed places in half of the patients, which leaves no "
                f"effect; found {interval} in {people}: {check['verdict']}",
                holds=bool(check["as_expected"]),
            )


def _relevance(run: RunView) -> Iterator[Control]:
    gaps = [r["conservation_gap"] for r in run.relevance if r["conservation_gap"] is not None]
    summary = run.relevance_summary or {}
    if summary.get("logit_gap") is not None:
        gap, limit = float(summary["logit_gap"]), float(summary["logit_tolerance"])
        yield Control(
            what="LRP: the form that is attributed gives the network's own logits",
            found=f"largest difference {gap:.1e} of the largest logit, on the first image; {limit:.0e} is admitted",
            holds=gap <= limit,
        )
    if gaps:
        yield Control(
            what="LRP: every layer's relevance is accounted for",
            found=f"largest gap {max(gaps):.1e} of the start; {MAX_CONSERVATION_GAP:.0e} is admitted",
            holds=max(gaps) < MAX_CONSERVATION_GAP,
        )
    shuffled = summary.get("randomisation") or []
    if shuffled:
        seen = ", ".join(f"{number(s['ssim'], 2)} with {s['layers']} shuffled" for s in shuffled)
        yield Control(
            what="LRP: shuffled weights change the map",
            found=f"structural similarity to the true map {seen}; 1 would be no change, {MAX_SHUFFLED_SSIM} is admitted",
            holds=shuffled[-1]["ssim"] < MAX_SHUFFLED_SSIM,
        )
