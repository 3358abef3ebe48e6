"""The reference page of the JSON Schemas: every object of every document, with its fields, types and meanings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audit.run.schemas import DOCUMENTS, schema_of
from docs.site.records import code, table


def schemas_page() -> str:
    """Return the page of the public JSON documents."""
    parts = [
        "# JSON documents\n",
        "JSON Schemas (draft 2020-12) of the public files of a run. A test validates a real run against them.\n",
    ]
    for kind in DOCUMENTS:
        schema = f"{Path(kind.FILE).stem}.schema.json"
        parts += [f"## {kind.FILE}\n", f"[`{schema}`](../schema/{schema})\n", *_objects(schema_of(kind))]
    return "\n".join(parts)


def _objects(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield a table of an object's fields, then one for each kind of object inside it."""
    required = set(schema.get("required", ()))
    fields = schema["properties"]
    head, rows = ["field", "type", "always there"], []
    for name, inner in fields.items():
        rows.append(
            [code(name), _schema_type(inner), "yes" if name in required else "no", inner.get("description", "")]
        )
    if any(row[3] for row in rows):
        head.append("meaning")
    if path:
        yield f"`{path}`:\n"
    yield table(head, [row[: len(head)] for row in rows])
    for name, inner in fields.items():
        for mark, part in (("", inner), ("[]", inner.get("items")), (".NAME", inner.get("additionalProperties"))):
            if isinstance(part, Mapping) and "properties" in part:
                yield from _objects(part, f"{path}.{name}{mark}".lstrip("."))


def _schema_type(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(v) for v in schema["enum"])
    kind = schema.get("type", "")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return (
        f"{text} of {_schema_type(schema['items'])}"
        if "items" in schema and "properties" not in schema["items"]
        else text
    )
