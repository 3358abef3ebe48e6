"""The catalogue of measures: one record each, from which everything else follows.

A measure that has a number of its own for each image is computed, adjusted, serialised, shown, gated and compared between
runs once its record stands here; nothing else names it. A measure that is not a mean over images (AUC, ECE, an effect
corrected for the finder) needs an estimator too (`audit.statistics.whole_sample`, `audit.statistics.finder_misses`).
Records are not read from entry points: what an audit measures must follow from its version, not from what else is installed.

It stays one file however long it becomes: it is one list without logic, whose order is that of `audit list measures` and of the
reference, and adding a measure must touch this file alone. The constants at its end name the records that an estimator or a page picks out.
"""

from __future__ import annotations

import numpy as np

from audit.statistics.measure import Measure

_SHARE = "share, 0 to 1; of a change −1 to 1"
_PROBABILITY = "probability, −1 to 1"


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            name="accuracy",
            words="share of images that are classified correctly",
            of_findings="mean over images of the share of their known labels that the outputs meet at their operating points",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="proportion",
            counted=True,
            change=lambda move: move.now.correct.astype(np.float64) - move.clean.correct,
            clean=lambda outputs: outputs.correct.astype(np.float64),
            on_clean=True,
            by_group=True,
            judged_of="edit",
            tolerance=0.02,
            tabled=True,
            demand="Accuracy must not fall significantly more than under the matched control.",
        ),
        Measure(
            name="balanced_accuracy",
            words="mean over the classes of the share that is classified correctly",
            of_findings="mean of an output's recall and specificity at its operating point",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="proportion",
            counted=True,
            over="classes",
            made_of="accuracy",
            on_clean=True,
            tabled=True,
        ),
        Measure(
            name="recall",
            words="share of a class's images that are classified correctly",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="proportion",
            counted=True,
            over="each class",
            made_of="accuracy",
            on_clean=True,
            by_group=True,
        ),
        Measure(
            name="specificity",
            words="share of the images without a finding on which a multi-label network's output does not exceed its operating point; the "
            "recall of the output is its sensitivity",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="proportion",
            counted=True,
            over="each class",
            made_of="accuracy",
            of_outputs=True,
        ),
        Measure(
            name="auc",
            words="chance that an image of the class gets a higher score for it than an image of another class",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="proportion",
            over="each class",
        ),
        Measure(
            name="macro_auc",
            words="mean over the classes of the AUC",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="proportion",
            over="classes",
        ),
        Measure(
            name="nll",
            words="negative log likelihood of the true class",
            of_findings="mean over an image's known labels of the negative log likelihood",
            unit="nats",
            of="network",
            better="lower",
            scale="unbounded",
            change=lambda move: move.now.nll - move.clean.nll,
            clean=lambda outputs: outputs.nll,
            on_clean=True,
        ),
        Measure(
            name="brier",
            words="sum over classes of the squared distance of probabilities from the truth",
            of_findings="mean over an image's known labels of twice the squared distance of the probability from the truth",
            unit="0 to 2",
            of="network",
            better="lower",
            scale="unbounded",  # of k classes it may change by 2
            change=lambda move: move.now.brier - move.clean.brier,
            clean=lambda outputs: outputs.brier,
            on_clean=True,
        ),
        Measure(
            name="ece",
            words="calibration error: mean distance between the predicted class's probability and the share of correct predictions, "
            "15 bins",
            of_findings="calibration error of an output: mean distance between its probability and the share of images with the finding, "
            "15 bins",
            unit=_SHARE,
            of="network",
            better="lower",
            scale="proportion",
        ),
        Measure(
            name="margin",
            words="logit of the true class minus the largest other logit",
            of_findings="mean over an image's known labels of the distance of the logit from the operating point, positive where the "
            "decision is right",
            unit="logits",
            of="network",
            better="higher",
            scale="unbounded",
            change=lambda move: move.now.margin - move.clean.margin,
            clean=lambda outputs: outputs.margin,
            tabled=True,
        ),
        Measure(
            name="margin_sd",
            words="the same margin in standard deviations of the unedited images' margins",
            unit="standard deviations",
            of="network",
            better="higher",
            scale="unbounded",
            made_of="margin",
            standardised=True,
        ),
        Measure(
            name="flip_rate",
            words="share of images whose predicted class changes",
            of_findings="share of images of which any output crosses its operating point",
            unit=_SHARE,
            of="edit",
            better="lower",
            scale="proportion",
            counted=True,
            change=lambda move: move.flipped.astype(np.float64),
            tabled=True,
        ),
        Measure(
            name="flip_rate_to_donor",
            words="share of images whose predicted class becomes the class of the edit's donor image",
            unit=_SHARE,
            of="edit",
            better="lower",
            scale="proportion",
            counted=True,
            toward=lambda move, classes: move.flipped_to(classes).astype(np.float64),
        ),
        Measure(
            name="pull_to_donor",
            words="increase of the probability of the donor image's class",
            unit=_PROBABILITY,
            of="edit",
            better="near 0",
            scale="difference",
            toward=lambda move, classes: move.pull(classes),
        ),
        Measure(
            name="harm",
            words="loss of probability of the true class",
            of_findings="mean over an image's known labels of the loss of probability of what is true",
            unit=_PROBABILITY,
            of="edit",
            better="lower",
            scale="difference",
            change=lambda move: move.clean.true_probability - move.now.true_probability,
            tabled=True,
        ),
        Measure(
            name="probability_shift",
            words="change of the probability of one output of a multi-label network; its sign is kept",
            unit=_PROBABILITY,
            of="edit",
            better="near 0",
            scale="difference",
            of_outputs=True,
            change=lambda move: move.now.probabilities[:, -1] - move.clean.probabilities[:, -1],
        ),
        Measure(
            name="total_variation",
            words="change of the class probabilities: half the sum of their absolute changes, from 0 to 1",
            of_findings="largest change of any output's probability, from 0 to 1",
            unit="probability, 0 to 1",
            of="edit",
            better="lower",
            scale="proportion",
            change=lambda move: move.variation,
        ),
        Measure(
            name="shortcut_sensitivity",
            words="total variation under the edit minus the same under its placebo, from −1 to 1; of edits learnt from halves of the "
            "patients, as far as both halves agree",
            unit=_PROBABILITY,
            of="edit",
            better="lower",
            scale="difference",
            made_of="total_variation",
            headline_of="edit",
            judged_of="edit",
            judged_in_groups=True,
            tolerance=0.05,
            axis="shortcut sensitivity: total variation, minus the placebo's",
            explained="How much more each edit changes the class probabilities than its placebo does. At the zero line both change them "
            "equally.",
            finding="The network {reads} {suspect}. {When}, the class probabilities shift by {points} percentage points more "
            "than with the placebo, on average {interval}.",
            demand="The edit must not change the prediction more than its matched control.",
        ),
        Measure(
            name="shortcut_sensitivity_corrected",
            words="shortcut sensitivity under masking, corrected for text that the text finder missed",
            unit=_PROBABILITY,
            of="edit",
            better="lower",
            scale="difference",
            corrects="shortcut_sensitivity",
        ),
        Measure(
            name="fill_disagreement",
            words="shortcut sensitivity under one fill of the text minus the same under another, on the images of both",
            unit="probability, −2 to 2",
            of="edit",
            better="near 0",
            scale="difference",
        ),
        Measure(
            name="sufficiency",
            words="probability of the true class when only the suspected part is kept, minus the same for an equal area from "
            "elsewhere in the image, from −1 to 1",
            unit=_PROBABILITY,
            of="edit",
            better="lower",
            scale="difference",
            made_of="harm",
            turned=True,
            headline_of="sufficiency",
            judged_of="sufficiency",
            tolerance=0.05,
            one_sided=True,
            axis="sufficiency: probability of the true class, minus the placebo's",
            explained="Probability of the true class when only a part that must not matter is kept, minus the same for an equal area "
            "from elsewhere in the image.",
            finding="{Suspect} alone reveals the class. {When}, the probability of the true class is {points} percentage "
            "points higher than with the placebo, on average {interval}.",
            demand="This part alone must not predict the class better than its matched control.",
        ),
        Measure(
            name="accuracy_over_source",
            words="accuracy minus the accuracy of always predicting the most frequent class of the image's source",
            unit="share, −1 to 1",
            of="network",
            better="higher",
            scale="difference",
            counted=True,
        ),
        Measure(
            name="auc_over_source",
            words="mean over a multi-label network's outputs of the AUC minus that of the share of images with the finding in the image's "
            "source",
            unit=_SHARE,
            of="network",
            better="higher",
            scale="difference",
            of_outputs=True,
        ),
        Measure(
            name="max_abs_probability_change",
            words="largest change of any class probability in any image",
            unit="probability, 0 to 1",
            of="control",
            better="lower",
            scale="proportion",
        ),
    )
}
"""Every measure that an effect can carry and a gate can limit, by name, in the order in which they are listed."""

ACCURACY = "accuracy"
"""The first figure of a run: how often the network is right."""
ACCURACY_OVER_SOURCE = "accuracy_over_source"
"""Measured of clean images: accuracy minus that of guessing the class from the source."""
AUC_OVER_SOURCE = "auc_over_source"
"""The same of a multi-label network: its AUCs minus those of the source alone."""
PROBABILITY_SHIFT = "probability_shift"
"""What an edit does to one output of a multi-label network, with its sign."""
CONTROL_MEASURE = "max_abs_probability_change"
"""What is measured of a control: the largest change of any probability, which must be exactly 0."""
FILL_DISAGREEMENT = "fill_disagreement"
"""Measured of two fills of the text: how far their figures differ; in the place of the placebo stands the other fill."""
MOVEMENT = "total_variation"
"""Summary of a condition by itself; compared with its placebo only if its role has no headline measure."""
