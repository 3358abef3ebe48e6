"""`audit plan`: what `audit run` would do, and its cost."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from audit.commands.keys import announce_key
from audit.commands.models import image_lines, model_lines
from audit.commands.progress import ProgressLines
from audit.commands.tables import TableTeller, printed
from audit.data.map_budget import map_limit_in_words
from audit.data.records import Record
from audit.run.preparation import Preparation, prepare
from audit.run.settings import Settings
from audit.store.numbers import counted
from audit.store.output import write_output
from audit.store.serialise import plain, printed_json

# Images on a contact sheet: one of each class, as far as they have text.
_SHEET_LOOKED_AT = 12


def plan(settings: Settings, *, sheet: Path | None, as_json: bool) -> int:
    """Print conditions, forward passes and minutes; draw a contact sheet if requested."""
    from audit.run.engine_choice import settle_engine
    from audit.run.forecast import forecast
    from audit.run.rates import TIMED

    settings = settle_engine(settings)
    announce_key(settings)
    with ProgressLines(quiet=as_json) as stages:
        checked = stages("checking data", 1)
        told = TableTeller(stages)
        prepared = prepare(
            settings,
            judge_gates=False,
            on_table=told,
            on_model=lambda bundle: stages.say(model_lines(bundle)),
            on_cohort=lambda cohort, bundle: stages.say(image_lines(cohort, bundle)),
        )
        checked()
        step = stages("timing a few images", min(TIMED, len(prepared.cohort.records)))
        found = forecast(
            prepared,
            settings,
            workers=prepared.processes(settings.workers),
            predicting_workers=prepared.predicting_processes(settings.workers),
            on_step=step,
        )
        if sheet is not None:
            drawn = stages("drawing the contact sheet", 1)
            write_output(sheet, _sheet(prepared, settings))
            drawn()
    if as_json:
        document = {
            "plan": prepared.plan,
            "forecast": {**plain(found), "minutes": found.minutes},
            "sheet": sheet,
            "table": told.document,
        }
        sys.stdout.write(printed_json(document))
        return 0
    console = Console()
    data = prepared.plan.data
    console.print(
        printed(
            f"{prepared.bundle.name} on {data.name}: {counted(found.n_images, 'image')} ({data.split})",
            style="bold",
        )
    )
    roles = Counter(c.role for c in prepared.suite.conditions)
    counts = ", ".join(f"{n} {role}" for role, n in roles.items())
    console.print(printed(f"suite {prepared.suite.name}: {counted(found.n_conditions, 'condition')} ({counts})"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("condition", "role", "draws", "placebo"):
        table.add_column(column, justify="right" if column == "draws" else "left", overflow="fold")
    for c in prepared.suite.conditions:
        table.add_row(printed(c.name), printed(c.role), printed(str(c.draws)), printed(c.placebo or ""))
    console.print(table)
    lacking: dict[str, list[str]] = {}
    for row in prepared.plan.suite.conditions:
        if row.cohort_lacks:
            lacking.setdefault(row.cohort_lacks, []).append(row.name)
    for what, names in lacking.items():
        console.print(printed(f"not applicable: the cohort has no {what}, needed by {', '.join(names)}"))
    if found.why_no_search:
        console.print(printed(f"objects: no search, because {found.why_no_search}"))
    elif found.n_searched:
        console.print(
            printed(
                f"objects: a search of {counted(found.n_searched, 'image')} without the network proposes up to "
                f"{prepared.suite.objects} that recur in one class; testing them adds up to "
                f"{counted(found.n_object_variants, 'prediction')} per image"
            )
        )
    each, side_by_side = found.n_variants + found.n_object_variants, counted(found.workers, "process", "processes")
    console.print(
        printed(
            f"{counted(found.n_images, 'image')} × {counted(each, 'prediction')} = at most {_passes(prepared, found.n_passes)}"
        )
    )
    most = f", up to {found.minutes + found.object_minutes:.1f} if objects are proposed" if found.object_minutes else ""
    parts = {
        f"text ({found.cached_share:.0%} cached)": found.text_minutes,
        "search for objects": found.searching_minutes,
        "check by EasyOCR": found.checking_minutes,
        "measuring the cohort": found.measuring_minutes,
        "predicting": found.predicting_minutes,
        "probing sources": found.probing_minutes,
        "levels": found.levels_minutes,
        "relevance": found.relevance_minutes,
        "examples": found.examples_minutes,
    }
    console.print(
        printed(
            f"about {found.minutes:.1f} minutes with {side_by_side}{most}: "
            + ", ".join(f"{name} {minutes:.1f}" for name, minutes in parts.items())
        )
    )
    if limit := map_limit_in_words(prepared.plan):
        console.print(printed(limit))
    if sheet is not None:
        sys.stdout.write(f"{sheet}\n")
    return 0


def _passes(prepared: Preparation, n: int) -> str:
    """Return how often a network is asked; a product is shown a file instead."""
    return (
        counted(n, "image for the product", "images for the product")
        if prepared.bundle.is_recorded
        else counted(n, "forward pass", "forward passes")
    )


def _sheet(prepared: Preparation, settings: Settings) -> bytes:
    from audit.data.strings import policy_for
    from audit.prediction.covering import covered_context
    from audit.prediction.variants import cohort_context
    from audit.run.contact_sheet import draw_sheet
    from audit.text.cache import RegionCache
    from audit.text.find import find_regions

    candidates: dict[str, list[Record]] = {}
    for record in prepared.cohort.records:
        candidates.setdefault(str(record.label), []).append(record)
    looked_at = [r for members in candidates.values() for r in members[: max(1, _SHEET_LOOKED_AT // len(candidates))]]
    regions = find_regions(looked_at, RegionCache(Path(settings.cache), prepared.finder), lambda: None).regions
    shown = [
        next((r for r in looked_at if r.label == label and regions[r.id]), members[0])
        for label, members in candidates.items()
    ]
    context = cohort_context(looked_at, regions, settings.seed)
    if not settings.show_text:
        # As in a run's pictures; a dozen images rarely hold the ten patients whose images must carry a string.
        policy = policy_for(((i, t.text) for i, r in enumerate(looked_at) for t in regions[r.id]), looked_at)
        context = covered_context(context, looked_at, {r.id: policy.covered(regions[r.id]) for r in looked_at})
    return draw_sheet(shown, prepared.suite, context, settings.seed)
