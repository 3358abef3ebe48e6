"""Foreign checkpoints in every form that is around, made here with stand-ins; and files that must not be believed."""

from __future__ import annotations

import argparse
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


def test_thresholds_of_torchxrayvision_are_operating_points(tiny: Any, tmp_path: Path) -> None:
    network = tiny(18, channels=1)
    order = list(ORDERS["torchxrayvision"])
    network.targets = [*order[:17], ""]
    network.register_buffer("op_threshs", torch.tensor([0.25, float("nan"), *[0.5] * 16]))
    torch.save(network, tmp_path / "all.pt")
    _, names, bundle = imported(tmp_path / "all.pt", tmp_path)
    assert len(names) == 17
    assert bundle.points == (0.25, None, *[0.5] * 15)
    assert load_bundle(bundle.folder).points == bundle.points
    # Of a softmax they mean nothing, and of another number of outputs they are not its own.
    assert imported(tmp_path / "all.pt", tmp_path, task="single-label")[2].points == ()
    network.op_threshs = torch.ones(4)
    torch.save(network, tmp_path / "all.pt")
    assert imported(tmp_path / "all.pt", tmp_path)[2].points == ()


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


# Layouts that are around. Where each was seen stands beside it; the numbers are made here.


def plain(network: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()}


def renamed(network: nn.Module, *pairs: tuple[str, str]) -> dict[str, torch.Tensor]:
    state = plain(network)
    for pattern, replacement in pairs:
        state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
    return state


class AttributeDict(dict):  # type: ignore[type-arg]
    """Stands for Lightning's: a dictionary with attributes."""


class DictConfig:
    """Stands for OmegaConf's: a container whose parts lie in its attributes."""

    def __init__(self, **content: Any) -> None:
        self._content, self._metadata = content, None


AttributeDict.__module__, DictConfig.__module__ = "lightning_fabric.utilities.data", "omegaconf.dictconfig"


@pytest.fixture
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pickle find the two containers where the frameworks have them."""
    for kind in (AttributeDict, DictConfig):
        parts = kind.__module__.split(".")
        for depth in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
        setattr(sys.modules[kind.__module__], kind.__name__, kind)


def lightning(network: nn.Module) -> dict[str, Any]:
    """Lightning-AI/pytorch-lightning issues 4542 (AttributeDict) and 20058 (what a checkpoint holds beside the weights)."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.2.0",
        "state_dict": plain(network, "net."),
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"dirpath": Path("/data/runs"), "best_k_models": {}}},
        "optimizer_states": [{"state": collections.defaultdict(dict, {0: {"step": torch.ones(())}}), "param_groups": []}],
        "lr_schedulers": [{"milestones": collections.Counter([10, 20]), "last_epoch": 3}],
        "hparams_name": "kwargs",
        "hyper_parameters": AttributeDict(
            args=argparse.Namespace(lr=0.1, root=Path("data")), config=DictConfig(width=8), seen=collections.deque([1, 2])
        ),
    }  # fmt: skip


