"""Settings of an audit: command line over environment over `audit.toml` over `[tool.audit]` in pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from audit.errors import UnknownNameError, UsageError
from audit.models.tasks import check_task
from audit.statistics.catalogue import default_tolerances
from audit.store.documents import read_toml

SPLITS = ("auto", "test", "train", "validation", "all")
_FEWEST_RESAMPLES = 100
# A generator's seed is kept in 64 bits with a sign.
_LARGEST_SEED = 2**63 - 1
_IN_WORDS: Mapping[type, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    tuple: "a list of strings",
    bool: "true or false",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a user may set for `audit run`."""

    model: str = ""
    """Bundle, by name (models/NAME) or by path."""
    data: str = ""
    """Manifest; empty for the one that the bundle was trained on."""
    task: str = ""
    """single-label, for a bundle that does not say what its outputs mean; empty for what the bundle says."""
    split: str = "auto"
    """test, train, validation, all; auto takes the test split where there is one."""
    suite: str = "standard"
    """Name of a suite, or path of a TOML file."""
    detector: str = "cascade"
    """Name of the text finder."""
    boxes: str = ""
    """File of hand-made boxes, for the detector `annotated`."""
    judge_images: int = 5
    """How many images EasyOCR looks at too, to judge the finder; 0 for none. Without its weights none, and it is said."""
    ignore_label: tuple[str, ...] = ()
    """Labels that do not belong to the task."""
    on_bad_image: str = "fail"
    """fail, or skip and count."""
    seed: int = 0
    """Seed of every draw and resample."""
    resamples: int = 10_000
    """Bootstrap resamples of patients."""
    level: float = 0.95
    """Nominal coverage of intervals."""
    relevance_images: int = 500
    """How many images get an LRP map, drawn at random; 0 for none."""
    relevance_preset: str = "epsilon-plus-flat"
    """LRP preset of the maps; or gradient-x-input or occlusion."""
    relevance_start: str = "winner"
    """Where relevance starts: winner, a class, or a contrast A-B."""
    workers: int = 1
    """Processes that find text and predict, with a thread each; their number changes no result."""
    runs: str = "runs"
    """Folder for run folders."""
    models: str = "models"
    """Folder of bundles."""
    cache: str = ".audit-cache"
    """Folder for text regions already found."""
    tolerance: Mapping[str, float] = field(default_factory=dict)
    """Measure -> the largest effect that counts as small."""
    recall: Mapping[str, Any] = field(default_factory=dict)
    """Class, or `all`, -> [text boxes found, text boxes] of the finder on a labelled sample."""
    data_name: str = ""
    """What reports call the data; empty for the first digits of their hash, as a folder may bear a patient's name."""
    plain_ids: bool = False
    """Name images and patients by their ids in every file of the run, in place of names made with the key."""
    show_text: bool = False
    """Show text in pictures that fewer than ten patients' images carry, or that holds digits, in place of covering it."""
    gate: Mapping[str, Any] | None = None
    """The `[gate]` table; None if there is none."""


_KINDS: Mapping[str, type] = {
    f.name: type(f.default) for f in fields(Settings) if f.name not in ("tolerance", "recall", "gate")
}


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def load_settings(given: Mapping[str, Any], folder: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Lay the sources of settings over each other.

    Parameters
    ----------
    given : mapping
        What the command line gave; None means not given.
    folder : Path
        Where audit.toml and pyproject.toml are looked for.
    environment : mapping, optional
        `os.environ` if omitted.

    Raises
    ------
    UnknownNameError
        If a file has a key that no setting has.
    UsageError
        If a value is of the wrong kind or outside its range.
    """
    merged: dict[str, Any] = dict(_from_files(folder))
    variables = os.environ if environment is None else environment
    for name, kind in _KINDS.items():
        text = variables.get(f"AUDIT_{name.upper()}")
        if text is not None and text != "":
            merged[name] = _from_text(name, text, kind)
    merged.update({name: value for name, value in given.items() if value is not None})
    return _checked(merged)


def _from_files(folder: Path) -> dict[str, Any]:
    own = folder / "audit.toml"
    shared = folder / "pyproject.toml"
    if own.is_file():
        return _table(own, _read_toml(own))
    if shared.is_file():
        table = _read_toml(shared).get("tool", {}).get("audit", {})
        return _table(shared, table)
    return {}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from error


def _table(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Read `[run]`, `[tolerance]`, `[recall]` and `[gate]` of one file."""
    sections = ("run", "tolerance", "recall", "gate")
    for key in table:
        if key not in sections:
            raise UnknownNameError(f"section of {path}", key, sections)
    for key in table:
        if not isinstance(table[key], Mapping):
            raise UsageError(
                f"[{key}] in {path} must be a table, found {type(table[key]).__name__}; rules are [[gate.rule]]."
            )
    for key in table.get("run", {}):
        if key not in _KINDS:
            raise UnknownNameError(f"key of [run] in {path}", key, _KINDS)
    merged: dict[str, Any] = dict(table.get("run", {}))
    if "tolerance" in table:
        merged["tolerance"] = table["tolerance"]
    if "recall" in table:
        merged["recall"] = table["recall"]
    if "gate" in table:
        merged["gate"] = table["gate"]
    return merged


def _from_text(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise UsageError(f"AUDIT_{name.upper()} must be true or false, found {text!r}.")
        return _BOOLEANS[text.lower()]
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        return kind(text)
    except ValueError as error:
        raise UsageError(f"AUDIT_{name.upper()} must be {_IN_WORDS[kind]}, found {text!r}.") from error


def _checked(values: dict[str, Any]) -> Settings:
    for name, kind in _KINDS.items():
        if name not in values:
            continue
        value = values[name]
        if kind is tuple and isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            values[name] = tuple(value)
        elif kind is float and isinstance(value, int) and not isinstance(value, bool):
            values[name] = float(value)
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"The setting {name} must be {_IN_WORDS[kind]}, found {value!r}.")
    settings = Settings(**values)
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Check every setting that can be judged by itself, as early as possible: nothing was read or computed yet.

    What depends on the model, the suite or the data is checked by `audit.run.preparation.prepare`.

    Raises
    ------
    UnknownNameError
        If a split or a tolerance has an unknown name.
    UsageError
        If a value is outside its range.
    """
    if not 0 <= settings.seed <= _LARGEST_SEED:
        raise UsageError(f"The setting seed must be an integer from 0 to {_LARGEST_SEED}, found {settings.seed}.")
    if settings.resamples < _FEWEST_RESAMPLES:
        raise UsageError(
            f"The setting resamples must be at least {_FEWEST_RESAMPLES}, found {settings.resamples}; "
            f"{Settings.resamples} is the default."
        )
    if not 0.5 <= settings.level < 1:
        raise UsageError(
            f"The setting level must be at least 0.5 and below 1, found {settings.level:g}; {Settings.level:g} is the default."
        )
    for name, least in (("relevance_images", 0), ("judge_images", 0), ("workers", 1)):
        if getattr(settings, name) < least:
            raise UsageError(f"The setting {name} must be {least} or more, found {getattr(settings, name)}.")
    if settings.task:
        check_task(settings.task)
    if settings.split not in SPLITS:
        raise UnknownNameError("split", settings.split, SPLITS)
    for measure, value in settings.tolerance.items():
        if measure not in default_tolerances():
            raise UnknownNameError("judged measure in [tolerance]", measure, default_tolerances())
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise UsageError(
                f"The tolerance of {measure} must be a number between 0 and 1, both excluded; found {value!r}."
            )
