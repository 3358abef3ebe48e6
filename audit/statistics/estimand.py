"""One entry of the effects before its interval is known."""

from __future__ import annotations

from dataclasses import dataclass

from audit.statistics.jackknife import PatientInfluence
from audit.statistics.patient_sums import PatientSums
from audit.store.group import Group


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimand:
    """One entry of the effects before its interval is known."""

    condition: str
    """Name of the condition."""
    placebo: str | None
    """Condition that is subtracted."""
    measure: str
    """What is measured."""
    group: Group
    """The images that it is about."""
    data: PatientSums | PatientInfluence | None
    """What its patients say of it; None where no image is behind it."""
    discordant: int = 0
    """Images whose prediction changed."""
    judged: bool = False
    """Whether it is compared with a tolerance."""
    tested: bool = False
    """Whether it is tested at all: as one of the declared family where it is judged, else as exploratory."""
    note: str = ""
    """What a reader must know in addition to the method of the interval."""
    classes_absent: tuple[str, ...] = ()
    """Classes that have images, but none that the condition could be applied to."""
