from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from audit.data.tasks import TASKS
from audit.errors import AuditError, ModelError, UnknownNameError
from audit.models.bundle import find_bundle, load_bundle
from audit.models.classifier import Outputs, features_of
from audit.models.networks import ARCHITECTURES, AUDITED_ONLY, build_network, last_layer
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.models.tasks import Task, audited_task
from audit.models.torch_classifier import TorchClassifier


def test_round_trip(write_bundle: Callable[..., Path]) -> None:
    folder = write_bundle(splits={"a": "test", "b,\n": "train"}, provenance={"manifest": "x.csv"})
    bundle = load_bundle(folder)
    assert bundle.classes == ("normal", "pneumonia", "covid")
    assert bundle.splits == {"a": "test", "b,\n": "train"}
    assert bundle.seen == {}, "nothing is known of their pixels"
    assert not bundle.network.training
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bundle.logits(inputs), load_bundle(folder).logits(inputs))
    assert bundle.digest == load_bundle(folder).digest


def test_pixels_are_remembered_and_older_bundles_have_none(write_bundle: Callable[..., Path]) -> None:
    folder = write_bundle(splits={"a": "test", "b": "train"}, pixels={"b": "0f", "c": "1f"})
    assert load_bundle(folder).seen == {"0f": "train"}
    twice = write_bundle(
        splits={"a": "train", "b": "validation", "c": "test"}, pixels={"a": "0f", "b": "0f", "c": "0f"}
    )
    assert load_bundle(twice).seen == {"0f": "train"}, "a copy in the test does not make it unseen"
    (folder / "splits.csv").write_text("id,split\na,test\nb,train\n")
    older = load_bundle(folder)
    assert (older.splits, older.seen) == ({"a": "test", "b": "train"}, {})


@pytest.mark.parametrize(
    "damage", [b"name,split\nx,train\n", b"id,split\nx\n", bytes(range(128, 250)) + b"\n\xff,\n", b"id,split\n\0"]
)
def test_damaged_splits_are_one_clear_error(write_bundle: Callable[..., Path], damage: bytes) -> None:
    folder = write_bundle(splits={"a": "train"})
    (folder / "splits.csv").write_bytes(damage)
    with pytest.raises(ModelError, match=r"splits\.csv (is damaged|cannot be read).*Copy the bundle again"):
        load_bundle(folder)


def change(folder: Path, **fields: object) -> Path:
    document = json.loads((folder / "model.json").read_text())
    document.update(fields)
    (folder / "model.json").write_text(json.dumps(document))
    return folder


