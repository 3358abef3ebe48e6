"""The sentences of Methods, each derived from the plan and the results of a run: what is not there is not claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.reports.reading.folder import RunView
from audit.store.numbers import compact, counted, number
from audit.store.results import Effect

_NOUNS = {
    "edit": ("edit", "edits"),
    "sufficiency": ("condition that keeps one part alone", "conditions that keep one part alone"),
    "stress": ("stress", "stresses"),
    "placebo": ("placebo", "placebos"),
    "control": ("control", "controls"),
}
_INTERVALS = {
    "bootstrap": "the percentile bootstrap over patients ({resamples} resamples)",
    "gaussian": "the Gaussian limit of that bootstrap, for many patients",
    "student": "Student's t over patients, corrected for skewness",
    "score": "a score interval on effective counts, for shares and for changes concentrated in few patients",
    "range": "the whole range of the measure, if only one patient is left",
}
_TOLD_BY = {
    "manifest": "the manifest's split column",
    "bundle": "the split that the bundle recorded when it was trained",
    "pixels": "the pixels of the training images, as recorded in the bundle",
    "names": "the names of the training images, as recorded in the bundle",
}
_PREPROCESSING = ("size_px", "mean", "std")


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """One subject of Methods."""

    id: str
    """Stable: other sections refer to it as `methods-ID`."""
    title: str
    """The subject."""
    text: str
    """One sentence or several."""


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
    """Role -> conditions beside the unedited images."""
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
    """Class, or `all` -> text boxes found and text boxes, of the finder on a labelled sample; empty where not told."""
    preprocessing: Mapping[str, Any]
    """What happens to an image before the network sees it."""
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
    n_maps: int
    """Images that have a map."""
    n_images: int
    """Audited images."""
    n_relocations: int
    """Of the text boxes of each image."""


def read_facts(run: RunView) -> Facts:
    """Gather what Methods rests on."""
    plan = run.plan
    data, suite, statistics = plan["data"], plan["suite"], plan["statistics"]
    shown = [c for c in suite["conditions"] if c["role"] != "clean"]
    families = Counter(e.family for e in run.effects)
    return Facts(
        n_images=data["n_images"],
        n_patients=data["n_patients"],
        split_name=data["split_name"],
        split_told_by=data["split_told_by"],
        n_seen=data["n_seen_in_training"],
        suite=f"{suite['name']} (version {suite['version']})",
        roles=Counter(str(c["role"]) for c in shown),
        has_placebo=any(c["placebo"] for c in shown),
        seed=plan["seed"],
        finder=plan["detector"]["name"],
        finder_about=plan["finder"]["about"],
        finder_parts=tuple((str(name), str(version)) for name, version in plan["finder"]["parts"]),
        recall={name: (found, boxes) for name, (found, boxes) in plan["recall"].items()},
        preprocessing=plan["model"]["preprocessing"],
        level=statistics["level"],
        resamples=statistics["resamples"],
        intervals=_interval_kinds(run.effects),
        declared=statistics["declared"],
        declared_draws=statistics["declared_draws"],
        exploratory=statistics["exploratory"],
        n_declared=families["declared"],
        n_exploratory=families["exploratory"],
        tolerances=plan["tolerances"],
        n_rules=len(run.judged_by["rules"]),
        correction=run.judged_by["policy"]["correction"],
        n_trends=len(run.trends),
        relevance=_relevance_facts(run),
    )


def methods(facts: Facts) -> tuple[Paragraph, ...]:
    """Return the paragraphs of Methods, in the order in which things were done."""
    subjects = (
        ("images", "Images", _images(facts)),
        ("conditions", "Conditions", _conditions(facts)),
        ("text", "Text", _text(facts)),
        ("network", "Preprocessing", _preprocessing(facts)),
        ("intervals", "Intervals", _intervals(facts)),
        ("multiplicity", "Multiple comparisons", _multiplicity(facts)),
        ("trends", "Trends", _trends(facts)),
        ("gates", "Gates", _gates(facts)),
        ("relevance", "Relevance", _relevance(facts)),
    )
    written = (Paragraph(id=name, title=title, text=" ".join(said)) for name, title, said in subjects)
    return tuple(paragraph for paragraph in written if paragraph.text)


def relevance_sentence(made: Relevance) -> str:
    """Say how maps were made, where relevance started, and why another method than the one asked for was used."""
    said = f"The heatmaps were made by {made.about}, starting from {_start(made.signs)}."
    if made.about != made.asked:
        said += f" The requested method, {made.asked}, was not used: {made.why_other or 'the network has a step without a rule.'}"
    return said


def _interval_kinds(effects: Sequence[Effect]) -> dict[str, int]:
    counts = Counter(str(e.interval_kind) for e in effects)
    return {kind: counts[kind] for kind in _INTERVALS if counts[kind]}


def _relevance_facts(run: RunView) -> Relevance | str:
    asked, summary = run.plan["relevance"], run.relevance_summary
    if summary is None:
        return str(run.run.get("relevance_note") or "No relevance was measured.")
    return Relevance(
        about=summary["about"],
        asked=asked["about"],
        why_other=summary["note"],
        signs=asked["start_signs"],
        n_maps=len(run.relevance),
        n_images=run.plan["data"]["n_images"],
        n_relocations=asked["n_placebo"],
    )


def _images(facts: Facts) -> Iterator[str]:
    yield (
        f"{counted(facts.n_images, 'image')} of {counted(facts.n_patients, 'patient')} {'was' if facts.n_images == 1 else 'were'} audited."
    )
    if facts.split_name == "all":
        yield "They are all labelled images of the manifest" + (
            "; neither the manifest nor the bundle specifies a split."
            if facts.split_told_by == "nobody"
            else f", of every split (determined by {_TOLD_BY[facts.split_told_by]})."
        )
    elif facts.split_name == "unlearnt":
        yield f"They are the labelled images that the network was not trained on, determined by {_TOLD_BY[facts.split_told_by]}."
    else:
        yield f"They are the {facts.split_name} split, determined by {_TOLD_BY[facts.split_told_by]}."
    if facts.split_told_by == "manifest":
        yield "No patient is in two splits of the manifest (checked before the run)."
    if facts.n_seen:
        yield f"{counted(facts.n_seen, 'image')} of them {'was' if facts.n_seen == 1 else 'were'} used to train the network."


def _conditions(facts: Facts) -> Iterator[str]:
    roles = [counted(facts.roles[role], *_NOUNS[role]) for role in _NOUNS if facts.roles.get(role)]
    yield (
        f"Each image was predicted as it is and under {counted(sum(facts.roles.values()), 'condition')} of the suite {facts.suite}: "
        f"{', '.join(roles)}."
    )
    if facts.has_placebo:
        yield (
            "The effect of a condition is its difference from its matched control (placebo), the same change without the suspected "
            "content."
        )
    yield f"Random draws start from seed {facts.seed}; several draws of a condition are averaged within the image."


def _text(facts: Facts) -> Iterator[str]:
    yield f"Burnt-in text was found by the finder {facts.finder} ({facts.finder_about})."
    if facts.finder_parts:
        yield f"Versions: {_listed([f'{name} {version}' for name, version in facts.finder_parts])}."
    if facts.recall:
        told = _listed([f"{found} of {boxes} boxes ({name})" for name, (found, boxes) in sorted(facts.recall.items())])
        yield (
            f"On a labelled sample it found {told}; effects of removing text are also reported corrected for the text that it missed "
            "(shortcut_sensitivity_corrected)."
        )


def _preprocessing(facts: Facts) -> Iterator[str]:
    told = facts.preprocessing
    height, width = told["size_px"]
    means, deviations = (", ".join(compact(v) for v in told[key]) for key in ("mean", "std"))
    yield (
        f"After each edit, an image was scaled to {width} × {height} px without keeping its aspect ratio and normalised by channel (mean "
        f"{means}; standard deviation {deviations})."
    )
    further = [f"{key.replace('_', ' ')} {value}" for key, value in sorted(told.items()) if key not in _PREPROCESSING]
    if further:
        yield f"Further preprocessing: {_listed(further)}."


def _intervals(facts: Facts) -> Iterator[str]:
    yield f"Intervals have a nominal coverage of {number(100 * facts.level, 0)} % and treat the patient, not the image, as the unit."
    if facts.intervals:
        kinds = [
            f"{counted(n, 'effect')} by {_INTERVALS[kind].format(resamples=f'{facts.resamples:,}')}"
            for kind, n in facts.intervals.items()
        ]
        yield f"They were computed for {_listed(kinds)}."


def _multiplicity(facts: Facts) -> Iterator[str]:
    limits = _listed([f"{name.replace('_', ' ')} {compact(limit)}" for name, limit in sorted(facts.tolerances.items())])
    yield f"Tolerances, fixed before the run: {limits}."
    if facts.n_declared:
        yield {
            "westfall-young": f"Judged effects ({facts.n_declared}) form one family: p-values and simultaneous intervals are "
            "corrected for multiple comparisons by the step-down max-T procedure of Westfall and Young on "
            f"{facts.declared_draws:,} multiplier draws over patients; Holm's p-value is used where it is smaller.",
        }[facts.declared]
    if facts.n_exploratory:
        yield {
            "benjamini-hochberg": f"P-values of exploratory effects ({facts.n_exploratory}) are adjusted for the false "
            "discovery rate (Benjamini and Hochberg); nothing is concluded from them.",
        }[facts.exploratory]


def _trends(facts: Facts) -> Iterator[str]:
    if facts.n_trends:
        yield (
            f"{counted(facts.n_trends, 'ladder')} of doses {'was' if facts.n_trends == 1 else 'were'} tested for a rise of total variation "
            "over the doses, compared with the placebo of the same dose where there is one, by sign flips of whole patients."
        )


def _gates(facts: Facts) -> Iterator[str]:
    if not facts.n_rules:
        yield "No gate rule was applied."
        return
    applied = f"{counted(facts.n_rules, 'gate rule')} {'was' if facts.n_rules == 1 else 'were'} applied to the measured effects."
    yield {
        "holm": f"{applied} A failure is based on an interval corrected for multiple comparisons: for judged effects the simultaneous one, "
        "for other error-level results one widened by Holm's procedure.",
        "none": f"{applied} Each is based on its own interval, without correction for multiple comparisons.",
    }[facts.correction]


def _relevance(facts: Facts) -> Iterator[str]:
    made = facts.relevance
    if isinstance(made, str):
        yield made
        return
    yield relevance_sentence(made)
    whole = (
        "every image" if made.n_maps == made.n_images else f"{made.n_maps} of {made.n_images} images, drawn at random"
    )
    yield (
        f"Heatmaps were made for {whole}. Relevance inside text was compared with {counted(made.n_relocations, 'random relocation')} of "
        "each image's text boxes along the border, and with the same place in heatmaps of images whose text was inpainted."
    )


def _start(signs: Mapping[str, float]) -> str:
    if not signs:
        return "the output of the predicted class"
    plus = [name for name, sign in signs.items() if sign > 0]
    minus = [name for name, sign in signs.items() if sign < 0]
    return f"the output of class {plus[0]}" + (f" minus that of class {minus[0]}" if minus else "")


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
