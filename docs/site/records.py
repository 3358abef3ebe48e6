"""Tables in Markdown, and records described by their own declarations: a page follows its record when a field is added."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe

_PLAIN = {"str": "string", "int": "integer", "float": "number", "bool": "true or false", "NoneType": "none"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of a record, as it is declared."""

    name: str
    """Its name."""
    kind: str
    """Its type in words."""
    required: bool
    """Whether it has no default."""
    default: Any
    """Its default; None where there is none."""
    help: str
    """Its docstring line, or the description in its type."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in row) + " |" for row in lines) + "\n"


def code(value: object) -> str:
    """Return a value as code; empty where there is nothing to show."""
    text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return f"`{text}`" if text and value is not None else ""


def describe(record: type) -> list[Field]:
    """Return the fields of a dataclass or msgspec Struct in their order.

    Parameters
    ----------
    record : type
        Each field has a docstring line, or a description in its annotation.

    Raises
    ------
    ValueError
        If a field has neither.
    """
    lines = _docstring_lines(record)
    hints = typing.get_type_hints(record, include_extras=True)
    found = []
    for name, required, default in _declared(record):
        text = next((m.description for m in _metadata(hints[name]) if getattr(m, "description", "")), "") or lines.get(
            name, ""
        )
        if not text:
            raise ValueError(
                f"{record.__qualname__}.{name} has no docstring line, so the reference cannot describe it."
            )
        found.append(
            Field(
                name=name, kind=_in_words(hints[name]), required=required, default=default, help=" ".join(text.split())
            )
        )
    return found


def legend(record: type) -> str:
    """Return a table of a record's fields: name, type, default, meaning."""
    rows = [
        [code(f.name), f.kind, "required" if f.required else shown_default(f.default), f.help] for f in describe(record)
    ]
    return table(["field", "type", "default", "meaning"], rows)


def catalogue(entries: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return a table of records by name, a column for each of the named fields."""
    rows = [[code(name), *(_value(getattr(record, c)) for c in columns)] for name, record in entries.items()]
    return table(["name", *(c.replace("_", " ") for c in columns)], rows)


def shown_default(value: Any) -> str:
    """Return a default as code, or "none" where it is empty."""
    if value is None or (isinstance(value, (str, tuple, list, dict, frozenset)) and not value):
        return "none"
    return code(str(value).lower() if isinstance(value, bool) else value)


def first_paragraph(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def parameters(maker: type) -> tuple[str, list[list[str]]]:
    """Return the text of a class's numpydoc docstring, and name, type, default and meaning of each keyword that it describes.

    Raises
    ------
    ValueError
        If it describes some of its keywords, and not all.
    """
    texts, described = [], {}
    for section in griffe.Docstring(inspect.getdoc(maker) or "", lineno=1).parse("numpy"):
        if section.kind is griffe.DocstringSectionKind.text:
            texts.append(section.value)
        if section.kind is griffe.DocstringSectionKind.parameters:
            described = {item.name: item for item in section.value}
    keywords = [p for p in inspect.signature(maker).parameters.values() if p.kind is p.KEYWORD_ONLY]
    missing = [p.name for p in keywords if p.name not in described]
    if described and missing:
        raise ValueError(f"{maker.__qualname__} does not describe {', '.join(missing)}, so the reference cannot.")
    rows = [
        [
            code(p.name),
            _numpydoc_type(str(described[p.name].annotation)),
            "required" if p.default is p.empty else shown_default(p.default),
            described[p.name].description,
        ]
        for p in keywords
        if described
    ]
    return "\n\n".join(texts), rows


def _numpydoc_type(text: str) -> str:
    """Return `{"a", "b"}` as choices, and a plain type in words."""
    choices = re.findall('"([^"]+)"', text)
    return (
        ", ".join(map(code, choices))
        if choices
        else _PLAIN.get(text, text.replace("sequence of str", "list of strings"))
    )


def _cell(text: str) -> str:
    """Keep a cell in one line, and its bars out of the table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _declared(record: type) -> list[tuple[str, bool, Any]]:
    if dataclasses.is_dataclass(record):
        missing: Any = dataclasses.MISSING
        fields: Any = dataclasses.fields(record)
    else:
        import msgspec

        missing, fields = msgspec.NODEFAULT, msgspec.structs.fields(record)
    found = []
    for f in fields:
        made = f.default_factory() if f.default_factory is not missing else None
        required = f.default is missing and f.default_factory is missing
        found.append((f.name, required, f.default if f.default is not missing else made))
    return found


def _docstring_lines(record: type) -> dict[str, str]:
    module = griffe.visit(record.__module__, filepath=_source(record), code=_source(record).read_text(encoding="utf-8"))
    members = module[record.__qualname__].members
    return {name: m.docstring.value for name, m in members.items() if m.is_attribute and m.docstring}


def _source(record: type) -> Path:
    return Path(inspect.getfile(record))


def _metadata(hint: Any) -> Sequence[Any]:
    return getattr(hint, "__metadata__", ())


def _in_words(hint: Any) -> str:
    """Return a type in a reader's words: `str | None` is "string or none", a Literal its choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _in_words(arguments[0]) + "".join(f", {limit}" for m in _metadata(hint) for limit in _limits(m))
    if origin is typing.Literal:
        return ", ".join(code(a) for a in arguments if a)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_in_words(a) for a in arguments)
    if origin is tuple:
        return f"list of {_in_words(arguments[0])}s"
    if origin is not None and issubclass(origin, Mapping):
        return "table"
    name = getattr(hint, "__name__", str(hint))
    return _PLAIN.get(name, name)


def _limits(meta: Any) -> list[str]:
    """Return the range of a number in words."""
    words = {"ge": "{:g} or more", "gt": "more than {:g}", "le": "{:g} or less", "lt": "less than {:g}"}
    # The largest seed is the width of its storage, which means nothing to a reader.
    return [w.format(v) for key, w in words.items() if (v := getattr(meta, key, None)) is not None and abs(v) < 1e9]
