"""Budget, edited folders, deleted pictures, exports, and the schemas of the public JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.export import cyclonedx, mlflow_numbers, model_card
from reports.html import render_html
from reports.runfolder import read_run
from reports.schema import schemas
from reports.words import without_folders

from .report_runs import finished_run

KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
    "array": list,
    "object": dict,
}


@pytest.fixture
def run(write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    return finished_run(write_cohort(4), write_bundle(), tmp_path)


def check(value: Any, schema: dict[str, Any], where: str) -> None:
    """Validate by the few words of JSON Schema that ours use."""
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
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
    if isinstance(value, list):
        for item in value:
            check(item, schema.get("items", {}), f"{where}[]")


def test_run_obeys_the_schemas_and_docs_hold_them(run: Path) -> None:
    folder = Path(__file__).parents[1] / "docs" / "schema"
    for name, schema in schemas().items():
        check(json.loads((run / f"{name}.json").read_text()), schema, name)
        assert json.loads((folder / f"{name}.schema.json").read_text()) == schema, f"docs/schema/{name} is out of date"
    effects = json.loads((run / "effects.json").read_text())
    effects["effects"][0]["estimate"] = "much"
    with pytest.raises(AssertionError):
        check(effects, schemas()["effects"], "effects")


def test_budget_drops_pictures_and_says_so(run: Path) -> None:
    whole = render_html(run).read_text()
    assert "leaves out the pictures" not in whole
    budget = len(whole) - 20_000
    small = render_html(run, max_bytes=budget).read_text()
    assert len(small) <= budget
    assert "leaves out the pictures of the last" in small
    assert small.count('class="case"') == whole.count('class="case"'), "scores of every case stay"


def test_edited_folder_and_deleted_picture_are_said(run: Path) -> None:
    assert "changed after the run" not in render_html(run).read_text()
    next((run / "examples").glob("*-clean.jpg")).unlink()
    text = render_html(run).read_text()
    assert text.index("changed after the run") < text.index('id="verdict"')
    assert "-clean.jpg is missing" in text
    assert "This picture was deleted from the run folder." in text


def test_exports_hold_the_runs_numbers(run: Path) -> None:
    view = read_run(run)
    document = json.loads(cyclonedx(view))
    assert document["specVersion"] == "1.6"
    accuracy = view.find("clean", "accuracy")
    assert accuracy is not None
    first = document["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]
    assert float(first["value"]) == pytest.approx(accuracy.estimate, rel=1e-5)
    assert cyclonedx(view) == cyclonedx(read_run(run))
    card = model_card(view)
    assert all(e.condition in card for e in view.headline())
    _, metrics = mlflow_numbers(view)
    assert metrics["clean/accuracy"] == accuracy.estimate


def test_paths_lose_their_folders() -> None:
    assert [without_folders(v) for v in ("../../a/b.csv", "C:\\x\\y.pt", "one / two", 3)] == [
        "b.csv",
        "y.pt",
        "one / two",
        "3",
    ]
