"""A share of a run computed again from manifest and model: the same where nothing was touched, named where something was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.numpy import load_file, save_file

from audit.cli import main as cli
from audit.data.records import Record
from audit.errors import StoreError, UsageError
from audit.reports.page.html import render_html
from audit.run.pipeline import run_audit
from audit.run.recompute import draw_images, recompute_run
from audit.run.recomputed_values import same, same_map
from audit.run.schemas import schema_of
from audit.run.settings import Settings
from audit.store.folder import RunFolder, verify_run
from audit.store.recomputation import Recomputation
from audit.store.run_record import RunRecord

from .conftest import CLASSES, cohort_in, know_tiny, tiny_bundle_in
from .report_runs import check, edit, seal

Made = tuple[Path, Settings]


def nothing(_: str, __: int) -> Callable[[], None]:
    return lambda: None


def audited(folder: Path, **changes: Any) -> Made:
    """Audit the tiny network on 18 images; return the run and the settings that name its model and manifest."""
    manifest = cohort_in(folder / "data", 6)
    settings = Settings(
        model=str(tiny_bundle_in(folder / "models")),
        data=str(manifest),
        detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
        runs=str(folder / "runs"),
        cache=str(folder / "cache"),
        suite="quick",
        resamples=200,
        judge_images=0,
        relevance_images=10,
        **changes,
    )
    return run_audit(settings, judge_gates=False, command=["audit", "run"], on_stage=nothing)[0], settings


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        know_tiny(patch)
        return audited(tmp_path_factory.mktemp("recompute"))


@pytest.fixture
def made(made_once: Made, tmp_path: Path, tiny_architecture: str) -> Made:
    """Return a copy of the run, to be edited."""
    return shutil.copytree(made_once[0], tmp_path / "runs" / made_once[0].name), made_once[1]


def again(made: Made, share: float = 1.0, seed: int = 0, **changes: Any) -> Recomputation:
    return recompute_run(made[0], replace(made[1], **changes), share=share, seed=seed, on_stage=nothing)


def edit_table(
    path: Path, change: Callable[[dict[str, Any]], None], where: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Change the first row of a table that fits; return it."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    row = next(r for r in rows if where(r))
    change(row)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return row


def test_an_untouched_run_comes_out_again_to_the_bit(made: Made) -> None:
    found = again(made)
    assert (found.n_differences, found.exact, found.why_not_exact) == (0, True, ())
    parts = {p.part: p for p in found.parts}
    rows = [r for p in sorted((made[0] / "predictions").glob("*")) for r in pq.read_table(p).to_pylist()]
    assert parts["predictions"].n_compared == parts["predictions"].n_stored == len(rows)
    assert parts["edits"].n_compared == sum(r["condition"] != "clean" for r in rows)
    assert (parts["relevance maps"].n_compared, parts["relevance maps"].n_stored) == (10, 10)
    assert parts["text regions"].n_compared == found.n_images == 18
    assert RunFolder(made[0]).read(Recomputation) == found
    check(json.loads((made[0] / Recomputation.FILE).read_text()), schema_of(Recomputation), Recomputation.FILE)
    assert verify_run(made[0]) == [], "the result is no change of the run"


def test_the_seed_decides_the_share_and_is_recorded(made: Made) -> None:
    first, second, other = (again(made, 0.2, seed) for seed in (1, 1, 2))
    assert first.images == second.images != other.images
    assert len(first.images) == 4
    assert (first.seed, other.seed) == (1, 2)
    assert first.n_differences == 0


def test_an_edited_prediction_is_named(made: Made) -> None:
    part = sorted((made[0] / "predictions").glob("*"))[0]

    def change(row: dict[str, Any]) -> None:
        row["logits"] = [float(np.nextafter(np.float32(row["logits"][0]), np.float32(9))), *row["logits"][1:]]

    row = edit_table(part, change, lambda r: r["condition"] == "text-mask-inpaint")
    seal(made[0])
    found = again(made)
    (only,) = found.differences
    assert (only.part, only.image, only.condition, only.draw, only.field) == (
        "predictions",
        row["record_id"],
        "text-mask-inpaint",
        row["draw"],
        "logits",
    )
    assert only.stored != only.found


@pytest.mark.parametrize(("field", "value"), [("changed_share", 0.5), ("why_not", "no text"), ("applied", False)])
def test_an_edited_edit_is_named(made: Made, field: str, value: object) -> None:
    part = sorted((made[0] / "predictions").glob("*"))[0]
    row = edit_table(
        part, lambda r: r.update({field: value}), lambda r: r["condition"] == "text-mask-inpaint" and r["applied"]
    )
    seal(made[0])
    found = again(made)
    assert [(d.part, d.image, d.condition, d.field) for d in found.differences] == [
        ("edits", row["record_id"], "text-mask-inpaint", field)
    ]
    assert {p.part: p.n_different for p in found.parts}["edits"] == 1


def test_edited_relevance_is_named(made: Made) -> None:
    row = edit_table(made[0] / "relevance.parquet", lambda r: r.update(start=r["start"] + 1e-3), lambda r: True)
    maps = made[0] / "relevance/maps-00001.safetensors"
    tensors = load_file(maps)
    tensors["maps"] = tensors["maps"].copy()
    tensors["maps"][0, 0, 3, 3] += np.float16(0.25)
    save_file(tensors, maps)
    seal(made[0])
    found = again(made)
    assert {(d.part, d.field) for d in found.differences} == {
        ("relevance maps", "start"),
        ("relevance maps", "map (outputs)"),
    }
    assert row["record_id"] in {d.image for d in found.differences}


def test_a_region_that_the_finder_does_not_find_is_named(made: Made) -> None:
    """Its edits and maps differ, too: they were made with the right one."""
    row = edit_table(made[0] / "regions.parquet", lambda r: r.update(x1=r["x1"] - 3), lambda r: True)
    seal(made[0])
    found = again(made)
    told = {d.part for d in found.differences if d.image == row["record_id"]}
    assert "text regions" in told
    assert "edits" in told


def test_elsewhere_small_differences_pass_and_large_ones_do_not(made: Made) -> None:
    folder = RunFolder(made[0])
    record = folder.read(RunRecord)
    part = sorted((made[0] / "predictions").glob("*"))[0]

    def moved(by: float) -> Callable[[dict[str, Any]], None]:
        return lambda row: row.update(probabilities=[row["probabilities"][0] + by, *row["probabilities"][1:]])

    here = lambda r: r["condition"] == "clean"  # noqa: E731
    edit_table(part, moved(5e-5), here)
    folder.write(replace(record, packages={**record.packages, "torch": "1.0"}))
    seal(made[0])
    found = again(made)
    assert (found.exact, found.n_differences, found.tolerance) == (False, 0, 1e-4)
    assert any("torch" in why for why in found.why_not_exact)
    row = edit_table(part, moved(5e-4), here)
    seal(made[0])
    assert [(d.image, d.field) for d in again(made).differences] == [(row["record_id"], "probabilities")]


def test_another_model_other_data_or_another_key_cannot_be_compared(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_bundle_in(tmp_path / "other", name="C", classes=(*CLASSES[1:], CLASSES[0]))
    with pytest.raises(StoreError, match="another model"):
        again(made, model=str(other))
    with pytest.raises(StoreError, match="other data"):
        again(made, data=str(cohort_in(tmp_path / "fewer", 5)))
    monkeypatch.setenv("AUDIT_KEY", "another key of enough bytes")
    with pytest.raises(StoreError, match="the key in use is"):
        again(made)


def test_a_model_is_found_by_its_name_beside_the_runs_and_is_the_runs_own(made: Made, tmp_path: Path) -> None:
    other = tiny_bundle_in(tmp_path / "elsewhere", name="C", classes=(*CLASSES[1:], CLASSES[0]))
    with pytest.raises(StoreError, match="another model"):
        again(made, model="", models=str(other.parent))
    shutil.copytree(made[1].model, tmp_path / "models" / "C")
    for models in (tmp_path / "none", other.parent):
        assert again(made, 0.1, model="", models=str(models)).n_differences == 0


def test_the_name_in_a_plan_leads_to_no_code(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_somebody.py").write_text("raise SystemExit('code of the run was started')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(made[0] / "plan.json", lambda plan: plan["model"].update(name="of_somebody:make"))
    seal(made[0])
    with pytest.raises(StoreError, match="Use --model"):
        again(made, model="", trust=True, classes=tuple(CLASSES))


def test_an_edit_of_another_version_cannot_be_compared(made: Made) -> None:
    plan = json.loads((made[0] / "plan.json").read_text())
    next(c for c in plan["suite"]["conditions"] if c["name"] == "text-mask-inpaint")["perturbation_version"] += 1
    (made[0] / "plan.json").write_text(json.dumps(plan))
    seal(made[0])
    with pytest.raises(StoreError, match="was made by version"):
        again(made)


def test_a_changed_run_and_a_wrong_share_are_refused(made: Made) -> None:
    for share in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="--recompute"):
            again(made, share)
    (made[0] / "effects.json").write_text("{}")
    with pytest.raises(StoreError, match="was changed"):
        again(made)


def test_without_the_finder_everything_else_is_compared(made: Made) -> None:
    found = again(made, boxes="")
    parts = {p.part: p for p in found.parts}
    assert "boxes" in parts["text regions"].why_not
    assert found.n_differences == 0
    assert parts["predictions"].n_compared > 0


def command(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["audit", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_and_the_report(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, settings = made
    asked = ["verify", run, "--recompute", "0.1", "--seed", 3, "--model", settings.model, "--data", settings.data]
    asked += ["--boxes", settings.boxes, "--cache", settings.cache]
    assert command(*asked, monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert "2 images of 18 computed again (seed 3), compared bit by bit" in out
    page = (run / "report.html").read_text()
    assert "computed again" in page
    assert RunFolder(run).read(Recomputation).finished[:10] in page
    part = sorted((run / "predictions").glob("*"))[0]
    edit_table(part, lambda r: r.update(changed_share=0.5), lambda r: r["condition"] == "text-mask-inpaint")
    seal(run)
    render_html(run)
    assert "was computed before" in (run / "report.html").read_text(), "an earlier result does not speak of other files"
    assert command(*[1.0 if a == "0.1" else a for a in asked], "--json", monkeypatch=monkeypatch) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 1
    assert told["recomputed"]["n_differences"] == 1
    assert "1 value differs from what the run stored" in (run / "report.html").read_text()
    assert command(*[a if a != settings.data else "nowhere.csv" for a in asked], monkeypatch=monkeypatch) == 4
    assert command("verify", run, "--seed", 3, monkeypatch=monkeypatch) == 2
    assert command("verify", run, monkeypatch=monkeypatch) == 0


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_numbers_are_the_same_by_the_bit_or_by_the_limit(a: float, b: float) -> None:
    assert same(a, b, exact=True) == (a == b)
    assert same(a, b, exact=False) == (abs(a - b) <= 1e-4 * max(1.0, abs(a)))
    assert same([a, None, "x"], [a, None, "x"], exact=True)
    assert not same([a], [a, b], exact=False)
    assert not same(True, 1, exact=True)


@given(st.integers(1, 60), st.floats(0.001, 1.0), st.integers(0, 9))
def test_the_drawn_share_is_rounded_up_and_in_order(n: int, share: float, seed: int) -> None:
    records = [Record(id=f"{i:03}", path=Path(f"{i}.png"), label="a", patient="p") for i in range(n)]
    drawn = [r.id for r in draw_images(records, share, seed)]
    assert drawn == sorted(set(drawn))
    assert max(1, share * n - 1e-6) <= len(drawn) < share * n + 1


@given(st.integers(0, 2**32 - 1), st.floats(0, 3e-3))
def test_maps_elsewhere_may_differ_by_the_limit_of_their_largest_value(seed: int, by: float) -> None:
    stored = np.random.default_rng(seed).normal(size=(2, 5, 5)).astype(np.float32)
    found = stored + np.float32(by * np.abs(stored).max())
    assert same_map(stored, stored, exact=True)
    assert same_map(stored, found, exact=True) == bool((stored == found).all())
    if by < 0.9e-4:
        assert same_map(stored, found, exact=False)
    if by > 2.5e-3:
        assert not same_map(stored, found, exact=False)


def test_a_sample_is_drawn_again(tmp_path: Path, tiny_architecture: str) -> None:
    run, settings = audited(tmp_path, max_images=7)
    found = recompute_run(run, replace(settings, max_images=0), share=1.0, seed=0, on_stage=nothing)
    assert found.n_images == 7 and found.n_differences == 0
