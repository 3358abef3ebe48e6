"""What tests of the report share: a finished run, a schema's check, and a page taken apart."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from PIL import Image

from audit.reports.reading.view import MOST_CASES, PICTURES, RunView
from audit.run.pipeline import run_audit
from audit.run.settings import Settings
from audit.store.folder import RunFolder, verify_run
from audit.store.run_record import RunRecord

from .golden.make_report import RUN

EMPTY_ELEMENTS = ("meta", "img", "br", "input", "rect", "line", "circle", "image", "link", "path", "polyline")

KINDS: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
    "array": list,
    "object": dict,
}


def finished_run(manifest: Path, bundle: Path, folder: Path, *, judge_gates: bool = True, **settings: Any) -> Path:
    """Audit a bundle on the cohort of a manifest, with its file of boxes; return the run folder."""
    given = Settings(
        model=str(bundle),
        data=str(manifest),
        detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
        runs=str(folder / "runs"),
        cache=str(folder / "cache"),
        resamples=200,
        **settings,
    )
    return run_audit(given, judge_gates=judge_gates, command=["audit", "run"], on_stage=lambda *_: lambda: None)[0]


def with_cases(view: RunView, n: int) -> RunView:
    """Return a run as it would be read with n cases, each of as many pictures as a case can have, and as many maps."""
    rng = np.random.default_rng(0)

    def picture(part: dict[str, Any] | None) -> dict[str, Any]:
        data = io.BytesIO()
        coarse = rng.normal(110, 25, (48, 48)).clip(0, 255).astype(np.uint8)
        Image.fromarray(coarse).resize((384, 384)).save(data, "JPEG", quality=75)
        return {**(part or {}), "uri": f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"}

    def case(i: int) -> dict[str, Any]:
        like = view.examples[i % len(view.examples)]
        pictures = {part: picture(like[part]) for part in PICTURES if like[part] or part == "overlay"}
        return {**like, **pictures, "case": i + 1, "width": 384, "height": 384}

    return dataclasses.replace(
        view,
        examples=tuple(case(i) for i in range(min(n, MOST_CASES))),
        n_examples=n,
        relevance=tuple(view.relevance[i % len(view.relevance)] for i in range(n)),
    )


def check(value: Any, schema: dict[str, Any], where: str) -> None:
    """Validate by the few words of JSON Schema that ours use."""
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    if "pattern" in schema:
        assert re.search(schema["pattern"], value), (where, value)
    kinds = schema.get("type", [])
    if kinds:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        assert any(isinstance(value, KINDS[kind]) for kind in kinds), (where, value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        assert set(schema.get("required", [])) <= set(value), where
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(known), (where, set(value) - set(known))
        for name, inner in known.items():
            if name in value:
                check(value[name], inner, f"{where}.{name}")
        if isinstance(rest := schema.get("additionalProperties"), dict):
            for name in set(value) - set(known):
                check(value[name], rest, f"{where}.{name}")
    if isinstance(value, list):
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)), where
        for i, item in enumerate(value):
            inner = schema["prefixItems"][i] if "prefixItems" in schema else schema.get("items", {})
            check(item, inner, f"{where}[]")


def kept_run(folder: Path) -> Path:
    """Return a copy of the kept run, to be edited by a test: no audit has to be run for what a report does with a folder."""
    return shutil.copytree(RUN, folder / "kept")


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Read a JSON file, let it be changed in place, and write it back."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def seal(run: Path) -> None:
    """Make the hashes of a run those of its files, as somebody would who edits it with care."""
    folder = RunFolder(run)
    folder.write(structs.replace(folder.read(RunRecord), files=folder.hashes()))
    assert verify_run(run) == []


class Page(HTMLParser):
    """Collects elements, their attributes and their ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in EMPTY_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open[-1] == tag, f"{self.open[-1]} is closed by {tag}"
            self.open.pop()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag]
