"""Foreign checkpoints in every form that is around, made here with stand-ins; and files that must not be believed."""

from __future__ import annotations

import collections
import os
import pickle
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from audit.errors import ModelError, UnknownNameError, UsageError
from audit.models.bundle import load_bundle
from audit.models.checkpoints import import_checkpoint
from audit.models.outputs import CHEXNET, ORDERS
from audit.models.unpickling import Shell, read_checkpoint

LEGACY = {"_use_new_zipfile_serialization": False}
FORMATS = pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])


@pytest.fixture
def tiny(tiny_architecture: str) -> Callable[..., nn.Module]:
    """Return a function that builds the tiny DenseNet with running statistics that are not the default."""

    def build(k: int = 14, channels: int = 3) -> nn.Module:
        network = torchvision.models.DenseNet(
            growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=k
        )
        if channels == 1:
            network.features.conv0 = nn.Conv2d(1, 8, 7, stride=2, padding=3, bias=False)
        generator = torch.Generator().manual_seed(3)
        network.train()
        with torch.no_grad():
            network(torch.randn(8, channels, 64, 64, generator=generator))
        return network.eval()

    return build


def inputs(channels: int = 3) -> torch.Tensor:
    return torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(5)).repeat(1, channels, 1, 1)


def imported(file: Path, tmp_path: Path, **options: Any) -> tuple[nn.Module, tuple[str, ...], Any]:
    made = import_checkpoint(file, "tiny", tmp_path / "models/in", **options)
    bundle = load_bundle(made.folder)
    assert (bundle.classes, bundle.task) == (made.classes, made.task)
    return bundle.network, made.classes, bundle


@FORMATS
def test_whole_module_as_zech_saved_it(tiny: Any, tmp_path: Path, options: Any) -> None:
    network = tiny(14)
    linear = network.classifier
    network.classifier = nn.Sequential(linear, nn.Sigmoid())
    file = tmp_path / "checkpoint"
    torch.save(
        {"model": network, "best_loss": 0.1, "epoch": 3, "rng_state": torch.get_rng_state(), "LR": 0.01},
        file,
        **options,
    )
    found, names, bundle = imported(file, tmp_path)
    with torch.no_grad():
        assert torch.equal(torch.sigmoid(found(inputs())), network(inputs()))
    assert names == CHEXNET
    assert names[6] == "Pneumonia"
    assert bundle.provenance["class_order"] == "as published for chexnet"
    assert bundle.provenance["imported_head"] == ["model.classifier.0.weight"]
    assert bundle.task == "multi-label"


def test_state_dictionary_as_arnoweng_saved_it(tiny: Any, tmp_path: Path) -> None:
    network = tiny(14)
    state = collections.OrderedDict()
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        old = re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key).replace("classifier.", "classifier.0.")
        state[f"module.densenet121.{old}"] = value
    assert any("norm.1.weight" in key for key in state)
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, tmp_path / "m.pth.tar")
    found, _, _ = imported(tmp_path / "m.pth.tar", tmp_path)
    with torch.no_grad():
        assert torch.equal(found(inputs()), network(inputs()))


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@FORMATS
def test_the_authors_networks_with_heads_side_by_side(tiny: Any, tmp_path: Path, options: Any) -> None:
    """Their later code saves whole modules with three linear layers of one output, in a module of its own."""
    module = types.ModuleType("StackedNet")

    class TwoLayerOut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear1, self.linear2, self.linear3 = (nn.Linear(width, 1) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.linear1(x), self.linear2(x), self.linear3(x)], dim=1)

    TwoLayerOut.__module__, TwoLayerOut.__qualname__ = "StackedNet", "TwoLayerOut"
    module.TwoLayerOut = TwoLayerOut
    network = tiny(3)
    width = network.classifier.in_features
    network.classifier = TwoLayerOut()
    sys.modules["StackedNet"] = module
    try:
        torch.save(network, tmp_path / "NetC.pt", **options)
    finally:
        del sys.modules["StackedNet"]
    with pytest.raises(ModelError, match=r"names StackedNet\.TwoLayerOut.*--admit"):
        imported(tmp_path / "NetC.pt", tmp_path)
    with pytest.raises(UsageError, match="3 outputs, but no classes"):
        imported(tmp_path / "NetC.pt", tmp_path, admit=["StackedNet"])
    found, names, _ = imported(tmp_path / "NetC.pt", tmp_path, admit=["StackedNet"], classes=ORDERS["paper"])
    assert names == ("normal", "pneumonia", "covid")
    with torch.no_grad():
        assert torch.allclose(found(inputs()), network(inputs()), atol=1e-6)