LAYOUTS: dict[str, Callable[[nn.Module], Any]] = {
    # torch.compile: pytorch/pytorch issues 94575 and 158519; before DataParallel's name or behind it: FareedKhan-dev/
    # train-llm-from-scratch issue 36, huggingface/pytorch-image-models pull request 2003.
    "torch.compile": lambda n: plain(n, "_orig_mod."),
    "torch.compile in DataParallel": lambda n: {"model": plain(n, "module._orig_mod.")},
    "torch.compile of the features alone": lambda n: renamed(n, (r"^features\.", "features._orig_mod.")),
    # FSDP and activation checkpointing name their wrappers between the modules: verl_omni and openfold's renaming tables.
    "FSDP": lambda n: {
        "model": renamed(
            n,
            (r"^", "_fsdp_wrapped_module."),
            (r"denseblock(\d+)\.", r"denseblock\1._fsdp_wrapped_module._checkpoint_wrapped_module."),
        )
    },
    # One GPU's features in DataParallel, the head outside: pytorch/examples, imagenet.
    "features in DataParallel": lambda n: {"state_dict": renamed(n, (r"^features\.", "features.module."))},
    # zoogzog/chexnet issue 17, pytorch/vision pull request 474: a wrapper module called densenet121.
    "densenet121 in DataParallel": lambda n: {"epoch": 2, "best_loss": 0.1, "state_dict": plain(n, "module.densenet121.")},
    # JizhiziLi/GFM issue 32.
    "densenet": lambda n: plain(n, "densenet."),
    # qiaoguan/Person-reid-GAN-pytorch issue 18.
    "model": lambda n: plain(n, "model."),
    # Project-MONAI/MONAI, monai/networks/nets/densenet.py: layers in `layers`, the head in `class_layers`.
    "MONAI": lambda n: {
        "network": renamed(n, (r"(denselayer\d+)\.", r"\1.layers."), (r"^classifier\.", "class_layers.out.")),
    },
    # torch.optim.swa_utils.AveragedModel alone: pytorch/pytorch pull request 71763.
    "AveragedModel": lambda n: {**plain(n, "module."), "n_averaged": torch.tensor(5)},
    # DeepSpeed's mp_rank_00_model_states.pt keeps the state under `module`.
    "DeepSpeed": lambda n: {"module": plain(n), "ds_version": "0.9", "optimizer": None},
    # fastai's Learner.save of a plain network: the state under `model`, the optimizer under `opt`.
    "fastai": lambda n: {"model": plain(n), "opt": {"state": [], "hypers": [{"lr": 0.1}]}},
    "Lightning": lightning,
    # mlmed/torchxrayvision: a buffer of thresholds that calibrates what comes out, and class weights of the loss.
    "buffers of the loss": lambda n: {
        **plain(n, "model."), "model.op_threshs": torch.ones(4), "criterion.weight": torch.ones(4), "loss.pos_weight": torch.ones(4)
    },
    # Deci-AI/super-gradients pull request 682 saves under `net`; nesting deeper than one key is common in Kaggle's kernels.
    "nested": lambda n: {"checkpoint": {"net": {"state": plain(n)}}},
    # The same network twice, as a module and as its state (neuralmagic/yolov5 pull request 184 for modules under keys).
    "the same network twice": lambda n: {"model": n, "state_dict": plain(n)},
    "a network that two names share": lambda n: {**plain(n, "model."), **plain(n, "criterion.model.")},
    # OpenTAD issue 44: the moving average under a key of its own, alone here.
    "state_dict_ema": lambda n: {"state_dict_ema": plain(n, "module.")},
    # An argument parser's result as the outermost container.
    "Namespace": lambda n: argparse.Namespace(state_dict=plain(n), lr=0.1),
    "AttributeDict": lambda n: AttributeDict(weights=plain(n)),
}  # fmt: skip


@pytest.mark.usefixtures("frameworks")
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("layout", LAYOUTS)
@FORMATS
def test_layouts_that_are_around(tiny: Any, tmp_path: Path, layout: str, options: Any) -> None:
    network = tiny(4)
    torch.save(LAYOUTS[layout](network), tmp_path / "m.pt", **options)
    found, names, _ = imported(tmp_path / "m.pt", tmp_path, classes=("d", "c", "b", "a"), task="single-label")
    assert names == ("d", "c", "b", "a")
    with torch.no_grad():
        assert torch.equal(found(inputs()), network(inputs()))


def other(tiny: Any, k: int = 4) -> nn.Module:
    network: nn.Module = tiny(k)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.01)
    return network


