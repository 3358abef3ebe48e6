"""JSON Schemas of the public JSON, made from the records that are written."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from audit.store.group import Group
from audit.store.results import SCHEMA_VERSION, DoseTrend, Effect, GateResult, Status

_PLAIN = {str: "string", Group: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each public document by its name: effects, verdict, run and plan.

    Of run.json and plan.json the fields that reports rest on are fixed; others may be added.
    """
    text, integer, mapping = {"type": "string"}, {"type": "integer"}, {"type": "object"}
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    return {
        "effects": _document(
            {
                "effects": {"type": "array", "items": _record(Effect)},
                "trends": {"type": "array", "items": _record(DoseTrend)},
            },
            optional=("trends",),
        ),
        "verdict": _document(
            {
                "status": _of(Status),
                "summary": text,
                "gates": {"type": "array", "items": _record(GateResult)},
                **{key: {"type": "array", "items": text} for key in ("tested", "not_tested", "caveats")},
                "rules": {"type": "array", "items": mapping},
                "policy": mapping,
            }
        ),
        "run": _document(
            {
                "status": {"enum": ["complete", "running"]},
                "command": {"type": "array", "items": text},
                "plan_hash": text,
                "finished": text,
                "files": {"type": "object", "additionalProperties": digest},
                "packages": mapping,
                "timings": mapping,
                "skipped": mapping,
            },
            more=True,
        ),
        "plan": _document(
            {
                "model": mapping,
                "data": mapping,
                "suite": mapping,
                "detector": mapping,
                "privacy": mapping,
                "relevance": mapping,
                "statistics": mapping,
                "seed": integer,
            },
            more=True,
        ),
    }


def _document(properties: Mapping[str, Any], *, optional: tuple[str, ...] = (), more: bool = False) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"schema_version": {"const": SCHEMA_VERSION}, **properties},
        "required": sorted({"schema_version", *properties} - set(optional)),
        "additionalProperties": more,
    }


def _record(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    # A field with a default was added later: older runs of the same version lack it.
    required = sorted(f.name for f in fields if f.default is dataclasses.MISSING)
    return {
        "type": "object",
        "properties": {f.name: _of(hints[f.name]) for f in fields},
        "required": required,
        "additionalProperties": False,
    }


def _of(hint: Any) -> dict[str, Any]:
    """Return the schema of a type hint: scalars, literals, unions with None, and tuples of one type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return {"type": [_PLAIN[a] for a in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0])}
    raise TypeError(f"No schema is known for {hint!r}; scalars, literals, unions of scalars and tuples are.")