def resign(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    import hashlib

    data = safetensors.torch.save(state)
    (folder / "weights.safetensors").write_bytes(data)
    return change(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def test_wrong_number_of_classes(write_bundle: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"names 3 classes .* has 5 outputs"):
        write_bundle("never", n_outputs=5)
    folder = write_bundle()
    with pytest.raises(ModelError, match=r"names 4 classes .* has 3 outputs"):
        load_bundle(change(folder, classes=["a", "b", "c", "d"]))
    assert not (folder.parent / "never").exists(), "refused before anything is written"


def test_nan_weights(write_bundle: Callable[..., Path]) -> None:
    folder = write_bundle()
    state = safetensors.torch.load_file(folder / "weights.safetensors")
    state["classifier.bias"][1] = float("nan")
    with pytest.raises(ModelError, match=r"NaN or infinite in 1 tensors, first classifier.bias"):
        load_bundle(resign(folder, state))


def test_half_precision_is_refused(write_bundle: Callable[..., Path], tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle())
    with pytest.raises(ModelError, match="has float16"):
        save_bundle(
            tmp_path / "half",
            bundle.network.half(),
            name="half",
            architecture=bundle.architecture,
            classes=bundle.classes,
            task="single-label",
            preprocessing=bundle.preprocessing,
            provenance={},
            metrics={},
            splits={},
        )
    assert not (tmp_path / "half").exists()


def test_damage_is_told_by_the_checksum(write_bundle: Callable[..., Path]) -> None:
    folder = write_bundle()
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"classes": ["a"]}, "2 to 4096 different names"),
        ({"classes": ["a", "a", "b"]}, "different names"),
        ({"classes": ["a", "\x1b[2Jb", "c"]}, r"without control characters, found '\\x1b\[2Jb'"),
        ({"name": "C\x9b2J"}, r"without control characters, found 'C\\x9b2J'"),
        ({"name": {"a": 1}}, "name must be a string, found {'a': 1}"),
        ({"schema_version": 99}, "schema version 99"),
        ({"schema_version": True}, "schema version True"),
        (
            {"preprocessing": {"size_px": ["128", 128], "mean": [0.5] * 3, "std": [0.2] * 3}},
            r"preprocessing.size_px\[0\] must be an integer, found '128'",
        ),
        ({"preprocessing": {"size_px": [2, 2], "mean": [0, 0, 0], "std": [1, 1, 1]}}, "8 to 4096 px, found"),
        ({"preprocessing": None}, "preprocessing must be an object, found None"),
        ({"made_by": "x"}, "has a field made_by, which is not known"),
        ({"weights_sha256": "x" * 9}, "weights_sha256 must be"),
        ({"provenance": {"manifest": 5}}, r"provenance.manifest must be a string or null, found 5"),
        ({"provenance": {"ignore_labels": "abc"}}, "provenance.ignore_labels must be a list"),
        ({"provenance": {"columns": {"path": ["a"]}}}, "provenance.columns"),
        ({"name": "C" * 400}, "at most 300 characters, found 400"),
        ({"architecture": "densenet-smal"}, "Did you mean 'densenet-small'"),
        ({"architecture": "densenet121"}, "do not fit the architecture"),
    ],
)
def test_documents_that_cannot_be_used(write_bundle: Callable[..., Path], fields: dict[str, object], says: str) -> None:
    with pytest.raises((ModelError, UnknownNameError), match=says):
        load_bundle(change(write_bundle(), **fields))


