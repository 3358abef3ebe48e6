"""The front door: what it names, what it imports, and one audit from Python as the README writes it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import audit
from audit.errors import StoreError, UnknownNameError, UsageError
from audit.models.networks import build_network
from audit.prediction.table import read_finished

from .conftest import CLASSES
from .golden.make_report import RUN


def test_the_door_is_explicit_and_light() -> None:
    assert sorted(audit.__all__) == sorted(set(audit.__all__))
    assert all(getattr(audit, name) is not None for name in audit.__all__)
    assert set(audit.__all__) <= set(dir(audit))
    with pytest.raises(AttributeError, match="has no attribute 'runaudit'"):
        audit.runaudit  # noqa: B018
    program = "import sys, audit; audit.Settings; print({'torch', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_audit_from_python(
    write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    manifest, told = write_cohort(4), []
    result = audit.run_audit(
        model=write_bundle(),
        data=manifest,
        progress=lambda name, steps: told.append(name) or (lambda: None),
        detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
        suite="quick",
        runs=str(tmp_path / "runs"),
        cache=str(tmp_path / "cache"),
        resamples=200,
        relevance_images=0,
    )
    assert result.report.is_file()
    assert "predicting" in told
    assert result.verdict.gates
    accuracy = result.effects.query("condition == 'clean' and measure == 'accuracy' and group == 'all'")
    assert accuracy["n_images"].tolist() == [12]
    again = audit.read_run(result.path)
    assert again.verdict == result.verdict
    assert audit.judge(result.path).status == result.verdict.status
    assert audit.judge(result.path, {"rule": [
        {"id": "enough", "measure": "accuracy", "min": 0.0, "where": {"condition": "clean"}},
    ]}).status == "pass"  # fmt: skip


def test_a_run_shows_itself_and_escapes_what_is_foreign() -> None:
    shown = audit.read_run(RUN)._repr_html_()
    assert "<table>" in shown
    assert "Not tested: " in shown
    assert "<COVID>" not in shown
    assert shown.count("<svg") == 1, "the forest"
    assert "Text covered in black" in shown.partition("</svg>")[0]
    assert shown.count('class="audit-pictures"') >= 1, "and cases"
    assert "data:image/jpeg;base64," in shown


def test_a_case_is_a_figure(small_run_made_once: Path, tiny_architecture: str) -> None:
    run = audit.read_run(small_run_made_once)
    name = read_finished(small_run_made_once).table.record_ids[2]
    manifest = small_run_made_once.parent.parent / "data" / "manifest.csv"
    found = run.case(name[:8], data=manifest)
    assert found.case.image == name
    assert found.row == found.case.most_moved()
    assert (set(found.pictures), found.why_not) == ({"clean", "edit", "placebo", "difference", "relevance"}, {})
    assert "agree with the run" in found.checked
    shown = found._repr_html_()
    assert shown.count("data:image/png;base64,") == 6, "relevance lies over the unedited image"
    assert "covid-" not in shown
    montage = Image.open(io.BytesIO(found._repr_png_()))
    assert montage.width > 4 * montage.height
    other = run.case(name, "text-mask-black", data=manifest)
    assert other.row.condition == "text-mask-black"
    lost = run.case(name)
    assert lost.pictures == {}
    assert "manifest of the run is unknown" in lost.why_not["clean"]
    assert "data:image" not in lost._repr_html_()
    assert Image.open(io.BytesIO(lost._repr_png_())).size == montage.size
    with pytest.raises(UsageError, match="Did you mean"):
        run.case(name[:-1] + "zz")
    with pytest.raises(UnknownNameError, match="Did you mean 'text-mask-black'"):
        run.case(name, "text-mask-blak")


def test_a_live_models_case_has_its_heatmap(
    write_cohort: Callable[..., Path], tiny_architecture: str, tmp_path: Path
) -> None:
    manifest = write_cohort(3)
    network = build_network("tiny", 3).eval()
    result = audit.run_audit(
        model=network, data=manifest, classes=CLASSES, input_px=(64,), detector="annotated", suite="quick", resamples=200,
        boxes=manifest.parent / "boxes.json", runs=tmp_path / "runs", cache=tmp_path / "cache", relevance_images=2,
    )  # fmt: skip
    name = read_finished(result.path).table.record_ids[0]
    found = result.case(name)
    assert "relevance" in found.pictures, found.why_not
    assert "agree with the run" in found.checked


def test_wrong_use_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resamples'"):
        audit.run_audit(model="C", resample=5)
    with pytest.raises(UsageError, match="seed"):
        audit.run_audit(model="C", seed=-1)
    with pytest.raises(StoreError):
        audit.read_run(tmp_path)
