"""The terms that the first screen uses, each explained on it."""

from __future__ import annotations

from collections.abc import Mapping

from audit.store.verdict import Status

TERMS: Mapping[str, str] = {
    "shift": "How far the probabilities of the classes move when the image is edited: half the sum of their absolute changes; of "
    "independent findings, the largest change of any of them.",
    "percentage points": "The unit of shifts: from a probability of 0.60 to 0.91 is 31 percentage points.",
    "CI": "Confidence interval. If the audit were repeated on other patients, the stated share of such intervals would "
    "contain the true value.",
    "corrected": "Corrected for multiple comparisons: an audit tests many effects, so each needs a wider interval to keep "
    "false alarms rare. An effect exceeds the limit only if its corrected interval does.",
    "limit": "The largest effect that counts as small. It was chosen before the run.",
    "placebo": "A matched control: the same change of the image, without the content in question. The effect is what exceeds it.",
    "power": "80 % power: if the true effect is as large as stated, 4 of 5 such audits would find it.",
    "source": "Where an image was acquired, according to the manifest: a hospital or a data set.",
}
"""Term -> what it means, in a sentence or two."""
STATUSES: Mapping[Status, str] = {
    "pass": "every rule is met",
    "fail": "at least one rule is not met",
    "inconclusive": "the sample is too small to decide at least one rule",
    "not comparable": "the baseline was made from other images, conditions or settings",
    "not gated": "no rule was requested; the findings are stated without a pass or fail",
    "incomplete": "a control failed, so nothing else in this run counts",
}
"""Status of a run -> what it means."""
ANSWERS: Mapping[str, str] = {
    "sensitive": "Yes: it exceeds the limit",
    "robust": "No: it is within the limit",
    "bounded": "No: it is within the limit",
    "reversed": "Cannot be concluded: the placebo disturbs the network more",
    "inconclusive": "Undecided: the sample is too small",
    "void": "Cannot be concluded: a control failed",
    "descriptive": "Not judged",
}
"""Verdict of an effect -> the answer to the question whether the network relies on what was edited."""
NOT_TESTED = "Not tested: no image could be edited"
