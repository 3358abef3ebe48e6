"""The images of a user's data that shortcuts are planted into: which of them heads are fitted on, and which are audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audit.calibration.cohort_files import OWN_COLUMNS
from audit.calibration.corpus import split_by_patient
from audit.data.manifests import load_cohort
from audit.data.records import Record
from audit.errors import CohortError, UsageError
from audit.models.bundle import Bundle
from audit.run.cohorts import audited_cohort
from audit.run.settings import Settings

MOST_TRAINING, MOST_TEST = 600, 150
MOST_OUTPUTS = 3
"""Outputs of a multi-label network that plants go with: those whose finding the most images are known to have, and not to have."""
_FEWEST = 10
"""Images of each class, in training and in test."""
_SIDES = ("absent", "present")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Images to plant into, without a common patient of training and test."""

    output: str
    """Output whose finding the plant goes with, of a multi-label network; else empty."""
    classes: tuple[str, ...]
    """What the images are told apart by."""
    training: Sequence[Record]
    """Heads are fitted on these."""
    test: Sequence[Record]
    """These are audited."""


def find_plots(bundle: Bundle, settings: Settings, *, multi_label: bool) -> list[Plot]:
    """Return the images to fit heads on and to audit; of a multi-label network for each of the outputs that are planted with.

    The audited images are those that `audit run` would take. Heads are fitted on the images that trained the network, where the data
    hold them; else half of the audited patients are given to training.

    Parameters
    ----------
    bundle : Bundle
        The user's network.
    settings : Settings
        Its data, as for `audit run`.
    multi_label : bool
        Whether any number of findings applies to an image.

    Raises
    ------
    UsageError
        If a name of an output is that of a column of every manifest.
    CohortError
        If there are too few images.
    """
    cohort, _ = audited_cohort(bundle, settings, multi_label=multi_label)
    audited = list(cohort.records)
    everything = load_cohort(
        cohort.manifest,
        classes=bundle.classes,
        ignore_labels=settings.ignore_label,
        multi_label=multi_label,
        colour=cohort.colour,
    ).labelled()
    patients = {r.patient for r in audited}
    others = [replace(r, colour=cohort.colour) for r in everything if r.patient not in patients]
    if not multi_label:
        training, test = _split(audited, others, bundle.classes, "", settings.seed)
        return [Plot(output="", classes=bundle.classes, training=training, test=test)]
    if taken := OWN_COLUMNS & {name.strip().casefold() for name in bundle.classes}:
        raise UsageError(
            f"Calibration writes manifests with a column for each output, and an output of {bundle.name} is called {', '.join(taken)}, as "
            "another column is. Import the network again, with other names for its outputs (--classes)."
        )
    found: list[Plot] = []
    lacking: list[CohortError] = []
    known = [min(sum(r.truth[i] == value for r in audited) for value in (0, 1)) for i in range(len(bundle.classes))]
    for place in sorted(range(len(known)), key=lambda i: -known[i]):
        one, other = (
            [replace(r, label=_SIDES[r.truth[place]]) for r in records if r.truth[place] >= 0]
            for records in (audited, others)
        )
        try:
            training, test = _split(one, other, _SIDES, bundle.classes[place], settings.seed)
        except CohortError as error:
            lacking.append(error)
            continue
        found.append(Plot(output=bundle.classes[place], classes=_SIDES, training=training, test=test))
        if len(found) == MOST_OUTPUTS:
            break
    if not found:
        raise lacking[0]
    return found


def _split(
    audited: Sequence[Record], others: Sequence[Record], classes: Sequence[str], output: str, seed: int
) -> tuple[list[Record], list[Record]]:
    """Return training and test, classes equal in each."""
    present = [c for c in classes if any(r.label == c for r in audited)]
    fewest_others = min((sum(r.label == c for r in others) for c in present), default=0)
    k = len(present)
    if k < 2:
        raise CohortError(
            f"Calibration needs images with and without a finding, but those to audit are {present[0] if present else 'unknown'} for every "
            f"output, such as {output}. Use more data."
            if output
            else f"Calibration needs images of at least two classes, found {', '.join(present) or 'none'}."
        )
    if fewest_others >= _FEWEST:
        size = min(MOST_TRAINING // k, fewest_others) * k
        n_test = min(MOST_TEST // k, min(sum(r.label == c for r in audited) for c in present)) * k
        (training,) = split_by_patient(others, present, [size], seed)
        (test,) = split_by_patient(audited, present, [n_test], seed)
        return training, test
    fewest = min(sum(r.label == c for r in audited) for c in present)
    if fewest < 2 * _FEWEST:
        of = f"with and without the finding {output}" if output else "of each class"
        raise CohortError(
            f"Calibration needs {_FEWEST} images {of} to fit on and {_FEWEST} others to audit, but "
            f"{'one of these groups' if output else 'a class'} has only {fewest} in all. Use more data."
        )
    # A patient's images stay together, so a little fewer than half of them fit.
    half = max(_FEWEST, int(0.45 * fewest))
    training, test = split_by_patient(
        audited, present, [min(MOST_TRAINING // k, half) * k, min(MOST_TEST // k, half) * k], seed
    )
    return training, test
