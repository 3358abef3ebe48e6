"""The relevance of a run: heatmaps, their share in text, their validity, and the groups that they form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from audit.data.plan import PlannedRelevance
from audit.errors import RelevanceError, UnknownNameError
from audit.models.recorded import WITHOUT_MAPS
from audit.prediction.covering import Disclosure
from audit.prediction.experiment import Experiment
from audit.randomness import generator_for
from audit.relevance.agreement import measure_agreement
from audit.relevance.discovery import discover_groups
from audit.relevance.lrp import LOGIT_TOLERANCE
from audit.relevance.measure import RELEVANCE_FILE, Measured, measure_relevance
from audit.relevance.methods import SURROGATES
from audit.relevance.presets import OCCLUSION, PRESETS, about_method
from audit.relevance.randomisation import randomise_weights
from audit.relevance.start import WINNER, parse_start
from audit.relevance.summary import summarise_groups
from audit.store.relevance import RelevanceDocument, RelevanceSummary
from audit.store.results import PredictionTable, RelevanceRow
from audit.store.table_schemas import OUTPUTS_RELEVANCE_SCHEMA, RELEVANCE_SCHEMA

N_SHUFFLED_IMAGES = 4


def check_relevance(preset: str, start: str, classes: Sequence[str]) -> dict[str, float]:
    """Check the settings of relevance before anything is computed.

    Returns
    -------
    dict
        Class -> sign of its output where relevance starts; empty for the winning output.

    Raises
    ------
    UnknownNameError
        If no preset has that name.
    UsageError
        If the start names no class.
    """
    if preset not in (methods := {**PRESETS, **SURROGATES}):
        raise UnknownNameError("LRP preset or method", preset, methods)
    return {} if start == WINNER else parse_start(start, classes)


def audit_relevance(
    experiment: Experiment,
    disclosure: Disclosure,
    table: PredictionTable,
    options: PlannedRelevance,
    *,
    level: float,
    on_image: Callable[[], None],
    workers: int = 1,
) -> str | None:
    """Write `relevance.parquet`, the heatmaps, `relevance.json` and `clusters/`.

    Parameters
    ----------
    experiment : Experiment
        The network and the images.
    disclosure : Disclosure
        What strings and pictures may show.
    table : PredictionTable
        What the edits did, to hold the maps against.
    options : PlannedRelevance
        The `relevance` part of the plan.
    level : float
        Coverage of intervals.
    on_image : callable
        Called once for every image that is done.
    workers : int
        Processes; their number changes no byte.

    Returns
    -------
    str or None
        Why there is no relevance, or why it is not LRP; None if it is as it was asked for.
    """
    run = experiment.run
    if experiment.bundle.is_recorded:
        return WITHOUT_MAPS
    if options.max_images == 0:
        return "Relevance is disabled (relevance_images = 0)."
    if run.has(RelevanceDocument.FILE):  # written last
        return run.read(RelevanceDocument).relevance.note or None
    try:
        measured = measure_relevance(experiment, disclosure, options, on_image=on_image, workers=workers)
        schema = OUTPUTS_RELEVANCE_SCHEMA if experiment.cuts else RELEVANCE_SCHEMA
        rows = [RelevanceRow(**row) for row in run.read_rows(RELEVANCE_FILE, schema.names)]
        discover_groups(run, measured.records, rows, measured.heatmaps, disclosure.covered, seed=experiment.seed)
        summary = _summary(experiment, disclosure, measured, rows, table, options, level, workers)
        run.write(RelevanceDocument(relevance=summary))
    except RelevanceError as error:
        return f"No relevance was measured: {error}"
    return measured.note or None


def _summary(
    experiment: Experiment,
    disclosure: Disclosure,
    measured: Measured,
    rows: Sequence[RelevanceRow],
    table: PredictionTable,
    options: PlannedRelevance,
    level: float,
    workers: int,
) -> RelevanceSummary:
    cosines = [row.class_cosine for row in rows if row.class_cosine is not None]
    preset = rows[0].preset
    rng = generator_for(experiment.seed, "relevance agreement")
    n_shuffled = N_SHUFFLED_IMAGES if preset != OCCLUSION else 1  # four networks are occluded for each
    return RelevanceSummary(
        preset=preset,
        about=about_method(preset),
        start=options.start,
        method=measured.method,
        note=measured.note,
        logit_gap=measured.logit_gap,
        logit_tolerance=LOGIT_TOLERANCE,
        level=level,
        n_images=len(rows),
        n_with_text=sum(row.area_share > 0 for row in rows),
        n_without_relevance=sum(row.area_share > 0 and row.mass_in_text is None for row in rows),
        class_cosine=median(cosines) if cosines else None,
        groups=summarise_groups(
            rows,
            {r.name: r for r in measured.records},
            {r.name: disclosure.text[r.id] for r in measured.records},
            level,
            outputs=experiment.bundle.classes if experiment.cuts else (),
        ),
        agreement=measure_agreement(rows, table, experiment.suite, start=options.start, level=level, rng=rng),
        randomisation=randomise_weights(experiment, measured.records[:n_shuffled], preset=preset, workers=workers),
    )
