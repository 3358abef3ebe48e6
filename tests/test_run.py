"""The whole line on a tiny cohort: what it finds, what it writes, and that nothing is lost or changed on the way."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from msgspec.structs import replace
from PIL import Image
from rich.console import Console

from audit.data.images import read_gray
from audit.data.manifests import load_cohort
from audit.errors import (
    AuditError,
    CohortError,
    CohortUsageError,
    ModelError,
    StoreError,
    TextUsageError,
    UnknownNameError,
    UsageError,
)
from audit.models.bundle import load_bundle
from audit.prediction import shards
from audit.reports.ci.markdown import render_markdown
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run
from audit.reports.terminal import render_terminal
from audit.run.cohorts import audited_cohort
from audit.run.pipeline import run_audit
from audit.run.preparation import prepare
from audit.run.settings import Settings
from audit.store.folder import verify_run

from .forked_commands import wait_until

RULE = {"id": "r", "measure": "shortcut_sensitivity", "max": 0.1}


LEAN, WHOLE = ({"relevance_images": n, "judge_images": min(n, 2)} for n in (0, 6))
"""Most tests are of neither heatmaps nor EasyOCR's check, which cost as much as the rest."""


def nothing(_: str, __: int) -> Callable[[], None]:
    return lambda: None


@pytest.fixture
def settings(
    write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path
) -> Callable[..., Settings]:
    def make(*, n_per_class: int = 6, text: bool = True, manifest: Path | None = None, **changes: object) -> Settings:
        data = manifest or write_cohort(n_per_class, text=text)
        model = write_bundle() if "model" not in changes else Path(str(changes.pop("model")))
        return Settings(
            **{
                "model": str(model),
                "data": str(data),
                "detector": "annotated",
                "boxes": str(data.parent / "boxes.json"),
                "runs": str(tmp_path / "runs"),
                "cache": str(tmp_path / "cache"),
                "resamples": 500,
                **LEAN,
                **changes,
            }
        )

    return make


def audit(settings: Settings, *, gates: bool = False) -> Path:
    return run_audit(settings, judge_gates=gates, command=["audit", "run"], on_stage=nothing)[0]


def effects(run: Path) -> list[dict]:
    return json.loads((run / "effects.json").read_text())["effects"]


def test_a_run_leaves_everything_behind(settings: Callable[..., Settings]) -> None:
    run = audit(settings(**WHOLE), gates=True)
    for name in (
        "plan.json",
        "regions.parquet",
        "records.parquet",
        "effects.json",
        "relevance.parquet",
        "verdict.json",
        "run.json",
    ):
        assert (run / name).is_file(), name
    assert verify_run(run) == []
    document = json.loads((run / "run.json").read_text())
    assert set(document["timings"]) >= {"finding text", "predicting", "measuring effects", "attributing relevance"}
    assert str(run.parent.parent) not in (run / "plan.json").read_text(), "no path of this machine in a plan"
    examples = json.loads((run / "examples/examples.json").read_text())["examples"]
    assert examples
    names = {r["record_id"] for r in pq.read_table(run / "records.parquet").to_pylist()}
    for example in examples:
        assert example["record"] in names
        for part in ("clean", "edit", "difference", "overlay"):
            assert (run / "examples" / example[part]["file"]).is_file()


def test_predictions_are_what_a_plain_loop_gives(settings: Callable[..., Settings]) -> None:
    chosen = settings(plain_ids=True)
    run = audit(chosen)
    bundle = load_bundle(Path(chosen.model))
    rows = [r for p in sorted((run / "predictions").glob("*")) for r in pq.read_table(p).to_pylist()]
    clean = [r for r in rows if r["condition"] == "clean"]
    assert len(clean) == 18
    for row in clean:
        image = read_gray(Path(chosen.data).parent / row["record_id"])
        logits = bundle.logits(bundle.preprocessing.prepare(image)[None])[0].numpy()
        assert np.allclose(row["logits"], logits, atol=1e-5)
        assert np.allclose(row["probabilities"], torch.softmax(torch.tensor(logits), 0).numpy(), atol=1e-5)
        assert row["predicted"] == bundle.classes[int(logits.argmax())]
    own = {r["record_id"]: r["logits"] for r in rows if r["condition"] == "letters-own"}
    assert all(own[r["record_id"]] == r["logits"] for r in clean), "own crops pasted back change nothing at all"


