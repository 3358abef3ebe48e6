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

from audit.reports.page.html import MAX_BYTES, within_budget
from audit.reports.reading.view import MOST_CASES, PICTURES, RunView
from audit.reports.standards.filling import FilledItem, fill_standards
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


class _Places(HTMLParser):
    """Collects the words that stand within each element that has an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: dict[str, list[str]] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY_ELEMENTS:
            self._open.append((tag, dict(attributes).get("id")))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name is not None:
                self.words.setdefault(name, []).append(data)


def unfound_references(run: RunView) -> list[str]:
    """Return the sentences that the standards quote and that do not stand where they say; the layout of blanks does not count."""
    page = within_budget(run, MAX_BYTES).html.decode()
    words = {name: "".join("".join(parts).split()) for name, parts in _Places(page).words.items()}
    return [
        f"{one.standard.name} {item.number}: {r.place}: {r.sentence}"
        for one in fill_standards(run)
        for item in one.items
        for r in item.references
        if "".join(r.sentence.replace("`", "").split()) not in words.get(r.place, "")
    ]


def item_of(run: RunView, standard: str, number: str) -> FilledItem:
    """Return one item of a standard, with what a run answers."""
    filled = next(one for one in fill_standards(run) if one.standard.name.startswith(standard))
    return next(item for item in filled.items if item.number == number)
