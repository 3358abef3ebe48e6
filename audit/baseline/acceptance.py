"""A finished run is accepted as the baseline: pinned values only improve, unless a reason is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from msgspec import convert

from audit.baseline.changes import measure_images
from audit.baseline.comparison import Baseline, failed_controls
from audit.baseline.file import Accepted, AcceptedBaseline, Change, keep_needed, read_baseline, write_baseline
from audit.baseline.ratchet import Held, weigh_changes
from audit.data.plan import Identity, plan_hash
from audit.errors import UsageError
from audit.gates.groups import EVERY, covers, may_be_absent
from audit.gates.matching import placebos_of
from audit.gates.rules import Rule
from audit.prediction.table import FinishedRun, read_finished
from audit.provenance import git_commit
from audit.statistics.catalogue import MEASURES
from audit.statistics.selections import comparable, comparable_on_clean
from audit.store.folder import RunFolder
from audit.store.group import ALL, Group
from audit.store.results import Effect, EffectsDocument


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What accepting a run did."""

    baseline: AcceptedBaseline
    """As it was written."""
    changes: Mapping[tuple[str, str, Group], Effect]
    """Place -> the run minus the value that was pinned before; empty where the baseline is new."""


def accept_run(
    run_path: Path, file: Path, rules: Sequence[Rule], *, allow_worse: bool = False, reason: str = ""
) -> Acceptance:
    """Accept a finished run as the baseline of later ones.

    A held value is replaced by the run's only where the run is shown to be better; where neither is shown it stays, so that equal
    networks leave it, and a slow decline is measured from where it began. What is shown to be worse is refused.

    Held are the measures that rules against the baseline ask for; without such rules those of every judged effect that has a
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
        Accept although something became worse, is missing from the run, or cannot be compared.
    reason : str
        Why; required with `allow_worse`.

    Raises
    ------
    StoreError
        If the run or the present baseline cannot be read, or was edited.
    UsageError
        If something became worse and that was not allowed, a control of the run failed, a reason is missing or superfluous, or no
        rule matches.
    """
    if allow_worse != bool(reason.strip()):
        raise UsageError("Use --allow-worse and --reason TEXT together: a looser baseline needs a reason.")
    run = read_finished(run_path)
    failed = failed_controls(run_path)
    if failed:
        raise UsageError(
            f"The run {run_path} is incomplete: its control “{failed[0]}”, which must change nothing, failed, so no effect of it can be "
            "a baseline. Correct the network or the suite, and run the audit again."
        )
    effects = RunFolder(run_path).read(EffectsDocument).effects
    entries = _entries(effects, [rule for rule in rules if rule.against == "baseline"])
    present = read_baseline(file) if file.exists() else None
    found = _Comparison() if present is None else _compare(run, present, file, entries)
    if (found.worse or found.dropped) and not allow_worse:
        raise UsageError(
            f"The run {run_path} would loosen the baseline {file}: {'; '.join([*found.worse, *found.dropped])}. Improve the "
            "network; or accept the run with --allow-worse --reason TEXT; the file records the reason."
        )
    model = run.plan.model
    change = Change(
        date=_today(),
        action="accept",
        model=f"{model.name} {model.digest}",
        plan_hash=plan_hash(run.plan),
        git_commit=git_commit(),
        reason=reason.strip(),
        worse=tuple(found.worse),
        dropped=tuple(found.dropped),
    )
    before = {} if present is None else {entry.place: entry for entry in present.entries}
    pinned = [
        replace(before[e.place], worse=e.worse) if e.place in found.kept else replace(e, run=change.plan_hash)
        for e in entries
    ]
    values = {} if present is None else dict(present.values)
    values |= {
        e.pin: measure_images(run, e.condition, e.measure, e.group if e.output else ALL)
        for e in pinned
        if e.run == change.plan_hash
    }
    accepted = AcceptedBaseline(
        identity=convert(run.plan, Identity, from_attributes=True),
        entries=tuple(pinned),
        history=(*(() if present is None else present.history), change),
        values=keep_needed(values, pinned),
    )
    write_baseline(file, accepted)
    return Acceptance(baseline=accepted, changes=found.changes)


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
            "file, or write the rules that use it."
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
    """List the entries of the baseline, with the run's own figures."""
    placebos = placebos_of(effects)
    found: dict[tuple[str, str, Group], Accepted] = {}
    for effect in effects:
        known = comparable_on_clean() if effect.condition == "clean" else comparable()
        if effect.measure not in known or effect.estimate is None or effect.condition in placebos:
            continue
        if effect.condition == "clean" and not rules and MEASURES[effect.measure].tolerance is None:
            continue
        entry = Accepted(
            condition=effect.condition,
            measure=effect.measure,
            group=effect.group,
            worse="lower" if MEASURES[effect.measure].falls else "higher",
            estimate=effect.estimate,
            low=effect.low,
            high=effect.high,
            n_images=effect.n_images,
            run="",
        )
        asking = [rule for rule in rules if _asks(rule, entry)]
        if asking:
            operators = {rule.operator for rule in asking}
            both = len(operators) > 1
            entry = replace(entry, worse="either" if both else "higher" if "<=" in operators else "lower")
        elif rules or effect.group != ALL or not (effect.tolerance is not None or effect.condition == "clean"):
            continue
        # An effect beyond the placebo is what is compared where there is one, as in the gates.
        if entry.place not in found or effect.placebo is not None:
            found[entry.place] = entry
    for rule in rules:
        if not any(_asks(rule, entry) for entry in found.values()) and not may_be_absent(rule.group):
            raise UsageError(
                f"Gate rule {rule.id!r} matches nothing in this run: {rule.measure} under {rule.condition or 'any edit'}, group "
                f"{rule.group}. Correct the rule, or accept a run that has it."
            )
    if not found:
        raise UsageError(
            "The run has no figure that a baseline could store: no rule with max_increase or max_decrease matches it, and no "
            "judged effect has a number for each image."
        )
    return [found[place] for place in sorted(found)]


