"""`audit baseline`: accept, prune, show."""

from __future__ import annotations

import sys
from pathlib import Path

from audit.baseline.acceptance import accept_run, prune_baseline
from audit.baseline.file import BASELINE_NAME, Accepted, images_path, read_baseline
from audit.data.strings import shown_string
from audit.gates.rules import GateConfig, rules_from_config
from audit.run.setting_sources import load_settings
from audit.store.group import ALL
from audit.store.numbers import bracketed, counted
from audit.store.results import Effect
from audit.store.serialise import printed_json


def accept(run: Path, file: Path | None, *, allow_worse: bool, reason: str) -> int:
    """Make a run the baseline, and print its content."""
    config = _config()
    target = _target(file, config)
    accepted = accept_run(run, target, config.rules, allow_worse=allow_worse, reason=reason)
    last = accepted.baseline.history[-1]
    for entry in accepted.baseline.entries:
        sys.stdout.write(f"{_in_words(entry)}{_fate(entry, last.plan_hash, accepted.changes.get(entry.place))}\n")
    for loosened in (*last.worse, *last.dropped):
        sys.stdout.write(f"loosened: {loosened}\n")
    sys.stdout.write(f"{target} and {images_path(target)} written; commit both\n")
    return 0


def prune(file: Path | None) -> int:
    """Remove what no rule uses, and print it."""
    config = _config()
    target = _target(file, config)
    gone = prune_baseline(target, config.rules)
    for name in gone:
        sys.stdout.write(f"removed: {name}\n")
    sys.stdout.write(f"{target}: {'nothing to remove' if not gone else f'{len(gone)} removed; commit it'}\n")
    return 0


def show(file: Path | None, *, as_json: bool) -> int:
    """Print a baseline."""
    target = _target(file, _config())
    baseline = read_baseline(target)
    if as_json:
        document = {"entries": baseline.entries, "history": baseline.history, "identity": baseline.identity}
        sys.stdout.write(printed_json(document))
        return 0
    model = baseline.identity.model
    sys.stdout.write(f"{target}: last accepted model {model.name}, digest {model.digest[:16]}\n")
    pinned = {change.plan_hash: change.date for change in baseline.history if change.action == "accept"}
    for entry in baseline.entries:
        sys.stdout.write(f"{_in_words(entry)}; pinned {pinned.get(entry.run, 'earlier')}\n")
    for change in baseline.history:
        loosened = (*change.worse, *change.dropped)
        why = f" ({change.reason})" if change.reason else ""
        sys.stdout.write(f"{change.date} {change.action} {change.model[:40]}{why}\n")
        sys.stdout.writelines(f"    {name}\n" for name in loosened)
    return 0


def _in_words(entry: Accepted) -> str:
    place = entry.condition if entry.group == ALL else f"{entry.condition} ({shown_string(str(entry.group))})"
    way = "rise" if entry.worse == "higher" else "fall"
    found = bracketed(entry.estimate, entry.low, entry.high)
    return f"{place:<34} {entry.measure:<22} {found}, {counted(entry.n_images, 'image')}; must not {way}"


def _fate(entry: Accepted, run: str, change: Effect | None) -> str:
    """State whether a value was pinned by the accepted run, or is unchanged."""
    if change is None or change.estimate is None:
        return ""
    limits = "" if change.low is None or change.high is None else f" [{change.low:+.3f}, {change.high:+.3f}]"
    fate = "replaces the pinned value" if entry.run == run else "no significant change; the pinned value stays"
    return f"; this run {change.estimate:+.3f}{limits}: {fate}"


def _config() -> GateConfig:
    table = load_settings({}, Path()).gate
    return GateConfig(rules=()) if table is None else rules_from_config(table)


def _target(file: Path | None, config: GateConfig) -> Path:
    if file is not None:
        return file if file.suffix == ".json" else file / BASELINE_NAME
    return Path(config.baseline) if config.baseline.endswith(".json") else Path(BASELINE_NAME)
