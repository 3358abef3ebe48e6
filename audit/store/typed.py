"""Documents as types: a file's content is a frozen record, and reading another content says what differs, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, TypeVar

from msgspec import Struct, ValidationError, convert, inspect

from audit.errors import near_names, shown_string, shown_value
from audit.store.group import Group, parse_group

_T = TypeVar("_T")
_KINDS: Mapping[str, str] = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that is written as a JSON object; a field without a default is always there, and no other field is."""


class RunDocument(Document, frozen=True, kw_only=True):
    """A file of a run folder."""

    FILE: ClassVar[str]
    """Its path in the run folder."""


class FormatError(ValueError):
    """A document is not of its type; the message says where, what was expected and what was found."""


def typed(value: Any, kind: type[_T]) -> _T:
    """Return plain JSON as a record.

    Raises
    ------
    FormatError
        If it is not one.
    """
    described: type = kind
    _refuse_unknown(value, _info(described), "")
    try:
        return convert(value, kind, dec_hook=_from_text)
    except ValidationError as error:
        raise FormatError(_in_words(str(error), value, kind)) from None
    except (
        UnicodeEncodeError
    ) as error:  # of a file name that is no text a string may hold such bytes, but no name or choice may
        raise FormatError(f"it has {shown_value(error.object)}, which is not text") from None


@cache
def _info(kind: type) -> inspect.Type:
    """Describe a type, which takes longer than to read a document of it."""
    return inspect.type_info(kind)


def _refuse_unknown(value: Any, info: inspect.Type, place: str) -> None:
    """Refuse a field that a record does not have: msgspec forbids those of its own records alone, and suggests no other name.

    Raises
    ------
    FormatError
        For the first such field.
    """
    match value, info:
        case dict(), inspect.DataclassType() | inspect.StructType():
            kinds = {field.encode_name: field.type for field in info.fields}
            is_open = isinstance(info, inspect.StructType) and not info.forbid_unknown_fields
            if not is_open and (more := next((name for name in value if name not in kinds), None)) is not None:
                near = near_names(more, kinds)
                guess = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
                raise FormatError(
                    f"{shown_string(place, 120) or 'the document'} has a field {shown_string(more)}, which is not known{guess}"
                )
            for name, inner in value.items():
                if isinstance(inner, (dict, list)) and name in kinds:
                    _refuse_unknown(inner, kinds[name], f"{place}.{name}".lstrip("."))
        case list(), inspect.VarTupleType(item_type=item):
            for i, inner in enumerate(value):
                _refuse_unknown(inner, item, f"{place}[{i}]")
        case dict(), inspect.DictType(value_type=item):
            for name, inner in value.items():
                _refuse_unknown(inner, item, f"{place}.{name}".lstrip("."))
        case _, inspect.UnionType(types=alternatives):
            for one in alternatives:
                _refuse_unknown(value, one, place)
        case _, inspect.Metadata(type=inner_info):
            _refuse_unknown(value, inner_info, place)


def _from_text(kind: type, text: object) -> object:
    """Read what a document holds as text: a group of images."""
    if kind is Group and isinstance(text, str):
        return parse_group(text)
    raise TypeError("Expected `str`")  # msgspec adds the place


def _in_words(message: str, document: Any, kind: type) -> str:
    """Turn msgspec's message into the house's words: the place, what was expected there, and what was found."""
    found = _MESSAGE.fullmatch(message)
    assert found is not None
    what, path = found["what"], found["place"] or ""
    place = shown_string(path.lstrip("."), 120) or "the document"
    if (field := re.fullmatch(r"Object missing required field `(.*)`", what, re.DOTALL)) is not None:
        return f"{place} has no {shown_string(field[1])}"
    value = _value_at(document, path)
    echoed = f", found {shown_value(value[0])}" if value else ""
    if what.startswith("Invalid enum value"):
        return f"{place} must be {' or '.join(_choices(kind, path))}{echoed}"
    expected = re.sub(r", got `.*", "", what, flags=re.DOTALL).removeprefix("Expected ")
    kinds = re.sub(
        r"`([a-z |]+)`", lambda names: " or ".join(_KINDS.get(n, n) for n in names[1].split(" | ")), expected
    )
    return f"{place} must be {kinds.replace('an integer or a number', 'a number')}{echoed}"


def _choices(kind: type, path: str) -> list[str]:
    """Return the values that a document of a type may have at a path, where they are listed."""
    found: list[Any] = [_info(kind)]
    for step in _STEP.finditer(path):
        found = [inner for info in _alternatives(found) for inner in _inside(info, step[1])]
    return [str(value) for info in _alternatives(found) for value in getattr(info, "values", ())]


def _alternatives(found: Sequence[Any]) -> list[Any]:
    return [one for info in found for one in (info.types if isinstance(info, inspect.UnionType) else (info,))]


def _inside(info: Any, name: str | None) -> Sequence[Any]:
    """Return the types of a field of a record, or of the items of a list or table."""
    match info:
        case inspect.StructType() | inspect.DataclassType():
            return [field.type for field in info.fields if field.name == name]
        case inspect.VarTupleType():
            return [info.item_type]
        case inspect.DictType():
            return [info.value_type]
    return []


def _value_at(document: Any, path: str) -> tuple[Any] | None:
    """Return what stands at a path such as `.groups[0].value`; None where the path names no single value."""
    value = document
    for step in _STEP.finditer(path):
        name, index = step[1], step[2]
        if index is not None and index.isdecimal() and isinstance(value, Sequence) and int(index) < len(value):
            value = value[int(index)]
        elif name is not None and isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            return None
    return (value,)
