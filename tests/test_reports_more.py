"""Budget, edited folders, deleted pictures, other versions, and the schemas of the public JSON."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from audit.errors import StoreError
from audit.reports.findings.effect_words import without_folders
from audit.reports.page.html import MAX_BYTES, render_html, within_budget
from audit.reports.reading.folder import read_run
from audit.run.schemas import DOCUMENTS, schema_of
from audit.store.recomputation import Recomputation
from audit.store.results import EffectsDocument
from audit.store.review import Answer, Review, Reviews
from audit.store.serialise import plain

from .golden.make_schemas import FOLDER, files
from .report_runs import check, edit

REVIEW = Review(
    kind="audit-signoff",
    evidence="0" * 64,
    reviewer="R",
    saved="2026-01-01",
    findings=(Answer(id="accuracy", answer="agree", comment="c"),),
)


def test_run_obeys_the_schemas_and_docs_hold_them(small_run: Path) -> None:
    assert {file.name for file in FOLDER.iterdir()} == {file.name for file in files()}
    for file, text in files().items():
        assert file.read_text() == text, f"{file.name} is out of date: python -m tests.golden.make_schemas writes it"
    run = small_run
    (run / Reviews.FILE).write_text(
        json.dumps({"schema_version": 1, "reviews": [plain(REVIEW)]})
    )  # which only a reviewer can give
    for kind in DOCUMENTS:
        if kind is Recomputation:  # tests/test_recompute.py makes one
            continue
        check(json.loads((run / kind.FILE).read_text()), schema_of(kind), kind.FILE)
    effects = json.loads((run / "effects.json").read_text())
    effects["effects"][0]["estimate"] = "much"
    with pytest.raises(AssertionError):
        check(effects, schema_of(EffectsDocument), "effects")


def test_budget_drops_pictures_and_says_so(kept: Path) -> None:
    whole = render_html(kept).read_text()
    assert "are left out; they are in the run folder" not in whole
    budget = len(whole) - 5_000
    small = render_html(kept, max_bytes=budget).read_text()
    assert len(small) <= budget
    assert "the pictures of the last" in small
    assert "deleted from the run folder" not in small, "what is left out is not gone"
    assert small.count('class="case"') == whole.count('class="case"'), "scores of every case stay"


def test_edited_folder_and_deleted_picture_are_said(kept: Path) -> None:
    assert "changed after the run" not in render_html(kept).read_text()
    next((kept / "examples").glob("*-clean.jpg")).unlink()
    text = render_html(kept).read_text()
    assert text.index("changed after the run") < text.index('id="verdict"')
    assert "-clean.jpg is missing" in text
    assert "This picture was deleted from the run folder." in text


def test_deleted_picture_of_a_group_is_said(kept: Path) -> None:
    view = read_run(kept)

    def cluster(mean: str | None, image: str | None, overlay: str | None) -> dict[str, Any]:
        exemplar = {"record": "0a1b", "label": "covid", "source": "north", "width": 9, "height": 9}
        return {
            "output": "covid", "n_images": 3, "n_of_output": 9, "labels": {"covid": 3}, "sources": {"north": 3},
            "spot": {"x0": 0.1, "y0": 0.1, "x1": 0.4, "y1": 0.4}, "spot_mass": 0.5, "spot_mass_elsewhere": 0.1,
            "spot_text": 0.1, "mean": {"uri": mean},
            "exemplars": [{**exemplar, "image": {"uri": image}, "overlay": {"uri": overlay}}],
        }  # fmt: skip

    here = "data:image/png;base64,AA=="
    for pictures, gone in (((here, here, here), 0), ((None, here, here), 1), ((here, None, here), 1)):
        page = within_budget(dataclasses.replace(view, clusters=(cluster(*pictures),)), MAX_BYTES).html.decode()
        assert page.count("This picture was deleted from the run folder.") == gone
        assert ("1 picture has been deleted" in page) == bool(gone)
    page = within_budget(dataclasses.replace(view, clusters=(cluster(here, here, None),)), MAX_BYTES).html.decode()
    assert "its relevance was deleted from the run folder" in page


def test_folder_of_another_version_is_one_clear_error(kept: Path) -> None:
    for name in (
        "plan.json",
        "run.json",
        "effects.json",
        "verdict.json",
        "source_probe.json",
        "examples/examples.json",
    ):
        before = (kept / name).read_text()
        document = json.loads(before)
        (kept / name).write_text(json.dumps({**document, "schema_version": 0}))
        with pytest.raises(StoreError, match="schema version 1"):
            render_html(kept)
        for key in sorted(set(document) - {"schema_version"}):
            (kept / name).write_text(json.dumps({k: v for k, v in document.items() if k != key}))
            with suppress(StoreError):  # some keys are not needed; what is needed is missed in one clear error
                render_html(kept)
        (kept / name).write_text(before)
    edit(kept / "effects.json", lambda d: d["effects"][0].pop("method"))
    with pytest.raises(StoreError, match="Another version"):
        render_html(kept)


def test_paths_lose_their_folders() -> None:
    assert [without_folders(v) for v in ("../../a/b.csv", "C:\\x\\y.pt", "one / two", 3)] == [
        "b.csv",
        "y.pt",
        "one / two",
        "3",
    ]
