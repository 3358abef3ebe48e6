"""What is estimated of each output of a multi-label network: how well it finds its finding, and how an edit moves it.

The change of a probability needs no label, so every image counts; what compares an output with its label leaves out the images on
which the label is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition
from audit.statistics.alignment import AlignedImages, AppliedChanges
from audit.statistics.calibration import ece_change
from audit.statistics.catalogue import AUC_OVER_SOURCE, MEASURES, MOVEMENT, PROBABILITY_SHIFT
from audit.statistics.estimand import Estimand
from audit.statistics.findings import OneFinding
from audit.statistics.image_changes import image_changes
from audit.statistics.jackknife import PatientInfluence
from audit.statistics.measure import Measure
from audit.statistics.outputs import sigmoid
from audit.statistics.populations import Population, image_values
from audit.statistics.ranking import auc_influences, mean_influence, mean_placements
from audit.statistics.selections import changes_of_outputs, headline_of
from audit.statistics.source_guess import shares_in_sources
from audit.store.group import ALL, Group

_ABSENT_OR_PRESENT = 2


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output as a task of its own."""

    group: Group
    """What effects call it."""
    reader: OneFinding
    """Its labels and its operating point."""
    images: AlignedImages
    """The same images, read as with or without the finding."""

    def changed(self, applied: AppliedChanges) -> AppliedChanges:
        """Return what a condition did to this output."""
        changes = image_changes(
            self.images.clean,
            applied.logits,
            self.reader.read,
            by_draw=applied.donors is not None,
            pairs=applied.pairs,
            measured=changes_of_outputs(),
        )
        return replace(applied, changes=changes, read=self.reader.read)


def outputs_of(images: AlignedImages) -> Iterator[Output]:
    """Yield each output of a multi-label network as a task of its own, one at a time: none is kept."""
    assert images.findings is not None
    logits = images.clean.scores.T
    for place, name in enumerate(images.classes):
        reader = images.findings.one(place)
        as_one = replace(
            images,
            labels=(reader.truth == 1).astype(np.int64),
            classes=("absent", "present"),
            clean=reader.read(logits),
            read=reader.read,
        )
        yield Output(group=Group(kind="output", value=name), reader=reader, images=as_one)


def clean_outputs(images: AlignedImages) -> Iterator[Estimand]:
    """Yield how well each output finds its finding on the unedited images, then the mean AUC, alone and over the source's."""
    everyone = np.ones(len(images.labels), dtype=np.bool_)
    aucs: list[PatientInfluence] = []
    over: list[PatientInfluence] = []
    for output in outputs_of(images):
        point = f"; operating point {_probability(output.reader.cut):.3g}"
        correct = output.images.clean.correct.astype(np.float64)
        for name, members in _of_decisions(output.reader, everyone):
            chosen = Population(images=output.images, chosen=members)
            sums = chosen.sums(MEASURES[name], correct, "proportion")
            if sums is not None:
                yield Estimand(condition="clean", placebo=None, measure=name, group=output.group, data=sums, note=point)
        yield from _calibration("clean", None, output, [(1.0, output.images.clean.scores[None])], everyone)
        placed = _placed(output.images.clean.scores[None], everyone, output.reader)
        if placed is None:
            continue
        aucs.append(_auc(placed, everyone, output, images, plain=True))
        yield Estimand(condition="clean", placebo=None, measure="auc", group=output.group, data=aucs[-1])
        share = shares_in_sources(output.reader.truth, images.sources, images.patients)
        by_source = _placed(np.stack([-share, share])[None], everyone, output.reader)
        assert by_source is not None
        over.append(_auc(placed - by_source, everyone, output, images, plain=False))
    for name, found in (("macro_auc", aucs), (AUC_OVER_SOURCE, over)):
        yield Estimand(
            condition="clean", placebo=None, measure=name, group=ALL, data=_mean(found), note=_over(found, images)
        )


