"""The committed baseline: it only tightens, says what it holds, and is refused once edited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision

from audit.models import networks
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle

from .conftest import CLASSES, Audit, one_paragraph

RULES = """
[[gate.rule]]
id = "text"
measure = "shortcut_sensitivity"
where = { condition = "text-mask-inpaint" }
max_increase = 0.01
"""
SECOND = RULES.replace('"text"', '"clean"').replace("shortcut_sensitivity", "accuracy")
SECOND = SECOND.replace('"text-mask-inpaint"', '"clean"').replace("max_increase", "max_decrease")


class MarkerReader(torchvision.models.DenseNet):
    """A tiny network that adds to its outputs what stands where the markers of the three classes stand."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=n_classes)
        self.pull = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = ((3, 8, 3, 12), (3, 8, 51, 60), (55, 60, 3, 12))
        seen = torch.stack([x[:, 0, y0:y1, x0:x1].mean(dim=(1, 2)) for y0, y1, x0, x1 in places], dim=1)
        return super().forward(x) + self.pull * seen


@pytest.fixture
def make_run(audit: Audit, write_cohort: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that audits a network which relies on the markers, by `strength`."""
    manifest = write_cohort(5)
    architecture = "marker-reader"

    def build(n_classes: int) -> torch.nn.Module:
        torch.manual_seed(0)
        return MarkerReader(n_classes)

    monkeypatch.setattr(networks, "ARCHITECTURES", {**networks.ARCHITECTURES, architecture: build})

    def make(strength: float = 1.0, *, seed: int = 0, suite: str = "quick", classes: tuple[str, ...] = CLASSES) -> Path:
        network = networks.build_network(architecture, 3)
        network.train()
        with torch.no_grad():
            network(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
            network.pull.fill_(strength / 10)
        name = f"C{strength:g}"
        if not (tmp_path / "models" / name).exists():
            save_bundle(
                tmp_path / "models" / name,
                network.eval(),
                name=name,
                architecture=architecture,
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
        assert code in (0, 1, 3, 5), err
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
    edit, placebo = moved["text-mask-inpaint"], moved["placebo-mask-inpaint"]
    return np.array([np.mean(edit[name]) - np.mean(placebo[name]) for name in sorted(clean)])


def test_accepting_tightening_and_loosening(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    mild, strong = make_run(2.0), make_run(40.0)
    assert sensitivity(strong).mean() > sensitivity(mild).mean() + 0.3, "or the test tests nothing"
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
    assert "shortcut_sensitivity under text-mask-inpaint went higher by" in one_paragraph(err)
    code, _, err = audit("baseline", "accept", strong, "--allow-worse")
    assert code == 2
    assert "needs a reason" in one_paragraph(err)
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
    assert "no longer has a rule against going higher" in one_paragraph(err)
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
    assert {e["condition"] for e in before["entries"]} == {"clean", "text-mask-inpaint"}
    code, out, _ = audit("baseline", "prune")
    assert (code, "nothing to remove" in out) == (0, True)
    toml.write_text(RULES)
    code, _, err = audit("baseline", "accept", run)
    assert code == 2, "holding less is loosening"
    assert "is missing from the run" in one_paragraph(err)
    code, out, _ = audit("baseline", "prune")
    assert (code, "removed: accuracy under clean" in out) == (0, True)
    after = json.loads(file.read_text())
    assert after["entries"] == [e for e in before["entries"] if e["condition"] != "clean"]
    assert set(pq.read_table(file.with_suffix(".parquet")).to_pandas()["condition"]) == {"text-mask-inpaint"}
    toml.write_text(RULES.replace("text-mask-inpaint", "text-mask-inpiant"))
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
        assert code == (2 if text is None else 4), what
        assert what in one_paragraph(err)

    looser = json.dumps({**document, "entries": [{**e, "estimate": 0.9} for e in document["entries"]]})
    says(looser, "edited by hand")
    says(json.dumps({**document, "schema_version": 99}), "schema version 99")
    says(json.dumps({**document, "schema_version": "x" * 5000}), "xxx…, but this version")
    says(json.dumps({"format": "something"}), "not a baseline")
    says("[]", "not a baseline")
    says("{", "not valid JSON")
    says(None, "does not exist")
    says(whole, "not the one that", images=rows + b"x")
    says(whole, "cannot be read", images=None)


def test_a_baseline_of_other_images_is_never_a_pass(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    (tmp_path / "audit.toml").write_text(RULES.replace("0.01", "0.9"))
    assert audit("baseline", "accept", run)[0] == 0
    rewritten = (tmp_path / "data/manifest.csv").read_text().replace("images/normal-0.png", "images/normal-2.png", 1)
    lines = list(dict.fromkeys(rewritten.splitlines()))
    (tmp_path / "data/manifest.csv").write_text("\n".join(line for line in lines if "normal-0" not in line) + "\n")
    changed = make_run(1.0, seed=3)
    code, out, _ = audit("gate", changed, "--baseline", "audit-baseline.json")
    assert code == 5, out
    assert "Not comparable" in out
    assert out.splitlines()[-1].startswith("NOT COMPARABLE. 1 of 1 could not be compared")
    assert (
        json.loads(audit("gate", changed, "--baseline", "audit-baseline.json", "--json")[1])["status"]
        == "not comparable"
    )
    (tmp_path / "audit.toml").write_text('[gate]\ninconclusive = "pass"\n' + RULES.replace("0.01", "0.9"))
    assert audit("gate", changed, "--baseline", "audit-baseline.json")[0] == 5, "no policy lets it through"
    code, out, _ = audit("diff", changed, run)
    assert code == 5
    assert "the baseline used other data" in out
    code, out, _ = audit("diff", changed, run, "--json")
    assert (code, json.loads(out)["exit_code"]) == (5, 5)


def test_the_default_rules_watch_the_rise_too(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    assert audit("baseline", "accept", run)[0] == 0
    held = json.loads((tmp_path / "audit-baseline.json").read_text())["entries"]
    assert {"shortcut_sensitivity", "accuracy"} <= {e["measure"] for e in held}
    assert next(e for e in held if e["measure"] == "accuracy" and e["condition"] == "clean")["worse"] == "lower"
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
    assert "shortcut-sensitivity-text-mask-inpaint-rise" in names
    written = json.loads((Path(json.loads(out)["run"]) / "run.json").read_text())["baseline"]
    digest = hashlib.sha256((tmp_path / "audit-baseline.json").read_bytes()).hexdigest()
    assert written == {"name": "audit-baseline.json", "sha256": digest}, "which baseline the verdict rests on"
    assert code in (0, 1, 3)
    code, _, err = audit(*asked, "--baseline", "nowhere.json")
    assert code == 2, "before anything is computed"
    assert "nowhere.json" in one_paragraph(err)
    (tmp_path / "audit.toml").write_text(RULES.replace("max_increase", "max"))
    code, _, err = audit("gate", run, "--baseline", "audit-baseline.json")
    assert code == 2
    assert "would not be used" in one_paragraph(err)


def test_an_equal_run_leaves_the_pin_and_a_better_one_replaces_it(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    mild, again, strong = make_run(2.0), make_run(2.0, seed=1), make_run(40.0)
    file = tmp_path / "audit-baseline.json"
    (tmp_path / "audit.toml").write_text(RULES)
    assert audit("baseline", "accept", strong)[0] == 0
    code, out, _ = audit("baseline", "accept", mild)
    assert (code, "replaces the pinned value" in out) == (0, True)
    first, table = json.loads(file.read_text()), file.with_suffix(".parquet").read_bytes()
    code, out, _ = audit("baseline", "accept", again)
    assert code == 0
    assert "no significant change; the pinned value stays" in out
    then = json.loads(file.read_text())
    assert then["entries"] == first["entries"], "what was pinned, and by which run"
    assert file.with_suffix(".parquet").read_bytes() == table
    assert [line["action"] for line in then["history"]] == ["accept"] * 3, "that it was accepted is kept"
    code, out, _ = audit("baseline", "show")
    assert "; pinned 20" in out
    assert audit("baseline", "accept", strong, "--allow-worse", "--reason", "new scanner")[0] == 0
    loosened = json.loads(file.read_text())["entries"]
    assert [e["estimate"] for e in loosened] == [pytest.approx(sensitivity(strong).mean(), abs=1e-6)]


def test_pins_of_several_runs_stand_side_by_side(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    mild, again, strong = make_run(2.0), make_run(2.0, seed=1), make_run(40.0)
    file = tmp_path / "audit-baseline.json"
    (tmp_path / "audit.toml").write_text(SECOND)
    assert audit("baseline", "accept", mild)[0] == 0
    (tmp_path / "audit.toml").write_text(RULES + SECOND)
    assert audit("baseline", "accept", again)[0] == 0
    entries = json.loads(file.read_text())["entries"]
    assert len({e["run"] for e in entries}) == 2, "the accuracy by the first run, the new figure by the second"
    out = audit("gate", strong, "--baseline", file, "--json")[1]
    (rise,) = [g for g in json.loads(out)["gates"] if g["id"] == "text"]
    assert rise["actual"] == pytest.approx((sensitivity(strong) - sensitivity(again)).mean(), abs=1e-6)


def test_an_older_file_says_how_to_begin_anew(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run, file = make_run(1.0), tmp_path / "audit-baseline.json"
    (tmp_path / "audit.toml").write_text(RULES)
    file.write_text(json.dumps({"format": "audit-baseline", "schema_version": 1}))
    code, _, err = audit("baseline", "accept", run)
    assert code == 4
    assert "Delete it and audit-baseline.parquet" in one_paragraph(err)
    file.unlink()
    assert audit("baseline", "accept", run)[0] == 0


def first_audit(tmp_path: Path) -> list[object]:
    asked = ["run", "--model", "C1", "--data", tmp_path / "data/manifest.csv", "--detector", "annotated", "--suite"]
    asked += ["quick", "--boxes", tmp_path / "data/boxes.json", "--resamples", 200, "--relevance-images", 0]
    return [*asked, "--judge-images", 0]


def test_the_first_run_is_judged_without_its_baseline_and_says_how_to_make_it(
    audit: Audit, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(1.0)
    limit = RULES.replace('"text"', '"top"').replace("max_increase = 0.01", "max = 1.0")
    (tmp_path / "audit.toml").write_text('[gate]\nbaseline = "audit-baseline.json"\n' + RULES + limit)
    code, out, _ = audit(*first_audit(tmp_path))
    assert code == 0, out
    run = Path(out.splitlines()[-1]).parent
    command = f"audit baseline accept {run}"
    assert f"does not exist yet. `{command}` accepts this run as the baseline." in " ".join(out.split())
    assert command in (run / "summary.md").read_text().replace("\\", "")
    skipped = ET.parse(run / "junit.xml").getroot().find("testcase[@name='text']/skipped")
    assert skipped is not None
    assert command in (skipped.text or "")
    verdict = json.loads((run / "verdict.json").read_text())
    assert (verdict["status"], command in verdict["summary"]) == ("pass", True)
    assert {g["id"]: g["status"] for g in verdict["gates"]} == {"text": "not judged", "top": "pass"}
    assert '<span class="status not-judged">' in (run / "report.html").read_text()
    summary = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, out, _ = audit("gate", run, "--github")
    assert code == 0
    assert (
        f"::notice title=audit%3A no baseline yet::The baseline audit-baseline.json does not exist yet. `{command}`"
        in out
    )
    assert command in summary.read_text().replace("\\", "")
    document = json.loads(audit("gate", run, "--json")[1])
    assert (document["exit_code"], command in document["summary"]) == (0, True)
    assert json.loads((run / "run.json").read_text())["baseline"] is None

    assert audit(*command.split()[1:])[0] == 0, "the command that was printed"
    code, out, _ = audit(*first_audit(tmp_path), "--seed", 1)
    assert "does not exist yet" not in out
    assert code in (0, 1, 3)
    (tmp_path / "audit-baseline.json").unlink()
    for asked in (first_audit(tmp_path), ["gate", run]):
        code, _, err = audit(*asked)
        assert code == 4, "its table is still there: the file was lost, and this is no first run"
        assert "audit-baseline.json cannot be read" in one_paragraph(err)


def test_a_first_run_with_nothing_else_to_judge_is_not_gated(audit: Audit, make_run: Any, tmp_path: Path) -> None:
    run = make_run(1.0)
    (tmp_path / "audit.toml").write_text('[gate]\nbaseline = "audit-baseline.json"\n' + RULES)
    code, out, _ = audit("gate", run)
    assert code == 0
    assert out.splitlines()[-1].startswith("NOT GATED. No other rule was given. 1 rule against the baseline was")
    for missing in ("audit-basline.json", "runs/nothing"):
        code, _, err = audit("gate", run, "--baseline", missing)
        assert code == 2, "what was named by hand must exist"
        assert f"--baseline {missing} does not exist" in one_paragraph(err)
    for misspelt in ("audit-baseline.json", "audit-basline.json"):
        (tmp_path / "audit.toml").write_text(f'[gate]\nbaseline = "{misspelt}"\nfirst_run = "refuse"\n' + RULES)
        code, _, err = audit("gate", run)
        assert (code, f"{misspelt} cannot be read" in one_paragraph(err)) == (4, True), "CI may demand the baseline"
    (tmp_path / "audit.toml").write_text('[gate]\nbaseline = "audit-baseline.json"\nfirst_run = "never"\n' + RULES)
    assert audit("gate", run)[0] == 2
    (tmp_path / "audit.toml").write_text('[gate]\nbaseline = "runs/nothing"\n' + RULES)
    assert audit("gate", run)[0] == 4, "a run folder is never yet to come"
    (tmp_path / "audit.toml").write_text(RULES)
    code, out, _ = audit("gate", run)
    assert code == 5, "no baseline at all is named"
    assert "no baseline is named" in out
