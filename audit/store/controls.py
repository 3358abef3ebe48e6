"""What an audit found when it checked itself, as `controls.json` holds it: made effects, and why real ones could be missed."""

from __future__ import annotations

from typing import ClassVar, Literal

from audit.store.results import EffectVerdict
from audit.store.typed import Document, RunDocument


class PlantedCheck(Document, frozen=True, kw_only=True):
    """What the audit said of one made effect."""

    kind: Literal["planted", "null"]
    """`planted`: half of the patients' outputs were moved. `null`: edit and placebo changed places by a coin."""
    condition: str
    """The edit whose outputs were replaced."""
    strength: float
    """The mean effect that was planted; 0 for the null."""
    estimate: float | None
    """What the audit found."""
    low: float | None
    """Lower end of the interval that holds together with all other judged effects."""
    high: float | None
    """Upper end of the same."""
    verdict: EffectVerdict
    """What the audit made of it."""
    as_expected: bool
    """Was the planted effect called sensitive, and the null not?"""
    n_images: int
    """Images behind it."""
    n_patients: int
    """Patients behind it."""


class Blindness(Document, frozen=True, kw_only=True):
    """One reason why effects could be there and not be measured."""

    kind: Literal["constant", "narrow", "one winner", "saturated"]
    """A probability never varies; no two predictions differ by the limit; one class wins on (nearly) every image; the winner is all but
    certain on so many images that they can hide an effect above the limit."""
    classes: tuple[str, ...]
    """The classes concerned; empty for narrow and saturated."""
    total: bool
    """Does it leave no room for an effect, so that none that is measured to be small counts as small?"""
    sentence: str
    """The same for a reader."""


class ControlsDocument(RunDocument, frozen=True, kw_only=True):
    """The controls of a run."""

    FILE: ClassVar[str] = "controls.json"

    planted: tuple[PlantedCheck, ...]
    """A planted effect and a null; empty where the suite judges no edit that was applied."""
    blindness: tuple[Blindness, ...]
    """Why effects could be there and not be measured; at most one of each kind."""