# What is named in the message, how it is chosen, and which of two networks must come out.
AMBIGUOUS: dict[str, tuple[Callable[[nn.Module, nn.Module], Any], str, dict[str, Any], int]] = {
    # huggingface/pytorch-image-models' own training script, sming256/OpenTAD issue 44.
    "timm's moving average": (
        lambda n, m: {"state_dict": plain(n), "state_dict_ema": plain(m)},
        "2 networks, with the prefixes 'state_dict.', 'state_dict_ema.'", {"prefix": "state_dict_ema"}, 1,
    ),
    # timm's ModelEmaV2 kept inside a Lightning module.
    "a moving average in the module": (
        lambda n, m: {"state_dict": {**plain(n, "model."), **plain(m, "model_ema.module.")}},
        "'state_dict.model.', 'state_dict.model_ema.module.'", {"prefix": "model"}, 0,
    ),
    # open-mmlab/mmengine pull request 804.
    "mmengine's moving average": (
        lambda n, m: {"state_dict": plain(n), "ema_state_dict": {**plain(m, "module."), "steps": torch.tensor(3)}},
        "'state_dict.', 'ema_state_dict.module.'", {"prefix": "ema_state_dict"}, 1,
    ),
    # Lightning's callback of weight averaging keeps the network in training under another key.
    "Lightning's averaged weights": (
        lambda n, m: {"state_dict": plain(n, "net."), "current_model_state": plain(m, "net.")},
        "'state_dict.net.', 'current_model_state.net.'", {"prefix": "state_dict.net"}, 0,
    ),
    # WXinlong/DenseCL's query and key encoders; mean teachers and distillation alike.
    "teacher and student": (
        lambda n, m: {**plain(n, "student."), **plain(m, "teacher.")},
        "'student.', 'teacher.'", {"prefix": "teacher"}, 1,
    ),
    # torchxrayvision's baseline for CheXpert holds an ensemble.
    "an ensemble": (
        lambda n, m: {"models": [plain(n), plain(m)]}, "'models.0.', 'models.1.'", {"prefix": "models.1"}, 1,
    ),
    "the network and the same beside it": (
        lambda n, m: {**plain(n), **plain(m, "ema.")}, "'', 'ema.'", {"prefix": ""}, 0,
    ),
    # Adversarial and multi-task training for age and sex: Pjotor777/Chest-X-ray-AI-Model, monkiravn/age_gender_estimation.
    "an age head": (
        lambda n, m: {**plain(n), "age_head.weight": torch.ones(1, 16), "age_head.bias": torch.ones(1)},
        r"classifier\.weight \(4 outputs\), age_head\.weight \(1 output\)", {"head": ["classifier.weight"]}, 0,
    ),
    "a sex head before the classes": (
        lambda n, m: {"sex.weight": torch.ones(2, 16), "sex.bias": torch.ones(2), **plain(n)},
        r"sex\.weight \(2 outputs\), classifier\.weight \(4 outputs\)", {"head": ["classifier"]}, 0,
    ),
    # A list of heads, one a task.
    "heads in a list": (
        lambda n, m: {**renamed(n, ("^classifier", "heads.0")), "heads.1.weight": torch.ones(1, 16), "heads.1.bias": torch.ones(1)},
        r"heads\.0\.weight \(4 outputs\), heads\.1\.weight \(1 output\)", {"head": ["heads.0.weight"]}, 0,
    ),
    # layumi/Person_reID_baseline_pytorch issue 51: the head beside the network that has the features.
    "a head outside the prefix": (
        lambda n, m: renamed(n, (r"^features\.", "backbone.features."), ("^classifier", "fc")),
        r"under the network's prefix 'backbone\.'\. Elsewhere it has 'fc\.weight'", {"head": ["fc.weight"]}, 0,
    ),
    # RadImageNet's and Lightning's transfer learning: the children without the head, in a Sequential.
    "features in a Sequential": (
        lambda n, m: renamed(n, (r"^features\.", "backbone.0."), ("^classifier", "fc")),
        r"Elsewhere it has 'fc\.weight'", {"head": ["fc"]}, 0,
    ),
    # Encoder and classifier saved as two state dictionaries.
    "two dictionaries": (
        lambda n, m: {"encoder": plain(n.features, "features."), "classifier": plain(n.classifier)},
        r"Elsewhere it has 'classifier\.weight'", {"head": ["classifier.weight"]}, 0,
    ),
    # gpleiss/temperature_scaling keeps the network and a temperature.
    "a temperature": (
        lambda n, m: {**plain(n, "model."), "temperature": torch.ones(1)},
        "other weights besides the network: 'temperature'", {"head": ["model.classifier.weight"]}, 0,
    ),
    # open-mmlab/mmdetection issue 8654: EMAHook writes its copy with underscores.
    "mmcv's moving average": (
        lambda n, m: {**plain(n), **{f"ema_{name.replace('.', '_')}": v for name, v in plain(m).items()}},
        "other weights besides the network: 'ema_features_conv0_weight'", {"head": ["classifier.weight"]}, 0,
    ),
    # A layer without bias may be one that compares angles, as in face recognition.
    "no bias": (
        lambda n, m: {name: v for name, v in plain(n).items() if name != "classifier.bias"},
        "has no bias, so it may not be a plain linear layer", {"head": ["classifier.weight"]}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", AMBIGUOUS)
def test_several_networks_or_heads_are_named_and_chosen_never_guessed(tiny: Any, tmp_path: Path, layout: str) -> None:
    build, named, choice, which = AMBIGUOUS[layout]
    networks = [tiny(4), other(tiny), tiny(4)]
    networks[2].load_state_dict({**plain(networks[0]), "classifier.bias": torch.zeros(4)})
    assert networks[0].classifier.in_features == 16
    torch.save(build(networks[0], networks[1]), tmp_path / "m.pt")
    known = {"classes": ("a", "b", "c", "d"), "task": "single-label"}
    with pytest.raises(UsageError, match=named) as error:
        imported(tmp_path / "m.pt", tmp_path, **known)
    assert "--prefix" in str(error.value) or "--head" in str(error.value)
    assert not (tmp_path / "models").exists()
    found, _, _ = imported(tmp_path / "m.pt", tmp_path, **known, **choice)
    with torch.no_grad():
        assert torch.equal(found(inputs()), networks[which](inputs()))


def test_no_count_of_outputs_names_classes(tiny: Any, tmp_path: Path) -> None:
    """Seven classes and their moving average are fourteen rows, and so are CheXpert's; none of them is CheXNet."""
    seven, average = tiny(7), other(tiny, 7)
    torch.save({**plain(seven, "model."), **plain(average, "ema.")}, tmp_path / "m.pt")
    with pytest.raises(UsageError, match="2 networks"):
        imported(tmp_path / "m.pt", tmp_path)
    for k in (2, 3, 14, 15, 18):
        torch.save(plain(tiny(k)), tmp_path / "m.pt")
        with pytest.raises(UsageError, match=f"{k} outputs, but no classes"):
            imported(tmp_path / "m.pt", tmp_path)
    # The wrapper of zoogzog/chexnet was taken over for CheXpert in 2019; by then batches were counted.
    later = renamed(tiny(14), (r"^classifier\.", "classifier.0."), ("^", "module.densenet121."))
    torch.save({"state_dict": later}, tmp_path / "m.pt")
    with pytest.raises(UsageError, match="14 outputs, but no classes"):
        imported(tmp_path / "m.pt", tmp_path)
    early = {name: value for name, value in later.items() if not name.endswith("num_batches_tracked")}
    torch.save({"state_dict": early}, tmp_path / "m.pt")
    assert imported(tmp_path / "m.pt", tmp_path)[1] == CHEXNET
    # An age head beside Zech's own layer is a fifteenth output of nothing.
    network = tiny(14)
    network.classifier = nn.Sequential(network.classifier, nn.Sigmoid())
    network.age = nn.Linear(16, 1)
    zech = {"model": network, "best_loss": 0.1, "epoch": 3, "rng_state": torch.get_rng_state(), "LR": 0.01}
    torch.save(zech, tmp_path / "m.pt")
    with pytest.raises(UsageError, match=r"classifier\.0\.weight \(14 outputs\), model\.age\.weight \(1 output\)"):
        imported(tmp_path / "m.pt", tmp_path)
    assert imported(tmp_path / "m.pt", tmp_path, head=["classifier.0"])[1] == CHEXNET
    # Names that a module holds are those of its own outputs, not of another head with as many.
    network.targets = list(ORDERS["torchxrayvision"][:14])
    network.other = nn.Linear(16, 14)
    torch.save(network, tmp_path / "m.pt")
    with pytest.raises(UsageError, match="14 outputs, but no classes"):
        imported(tmp_path / "m.pt", tmp_path, head=["other"])


def test_a_head_of_several_layers_is_refused_and_says_so(tiny: Any, tmp_path: Path) -> None:
    """fastai's and many others': normalisation, a hidden layer, the outputs. A bundle cannot hold them."""
    network = tiny(4)
    heads = {
        "hidden": [nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)],
        "narrow": [nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)],
        "normalised": [nn.BatchNorm1d(16), nn.Linear(16, 4)],
        "calibrated": [nn.Linear(16, 4), nn.Linear(4, 4)],
    }
    for layers in heads.values():
        network.classifier = nn.Sequential(*layers)
        torch.save(plain(network), tmp_path / "m.pt")
        for head in ([], ["classifier.0.weight"] if isinstance(layers[0], nn.Linear) else ["classifier.1.weight"]):
            with pytest.raises(ModelError, match="more than one linear layer"):
                imported(tmp_path / "m.pt", tmp_path, head=head, classes=("a", "b", "c", "d"), task="single-label")
    state = renamed(tiny(4), ("^classifier", "last"))
    state["last.weight"], state["hidden.weight"], state["hidden.bias"] = (
        torch.ones(4, 8),
        torch.ones(8, 16),
        torch.ones(8),
    )
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"last\.weight reads 8 values, but the network has 16 features"):
        imported(tmp_path / "m.pt", tmp_path, head=["last"], classes=("a", "b", "c", "d"))


