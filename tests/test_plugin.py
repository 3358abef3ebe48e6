"""A perturbation from another distribution, really installed, in a suite of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audit.data.conditions import Condition
from audit.data.records import Record
from audit.errors import AuditError, UnknownNameError, UsageError
from audit.perturbations import PERTURBATIONS, NotApplicable, Scene, make_perturbation
from audit.perturbations.donors import DonorPool
from audit.prediction.variants import make_variant

from .plugin_wheels import install_plugin

CODE = '''
from dataclasses import dataclass

import numpy as np

from audit.perturbations import NotApplicable


@dataclass(frozen=True)
class Brightness:
    level: int


class Brighten:
    """Add a grey level that is drawn for each image."""

    name = "brighten"
    version = 3
    needs = removes = adds = keeps = ()
    seamless = False
    suspect = "the exposure"

    def __init__(self, *, most=20):
        self._most = most

    def draw(self, scene, rng):
        if scene.record.label == "covid":
            return NotApplicable("not for this class")
        return Brightness(level=int(rng.integers(1, self._most + 1)))

    def apply(self, image, drawn):
        return np.clip(image.astype(np.int16) + drawn.level, 0, 255).astype(np.uint8)


class _Paler:
    name = "paler"
    needs = adds = keeps = ()
    seamless = True

    def __init__(self, over_text):
        self.version = 7 if over_text else 8
        self.removes = ("text",) if over_text else ()
        self.suspect = "printed letters"
        self._over_text = over_text

    def draw(self, scene, rng):
        if not scene.regions:
            return NotApplicable("no text")
        boxes = [(r.x0, r.y0, r.x1, r.y1) for r in scene.regions]
        return boxes if self._over_text else [(40, 60, 40 + x1 - x0, 60 + y1 - y0) for x0, y0, x1, y1 in boxes]

    def apply(self, image, drawn):
        edited = image.copy()
        for x0, y0, x1, y1 in drawn:
            edited[y0:y1, x0:x1] = 110
        return edited


def make_paler(*, over_text=True):
    """A factory: it has no version of its own, what it makes has."""
    return _Paler(over_text)
'''
SUITE = """
name = "bright"
[[condition]]
name = "brighter"
perturbation = "brighten"
role = "stress"
parameters = { most = 60 }
question = "What does a brighter image do?"
[[condition]]
name = "printed words"
perturbation = "paler"
role = "edit"
placebo = "elsewhere"
[[condition]]
name = "elsewhere"
perturbation = "paler"
role = "placebo"
parameters = { over_text = false }
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a plug-in into a folder of its own, and return the folder."""
    return install_plugin(
        tmp_path_factory.mktemp("plugin"),
        "brightness_plugin",
        {"brightness_plugin.py": CODE},
        "[audit.perturbations]\nbrighten = brightness_plugin:Brighten\npaler = brightness_plugin:make_paler\n"
        "broken = brightness_plugin:Nothing\n",
    )


def test_an_installed_plugin_is_listed_run_and_counted(
    site: Path, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "bright.toml").write_text(SUITE)
    (tmp_path / "audit.toml").write_text("[recall]\nall = [9, 10]\n")
    manifest = write_cohort(24)
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from pathlib import Path
            import torch
            from audit.cli import main as cli
            from audit.models.saving import save_bundle
            from audit.models.networks import build_network
            from audit.models.preprocessing import Preprocessing
            torch.set_num_threads(1)
            torch.manual_seed(0)
            save_bundle(Path({str(tmp_path / "C")!r}),
                        build_network("densenet-small", 3).eval(), name="C", architecture="densenet-small",
                        classes=("normal", "pneumonia", "covid"), preprocessing=Preprocessing(size_px=(32, 32)), task="single-label",
                        provenance={{}}, metrics={{}}, splits={{}})
            cli.main()
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(Path(__file__).parents[1])])}

    def audit(*arguments: object) -> str:
        return subprocess.run(
            [sys.executable, program, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert "brighten" in audit("list", "perturbations").split()
    document = json.loads(
        audit("run", "--model", "C", "--data", manifest, "--suite", "bright.toml", "--detector", "annotated", "--boxes",
              manifest.parent / "boxes.json", "--relevance-images", 0, "--resamples", 100, "--json")
    )  # fmt: skip
    run = tmp_path / document["run"]
    uses = {u["condition"]: u for u in json.loads((run / "conditions.json").read_text())["conditions"]}
    assert uses["brighter"]["n_images"] == 48
    assert uses["brighter"]["not_applied"] == {"not for this class": 24}
    assert uses["brighter"]["changed_share"] > 0.9
    plan = json.loads((run / "plan.json").read_text())
    entry = next(c for c in plan["suite"]["conditions"] if c["name"] == "brighter")
    assert (entry["perturbation_version"], entry["parameters"]) == (3, {"most": 60})
    assert "not for this class: 24" in (run / "report.html").read_text()
    rows = {c["name"]: c for c in plan["suite"]["conditions"]}
    assert (rows["printed words"]["perturbation_version"], rows["elsewhere"]["perturbation_version"]) == (7, 8)
    assert rows["printed words"]["declared"] == {
        "removes": ["text"], "adds": [], "keeps": [], "seamless": True, "halves": False,
    }  # fmt: skip
    assert rows["printed words"]["suspect"] == "printed letters", (
        "where the suite does not name it, the perturbation does"
    )
    told = [e for e in json.loads((run / "effects.json").read_text())["effects"] if e["condition"] == "printed words"]
    assert {e["group"] for e in told if e["group"].startswith("word=")} == {
        "word=NORMAL", "word=PNEUMONIA", "word=COVID"
    }  # fmt: skip
    assert any(e["measure"] == "shortcut_sensitivity_corrected" for e in told), "recall is corrected for"


def test_broken_plugins_are_said(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(UsageError, match="cannot be imported"):
        make_perturbation("broken", {})
    assert "broken" in PERTURBATIONS.names()


def test_a_plugin_is_found_when_it_comes_and_missed_when_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed is read once, until a folder of modules changes."""
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "late" not in PERTURBATIONS.names()
    about = tmp_path / "late-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[audit.perturbations]\nlate = audit.perturbations:TextMask\n")
    _touch(tmp_path, 1)
    assert "late" in PERTURBATIONS.names()
    with pytest.raises(UsageError, match=r"late.*cannot be imported"):
        make_perturbation("late", {})
    about.rename(tmp_path / "gone")
    _touch(tmp_path, 2)
    assert "late" not in PERTURBATIONS.names()
    with pytest.raises(UnknownNameError, match="late"):
        make_perturbation("late", {})


