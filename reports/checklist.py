"""The reporting checklist: what a run fills by itself, what in part, and what a person must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.runfolder import RunView

State = Literal["filled", "partly", "needs a person"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that a guideline asks to be reported, in our words."""

    guideline: str
    """Who asks."""
    topic: str
    """What is asked."""
    state: State
    """How far the run answers."""
    where: str
    """Section of the report, or what is left to say."""


def checklist(run: RunView) -> list[Item]:
    """Hold a run against CLAIM 2024, TRIPOD+AI and Annex IV of the EU AI Act.

    Topics are paraphrased, and grouped where a guideline splits them further; it is an aid to fill the
    guidelines' own forms, and does not replace them.
    """
    columns = {e.group.split("=")[0] for e in run.effects if "=" in e.group and not e.group.endswith("=unknown")}
    told = run.plan["model"].get("training", {}).get("provenance")
    calibrated = any(e.measure in ("ece", "brier") for e in run.effects)
    demographics = columns & {"sex", "age"}
    rows: list[tuple[str, str, State, str]] = [
        ("CLAIM 2024", "What the model is for, and how it would be used", "needs a person", "no run can know it"),
        (
            "CLAIM 2024",
            "Where images come from, and which were left out",
            "partly",
            "Header, Provenance; add dates and sites",
        ),
        (
            "CLAIM 2024",
            "How the reference standard was made",
            "needs a person",
            "labels are taken from the manifest as they are",
        ),
        ("CLAIM 2024", "How data were split, and at which level", "filled", "Methods"),
        (
            "CLAIM 2024",
            "Model, its initial weights and its training",
            "filled" if told else "needs a person",
            "Training",
        ),
        ("CLAIM 2024", "Performance with its uncertainty", "filled", "Verdict, Groups"),
        ("CLAIM 2024", "Robustness and failure cases", "filled", "Effects, Images"),
        (
            "CLAIM 2024",
            "How predictions are explained, and whether explanations were checked",
            "filled" if run.relevance else "needs a person",
            "Relevance, Controls",
        ),
        (
            "CLAIM 2024",
            "Test on data from elsewhere",
            "partly" if "source" in columns else "needs a person",
            "Groups by source; say which sources trained the model",
        ),
        (
            "TRIPOD+AI",
            "Who the participants are",
            "partly" if demographics else "needs a person",
            "Groups; add how they were recruited",
        ),
        ("TRIPOD+AI", "Sample size and what it can show", "filled", "Verdict: smallest detectable effect"),
        (
            "TRIPOD+AI",
            "Fairness: performance by group",
            "partly" if demographics else "needs a person",
            "Groups" if demographics else "the manifest has neither sex nor age",
        ),
        ("TRIPOD+AI", "Calibration", "partly" if calibrated else "needs a person", "Effects: every estimate"),
        ("TRIPOD+AI", "Availability of code, data and model", "partly", "Provenance; add where they can be had"),
        ("TRIPOD+AI", "Registration, protocol, funding, interests", "needs a person", "no run can know it"),
        (
            "Annex IV",
            "Intended purpose, provider, version",
            "partly",
            "Header: version and digest; a person adds the rest",
        ),
        ("Annex IV", "Data sheets: origin, selection, labelling", "partly", "Header, Methods; add labelling"),
        (
            "Annex IV",
            "Accuracy, robustness, and their limits by group",
            "filled",
            "Verdict, Effects, Groups, Limitations",
        ),
        (
            "Annex IV",
            "Test logs and reports, dated and signed",
            "filled" if run.signoff else "partly",
            "Provenance, Sign-off",
        ),
        ("Annex IV", "Human oversight", "needs a person", "measures around the model are not seen here"),
        ("Annex IV", "Risk management and monitoring after release", "needs a person", "no run can know it"),
    ]
    return [Item(guideline=g, topic=t, state=s, where=w) for g, t, s, w in rows]