@FORMATS
def test_torchxrayvision_with_one_channel_and_blank_targets(tiny: Any, tmp_path: Path, options: Any) -> None:
    network = tiny(18, channels=1)
    order = list(ORDERS["torchxrayvision"])
    network.targets = [*order[:14], "", "", "", ""]
    torch.save(network, tmp_path / "nih.pt", **options)
    found, names, bundle = imported(tmp_path / "nih.pt", tmp_path)
    assert names == tuple(order[:14])
    assert bundle.provenance["class_order"] == "as the file says"
    with torch.no_grad():
        assert torch.allclose(found(inputs(3)), network(inputs(1))[:, :14], atol=1e-5)
        grey = torch.arange(256, dtype=torch.uint8).reshape(16, 16).numpy()
        theirs = (2 * torch.from_numpy(grey).float() / 255 - 1) * 1024
        assert torch.allclose(bundle.preprocessing.normalise(grey)[0], theirs, atol=1e-2)


def test_plain_state_dictionaries(tiny: Any, tmp_path: Path) -> None:
    import safetensors.torch

    network = tiny(3)
    torch.save(network.state_dict(), tmp_path / "plain.pth")
    safetensors.torch.save_file(network.state_dict(), tmp_path / "plain.safetensors")
    for name in ("plain.pth", "plain.safetensors"):
        found, _, _ = imported(tmp_path / name, tmp_path, classes=("covid", "normal", "pneumonia"), task="single-label")
        with torch.no_grad():
            assert torch.equal(found(inputs()), network(inputs()))


def test_outputs_can_be_named_dropped_and_miscounted(tiny: Any, tmp_path: Path) -> None:
    network = tiny(4)
    torch.save(network.state_dict(), tmp_path / "m.pth")
    with pytest.raises(UsageError, match="4 outputs, but no classes"):
        imported(tmp_path / "m.pth", tmp_path)
    with pytest.raises(UsageError, match="4 outputs, but 3 classes"):
        imported(tmp_path / "m.pth", tmp_path, classes=("a", "b", "c"))
    with pytest.raises(UsageError, match="each named once"):
        imported(tmp_path / "m.pth", tmp_path, classes=("a", "a", "b", "c"))
    found, names, _ = imported(tmp_path / "m.pth", tmp_path, classes=("a", "", "b", "c"), task="single-label")
    assert names == ("a", "b", "c")
    with torch.no_grad():
        assert torch.allclose(found(inputs()), network(inputs())[:, [0, 2, 3]], atol=1e-6)


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@FORMATS
@pytest.mark.parametrize(
    ("call", "name"),
    [(os.system, "posix.system"), (exec, "builtins.exec"), (eval, "builtins.eval"), (open, "io.open"),
     (torch.hub.load_state_dict_from_url, "torch.hub.load_state_dict_from_url"), (getattr, "builtins.getattr"),
     (torch.load, "torch.serialization.load")],
)  # fmt: skip
def test_malicious_pickles_are_refused_by_name(tmp_path: Path, call: Any, name: str, options: Any) -> None:
    trap = tmp_path / "was-here"
    torch.save({"state_dict": Evil(call, f"touch {trap}")}, tmp_path / "m.pth", **options)
    with pytest.raises(ModelError, match=re.escape(name)):
        read_checkpoint(tmp_path / "m.pth")
    assert not trap.exists()
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil(call, f"touch {trap}")))
    with pytest.raises(ModelError):
        read_checkpoint(tmp_path / "raw.pth")
    assert not trap.exists()


