"""A multi-label network whose shortcut is known, from the command line: found by the output that follows the word, and by no other."""

from __future__ import annotations

import csv
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.baseline.file import read_baseline
from audit.data.findings import truth_of_label
from audit.data.images import read_gray
from audit.models.opening import open_model
from audit.models.requests import ModelRequest
from audit.prediction.table import read_finished
from audit.reports.reading.folder import read_run
from audit.run.settings import Settings
from audit.store.folder import RunFolder
from audit.store.relevance import RelevanceDocument
from audit.store.results import Effect, EffectsDocument
from audit.viewing.cases import read_case
from audit.viewing.images import image_columns
from audit.viewing.pictures import CasePictures

from .conftest import Audit, draw_image, marker_box, one_paragraph, write_tables
from .report_runs import unfound_references

SIDE = 96
# Pneumonia follows the corner, where the word stands; Mass the middle, where no text is.
MODULE = """
import torch
from torch import nn

FACTS = {"classes": ["Pneumonia", "Mass"], "task": "multi-label", "input_px": 96, "channels": 1, "scale": "unit", "fit": "squash"}


class Net(nn.Module):
    def __init__(self, word):
        super().__init__()
        self.read = nn.Conv2d(1, 2, 96)
        with torch.no_grad():
            self.read.weight.zero_()
            self.read.weight[0, 0, 4:12, 4:18] = 6 * word / (8 * 14)
            self.read.weight[0, 0, 60:80, 20:40] = 6 * (1 - word) / 400
            self.read.weight[1, 0, 40:56, 60:76] = 8 / 256
            self.read.bias.copy_(torch.tensor([-4.2 * word - 2.0 * (1 - word), -3.6]))

    def forward(self, x):
        return self.read(x).flatten(1)


def reads_the_word():
    return Net(1.0), FACTS


def reads_the_image():
    return Net(0.0), FACTS


def answers_probabilities():
    return nn.Sequential(Net(1.0), nn.Sigmoid()), {**FACTS, "answers": "probabilities", "operating_points": 0.5}
"""


def scans(folder: Path, n: int = 60) -> Path:
    """Write images of which those with pneumonia carry one word in one corner, the others another elsewhere; a mass is a bright patch."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, boxes = [], {}
    for i in range(n):
        ill, mass = (bool(v) for v in rng.random(2) < 0.5)
        place = "normal" if ill else "covid"
        scan = draw_image(i, place).astype(np.float64)
        scan[40:56, 60:76] += 60 * mass
        name = f"images/{i}.png"
        Image.fromarray(np.clip(scan, 0, 255).astype(np.uint8)).save(folder / name)
        x0, y0, x1, y1 = marker_box(place)
        boxes[name] = [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "text": "DX" if ill else "SX"}]
        rows.append(
            {
                "path": name,
                "Pneumonia": "" if i % 10 == 0 else int(ill),
                "mass": -1 if i % 7 == 0 else float(mass),
                "patient_id": f"p{i}",
                "source": "north" if i % 2 else "south",
            }
        )
    return write_tables(folder, rows, boxes)


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Write the networks into a module that no other test uses; return its name."""
    name = f"findings_{abs(hash(request.node.nodeid)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def command(manifest: Path, model: str, *further: object) -> list[object]:
    asked: list[object] = ["run", "--model", model, "--data", manifest, "--suite", "quick", "--resamples", 100]
    asked += ["--detector", "annotated", "--boxes", manifest.parent / "boxes.json", "--judge-images", 0]
    return [*asked, "--relevance-images", 0, *further]


def judged_outputs(run: Path) -> dict[tuple[str, str], Effect]:
    effects = RunFolder(run).read(EffectsDocument).effects
    return {(e.condition, str(e.group)): e for e in effects if e.group.kind == "output" and e.tolerance is not None}


def the_run(tmp_path: Path) -> Path:
    (run,) = (tmp_path / "runs").iterdir()
    return run


