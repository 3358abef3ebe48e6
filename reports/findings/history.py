"""Runs of one cohort over time: accuracy, headline effects, the false-alarm guard, and changes since the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.baseline.identity import other_cohort, other_edit
from audit.data.strings import shown_string
from audit.reports.findings.effect_words import estimate
from audit.reports.findings.gate_results import figures
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.statistics.selections import headlines
from audit.store.numbers import bracketed, counted
from audit.store.results import Effect
from audit.store.verdict import GateResult

_DIGEST = 8


@dataclass(frozen=True, kw_only=True)
class Point:
    """One figure of one run."""

    value: float | None
    """The estimate; None where there is none."""
    low: float | None = None
    """Lower end of its interval."""
    high: float | None = None
    """Upper end."""
    outer: tuple[float, float] | None = None
    """The interval that is corrected for multiple comparisons; None where there is none."""
    kind: str = "plain"
    """Verdict of the effect; plain where nothing is judged."""
    text: str = ""
    """Estimate and interval in words, or why there is none."""
    n_images: int | None = None
    """Images behind it; None where there is no figure."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure over all runs."""

    key: str
    """Its name in JSON: a condition, or what else it is of."""
    title: str
    """The same for people."""
    points: tuple[Point, ...]
    """One for each run."""
    limit: float | None
    """The limit that all runs share; None where there is none, or they differ."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Lines of one measure, which share an axis."""

    key: str
    """Its name in JSON."""
    title: str
    """For people."""
    note: str
    """How to read it, in a sentence."""
    lines: tuple[Line, ...]
    """In the order of the newest run."""
    holds: tuple[float, ...]
    """Values that an axis includes in any case."""
    two_sided: bool = False
    """Whether the limit holds in both directions."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run of the history."""

    name: str
    """Name of its folder."""
    started: str
    """When it began, in UTC."""
    commit: str
    """Commit that was checked out; empty where there was none."""
    model: str
    """Name of the network."""
    digest: str
    """First digits of the network's digest."""
    status: str
    """Verdict."""
    baseline: str
    """Name and first digits of the baseline that it was compared with; empty for none."""
    ratchet: str
    """Outcome of the rules against the baseline, in words; empty where there is none."""
    accuracy: Point
    """On the unedited images."""
    guard: Point
    """What the audit found where there was nothing to find."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A run that is not part of the history."""

    name: str
    """Name of its folder."""
    why: str
    """Why, as the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Comparable runs in the order of time."""

    runs: tuple[Listed, ...]
    """The oldest first."""
    left_out: tuple[LeftOut, ...]
    """Those that are not comparable with the newest."""
    cohort: str
    """The images that they share, in words."""
    measured: tuple[Measured, ...]
    """Every figure."""


def history_of(runs: Sequence[RunView]) -> History:
    """Return the history of the newest run's cohort; runs of another cohort are named with the reason.

    Parameters
    ----------
    runs : sequence of RunView
        At least one, in any order.
    """
    ordered = sorted(runs, key=lambda run: (run.run.started, run.path.name))
    newest = ordered[-1]
    whys = [(run, _why_left_out(run, newest)) for run in ordered]
    kept = [run for run, why in whys if not why]
    return History(
        runs=tuple(map(_listed, kept)),
        left_out=tuple(LeftOut(name=_name(run), why=why) for run, why in whys if why),
        cohort=f"{shown_string(newest.plan.data.name)}, {counted(newest.plan.data.n_images, 'image')} of "
        f"{counted(newest.plan.data.n_patients, 'patient')}",
        measured=(_accuracy(kept), *_effects(kept, newest), *_guard(kept), *_ratchet(kept)),
    )


def _why_left_out(run: RunView, newest: RunView) -> str:
    other = other_cohort(run.plan, newest.plan)
    if other:
        return f"it {other} than the newest run" if other.startswith(("used other", "has other")) else f"it {other}"
    if run.plan.model.task != newest.plan.model.task:
        return f"its task is {run.plan.model.task}, that of the newest run {newest.plan.model.task}"
    return f"{run.problems[0]} after the run" if run.problems else ""


def _name(run: RunView) -> str:
    return shown_string(run.path.absolute().name, 100)


def _listed(run: RunView) -> Listed:
    stamp = run.run.baseline or {}
    told = [shown_string(stamp[key], most) for key, most in (("name", 60), ("sha256", _DIGEST + 1)) if stamp.get(key)]
    gates = _against_baseline(run)
    outcomes = [g.status for g in gates]
    worst = max((g for g in gates if g.actual is not None), key=_towards_limit, default=None)
    counts = ", ".join(f"{outcomes.count(status)} {status}" for status in dict.fromkeys(outcomes))
    return Listed(
        name=_name(run),
        started=run.run.started[:16].replace("T", " "),
        commit=(run.run.git_commit or "")[:_DIGEST],
        model=shown_string(run.plan.model.name),
        digest=run.plan.model.digest[:_DIGEST],
        status=run.verdict.status,
        baseline=" ".join([*told[:1], *(digest[:_DIGEST] for digest in (stamp.get("sha256", ""),) if digest)]),
        ratchet="" if not gates else counts + ("" if worst is None else f"; closest to its limit {figures(worst)}"),
        accuracy=_point(run, run.find("clean", ACCURACY)),
        guard=_null(run),
    )


