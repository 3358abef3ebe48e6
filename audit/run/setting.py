"""What each setting is, as its field of `Settings` declares it: its option, its variable, its key, and its range in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta
from msgspec.structs import fields

from audit.run.settings import Settings

_PLURALS: Mapping[type, str] = {str: "strings", int: "integers", float: "numbers"}
SINGULARS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Mapping: "a table",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting, as its field of `Settings` declares it."""

    name: str
    """Name of the field, and of the argument in Python."""
    help: str
    """What it is, in one line."""
    type: Any
    """Its type, without the range."""
    checked: Any
    """Its type with the range, against which a value is checked."""
    default: Any
    """Its default."""
    limits: Meta
    """Its range."""

    @property
    def is_table(self) -> bool:
        """Whether it is a table of its own in a configuration file."""
        return any(get_origin(kind) is Mapping for kind in (self.type, *get_args(self.type)))

    @property
    def section(self) -> str:
        """Section of a configuration file that it stands in."""
        told: str = (self.limits.extra or {}).get("section", "run")
        return self.name if self.is_table else told

    @property
    def is_commas(self) -> bool:
        """Whether an option gives all its values at once, separated by commas."""
        return get_origin(self.type) is tuple and self.section == "model"

    @property
    def is_pairs(self) -> bool:
        """Whether it is a table of names, which an option and a variable can hold as `a=b,c=d`."""
        return get_origin(self.type) is Mapping and get_args(self.type) == (str, str)

    @property
    def has_option(self) -> bool:
        """Whether an option and a variable set it."""
        return self.is_pairs or not self.is_table

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        told: str = (self.limits.extra or {}).get("flag", f"--{self.name.replace('_', '-')}")
        return told

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"AUDIT_{self.name.upper()}"

    @property
    def key(self) -> str:
        """Its place in a configuration file."""
        return f"[{self.name}]" if self.is_table else f"[{self.section}] {self.name}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values that it takes; empty where there are others."""
        return tuple(choice for choice in _literals(self.type) if choice)

    @property
    def words(self) -> tuple[str, ...]:
        """What it takes beside numbers."""
        return tuple(word for part in get_args(self.type) for word in _literals(part)) if not self.choices else ()

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.words:
            number, limits = next(get_args(part) for part in get_args(self.type) if get_origin(part) is Annotated)
            return " or ".join((f"{SINGULARS[number]}{range_in_words(limits)}", *self.words))
        if self.is_pairs:
            return "a table of strings"
        if self.is_table:
            return "a table"
        if self.choices:
            return " or ".join((", ".join(self.choices[:-1]), self.choices[-1]))
        if get_origin(self.type) is tuple:
            return f"a list of {_PLURALS[get_args(self.type)[0]]}"
        if get_origin(self.type) is not None:  # a number or switch that may also be left open
            return SINGULARS[next(kind for kind in get_args(self.type) if kind is not type(None))]
        return f"{SINGULARS[self.type]}{range_in_words(self.limits)}"


@cache
def declared_settings() -> Mapping[str, Setting]:
    """Return every setting by its name, in the order of the declaration."""
    found = {}
    for declared in fields(Settings):
        kind, *about = get_args(declared.type)
        default = declared.default_factory() if callable(declared.default_factory) else declared.default
        found[declared.name] = Setting(
            name=declared.name,
            help=about[0].description,
            type=kind,
            checked=declared.type,
            default=default,
            limits=about[0],
        )
    return found


def range_in_words(limits: Meta) -> str:
    """Return a range as it follows the name of a type; empty where there is none."""
    match (limits.ge, limits.gt, limits.le, limits.lt):
        case (None, None, None, None):
            return ""
        case (least, None, None, None):
            return f" of at least {least}"
        case (least, None, most, None):
            return f" from {least} to {most}"
        case (least, None, None, below):
            return f" of at least {least} and below {below}"
        case (None, above, None, below):
            return f" between {above} and {below}, both excluded"
    raise TypeError(f"No words are known for the range {limits!r}.")


def _literals(kind: Any) -> tuple[str, ...]:
    """Return the values of a Literal, or of a union of them."""
    if get_origin(kind) is Literal:
        return tuple(get_args(kind))
    parts = [_literals(part) for part in get_args(kind)]
    return tuple(value for part in parts for value in part) if parts and all(parts) else ()