def test_missing_parts(write_bundle: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_bundle()
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no readable weights"):
        load_bundle(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_bundle(folder)
    (folder / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="has schema version None"):
        load_bundle(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("device", [None, "/dev/zero"])
def test_weights_that_are_no_file_are_not_opened(write_bundle: Callable[..., Path], device: str | None) -> None:
    weights = write_bundle() / "weights.safetensors"
    weights.unlink()
    if device is None:
        os.mkfifo(weights)
    else:
        weights.symlink_to(device)
    with pytest.raises(ModelError, match=r"no readable weights\.safetensors \(it is a pipe or a device\)"):
        load_bundle(weights.parent)


def test_find_by_name_or_path_or_near_miss(write_bundle: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_bundle("net-C")
    assert find_bundle("net-C", folder.parent) == folder
    assert find_bundle(str(folder)) == folder
    with pytest.raises(UnknownNameError, match=r"Did you mean 'net-C'.*audit import FILE"):
        find_bundle("net-c", folder.parent)
    with pytest.raises(ModelError, match=r"has no model\.json"):
        find_bundle(str(tmp_path))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_ends_in_a_linear_classifier(architecture: str) -> None:
    network = build_network(architecture, 4)
    assert isinstance(network.classifier, torch.nn.Linear)
    assert network.classifier.out_features == 4
    assert hasattr(network, "features")


@pytest.mark.parametrize("architecture", sorted(AUDITED_ONLY))
def test_features_of_other_networks_are_what_their_last_layer_reads(architecture: str) -> None:
    if architecture.startswith(("vgg", "convnext_s", "resnet1", "resnet5")):
        # The same code as a smaller sibling, and hundreds of megabytes: built without weights, to see where it ends.
        with torch.device("meta"):
            assert last_layer(build_network(architecture, 4)).out_features == 4
        return
    network = build_network(architecture, 4).eval().requires_grad_(False)
    outputs = Outputs(names=("a", "b", "c", "d"), task="single-label")
    classifier = TorchClassifier(network, outputs, Preprocessing(size_px=(64, 64)))
    features = features_of(classifier)
    assert features is not None
    inputs = torch.randn(2, 3, 64, 64)
    assert torch.allclose(last_layer(network)(features(inputs)), classifier.logits(inputs), atol=1e-5)


def test_preprocessing_is_pillow_bilinear_then_imagenet() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    before = image.copy()
    prepared = Preprocessing(size_px=(32, 40)).prepare(image)
    resized = np.asarray(Image.fromarray(image).resize((40, 32), Image.Resampling.BILINEAR), dtype=float)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        assert np.allclose(prepared[channel].numpy(), (resized / 255 - mean) / std, atol=1e-6)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "classes",
    [
        ["a", "a"],
        ["a", " A "],
        ["a"],
        ["a", ""],
        ["a", "b" * 400],
        [str(i) for i in range(5000)],
    ],
)
def test_classes_that_cannot_be_told_apart(write_bundle: Callable[..., Path], classes: object) -> None:
    with pytest.raises(ModelError, match="list of 2 to 4096 different names"):
        load_bundle(change(write_bundle(), classes=classes))


def test_task_is_kept_checked_and_told_of_older_bundles(write_bundle: Callable[..., Path]) -> None:
    single, multi = write_bundle("a", task="single-label"), write_bundle("b", task="multi-label")
    assert (load_bundle(single).task, load_bundle(multi).task) == ("single-label", "multi-label")
    # Baselines name a network by its digest, which did not know of tasks.
    assert load_bundle(single).digest == load_bundle(multi).digest
    with pytest.raises(ModelError, match=r"task must be binary or multi-label or single-label, found 'softmax'"):
        load_bundle(change(single, task="softmax"))
    for provenance, expected in (
        ({"network": "C", "recipe": {"name": "demo"}}, "single-label"),
        ({"fingerprint": "0f", "seed": 0}, "multi-label"),
        ({"imported_from": "m.pth"}, None),
        ({}, None),
    ):
        document = json.loads((multi / "model.json").read_text())
        document.pop("task", None)
        (multi / "model.json").write_text(json.dumps({**document, "provenance": provenance}))
        assert load_bundle(multi).task == expected
    with pytest.raises(ModelError, match=r"provenance must be an object, found \[\]"):
        load_bundle(change(multi, provenance=[]))


@pytest.mark.parametrize(
    ("known", "said", "says"),
    [
        (None, "", "use --task single-label.*--task multi-label"),
        ("multi-label", "single-label", "is multi-label, but --task single-label was given"),
        ("single-label", "multi-label", "is single-label, but --task multi-label was given"),
        (None, "softmax", "No task is called"),
    ],
)
def test_a_network_is_audited_under_the_task_that_it_states(known: Task | None, said: str, says: str) -> None:
    with pytest.raises(AuditError, match=says):
        audited_task("C", known, said)
    for task in TASKS:
        assert {audited_task("C", *rest) for rest in ((task, ""), (task, task), (None, task))} == {task}


@pytest.mark.parametrize(
    "stored",
    [
        {"image": torch.zeros(5, dtype=torch.uint8), "logits": torch.zeros(3)},
        {"image": torch.zeros(64, 64, 3, dtype=torch.uint8), "logits": torch.zeros(3)},
        {"image": torch.zeros(9, 9, dtype=torch.uint8), "logits": torch.zeros(3)},
        {"image": torch.zeros(64, 64), "logits": torch.zeros(3)},
        {"image": torch.zeros(64, 64, dtype=torch.uint8), "logits": torch.zeros(3, dtype=torch.int64)},
        {"image": torch.zeros(64, 64, dtype=torch.uint8), "logits": torch.zeros(4)},
        {"image": torch.zeros(64, 64, dtype=torch.uint8)},
    ],
)
def test_canaries_of_other_shapes_are_one_clear_error(
    write_bundle: Callable[..., Path], stored: dict[str, torch.Tensor]
) -> None:
    folder = write_bundle()
    safetensors.torch.save_file(stored, folder / "canary.safetensors")
    with pytest.raises(ModelError, match="canary"):
        load_bundle(folder)
