"""The plan of a run, as `plan.json` holds it: everything that decides the results, and nothing of this machine or of the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from audit.data.conditions import MAX_DRAWS, Declared, Dose, Role
from audit.data.planned_model import ModelIdentity, PlannedModel
from audit.data.records import SplitTeller
from audit.store.serialise import plain, to_json
from audit.store.typed import Document, RunDocument


class DataIdentity(Document, frozen=True, kw_only=True):
    """Which images were audited."""

    content_hash: str
    """Of the manifest's rows and every image's pixels."""
    masks_hash: str
    """Of the lung masks."""
    records_hash: str
    """Of the audited records, with their pixels."""


class PlannedData(DataIdentity, frozen=True, kw_only=True, omit_defaults=True):
    """The images."""

    name: str
    """Name of the data in reports; never the folder's name by default, which may contain a patient's name."""
    split: str
    """Which records are audited, in words."""
    split_name: str
    """The same in one word."""
    split_told_by: SplitTeller
    """Who tells the split of a record."""
    n_images: int
    """Images to audit."""
    n_seen_in_training: int
    """Images among them that were used to train the network."""
    n_patients: int
    """Patients among them."""
    sampled_from: int = 0
    """Images that they are a sample of; 0 where no sample was drawn."""
    max_images: int = 0
    """Size of the sample that was asked for; 0 where none was drawn."""
    colour: bool = False
    """Whether images are read and edited in colour: the network wants it, and at least one of them is not grey."""
    n_greyed: int = 0
    """Images that show colours, and are read as grey."""
    class_counts: Mapping[str, int]
    """Class -> images; of a multi-label network, finding -> images that have it."""
    unknown_counts: Mapping[str, int] = field(default_factory=dict)
    """Finding -> images for which it is unknown whether they have it, of a multi-label network; without those of none."""
    source_counts: Mapping[str, int]
    """Source -> images."""
    left_out: Mapping[str, int]
    """Reason -> records of the manifest that were left out."""
    notes: tuple[str, ...]
    """What a reader must know about the data, in sentences."""


class Edit(Document, frozen=True, kw_only=True):
    """What decides the pixels of a condition."""

    name: str
    """Name of the condition; `clean` for the unedited image."""
    perturbation: str
    """Registered name of the perturbation."""
    perturbation_version: int
    """Its version."""
    parameters: Mapping[str, Any]
    """Its keyword arguments."""
    draws: Annotated[int, Meta(ge=1, le=MAX_DRAWS)]
    """Independent draws of them for each record."""
    placebo: str | None
    """Condition whose effect is subtracted from this one's."""


class PlannedCondition(Edit, frozen=True, kw_only=True):
    """One condition of the suite."""

    title: str
    """Its name for people, fit to follow "with": "Text inpainted"."""
    role: Role
    """What it is for."""
    declared: Declared
    """What its perturbation declares to do with these parameters."""
    suspect: str
    """What the network relies on if it reacts to this condition, in words."""
    dose: Dose | None
    """Its place on a ladder; null where it stands alone."""
    cohort_lacks: str
    """What the condition needs and the cohort lacks; empty where it can be applied."""
    question: str
    """The question that this condition answers, in words."""

    @property
    def judged(self) -> bool:
        """Whether its effects are held against a tolerance."""
        return self.role in ("edit", "sufficiency") and self.dose is None


class SuiteIdentity(Document, frozen=True, kw_only=True):
    """What the images are put under."""

    name: str
    """Name of the suite."""
    version: int
    """Its version."""
    conditions: tuple[Edit, ...]
    """`clean`, then the rest in the order of the suite."""


class PlannedSuite(SuiteIdentity, frozen=True, kw_only=True):
    """The suite."""

    description: str
    """What it is for."""
    conditions: tuple[PlannedCondition, ...]
    """`clean`, then the rest in the order of the suite."""


class PlannedObjects(Document, frozen=True, kw_only=True):
    """The search for recurring objects, which added conditions to the suite."""

    asked: int
    """Largest number of objects to propose; 0 without a search."""
    n_images: int
    """Images that were searched, one per patient."""
    n_found: int
    """Objects that were proposed."""
    why_none: str
    """Why a requested search was not done; empty otherwise."""
    search_version: int
    """Version of the search; 0 without a search."""


