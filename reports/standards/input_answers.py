"""What a run says of its images and its model, for the standards that ask about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audit.reports.findings.effect_words import without_folders
from audit.reports.findings.limitations import deviations
from audit.reports.findings.relevance_by_group import text_by_class
from audit.reports.findings.training_story import training_story
from audit.reports.standards.references import Answer, Known, refer
from audit.store.numbers import counted


def _objective(known: Known) -> Answer:
    return Answer(
        references=(
            refer(
                "header",
                "Header",
                "Does it rely on the image, or on the text printed on it and the place where it was acquired?",
            ),
        )
    )


def _data(known: Known) -> Answer:
    data = known.run.plan.data
    counts = f"{counted(data.n_images, 'image')} of {counted(data.n_patients, 'patient')}"
    return Answer(references=(refer("header", "Header", f"{data.name}: {counts}"),))


def _data_version(known: Known) -> Answer:
    return Answer(references=(refer("provenance", "Provenance", f"Data {known.run.plan.data.content_hash}"),))


def _centres(known: Known) -> Answer:
    data = known.run.plan.data
    if len(data.source_counts) < 2 or not known.is_complete:
        return Answer(left="the centres; the manifest does not tell them apart")
    said = f"{counted(data.n_patients, 'patient')}, {counted(len(data.source_counts), 'source')}"
    return Answer(references=(refer("verdict", "Verdict", said),))


def _chosen(known: Known) -> Answer:
    return Answer(references=known.method("images", "They are"))


def _disjoint(known: Known) -> Answer:
    said = known.method("images", "No patient is in two splits")
    seen = known.run.plan.data.n_seen_in_training
    if said and not seen:
        return Answer(references=said)
    return Answer(references=known.method("images", "They are"), left="whether patients were separated in training")


def _flow(known: Known) -> Answer:
    return Answer(references=(*known.method("images")[:1], *_excluded(known).references))


def _excluded(known: Known) -> Answer:
    said = deviations(known.run) or ["Everything was done as planned."]
    return Answer(references=(refer("limits", "Limits", said[0]),))


def _events(known: Known) -> Answer:
    by_class = refer("relevance", "Relevance", text_by_class(known.run))
    return Answer(references=(*known.method("images")[:1], by_class))


def _preprocessing(known: Known) -> Answer:
    return Answer(references=known.method("network"))


def _predictions(known: Known) -> Answer:
    return Answer(references=(*known.method("conditions")[:1], *known.method("network")[-1:]))


def _model(known: Known) -> Answer:
    model = known.run.plan.model
    return Answer(references=(refer("header", "Header", f"{model.name}, {model.architecture}"),))


def _model_version(known: Known) -> Answer:
    digest = refer("provenance", "Provenance", f"Model {known.run.plan.model.digest}")
    return Answer(references=(*_model(known).references, digest))


def _software(known: Known) -> Answer:
    packages = ", ".join(f"{name} {version}" for name, version in known.run.run.packages.items())
    if not packages:
        return Answer(left="the software and its versions")
    return Answer(references=(refer("provenance", "Provenance", packages),))


def _code(known: Known) -> Answer:
    return Answer(references=(refer("header", "Header", f"audit {known.run.plan.tool_version}"),))


def _plan(known: Known) -> Answer:
    return Answer(references=(refer("provenance", "Provenance", f"Plan {known.run.run.plan_hash}"),))


_OPENED = frozenset({"opened as", "n answers"})
"""What is noted of any model that was opened as its owner has it; it tells nothing of its training."""
_STARTING = "starting weights"
_ASIDE = frozenset({"hours", "on bad image", "processes", "torch threads", "git commit"})
"""Facts of the training record that say how long and by what it was computed, not how."""
_MOST_FACTS = 3
_SELECTED = "Phases of the last step; test accuracy is that of each phase's best network by validation loss"
"""Caption of the table of phases, which says what the network was chosen by."""


def _facts(known: Known) -> dict[str, str]:
    """Return the facts of the training record that a person can read: not those that are hashes."""
    return {
        key: without_folders(value)
        for key, value in training_story(known.run).facts
        if key not in _OPENED | _ASIDE and not key.endswith(("hash", "sha256"))
    }


def _training(known: Known) -> Answer:
    facts = sorted(_facts(known).items(), key=lambda fact: fact[0] != _STARTING)[:_MOST_FACTS]
    if not facts:
        return Answer(left="how the model was trained; the bundle has no training record")
    return Answer(references=tuple(refer("training", "Training", f"{key} {value}") for key, value in facts))


def _selection(known: Known) -> Answer:
    if not training_story(known.run).phases:
        return Answer(left="how the model was selected; the bundle has no record of the phases of its training")
    return Answer(references=(refer("training", "Training", _SELECTED),))


def _starting_weights(known: Known) -> Answer:
    said = _facts(known).get(_STARTING)
    if said is None:
        return Answer(left="the origin of the initial weights; the bundle does not state it")
    return Answer(references=(refer("training", "Training", f"{_STARTING} {said}"),))


INPUT_ANSWERS: Mapping[str, Callable[[Known], Answer]] = {
    "centres": _centres,
    "chosen": _chosen,
    "code": _code,
    "data": _data,
    "data-version": _data_version,
    "disjoint": _disjoint,
    "events": _events,
    "excluded": _excluded,
    "flow": _flow,
    "model": _model,
    "model-version": _model_version,
    "objective": _objective,
    "plan": _plan,
    "predictions": _predictions,
    "preprocessing": _preprocessing,
    "software": _software,
    "selection": _selection,
    "starting-weights": _starting_weights,
    "training": _training,
}
"""Name in the lists -> what answers it."""
