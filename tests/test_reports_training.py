"""The training story: what the bundle tells is drawn, what it does not tell is left out, the paper's figures are the paper's."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from audit.reports.comparison.curves import render_curves
from audit.reports.figures.training_charts import training_charts
from audit.reports.findings import paper_networks
from audit.reports.findings.training_story import training_story
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run

from .report_runs import Page, kept_run
from .test_curves import bundle

CLASSES = ["normal", "pneumonia", "covid"]
EPOCHS = [
    {"phase": "head", "epoch": 1, "train_loss": 1.4, "validation_loss": 1.1, "validation_score": 0.33, "best": True},
    {"phase": "all", "epoch": 2, "train_loss": 0.9, "validation_loss": 40.0, "validation_score": 0.5, "best": False},
    {"phase": "all", "epoch": 3, "train_loss": 0.7, "validation_loss": 0.8, "validation_score": 0.7, "best": True},
]
PHASES = [
    {"phase": "head", "epoch": 1, "best_epoch": 1, "validation_loss": 1.1, "found": {"accuracy": 0.4}},
    {"phase": "<b>all</b>", "epoch": 3, "best_epoch": 3, "validation_loss": 0.8, "found": {"accuracy": 0.625}},
]
TRAINING = {
    "provenance": {"network": "B", "starting_weights": "random <weights>"},
    "metrics": {
        "curves": {"epochs": EPOCHS, "phases": PHASES},
        "test": {"confusion": {"classes": CLASSES, "counts": [[5, 1, 0], [0, 4, 2], [0, 0, 4]]}},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return kept_run(tmp_path)


def told(run: Path, training: Any) -> str:
    """Return the report's section on training of a run whose bundle told this."""
    plan = json.loads((run / "plan.json").read_text())
    plan["model"]["training"] = training
    (run / "plan.json").write_text(json.dumps(plan))
    text = render_html(run).read_text()
    assert Page(text).open == []
    section = re.search(r'<section id="training".*?</section>', text, re.S)
    assert section is not None
    return section.group()


def test_papers_figures_are_the_papers() -> None:
    # Section 9: A called one healthy patient COVID-19, B two COVID-19 images pneumonia; C, D and E made no mistake.
    assert [round(100 * paper_networks.NETWORKS[n].accuracy, 1) for n in "ABCDE"] == [99.3, 98.7, 100.0, 100.0, 100.0]
    wrong = {
        name: {
            (paper_networks.CLASSES[i], paper_networks.CLASSES[j]): n
            for i, row in enumerate(network.counts)
            for j, n in enumerate(row)
            if i != j and n
        }
        for name, network in paper_networks.NETWORKS.items()
    }
    assert wrong == {"A": {("normal", "covid"): 1}, "B": {("covid", "pneumonia"): 2}, "C": {}, "D": {}, "E": {}}
    assert all([sum(row) for row in n.counts] == [50, 50, 50] for n in paper_networks.NETWORKS.values())
    order = ("covid", "normal", "pneumonia")
    assert paper_networks.counts_in_order(paper_networks.NETWORKS["B"], order) == ((48, 0, 2), (0, 50, 0), (0, 0, 50))


def test_papers_figures_agree_with_its_text() -> None:
    file = Path(__file__).parents[2] / "shared" / "paper" / "bassi-attux-2021.txt"
    if not file.is_file():
        pytest.skip("the paper's text is not beside the repository")
    tables = re.findall(r"Predicted class\n(.*?)Table (\d): Confusion matrix for network (\w)", file.read_text(), re.S)
    assert [(number, name) for _, number, name in tables] == [("2", "A"), ("3", "B")]
    for body, number, name in tables:
        # The text has the first two columns row by row, and then the third.
        cells = [int(n) for n in re.findall(r"\d+", body.replace("COVID-19", ""))]
        network = paper_networks.NETWORKS[name]
        assert network.source == f"Table {number}"
        assert cells[:6] == [v for row in network.counts for v in row[:2]]
        assert cells[6:] == [row[2] for row in network.counts]


def test_curves_phases_and_matrices_are_drawn(run: Path) -> None:
    text = told(run, TRAINING)
    assert "This is network B of Bassi &amp; Attux (2021)" in text
    assert "&lt;b&gt;all&lt;/b&gt;" in text
    assert "0.625" in text
    assert "random &lt;weights&gt;" in text
    page = Page(text)
    assert [len((line["points"] or "").split()) for line in page.all("polyline")] == [3, 3, 3]
    assert "Peaks above the figure are cut" in text
    cells = re.findall(r'<td class="num(?: right| wrong)?">(\d+)</td>', text[text.index('class="matrix"') :])
    assert list(map(int, cells[:18])) == [5, 1, 0, 0, 4, 2, 0, 0, 4, 50, 0, 0, 0, 50, 0, 0, 2, 48]
    assert "(Table 3); accuracy 0.987" in text


def test_foreign_models_have_no_paper_beside_them(run: Path) -> None:
    foreign = {**TRAINING, "provenance": {"imported_from": "C.pt"}}
    text = told(run, foreign)
    assert "Bassi" not in text
    assert text.count('class="matrix"') == 1
    other = {**TRAINING["metrics"], "test": {"confusion": {"classes": ["a", "b"], "counts": [[1, 0], [0, 1]]}}}
    assert "Bassi" not in told(run, {**TRAINING, "metrics": other})


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"provenance": None, "metrics": None},
        {"provenance": {}, "metrics": {"curves": {"epochs": [1, {"epoch": "x"}, {"epoch": 1}], "phases": "none"}}},
        {"provenance": {}, "metrics": {"curves": [], "test": {"confusion": {"classes": ["a"], "counts": [[1, 2]]}}}},
        {"provenance": {}, "metrics": {"test": {"confusion": {"classes": ["a"], "counts": [["1"]]}}}},
    ],
)
def test_what_is_not_told_is_left_out(run: Path, training: Any) -> None:
    view = read_run(run)
    plan = {**view.plan, "model": {**view.plan["model"], "training": training}}
    story = training_story(dataclasses.replace(view, plan=plan))
    assert training_charts(story.epochs, story.phases) == ()
    assert story.matrices == ()
    assert "How the model was trained" in told(run, training)


def test_curves_page_has_the_papers_matrix(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "A", "A", [0.6, 0.8, 0.9, 0.993])
    document = json.loads((folder / "model.json").read_text())
    document["provenance"]["network"] = "A"
    (folder / "model.json").write_text(json.dumps(document))
    text = render_curves([folder], tmp_path / "c.html").read_text()
    assert "(Table 2); accuracy 0.993" in text
    assert "unsafe-inline" not in text
