"""The section on the audit's own controls: what the run recorded, as it was found, and nothing that it did not record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.controls import controls
from reports.html import render_html
from reports.runfolder import RunView, read_run

from .report_runs import finished_run


@pytest.fixture
def view(write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path) -> RunView:
    return read_run(finished_run(write_cohort(4), write_bundle(), tmp_path))


def test_every_control_of_the_run_is_shown(view: RunView) -> None:
    found = {c.what.split(":")[0] if "own crops" in c.what else c.what: c for c in controls(view)}
    assert any("the network's own logits" in what and c.holds for what, c in found.items())
    assert any("accounted for" in what and c.holds for what, c in found.items())
    assert any("shuffled weights" in what for what in found)
    document = json.loads((view.path / "controls.json").read_text())
    kinds = {row["kind"]: row for row in document["planted"]}
    assert set(kinds) == {"planted", "null"}
    assert found["a planted shortcut is found"].holds == kinds["planted"]["as_expected"]
    assert found["no shortcut stays quiet"].holds == kinds["null"]["as_expected"]
    assert f"{kinds['planted']['n_images']} images" in found["a planted shortcut is found"].found
    text = render_html(view.path).read_text()
    assert text.count(">holds</span>") + text.count(">does not hold</span>") == len(found)


def test_outcomes_follow_the_record(view: RunView) -> None:
    summary = dict(view.relevance_summary or {})
    worse = dataclasses.replace(
        view,
        planted=tuple({**row, "as_expected": False} for row in view.planted),
        relevance_summary={**summary, "logit_gap": 1e-3},
    )
    by_what = {c.what: c for c in controls(worse)}
    assert not by_what["a planted shortcut is found"].holds
    assert "escape this run" in by_what["a planted shortcut is found"].found
    assert not by_what["no shortcut stays quiet"].holds
    assert not next(c for what, c in by_what.items() if "own logits" in what).holds


def test_what_was_not_recorded_is_not_claimed(view: RunView) -> None:
    earlier = {k: v for k, v in (view.relevance_summary or {}).items() if not k.startswith("logit")}
    silent = dataclasses.replace(view, planted=(), relevance_summary=earlier, relevance=())
    assert not any("planted" in c.what or "logits" in c.what or "accounted" in c.what for c in controls(silent))
