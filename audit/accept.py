"""A finished run becomes the baseline: it only tightens, unless somebody says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.baseline import Baseline
from audit.baseline_file import Accepted, AcceptedBaseline, Change, keep_needed, read_baseline, write_baseline
from audit.errors import UsageError
from audit.gate_groups import EVERY, covers, may_be_absent
from audit.gate_rules import Rule
from audit.metrics import METRICS
from audit.plan import plan_hash
from audit.predictions import FinishedRun, read_finished
from audit.provenance import git_commit
from audit.results import Effect, effect_from_json
from audit.statistics.comparison import COMPARED, measure_images
from audit.store import RunFolder

_SAME = 1e-9
_IDENTITY = {
    "data": ("content_hash", "records_hash", "masks_hash"),
    "model": ("name", "digest", "classes"),
    "detector": ("name", "version", "config"),
    "privacy": ("key",),
}
_EDIT = ("name", "perturbation", "perturbation_version", "parameters", "draws", "placebo")


def accept_run(
    run_path: Path, file: Path, rules: Sequence[Rule], *, allow_worse: bool = False, reason: str = ""
) -> AcceptedBaseline:
    """Make a finished run the baseline of later ones.

    Held are the metrics that rules against the baseline ask for; without such rules those of every judged effect that has a
    number for each image, and the accuracy of the clean images.

    Parameters
    ----------
    run_path : Path
        Folder of the run.
    file : Path
        The baseline to write, and to tighten where it exists.
    rules : sequence of Rule
        Of the gate.
    allow_worse : bool
        Accept although something became worse, is no longer held, or cannot be compared.
    reason : str
        Why; required with `allow_worse`.

    Raises
    ------
    StoreError
        If the run or the present baseline cannot be read, or was edited.
    UsageError
        If something became worse and that was not allowed, a reason is missing or superfluous, or no rule matches.
    """
    if allow_worse != bool(reason.strip()):
        raise UsageError(
            "--allow-worse and --reason TEXT belong together: a looser baseline is accepted with a reason."
        )
    run = read_finished(run_path)
    effects = [effect_from_json(row) for row in RunFolder(run_path).read_json("effects.json")["effects"]]
    entries = _entries(effects, [rule for rule in rules if rule.against == "baseline"])
    present = read_baseline(file) if file.exists() else None
    worse, dropped = ((), ()) if present is None else _loosened(run, present, file, entries)
    if (worse or dropped) and not allow_worse:
        raise UsageError(
            f"The run {run_path} would loosen the baseline {file}: {'; '.join([*worse, *dropped])}. Mend the network; or accept "
            "it all the same, with --allow-worse --reason TEXT, which stands in the file from then on."
        )
    model = run.plan["model"]
    change = Change(
        date=_today(),
        action="accept",
        model=f"{model['name']} {model['digest']}",
        plan_hash=plan_hash(run.plan),
        git_commit=git_commit(),
        reason=reason.strip(),
        worse=worse,
        dropped=dropped,
    )
    places = {(entry.condition, entry.metric) for entry in entries}
    accepted = AcceptedBaseline(
        identity=_identity(run.plan),
        entries=tuple(entries),
        history=(*(() if present is None else present.history), change),
        values={place: measure_images(run, *place) for place in sorted(places)},
    )
    write_baseline(file, accepted)
    return accepted


def prune_baseline(file: Path, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Remove from a baseline what no rule asks for any more; nothing else of it changes.

    Returns
    -------
    tuple of str
        What was removed, in words; empty where nothing was, and the file was left alone.

    Raises
    ------
    StoreError
        If the baseline cannot be read.
    UsageError
        If no rule compares with a baseline: pruning would leave nothing.
    """
    asking = [rule for rule in rules if rule.against == "baseline"]
    if not asking:
        raise UsageError(
            "No rule of the configuration has max_increase or max_decrease, so pruning would empty the baseline. Remove the "
            "file, or write the rules that it is for."
        )
    present = read_baseline(file)
    kept = [entry for entry in present.entries if any(_asks(rule, entry) for rule in asking)]
    gone = tuple(_name(entry) for entry in present.entries if entry not in kept)
    if not gone:
        return ()
    last = present.history[-1]
    change = replace(last, date=_today(), action="prune", git_commit=git_commit(), reason="", worse=(), dropped=gone)
    write_baseline(
        file,
        replace(
            present,
            entries=tuple(kept),
            history=(*present.history, change),
            values=keep_needed(present.values, kept),
        ),
    )
    return gone