def test_accuracy_and_sensitivity_by_hand(settings: Callable[..., Settings]) -> None:
    run = audit(settings())
    rows = [r for p in sorted((run / "predictions").glob("*")) for r in pq.read_table(p).to_pylist()]
    by = {(r["record_id"], r["condition"], r["draw"]): r for r in rows}
    ids = sorted({r["record_id"] for r in rows})
    accuracy = np.mean([by[i, "clean", 0]["predicted"] == by[i, "clean", 0]["label"] for i in ids])

    def moved(i: str, condition: str) -> float:
        draws = [r for (j, c, _), r in by.items() if (j, c) == (i, condition)]
        clean = np.array(by[i, "clean", 0]["probabilities"], dtype=float)
        return float(np.mean([0.5 * np.abs(np.array(r["probabilities"], dtype=float) - clean).sum() for r in draws]))

    sensitivity = np.mean([moved(i, "text-mask-inpaint") - moved(i, "placebo-mask-inpaint") for i in ids])
    found = {(e["condition"], e["measure"], e["group"], e["placebo"]): e for e in effects(run)}
    assert found["clean", "accuracy", "all", None]["estimate"] == pytest.approx(accuracy)
    entry = found["text-mask-inpaint", "shortcut_sensitivity", "all", "placebo-mask-inpaint"]
    assert entry["estimate"] == pytest.approx(sensitivity, abs=1e-5)
    assert entry["low"] <= entry["estimate"] <= entry["high"]
    assert entry["n_images"] == 18
    assert entry["n_patients"] == 9


def test_same_plan_same_folder_same_bytes(settings: Callable[..., Settings], tmp_path: Path) -> None:
    chosen = settings(**WHOLE)
    first = audit(chosen)
    before = (first / "effects.json").read_bytes()
    parts = {p: p.stat().st_mtime_ns for p in (first / "predictions").glob("*")}
    assert audit(chosen) == first
    assert {p: p.stat().st_mtime_ns for p in (first / "predictions").glob("*")} == parts, "nothing is computed twice"
    assert (first / "effects.json").read_bytes() == before

    other = audit(replace(chosen, runs=str(tmp_path / "elsewhere")))
    assert (other / "effects.json").read_bytes() == before
    assert audit(replace(chosen, seed=1)) != first


@pytest.mark.slow
def test_kill_and_resume_gives_the_same_bytes(
    settings: Callable[..., Settings], tmp_path: Path, tiny_architecture: str
) -> None:
    """SIGKILL in the middle of predicting; the same command then ends where an unbroken run ends."""

    chosen = settings(n_per_class=16, **WHOLE)
    whole = audit(replace(chosen, runs=str(tmp_path / "whole")))
    real = shards.predict_scene

    def slowly(*a: object) -> object:
        time.sleep(0.05)
        return real(*a)

    def audit_slowly() -> None:
        shards.predict_scene = slowly
        audit(chosen)

    victim = multiprocessing.get_context("fork").Process(target=audit_slowly)
    victim.start()
    wait_until(lambda: victim.exitcode, lambda: bool(list(Path(chosen.runs).glob("*/predictions/*.parquet"))))
    victim.kill()
    victim.join()
    halves = list(Path(chosen.runs).glob("*/predictions/*.parquet"))
    assert 1 <= len(halves) < 3
    resumed = audit(chosen)
    for name in ("effects.json", "relevance.parquet", "regions.parquet", "verdict.json", "examples/examples.json"):
        a, b = (hashlib.sha256((run / name).read_bytes()).hexdigest() for run in (whole, resumed))
        assert a == b, name
    for part in sorted((whole / "predictions").glob("*")):
        assert part.read_bytes() == (resumed / "predictions" / part.name).read_bytes()


def test_no_text_at_all_is_inconclusive_not_a_pass(settings: Callable[..., Settings]) -> None:
    path, verdict = run_audit(settings(text=False), judge_gates=True, command=[], on_stage=nothing)
    assert verdict.status == "inconclusive"
    for entry in effects(path):
        if entry["condition"].startswith(("text-", "letters-")):
            assert entry["estimate"] is None
            assert entry["verdict"] in ("inconclusive", "descriptive")


