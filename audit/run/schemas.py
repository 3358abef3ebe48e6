"""JSON Schemas of a run's documents, made from the types that read and write them; the lines under fields are descriptions."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

from msgspec import inspect as types

from audit.data.plan import Plan
from audit.gates.document import VerdictDocument
from audit.store.controls import ControlsDocument
from audit.store.levels import LevelsDocument
from audit.store.mend import MendDocument
from audit.store.pictures import ClustersDocument, ExamplesDocument, MarkersDocument, MovedDocument
from audit.store.probe import ProbeDocument
from audit.store.recomputation import Recomputation
from audit.store.relevance import RelevanceDocument
from audit.store.results import SCHEMA_VERSION, ConditionsDocument, EffectsDocument
from audit.store.review import Reviews
from audit.store.run_record import RunRecord
from audit.store.sensitivity import SensitivityDocument
from audit.store.suspects import SuspectsDocument
from audit.store.typed import RunDocument

DOCUMENTS: tuple[type[RunDocument], ...] = (
    Plan,
    ConditionsDocument,
    EffectsDocument,
    ControlsDocument,
    ProbeDocument,
    LevelsDocument,
    RelevanceDocument,
    ClustersDocument,
    ExamplesDocument,
    MarkersDocument,
    MovedDocument,
    SuspectsDocument,
    VerdictDocument,
    RunRecord,
    Reviews,
    Recomputation,
)
"""The documents of a run that have a type."""
BESIDE: tuple[type[RunDocument], ...] = (MendDocument, SensitivityDocument)
"""Those that lie beside a bundle."""
_SCALARS: Mapping[type[types.Type], str] = {
    types.IntType: "integer",
    types.FloatType: "number",
    types.BoolType: "boolean",
    types.NoneType: "null",
}


def schema_of(document: type[RunDocument]) -> dict[str, Any]:
    """Return the JSON Schema of a document, complete in itself."""
    schema = _schema(types.type_info(document))
    schema["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    schema["required"] = sorted([*schema["required"], "schema_version"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _schema(info: types.Type) -> dict[str, Any]:
    if type(info) in _SCALARS:
        return {"type": _SCALARS[type(info)]}
    match info:
        case types.AnyType():
            return {}
        case types.StrType(pattern=None):
            return {"type": "string"}
        case types.StrType(pattern=pattern):
            return {"type": "string", "pattern": pattern}
        case types.LiteralType(values=values):
            return {"enum": list(values)}
        case types.VarTupleType(item_type=item):
            return {"type": "array", "items": _schema(item)}
        case types.TupleType(item_types=items):
            parts = [_schema(item) for item in items]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        case types.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case types.UnionType(types=parts):
            return _union([_schema(part) for part in parts])
        case types.StructType() | types.DataclassType():
            return _record(info)
        case types.CustomType():
            return {"type": "string"}
        case types.Metadata(type=inner):
            return _schema(inner)
    raise TypeError(f"No schema is known for {info!r}.")


def _record(info: types.StructType | types.DataclassType) -> dict[str, Any]:
    told = field_lines(info.cls)
    return {
        "type": "object",
        "description": (inspect.getdoc(info.cls) or "").splitlines()[0],
        "properties": {f.name: {"description": told[f.name], **_schema(f.type)} for f in info.fields},
        # A field with a default was added later: older runs of the same version lack it.
        "required": sorted(f.name for f in info.fields if f.required),
        "additionalProperties": False,
    }


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Join schemas of different JSON types: keywords for objects do not apply to strings."""
    if any("enum" in part for part in parts):
        return {"enum": [value for part in parts for value in part.get("enum", [None])]}
    joined: dict[str, Any] = {}
    for part in parts:
        joined |= part
    return {**joined, "type": [part["type"] for part in parts]}


@cache
def field_lines(kind: type) -> Mapping[str, str]:
    """Return the line that stands under each field of a record, its bases' fields included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if "__annotations__" not in vars(base) or not base.__module__.startswith("audit."):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, line in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(line, ast.Expr):
                assert isinstance(line.value, ast.Constant)
                found[field.target.id] = " ".join(str(line.value.value).split())
    return found
