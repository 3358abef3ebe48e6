"""What is settled before an audit computes anything: loaded, checked, and written down as a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.baseline import check_baseline
from audit.cohorts import audited_cohort, out_of_reach
from audit.conditions import Suite, load_suite
from audit.config import Settings
from audit.gate_rules import GateConfig, config_for
from audit.models.bundle import Bundle, find_bundle, load_bundle
from audit.plan import make_plan
from audit.predict import make_perturbations
from audit.records import Cohort
from audit.relevance.stage import check_relevance
from audit.statistics.detector_misses import FinderRecall, read_recall
from audit.statistics.effects import DEFAULT_TOLERANCES
from audit.subgroups import group_names
from audit.text.detectors import TextDetector, make_detector


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that is settled before an audit computes anything."""

    bundle: Bundle
    """The network."""
    cohort: Cohort
    """The records to audit."""
    suite: Suite
    """What they are put under."""
    detector: TextDetector
    """What finds their text."""
    tolerances: Mapping[str, float]
    """Measure -> the largest effect that counts as small."""
    recall: FinderRecall | None
    """How much of the text the finder finds; None where it was not said."""
    gate: GateConfig | None
    """The rules; None where nothing is judged."""
    plan: Mapping[str, Any]
    """The content of `plan.json`."""


def prepare(settings: Settings, *, judge_gates: bool) -> Preparation:
    """Load and check everything that an audit needs.

    Raises
    ------
    AuditError
        If anything is missing, damaged or contradictory.
    """
    bundle = load_bundle(find_bundle(settings.model, Path(settings.models)))
    check_relevance(settings.relevance_preset, settings.relevance_start, bundle.classes)
    cohort, split = audited_cohort(bundle, settings)
    suite = load_suite(settings.suite)
    detector = make_detector(settings.detector, Path(settings.boxes) if settings.boxes else None)
    needs = {name: perturbation.needs for name, perturbation in make_perturbations(suite).items()}
    impossible = out_of_reach(cohort, needs)
    tolerances = {**DEFAULT_TOLERANCES, **settings.tolerance}
    recall = read_recall(settings.recall, bundle.classes)
    gate = config_for(
        settings.gate,
        suite,
        tolerances,
        asked=judge_gates,
        impossible=impossible,
        groups=group_names(cohort.labelled()),
    )
    if gate is not None and gate.baseline:
        check_baseline(Path(gate.baseline))
    return Preparation(
        bundle=bundle,
        cohort=cohort,
        suite=suite,
        detector=detector,
        tolerances=tolerances,
        recall=recall,
        gate=gate,
        plan=make_plan(bundle, cohort, split, suite, detector, settings, tolerances, gate, impossible),
    )