def test_the_word_is_found_by_its_output_and_by_no_other(audit: Audit, nets: str, tmp_path: Path) -> None:
    code, out, err = audit(
        *command(
            scans(tmp_path / "data"),
            f"{nets}:reads_the_word",
            "--gate",
            "--relevance-images",
            12,
            "--relevance-preset",
            "gradient-x-input",
        )
    )
    assert code == 1, err
    run = the_run(tmp_path)
    assert unfound_references(read_run(run)) == []
    found = judged_outputs(run)
    mine = {name: e.verdict for (name, group), e in found.items() if group == "output=Pneumonia"}
    assert (mine["text-mask-inpaint"], mine["text-mask-median"]) == ("sensitive", "sensitive")
    # Swapped letters stand where the image's own stood: this network reads where they stand, not what they say.
    assert mine["letters-other-class"] != "sensitive"
    assert "sensitive" not in {e.verdict for (_, group), e in found.items() if group == "output=Mass"}
    said = " ".join(out.split())
    assert "The network reads the text for Pneumonia. When the text is " in said
    assert "It lowers this probability by" in said
    assert "percentage points" in said
    assert "shortcut-sensitivity-of-groups: fail" in said
    assert "auc-over-source: pass" in said
    # What the edit truly does: the probability under the edit minus that of the image as it is.
    table = read_finished(run).table
    p = {name: 1 / (1 + np.exp(-values.astype(np.float64))) for name, values in table.logits.items()}
    truth = np.abs(p["text-mask-inpaint"][0, :, 0] - p["clean"][0, :, 0]).mean()
    truth -= np.abs(p["placebo-mask-inpaint"][..., 0] - p["clean"][0, :, 0]).mean(axis=0).mean()
    assert found["text-mask-inpaint", "output=Pneumonia"].estimate == pytest.approx(truth, abs=1e-6)
    # Labels are stored with what is unknown, and read back.
    rows = list(RunFolder(run).read_rows("records.parquet", ["label", "unknown"]))
    stored = [truth_of_label(row["label"], row["unknown"], ("Pneumonia", "Mass")) for row in rows]
    assert table.truth is not None
    assert [tuple(t) for t in table.truth.tolist()] == stored
    assert sum(t[0] == -1 for t in stored if t) == 5, "of 6 unknown one knows neither, and is left out"
    # Each output has heatmaps of its own: of Pneumonia all positive relevance lies where the word stands, of Mass none of it.
    summary = RunFolder(run).read(RelevanceDocument).relevance
    masses = {g.group.value: g.mass.value for g in summary.groups if g.group.kind == "output"}
    assert masses["Mass"] < 0.05 < 0.5 < masses["Pneumonia"]
    page = (run / "report.html").read_text()
    assert "Each output on the unedited images" in page
    assert "Confusion matrix" not in page
    assert "Operating points were set by Youden" in page
    manifest = tmp_path / "data" / "manifest.csv"
    again = ["verify", run, "--recompute", 0.05, "--model", f"{nets}:reads_the_word", "--data", manifest]
    code, out, err = audit(*again, "--boxes", manifest.parent / "boxes.json", "--json")
    assert code == 0, err + out
    assert all(p["n_compared"] and not p["n_different"] for p in json.loads(out)["recomputed"]["parts"])
    # Every image in `audit view`, with the findings that were predicted; and its edits as they were predicted.
    finished = read_finished(run)
    columns = image_columns(finished)
    pictures = CasePictures(
        finished, Settings(model=f"{nets}:reads_the_word", data=str(tmp_path / "data/manifest.csv"))
    )
    for i in range(0, len(columns["names"]), 9):
        case = read_case(run, columns["names"][i])
        clean = case.row("clean")
        assert clean is not None
        assert columns["outcomes"][columns["clean"][i]] == clean.predicted
        under = case.row("text-mask-inpaint")
        assert under is not None and under.change is not None
        largest = max(abs(under.probabilities[c] - clean.probabilities[c]) for c in under.probabilities)
        assert under.change == pytest.approx(largest, abs=1e-6)
        assert pictures.check(case, under) == (True, "Edit and prediction were computed again and agree with the run.")
    # Judged again from the folder alone, with a rule of the user's own for one output.
    rules = (
        '[[gate.rule]]\nid = "mass"\nmeasure = "shortcut_sensitivity"\nmax = 0.2\nwhere = { group = "output=Mass" }\n'
    )
    (tmp_path / "audit.toml").write_text(rules)
    code, out, _ = audit("gate", run)
    assert code == 0, out
    assert "text-mask-inpaint" in out