def _asks(rule: Rule, entry: Accepted) -> bool:
    # A rule for every edit does not look at the clean images: these are asked for by name.
    where = entry.condition != "clean" if rule.condition in (None, EVERY) else rule.condition == entry.condition
    return where and rule.measure == entry.measure and covers(rule.group, entry.group)


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    worse: list[str] = field(default_factory=list)
    """Figures that are significantly worse, in words."""
    dropped: list[str] = field(default_factory=list)
    """Figures that it no longer contains, or that cannot be compared."""
    kept: set[tuple[str, str, Group]] = field(default_factory=set)
    """Places whose pinned values stay."""
    changes: dict[tuple[str, str, Group], Effect] = field(default_factory=dict)
    """Place -> the run minus the pinned value."""


def _compare(run: FinishedRun, present: AcceptedBaseline, file: Path, entries: Sequence[Accepted]) -> _Comparison:
    """Compare a run with each pinned value."""
    baseline, found = Baseline(run, file), _Comparison()
    held = {entry.place: entry for entry in entries}
    pruned = {name for change in present.history if change.action == "prune" for name in change.dropped}
    known = {_name(entry) for entry in present.entries}
    # Removed once and asked for again: what it was is no longer known, so it may have risen meanwhile.
    found.dropped.extend(
        f"{_name(e)} was pruned, and cannot be compared" for e in entries if _name(e) in pruned - known
    )
    compared: list[Accepted] = []
    for entry in present.entries:
        new = held.get(entry.place)
        if new is None:
            found.dropped.append(f"{_name(entry)} is missing from the run")
            continue
        if new.worse not in (entry.worse, "either"):
            found.dropped.append(f"{_name(entry)} no longer has a rule against going {entry.worse}")
        change = baseline.change(entry.condition, entry.measure, entry.group)
        if isinstance(change, str) or change.estimate is None:
            why = change if isinstance(change, str) else change.method
            found.dropped.append(f"{_name(entry)} cannot be compared: {why}")
        elif new.n_images < entry.n_images:
            found.dropped.append(f"{_name(entry)} is based on {new.n_images} images instead of {entry.n_images}")
        else:
            compared.append(entry)
            found.changes[entry.place] = change
    outcomes = weigh_changes([Held(way=e.worse, change=found.changes[e.place]) for e in compared])
    for entry, outcome in zip(compared, outcomes, strict=True):
        if outcome == "same":
            found.kept.add(entry.place)
        elif outcome == "worse":
            found.worse.append(f"{_name(entry)} {_moved(found.changes[entry.place])}")
    return found


def _moved(change: Effect) -> str:
    """Describe the change of a figure, with its interval."""
    assert change.estimate is not None
    limits = "" if change.low is None or change.high is None else f" [{change.low:+.4f}, {change.high:+.4f}]"
    return f"went {'higher' if change.estimate > 0 else 'lower'} by {abs(change.estimate):.4f}{limits}"


def _name(entry: Accepted) -> str:
    group = "" if entry.group == ALL else f" ({entry.group})"
    return f"{entry.measure} under {entry.condition}{group}"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
