"""Recipes: how long, how fast and with what a network is trained, read from TOML and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from audit.errors import UnknownNameError, UsageError, shown_value
from audit.models import networks
from audit.store.documents import parse_toml, read_toml
from audit.store.typed import FormatError, typed
from audit.training.augmentation import Augmentation


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of epochs with one optimiser setting."""

    name: str
    """Stands in curves and progress."""
    trains: Literal["head", "all"]
    """Only the output layer (the backbone stays as it is, batch statistics too), or everything."""
    epochs: int
    """At most this many."""
    rate: float
    """Learning rate of the output layer."""
    rate_factor_per_block: float = 1.0
    """What the rate is multiplied by for each dense block (with its transition) further from the output."""
    weight_decay: float = 0.0
    """L2 penalty (SGD) or decoupled decay (AdamW)."""
    patience: int | None = None
    """Stop after this many epochs without a smaller validation loss; never if absent."""

    def __post_init__(self) -> None:
        where = f"phase {self.name}"
        _check(where, "epochs", self.epochs, self.epochs >= 1, "at least 1")
        _check(where, "rate", self.rate, 0 < self.rate <= 10, "above 0 and at most 10")
        _check(
            where, "rate_factor_per_block", self.rate_factor_per_block, 0 < self.rate_factor_per_block <= 1, "in (0, 1]"
        )
        _check(where, "weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        _check(where, "patience", self.patience, self.patience is None or self.patience >= 1, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the chain: the findings step (binary cross entropy) or the classes step (cross entropy)."""

    batch: int
    """Images of a mini-batch."""
    optimiser: Literal["sgd", "adamw"]
    """SGD as in the paper, or AdamW, which gets further in few epochs from random weights."""
    momentum: float = 0.0
    """Of SGD; AdamW has its own."""
    validation_share: float
    """Share of the images outside the test split that is used for validation."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How training images are moved."""
    copies: Mapping[str, int] = field(default_factory=dict)
    """Class -> differently moved copies of each image that an epoch may draw from; 1 where not named."""
    moves_validation: bool = False
    """Whether validation images are moved and copied as training images are, drawn again in each epoch (as in the paper)."""
    phases: tuple[Phase, ...]
    """In order; each starts from the best weights before it."""

    def __post_init__(self) -> None:
        _check("a step", "batch", self.batch, self.batch >= 1, "at least 1")
        _check("a step", "momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        _check("a step", "validation_share", self.validation_share, 0 < self.validation_share <= 0.5, "in (0, 0.5]")
        _check("a step", "phases", self.phases, len(self.phases) >= 1, "at least one phase")
        _check("a step", "copies", dict(self.copies), all(n >= 1 for n in self.copies.values()), "whole numbers from 1")
        if self.optimiser == "adamw" and self.momentum:
            raise UsageError("Momentum applies only to sgd, but this step uses the optimiser adamw. Remove it.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a network is trained through the whole chain."""

    name: str
    """Name under which it is asked for."""
    about: str
    """What it is for."""
    expected: str
    """The result to expect."""
    cost: str
    """Time and machine that it needs."""
    architecture: str | None = None
    """Key of `audit.models.networks.ARCHITECTURES` for every network; each has its own of the paper if absent."""
    input_px: int
    """Side of the square input, in pixels."""
    test_per_class: int
    """Test images of each class."""
    findings: Step
    """The 15-label step."""
    classes: Step
    """The last step."""

    def __post_init__(self) -> None:
        if self.architecture is not None and self.architecture not in networks.ARCHITECTURES:
            raise UnknownNameError("architecture", self.architecture, networks.ARCHITECTURES)
        _check("the recipe", "input_px", self.input_px, 64 <= self.input_px <= 4096, "between 64 and 4096")
        _check("the recipe", "test_per_class", self.test_per_class, self.test_per_class >= 1, "at least 1")


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files("audit.training") / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by name, or by the path of a TOML file.

    Raises
    ------
    UsageError
        If it does not exist or does not follow the schema; a mistyped key is answered with the nearest one.
    """
    if name.endswith(".toml"):
        try:
            document = read_toml(Path(name))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError(
                f"The recipe file {name} cannot be read ({why}). Use a TOML file or one of {', '.join(recipe_names())}."
            ) from error
        except ValueError as error:
            raise UsageError(f"Recipe {name} is not valid TOML: {error}.") from error
    elif name in recipe_names():
        document = parse_toml(
            (resources.files("audit.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        )
    else:
        raise UnknownNameError("recipe", name, recipe_names(), "A path to a .toml file is accepted too.")
    try:
        return typed(document, Recipe)
    except FormatError as error:
        raise UsageError(f"The recipe {name} cannot be used: {error}. The recipes that ship show every key.") from error


def _check(where: str, key: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise UsageError(f"In {where} of the recipe, {key} must be {allowed}, found {shown_value(value)}.")
