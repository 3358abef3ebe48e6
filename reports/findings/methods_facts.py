"""What Methods rests on, gathered from the plan and the results of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.data.bundle_record import RECORDED_KIND
from audit.data.planned_model import InputSteps, Parity
from audit.reports.reading.view import RunView
from audit.store.group import ALL
from audit.store.results import Effect

INTERVALS = {
    "bootstrap": "the percentile bootstrap over patients ({resamples} resamples)",
    "gaussian": "the Gaussian limit of that bootstrap, for many patients",
    "student": "Student's t over patients, corrected for skewness",
    "score": "a score interval on effective counts, for shares and for changes concentrated in few patients",
    "range": "the whole range of the measure, if only one patient is left",
}
"""Kind of interval -> its words, in the order of the sentence."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What Methods rests on: the typed part of a plan, and of what was computed by it."""

    n_images: int
    """Audited images."""
    n_patients: int
    """Their patients."""
    split_name: str
    """test, train or validation; unlearnt for all that did not train the network; all."""
    split_told_by: str
    """manifest, bundle, pixels, names or nobody."""
    n_seen: int
    """Audited images that trained the network."""
    suite: str
    """Name and version of the suite, in words."""
    roles: Mapping[str, int]
    """Role -> number of conditions, without the unedited images."""
    has_placebo: bool
    """Whether any condition is compared with a placebo."""
    seed: int
    """Of every draw and resample."""
    finder: str
    """Name of the text finder."""
    finder_about: str
    """What it is, in words."""
    finder_parts: tuple[tuple[str, str], ...]
    """(name, version) of what it is made of."""
    recall: Mapping[str, tuple[int, int]]
    """Class, or `all` -> text boxes found and text boxes, of the finder on a labelled sample; empty if not given."""
    n_outputs: int
    """Outputs of a multi-label network; 0 where classes exclude each other."""
    n_points: int
    """Outputs among them whose operating point was given."""
    colour: bool
    """Whether images were read and edited in colour."""
    n_greyed: int
    """Images that show colours and were read as grey."""
    preprocessing: InputSteps
    """What happens to an image before the network sees it."""
    parity: Parity | None
    """The comparison with the owner's own pipeline; None where there was none."""
    is_recorded: bool
    """Whether the network is a product that was not loaded, whose answers were taken from a table."""
    level: float
    """Nominal coverage of intervals."""
    resamples: int
    """Of patients."""
    intervals: Mapping[str, int]
    """Kind of interval -> effects that have one."""
    declared: str
    """How p values of the declared family are adjusted."""
    declared_draws: int
    """Multiplier draws behind it."""
    exploratory: str
    """How those of exploratory effects are adjusted."""
    n_declared: int
    """Judged effects."""
    n_in_groups: int
    """Of them about groups."""
    n_exploratory: int
    """Tested effects that are not judged."""
    tolerances: Mapping[str, float]
    """Judged measure -> the largest effect that counts as small."""
    n_rules: int
    """Rules that the run was last judged by."""
    correction: str
    """What is done about several of them: holm or none."""
    n_trends: int
    """Ladders of doses that were tested for a trend."""
    relevance: Relevance | str
    """How maps were made; or why there is none."""


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """How the maps of a run were made."""

    about: str
    """The method that was used, in words."""
    asked: str
    """The method that was asked for, in words: another one where the network has a step without a rule."""
    why_other: str
    """Why another was used; empty where none was."""
    signs: Mapping[str, float]
    """Class -> sign of its output where relevance started; empty for the predicted class."""
    multi_label: bool
    """Whether any number of the outputs applies to an image, so that none of them is the predicted class."""
    n_maps: int
    """Images that have a map."""
    n_images: int
    """Audited images."""
    n_relocations: int
    """Of the text boxes of each image."""


def read_facts(run: RunView) -> Facts:
    """Gather what Methods rests on."""
    plan = run.plan
    data, suite, statistics = plan.data, plan.suite, plan.statistics
    shown = [c for c in suite.conditions if c.role != "clean"]
    families = Counter(e.family for e in run.effects)
    return Facts(
        n_images=data.n_images,
        n_patients=data.n_patients,
        split_name=data.split_name,
        split_told_by=data.split_told_by,
        n_seen=data.n_seen_in_training,
        suite=f"{suite.name} (version {suite.version})",
        roles=Counter(c.role for c in shown),
        has_placebo=any(c.placebo for c in shown),
        seed=plan.seed,
        finder=plan.detector.name,
        finder_about=plan.finder.about,
        finder_parts=plan.finder.parts,
        recall=plan.recall,
        n_outputs=len(plan.model.classes) if run.multi_label else 0,
        n_points=sum(point is not None for point in plan.model.operating_points),
        colour=plan.data.colour,
        n_greyed=plan.data.n_greyed,
        preprocessing=plan.model.preprocessing,
        parity=plan.model.parity,
        is_recorded=plan.model.training.provenance.get("opened_as") == RECORDED_KIND,
        level=statistics.level,
        resamples=statistics.resamples,
        intervals=_interval_kinds(run.effects),
        declared=statistics.declared,
        declared_draws=statistics.declared_draws,
        exploratory=statistics.exploratory,
        n_declared=families["declared"],
        n_in_groups=sum(e.family == "declared" and e.group != ALL for e in run.effects),
        n_exploratory=families["exploratory"],
        tolerances=plan.tolerances,
        n_rules=len(run.judged_by.rules),
        correction=run.judged_by.correction,
        n_trends=len(run.trends),
        relevance=_relevance_facts(run),
    )


def _interval_kinds(effects: Sequence[Effect]) -> dict[str, int]:
    counts = Counter(str(e.interval_kind) for e in effects)
    return {kind: counts[kind] for kind in INTERVALS if counts[kind]}


def _relevance_facts(run: RunView) -> Relevance | str:
    asked, summary = run.plan.relevance, run.relevance_summary
    if summary is None:
        return run.run.relevance_note or "No relevance was measured."
    return Relevance(
        about=summary.about,
        asked=asked.about,
        why_other=summary.note,
        signs=asked.start_signs,
        multi_label=run.multi_label,
        n_maps=len(run.relevance),
        n_images=run.plan.data.n_images,
        n_relocations=asked.n_placebo,
    )
