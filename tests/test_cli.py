"""The command line as its users meet it: exit codes, one paragraph for every mistake, JSON, and a fast --help."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from audit.errors import ModelError
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.statistics.catalogue import MEASURES

from .conftest import Audit, one_paragraph


@pytest.fixture
def asked(write_cohort: Callable[..., Path], write_bundle: Callable[..., Path]) -> list[object]:
    """Return the arguments of an audit that works; write_bundle puts the model into models/C."""
    manifest = write_cohort(4)
    write_bundle("C")
    return ["run", "--model", "C", "--data", manifest, "--detector", "annotated", "--boxes",
            manifest.parent / "boxes.json", "--resamples", 200, "--relevance-images", 4]  # fmt: skip


def test_run_prints_the_table_and_the_reports_path_last(audit: Audit, asked: list[object]) -> None:
    code, out, _ = audit(*asked)
    assert code == 0
    assert "shortcut" in out
    assert "NOT GATED" in out
    report = Path(out.splitlines()[-1])
    assert report.is_file()
    assert not report.is_absolute(), "a path that works where the command was given"
    assert (report.parent / "summary.md").is_file()
    assert (report.parent / "junit.xml").is_file()
    code, out, _ = audit("verify", report.parent)
    assert code == 0
    code, out, _ = audit("report", report.parent)
    assert (code, out.strip()) == (0, str(report))


def test_json_is_one_object_and_nothing_else(audit: Audit, asked: list[object]) -> None:
    code, out, err = audit(*asked, "--json", "--gate")
    document = json.loads(out)
    assert document["exit_code"] == code == 3, "twelve images decide nothing"
    assert document["status"] == "inconclusive"
    assert {g["id"] for g in document["gates"]} == {
        "shortcut-sensitivity-text-mask-inpaint",
        "shortcut-sensitivity-text-mask-median",
        "shortcut-sensitivity-letters-other-class",
        "shortcut-sensitivity-letters-added-other-class",
        "shortcut-sensitivity-grey-curve-other-class",
        "shortcut-sensitivity-sharpness-other-class",
        "shortcut-sensitivity-noise-other-class",
        "shortcut-sensitivity-compression-other-class",
        "shortcut-sensitivity-frame-other-class",
        "sufficiency-marker-only",
        "sufficiency-border-only",
        "shortcut-sensitivity-of-groups",
        "accuracy-under-edits",
        "accuracy-over-source",
    }
    assert Path(document["report"]).is_file()
    assert err == ""
    code, out, _ = audit("gate", document["run"], "--json")
    assert code == 3
    assert json.loads(out)["gates"] == document["gates"]


def test_gates_of_a_configuration(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    rule = '[[gate.rule]]\nid = "enough"\nmeasure = "accuracy"\n{} = {}\nwhere = {{ condition = "clean" }}\n'
    Path("audit.toml").write_text(rule.format("min", 0.0))
    code, out, _ = audit(*asked)
    assert code == 0
    run = Path(out.splitlines()[-1]).parent
    assert "PASS" in out
    Path("audit.toml").write_text(rule.format("min", 1.0))
    code, out, _ = audit("gate", run)
    assert code == 1
    assert "fail" in out
    Path("audit.toml").write_text(rule.format("mni", 1.0))
    code, _, err = audit("gate", run)
    assert code == 2
    assert "Did you mean 'min'" in one_paragraph(err)
    code, _, err = audit(*asked, "--runs", tmp_path / "other")
    assert code == 2
    assert not (tmp_path / "other").exists(), "a mistake in the gates is found before anything is computed"


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        (["--model", "c"], 2, "Did you mean 'C'"),
        (["--suite", "standrad"], 2, "Did you mean 'standard'"),
        (["--detector", "anotated"], 2, "Did you mean 'annotated'"),
        (["--data", "nowhere.csv"], 2, "does not exist"),
        (["--split", "tset"], 2, "tset"),
        (["--on-bad-image", "ignore"], 2, "skip"),
        (["--resamples", "5"], 2, "resamples"),
        (["--boxes", "nowhere.json"], 2, "does not exist"),
        (["--ignore-label", "covdi"], 2, "Did you mean 'covid'"),
        (["--relevance-preset", "occlusoin"], 2, "Did you mean 'occlusion'"),
        (["--runs", "/proc/none"], 4, "Cannot write"),
    ],
)
def test_mistakes_are_one_paragraph(
    audit: Audit, asked: list[object], changes: list[str], code: int, says: str
) -> None:
    found, out, err = audit(*asked, *changes)
    assert (found, says in one_paragraph(err)) == (code, True), err
    assert out == ""


def test_typers_own_mistakes_exit_2(audit: Audit) -> None:
    for arguments in (
        ["run", "--modle", "C"],
        ["run"],
        ["run", "--seed", "one"],
        ["nothing"],
        ["demo", "--association", "2"],
    ):
        code, _, err = audit(*arguments)
        assert code == 2, arguments
        assert "Traceback" not in err
    assert audit("list", "model")[0] == 2
    assert "Did you mean 'models'" in audit("list", "model")[2]


def rewrite(manifest: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


BAD_FILES = {
    "zero bytes": b"",
    "truncated": None,
    "text": b"this is not a picture",
    "missing": None,
}


def damage(victim: Path, kind: str) -> None:
    if kind == "missing":
        victim.unlink()
    else:
        whole = victim.read_bytes()
        content = BAD_FILES[kind]
        victim.write_bytes(whole[: len(whole) // 2] if content is None else content)


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_image_stops_the_run(audit: Audit, asked: list[object], kind: str, tmp_path: Path) -> None:
    damage(tmp_path / "data/images/covid-1.png", kind)
    code, _, err = audit(*asked)
    assert code == 4
    assert "covid-1.png" in one_paragraph(err)


def test_bad_images_are_counted_where_they_are_skipped(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    boxes = tmp_path / "data/boxes.json"
    document = json.loads(boxes.read_text())
    for number, kind in enumerate(BAD_FILES):
        name = f"images/{('normal', 'covid')[number % 2]}-{number}.png"
        damage(tmp_path / "data" / name, kind)
        del document["images"][name]
    boxes.write_text(json.dumps(document))
    code, out, _ = audit(*asked, "--on-bad-image", "skip")
    assert code == 0
    assert f"{12 - len(BAD_FILES)} images" in out


def test_unusual_images_are_read(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    for mode, name in zip(
        ("I;16", "RGBA", "P", "1", "L"), ("normal-0", "normal-1", "covid-0", "covid-1", "pneumonia-0"), strict=True
    ):
        victim = tmp_path / f"data/images/{name}.png"
        with Image.open(victim) as whole:
            image = whole.convert("L")
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
        image.save(victim)
        with Image.open(victim) as written:
            assert written.mode == mode
    code, out, _ = audit(*asked)
    assert code == 0
    assert "12 images" in out


def test_labels_and_patients_that_cannot_be(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    manifest = tmp_path / "data/manifest.csv"

    def other(rows: list[dict[str, str]]) -> None:
        rows[0]["label"] = "tuberculosis"
        rows[1]["label"] = ""

    rewrite(manifest, other)
    code, _, err = audit(*asked)
    assert code == 2, "--ignore-label mends it"
    assert "tuberculosis" in one_paragraph(err)
    code, out, _ = audit(*asked, "--ignore-label", "tuberculosis")
    assert code == 0
    assert "10 images" in out

    def split(rows: list[dict[str, str]]) -> None:
        rows[0]["label"] = "normal"
        for i, row in enumerate(rows):
            row["split"] = "train" if i % 2 else "test"

    rewrite(manifest, split)
    code, _, err = audit(*asked)
    assert code == 4
    assert "patient" in one_paragraph(err)


def test_bundles_that_cannot_be_used(audit: Audit, asked: list[object], tmp_path: Path, tiny_architecture: str) -> None:
    network = build_network(tiny_architecture, 3)
    settings = {"architecture": tiny_architecture, "preprocessing": Preprocessing(size_px=(64, 64))}
    rest = {"task": "single-label", "provenance": {}, "metrics": {}, "splits": {}}
    with torch.no_grad():
        next(iter(network.parameters())).fill_(float("nan"))
    given = {"name": "nan", "classes": ("normal", "pneumonia", "covid"), **settings, **rest}
    with pytest.raises(ModelError, match="NaN or infinite"):
        save_bundle(tmp_path / "models/nan", network, **given)
    save_bundle(tmp_path / "models/nan", build_network(tiny_architecture, 3), **given)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    data = safetensors.torch.save(state)
    (tmp_path / "models/nan/weights.safetensors").write_bytes(data)
    record = json.loads((tmp_path / "models/nan/model.json").read_text())
    record["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (tmp_path / "models/nan/model.json").write_text(json.dumps(record))
    code, _, err = audit(*asked, "--model", "nan")
    assert code == 4
    assert "finite" in one_paragraph(err)
    (tmp_path / "models/nan/weights.safetensors").write_bytes(b"\x80\x04pickle")
    code, _, err = audit(*asked, "--model", "nan")
    assert code == 4
    one_paragraph(err)


def test_no_text_at_all_is_inconclusive(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    boxes = tmp_path / "data/boxes.json"
    document = json.loads(boxes.read_text())
    boxes.write_text(json.dumps({**document, "images": {k: [] for k in document["images"]}}))
    code, out, _ = audit(*asked, "--gate")
    assert code == 3
    assert "Nothing can be concluded about the text" in " ".join(out.split())


def test_a_file_where_the_folder_should_be(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for option in ("--runs", "--cache"):
        code, _, err = audit(*asked, option, tmp_path / "taken/folder")
        assert code == 4
        assert "Cannot write" in one_paragraph(err)


def test_damage_is_found_by_verify(audit: Audit, asked: list[object]) -> None:
    run = Path(audit(*asked)[1].splitlines()[-1]).parent
    effects = run / "effects.json"
    effects.write_text(effects.read_text().replace("0", "1", 1))
    code, _, err = audit("verify", run)
    assert code == 4
    assert "effects.json" in one_paragraph(err)
    code, _, err = audit("report", run.parent)
    assert code == 4
    assert "run folder" in one_paragraph(err)


def test_a_run_that_did_not_end_is_not_judged(audit: Audit, asked: list[object]) -> None:
    run = Path(audit(*asked)[1].splitlines()[-1]).parent
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "status": "running"}))
    for command in (["gate", run], ["baseline", "accept", run], ["diff", run, run]):
        code, _, err = audit(*command)
        assert code == 4, command
        assert "is not complete" in one_paragraph(err)


def test_the_page_of_a_comparison_is_not_that_of_a_run(audit: Audit, asked: list[object]) -> None:
    run = Path(audit(*asked)[1].splitlines()[-1]).parent
    code, _, err = audit("report", run, "--out", "page.html")
    assert code == 2
    assert "--compare" in err


def test_a_fault_of_ours_is_not_a_failed_gate(
    audit: Audit, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.run.pipeline.measure_effects", lambda *_, **__: 1 / 0)
    code, _, err = audit(*asked)
    assert code == 4
    assert "ZeroDivisionError" in one_paragraph(err)

    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("audit.run.pipeline.measure_effects", interrupt)
    code, _, err = audit(*asked)
    assert code == 130
    assert "repeat the command to continue" in one_paragraph(err)


def test_list_and_doctor(audit: Audit, asked: list[object]) -> None:
    assert audit("list", "models")[1].split() == ["C"]
    assert "text-mask" in audit("list", "perturbations")[1].split()
    assert {"quick", "standard"} <= set(audit("list", "suites")[1].split())
    assert {"demo", "real-small"} <= set(audit("list", "recipes")[1].split())
    assert audit("list", "detectors")[1].split() == ["annotated", "cascade", "easyocr", "markers", "rapidocr"]
    assert [line.split()[0] for line in audit("list", "measures")[1].splitlines()] == list(MEASURES)
    code, out, _ = audit("doctor")
    assert code in (0, 4)
    assert ("MISSING" in out) == (code == 4)
    for package in ("timm", "transformers", "monai", "torchxrayvision"):
        assert f"ok       optional: {package} " in out, "with its version, or how to install it"


def test_no_bundle_is_said_with_what_to_do(audit: Audit) -> None:
    code, out, err = audit("list", "models")
    assert (code, out) == (0, ""), "standard output holds names alone"
    assert "no bundle in models/" in err and "`audit import FILE" in err and "`audit train C" in err
    assert "`audit import FILE" in audit("doctor")[1]


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys; from audit.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'cv2', 'pandas', 'easyocr', 'zennit'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "train", "demo", "report", "gate", "verify", "list", "doctor"):
        assert command in done.stdout
    assert "Exit codes" in done.stdout


def test_judging_and_reporting_do_not_import_torch() -> None:
    program = (
        "import sys\n"
        "import audit.commands.auditing, audit.commands.baselines, audit.run.judgement, audit.pytest_plugin\n"
        "import audit.reports.comparison.runs, audit.reports.page.html, audit.reports.ci.junit, audit.reports.ci.sarif\n"
        "import audit.reports.terminal\n"
        "heavy = {'torch', 'easyocr', 'zennit', 'scipy.stats', 'statsmodels'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_colour_where_none_is_wanted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audit", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1", "GITHUB_ACTIONS": "true", "FORCE_COLOR": ""},
    )
    assert "\x1b[3" not in done.stdout
    assert "--model" in done.stdout


def test_plan_says_what_a_run_would_do(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    options = ["plan", *asked[1:9], "--suite", "full", "--relevance-images", 2]
    code, out, _ = audit(*options, "--sheet", tmp_path / "sheet.png")
    assert code == 0
    text = " ".join(out.split())
    assert "12 images × 161 predictions = at most 1,932 forward passes" in text
    assert "minutes with 1 process: text (0% cached)" in text
    assert "objects: no search, because a half of the patients has" in text
    assert "not applicable: the cohort has no lung masks" in text
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 220, 3 * 15 * 254), "a block of 113 conditions for each class"
    assert not (tmp_path / "runs").exists(), "nothing is run"
    code, out, err = audit(*options, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["forecast"]["n_passes"] == 1932
    assert document["forecast"]["cached_share"] > 0, "the first call found some text"
    assert document["plan"]["suite"]["name"] == "full"
    code, _, err = audit("plan", "--model", "c")
    assert (code, "Did you mean 'C'" in one_paragraph(err)) == (2, True)