def _point(run: RunView, effect: Effect | None) -> Point:
    if run.verdict.status == "incomplete":
        return Point(value=None, text="the run is incomplete: a control failed")
    if effect is None or effect.estimate is None:
        return Point(value=None, text="not measured")
    outer = None
    if effect.simultaneous_low is not None and effect.simultaneous_high is not None:
        outer = (effect.simultaneous_low, effect.simultaneous_high)
    return Point(
        value=effect.estimate,
        low=effect.low,
        high=effect.high,
        outer=outer,
        kind="plain" if effect.verdict == "descriptive" else effect.verdict,
        text=estimate(effect),
        n_images=effect.n_images,
    )


def _accuracy(runs: Sequence[RunView]) -> Measured:
    multi_label = runs[-1].multi_label
    what = "Share of known labels met at the operating points" if multi_label else "Accuracy on the unedited images"
    line = Line(
        key="accuracy", title=what, points=tuple(_point(r, r.find("clean", ACCURACY)) for r in runs), limit=None
    )
    note = "A shortcut may raise it: compare it with the effects below."
    return Measured(key="accuracy", title="Accuracy", note=note, lines=(line,), holds=())


def _effects(runs: Sequence[RunView], newest: RunView) -> Iterator[Measured]:
    """Yield the headline effects by measure; a run whose edit is another one has a gap with the reason."""
    for measure in dict.fromkeys(headlines().values()):
        lines = []
        for condition in (c for c in newest.judged() if headlines()[c.role] == measure):
            points = tuple(_effect_point(run, newest, condition.name, measure) for run in runs)
            found = [run.find(condition.name, measure, controlled=True) for run in runs]
            limits = {e.tolerance for e in found if e is not None and e.tolerance is not None}
            limit = limits.pop() if len(limits) == 1 else None
            lines.append(Line(key=condition.name, title=newest.title(condition.name), points=points, limit=limit))
        lines.sort(key=lambda line: -(line.points[-1].value if line.points[-1].value is not None else -9.0))
        if lines:
            yield Measured(
                key=measure,
                title=MEASURES[measure].title.capitalize(),
                note=MEASURES[measure].explained,
                lines=tuple(lines),
                holds=(0.0,),
                two_sided=not MEASURES[measure].one_sided,
            )


def _effect_point(run: RunView, newest: RunView, condition: str, measure: str) -> Point:
    name, is_there = other_edit(newest.plan, run.plan, condition)
    if not is_there:
        return Point(value=None, text="the run does not have this edit")
    if name:
        return Point(
            value=None, text=f"{newest.title(name)}: another version, other parameters, draws or placebo in this run"
        )
    return _point(run, run.find(condition, measure, controlled=True))


def _guard(runs: Sequence[RunView]) -> Iterator[Measured]:
    if not any(check.kind == "null" for run in runs for check in run.planted):
        return
    yield Measured(
        key="false_alarm_guard",
        title="False-alarm guard",
        note="Edit and placebo were swapped in half of the patients, which removes any effect. A diamond is a false alarm.",
        lines=(Line(key="null", title="Null effect", points=tuple(map(_null, runs)), limit=None),),
        holds=(0.0,),
    )


def _null(run: RunView) -> Point:
    check = next((c for c in run.planted if c.kind == "null"), None)
    if check is None or check.estimate is None:
        return Point(value=None, text="not checked")
    said = bracketed(check.estimate, check.low, check.high)
    return Point(
        value=check.estimate, low=check.low, high=check.high, kind=check.verdict, text=said, n_images=check.n_images
    )


def _ratchet(runs: Sequence[RunView]) -> Iterator[Measured]:
    """Yield the change since the baseline of every rule against it that the newest judged run has."""
    judged = next((run for run in reversed(runs) if any(g.actual is not None for g in _against_baseline(run))), None)
    if judged is None:
        return
    lines = []
    for gate in _against_baseline(judged):
        of_runs = [next((g for g in _against_baseline(run) if g.id == gate.id), None) for run in runs]
        limits = {g.expected for g in of_runs if g is not None}
        limit = gate.expected if len(limits) == 1 else None
        lines.append(Line(key=gate.id, title=gate.name, points=tuple(map(_change, of_runs)), limit=limit))
    yield Measured(
        key="since_baseline",
        title="Change since the baseline",
        note="Each run compared with the baseline of its time, image by image; the baseline only moves when a run is significantly better, "
        "so small losses add up until they are seen.",
        lines=tuple(lines),
        holds=(0.0,),
    )


def _against_baseline(run: RunView) -> list[GateResult]:
    return [g for g in run.verdict.gates if g.against == "baseline"]


def _towards_limit(gate: GateResult) -> float:
    beyond = (gate.actual or 0.0) - gate.expected
    return beyond if gate.operator == "<=" else -beyond


def _change(gate: GateResult | None) -> Point:
    if gate is None:
        return Point(value=None, text="the run was not judged by this rule")
    if gate.actual is None:
        return Point(value=None, text=f"{gate.status}: {gate.reason}")
    kind = {"fail": "sensitive", "pass": "robust"}.get(gate.status, "inconclusive")
    text = f"{figures(gate)}, {gate.status}"
    return Point(value=gate.actual, low=gate.low, high=gate.high, kind=kind, text=text, n_images=gate.n_images)