class FinderIdentity(Document, frozen=True, kw_only=True):
    """The text finder, and everything that affects its regions."""

    name: str
    """Its name."""
    version: str
    """Library and weights."""
    config: Mapping[str, Any]
    """All other settings that affect its regions."""


class FinderStory(Document, frozen=True, kw_only=True):
    """The text finder in words, for the report."""

    about: str
    """What it is."""
    parts: tuple[tuple[str, str], ...]
    """(name, version) of its components, itself first."""


class PlannedRelevance(Document, frozen=True, kw_only=True, omit_defaults=True):
    """How heatmaps are made."""

    preset: str
    """LRP preset, or the method used in place of LRP."""
    about: str
    """The same in words."""
    start: str
    """Where relevance starts: winner, a class, or a contrast A-B."""
    start_signs: Mapping[str, float]
    """Class -> sign of its output at the start; empty for the winning output."""
    n_placebo: int
    """Relocations of the text regions for each image."""
    max_images: int
    """Images that get a heatmap, at most; 0 for none."""
    cost: int = 0
    """Predictions that the heatmaps of one image take by occlusion; 0 where they come from layers or gradients."""


class KeyIdentity(Document, frozen=True, kw_only=True):
    """Which key names the images."""

    key: str | None
    """The key's fingerprint; null where ids are plain."""


class Privacy(KeyIdentity, frozen=True, kw_only=True):
    """Privacy settings: what the run's files may show."""

    plain_ids: bool
    """Whether images and patients are named by their ids."""
    show_text: bool
    """Whether pictures show text that may identify a patient."""


class PlannedStatistics(Document, frozen=True, kw_only=True):
    """How effects are measured."""

    resamples: int
    """Bootstrap resamples of patients."""
    level: float
    """Nominal coverage of intervals."""
    declared: str
    """How the p-values of declared effects are adjusted."""
    declared_draws: int
    """Draws behind it."""
    exploratory: str
    """How those of exploratory effects are adjusted."""


class Identity(Document, frozen=True, kw_only=True):
    """What two runs must share to be compared, image by image; a baseline keeps it of its run."""

    data: DataIdentity
    """The images."""
    detector: FinderIdentity
    """The text finder."""
    model: ModelIdentity
    """The network; of it the classes must be the same."""
    privacy: KeyIdentity
    """The key, which the images' names are made with."""
    suite: SuiteIdentity
    """The conditions."""


class Plan(Identity, RunDocument, frozen=True, kw_only=True):
    """Everything that determines the results, written before anything runs; gate rules are not part of it."""

    FILE: ClassVar[str] = "plan.json"

    data: PlannedData
    """The images."""
    model: PlannedModel
    """The network."""
    privacy: Privacy
    """What the run's files may show."""
    suite: PlannedSuite
    """The conditions."""
    finder: FinderStory
    """The text finder in words."""
    objects: PlannedObjects
    """The search for objects that recur."""
    relevance: PlannedRelevance
    """How heatmaps are made."""
    seed: int
    """Seed of every draw and resample."""
    statistics: PlannedStatistics
    """How effects are measured."""
    tolerances: Mapping[str, float]
    """Measure -> the largest effect that counts as small."""
    recall: Mapping[str, tuple[int, int]]
    """Class, or all -> [text boxes found, text boxes] of the finder on a labelled sample."""
    packages: Mapping[str, str]
    """Package that results depend on -> its version."""
    python: str
    """Version of Python."""
    tool_version: str
    """Version of audit."""


def plan_hash(plan: Plan) -> str:
    """Return the SHA-256 of a plan, which names its run.

    How the model came about is in its digest, not in its story. Which key names the images decides no result, so neither the
    key's fingerprint nor notes that name images are part of it.
    """
    document = plain(plan)
    for part, left_out in (("model", "training"), ("data", "notes"), ("privacy", "key")):
        document[part].pop(left_out, None)
    # Why a back end was chosen decides no result, but which one does: its last digits are its own.
    document["model"].pop("backend", None)
    if plan.model.backend.name == "onnxruntime":
        document["model"]["backend"] = plan.model.backend.name
    # That parity was shown is part of what a run states; its digits are of a machine.
    if plan.model.parity is not None:
        document["model"]["parity"] = True
    return hashlib.sha256(to_json(document).encode()).hexdigest()
