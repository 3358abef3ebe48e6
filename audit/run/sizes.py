"""How much there is to do in an audit, stage by stage: counted, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from audit.prediction.measuring import wanted_measures
from audit.prediction.variants import cohort_context, make_perturbations
from audit.run.case_choice import n_cases
from audit.run.levels import n_looked_at
from audit.run.objects import sample_size, why_no_search
from audit.run.preparation import Preparation
from audit.run.settings import Settings
from audit.run.source_probe import MAX_IMAGES
from audit.run.suspect_views import kind_of
from audit.suites.objects import object_draws
from audit.text.easyocr_finder import weights_folder

_VIEWS = 2
"""Views of the probe of sources that are as large as features: these, and the thumbnail."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What an audit consists of."""

    n_images: int
    """Images to audit."""
    n_conditions: int
    """Conditions, clean included."""
    n_variants: int
    """Predictions per image."""
    n_object_variants: int
    """Predictions per image that the test of objects adds, at most."""
    n_searched: int
    """Images that the search for objects looks at."""
    why_no_search: str
    """Why there is none although the suite asks for it; empty otherwise."""
    n_text: int
    """Images whose text is not known."""
    n_checked: int
    """Images that EasyOCR looks at, too."""
    n_measured: int
    """Images on which is measured what edits compare with."""
    n_probed: int
    """Images on which sources are probed."""
    n_probes: int
    """Probes of sources that are as large as features."""
    n_looked_at: int
    """Images on which levels are measured."""
    n_level_probes: int
    """Probes of the levels."""
    n_mapped: int
    """Images with a heatmap."""
    n_cases: int
    """Cases that are drawn."""
    n_thumbnails: int
    """Edits that are drawn small."""
    workers: int
    """Processes."""
    predicting_workers: int
    """Processes that predict."""


def count_work(
    prepared: Preparation, settings: Settings, cached_share: float, *, workers: int, predicting_workers: int
) -> Sizes:
    """Count the work of an audit.

    Parameters
    ----------
    prepared : Preparation
        The audit.
    settings : Settings
        Its seed, and how many images EasyOCR checks.
    cached_share : float
        Share of the images whose text is known.
    workers, predicting_workers : int
        Processes, and those that predict.
    """
    records, suite, seed = prepared.cohort.records, prepared.suite, settings.seed
    n, conditions = len(records), suite.conditions
    why = why_no_search(prepared, seed) if suite.objects else ""
    nothing = dict.fromkeys((r.id for r in records), ())
    wanted = wanted_measures(records, nothing, cohort_context(records, nothing, seed), make_perturbations(suite))
    labels = sorted({str(r.label) for r in records})
    of_several = [label for label in labels if len({r.source for r in records if str(r.label) == label}) > 1]
    suspects = {c.suspect for c in conditions if c.judged and kind_of(c)}
    checks = prepared.finder.name not in ("annotated", "easyocr") and weights_folder() is not None
    return Sizes(
        n_images=n,
        n_conditions=len(conditions),
        n_variants=sum(c.draws for c in conditions),
        n_object_variants=0 if why else object_draws(suite.objects),
        n_searched=0 if why else sample_size(prepared, seed),
        why_no_search=why,
        n_text=round(n * (1 - cached_share)),
        n_checked=min(n, settings.judge_images) if checks else 0,
        n_measured=len(wanted),
        n_probed=min(n, MAX_IMAGES),
        n_probes=_VIEWS * len(of_several),
        n_looked_at=n_looked_at(records) if len(labels) > 1 else 0,
        n_level_probes=len(suspects) * len(labels) if len(labels) > 1 else 0,
        n_mapped=min(n, prepared.plan.relevance.max_images),
        n_cases=n_cases(suite, [str(r.label) for r in records]),
        n_thumbnails=len(conditions) - 1,
        workers=workers,
        predicting_workers=predicting_workers,
    )
