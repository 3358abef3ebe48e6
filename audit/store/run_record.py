"""How a run came about, as `run.json` holds it: written last, so that a run that has it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from audit.store.typed import Document, RunDocument

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class SecondOpinion(Document, frozen=True, kw_only=True):
    """Comparison of the text finder with a second one."""

    judge: str
    """Name of the second finder."""
    n_images: int
    """Images that it read, drawn from the run's seed."""
    n_regions: int
    """Regions that it marks."""
    n_covered: int
    """Number of these that the first finder's regions cover."""
    missed: tuple[str, ...]
    """Strings that it read in the other regions, if they may be shown: text that the finder missed, or false alarms of the
    second finder."""


class Backend(Document, frozen=True, kw_only=True):
    """What computes the predictions of a network."""

    name: Literal["torch", "onnxruntime", "own"] = "torch"
    """torch; onnxruntime: the network's export; own: a classifier that is no torch network answers in its own way."""
    why: str = ""
    """Why this one, in words; empty where it was asked for, or there was no choice."""


class RunRecord(RunDocument, frozen=True, kw_only=True):
    """Provenance of a run, and the hashes of its files."""

    FILE: ClassVar[str] = "run.json"

    status: Literal["complete", "running"]
    """complete once every file was written."""
    command: tuple[str, ...]
    """How the run was started, without paths of the machine."""
    plan_hash: Sha256
    """SHA-256 of the plan; its first 8 digits end the folder's name."""
    git_commit: str | None
    """Commit that was checked out; null outside a repository."""
    packages: Mapping[str, str]
    """Package that results depend on -> its version."""
    python: str
    """Version of Python."""
    platform: str
    """Operating system and processor."""
    cpu_count: int | None
    """Processor cores."""
    started: str
    """Time of the start, in UTC."""
    finished: str
    """Time of the end, in UTC."""
    timings: Mapping[str, float]
    """Stage -> seconds."""
    relevance_note: str | None
    """Why there is no relevance, or why it is not LRP; null where it was made as requested."""
    backend: Backend = Backend()
    """What computed the predictions."""
    device: str = "cpu"
    """Where: the CPU, or another device with the name of its card; in single precision, without TF32."""
    second_opinion: SecondOpinion | str
    """What EasyOCR says of the text finder, or why it was not asked."""
    skipped: Mapping[str, int]
    """Reason -> records that were left out."""
    files: Mapping[str, Sha256]
    """File of the run -> its SHA-256."""
    baseline: Mapping[str, str] | None
    """The baseline behind the verdict; null for none."""
