"""Suites of conditions: what every record is predicted under."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from audit.errors import UnknownNameError, UsageError

Role = Literal["clean", "edit", "sufficiency", "stress", "placebo", "control"]
_ROLES = ("edit", "sufficiency", "stress", "placebo", "control")
_KEYS = {"name", "perturbation", "role", "suspect", "draws", "placebo", "parameters", "question", "ladder"}
_LADDER_KEYS = {"parameter", "values"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dose:
    """Where a condition stands on a ladder of the same edit, ever stronger."""

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
    perturbation: str
    """Registered name; `clean` for the unedited image."""
    role: Role
    """An `edit` changes what must not matter, and is judged by how far it moves the prediction. `sufficiency` keeps only
    what must not matter, and is judged by how much of the truth is still told. A `stress` is measured, not judged. A
    `placebo` is the matched control of one of these; a `control` must change nothing at all."""
    suspect: str = "what the edit changes"
    """What the network would be reading if this condition gave it away: "the text"."""
    draws: int = 1
    """Independent draws of the perturbation's parameters for each record."""
    placebo: str | None = None
    """Condition whose effect is subtracted from this one's."""
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
    def judged(self) -> bool:
        """Whether its effects are held against a tolerance."""
        return self.role in ("edit", "sufficiency") and self.dose is None


CLEAN = Condition(name="clean", perturbation="clean", role="clean", parameters={}, question="The image as it is.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A named list of conditions; `clean` is always the first."""

    name: str
    """Name under which it is asked for."""
    version: int
    """Raised whenever a condition changes."""
    description: str
    """What the suite is for."""
    conditions: tuple[Condition, ...]
    """`clean`, then the rest in the order of the file."""

    def __getitem__(self, name: str) -> Condition:
        """Return the condition called `name`."""
        return next(c for c in self.conditions if c.name == name)


def suite_names() -> list[str]:
    """Return the names of the suites that ship with the package."""
    folder = resources.files("audit") / "suites"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """Read a suite by name, or by the path of a TOML file.

    Raises
    ------
    UsageError
        If the suite does not exist, or the file does not follow the schema.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(
                f"The suite file {name} does not exist. Give a path to a TOML file or one of {', '.join(suite_names())}."
            )
        text = path.read_text(encoding="utf-8")
    elif name in suite_names():
        text = (resources.files("audit") / "suites" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise UnknownNameError("suite", name, suite_names(), "A path to a .toml file is accepted too.")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"Suite {name} is not valid TOML: {error}.") from error
    return _parse(name, document)


def _parse(name: str, document: Mapping[str, Any]) -> Suite:
    unknown = set(document) - {"name", "version", "description", "condition"}
    if unknown:
        raise UnknownNameError(
            f"key of suite {name}", sorted(unknown)[0], ["name", "version", "description", "condition"]
        )
    conditions = [CLEAN]
    for row in document.get("condition", []):
        extra = set(row) - _KEYS
        if extra:
            raise UnknownNameError(f"key of a condition in suite {name}", sorted(extra)[0], _KEYS)
        missing = {"name", "perturbation", "role"} - set(row)
        if missing:
            raise UsageError(f"A condition of suite {name} lacks {', '.join(sorted(missing))}: {dict(row)}.")
        if row["role"] not in _ROLES:
            raise UnknownNameError(f"role in suite {name}", str(row["role"]), _ROLES)
        if not isinstance(row.get("draws", 1), int) or row.get("draws", 1) < 1:
            raise UsageError(
                f"Condition {row['name']} of suite {name}: draws must be a whole number from 1, found {row['draws']!r}."
            )
        conditions += _expand(name, {"parameters": {}, **row})
    names = [c.name for c in conditions]
    if len(names) != len(set(names)):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise UsageError(f"Suite {name} names a condition twice: {', '.join(twice)}. Names must be unique.")
    for condition in conditions:
        if condition.placebo is not None and condition.placebo not in names:
            raise UnknownNameError(f"placebo of {condition.name}", condition.placebo, names)
        if condition.role == "sufficiency" and condition.placebo is None:
            raise UsageError(
                f"Condition {condition.name} of suite {name} has the role sufficiency, which is judged against a placebo. "
                "Name one, or give it the role stress."
            )
    return Suite(
        name=str(document.get("name", name)),
        version=int(document.get("version", 1)),
        description=str(document.get("description", "")),
        conditions=tuple(conditions),
    )


def _expand(suite: str, row: dict[str, Any]) -> Iterator[Condition]:
    """Yield the condition, or one for each rung of its ladder; a rung's placebo is the rung of the same dose."""
    ladder = row.pop("ladder", None)
    if ladder is None:
        yield Condition(**row)
        return
    where = f"ladder of {row['name']} in suite {suite}"
    if not isinstance(ladder, Mapping) or set(ladder) != _LADDER_KEYS:
        raise UsageError(
            f'The {where} must look like {{ parameter = "opacity", values = [0.5, 1.0] }}, found {ladder!r}.'
        )
    values, parameter = ladder["values"], str(ladder["parameter"])
    numbers = isinstance(values, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if not numbers or len(values) < 2 or sorted(set(values)) != values:
        raise UsageError(f"The {where} needs at least two numbers, each larger than the one before, found {values!r}.")
    for value in values:
        rung = f"-{value:g}"
        yield Condition(
            **{
                **row,
                "name": row["name"] + rung,
                "placebo": row["placebo"] + rung if "placebo" in row else None,
                "parameters": {**row["parameters"], parameter: value},
                "dose": Dose(ladder=row["name"], parameter=parameter, value=float(value)),
            }
        )
