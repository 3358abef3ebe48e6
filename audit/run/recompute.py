"""`audit verify --recompute`: a random share of a run is computed again from manifest and model, and held against what it stored."""

from __future__ import annotations

import math
import platform
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.data.records import Record
from audit.errors import AuditError, RelevanceError, UsageError, shown_string
from audit.models.backends import LIMIT
from audit.models.devices import device_name, device_of
from audit.prediction.concurrency import one_core
from audit.prediction.engine import n_parts
from audit.prediction.rows import prediction_rows
from audit.prediction.shards import SHARD_RECORDS, part_name, predicted_rows, shard_of
from audit.prediction.variants import make_perturbations
from audit.randomness import generator_for
from audit.relevance.heatmaps import read_heatmaps
from audit.relevance.measure import SHARD_RECORDS as MAPS_A_SHARD
from audit.relevance.measure import attributed_records, maps_path
from audit.relevance.shard_maps import Attributed, attribute_shard, shown_text
from audit.run.plan import package_versions
from audit.run.recomputed_values import differing, other_maps, other_regions
from audit.run.reopening import ReopenedRun, reopen_run
from audit.run.settings import Settings
from audit.store.recomputation import MOST_DIFFERENCES, Difference, Part, Recomputation, RecomputedPart, evidence_of
from audit.store.serialise import plain
from audit.store.table_schemas import RELEVANCE_SCHEMA
from audit.text.cache import RegionCache
from audit.text.find import find_in
from audit.text.finders import make_finder

_EDIT = ("applied", "why_not", "changed_share", "donor")
_PREDICTION = ("logits", "probabilities", "predicted", "label")
# Of the network's answers one scale is compared elsewhere: a logit may be of any size.
_PREDICTION_ELSEWHERE = ("probabilities", "predicted", "label")
_OF_ALL_MAPS = ("same_place_p", "placebo_p")
"""Columns of relevance that rest on the maps of all images."""
_IN_STEPS = (
    "relocation_p",
    "placebo_low",
    "placebo_median",
    "placebo_high",
    "placebo_mean",
    "rank_accuracy",
    "conservation_gap",
)
"""Columns that move in steps, or measure rounding itself; elsewhere than on the same kind of device they are not compared."""
OnStage = Callable[[str, int], Callable[[], None]]


def recompute_run(path: Path, settings: Settings, *, share: float, seed: int, on_stage: OnStage) -> Recomputation:
    """Compute a random share of a finished run again, and keep the result in its folder as `recomputed.json`.

    Parameters
    ----------
    path : Path
        The run folder.
    settings : Settings
        Where model and manifest are (`audit.run.reopening.reopen_run`).
    share : float
        Share of the images, above 0 and at most 1; at least one image is computed.
    seed : int
        Decides which images are drawn.
    on_stage : callable
        Called for every stage, and for every step in it.

    Returns
    -------
    Recomputation
        What was compared, and what differs.

    Raises
    ------
    UsageError
        If the share is not within its range.
    AuditError
        If model, manifest or key are not there, or not those of the run.
    """
    if not 0 < share <= 1:
        raise UsageError(
            f"--recompute must be above 0 and at most 1, such as 0.01 for one image in a hundred; found {share:g}."
        )
    opened = on_stage("reading model and images", 1)
    run = reopen_run(path, settings)
    opened()
    why_not_exact = other_kind(run)
    exact = not why_not_exact
    drawn = draw_images(run.experiment.records, share, seed)
    differences: list[Difference] = []
    parts = []
    step = on_stage("finding text again", len(drawn))
    parts.append(_text_again(run, drawn, settings, step, differences))
    together = _together(run, drawn)
    step = on_stage("predicting again", sum(map(len, together)))
    parts += _predict_again(run, drawn, together, step, differences, exact=exact)
    step = on_stage("attributing again", 1)
    parts.append(_attribute_again(run, share, seed, differences, exact=exact))
    step()
    found = Recomputation(
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        evidence=evidence_of(run.record.files),
        share=share,
        seed=seed,
        images=tuple(r.name for r in drawn),
        n_images=len(run.experiment.records),
        exact=exact,
        why_not_exact=tuple(why_not_exact),
        tolerance=0.0 if exact else LIMIT,
        parts=tuple(parts),
        n_differences=len(differences),
        differences=tuple(differences[:MOST_DIFFERENCES]),
    )
    run.experiment.run.write(found)
    return found


