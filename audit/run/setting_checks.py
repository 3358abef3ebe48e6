"""Values of settings, held against their declarations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_args

from msgspec import ValidationError, convert
from msgspec.structs import asdict

from audit.errors import UnknownNameError, UsageError, shown_value
from audit.run.setting import SINGULARS, Setting, declared_settings, range_in_words
from audit.run.settings import Settings


def make_settings(given: Mapping[str, Any]) -> Settings:
    """Make settings from a caller's arguments alone: no file and no variable is read; a path may be given for a string.

    Raises
    ------
    UnknownNameError
        If an argument is not a setting.
    UsageError
        If a value is of the wrong kind or outside its range.
    """
    for name in given:
        if name not in declared_settings():
            raise UnknownNameError("setting", name, declared_settings())
    return checked(
        {
            name: (f"the setting {name}", os.fspath(value) if isinstance(value, os.PathLike) else value)
            for name, value in given.items()
        }
    )


def check_settings(settings: Settings) -> None:
    """Check every setting that can be checked by itself, before anything is read or computed.

    What depends on the model, the suite or the data is checked by `audit.run.preparation.prepare`.

    Raises
    ------
    UnknownNameError
        If a choice or a tolerance has an unknown name.
    UsageError
        If a value is of the wrong kind or outside its range.
    """
    make_settings(asdict(settings))


def checked(merged: Mapping[str, tuple[str, Any]]) -> Settings:
    """Check values against the declaration; each comes with a description of where it was set."""
    values = {name: _checked_value(declared_settings()[name], *found) for name, found in merged.items()}
    return Settings(**values)


def _checked_value(setting: Setting, where: str, value: Any) -> Any:
    if setting.name == "tolerance":
        return _checked_tolerances(where, value)
    try:
        return convert(value, setting.checked)
    except ValidationError as error:
        subject = where[0].upper() + where[1:]
        if setting.choices and isinstance(value, str):
            raise UnknownNameError(f"value of {where}", value, setting.choices) from error
        if setting.name == "recall" and isinstance(value, Mapping):
            raise UsageError(
                f"{subject} must hold [found, boxes] for each class, two integers as `audit text score` prints them; found "
                f"{shown_value(value)}."
            ) from error
        usual = f" The default is {setting.default}." if setting.default not in ("", (), None) else ""
        raise UsageError(f"{subject} must be {setting.expected}, found {shown_value(value)}.{usual}") from error


def _checked_tolerances(where: str, value: Any) -> dict[str, float]:
    from audit.statistics.selections import default_tolerances

    known = default_tolerances()

    if not isinstance(value, Mapping):
        raise UsageError(f"{where[0].upper()}{where[1:]} must be a table of measures, found {shown_value(value)}.")
    one = get_args(declared_settings()["tolerance"].type)[1]
    checked: dict[str, float] = {}
    for measure, limit in value.items():
        if measure not in known:
            raise UnknownNameError("judged measure in [tolerance]", measure, known)
        try:
            checked[measure] = convert(limit, one)
        except ValidationError as error:
            expected = f"{SINGULARS[float]}{range_in_words(get_args(one)[1])}"
            raise UsageError(
                f"The limit of {measure} in [tolerance] must be {expected}; found {shown_value(limit)}."
            ) from error
    return checked