def _touch(folder: Path, seconds: int) -> None:
    """Let a folder be changed later than it was, whatever the clock of its file system resolves."""
    changed = folder.stat().st_mtime + seconds
    os.utime(folder, (changed, changed))


def test_a_perturbation_that_breaks_the_contract_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        name = "half"
        version = 1

    class Greedy(Half):
        needs: tuple[str, ...] = ("a scanner",)
        removes: tuple[str, ...] = ()
        adds: tuple[str, ...] = ()
        keeps: tuple[str, ...] = ()
        seamless = True
        suspect = "nothing"

        def draw(self) -> None: ...

        def apply(self) -> None: ...

    class Odd(Greedy):
        needs = ()
        removes = ("words",)

    class Unversioned(Greedy):
        needs = ()
        version = 0

    makers = {**PERTURBATIONS._own, "half": Half, "greedy": Greedy, "odd": Odd, "unversioned": Unversioned}
    monkeypatch.setattr(PERTURBATIONS, "_own", makers)
    with pytest.raises(UsageError, match="has no needs, removes, adds, keeps, seamless, suspect, draw, apply"):
        make_perturbation("half", {})
    with pytest.raises(UsageError, match="class with several sources"):
        make_perturbation("greedy", {})
    with pytest.raises(UsageError, match="content of the perturbation 'odd'"):
        make_perturbation("odd", {})
    with pytest.raises(UsageError, match="whole number from 1, found 0"):
        make_perturbation("unversioned", {})


def test_draws_that_say_nothing_are_refused_or_counted(record: Record) -> None:
    scene = Scene(image=np.zeros((20, 20), np.uint8), record=record, regions=(), donors=DonorPool([]))
    condition = Condition(name="mine", perturbation="mine", role="stress", parameters={})

    class Silent:
        name = "mine"
        version = 1
        needs: tuple[str, ...] = ()
        removes: tuple[str, ...] = ()
        adds: tuple[str, ...] = ()
        keeps: tuple[str, ...] = ()
        seamless = False
        suspect = ""

        def __init__(self, drawn: object) -> None:
            self.drawn = drawn

        def draw(self, scene: Scene, rng: np.random.Generator) -> object:
            return self.drawn

        def apply(self, image: np.ndarray, drawn: object) -> np.ndarray:
            return image[:10]

    with pytest.raises(AuditError, match="must return NotApplicable"):
        make_variant(scene, condition, Silent(None), 0, 0)
    assert make_variant(scene, condition, Silent(NotApplicable("")), 0, 0).why_not == "no reason given"
    with pytest.raises(AuditError, match="must keep type and shape"):
        make_variant(scene, condition, Silent(1), 0, 0)