def test_uses_count_every_image_once(settings: Callable[..., Settings], write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(4)
    boxes = json.loads((manifest.parent / "boxes.json").read_text())
    boxes["images"]["images/covid-0.png"] = []
    (manifest.parent / "boxes.json").write_text(json.dumps(boxes))
    run = audit(settings(manifest=manifest))
    rows = [r for p in sorted((run / "predictions").glob("*")) for r in pq.read_table(p).to_pylist()]
    uses = {u["condition"]: u for u in json.loads((run / "conditions.json").read_text())["conditions"]}
    for name, use in uses.items():
        mine = [r for r in rows if r["condition"] == name]
        missed = {r["record_id"] for r in mine if not r["applied"]}
        assert use["n_images"] == 12 - len(missed), name
        assert sum(use["not_applied"].values()) == len(missed), name
        shares = [r["changed_share"] for r in mine if r["applied"]]
        assert use["changed_share"] == (pytest.approx(np.mean(shares)) if shares else None), name
    assert uses["text-mask-inpaint"]["not_applied"] == {"no text": 1}
    assert uses["clean"]["changed_share"] == 0
    clean = {r["record_id"]: r["logits"] for r in rows if r["condition"] == "clean"}
    assert all(r["logits"] == clean[r["record_id"]] for r in rows if not r["applied"])


def test_what_a_cohort_lacks_is_said_and_not_gated(
    settings: Callable[..., Settings], write_cohort: Callable[..., Path]
) -> None:
    manifest = write_cohort(4)
    manifest.write_text(manifest.read_text().replace(",north,", ",south,"))
    run = audit(settings(manifest=manifest), gates=True)
    plan = json.loads((run / "plan.json").read_text())
    lacks = {c["name"]: c["cohort_lacks"] for c in plan["suite"]["conditions"]}
    assert lacks["look-other-source"] == "class with several sources"
    assert lacks["look-same-source"] == "class with several sources"
    assert not lacks["border-only"]
    judged = json.loads((run / "verdict.json").read_text())
    assert not any("look" in rule["id"] for rule in judged["rules"])
    rule = {
        "rule": [
            {"id": "look", "measure": "shortcut_sensitivity", "max": 0.1, "where": {"condition": "look-other-source"}}
        ]
    }
    _, verdict = run_audit(settings(manifest=manifest, gate=rule), judge_gates=False, command=[], on_stage=nothing)
    assert verdict.status == "inconclusive", (
        "a rule that somebody wrote is never passed by a condition that was not run"
    )


def test_a_class_without_images_is_said(settings: Callable[..., Settings], write_cohort: Callable[..., Path]) -> None:
    run = audit(settings(manifest=write_cohort(4, classes=("normal", "covid"))))
    notes = json.loads((run / "plan.json").read_text())["data"]["notes"]
    assert any("No image of class pneumonia" in note for note in notes)
    assert not [e for e in effects(run) if e["group"] == "class=pneumonia" and e["estimate"] is not None]


def test_split_column_wins_and_training_images_are_left_out(
    settings: Callable[..., Settings], write_cohort: Callable[..., Path]
) -> None:
    run = audit(settings(manifest=write_cohort(6, split=False)))
    assert json.loads((run / "plan.json").read_text())["data"]["split"] == "every labelled record"
    rows = [f"normal-{i}" for i in range(6)]
    assert rows
    manifest = write_cohort(8, split=True)
    run = audit(settings(manifest=manifest))
    data = json.loads((run / "plan.json").read_text())["data"]
    assert data["n_images"] == 12
    assert data["split"].startswith("test, by the manifest")


def test_bundle_remembers_its_data_and_split(
    settings: Callable[..., Settings],
    write_cohort: Callable[..., Path],
    write_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    manifest = write_cohort(4)
    cohort = load_cohort(manifest)
    splits = {r.id: "test" if "-0" in r.id or "-1" in r.id else "train" for r in cohort.records}
    model = write_bundle(
        "own",
        splits=splits,
        provenance={
            "manifest": os.path.relpath(manifest, manifest.parents[1] / "models/own"),
            "cohort_hash": cohort.content_hash,
        },
    )
    chosen = settings(manifest=manifest, model=model)
    # A bundle names its manifest; it may have been made by anybody, so files elsewhere are only opened on demand.
    (manifest.parents[1] / "elsewhere").mkdir()
    monkeypatch.chdir(manifest.parents[1] / "elsewhere")
    with pytest.raises(UsageError, match=r"neither in the bundle's folder nor below the working folder.*--data"):
        audit(replace(chosen, data=""))
    monkeypatch.chdir(manifest.parents[1])
    data = json.loads((audit(replace(chosen, data="")) / "plan.json").read_text())["data"]
    assert data["n_images"] == 6
    assert "recorded in the bundle" in data["split"]
    data = json.loads((audit(replace(chosen, split="all")) / "plan.json").read_text())["data"]
    assert data["n_seen_in_training"] > 0


def test_training_images_are_known_under_any_name(
    settings: Callable[..., Settings],
    write_bundle: Callable[..., Path],
    write_cohort: Callable[..., Path],
    tmp_path: Path,
) -> None:
    manifest = write_cohort(4)
    cohort = load_cohort(manifest)
    names = sorted(cohort.pixels)
    splits = {name: "train" if i < 3 else "validation" if i < 5 else "test" for i, name in enumerate(names)}
    model = write_bundle("seen", splits=splits, pixels=cohort.pixels)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        Image.fromarray(read_gray(manifest.parent / row["path"])).save(renamed / f"{i}.tif")
        row["path"] = f"{i}.tif"
    with (renamed / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    chosen = replace(
        settings(manifest=renamed / "manifest.csv", model=model),
        split="all",
        detector="markers",
        boxes="",
        relevance_images=0,
    )
    assert audited_cohort(load_bundle(model), chosen)[0].n_seen == 5
    folder, verdict = run_audit(chosen, judge_gates=True, command=["audit", "run"], on_stage=lambda *_: lambda: None)
    said = "5 of the 12 audited images were used to train the network"
    assert said in verdict.summary
    for rendering in (render_markdown(folder), render_html(folder)):
        assert said in rendering.read_text()
    out = io.StringIO()
    render_terminal(read_run(folder), Console(file=out, width=200))
    assert said in out.getvalue()
    other = write_bundle("other", splits={f"{i}.tif": "train" for i in range(12)}, pixels={"0.tif": "0" * 32})
    chosen = replace(settings(manifest=renamed / "manifest.csv", model=other), split="all")
    assert audited_cohort(load_bundle(other), chosen)[0].n_seen == 0


def test_a_bundle_that_holds_splits_but_not_of_which_data(
    settings: Callable[..., Settings], write_bundle: Callable[..., Path], write_cohort: Callable[..., Path]
) -> None:
    """Such a bundle was once audited on all images, those it had learnt from among them, without a word."""
    manifest = write_cohort(4)
    cohort = load_cohort(manifest)
    names = sorted(cohort.pixels)
    splits = {name: "train" if i < 3 else "validation" if i < 5 else "test" for i, name in enumerate(names)}
    test = {name for name, split in splits.items() if split == "test"}

    def audited(model: Path, **changes: str) -> tuple[set[str], str, int, str]:
        found, how = audited_cohort(load_bundle(model), replace(settings(manifest=manifest, model=model), **changes))
        return {r.id for r in found.records}, how.words, found.n_seen, " ".join(found.notes)

    by_pixels = write_bundle("pixels", splits=splits, pixels=cohort.pixels)
    assert audited(by_pixels)[:3] == (test, "not used for training, by the pixels recorded in the bundle", 0)
    assert audited(by_pixels, split="train")[0] == set(names[:3])
    by_name = write_bundle("names", splits=splits)
    assert audited(by_name)[:3] == (test, "test, by the names recorded in the bundle", 0)
    assert "by their names only" in audited(by_name)[3]
    assert audited(by_name, split="all")[:3] == (set(names), "every labelled record", 5)
    # An image that the bundle does not know is as good as a test image, if the others are told by pixels, not by names.
    known = dict(list(splits.items())[:-1])
    assert audited(write_bundle("most", splits=known, pixels=cohort.pixels))[0] == test
    for provenance in ({}, {"cohort_hash": "of other data"}):
        doubtful = write_bundle("doubt", splits=known, provenance=provenance)
        for split in ("auto", "test", "train"):
            with pytest.raises(UsageError, match=r"11 of 12 images have names .* --split all"):
                audited(doubtful, split=split)
        ids, _, n_seen, notes = audited(doubtful, split="all")
        assert (ids, n_seen) == (set(names), 5) and "by their names only" in notes
    with pytest.raises(UsageError, match="12 of 12 images have names"):
        audited(write_bundle("changed", splits=splits, provenance={"cohort_hash": "of other data"}))
    elsewhere = write_bundle("elsewhere", splits={f"other-{i}": "train" for i in range(9)})
    assert audited(elsewhere) == (set(names), "every labelled record", 0, audited(write_bundle("none"))[3])
    everything = write_bundle("everything", splits=dict.fromkeys(names, "train"), pixels=cohort.pixels)
    with pytest.raises(CohortError, match="not used for training, by the pixels"):
        audited(everything)


def test_the_task_is_planned_and_decides_who_is_audited(
    settings: Callable[..., Settings], write_bundle: Callable[..., Path], write_cohort: Callable[..., Path]
) -> None:
    manifest = write_cohort(4)
    old = write_bundle("old")
    document = json.loads((old / "model.json").read_text())
    del document["task"]
    (old / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="use --task single-label"):
        prepare(settings(manifest=manifest, model=old), judge_gates=False)
    said = replace(settings(manifest=manifest, model=old), task="single-label")
    plans = [
        prepare(chosen, judge_gates=False).plan
        for chosen in (said, settings(manifest=manifest, model=write_bundle("new")))
    ]
    assert [plan.model.task for plan in plans] == ["single-label"] * 2
    assert plans[0].model.digest == plans[1].model.digest
    many = settings(manifest=manifest, model=write_bundle("many", task="multi-label", classes=("Pneumonia", "Covid")))
    assert prepare(many, judge_gates=False).plan.model.task == "multi-label"


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"suite": "quik"}, UnknownNameError, "Did you mean 'quick'"),
        ({"model": "/nowhere/C"}, UnknownNameError, "No model is called"),
        ({"data": ""}, UsageError, "--data"),
        ({"data": "/nowhere.csv"}, CohortUsageError, "does not exist"),
        ({"detector": "easy"}, UnknownNameError, "Did you mean 'easyocr'"),
        ({"boxes": "/nowhere.json"}, TextUsageError, "does not exist"),
        ({"ignore_label": ("covd",)}, UnknownNameError, "Did you mean 'covid'"),
        ({"split": "test"}, UsageError, "has splits"),
        ({"runs": "/proc/nowhere"}, StoreError, "Cannot write"),
        ({"cache": "/proc/nowhere"}, StoreError, "Cannot write"),
        ({"seed": -1}, UsageError, "from 0 to"),
        ({"seed": 2**63}, UsageError, "from 0 to"),
        ({"level": 1.0}, UsageError, "at least 0.5 and below 1"),
        ({"resamples": 10}, UsageError, "at least 100"),
        ({"workers": 0}, UsageError, "at least 1"),
        ({"tolerance": {"acuracy": 0.1}}, UnknownNameError, "Did you mean 'accuracy'"),
        ({"tolerance": {"accuracy": 1}}, UsageError, "both excluded"),
        ({"recall": {"covd": [1, 2]}}, UnknownNameError, "Did you mean 'covid'"),
        ({"recall": {"all": [3, 2]}}, UsageError, "0 < found <= boxes"),
        ({"relevance_preset": "epsilom"}, UnknownNameError, "Did you mean 'epsilon'"),
        ({"relevance_start": "covid-cat"}, UsageError, "contrast `A-B`"),
        ({"on_bad_image": "drop"}, UsageError, "fail, skip"),
        ({"detector": "annotated", "boxes": ""}, TextUsageError, "use --boxes FILE"),
        (
            {"gate": {"rule": [{"id": "a", "measure": "acuracy", "max": 1}]}},
            UnknownNameError,
            "Did you mean 'accuracy'",
        ),
        (
            {"gate": {"rule": [{**RULE, "where": {"condition": "text-mask-inpiant"}}]}},
            UnknownNameError,
            "text-mask-inpaint",
        ),
        ({"gate": {"rule": [{**RULE, "where": {"group": "class=covd"}}]}}, UnknownNameError, "'class=covid'"),
        (
            {"plain_ids": True, "gate": {"rule": [{**RULE, "where": {"group": "source=norht"}}]}},
            UnknownNameError,
            "'source=north'",
        ),
        ({"columns": {"pth": "path"}}, UnknownNameError, "Did you mean 'path'"),
        ({"columns": {"label": "lable"}}, UnknownNameError, "Did you mean 'label'"),
        ({"columns": {"label": "source", "source": "source"}}, UsageError, "Name each column once"),
        ({"layout": "nihh"}, UnknownNameError, "Did you mean 'nih'"),
        ({"gate": {"rule": [RULE], "min_images": -1}}, UsageError, "whole number from 0"),
    ],
)
def test_wrong_settings_are_refused_before_the_first_image_is_read(
    settings: Callable[..., Settings],
    changes: dict[str, object],
    kind: type[AuditError],
    says: str,
    tmp_path: Path,
) -> None:
    chosen = settings(**changes)
    for image in tmp_path.rglob("*.png"):
        image.write_bytes(b"whoever reads this fails in another way")
    with pytest.raises(kind, match=says) as refused:
        audit(chosen)
    assert refused.value.exit_code == (2 if issubclass(kind, UsageError) else 4)


