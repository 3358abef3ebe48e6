"""Where settings come from: command line over environment over `audit.toml` over `[tool.audit]` in pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from msgspec import ValidationError, convert

from audit.errors import UnknownNameError, UsageError, shown_value
from audit.run.setting import Setting, declared_settings
from audit.run.setting_checks import checked
from audit.run.settings import Settings


def load_settings(given: Mapping[str, Any], folder: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Merge the sources of settings.

    Parameters
    ----------
    given : mapping
        Values from the command line; None means not given.
    folder : Path
        Where audit.toml and pyproject.toml are looked for.
    environment : mapping, optional
        `os.environ` if omitted.

    Raises
    ------
    UnknownNameError
        If a file has a key that no setting has.
    UsageError
        If a value is of the wrong kind or outside its range; the message says where it was set.
    """
    merged = dict(_from_files(folder))
    variables = os.environ if environment is None else environment
    for setting in declared_settings().values():
        text = variables.get(setting.variable, "") if setting.has_option else ""
        if text != "":
            merged[setting.name] = setting.variable, _from_text(setting, text)
        if given.get(setting.name) is not None:
            value = given[setting.name]
            merged[setting.name] = setting.flag, _of_option(setting, value)
    return checked(merged)


def _from_files(folder: Path) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield each setting of the first configuration file: its name, and where it stands and its value."""
    from audit.store.documents import read_toml  # not needed for --help

    own, shared = folder / "audit.toml", folder / "pyproject.toml"
    path = own if own.is_file() else shared
    if not path.is_file():
        return
    try:
        document = read_toml(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from error
    table: Any = document
    for name in () if path is own else ("tool", "audit"):
        table = table.get(name, {}) if isinstance(table, Mapping) else table
    if not isinstance(table, Mapping):
        raise UsageError(f"[tool.audit] in {path} must be a table, found {shown_value(table)}.")
    settings = declared_settings()
    sections = list(dict.fromkeys(s.section for s in settings.values()))
    for section, content in table.items():
        if section not in sections:
            raise UnknownNameError(f"section of {path}", section, sections)
        if not isinstance(content, Mapping):
            raise UsageError(
                f"[{section}] in {path} must be a table, found {type(content).__name__}; rules are [[gate.rule]]."
            )
        if section in settings and settings[section].is_table:
            yield section, (f"{settings[section].key} in {path.name}", content)
            continue
        known = [s.name for s in settings.values() if s.section == section]
        for name, value in content.items():
            if name not in known:
                raise UnknownNameError(f"key of [{section}] in {path}", name, known)
            yield name, (f"{settings[name].key} in {path.name}", value)


def _from_text(setting: Setting, text: str) -> Any:
    """Parse the text of an environment variable; a text that cannot be parsed is returned as it is, and rejected later."""
    if setting.is_pairs:
        return _pairs(text)
    if get_origin(setting.type) is tuple:
        return _listed(setting, text)
    if setting.words and text.strip().lstrip("-").isdecimal():
        return int(text)
    plain = {"yes": "true", "no": "false"}.get(text.lower(), text) if setting.type is bool else text.strip()
    try:
        return convert(plain, setting.type, strict=False)
    except ValidationError:
        return text


def _of_option(setting: Setting, value: Any) -> Any:
    """Return the value of an option, of which some are lists or tables in one text."""
    if setting.is_pairs and isinstance(value, str):
        return _pairs(value)
    if setting.words and isinstance(value, str):
        return _from_text(setting, value)
    return _listed(setting, value) if setting.is_commas and isinstance(value, str) else value


def _listed(setting: Setting, text: str) -> Any:
    """Return `a,b,c` as a list of strings or numbers; a text that is not written so stays, and is refused as such."""
    parts = tuple(part.strip() for part in text.split(","))
    if not setting.is_commas:  # among the names of a model's outputs an empty one has a meaning: its output is dropped
        parts = tuple(part for part in parts if part)
    try:
        return convert(parts, setting.type, strict=False)
    except ValidationError:
        return text


def _pairs(text: str) -> Any:
    """Parse `a=b,c=d` as a table; a text of another form is returned as it is, and rejected later."""
    parts = [part.partition("=") for part in text.split(",")]
    table = {key.strip(): value.strip() for key, mark, value in parts if mark and key.strip() and value.strip()}
    return table if len(table) == len(parts) else text
