"""ONNX Runtime in place of torch: only where it answers the same, said and recorded, and never from a file that was only trusted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from audit.data.plan import Plan, plan_hash
from audit.errors import StoreError, UsageError
from audit.models import backends, exporting
from audit.models.backends import BackendChoice, ExportedClassifier, answered_by_export, export_of, with_backend
from audit.models.bundle import Bundle, load_bundle
from audit.models.classifier import Outputs
from audit.models.exporting import NotExportedError, export_key, export_network, keep_export, kept_export
from audit.models.identity import example_inputs
from audit.models.networks import build_network
from audit.models.torch_classifier import TorchClassifier
from audit.prediction.table import read_finished
from audit.store.folder import RunFolder
from audit.store.run_record import Backend, RunRecord

from .conftest import CLASSES, Audit, one_paragraph, quick_audit


@pytest.fixture
def bundle(known_bundle: Path) -> Bundle:
    return load_bundle(known_bundle)


@pytest.fixture
def choice(bundle: Bundle, tmp_path: Path) -> BackendChoice:
    return BackendChoice(
        asked="auto",
        exclusive=True,
        n_predictions=10**10,
        probe=lambda: example_inputs(bundle.preprocessing, 6),
        cache=tmp_path / "cache",
    )


def with_network(bundle: Bundle, network: nn.Module) -> Bundle:
    classifier = TorchClassifier(network.eval(), bundle.classifier.outputs, bundle.preprocessing)
    return replace(bundle, classifier=classifier)


def of_seed(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("densenet-small", len(CLASSES)).eval().requires_grad_(False)


def only_export(choice: BackendChoice) -> Path:
    (path,) = (choice.cache / "exports").iterdir()
    return path


def test_an_export_answers_as_torch_does_alone_and_in_any_batch(bundle: Bundle, choice: BackendChoice) -> None:
    found = with_backend(bundle, choice)
    assert found.backend.name == "onnxruntime"
    assert "differ from torch's by at most" in found.backend.why
    inputs = example_inputs(bundle.preprocessing, 9)
    for n in (1, 2, 9):
        torch.testing.assert_close(found.logits(inputs[:n]), bundle.logits(inputs[:n]), rtol=0, atol=1e-4)
    assert found.network is bundle.network, "heatmaps read torch's layers"
    features = found.classifier.ability("features")
    assert torch.equal(features(inputs), bundle.classifier.ability("features")(inputs))
    exported = export_of(found)
    assert exported is not None and export_of(bundle) is None
    elsewhere = answered_by_export(bundle, exported)
    assert torch.equal(elsewhere.logits(inputs), found.logits(inputs)), "another process gives the same digits"
    options = found.classifier._session.get_session_options()  # type: ignore[attr-defined]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_two_exports_are_the_same_bytes(bundle: Bundle) -> None:
    inputs = example_inputs(bundle.preprocessing, 3)
    assert export_network(bundle.network, inputs) == export_network(bundle.network, inputs)


@pytest.mark.parametrize("n_predictions", [0, backends.PAYS // 200_000])
def test_few_predictions_of_a_small_network_are_torchs(
    bundle: Bundle, choice: BackendChoice, n_predictions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_weights = sum(p.numel() for p in bundle.network.parameters())
    assert n_predictions * n_weights < backends.PAYS
    monkeypatch.setattr(backends, "export_network", lambda *_: pytest.fail("exported"))
    small = replace(choice, n_predictions=n_predictions)
    found = with_backend(bundle, small)
    assert found.backend.name == "torch" and "does not pay" in found.backend.why
    assert found.classifier is bundle.classifier
    asked = with_backend(bundle, replace(small, asked="torch"))
    assert asked.backend == Backend()


def test_the_threshold_is_counted(bundle: Bundle, choice: BackendChoice) -> None:
    n_weights = sum(p.numel() for p in bundle.network.parameters())
    enough = -(-backends.PAYS // n_weights)
    assert with_backend(bundle, replace(choice, n_predictions=enough)).backend.name == "onnxruntime"
    assert with_backend(bundle, replace(choice, n_predictions=enough - 1)).backend.name == "torch"


def test_an_export_that_answers_otherwise_is_not_used(
    bundle: Bundle, choice: BackendChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = export_network(of_seed(5), example_inputs(bundle.preprocessing))
    monkeypatch.setattr(backends, "export_network", lambda *_: wrong)
    found = with_backend(bundle, choice)
    assert found.backend.name == "torch" and "differ from torch's by" in found.backend.why
    assert found.classifier is bundle.classifier
    assert not (choice.cache / "exports").exists(), "nor kept"
    with pytest.raises(UsageError, match="--backend onnxruntime cannot be used for C: its probabilities differ"):
        with_backend(bundle, replace(choice, asked="onnxruntime"))


class _Shifted(nn.Module):
    """Adds a small number to one logit."""

    def __init__(self, network: nn.Module, shift: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", torch.tensor([0.0, shift, 0.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs) + self.shift


@pytest.mark.parametrize(("shift", "agrees"), [(1e-5, True), (5e-3, False)])
def test_the_limit_is_one_in_ten_thousand_of_a_probability(
    bundle: Bundle, choice: BackendChoice, shift: float, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted = export_network(_Shifted(bundle.network, shift), example_inputs(bundle.preprocessing))
    monkeypatch.setattr(backends, "export_network", lambda *_: shifted)
    assert (with_backend(bundle, choice).backend.name == "onnxruntime") == agrees


def test_an_export_leaves_the_network_as_it_was(bundle: Bundle) -> None:
    inputs = example_inputs(bundle.preprocessing)
    before = bundle.logits(inputs)
    wrapped = _Shifted(bundle.network, 0.0)
    assert wrapped.training and not bundle.network.training, (
        "as of a network whose answers are read out by an outer one"
    )
    export_network(wrapped, inputs)
    assert not any(module.training for module in bundle.network.modules())
    assert torch.equal(bundle.logits(inputs), before)


class _Tie(nn.Module):
    """Two classes are equal but for a hair, on the side that is asked for."""

    def __init__(self, hair: float) -> None:
        super().__init__()
        self.line = nn.Conv2d(3, 3, 1)
        self.register_buffer("answer", torch.tensor([hair, 0.0, -5.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 0 * self.line(inputs).mean((2, 3)) + self.answer


def test_another_winner_is_another_answer(
    bundle: Bundle, choice: BackendChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = export_network(_Tie(-1e-6).eval(), example_inputs(bundle.preprocessing))
    monkeypatch.setattr(backends, "export_network", lambda *_: other)
    found = with_backend(with_network(bundle, _Tie(1e-6)), choice)
    assert found.backend.name == "torch" and "predicts other classes" in found.backend.why


def test_a_kept_export_is_used_again(bundle: Bundle, choice: BackendChoice, monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_backend(bundle, choice)
    monkeypatch.setattr(backends, "export_network", lambda *_: pytest.fail("exported again"))
    assert export_of(with_backend(bundle, choice)) == export_of(first)


@pytest.mark.parametrize("harm", ["cut", "empty", "foreign bytes", "another network", "a folder", "names a file"])
def test_a_kept_export_that_is_not_its_own_is_made_anew(bundle: Bundle, choice: BackendChoice, harm: str) -> None:
    good = export_of(with_backend(bundle, choice))
    assert good is not None
    path = only_export(choice)
    inputs = example_inputs(bundle.preprocessing)
    key = export_key(bundle.digest, tuple(inputs.shape[1:]))
    assert path.name.startswith(key)
    if harm == "cut":
        path.write_bytes(good[:-100])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "foreign bytes":
        keep_export(path.parent, key, b"not a model" * 50)
    elif harm == "another network":  # with a name that fits its content
        keep_export(path.parent, key, export_network(of_seed(7), inputs))
    elif harm == "a folder":
        path.unlink()
        path.mkdir()
    else:  # external data, in a tensor of the graph: field 7, then 5, then 13, key location
        entry = b"\x0a\x08location\x12\x06secret"
        tensor = b"\x6a" + bytes([len(entry)]) + entry
        graph = b"\x2a" + bytes([len(tensor)]) + tensor
        keep_export(path.parent, key, b"\x3a" + bytes([len(graph)]) + graph)
        assert kept_export(path.parent, key) is None
    if harm == "a folder":
        with pytest.raises(StoreError):  # it is named, and left
            with_backend(bundle, choice)
        return
    found = with_backend(bundle, choice)
    assert found.backend.name == "onnxruntime"
    assert export_of(found) == good
    assert only_export(choice).read_bytes() == good


def test_other_weights_have_another_export(bundle: Bundle) -> None:
    assert export_key(bundle.digest, (3, 64, 64)) != export_key("0" * 64, (3, 64, 64))
    assert export_key(bundle.digest, (3, 64, 64)) != export_key(bundle.digest, (3, 96, 64))


def test_the_folder_of_exports_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_MAX_BYTES", 250)
    for number in range(5):
        keep_export(tmp_path, f"key{number}", bytes([number]) * 100)
        (written,) = tmp_path.glob(f"key{number}-*")
        os.utime(written, (number, number))
    assert sorted(p.name[:4] for p in tmp_path.iterdir()) == ["key3", "key4"]
    monkeypatch.setattr(exporting, "_MAX_BYTES", 10)
    keep_export(tmp_path, "last", b"x" * 100)
    assert [p.name[:4] for p in tmp_path.iterdir()] == ["last"], "the one in use stays, however large"


class _Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv2d(3, 3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found = self.line(inputs).mean((2, 3))
        return found if float(inputs.mean()) > 0 else -found


class _OneSize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv2d(3, 3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.line(inputs).mean((2, 3)) + torch.zeros(6, 3)[: 6 if torch.jit.is_tracing() else len(inputs)]


class _NotExportable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv2d(3, 3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(self.line(inputs).mean(1))[:, :3]


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (_Branching, "chooses its way"),
        (_OneSize, "its export fails|differ|answers with"),
        (_NotExportable, "torch cannot export the network"),
    ],
)
def test_what_cannot_be_exported_stays_with_torch(
    bundle: Bundle, choice: BackendChoice, network: type[nn.Module], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = with_network(bundle, network())
    found = with_backend(odd, choice)
    assert found.backend.name == "torch" and re.search(why, found.backend.why), found.backend.why
    assert found.classifier is odd.classifier
    assert "\n" not in found.backend.why
    assert capsys.readouterr() == ("", ""), "the exporter's own words would spoil --json"


def test_a_network_of_other_layers_than_convolutions_stays_with_torch_unless_asked(
    bundle: Bundle, choice: BackendChoice
) -> None:
    dense = with_network(bundle, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)))
    found = with_backend(dense, choice)
    assert found.backend.name == "torch" and "outside convolutions" in found.backend.why
    assert with_backend(dense, replace(choice, asked="onnxruntime")).backend.name == "onnxruntime"


def test_without_the_package_it_is_said(bundle: Bundle, choice: BackendChoice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda _: None)
    assert "the package onnx" in with_backend(bundle, choice).backend.why


def test_an_export_that_does_not_open(bundle: Bundle) -> None:
    with pytest.raises(NotExportedError, match="cannot open its export"):
        ExportedClassifier(bundle.classifier, b"nothing")


def test_independent_findings_are_compared_one_by_one(bundle: Bundle, choice: BackendChoice) -> None:
    outputs = Outputs(names=CLASSES, task="multi-label")
    several = replace(bundle, classifier=TorchClassifier(bundle.network, outputs, bundle.preprocessing))
    found = with_backend(several, replace(choice, exclusive=False))
    assert found.backend.name == "onnxruntime"


def test_a_run_states_what_predicted_it_and_is_the_same_for_any_number_of_processes(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    asked = quick_audit(write_cohort(11))
    runs: dict[str, Path] = {}
    for name, further in {
        "torch": ["--backend", "torch"],
        "one": ["--backend", "onnxruntime"],
        "again": ["--backend", "onnxruntime"],
        "two": ["--backend", "onnxruntime", "--workers", 2],
    }.items():
        code, out, err = audit(*asked, "--runs", name, "--cache", f"cache-{name}", *further)
        assert code == 0, err
        assert ("back end: onnxruntime, because its probabilities differ" in err) == (name != "torch")
        runs[name] = Path(out.splitlines()[-1]).parent
    for name, run in runs.items():
        plan, record = RunFolder(run).read(Plan), RunFolder(run).read(RunRecord)
        expected = "torch" if name == "torch" else "onnxruntime"
        assert plan.model.backend.name == record.backend.name == expected
        assert record.backend.why == plan.model.backend.why
    assert runs["one"].name == runs["two"].name == runs["again"].name
    assert runs["torch"].name != runs["one"].name, "a run begun with one back end is not continued with another"
    contents = {name: _predictions(run) for name, run in runs.items()}
    assert contents["one"] == contents["two"] == contents["again"]
    assert contents["one"] != contents["torch"], (
        "the two back ends differ in the last digits, which is why a plan names its own"
    )
    for condition, logits in read_finished(runs["torch"]).table.logits.items():
        other = read_finished(runs["one"]).table.logits[condition]
        assert np.abs(logits - other).max() < 1e-4


def _predictions(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (run / "predictions").iterdir()} | {
        "effects.json": (run / "effects.json").read_bytes()
    }


def test_why_a_back_end_was_chosen_is_no_part_of_a_plans_hash(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    from msgspec import structs

    code, out, err = audit(*quick_audit(write_cohort(6)))
    assert code == 0, err
    plan = RunFolder(Path(out.splitlines()[-1]).parent).read(Plan)
    assert plan.model.backend.name == "torch" and "does not pay" in plan.model.backend.why

    def hashed(backend: Backend) -> str:
        return plan_hash(structs.replace(plan, model=structs.replace(plan.model, backend=backend)))

    assert hashed(Backend(why="x")) == hashed(Backend()) == plan_hash(plan)
    exported = Backend(name="onnxruntime", why="1e-7")
    assert hashed(exported) == hashed(structs.replace(exported, why="2e-7")) != plan_hash(plan)


def test_a_classifier_that_is_no_network_answers_in_its_own_way(
    audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    module = tmp_path / "own_way.py"
    module.write_text(
        "import numpy as np\n"
        "def grey(images):\n"
        "    bright = images.reshape(len(images), -1).mean(axis=1) / 255\n"
        "    return np.stack([bright, 1 - bright], axis=1)\n"
    )
    asked: list[Any] = quick_audit(write_cohort(6, classes=("normal", "covid")))
    asked[2] = "own_way:grey"
    asked += ["--classes", "normal,covid", "--as", "callable"]
    code, out, err = audit(*asked)
    assert code == 0, err
    run = Path(out.splitlines()[-1]).parent
    assert json.loads((run / "plan.json").read_text())["model"]["backend"] == {"name": "own", "why": ""}
    code, _, err = audit(*asked, "--backend", "onnxruntime")
    assert code == 2
    assert "is none and answers in its own way. Omit --backend." in one_paragraph(err)


def test_a_back_end_that_cannot_be_used_is_one_sentence(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda _: None)
    code, out, err = audit(*quick_audit(write_cohort(6)), "--backend", "onnxruntime")
    assert code == 2 and out == ""
    assert "Use --backend torch or auto." in one_paragraph(err)
    code, _, err = audit(*quick_audit(write_cohort(6)), "--backend", "onxruntime")
    assert code == 2 and "onnxruntime" in err


def test_auto_exports_where_it_pays(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "PAYS", 1)
    code, out, err = audit(*quick_audit(write_cohort(6)), "--json")
    assert code == 0, err
    assert json.loads(out), "nothing but the document"
    (run,) = Path("runs").iterdir()
    assert RunFolder(run).read(Plan).model.backend.name == "onnxruntime"
    code, out, err = audit(*quick_audit(write_cohort(6)))
    assert code == 0, err
    assert list(Path("runs").iterdir()) == [run], "the finished run is judged, not predicted again"
