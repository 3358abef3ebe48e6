"""The committed baseline: it only tightens, says what it holds, and is refused once edited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from audit.models import networks
from audit.models.bundle import save_bundle
from audit.models.preprocessing import Preprocessing

from .conftest import CLASSES, Audit, one_paragraph

RULES = """
[[gate.rule]]
id = "text"
metric = "shortcut_sensitivity"
where = { condition = "text-mask-black" }
max_increase = 0.01
"""
SECOND = RULES.replace('"text"', '"clean"').replace("shortcut_sensitivity", "accuracy")
SECOND = SECOND.replace('"text-mask-black"', '"clean"').replace("max_increase", "max_decrease")


@pytest.fixture
def make_run(audit: Audit, write_cohort: Any, tiny_architecture: str, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that audits a network whose outputs are `strength` times as sure."""
    manifest = write_cohort(5)

    def make(strength: float = 1.0, *, seed: int = 0, suite: str = "quick", classes: tuple[str, ...] = CLASSES) -> Path:
        network = networks.build_network(tiny_architecture, 3)
        network.train()
        with torch.no_grad():
            network(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
            network.classifier.weight.mul_(strength)
            network.classifier.bias.mul_(strength)
        name = f"C{strength:g}"
        if not (tmp_path / "models" / name).exists():
            save_bundle(
                tmp_path / "models" / name,
                network.eval(),
                name=name,
                architecture=tiny_architecture,
                classes=classes,
                task="single-label",
                preprocessing=Preprocessing(size_px=(64, 64)),
                provenance={},
                metrics={},
                splits={},
            )
        asked = ["run", "--model", name, "--data", manifest, "--detector", "annotated", "--seed", seed]
        asked += ["--boxes", tmp_path / "data/boxes.json", "--suite", suite, "--resamples", 200]
        code, out, err = audit(*asked, "--relevance-images", 0, "--judge-images", 0)
        assert code in (0, 1, 3), err
        return Path(out.splitlines()[-1]).parent

    return make


def sensitivity(run: Path) -> np.ndarray:
    """Measure each image anew from the run's own table of probabilities."""
    moved: dict[str, dict[str, list[float]]] = {}
    rows = [
        row for part in sorted((run / "predictions").glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()
    ]
    clean = {row["record_id"]: np.array(row["probabilities"]) for row in rows if row["condition"] == "clean"}
    for row in rows:
        change = 0.5 * np.abs(np.array(row["probabilities"]) - clean[row["record_id"]]).sum()
        moved.setdefault(row["condition"], {}).setdefault(row["record_id"], []).append(float(change))
    edit, placebo = moved["text-mask-black"], moved["placebo-mask-black"]
    return np.array([np.mean(edit[name]) - np.mean(placebo[name]) for name in sorted(clean)])


def test_accepting_tightening_and_loosening(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    mild, strong = make_run(2.0), make_run(40.0)
    assert sensitivity(strong).mean() > sensitivity(mild).mean() + 0.004, "or the test tests nothing"
    (tmp_path / "audit.toml").write_text(RULES)
    code, out, _ = audit("baseline", "accept", strong)
    assert code == 0, out
    document = json.loads((tmp_path / "audit-baseline.json").read_text())
    (entry,) = document["entries"]
    assert entry["estimate"] == pytest.approx(sensitivity(strong).mean(), abs=1e-6)
    kept = pq.read_table(tmp_path / "audit-baseline.parquet").to_pandas()
    assert np.sort(kept["value"]) == pytest.approx(np.sort(sensitivity(strong)), abs=1e-6)
    assert not set(kept["image"]) & {p.name for p in (tmp_path / "data/images").iterdir()}, "pseudonyms, not file names"

    gate = ("gate", mild, "--baseline", "audit-baseline.json", "--json")
    (result,) = json.loads(audit(*gate)[1])["gates"]
    assert result["actual"] == pytest.approx((sensitivity(mild) - sensitivity(strong)).mean(), abs=1e-6)

    assert audit("baseline", "accept", mild)[0] == 0, "tightening needs no reason"
    code, _, err = audit("baseline", "accept", strong)
    assert code == 2
    assert "shortcut_sensitivity under text-mask-black went higher by" in one_paragraph(err)
    code, _, err = audit("baseline", "accept", strong, "--allow-worse")
    assert code == 2
    assert "belong together" in one_paragraph(err)
    code, _, err = audit("baseline", "accept", mild, "--reason", "none needed")
    assert code == 2, "a reason without --allow-worse is a mistake too"
    assert audit("baseline", "accept", strong, "--allow-worse", "--reason", "new scanner")[0] == 0
    code, out, _ = audit("baseline", "show")
    assert code == 0
    assert "new scanner" in out
    history = json.loads(audit("baseline", "show", "--json")[1])["history"]
    assert [(line["action"], bool(line["worse"])) for line in history] == [
        ("accept", False),
        ("accept", False),
        ("accept", True),
    ]


def test_a_baseline_cannot_be_loosened_by_a_detour(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    mild, strong = make_run(2.0), make_run(40.0)
    toml, other_way = tmp_path / "audit.toml", RULES.replace("max_increase", "max_decrease")
    toml.write_text(RULES)
    assert audit("baseline", "accept", mild)[0] == 0
    toml.write_text(other_way)
    code, _, err = audit("baseline", "accept", mild)
    assert code == 2
    assert "no longer guarded against going higher" in one_paragraph(err)
    toml.write_text(RULES + other_way.replace('"text"', '"back"'))
    assert audit("baseline", "accept", mild)[0] == 0, "guarded both ways is tighter"
    code, _, err = audit("baseline", "accept", strong)
    assert code == 2
    assert "went higher" in one_paragraph(err)
    toml.write_text(RULES + SECOND)
    code, _, err = audit("baseline", "accept", mild)
    assert code == 2, "one of two ways less"
    toml.write_text(SECOND)
    assert audit("baseline", "accept", mild, "--file", "other.json")[0] == 0
    toml.write_text(RULES + SECOND)
    assert audit("baseline", "accept", mild, "--file", "other.json")[0] == 0, "more is held than before"
    toml.write_text(SECOND)
    assert audit("baseline", "prune", "--file", "other.json")[0] == 0
    toml.write_text(RULES + SECOND)
    code, _, err = audit("baseline", "accept", strong, "--file", "other.json")
    assert code == 2
    assert "was pruned" in one_paragraph(err)


def test_the_same_run_gives_the_same_bytes_and_the_gate_passes_it_with_other_draws(
    audit: Audit, make_run: Any, tmp_path: Path
) -> None:
    run, again = make_run(1.0), make_run(1.0, seed=1)
    (tmp_path / "audit.toml").write_text(RULES.replace("0.01", "0.5"))
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    for file in (one, two):
        assert audit("baseline", "accept", run, "--file", file)[0] == 0
    assert one.read_bytes() == two.read_bytes()
    assert one.with_suffix(".parquet").read_bytes() == two.with_suffix(".parquet").read_bytes()
    code, out, _ = audit("gate", again, "--baseline", one)
    assert code == 0, out
    by_folder = json.loads(audit("gate", again, "--baseline", run, "--json")[1])["gates"]
    by_file = json.loads(audit("gate", again, "--baseline", one, "--json")[1])["gates"]
    assert by_file == by_folder, "the file holds all that the folder would have said"


def test_pruning_only_removes(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    toml, file = tmp_path / "audit.toml", tmp_path / "audit-baseline.json"
    toml.write_text(RULES + SECOND)
    assert audit("baseline", "accept", run)[0] == 0
    before = json.loads(file.read_text())
    assert {e["condition"] for e in before["entries"]} == {"clean", "text-mask-black"}
    code, out, _ = audit("baseline", "prune")
    assert (code, "nothing to remove" in out) == (0, True)
    toml.write_text(RULES)
    code, _, err = audit("baseline", "accept", run)
    assert code == 2, "holding less is loosening"
    assert "no longer held" in one_paragraph(err)
    code, out, _ = audit("baseline", "prune")
    assert (code, "removed: accuracy under clean" in out) == (0, True)
    after = json.loads(file.read_text())
    assert after["entries"] == [e for e in before["entries"] if e["condition"] != "clean"]
    assert set(pq.read_table(file.with_suffix(".parquet")).to_pandas()["condition"]) == {"text-mask-black"}
    toml.write_text(RULES.replace("text-mask-black", "text-mask-blak"))
    code, _, err = audit("baseline", "accept", run)
    assert code == 2
    assert "'text' matches nothing" in one_paragraph(err)
    toml.unlink()
    code, _, err = audit("baseline", "prune")
    assert code == 2
    assert "would empty the baseline" in one_paragraph(err)


def test_what_is_not_as_it_was_left_is_refused(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    file, table = tmp_path / "audit-baseline.json", tmp_path / "audit-baseline.parquet"
    (tmp_path / "audit.toml").write_text(RULES)
    assert audit("baseline", "accept", run)[0] == 0
    whole, rows = file.read_text(), table.read_bytes()
    document = json.loads(whole)

    def says(text: str | None, what: str, *, images: bytes | None = rows) -> None:
        file.unlink(missing_ok=True)
        table.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        if images is not None:
            table.write_bytes(images)
        code, _, err = audit("gate", run, "--baseline", file)
        assert code == 4, what
        assert what in one_paragraph(err)

    looser = json.dumps({**document, "entries": [{**e, "estimate": 0.9} for e in document["entries"]]})
    says(looser, "edited by hand")
    says(json.dumps({**document, "schema_version": 99}), "schema version 99")
    says(json.dumps({"format": "something"}), "not a baseline")
    says("[]", "not a baseline")
    says("{", "not valid JSON")
    says(None, "cannot be read")
    says(whole, "not the one that", images=rows + b"x")
    says(whole, "cannot be read", images=None)


def test_a_baseline_of_other_images_is_never_a_pass(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    (tmp_path / "audit.toml").write_text(RULES.replace("0.01", "0.9"))
    assert audit("baseline", "accept", run)[0] == 0
    other = next((tmp_path / "data/images").glob("normal-0*"))
    other.write_bytes((tmp_path / "data/images/normal-1.png").read_bytes()[:-12])
    rewritten = (tmp_path / "data/manifest.csv").read_text().replace("images/normal-0.png", "images/normal-2.png", 1)
    lines = list(dict.fromkeys(rewritten.splitlines()))
    (tmp_path / "data/manifest.csv").write_text("\n".join(line for line in lines if "normal-0" not in line) + "\n")
    changed = make_run(1.0, seed=3)
    code, out, _ = audit("gate", changed, "--baseline", "audit-baseline.json")
    assert code == 3, out
    assert "Not comparable" in out


def test_the_default_rules_watch_the_rise_too(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    assert audit("baseline", "accept", run)[0] == 0
    held = json.loads((tmp_path / "audit-baseline.json").read_text())["entries"]
    assert {"shortcut_sensitivity", "accuracy"} <= {e["metric"] for e in held}
    assert next(e for e in held if e["metric"] == "accuracy" and e["condition"] == "clean")["worse"] == "lower"
    asked = [
        "run",
        "--model",
        "C1",
        "--data",
        tmp_path / "data/manifest.csv",
        "--detector",
        "annotated",
        "--suite",
        "quick",
    ]
    asked += ["--boxes", tmp_path / "data/boxes.json", "--resamples", 200, "--relevance-images", 0, "--judge-images", 0]
    code, out, _ = audit(*asked, "--baseline", "audit-baseline.json", "--json")
    names = [g["id"] for g in json.loads(out)["gates"]]
    assert "shortcut-sensitivity-text-mask-black-rise" in names
    written = json.loads((Path(json.loads(out)["run"]) / "run.json").read_text())["baseline"]
    digest = hashlib.sha256((tmp_path / "audit-baseline.json").read_bytes()).hexdigest()
    assert written == {"name": "audit-baseline.json", "sha256": digest}, "which baseline the verdict rests on"
    assert code in (0, 1, 3)
    code, _, err = audit(*asked, "--baseline", "nowhere.json")
    assert code == 4, "before anything is computed"
    assert "nowhere.json" in one_paragraph(err)
    (tmp_path / "audit.toml").write_text(RULES.replace("max_increase", "max"))
    code, _, err = audit("gate", run, "--baseline", "audit-baseline.json")
    assert code == 2
    assert "would not be used" in one_paragraph(err)