def test_choices_that_do_not_exist_are_named(tiny: Any, tmp_path: Path) -> None:
    evil = "a\x1b[2J\u202e" + "x" * 200
    torch.save({"state_dict": plain(tiny(4)), f"{evil}": plain(other(tiny))}, tmp_path / "m.pt")
    for options, match in (
        ({}, "2 networks"),
        ({"prefix": "nothing"}, "no network with the prefix 'nothing'"),
        (
            {"prefix": "state_dict", "head": ["age"]},
            "no linear layer 'age' for this network.*'state_dict.classifier.weight'",
        ),
        ({"prefix": "state_dict", "head": [f"{evil}.classifier.weight"]}, "no linear layer"),
        ({"prefix": "state_dict", "head": ["classifier", "classifier.weight"]}, "twice"),
    ):
        with pytest.raises(UsageError, match=match) as error:
            imported(tmp_path / "m.pt", tmp_path, **options)
        assert str(error.value).isprintable() and len(str(error.value)) < 800


def test_one_channel_is_scaled_as_known_or_asked_for(tiny: Any, tmp_path: Path) -> None:
    """torchxrayvision's range is its own: MONAI's networks of one channel are mostly trained from 0 to 1."""
    network = tiny(3, channels=1)
    torch.save(plain(network), tmp_path / "m.pt")
    known = {"classes": ("a", "b", "c"), "task": "single-label"}
    with pytest.raises(UsageError, match=r"one grey channel.*--scale unit"):
        imported(tmp_path / "m.pt", tmp_path, **known)
    with pytest.raises(UsageError, match="one grey channel"):
        imported(tmp_path / "m.pt", tmp_path, scale="imagenet", **known)
    with pytest.raises(UnknownNameError, match="unit"):
        imported(tmp_path / "m.pt", tmp_path, scale="units", **known)
    grey = torch.arange(256, dtype=torch.uint8).reshape(16, 16).numpy()
    theirs = torch.from_numpy(grey).float() / 255
    for scale, expected in (
        ("unit", theirs),
        ("symmetric", 2 * theirs - 1),
        ("torchxrayvision", (2 * theirs - 1) * 1024),
    ):
        found, _, bundle = imported(tmp_path / "m.pt", tmp_path, scale=scale, **known)
        assert torch.allclose(bundle.preprocessing.normalise(grey)[0], expected, atol=1e-2)
        with torch.no_grad():
            assert torch.allclose(found(inputs(3)), network(inputs(1)), atol=1e-5)