def draw_images(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """Draw a share of the images, at least one, in the run's order."""
    n = math.ceil(round(share * len(records), 9))
    chosen = generator_for(seed, "recompute").permutation(len(records))[: max(1, n)]
    return [records[i] for i in sorted(chosen.tolist())]


def other_kind(run: ReopenedRun) -> list[str]:
    """Return how this machine differs from the run's in what may move the last digits; empty where every bit must be the same."""
    bundle, record = run.experiment.bundle, run.record
    now, then = package_versions(), record.packages
    packages = [
        f"{name} {then.get(name)} became {version}" for name, version in now.items() if then.get(name) != version
    ]
    facts = {
        "device": (record.device, device_name(bundle)),
        "back end": (record.backend.name, bundle.backend.name),
        "system": (_system(record.platform), _system(platform.platform())),
    }
    return [f"{what} {a} became {b}" for what, (a, b) in facts.items() if a != b] + packages


def _system(described: str) -> str:
    """Return operating system and kind of processor of a platform's description: its kernel moves no digit."""
    machines = ("x86_64", "amd64", "arm64", "aarch64")
    folded = described.lower()
    return f"{described.split('-')[0]} {next((m for m in machines if m in folded), 'other')}"


def _together(run: ReopenedRun, drawn: Sequence[Record]) -> list[list[Record]]:
    """Return the images that have to be predicted, by shard: another device fills its batches with all images of a shard."""
    names, alone = {r.name for r in drawn}, device_of(run.experiment.bundle).type == "cpu"
    records = run.experiment.records
    shards = [list(shard_of(records, number)) for number in range(n_parts(len(records)))]
    return [[r for r in shard if not alone or r.name in names] for shard in shards if names & {r.name for r in shard}]


def _predict_again(
    run: ReopenedRun,
    drawn: Sequence[Record],
    together: Sequence[Sequence[Record]],
    on_image: Callable[[], None],
    differences: list[Difference],
    *,
    exact: bool,
) -> list[RecomputedPart]:
    experiment = run.experiment
    perturbations = make_perturbations(experiment.suite)
    found = [row for shard in together for row in predicted_rows(shard, experiment, perturbations, on_image)]
    names = {r.name for r in drawn}
    stored = _stored_predictions(run, names)
    parts: list[RecomputedPart] = []
    kinds: tuple[tuple[Part, tuple[str, ...]], ...] = (
        ("edits", _EDIT),
        ("predictions", _PREDICTION if exact else _PREDICTION_ELSEWHERE),
    )
    for part, columns in kinds:
        n_compared, different = 0, 0
        for row in found:
            if row["record_id"] not in names or (part == "edits" and row["condition"] == "clean"):
                continue
            key = row["record_id"], row["condition"], row["draw"]
            n_compared += 1
            told = list(differing(part, key, stored.get(key, {}), row, columns, exact=exact))
            different += bool(told)
            differences += told
        n_edits = sum(c.draws for c in experiment.suite.conditions[1:])
        n_stored = (n_edits + (part == "predictions")) * len(experiment.records)
        parts.append(RecomputedPart(part=part, n_compared=n_compared, n_stored=n_stored, n_different=different))
    return parts


def _stored_predictions(run: ReopenedRun, names: set[str]) -> dict[tuple[str, str, int], dict[str, Any]]:
    experiment, model = run.experiment, run.plan.model
    parts = [part_name(i // SHARD_RECORDS) for i, r in enumerate(experiment.records) if r.name in names]
    columns = ["record_id", "condition", "draw", *_EDIT, *_PREDICTION]
    rows = prediction_rows(
        experiment.run,
        model.classes,
        columns,
        parts=list(dict.fromkeys(parts)),
        multi_label=model.task == "multi-label",
    )
    return {(row["record_id"], row["condition"], row["draw"]): row for row in rows if row["record_id"] in names}


def _text_again(
    run: ReopenedRun,
    drawn: Sequence[Record],
    settings: Settings,
    on_image: Callable[[], None],
    differences: list[Difference],
) -> RecomputedPart:
    """Look for the text of the drawn images again, if the finder is the run's; its cache is left alone."""
    stored, planned = run.disclosure.text, run.plan.detector
    n_stored = len(run.experiment.records)
    try:
        finder = make_finder(planned.name, Path(settings.boxes) if settings.boxes else None)
        now = (finder.name, finder.version, plain(finder.config()))
        if now != (planned.name, planned.version, plain(planned.config)):
            raise AuditError("the text finder is of another version, or has other settings, than that of the run")
        cache = RegionCache(None, finder)
        n_different = 0
        for record in drawn:
            found = find_in(record.path, cache, colour=record.colour)
            told = list(other_regions(record, stored[record.id], found))
            n_different += bool(told)
            differences += told
            on_image()
    except AuditError as error:
        return RecomputedPart(
            part="text regions", n_compared=0, n_stored=n_stored, n_different=0, why_not=shown_string(str(error), 300)
        )
    return RecomputedPart(part="text regions", n_compared=len(drawn), n_stored=n_stored, n_different=n_different)


def _attribute_again(
    run: ReopenedRun, share: float, seed: int, differences: list[Difference], *, exact: bool
) -> RecomputedPart:
    """Attribute whole shards again, for the images of a shard pass through the network together."""
    experiment, options = run.experiment, run.plan.relevance
    if not experiment.run.has("relevance.parquet"):
        return RecomputedPart(part="relevance maps", n_compared=0, n_stored=0, n_different=0)
    mapped = attributed_records(experiment.records, options.max_images, experiment.seed)
    wanted = {r.name for r in draw_images(mapped, share, seed)}
    columns = [name for name in RELEVANCE_SCHEMA.names if name not in _OF_ALL_MAPS and name != "record_id"]
    columns = columns if exact else [name for name in columns if name not in _IN_STEPS]
    stored = {row["record_id"]: row for row in experiment.run.read_rows("relevance.parquet", ["record_id", *columns])}
    n_compared = n_different = 0
    try:
        attributed = Attributed(options=options, shown=shown_text(mapped, run.disclosure), first=mapped[0])
        with tempfile.TemporaryDirectory() as folder:
            for number, first in enumerate(range(0, len(mapped), MAPS_A_SHARD)):
                shard = mapped[first : first + MAPS_A_SHARD]
                if not wanted & {r.name for r in shard}:
                    continue
                again = Path(folder) / "maps.safetensors"
                with one_core():
                    made = attribute_shard(experiment, attributed, shard)
                again.write_bytes(made.maps)
                maps = zip(read_heatmaps([maps_path(experiment.run.path, number)]), read_heatmaps([again]), strict=True)
                for record, row, (was, now) in zip(shard, made.rows, maps, strict=True):
                    key = record.name, "clean", 0
                    told = list(
                        differing("relevance maps", key, stored.get(record.name, {}), plain(row), columns, exact=exact)
                    )
                    told += other_maps(record, was, now, exact=exact)
                    n_compared += 1
                    n_different += bool(told)
                    differences += told
    except RelevanceError as error:
        return RecomputedPart(
            part="relevance maps",
            n_compared=0,
            n_stored=len(mapped),
            n_different=0,
            why_not=shown_string(str(error), 300),
        )
    return RecomputedPart(part="relevance maps", n_compared=n_compared, n_stored=len(mapped), n_different=n_different)