def test_a_network_that_reads_the_image_is_not_accused(audit: Audit, nets: str, tmp_path: Path) -> None:
    manifest = scans(tmp_path / "data")
    code, out, err = audit(*command(manifest, f"{nets}:reads_the_image", "--gate"))
    assert code != 1, err
    assert "sensitive" not in {e.verdict for e in judged_outputs(the_run(tmp_path)).values()}
    assert "The network reads" not in out


@pytest.mark.slow
def test_probabilities_and_workers_give_the_same(audit: Audit, nets: str, tmp_path: Path) -> None:
    manifest = scans(tmp_path / "data", 17)
    assert audit(*command(manifest, f"{nets}:reads_the_word", "--operating-points", 0.5))[0] == 0
    first = the_run(tmp_path).rename(tmp_path / "first")
    assert audit(*command(manifest, f"{nets}:answers_probabilities", "--workers", 2))[0] == 0
    second = the_run(tmp_path)
    one, two = (read_finished(run).table for run in (first, second))
    assert one.points is not None and np.array_equal(one.points, two.points)  # type: ignore[arg-type]
    for name, values in one.logits.items():
        assert np.allclose(values, two.logits[name], atol=1e-3), name
    notes = json.loads((first / "plan.json").read_text())["data"]
    assert notes["unknown_counts"] == {"Mass": 2, "Pneumonia": 1}
    points = {e.method.rpartition("operating point ")[2] for e in RunFolder(first).read(EffectsDocument).effects
              if e.measure == "specificity" and e.condition == "clean"}  # fmt: skip
    assert points == {"0.5"}


