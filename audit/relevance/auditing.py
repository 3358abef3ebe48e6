"""The relevance of a run: maps, what of them lies in text, whether they can be believed, and what groups they form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from audit.data.conditions import Suite
from audit.data.images import read_gray
from audit.data.records import Record, TextRegion
from audit.errors import RelevanceError, UnknownNameError
from audit.models.bundle import Bundle
from audit.prediction.covering import Covered
from audit.randomness import generator_for
from audit.relevance.agreement import measure_agreement
from audit.relevance.discovery import discover_groups
from audit.relevance.lrp import LOGIT_TOLERANCE, SURROGATES
from audit.relevance.measure import Measured, measure_relevance
from audit.relevance.presets import PRESETS, about_method
from audit.relevance.randomisation import randomise_weights
from audit.relevance.start import WINNER, parse_start
from audit.relevance.summary import summarise_groups
from audit.store.folder import RunFolder
from audit.store.results import PredictionTable, RelevanceRow

N_SHUFFLED_IMAGES = 4


def check_relevance(preset: str, start: str, classes: Sequence[str]) -> dict[str, float]:
    """Hold the settings of relevance against what there is, before anything is computed.

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
    run: RunFolder,
    bundle: Bundle,
    suite: Suite,
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    covered: Covered,
    table: PredictionTable,
    options: Mapping[str, Any],
    *,
    level: float,
    seed: int,
    on_image: Callable[[], None],
) -> str | None:
    """Write `relevance.parquet`, the heatmaps, `relevance.json` and `clusters/`.

    Parameters
    ----------
    regions : mapping
        Record id -> its text, with the strings that may be shown.
    covered : mapping
        What pictures and maps do not show.
    table : PredictionTable
        What the edits did, to hold the maps against.
    options : mapping
        The `relevance` part of the plan.

    Returns
    -------
    str or None
        Why there is no relevance, or why it is not LRP; None if it is as it was asked for.
    """
    if options["max_images"] == 0:
        return "Relevance is disabled (relevance_images = 0)."
    if run.has("relevance.json"):  # written last
        return run.read_json("relevance.json")["relevance"]["note"] or None
    try:
        measured = measure_relevance(
            run,
            bundle,
            records,
            regions,
            covered,
            preset=options["preset"],
            start=options["start"],
            max_images=options["max_images"],
            n_placebo=options["n_placebo"],
            seed=seed,
            on_image=on_image,
        )
        rows = [RelevanceRow(**row) for row in run.read_rows("relevance.parquet")]
        discover_groups(run, measured.records, rows, measured.heatmaps, covered, seed=seed)
        summary = _summary(bundle, suite, measured, rows, regions, table, options, level, seed)
        run.write_json("relevance.json", {"relevance": summary})
    except RelevanceError as error:
        return f"No relevance was measured: {error}"
    return measured.note or None


def _summary(
    bundle: Bundle,
    suite: Suite,
    measured: Measured,
    rows: Sequence[RelevanceRow],
    regions: Mapping[str, tuple[TextRegion, ...]],
    table: PredictionTable,
    options: Mapping[str, Any],
    level: float,
    seed: int,
) -> dict[str, Any]:
    cosines = [row.class_cosine for row in rows if row.class_cosine is not None]
    preset = rows[0].preset
    rng = generator_for(seed, "relevance agreement")
    shown = [read_gray(record.path) for record in measured.records[:N_SHUFFLED_IMAGES]]
    return {
        "preset": preset,
        "about": about_method(preset),
        "start": options["start"],
        "method": measured.method,
        "note": measured.note,
        "logit_gap": measured.logit_gap,
        "logit_tolerance": LOGIT_TOLERANCE,
        "level": level,
        "n_images": len(rows),
        "n_with_text": sum(row.area_share > 0 for row in rows),
        "n_without_relevance": sum(row.area_share > 0 and row.mass_in_text is None for row in rows),
        "class_cosine": median(cosines) if cosines else None,
        "groups": summarise_groups(
            rows, {r.name: r for r in measured.records}, {r.name: regions[r.id] for r in measured.records}, level
        ),
        "agreement": measure_agreement(rows, table, suite, start=options["start"], level=level, rng=rng),
        "randomisation": randomise_weights(bundle, shown, preset=preset, seed=seed),
    }
