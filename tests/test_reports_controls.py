"""The section on the audit's own controls: what the run recorded, as it was found, and nothing that it did not record."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from msgspec import structs

from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.reports.sections.controls import controls
from audit.store.relevance import Randomisation


@pytest.fixture
def view(small_run: Path) -> RunView:
    return read_run(small_run)


def test_every_control_of_the_run_is_shown(view: RunView) -> None:
    found = {c.what: c for c in controls(view)}
    assert found["Own text pasted back: this changes no class probability"].outcome == "passed"
    assert any("the same logits as the network" in what and c.outcome == "passed" for what, c in found.items())
    assert any("conserved" in what and c.outcome == "passed" for what, c in found.items())
    assert any("all layers are shuffled" in what for what in found)
    document = json.loads((view.path / "controls.json").read_text())
    kinds = {row["kind"]: row for row in document["planted"]}
    assert set(kinds) == {"planted", "null"}
    planted = next(c for what, c in found.items() if what.startswith("a planted shift"))
    assert (planted.outcome == "passed") == kinds["planted"]["as_expected"]
    assert f"{kinds['planted']['n_images']} images" in planted.found
    text = render_html(view.path).read_text()
    cells = re.findall(r'<td><span class="status [a-z]+">(passed|undecided|failed|not checked)</span></td>', text)
    assert cells == [c.outcome for c in found.values()]


def test_outcomes_follow_the_record(view: RunView) -> None:
    assert view.relevance_summary is not None
    shuffles = (("the output layer", 0.73), ("all layers", 0.61))
    worse = dataclasses.replace(
        view,
        planted=tuple(structs.replace(row, verdict="inconclusive") for row in view.planted),
        relevance_summary=structs.replace(
            view.relevance_summary,
            logit_gap=1e-3,
            randomisation=tuple(Randomisation(layers=what, ssim=ssim, n_images=4) for what, ssim in shuffles),
        ),
    )
    by_what = {c.what: c for c in controls(worse)}
    planted = next(c for what, c in by_what.items() if what.startswith("a planted shift"))
    assert planted.outcome == "failed"
    assert "does not detect" in planted.found
    assert next(c for what, c in by_what.items() if "same logits" in what).outcome == "failed"
    shuffled = by_what["LRP: the heatmap changes when all layers are shuffled"]
    assert shuffled.outcome == "failed"
    assert "0.73 with the output layer shuffled" in shuffled.found


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("sensitive", "failed"), ("inconclusive", "undecided"), ("reversed", "undecided"), ("robust", "passed")],
)
def test_a_null_holds_only_where_it_is_shown_to_be_small(view: RunView, verdict: str, outcome: str) -> None:
    judged = dataclasses.replace(view, planted=tuple(structs.replace(row, verdict=verdict) for row in view.planted))
    null = next(c for c in controls(judged) if c.what == "a null effect is not called sensitive")
    assert null.outcome == outcome
    assert verdict in null.found


def test_a_control_that_moved_something_fails(view: RunView) -> None:
    moved = tuple(
        dataclasses.replace(e, estimate=0.95) if e.measure == "max_abs_probability_change" else e for e in view.effects
    )
    own = next(c for c in controls(dataclasses.replace(view, effects=moved)) if "changes no class" in c.what)
    assert (own.outcome, "0.95" in own.found) == ("failed", True)


def test_what_was_not_recorded_is_not_claimed(view: RunView) -> None:
    assert view.relevance_summary is not None
    earlier = structs.replace(view.relevance_summary, logit_gap=None)
    silent = dataclasses.replace(view, planted=(), relevance_summary=earlier, relevance=())
    assert not any("planted" in c.what or "logits" in c.what or "accounted" in c.what for c in controls(silent))
