"""The page of several networks' training: its numbers are the bundles', and hostile names stay text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from audit.errors import ModelError
from reports.curves import render_curves

from .report_runs import Page


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
                    {"epoch": e, "found": {"accuracy": a}} for e, a in zip((10, 58, 106, 154), accuracies, strict=True)
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
        assert [round(x - xs[0], 0) for x in xs] == [round((e - 10) / 154 * 610, 0) for e in (10, 58, 106, 154)]
        assert list(ys) == sorted(ys, reverse=True), "accuracy rises, so y falls"
    labels = [float(y) for y in re.findall(r'class="label" x="[\d.]+" y="([\d.]+)"', text)]
    assert abs(labels[0] - labels[1]) >= 16, "labels do not overlap"
    assert len({line.get("stroke-dasharray") for line in page.all("polyline")}) == 2, "told apart without colour"
    cells = re.findall(r'<td class="num(?: right| wrong)?">(\d+)</td>', text)
    assert [int(c) for c in cells if c not in ("150",)] == [48, 1, 1, 0, 50, 0, 2, 0, 48] * 2
    assert "10</text>" in text
    assert "154</text>" in text


def test_bundles_that_do_not_tell(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not tell"):
        render_curves([tmp_path], tmp_path / "c.html")
    folder = bundle(tmp_path / "A", "A", [0.6, 0.8, 0.9, 1.0])
    (folder / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="does not tell"):
        render_curves([folder], tmp_path / "c.html")


def test_all_right_from_the_start(tmp_path: Path) -> None:
    assert render_curves([bundle(tmp_path / "A", "A", [1.0] * 4)], tmp_path / "c.html").is_file()
