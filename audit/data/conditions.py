"""Conditions and suites: what every record is predicted under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["clean", "edit", "sufficiency", "stress", "placebo", "control"]
JUDGED_ROLES: tuple[Role, ...] = ("edit", "sufficiency")
"""Roles whose conditions are held against a tolerance, each by the headline measure of its role (`audit.statistics.catalogue`)."""
CONTENTS = ("text", "border", "look", "grey-curve", "sharpness", "noise", "frame", "compression", "object")
"""What an edit may take from an image or bring into it: burned-in text; what lies along the border; the look of a source; global
properties: grey curve, sharpness, noise, flat frame and aspect, JPEG compression; an object that the search proposed."""
_OF_CLASSES = frozenset({"grey-curve", "sharpness", "noise", "compression", "frame"})
_ONE_WAY = frozenset({"sharpness", "noise", "compression"})


MOST_TITLE = 80
"""Characters of a condition's title: it stands beside figures."""
MAX_DRAWS = 1000
"""Of one condition; each is another prediction of every image."""
SPLITS = 32
"""Ways in which patients are split into halves; images whose places in the run's order differ by a multiple of it share one. What
these have in common is the chance of which patients taught an edit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """Declarations of a perturbation. Measuring and reporting follow these, never a name or a description."""

    removes: tuple[str, ...] = ()
    """Contents, from `CONTENTS`, that it removes. An edit that removes text removes only text that the finder found."""
    adds: tuple[str, ...] = ()
    """Contents, from `CONTENTS`, that it adds from other images."""
    keeps: tuple[str, ...] = ()
    """Contents, from `CONTENTS`, that are all it keeps."""
    seamless: bool = False
    """Whether it leaves no artefact of its own, such as the edges of a rectangle."""
    halves: bool = False
    """Whether its draws come in pairs that see one half each of the patients whose images say how an image is edited."""

    @property
    def towards_class(self) -> bool:
        """Say whether it gives images what those of another class have on average, whatever it is that makes the classes differ.

        Accuracy falls under such an edit wherever the property tells anything of the class, so it is reported, and not judged: how far
        predictions move is.
        """
        return not _OF_CLASSES.isdisjoint(self.adds)

    @property
    def one_way(self) -> bool:
        """Say whether it can only edit images of some classes: those that have more to lose, less noise or a weaker compression."""
        return not _ONE_WAY.isdisjoint(self.adds)

    def concerns(self, content: str) -> bool:
        """Say whether it removes, adds or keeps a content."""
        return content in (*self.removes, *self.adds, *self.keeps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dose:
    """Place of a condition on a ladder of the same edit with increasing strength."""

    ladder: str
    """Name that its rungs share. They also share their draws: the same donor, the same direction at every dose."""
    parameter: str
    """What grows."""
    value: float
    """Its value here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One perturbation with its parameters, that every applicable record is predicted under."""

    name: str
    """Stable, kebab-case, unique in the suite."""
    title: str = ""
    """Its name for people: what is done ("Text inpainted"), or what the image is given ("Noise of another class"), so that sentences can
    say "when the text is inpainted". The suite's words, else the perturbation's, else its own name's."""
    perturbation: str
    """Registered name; `clean` for the unedited image."""
    role: Role
    """An `edit` changes what must not matter, and is judged by how far it moves the prediction. `sufficiency` keeps only what
    must not matter, and is judged by how well the true class is still predicted. A `stress` is measured, not judged. A
    `placebo` is the matched control of one of these; a `control` must change nothing at all."""
    suspect: str = ""
    """What the network would be reading if this condition gave it away, in words: "the text". The suite's words, else the
    perturbation's; sentences name it, nothing else rests on it."""
    declared: Declared = Declared()
    """What its perturbation declares to do with these parameters."""
    version: int = 0
    """Version of its perturbation."""
    draws: int = 1
    """Independent draws of the perturbation's parameters for each record."""
    placebo: str | None = None
    """Condition whose effect is subtracted from that of this one."""
    parameters: Mapping[str, Any]
    """Keyword arguments of the perturbation."""
    question: str = ""
    """What a drop under this condition means, in words, for the report."""
    dose: Dose | None = None
    """Its place on a ladder; None where it stands alone. Rungs are measured, not judged."""

    @property
    def stream(self) -> str:
        """Name that its generators are seeded with."""
        return self.name if self.dose is None else self.dose.ladder

    @property
    def pairs(self) -> int:
        """Number of pairs of draws that see two halves of the patients; a last draw without a partner sees all of them."""
        return self.draws // 2 if self.declared.halves else 0

    @property
    def judged(self) -> bool:
        """Whether its effects are held against a tolerance."""
        return self.role in JUDGED_ROLES and self.dose is None


CLEAN = Condition(
    name="clean",
    title="Unedited image",
    perturbation="clean",
    role="clean",
    parameters={},
    question="The unedited image.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A named list of conditions; `clean` is always the first."""

    name: str
    """Name under which it is asked for."""
    version: int
    """Raised whenever a condition changes."""
    description: str
    """What the suite is for."""
    objects: int = 0
    """Objects that recur, at most, that a search proposes and that get conditions of their own."""
    conditions: tuple[Condition, ...]
    """`clean`, then the rest in the order of the file."""

    def __getitem__(self, name: str) -> Condition:
        """Return the condition called `name`."""
        return next(c for c in self.conditions if c.name == name)
