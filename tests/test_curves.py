"""The page of several networks' training: its numbers are the bundles', and hostile names stay text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from audit.errors import ModelError
from audit.reports.comparison import curves
from audit.reports.comparison.curves import render_curves
from audit.reports.findings.training_story import training_story
from audit.reports.reading.folder import read_run

from .report_runs import Page, edit

BEST = (9, 40, 99, 131)


def bundle(folder: Path, name: str, accuracies: list[float]) -> Path:
    folder.mkdir(parents=True)
    counts = [[48, 1, 1], [0, 50, 0], [2, 0, 48]]
    found = {"accuracy": 0.973, "balanced_accuracy": 0.97333, "n_images": 150}
    document = {
        "name": name,
        "architecture": "densenet201",
        "provenance": {"starting_weights": "random weights", "hours": 0.25},
        "metrics": {
            "curves": {
                "phases": [
                    {"phase": f"p{e}", "epoch": e, "best_epoch": b, "found": {"accuracy": a}}
                    for e, b, a in zip((10, 58, 106, 154), BEST, accuracies, strict=True)
                ]
            },
            "test": {**found, "confusion": {"classes": ["normal", "pneumonia", "covid"], "counts": counts}},
        },
    }
    (folder / "model.json").write_text(json.dumps(document))
    return folder


def test_lines_and_matrices_are_the_bundles(tmp_path: Path) -> None:
    folders = [
        bundle(tmp_path / "A", "A", [0.6, 0.8, 0.9, 0.993]),
        bundle(tmp_path / "B", "<script>B</script>", [0.7, 0.9, 0.98, 0.987]),
    ]
    text = render_curves(folders, tmp_path / "out/curves.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not page.all("script")
    assert "&lt;script&gt;B" in text
    points = [
        [tuple(map(float, p.split(","))) for p in (line["points"] or "").split()] for line in page.all("polyline")
    ]
    assert [len(p) for p in points] == [4, 4]
    for line in points:
        xs, ys = zip(*line, strict=True)
        assert [x - xs[0] for x in xs] == pytest.approx([(e - BEST[0]) / BEST[-1] * 610 for e in BEST], abs=0.15)
        assert list(ys) == sorted(ys, reverse=True), "accuracy rises, so y falls"
    labels = [float(y) for y in re.findall(r'class="label" x="[\d.]+" y="([\d.]+)"', text)]
    assert abs(labels[0] - labels[1]) >= 16, "labels do not overlap"
    assert len({line.get("stroke-dasharray") for line in page.all("polyline")}) == 2, "told apart without colour"
    cells = re.findall(r'<td class="num(?: right| wrong)?">(\d+)</td>', text)
    assert [int(c) for c in cells if c not in ("150",)] == [48, 1, 1, 0, 50, 0, 2, 0, 48] * 2
    assert all(f"{e}</text>" in text for e in BEST)
    assert "154</text>" not in text, "where the last phase ended is not where its best network was"


def test_bundles_that_do_not_tell(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not contain the test accuracy of every phase"):
        render_curves([tmp_path], tmp_path / "c.html")
    folder = bundle(tmp_path / "A", "A", [0.6, 0.8, 0.9, 1.0])
    edit(folder / "model.json", lambda d: d["metrics"]["curves"]["phases"][1].pop("best_epoch"))
    with pytest.raises(ModelError, match="no best epoch and test accuracy for each phase"):
        render_curves([folder], tmp_path / "c.html")
    (folder / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="does not contain the test accuracy of every phase"):
        render_curves([folder], tmp_path / "c.html")


def test_all_right_from_the_start(tmp_path: Path) -> None:
    assert render_curves([bundle(tmp_path / "A", "A", [1.0] * 4)], tmp_path / "c.html").is_file()


def test_curves_and_report_put_the_best_network_at_one_epoch(tmp_path: Path, kept: Path) -> None:
    """The report's story and the page of curves rest on one reading of a bundle."""
    folder = bundle(tmp_path / "A", "A", [0.6, 0.8, 0.9, 0.993])
    metrics = json.loads((folder / "model.json").read_text())["metrics"]
    edit(kept / "plan.json", lambda d: d["model"].update(training={"provenance": {}, "metrics": metrics}))
    story = training_story(read_run(kept))
    network = curves._read(folder)
    assert tuple(p.best_epoch for p in story.phases) == network.epochs == BEST
    assert tuple(p.accuracy for p in story.phases) == network.accuracies