def _entries(effects: Sequence[Effect], rules: Sequence[Rule]) -> list[Accepted]:
    """List what the baseline is to hold, with the run's own figures."""
    placebos = {e.placebo for e in effects}
    found: dict[tuple[str, str, str], Accepted] = {}
    for effect in effects:
        if effect.measure not in COMPARED or effect.estimate is None or effect.condition in placebos:
            continue
        if effect.condition == "clean" and effect.measure not in (
            ("accuracy", "nll", "brier") if rules else ("accuracy",)
        ):
            continue
        entry = Accepted(
            condition=effect.condition,
            metric=effect.measure,
            group=effect.group,
            worse="lower" if METRICS[effect.measure].better == "higher" else "higher",
            estimate=effect.estimate,
            low=effect.low,
            high=effect.high,
            n_images=effect.n_images,
        )
        asking = [rule for rule in rules if _asks(rule, entry)]
        if asking:
            operators = {rule.operator for rule in asking}
            both = len(operators) > 1
            entry = replace(entry, worse="either" if both else "higher" if "<=" in operators else "lower")
        elif rules or effect.group != "all" or not (effect.tolerance is not None or effect.condition == "clean"):
            continue
        # An effect beyond the placebo is what is compared where there is one, as in the gates.
        if entry.place not in found or effect.placebo is not None:
            found[entry.place] = entry
    for rule in rules:
        if not any(_asks(rule, entry) for entry in found.values()) and not may_be_absent(rule.group):
            raise UsageError(
                f"Gate rule {rule.id!r} matches nothing in this run: {rule.metric} under {rule.condition or 'any edit'}, group "
                f"{rule.group}. Correct the rule, or accept a run that has it."
            )
    if not found:
        raise UsageError(
            "The run has nothing that a baseline could hold: no rule with max_increase or max_decrease matches it, and no "
            "judged effect has a number for each image."
        )
    return [found[place] for place in sorted(found)]


def _asks(rule: Rule, entry: Accepted) -> bool:
    # A rule for every edit does not look at the clean images: these are asked for by name.
    where = entry.condition != "clean" if rule.condition in (None, EVERY) else rule.condition == entry.condition
    return where and rule.metric == entry.metric and covers(rule.group, entry.group)


def _loosened(
    run: FinishedRun, present: AcceptedBaseline, file: Path, entries: Sequence[Accepted]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the run makes worse, and what it no longer holds or cannot be compared for, in words."""
    baseline = Baseline(run, file)
    held = {entry.place: entry for entry in entries}
    pruned = {name for change in present.history if change.action == "prune" for name in change.dropped}
    known = {_name(entry) for entry in present.entries}
    worse: list[str] = []
    # Removed once and asked for again: what it was is no longer known, so it may have risen meanwhile.
    dropped = [f"{_name(e)} was pruned, and cannot be compared" for e in entries if _name(e) in pruned - known]
    for entry in present.entries:
        new = held.get(entry.place)
        if new is None:
            dropped.append(f"{_name(entry)} is no longer held")
            continue
        if new.worse not in (entry.worse, "either"):
            dropped.append(f"{_name(entry)} is no longer guarded against going {entry.worse}")
        if new.n_images < entry.n_images:
            dropped.append(f"{_name(entry)} rests on {new.n_images} images, not on {entry.n_images}")
        change = baseline.change(entry.condition, entry.metric, entry.group)
        if isinstance(change, str) or change.estimate is None:
            dropped.append(f"{_name(entry)} cannot be compared: {change if isinstance(change, str) else change.method}")
        elif _is_worse(entry.worse, change.estimate):
            worse.append(
                f"{_name(entry)} went {'higher' if change.estimate > 0 else 'lower'} by {abs(change.estimate):.4f}"
            )
    return tuple(worse), tuple(dropped)


def _is_worse(way: str, change: float) -> bool:
    return {"higher": change, "lower": -change, "either": abs(change)}[way] > _SAME


def _name(entry: Accepted) -> str:
    group = "" if entry.group == "all" else f" ({entry.group})"
    return f"{entry.metric} under {entry.condition}{group}"


def _identity(plan: Any) -> dict[str, Any]:
    rows = [{key: row[key] for key in _EDIT} for row in plan["suite"]["conditions"]]
    return {part: {key: plan[part][key] for key in keys} for part, keys in _IDENTITY.items()} | {
        "suite": {"name": plan["suite"]["name"], "version": plan["suite"]["version"], "conditions": rows}
    }


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
