"""The sentences of Methods, each derived from the plan and the results of a run: what is not there is not claimed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.data.input_words import greyed_in_words, input_in_words
from audit.data.planned_model import InputSteps
from audit.reports.findings.methods_facts import INTERVALS, Facts, Relevance
from audit.store.numbers import compact, counted, number

_NOUNS = {
    "edit": ("edit", "edits"),
    "sufficiency": ("condition that keeps only one part", "conditions that keep only one part"),
    "stress": ("stress", "stresses"),
    "placebo": ("placebo", "placebos"),
    "control": ("control", "controls"),
}
_TOLD_BY = {
    "manifest": "the manifest's split column",
    "bundle": "the split that the bundle recorded when it was trained",
    "pixels": "the pixels of the training images, as recorded in the bundle",
    "names": "the names of the training images, as recorded in the bundle",
}


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """One subject of Methods."""

    id: str
    """Stable: other sections refer to it as `methods-ID`."""
    title: str
    """The subject."""
    sentences: tuple[str, ...]
    """One or several."""

    @property
    def text(self) -> str:
        """Return the whole paragraph."""
        return " ".join(self.sentences)


def methods(facts: Facts) -> tuple[Paragraph, ...]:
    """Return the paragraphs of Methods, in the order in which things were done."""
    subjects = (
        ("images", "Images", _images(facts)),
        ("conditions", "Conditions", _conditions(facts)),
        ("text", "Text", _text(facts)),
        ("network", "Preprocessing", _preprocessing(facts)),
        ("outputs", "Outputs", _outputs(facts)),
        ("intervals", "Intervals", _intervals(facts)),
        ("multiplicity", "Multiple comparisons", _multiplicity(facts)),
        ("trends", "Trends", _trends(facts)),
        ("gates", "Gates", _gates(facts)),
        ("relevance", "Relevance", _relevance(facts)),
    )
    written = (Paragraph(id=name, title=title, sentences=tuple(said)) for name, title, said in subjects)
    return tuple(paragraph for paragraph in written if paragraph.sentences)


def relevance_sentence(made: Relevance) -> str:
    """State how heatmaps were made, where relevance started, and why the requested method was not used."""
    said = f"The heatmaps were made by {made.about}, starting from {_start(made)}."
    if made.about != made.asked:
        said += f" The requested method, {made.asked}, was not used: {made.why_other or 'the network has a step without a rule.'}"
    return said


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
        f"Each image was predicted unedited and under {counted(sum(facts.roles.values()), 'condition')} of the suite {facts.suite}: "
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
    if facts.colour:
        yield "It looked at the brightness of an image, and at how far colours differ from those around them."
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
    if facts.colour:
        yield "Images were read and edited in colour; an edit changes red, green and blue alike or each by its own measure."
    if facts.n_greyed:
        yield greyed_in_words(facts.n_greyed)
    if facts.is_recorded:
        levels = "colour" if facts.colour else "grey"
        yield (
            "The classifier is a product that was not loaded: after each edit, an image was written to a file at its stored size, in 8-bit "
            f"{levels}. The product prepared and classified the files by itself, and its answers were taken from a table."
        )
        return
    if told != InputSteps(size_px=told.size_px, mean=told.mean, std=told.std) or told.size_px is None:
        yield f"After each edit, an image was prepared as the network's owner declared: {input_in_words(told)}."
        yield from _parity(facts)
        return
    height, width = told.size_px
    means, deviations = (", ".join(compact(v) for v in values) for values in (told.mean, told.std))
    yield (
        f"After each edit, an image was scaled to {width} × {height} px without keeping its aspect ratio and normalised by channel (mean "
        f"{means}; standard deviation {deviations})."
    )
    yield from _parity(facts)


def _parity(facts: Facts) -> Iterator[str]:
    if facts.parity is not None:
        yield (
            f"Before the run, the network's probabilities for {counted(facts.parity.n_images, 'image')} were compared with those of its "
            f"owner's own pipeline: the largest difference is {facts.parity.largest:.1e} (limit {facts.parity.limit:g})."
        )


def _outputs(facts: Facts) -> Iterator[str]:
    if not facts.n_outputs:
        return
    yield (
        f"Each of the {facts.n_outputs} outputs is a finding of its own (sigmoid). Shortcut sensitivity over all outputs is, for each "
        "image, the largest change of any output's probability; that of one output is the change of its own. Both are compared with the "
        "placebo, and each output is judged."
    )
    yield (
        "Images whose label is unknown are left out of an output's AUC, recall and specificity; changes of probabilities need no label. "
        "Over all outputs, accuracy, margin, likelihood, Brier score and harm of an image are means over its known labels."
    )
    by_youden = facts.n_outputs - facts.n_points
    if facts.n_points:
        yield f"Operating points were given for {counted(facts.n_points, 'output')}."
    if by_youden:
        yield (
            f"{'Those of the others were' if facts.n_points else 'Operating points were'} set by Youden's index on the unedited images, or "
            "at 0.5 where labels are not of both kinds, so recall and specificity on these images are optimistic."
        )


def _intervals(facts: Facts) -> Iterator[str]:
    yield f"Intervals have a nominal coverage of {number(100 * facts.level, 0)} % and treat the patient, not the image, as the unit."
    if facts.intervals:
        kinds = [
            f"{counted(n, 'effect')} by {INTERVALS[kind].format(resamples=f'{facts.resamples:,}')}"
            for kind, n in facts.intervals.items()
        ]
        yield f"They were computed for {_listed(kinds)}."


def _multiplicity(facts: Facts) -> Iterator[str]:
    limits = _listed([f"{name.replace('_', ' ')} {compact(limit)}" for name, limit in sorted(facts.tolerances.items())])
    yield f"Limits, fixed before the run: {limits}."
    if facts.n_declared:
        yield {
            "westfall-young": f"Judged effects form two families, over all images ({facts.n_declared - facts.n_in_groups}) and over groups "
            f"({facts.n_in_groups}). In each, p-values and simultaneous intervals are corrected for multiple comparisons by the step-down "
            f"max-T procedure of Westfall and Young on {facts.declared_draws:,} multiplier draws over patients; Holm's p-value is used "
            "where it is smaller.",
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


def _start(made: Relevance) -> str:
    signs = made.signs
    if not signs:
        return "the output with the highest logit" if made.multi_label else "the output of the predicted class"
    plus = [name for name, sign in signs.items() if sign > 0]
    minus = [name for name, sign in signs.items() if sign < 0]
    return f"the output of class {plus[0]}" + (f" minus that of class {minus[0]}" if minus else "")


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