def test_a_suite_with_bad_parameters_is_refused_before_the_first_image_is_read(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    chosen = settings(suite=str(tmp_path / "s.toml"))
    for image in tmp_path.rglob("*.png"):
        image.write_bytes(b"whoever reads this fails in another way")
    suite = tmp_path / "s.toml"
    suite.write_text(
        '[[condition]]\nname = "m"\nperturbation = "text-mask"\nrole = "stress"\nparameters = {fill = 1}\n'
    )
    with pytest.raises(UsageError, match="Condition m: No fill is called 1"):
        audit(chosen)


def test_a_finished_run_is_judged_again_and_nothing_else(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(**WHOLE)
    run, verdict = run_audit(chosen, judge_gates=False, command=["audit", "run"], on_stage=nothing)
    assert verdict.status == "not gated"
    before = {p: p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}
    for work in (
        "find_text", "predict_all", "measure_effects", "measure_trends", "check_planted", "probe_sources",
        "audit_relevance", "write_examples", "check_finder_on", "measure_cohort", "measure_levels",
    ):  # fmt: skip
        monkeypatch.setattr(f"audit.run.pipeline.{work}", lambda *_, **__: pytest.fail("something was computed again"))
    again, verdict = run_audit(chosen, judge_gates=True, command=["audit", "run", "--gate"], on_stage=nothing)
    assert again == run, "rules are no part of the plan"
    assert verdict.gates
    changed = {p.name for p, was in before.items() if p.read_bytes() != was}
    assert changed == {"verdict.json", "run.json"}
    assert sorted(p for p in run.rglob("*") if p.is_file()) == list(before), "nothing was added"
    assert verify_run(run) == []
    ruled = replace(
        chosen, gate={"rule": [{"id": "r", "measure": "accuracy", "min": 0.0, "where": {"condition": "clean"}}]}
    )
    assert run_audit(ruled, judge_gates=False, command=[], on_stage=nothing)[1].status == "pass"
    kept = json.loads((run / "verdict.json").read_text())
    assert [rule["id"] for rule in kept["rules"]] == ["r"]
    # Killed between the verdict and its hash: judged anew, not refused.
    (run / "verdict.json").write_text("{")
    assert run_audit(ruled, judge_gates=False, command=[], on_stage=nothing)[1].status == "pass"
    assert verify_run(run) == []
    (run / "effects.json").write_text((run / "effects.json").read_text().replace("0.0", "0.1", 1))
    with pytest.raises(StoreError, match=r"effects\.json was changed.*Remove the folder"):
        run_audit(ruled, judge_gates=False, command=[], on_stage=nothing)


def test_bundle_with_other_classes(settings: Callable[..., Settings], write_bundle: Callable[..., Path]) -> None:
    with pytest.raises(CohortError, match="outside the classes"):
        audit(settings(model=write_bundle("two", classes=("normal", "tuberculosis"))))
    with pytest.raises(ModelError, match="5 outputs"):
        audit(settings(model=write_bundle("five", n_outputs=5)))


def test_damaged_images_are_skipped_and_counted(
    settings: Callable[..., Settings], write_cohort: Callable[..., Path]
) -> None:
    manifest = write_cohort(4)
    (manifest.parent / "images/covid-1.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    boxes = json.loads((manifest.parent / "boxes.json").read_text())
    del boxes["images"]["images/covid-1.png"]
    (manifest.parent / "boxes.json").write_text(json.dumps(boxes))
    with pytest.raises(AuditError, match=r"covid-1\.png"):
        audit(settings(manifest=manifest))
    run = audit(settings(manifest=manifest, on_bad_image="skip"))
    assert json.loads((run / "run.json").read_text())["skipped"] == {"unreadable image": 1}
