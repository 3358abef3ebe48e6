"""Preparation: everything that is loaded, checked and written down as a plan before an audit computes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from audit.baseline.comparison import check_baseline, is_first_run
from audit.data.columns import check_given
from audit.data.conditions import Suite
from audit.data.findings import check_outputs
from audit.data.groups import known_groups
from audit.data.images import read_record
from audit.data.layouts.guess import check_layout
from audit.data.plan import Plan
from audit.data.pseudonyms import make_pseudonyms
from audit.data.reading import TableReading
from audit.data.records import Cohort, Record
from audit.files import check_writable
from audit.gates.defaults import config_for
from audit.gates.rules import GateConfig
from audit.models.backends import BackendChoice, with_backend, work_of
from audit.models.bundle import Bundle
from audit.models.devices import device_of, find_device, on_device
from audit.models.identity import example_inputs
from audit.models.opening import open_model
from audit.models.parity import check_parity
from audit.models.tasks import audited_task, operating_points
from audit.prediction.concurrency import count_processes
from audit.prediction.variants import make_perturbations
from audit.relevance.auditing import check_relevance
from audit.relevance.budget import plan_maps
from audit.run.cohorts import audited_cohort, out_of_reach
from audit.run.plan import make_plan
from audit.run.requested import requested_model, requested_product
from audit.run.setting_checks import check_settings
from audit.run.settings import Settings
from audit.statistics.finder_misses import FinderRecall, read_recall
from audit.statistics.selections import default_tolerances
from audit.suites.reader import load_suite
from audit.text.base import TextFinder
from audit.text.finders import check_finder, make_finder

_PROBED = 4
"""Audited images, and drawn ones, that another back end is held against torch on."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that is decided before an audit computes anything."""

    bundle: Bundle
    """The network."""
    cohort: Cohort
    """The records to audit."""
    suite: Suite
    """The conditions that are applied to them."""
    finder: TextFinder
    """The text finder."""
    tolerances: Mapping[str, float]
    """Measure -> the largest effect that counts as small."""
    recall: FinderRecall | None
    """Share of the text that the finder finds; None if it was not given."""
    gate: GateConfig | None
    """The rules; None where nothing is judged."""
    plan: Plan
    """The content of `plan.json`."""

    def processes(self, asked: int | Literal["auto"]) -> int:
        """Return how many processes a stage over all images gets; see `count_processes`."""
        return count_processes(asked, len(self.cohort.records), work_of(self.bundle, self.n_predictions))

    def predicting_processes(self, asked: int | Literal["auto"]) -> int:
        """Return how many processes predict: on another device than the CPU one, which fills it with batches across images."""
        return self.processes(asked) if device_of(self.bundle).type == "cpu" else 1

    @property
    def n_predictions(self) -> int:
        """Predictions of the audit, at most."""
        return n_predictions(self.cohort, self.suite)


def n_predictions(cohort: Cohort, suite: Suite) -> int:
    """Return how many predictions a suite takes for a cohort, at most: every draw of every condition of every image."""
    return len(cohort.records) * sum(c.draws for c in suite.conditions)


def prepare(
    settings: Settings,
    *,
    judge_gates: bool,
    writes_to: Sequence[Path] = (),
    on_table: Callable[[TableReading], None] | None = None,
    on_model: Callable[[Bundle], None] | None = None,
    on_cohort: Callable[[Cohort, Bundle], None] | None = None,
    live: object = None,
) -> Preparation:
    """Load and check everything that an audit needs; errors are reported before the first image is read where possible.

    Parameters
    ----------
    settings : Settings
        What to audit, and how.
    judge_gates : bool
        Judge although nothing is configured.
    writes_to : sequence of Path
        Folders that will be written to.
    on_table : callable, optional
        Told what was read from which column of the manifest, before the first image is read.
    on_model : callable, optional
        Told of the classifier once it is open.
    on_cohort : callable, optional
        Told of the audited images once all were read.
    live : object, optional
        The classifier itself, where Python code hands it over: a torch module or a callable.

    Raises
    ------
    AuditError
        If anything is missing, damaged or contradictory.
    """
    check_settings(settings)
    find_device(settings.device)
    check_given(settings.columns)
    check_layout(settings.layout)
    suite = load_suite(settings.suite)
    boxes = Path(settings.boxes) if settings.boxes else None
    check_finder(settings.detector, boxes)
    tolerances = {**default_tolerances(), **settings.tolerance}
    rules = config_for(settings.gate, suite, tolerances, asked=judge_gates)
    if rules is not None and rules.baseline and not is_first_run(rules):
        check_baseline(Path(rules.baseline))
    bundle = open_model(requested_product(settings, live) or requested_model(settings, live))
    task = audited_task(bundle.name, bundle.task, settings.task if bundle.folder is not None else "")
    if on_model is not None:
        on_model(bundle)
    if settings.check:
        bundle = replace(bundle, parity=check_parity(bundle, Path(settings.check), task))
    multi_label = task == "multi-label"
    if multi_label:
        check_outputs(bundle.name, bundle.classes)
    points = operating_points(bundle.name, settings.operating_points or bundle.points, task, len(bundle.classes))
    start_signs = check_relevance(settings.relevance_preset, settings.relevance_start, bundle.classes)
    recall = read_recall(settings.recall, bundle.classes)
    for folder in writes_to:
        check_writable(folder)

    outputs = bundle.classes if multi_label else ()

    def check_records(records: Sequence[Record]) -> None:
        known = known_groups([r for r in records if r.label is not None], outputs)
        config_for(settings.gate, suite, tolerances, asked=judge_gates, groups=known, multi_label=multi_label)

    names = make_pseudonyms(plain=settings.plain_ids)
    cohort, split = audited_cohort(
        bundle, settings, names, before_images=check_records, on_table=on_table, multi_label=multi_label
    )
    bundle = on_device(bundle, settings.device)
    bundle = with_backend(
        bundle,
        BackendChoice(
            asked=settings.backend,
            exclusive=not multi_label,
            n_predictions=n_predictions(cohort, suite),
            probe=partial(probe_images, bundle, cohort.records),
            cache=Path(settings.cache),
        ),
    )
    if on_cohort is not None:
        on_cohort(cohort, bundle)
    finder = make_finder(settings.detector, boxes)
    needs = {name: perturbation.needs for name, perturbation in make_perturbations(suite).items()}
    impossible = out_of_reach(cohort, needs)
    return Preparation(
        bundle=bundle,
        cohort=cohort,
        suite=suite,
        finder=finder,
        tolerances=tolerances,
        recall=recall,
        gate=config_for(
            settings.gate,
            suite,
            tolerances,
            asked=judge_gates,
            impossible=impossible,
            groups=known_groups(cohort.labelled(), outputs),
            multi_label=multi_label,
        ),
        plan=make_plan(
            bundle,
            task,
            points,
            cohort,
            split,
            suite,
            finder,
            settings,
            tolerances,
            impossible,
            start_signs,
            plan_maps(
                bundle, settings.relevance_preset, settings.relevance_images, n_predictions=n_predictions(cohort, suite)
            ),
            names.fingerprint,
        ),
    )


def probe_images(bundle: Bundle, records: Sequence[Record]) -> torch.Tensor:
    """Return the prepared images that back ends are compared on: drawn ones, and audited ones from all parts of the cohort."""
    wants = bundle.preprocessing
    n = min(_PROBED, len(records))
    shown = [wants.prepare(read_record(records[i * len(records) // n])) for i in range(n)]
    return torch.cat([example_inputs(wants, _PROBED), torch.stack(shown)])
