"""The reporting checklist: what a run fills by itself, what in part, and what a person must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from audit.data.groups import UNKNOWN
from audit.reports.findings.methods_facts import read_facts
from audit.reports.findings.review import standing_reviews
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.statistics.power import power_sentence
from audit.store.group import ALL

State = Literal["filled", "partly", "to be completed"]
_NOBODY = "not available to an audit"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that a guideline asks to be reported, in our words."""

    guideline: str
    """Who asks."""
    topic: str
    """What is asked."""
    state: State
    """How far the run answers."""
    places: tuple[tuple[str, str], ...] = ()
    """(id, name) of the parts of the report that answer it; each is present and contains the answer."""
    left: str = ""
    """What is left to say; empty where nothing is."""


def checklist(run: RunView) -> list[Item]:
    """Hold a run against CLAIM 2024, TRIPOD+AI and Annex IV of the EU AI Act.

    Topics are paraphrased, and grouped where a guideline splits them further; it is an aid to fill the
    guidelines' own forms, and does not replace them.
    """
    return [*_claim(run), *_tripod(run), *_annex(run)]


_OPENED = frozenset({"opened_as", "n_answers"})
"""What is noted of any model that was opened as its owner has it; it tells nothing of its training."""


def _claim(run: RunView) -> list[Item]:
    told = bool(set(run.plan.model.training.provenance) - _OPENED)
    return [
        _open("CLAIM 2024", "What the model is for, and how it is to be used"),
        _partly(
            "CLAIM 2024",
            "Origin of the images, and exclusions",
            (("header", "Header"), ("limits", "Deviations")),
            "add dates and sites",
        ),
        _open(
            "CLAIM 2024", "How the reference standard was obtained", "labels are taken from the manifest as they are"
        ),
        _split(run),
        _filled("CLAIM 2024", "Model, its initial weights and its training", ("training", "Training"))
        if told
        else _open("CLAIM 2024", "Model, its initial weights and its training", "the bundle has no training record"),
        _filled("CLAIM 2024", "Performance with its uncertainty", ("sources", "Sources"), ("groups", "Groups")),
        _filled("CLAIM 2024", "Robustness and failure cases", ("effects", "Effects"), ("examples", "Images")),
        _filled(
            "CLAIM 2024",
            "How predictions are explained, and whether explanations were checked",
            ("methods-relevance", "Methods, Relevance"),
            ("relevance", "Relevance"),
            ("controls", "Controls"),
        )
        if run.relevance
        else _open(
            "CLAIM 2024",
            "How predictions are explained, and whether explanations were checked",
            "no relevance was measured",
        ),
        _partly(
            "CLAIM 2024",
            "Test on data from elsewhere",
            (("groups", "Groups"),),
            "state which sources the model was trained on",
        )
        if "source" in _columns(run)
        else _open("CLAIM 2024", "Test on data from elsewhere", "the manifest names no source"),
    ]


def _tripod(run: RunView) -> list[Item]:
    demographics = _columns(run) & {"sex", "age"}
    absent = "the manifest has neither sex nor age"
    power = power_sentence(run.effects, run.titles)
    return [
        _partly("TRIPOD+AI", "Who the participants are", (("groups", "Groups"),), "add how they were recruited")
        if demographics
        else _open("TRIPOD+AI", "Who the participants are", absent),
        _filled(
            "TRIPOD+AI",
            "Sample size and detectable effects",
            ("methods-images", "Methods, Images"),
            ("verdict", "Verdict, power"),
        )
        if power
        else _open("TRIPOD+AI", "Sample size and detectable effects", "no effect was judged"),
        _partly("TRIPOD+AI", "Fairness: performance by group", (("groups", "Groups"),), "state which groups matter")
        if demographics
        else _open("TRIPOD+AI", "Fairness: performance by group", absent),
        _partly(
            "TRIPOD+AI",
            "Calibration",
            (("effects", "Effects, every estimate (ece, brier)"),),
            "add a calibration plot",
        )
        if any(e.measure in ("ece", "brier") for e in run.effects)
        else _open("TRIPOD+AI", "Calibration", "not measured"),
        _partly(
            "TRIPOD+AI",
            "Availability of code, data and model",
            (("provenance", "Provenance"),),
            "add where they are available",
        ),
        _open("TRIPOD+AI", "Registration, protocol, funding, interests"),
    ]


def _annex(run: RunView) -> list[Item]:
    return [
        _partly("Annex IV", "Intended purpose, provider, version", (("header", "Header"),), "add purpose and provider"),
        _partly(
            "Annex IV",
            "Data sheets: origin, selection, labelling",
            (("header", "Header"), ("methods-images", "Methods, Images")),
            "add labelling",
        ),
        _filled(
            "Annex IV",
            "Accuracy, robustness, and their limits by group",
            ("verdict", "Verdict"),
            ("effects", "Effects"),
            ("groups", "Groups"),
            ("limits", "Limits"),
        ),
        _filled(
            "Annex IV", "Test logs and reports, dated and signed", ("provenance", "Provenance"), ("signoff", "Sign-off")
        )
        if standing_reviews(run)
        else _partly(
            "Annex IV", "Test logs and reports, dated and signed", (("provenance", "Provenance"),), "sign the review"
        ),
        _open("Annex IV", "Human oversight", "not available to an audit"),
        _open("Annex IV", "Risk management and monitoring after release"),
    ]


def _split(run: RunView) -> Item:
    facts = read_facts(run)
    topic, place = "How data were split, and at which level", ("methods-images", "Methods, Images")
    if facts.split_told_by == "manifest":
        return _filled("CLAIM 2024", topic, place)
    if facts.split_told_by != "nobody":
        return _partly("CLAIM 2024", topic, (place,), "state whether patients were separated in training")
    return _partly("CLAIM 2024", topic, (place,), "no split is recorded: state which images the model was trained on")


def _columns(run: RunView) -> set[str]:
    return {e.group.kind for e in run.effects if e.group != ALL and e.group.value != UNKNOWN}


def _filled(guideline: str, topic: str, *places: tuple[str, str]) -> Item:
    return Item(guideline=guideline, topic=topic, state="filled", places=places)


def _partly(guideline: str, topic: str, places: tuple[tuple[str, str], ...], left: str) -> Item:
    return Item(guideline=guideline, topic=topic, state="partly", places=places, left=left)


def _open(guideline: str, topic: str, left: str = _NOBODY) -> Item:
    return Item(guideline=guideline, topic=topic, state="to be completed", left=left)


def view(run: RunView) -> Mapping[str, object]:
    """Return the items."""
    items = checklist(run)
    counts = Counter(item.state for item in items)
    return {"result": ", ".join(f"{counts[state]} {state}" for state in get_args(State)), "items": items}


SECTION = Section(
    name="checklist",
    title="Checklist",
    template="sections/checklist.html.j2",
    view=view,
    comes_from="all of these: what CLAIM 2024, TRIPOD+AI and Annex IV ask for, in our words",
)