def output_estimands(
    condition: Condition,
    applied: AppliedChanges,
    placebo: AppliedChanges | None,
    population: NDArray[np.bool_],
    images: AlignedImages,
) -> Iterator[Estimand]:
    """Yield what a condition does to each output, alone or compared with its placebo; then the change of the mean AUC.

    Parameters
    ----------
    condition : Condition
        Anything but clean and controls.
    applied, placebo : AppliedChanges
        What it and its placebo did; None to measure it alone.
    population : array of bool, (n images,)
        Images that count.
    images : AlignedImages
        Of a multi-label network.
    """
    if not population.any():
        return
    headline = headline_of(condition.role) if placebo is not None else MEASURES[MOVEMENT]
    judged = condition.judged and placebo is not None and headline.judged_in_groups
    tested = placebo is not None or condition.placebo is None
    name_of_placebo = condition.placebo if placebo is not None else None
    aucs: list[PatientInfluence] = []
    for output in outputs_of(images):
        edit, other = output.changed(applied), None if placebo is None else output.changed(placebo)
        changes = edit.changes.changes if other is None else edit.beyond(other)
        flipped = edit.changes.flipped if other is None else edit.changes.flipped | other.changes.flipped
        lenders = tuple(role for role in (edit, other) if role is not None and role.donors is not None)
        everyone = Population(
            images=output.images,
            chosen=population,
            lenders=lenders if edit.donors is not None else (),
            taught=edit if edit.pairs else None,
        )
        for measure, members in _measures(headline, output.reader, population):
            chosen = everyone.only(members)
            values = image_values(measure, changes, output.images)
            sums = chosen.sums(measure, values, measure.scale_under(controlled=placebo is not None))
            if sums is None:
                continue
            yield Estimand(
                condition=condition.name,
                placebo=name_of_placebo,
                measure=measure.name,
                group=output.group,
                data=sums,
                discordant=int(np.count_nonzero(flipped & chosen.chosen)),
                judged=judged and measure is headline,
                tested=tested,
            )
        before = output.images.clean.scores[None] if other is None else other.changes.scores
        for calibration in _calibration(
            condition.name, name_of_placebo, output, [(1.0, edit.changes.scores), (-1.0, before)], population
        ):
            yield replace(
                calibration, discordant=int(np.count_nonzero(flipped & population & output.reader.known)), tested=tested
            )
        after, earlier = (_placed(scores, population, output.reader) for scores in (edit.changes.scores, before))
        if after is not None and earlier is not None:
            aucs.append(_auc(after - earlier, population, output, images, plain=False))
            yield Estimand(
                condition=condition.name,
                placebo=name_of_placebo,
                measure="auc",
                group=output.group,
                data=aucs[-1],
                discordant=int(np.count_nonzero(flipped & population & output.reader.known)),
                tested=tested,
            )
    yield Estimand(
        condition=condition.name,
        placebo=name_of_placebo,
        measure="macro_auc",
        group=ALL,
        data=_mean(aucs),
        tested=tested,
        note=_over(aucs, images),
    )


def _measures(
    headline: Measure, reader: OneFinding, population: NDArray[np.bool_]
) -> Iterator[tuple[Measure, NDArray[np.bool_]]]:
    """Yield what is measured of an output, and the images that it is measured on; what sums it up first."""
    everyone = np.ones(len(reader.truth), dtype=np.bool_)
    yield headline, reader.known if headline.made_of == "harm" else everyone
    for name in (PROBABILITY_SHIFT, "flip_rate"):
        yield MEASURES[name], everyone
    yield MEASURES["harm"], reader.known
    for name, members in _of_decisions(reader, population):
        yield MEASURES[name], members


def _of_decisions(reader: OneFinding, population: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield what is measured of an output's decisions, and on which images; the mean of the two only where there are images of both."""
    yield "recall", reader.truth == 1
    yield "specificity", reader.truth == 0
    if all((population & (reader.truth == value)).any() for value in (0, 1)):
        yield "balanced_accuracy", reader.known


def _calibration(
    condition: str,
    placebo: str | None,
    output: Output,
    signed: Sequence[tuple[float, NDArray[np.float64]]],
    population: NDArray[np.bool_],
) -> Iterator[Estimand]:
    """Yield a signed sum of an output's calibration errors, of scores (draws, 2, n): its probability against the share with the finding."""
    known, present = population & output.reader.known, output.reader.truth == 1
    if not known.any():
        return
    parts = [(sign, sigmoid(scores[:, 1]), np.broadcast_to(present, scores[:, 1].shape)) for sign, scores in signed]
    data = ece_change(parts, output.images.patients, output.images.n_patients, known)
    yield Estimand(condition=condition, placebo=placebo, measure="ece", group=output.group, data=data)


def _placed(
    draws: NDArray[np.float64], population: NDArray[np.bool_], reader: OneFinding
) -> NDArray[np.float64] | None:
    """Return the placements of the images with a known label, (2, m); None where all have the finding, or none has."""
    chosen = population & reader.known
    labels = reader.truth[chosen].astype(np.int64)
    return mean_placements(draws[..., chosen], labels, _ABSENT_OR_PRESENT) if chosen.any() else None


def _auc(
    moved: NDArray[np.float64],
    population: NDArray[np.bool_],
    output: Output,
    images: AlignedImages,
    *,
    plain: bool,
) -> PatientInfluence:
    chosen = population & output.reader.known
    each, _ = auc_influences(
        moved,
        output.reader.truth[chosen].astype(np.int64),
        images.patients[chosen],
        images.n_patients,
        _ABSENT_OR_PRESENT,
        plain=plain,
    )
    return each[1]


def _mean(aucs: list[PatientInfluence]) -> PatientInfluence | None:
    if not aucs:
        return None
    return mean_influence(
        aucs, n_images=max(one.n_images for one in aucs), n_patients=max(one.n_patients for one in aucs)
    )


def _over(aucs: list[PatientInfluence], images: AlignedImages) -> str:
    k = len(images.classes)
    return "" if len(aucs) == k else f"; over the {len(aucs)} of {k} outputs with labels of both kinds"


def _probability(cut: float) -> float:
    return float(np.exp(-np.logaddexp(0.0, -cut)))
