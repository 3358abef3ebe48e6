"""The training side of the command line: data sets, checkpoints, networks and curves, and their mistakes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from audit.models.bundle import load_bundle

from .conftest import Audit, one_paragraph
from .test_checkpoints import Evil
from .test_cli import rewrite
from .test_datasets import NIH_ROWS, nih

# One epoch of the smallest network: enough for the command line, whose business is not the learning.
RECIPE = """
name = "tiny"
about = "Tests."
expected = "Nothing."
cost = "Seconds."
architecture = "densenet-small"
input_px = 64
test_per_class = 4

[findings]
batch = 8
optimiser = "adamw"
validation_share = 0.25
augmentation = { flip_share = 0.5 }

[[findings.phases]]
name = "all"
trains = "all"
epochs = 1
rate = 1e-3

[classes]
batch = 8
optimiser = "adamw"
validation_share = 0.25
augmentation = { flip_share = 0.5 }

[[classes.phases]]
name = "all"
trains = "all"
epochs = 1
rate = 1e-3
"""


@pytest.fixture
def asked(write_cohort: Callable[..., Path], tmp_path: Path) -> list[object]:
    """Return the arguments of a training that works: network A, which needs no findings."""
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return ["train", "A", "--data", write_cohort(10), "--recipe", tmp_path / "tiny.toml"]


def test_data_build_then_its_mistakes(audit: Audit, tmp_path: Path) -> None:
    root = nih(tmp_path / "nih", NIH_ROWS)
    code, out, _ = audit("data", "build", "chestxray14", "--root", root)
    assert (code, out.splitlines()[-1]) == (0, "chestxray14.csv")
    assert out.startswith("6 images of 5 patients")
    with Path("chestxray14.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    for arguments, wanted, says in (
        (["chestxray", "--root", root], 2, "Did you mean 'chestxray14'"),
        (["chestxray14", "--root", tmp_path / "none"], 4, "does not exist"),
        (["chexpert", "--root", root], 4, "CheXpert"),
        (["chestxray14", "--root", root, "--out", "/proc/none.csv"], 4, "Cannot write"),
        (["covid", "--root", root], 4, "Montgomery"),
    ):
        code, out, err = audit("data", "build", *arguments)
        assert (code, says in one_paragraph(err), out) == (wanted, True, ""), err


def test_import_then_its_mistakes(audit: Audit, tmp_path: Path) -> None:
    network = torchvision.models.densenet121(num_classes=3)
    file, trap = tmp_path / "theirs.pth", tmp_path / "was-here"
    torch.save(network.state_dict(), file)
    code, out, _ = audit("import", file, "--as", "densenet121", "--classes", "normal, pneumonia, covid")
    assert (code, *out.splitlines()[:2], out.splitlines()[-1]) == (
        0,
        "network: classifier.weight",
        "outputs, in order: normal, pneumonia, covid",
        "models/theirs",
    )
    assert "task: single-label" in out
    with torch.no_grad():
        image = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(load_bundle(Path("models/theirs")).network(image), network.eval()(image))
    torch.save(Evil(os.system, f"touch {trap}"), tmp_path / "evil.pth")
    (tmp_path / "cut.pth").write_bytes(file.read_bytes()[:9000])
    for arguments, wanted, says in (
        ([tmp_path / "evil.pth", "--as", "densenet121"], 4, "posix.system"),
        ([tmp_path / "cut.pth", "--as", "densenet121"], 4, "cut.pth"),
        ([tmp_path / "none.pth", "--as", "densenet121"], 2, "none.pth"),
        ([file, "--as", "densenet201", "--classes", "a,b,c", "--task", "single-label"], 2, "--as densenet121"),
        ([file, "--as", "densnet121"], 2, "Did you mean 'densenet121'"),
        ([file, "--as", "densenet121", "--classes", "normal,covid"], 2, "3 outputs"),
        ([file, "--as", "densenet121", "--classes", "a,b,c"], 2, "--task single-label"),
        ([file, "--as", "densenet121", "--classes", "a,b,c", "--task", "multilabel"], 2, "Did you mean 'multi-label'"),
        ([file, "--as", "densenet121", "--classes", "chexnet"], 2, "14"),
        (
            [file, "--as", "densenet121", "--fit", "letterbox", "--check", "a.csv"],
            2,
            "does not take --fit and --check. Use --as torchvision:densenet121",
        ),
        ([file, "--as", "densenet121", "--input-px", "224,192"], 2, "does not take --input-px 224,192"),
    ):
        code, out, err = audit("import", *arguments, "--out", "models/other")
        assert (code, says in one_paragraph(err), out) == (wanted, True, ""), err
    assert not trap.exists()
    assert not Path("models/other").exists()


def test_train_prints_the_bundle_last(audit: Audit, asked: list[object]) -> None:
    code, out, _ = audit(*asked, "--tensorboard", "board")
    assert (code, out.splitlines()[-1]) == (0, "models/A")
    document = json.loads(Path("models/A/model.json").read_text())
    assert document["metrics"]["test"]["n_images"] == 12
    assert Path("models/A/curves.csv").is_file()
    code, out, _ = audit("curves", "A", "--out", "page.html")
    assert (code, out.splitlines()[-1]) == (0, "page.html")
    assert audit("run", "--model", "A", "--data", asked[3], "--detector", "annotated", "--boxes",
                 Path(str(asked[3])).parent / "boxes.json", "--resamples", 200, "--relevance-images", 2)[0] == 0  # fmt: skip


def no_labels(rows: list[dict[str, str]]) -> None:
    for row in rows:
        row["label"] = ""


def one_patient_of_covid(rows: list[dict[str, str]]) -> None:
    for row in rows:
        if row["label"] == "covid":
            row["patient_id"] = "alone"


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        (["--recipe", "dmeo"], 2, "Did you mean 'demo'"),
        (["--recipe", "none.toml"], 2, "none.toml"),
        (["--data", "none.csv"], 2, "does not exist"),
        (["--ignore-label", "covdi"], 2, "covid"),
        (["--backbone-weights", "/etc/hostname"], 4, "/etc/hostname"),
        (["--out", "/proc/none"], 4, "Cannot write"),
    ],
)
def test_mistakes_in_training(audit: Audit, asked: list[object], changes: list[str], code: int, says: str) -> None:
    found, out, err = audit(*asked, *changes)
    assert (found, says in one_paragraph(err), out) == (code, True, ""), err
    assert not Path("models/A/model.json").exists()


def test_networks_that_cannot_be(audit: Audit, asked: list[object]) -> None:
    for network, wanted, says in (
        ("F", 2, "Known: A, B, C, D, E, chexnet"),
        ("D", 4, "audit train chexnet"),
    ):
        code, _, err = audit("train", network, *asked[2:])
        assert (code, says in one_paragraph(err)) == (wanted, True), err


@pytest.mark.parametrize(
    ("change", "says"),
    [(no_labels, "Class 'normal' has 0 labelled images"), (one_patient_of_covid, "of class 'covid' (0 came nearest)")],
)
def test_splits_that_cannot_be_made(
    audit: Audit, asked: list[object], change: Callable[[list[dict[str, str]]], None], says: str
) -> None:
    rewrite(Path(str(asked[3])), change)
    code, _, err = audit(*asked)
    assert code == 4
    assert says in one_paragraph(err)


def test_bad_image_stops_the_training_or_is_counted(audit: Audit, asked: list[object]) -> None:
    victim = Path(str(asked[3])).parent / "images/covid-1.png"
    victim.write_bytes(victim.read_bytes()[:200])
    code, _, err = audit(*asked)
    assert code == 4
    assert "covid-1.png" in one_paragraph(err)
    code, _, err = audit(*asked, "--on-bad-image", "skip")
    assert code == 0, err
    assert "Left out of manifest.csv: 1 unreadable image." in err
    document = json.loads(Path("models/A/model.json").read_text())
    assert document["provenance"]["left_out"] == {"unreadable image": 1}


def test_a_team_of_two_by_torchrun(asked: list[object], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "audit",
         *map(str, asked)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1:] == ["models/A"], "one of the two speaks"
    assert load_bundle(tmp_path / "models/A").classes


def test_networks_of_earlier_epochs_are_kept_and_audited(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.replace("epochs = 1", "epochs = 3"))
    data = asked[3]
    assert isinstance(data, Path)
    boxes = data.parent / "boxes.json"
    told = [*asked, "--suite", "quick", "--detector", "annotated", "--boxes", boxes, "--audit-every"]
    for wrong in ("epoch", "0", "-1", "4"):
        code, _, err = audit(*told[:-1], f"--audit-every={wrong}")
        assert (code, "phase or a number of epochs from 1 to 3" in one_paragraph(err)) == (2, True)
    code, _, err = audit("train", "chexnet", *told[2:], "phase")
    assert (code, "ends with the findings" in one_paragraph(err)) == (2, True)
    code, out, err = audit(*told, 2)
    assert code == 0, err
    folder = Path("models/A")
    # Every second epoch of three is one; the final network is as it would be without.
    assert sorted(path.name for path in (folder / "epochs").iterdir()) == ["0002", "runs"]
    found = json.loads((folder / "sensitivity.json").read_text())
    assert [e["epoch"] for e in found["epochs"]] == [2]
    assert (found["n_images"], found["suite"]) == (12, "quick")
    assert "epoch 2" in out
    kept, final = load_bundle(folder / "epochs" / "0002"), load_bundle(folder)
    assert (kept.splits, kept.classes) == (final.splits, final.classes)
    # Every phase instead: its best network is the final one, for there is one phase.
    code, out, err = audit(*told, "phase")
    assert code == 0, err
    found = json.loads((folder / "sensitivity.json").read_text())
    best = json.loads((folder / "model.json").read_text())["metrics"]["curves"]["phases"][0]["best_epoch"]
    assert [e["epoch"] for e in found["epochs"]] == [best]
    with torch.no_grad():
        image = torch.rand(2, 3, 64, 64)
        kept = load_bundle(folder / "epochs" / f"{best:04d}")
        torch.testing.assert_close(kept.network(image), load_bundle(folder).network(image))
    assert found["epochs"][0]["accuracy"] == pytest.approx(load_bundle(folder).metrics["test"]["accuracy"])
    code, out, err = audit("curves", "A")
    assert code == 0, err
    page = Path("curves.html").read_text()
    assert "sensitivity by epoch" in page
    assert "only one network was audited" in page
    (folder / "sensitivity.json").write_text("{")
    code, out, err = audit("curves", "A")
    assert (code, "sensitivity.json cannot be read" in one_paragraph(err)) == (4, True)