def test_admitted_names_are_still_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "was-here"
    torch.save(Evil(os.system, f"touch {trap}"), tmp_path / "m.pth")
    assert isinstance(read_checkpoint(tmp_path / "m.pth", admit=["posix"]), Shell)
    assert not trap.exists()


def test_files_that_are_no_checkpoints(tiny: Any, tmp_path: Path) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(tiny(3).state_dict(), whole)
    cases = {
        "missing.pth": None,
        "empty.pth": b"",
        "text.pth": b"this is not a checkpoint",
        "cut.pth": whole.read_bytes()[:5000],
        "cut.safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{",
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            read_checkpoint(tmp_path / name)
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="contains no DenseNet"):
        imported(tmp_path / "other.pth", tmp_path)
    torch.save(nn.Linear(2, 2), tmp_path / "linear.pth")
    with pytest.raises(ModelError, match="contains no DenseNet"):
        imported(tmp_path / "linear.pth", tmp_path)


def test_another_architecture_is_named(tmp_path: Path) -> None:
    torch.save(torchvision.models.densenet121(num_classes=3).state_dict(), tmp_path / "m.pth")
    with pytest.raises(ModelError, match="It looks like densenet121: use --as densenet121"):
        import_checkpoint(tmp_path / "m.pth", "densenet201", tmp_path / "out", classes=ORDERS["paper"])
    with pytest.raises(UnknownNameError, match="Did you mean 'densenet121'"):
        import_checkpoint(tmp_path / "m.pth", "densnet121", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_outputs_mean_is_known_said_or_asked_for(tiny: Any, tmp_path: Path) -> None:
    def task(value: Any, **options: Any) -> str:
        torch.save(value, tmp_path / "m.pth")
        return imported(tmp_path / "m.pth", tmp_path, **options)[2].task

    def ending(k: int, *last: nn.Module) -> nn.Module:
        network = tiny(k)
        network.classifier = nn.Sequential(network.classifier, *last)
        return network

    for order, expected in (("chexnet", "multi-label"), ("chestxray15", "multi-label"), ("paper", "single-label"),
                            ("torchxrayvision", "multi-label")):  # fmt: skip
        assert task(tiny(len(ORDERS[order])).state_dict(), classes=ORDERS[order]) == expected
    names = ("a", "b", "c")
    for said in ("single-label", "multi-label"):
        assert task(tiny(3).state_dict(), classes=names, task=said) == said
    # A subset of findings may be anything: two classes of somebody's softmax have such names too.
    for unknown in (names, ("Pneumonia", "No Finding", "Edema"), ("covid", "normal", "pneumonia")):
        with pytest.raises(UsageError, match=r"is unknown\. Use --task single-label.*--task multi-label"):
            task(tiny(3).state_dict(), classes=unknown)
    assert task(ending(3, nn.Sigmoid()), classes=names) == "multi-label"
    assert task(ending(3, nn.Softmax(dim=1)), classes=names) == "single-label"
    assert task(ending(14, nn.LogSoftmax(dim=1)), classes=CHEXNET) == "single-label"
    with pytest.raises(UsageError, match="is multi-label by its last layer, but --task single-label"):
        task(ending(3, nn.Sigmoid()), classes=names, task="single-label")
    with pytest.raises(UsageError, match="each named once"):
        task(tiny(3).state_dict(), classes=("Covid", "covid ", "normal"), task="single-label")


def test_canary_notices_a_change(tiny: Any, tmp_path: Path) -> None:
    torch.save(tiny(3).state_dict(), tmp_path / "m.pth")
    _, _, bundle = imported(tmp_path / "m.pth", tmp_path, classes=ORDERS["paper"])
    model = bundle.folder / "model.json"
    model.write_text(model.read_text().replace("0.485", "0.585"))
    with pytest.raises(ModelError, match="for its canary image"):
        load_bundle(bundle.folder)
    model.write_text(model.read_text().replace("0.585", "0.485"))
    load_bundle(bundle.folder)
    (bundle.folder / "canary.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="canary"):
        load_bundle(bundle.folder)
    (bundle.folder / "canary.safetensors").unlink()
    load_bundle(bundle.folder)