@pytest.mark.usefixtures("frameworks")
def test_containers_become_shells_and_are_never_made(tiny: Any, tmp_path: Path) -> None:
    torch.save(lightning(tiny(3)), tmp_path / "m.ckpt")
    found = read_checkpoint(tmp_path / "m.ckpt")
    settings_ = found["hyper_parameters"]
    met = [
        found["callbacks"]["ModelCheckpoint{'monitor': None}"]["dirpath"],
        found["optimizer_states"][0]["state"],
        found["lr_schedulers"][0]["milestones"],
        settings_, settings_.items["args"], settings_.items["config"], settings_.items["seen"],
    ]  # fmt: skip
    assert all(type(shell) is Shell for shell in met)
    assert [shell.kind.rsplit(".", 1)[1] for shell in met] == [
        "PosixPath", "defaultdict", "Counter", "AttributeDict", "Namespace", "DictConfig", "deque"
    ]  # fmt: skip
    assert settings_.items["args"].attributes["lr"] == 0.1
    # What looks like one of them, and calls something, is refused as before.
    torch.save({"state_dict": plain(tiny(3)), "hyper_parameters": Evil(os.system, "true")}, tmp_path / "m.ckpt")
    with pytest.raises(ModelError, match=r"posix\.system"):
        read_checkpoint(tmp_path / "m.ckpt")


@pytest.mark.usefixtures("tiny_architecture")
def test_flat_parameters_of_fsdp_are_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"_fsdp_wrapped_module._flat_param": torch.zeros(100)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"contains no DenseNet.*full state dictionary"):
        imported(tmp_path / "m.pt", tmp_path)
