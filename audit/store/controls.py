"""The audit's self-check, as stored in `controls.json`: synthetic effects, and reasons why real ones could be missed."""

from __future__ import annotations

from typing import ClassVar, Literal

from audit.store.results import EffectVerdict
from audit.store.typed import Document, RunDocument


class PlantedCheck(Document, frozen=True, kw_only=True):
    """The audit's verdict on one synthetic effect."""

    kind: Literal["planted", "null"]
    """`planted`: the outputs of half of the patients were shifted. `null`: edit and placebo were swapped for patients chosen
    at random."""
    condition: str
    """The edit whose outputs were replaced."""
    strength: float
    """The mean effect that was planted; 0 for the null."""
    estimate: float | None
    """What the audit found."""
    low: float | None
    """Lower end of the simultaneous interval."""
    high: float | None
    """Upper end of the same."""
    verdict: EffectVerdict
    """The audit's verdict."""
    as_expected: bool
    """Whether the planted effect was called sensitive and the null was not."""
    n_images: int
    """Images behind it."""
    n_patients: int
    """Patients behind it."""


class Blindness(Document, frozen=True, kw_only=True):
    """One reason why effects could exist without being measured."""

    kind: Literal["constant", "narrow", "one winner", "saturated"]
    """A probability hardly varies; no two predictions differ by the limit; one class wins on (nearly) every image; so many
    predictions are saturated that they can hide an effect above the limit."""
    classes: tuple[str, ...]
    """The classes concerned; empty for narrow and saturated."""
    total: bool
    """Whether it leaves no room for an effect, so that no effect counts as small."""
    sentence: str
    """The same in words."""


class ControlsDocument(RunDocument, frozen=True, kw_only=True):
    """The controls of a run."""

    FILE: ClassVar[str] = "controls.json"

    planted: tuple[PlantedCheck, ...]
    """A planted effect and a null; empty where the suite judges no edit that was applied."""
    blindness: tuple[Blindness, ...]
    """Reasons why effects could exist without being measured; at most one of each kind."""
