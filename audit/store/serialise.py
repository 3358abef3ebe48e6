"""The one place that turns records into JSON: strict, sorted, the same bytes for the same value."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, structs

from audit.store.group import Group

_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(value: Any) -> Any:
    """Turn records, arrays, groups and paths into JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, Group):
        return str(value)
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__ if not _is_omitted(value, name)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    return value


def _is_omitted(record: Struct, name: str) -> bool:
    """Say whether a field is not written: it was added later, and is as it always was before."""
    if not record.__struct_config__.omit_defaults:
        return False
    usual = _fields(type(record))[name]
    default = usual.default_factory() if callable(usual.default_factory) else usual.default
    return bool(getattr(record, name) == default)


@cache
def _fields(kind: type[Struct]) -> Mapping[str, structs.FieldInfo]:
    return {field.name: field for field in structs.fields(kind)}


def printed_json(value: Any) -> str:
    """Serialise as `to_json` does, in ASCII: standard output may be of any encoding, and JSON has an escape for every character."""
    return json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def to_json(value: Any) -> str:
    """Serialise to strict, sorted, indented JSON: the same value always gives the same bytes."""
    text = json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    # A byte of a file name that is no text is a lone surrogate, which UTF-8 cannot hold; JSON can, by number.
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