@pytest.mark.parametrize(
    ("further", "says"),
    [
        (("--operating-points", "0.5,0.5,0.5"), "has 2 outputs, but 3 operating points are given"),
        (("--operating-points", "1.5"), "must be a probability between 0 and 1"),
        (("--relevance-start", "Edema"), "The classes are Pneumonia, Mass"),
        (("--classes", "a|b,Mass"), "must not contain |"),
        (("--task", "single-label", "--operating-points", "0.5"), "only multi-label networks have operating points"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    audit: Audit, nets: str, tmp_path: Path, further: tuple[object, ...], says: str
) -> None:
    manifest = scans(tmp_path / "data", 4)
    code, _, err = audit(*command(manifest, f"{nets}:reads_the_word", *further))
    assert code in (2, 4)
    assert says in one_paragraph(err)


def test_a_wrong_task_is_caught_by_the_owners_own_answers(audit: Audit, nets: str, tmp_path: Path) -> None:
    manifest = scans(tmp_path / "data", 6)
    model = f"{nets}:reads_the_word"
    bundle = open_model(ModelRequest(model=model))
    images = sorted((tmp_path / "data" / "images").iterdir())
    z = np.concatenate([bundle.logits(bundle.preprocessing.prepare(read_gray(i))[None]).numpy() for i in images])
    sigmoid, softmax = 1 / (1 + np.exp(-z)), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    def check(values: np.ndarray, *further: object) -> tuple[int, str]:
        lines = [
            "image,Pneumonia,Mass",
            *(f"images/{i.name},{a},{b}" for i, (a, b) in zip(images, values, strict=True)),
        ]
        (tmp_path / "data" / "answers.csv").write_text("\n".join(lines) + "\n")
        code, _, err = audit(*command(manifest, model, "--check", tmp_path / "data" / "answers.csv", *further))
        return code, err

    assert check(sigmoid)[0] == 0
    code, err = check(softmax)
    assert code == 2
    assert "use --task single-label" in one_paragraph(err)
    code, err = check(sigmoid, "--task", "single-label")
    assert code == 2
    assert "use --task multi-label" in one_paragraph(err)


def test_a_multi_label_product_that_is_not_loaded_gets_the_same_verdicts(
    audit: Audit, nets: str, tmp_path: Path
) -> None:
    manifest = scans(tmp_path / "data")
    code, out, err = audit(*command(manifest, f"{nets}:reads_the_word"))
    loaded = judged_outputs(Path(out.splitlines()[-1]).parent)
    asked = [*command(manifest, "product"), "--task", "multi-label", "--classes", "Pneumonia,Mass"]
    assert audit(*asked, "--emit", "product")[0] == 0
    opened = open_model(ModelRequest(model=f"{nets}:reads_the_word"))
    table = tmp_path / "product" / "answers.csv"
    rows = list(csv.reader(table.read_text().splitlines()))
    for row in rows[1:]:
        seen = opened.preprocessing.prepare(read_gray(table.parent / row[0]))
        row[1:] = [f"{p:.8f}" for p in 1 / (1 + np.exp(-opened.logits(seen[None]).numpy()[0].astype(np.float64)))]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    code, out, err = audit(*asked, "--predictions", table)
    assert code == 0, err
    found = judged_outputs(Path(out.splitlines()[-1]).parent)
    assert {key: e.verdict for key, e in found.items()} == {key: e.verdict for key, e in loaded.items()}
    assert all(abs(found[key].estimate - e.estimate) < 1e-5 for key, e in loaded.items())
    for row in rows[1:]:
        row[1:] = ["0.25", "0.75"]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    code, _, err = audit(*asked, "--predictions", table)
    assert code == 2 and "--task single-label" in one_paragraph(err)


def test_a_baseline_holds_each_output_that_a_rule_is_about(audit: Audit, nets: str, tmp_path: Path) -> None:
    manifest = scans(tmp_path / "data")
    rules = "".join(
        f'[[gate.rule]]\nid = "{name}"\nmeasure = "shortcut_sensitivity"\nmax_increase = 0.05\n'
        f'where = {{ condition = "text-mask-inpaint", group = "output={name}" }}\n'
        for name in ("Pneumonia", "Mass")
    )
    (tmp_path / "audit.toml").write_text('[gate]\nbaseline = "audit-baseline.json"\n' + rules)
    runs = {}
    for network in ("reads_the_image", "reads_the_word"):
        code, _, err = audit(*command(manifest, f"{nets}:{network}", "--runs", network))
        (runs[network],) = (tmp_path / network).iterdir()
        if network == "reads_the_image":
            assert code == 0, err
            code, _, err = audit("baseline", "accept", runs[network])
            assert code == 0, err
    held = read_baseline(tmp_path / "audit-baseline.json")
    assert {str(entry.group) for entry in held.entries} == {"output=Pneumonia", "output=Mass"}
    # What is held are the changes of that output alone, minus its placebo's, image by image.
    table = read_finished(runs["reads_the_image"]).table
    p = {name: 1 / (1 + np.exp(-values.astype(np.float64))) for name, values in table.logits.items()}
    for k, name in enumerate(("Pneumonia", "Mass")):
        moved = {
            c: np.abs(p[c] - p["clean"])[..., k].mean(axis=0) for c in ("text-mask-inpaint", "placebo-mask-inpaint")
        }
        (pin,) = (pin for pin in held.values if pin[2] == name)
        expected = dict(
            zip(
                table.record_ids.tolist(),
                (moved["text-mask-inpaint"] - moved["placebo-mask-inpaint"]).tolist(),
                strict=True,
            )
        )
        found = dict(zip(held.values[pin].images.tolist(), held.values[pin].values.tolist(), strict=True))
        assert found == pytest.approx({image: expected[image] for image in found}, abs=1e-6)
    # The second run was judged against it: one output rose, the other did not.
    verdict = json.loads((runs["reads_the_word"] / "verdict.json").read_text())
    assert code == 1
    assert {g["id"].split("-")[0]: g["status"] for g in verdict["gates"]} == {"Pneumonia": "fail", "Mass": "pass"}
    code, _, err = audit("baseline", "accept", runs["reads_the_word"])
    assert code == 2
    assert "would loosen the baseline" in one_paragraph(err)
    assert "(output=Pneumonia) went higher" in one_paragraph(err)
    assert "Mass" not in one_paragraph(err)
