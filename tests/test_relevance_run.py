"""Relevance in a whole run: what it leaves, that it resumes, and what the report says when it is not LRP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from msgspec.structs import replace

from audit.data.images import read_gray
from audit.data.records import Record, TextRegion
from audit.errors import UnknownNameError, UsageError
from audit.models.bundle import load_bundle
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.prediction.experiment import Experiment
from audit.prediction.variants import cohort_context
from audit.relevance.heatmaps import read_heatmaps
from audit.relevance.lrp import Attributor
from audit.relevance.presets import about_method
from audit.relevance.randomisation import randomise_weights
from audit.relevance.start import start_each
from audit.reports.page.html import render_html
from audit.run.pipeline import run_audit
from audit.run.settings import Settings
from audit.store.folder import RunFolder, verify_run
from audit.suites.reader import load_suite


@pytest.fixture
def make(
    write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path
) -> Callable[..., Settings]:
    def build(n_per_class: int = 6, **changes: object) -> Settings:
        data = write_cohort(n_per_class)
        return Settings(
            **{
                "model": str(write_bundle()), "data": str(data), "detector": "annotated", "suite": "quick",
                "boxes": str(data.parent / "boxes.json"), "runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
                "resamples": 200, **changes,
            }
        )  # fmt: skip

    return build


def audit(settings: Settings) -> Path:
    return run_audit(settings, judge_gates=False, command=[], on_stage=lambda *_: lambda: None)[0]


def summary(run: Path) -> dict:
    return json.loads((run / "relevance.json").read_text())["relevance"]


def test_every_row_and_map_is_what_the_network_says(make: Callable[..., Settings]) -> None:
    settings = replace(make(), plain_ids=True, show_text=True)
    run = audit(settings)
    bundle = load_bundle(Path(settings.model))
    rows = pq.read_table(run / "relevance.parquet").to_pylist()
    assert len(rows) == 18
    manifest = Path(settings.data).parent
    maps = list(read_heatmaps(sorted((run / "relevance").glob("maps-*.safetensors"))))
    assert len(maps) == 18
    boxes = json.loads((manifest / "boxes.json").read_text())["images"]
    assert {r["record_id"] for r in rows} == set(boxes)
    for row, kept in list(zip(rows, maps, strict=True))[:4]:
        image = read_gray(manifest / row["record_id"])
        found = Attributor(bundle.network).attribute(bundle.preprocessing.prepare(image)[None], start_each)
        winner = int(found.logits[0].argmax())
        own = found.maps[0, winner]
        assert np.allclose(kept.outputs, found.maps[0], atol=2e-3 * np.abs(found.maps[0]).max())
        assert np.allclose(kept.chosen, own, atol=1e-3 * np.abs(own).max())
        assert row["target_class"] == bundle.classes[winner]
        assert row["start"] == pytest.approx(found.logits[0, winner], rel=1e-5)
        inside = np.zeros(own.shape, bool)
        for x0, y0, x1, y1 in row["map_boxes"]:
            inside[y0:y1, x0:x1] = True
        positive = np.clip(own.astype(float), 0, None)
        assert row["mass_in_text"] == pytest.approx(positive[inside].sum() / positive.sum(), rel=1e-5)
        assert row["signed_share"] == pytest.approx(own[inside].sum() / row["start"], rel=1e-4)
        total = row["at_pixels"] + row["kept_bias"] + row["kept_shift"] + row["kept_stabiliser"]
        assert total == pytest.approx(1.0, abs=1e-4)
        assert row["placebo_p"] == max(row["relocation_p"], row["same_place_p"])
    verify_run(run)


def test_what_was_computed_is_not_computed_again(
    make: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make()
    whole = audit(settings)
    kept = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file() and p.parent.name in ("relevance", "clusters")}
    summed, table = (whole / "relevance.json").read_bytes(), (whole / "relevance.parquet").read_bytes()
    for name in ("relevance.json", "relevance.parquet", "relevance/part-00002.parquet", "run.json"):
        (whole / name).unlink()
    calls = []
    real = Attributor.attribute

    def counted(self: Attributor, inputs: torch.Tensor, start: object) -> object:
        calls.append(len(inputs))
        return real(self, inputs, start)

    monkeypatch.setattr(Attributor, "attribute", counted)
    assert audit(settings) == whole
    # The first shard, which names the method, and the missing one, each with and without text; then four shuffles.
    assert sum(calls) == 2 * (4 + 4) + 4 * 4
    assert {p: p.read_bytes() for p in kept} == kept
    assert (whole / "relevance.json").read_bytes() == summed
    assert (whole / "relevance.parquet").read_bytes() == table


@pytest.mark.parametrize("start", ["covid", "covid-normal"])
def test_relevance_starts_where_it_is_told_to(make: Callable[..., Settings], start: str) -> None:
    run = audit(make(2, relevance_start=start, relevance_preset="preset-a-flat"))
    rows = pq.read_table(run / "relevance.parquet").to_pylist()
    assert {r["target_class"] for r in rows} == {start}
    assert {r["preset"] for r in rows} == {"preset-a-flat"}
    assert (summary(run)["start"], summary(run)["preset"]) == (start, "preset-a-flat")
    text = render_html(run).read_text()
    told = {
        "covid": "the output of class covid",
        "covid-normal": "the output of class covid minus that of class normal",
    }
    assert f"starting from {told[start]}" in " ".join(text.split())


def test_wrong_settings_are_refused_before_anything_runs(make: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="epsilon-plus-flat"):
        audit(make(2, relevance_preset="epsilon-plus"))
    with pytest.raises(UsageError, match="The classes are"):
        audit(make(2, relevance_start="tuberculosis"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("preset", ["occlusion", "gradient-x-input"])
def test_other_methods_are_named_as_such(make: Callable[..., Settings], preset: str) -> None:
    run = audit(make(2, relevance_preset=preset))
    found = summary(run)
    assert (found["preset"], found["method"], found["note"]) == (preset, preset.replace("-x-", " x "), "")
    assert {r["conservation_gap"] for r in pq.read_table(run / "relevance.parquet").to_pylist()} == {None}
    text = " ".join(render_html(run).read_text().split())
    assert f"The heatmaps were made by {about_method(preset)}, starting from the output of the predicted class." in text
    assert "layer-wise relevance propagation" not in text
    assert "every layer's relevance is accounted for" not in text.replace("&#39;", "'")


def test_a_network_without_rules_falls_back_and_the_report_says_so(
    make: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    import audit.relevance.lrp as lrp
    from audit.errors import RelevanceError

    def refuse(*_: object) -> object:
        raise RelevanceError("LRP has no rule for the step 'softmax' of this network.")

    monkeypatch.setattr(lrp, "by_layers", refuse)
    run = audit(make(2))
    assert summary(run)["preset"] == "gradient-x-input"
    text = render_html(run).read_text().replace("&#39;", "'")
    assert "no rule for the step 'softmax'" in text
    assert "Gradient times input is used instead" in text


def test_shuffled_weights_change_the_map(make: Callable[..., Settings]) -> None:
    settings = make(2)
    bundle = load_bundle(Path(settings.model))
    images = sorted((Path(settings.data).parent / "images").iterdir())[:3]
    records = [Record(id=p.stem, path=p, label="covid", patient=p.stem, source="here") for p in images]
    experiment = Experiment(
        run=RunFolder(Path("nowhere")),
        bundle=bundle,
        suite=load_suite("quick"),
        records=records,
        context=cohort_context(records, {r.id: () for r in records}, 0),
        seed=0,
    )
    before = {name: value.clone() for name, value in bundle.network.state_dict().items()}
    found = randomise_weights(experiment, records, preset="epsilon-plus-flat")
    assert [r.layers for r in found] == ["the output layer", "the upper half of the layers", "all layers"]
    assert all(-1 <= r.ssim < 0.999 for r in found)
    assert all(torch.equal(before[name], value) for name, value in bundle.network.state_dict().items())
    assert randomise_weights(experiment, records, preset="epsilon-plus-flat") == found
    assert randomise_weights(experiment, [], preset="epsilon-plus-flat") == ()


def test_hostile_text_is_escaped_where_relevance_names_it(make: Callable[..., Settings]) -> None:
    settings = make(8)
    boxes = Path(settings.boxes)
    document = json.loads(boxes.read_text())
    for regions in document["images"].values():
        for region in regions:
            region["text"] = "<script>alert(x)</script>"
    boxes.write_text(json.dumps(document))
    text = render_html(audit(settings)).read_text()
    assert "<SCRIPT>ALERT" not in text
    assert "&lt;SCRIPT&gt;ALERT(X)" in text
    assert TextRegion(x0=0, y0=0, x1=1, y1=1).text == ""


@pytest.mark.parametrize(("architecture", "method"), [("resnet18", "LRP by zennit"), ("swin_t", "gradient x input")])
def test_other_networks_are_audited_too(
    make: Callable[..., Settings], tmp_path: Path, architecture: str, method: str
) -> None:
    torch.manual_seed(0)
    model = save_bundle(
        tmp_path / "other", build_network(architecture, 3).eval(), name="other", architecture=architecture,
        classes=("normal", "pneumonia", "covid"), task="single-label", preprocessing=Preprocessing(size_px=(64, 64)), provenance={},
        metrics={}, splits={},
    )  # fmt: skip
    run = audit(make(2, model=str(model), relevance_images=2))
    assert summary(run)["method"].startswith(method)
    assert bool(summary(run)["note"]) == (architecture == "swin_t")
    assert "Relevance" in render_html(run).read_text()
