"""Any classifier as its owner has it: the same network in every form answers the same, and leads to the same verdicts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import audit as front
from audit.data.images import read_gray
from audit.errors import AuditError, ModelError, UnknownNameError, UsageError
from audit.models.bundle import load_bundle
from audit.models.kinds import KINDS, with_kind
from audit.models.networks import build_network
from audit.models.opening import open_model
from audit.models.requests import DeclaredInput, ModelRequest
from audit.statistics.outputs import softmax

from .conftest import Audit, one_paragraph
from .door_models import CLASSES, SIDE, network, write_module, write_onnx, write_pt2, write_script
from .plugin_wheels import install_plugin

UNIT = DeclaredInput(input_px=(SIDE,), scale="unit", fit="squash")


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the module of networks into the working folder, which is not installed; return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    return write_module(tmp_path, "nets_" + "".join(c if c.isalnum() else "_" for c in request.node.name))


def asked(model: object, **further: object) -> ModelRequest:
    return ModelRequest(**{"model": str(model), "classes": CLASSES, "declared": UNIT, **further})


def probabilities(request: ModelRequest, image: np.ndarray) -> np.ndarray:
    bundle = open_model(request)
    return softmax(bundle.logits(bundle.preprocessing.prepare(image)[None]).numpy())[0]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (90, 70), dtype=np.uint8)


def own(image: np.ndarray, made: nn.Module) -> np.ndarray:
    """What the network answers to an image by a way that shares no code with the audit's."""
    from PIL import Image

    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    inputs = torch.from_numpy(small / 255)[None, None]
    channels = next(m for m in made.modules() if isinstance(m, nn.Conv2d)).in_channels
    with torch.inference_mode():
        return torch.softmax(made(inputs.repeat(1, channels, 1, 1)), 1)[0].numpy()


def forms(module: str, folder: Path) -> dict[str, ModelRequest]:
    """Return the same network in every form."""
    made = network()
    torch.save(made.state_dict(), folder / "weights.pth")
    return {
        "function": asked(f"{module}:load"),
        "function with its file": asked(f"{module}:from_file", checkpoint="weights.pth"),
        "function with facts": ModelRequest(model=f"{module}:facts"),
        "file and its function": asked("weights.pth", kind=f"{module}:from_file"),
        "class": asked(f"{module}:Net"),
        "object with logits": asked(f"{module}:Wrapped"),
        "probabilities": asked(f"{module}:as_probabilities"),
        "live module": asked("Net", live=made),
        "onnx": asked(write_onnx(folder / "a.onnx", made)),
        "onnx, softmax": asked(write_onnx(folder / "b.onnx", made, softmax=True)),
        "onnx, one image, any size": asked(write_onnx(folder / "c.onnx", made, shape=(1, 3, "h", "w"))),
        "pt2": asked(write_pt2(folder / "a.pt2", made), trust=True),
        "torchscript": asked(write_script(folder / "a.pt", made), trust=True),
        "callable": asked(f"{module}:predict", kind="callable", declared=DeclaredInput(input_px=(SIDE,), fit="squash")),
        "own preparation": asked(
            f"{module}:load", declared=DeclaredInput(input_px=(SIDE,), preprocess=f"{module}:prepare")
        ),
    }


def test_the_same_network_in_every_form_answers_the_same(module: str, tmp_path: Path, image: np.ndarray) -> None:
    expected = own(image, network())
    assert len({round(float(p), 3) for p in expected}) == 3, "the network is not blind"
    requests = forms(module, tmp_path)
    assert {with_kind(r).kind.partition(":")[0] for r in requests.values()} == {
        "torch", "onnx", "pt2", "torchscript", "callable",
    }  # fmt: skip
    for name, request in requests.items():
        assert np.allclose(probabilities(request, image), expected, atol=1e-4), name
        bundle = open_model(request)
        assert (bundle.classes, bundle.task) == (CLASSES, "single-label"), name
        inner = bundle.classifier.ability("network")
        assert inner is None or not any(m.training for m in inner.modules()), f"{name}: LRP would be refused"


@pytest.mark.slow
def test_predictions_and_verdicts_are_the_same_in_every_form(
    audit: Audit, write_cohort: Callable[..., Path], module: str, tmp_path: Path
) -> None:
    manifest = write_cohort(6)
    forms(module, tmp_path)
    usual = ["--classes", ",".join(CLASSES), "--input-px", SIDE, "--fit", "squash"]
    unit = [*usual, "--scale", "unit"]
    commands = {
        "function": ["--model", f"{module}:load", *unit],
        "two processes": ["--model", f"{module}:load", *unit, "--workers", 2, "--runs", "two"],
        "onnx": ["--model", "a.onnx", *unit],
        "torchscript": ["--model", "a.pt", "--trust", *unit],
        "pt2": ["--model", "a.pt2", "--trust", *unit],
        "callable": ["--model", f"{module}:predict", "--as", "callable", *usual],
    }
    found = {}
    for name, command in commands.items():
        code, out, err = audit(
            "run", *command, "--data", manifest, "--suite", "quick", "--resamples", 100, "--detector", "annotated",
            "--boxes", manifest.parent / "boxes.json", "--judge-images", 0, "--relevance-images", 0,
        )  # fmt: skip
        assert code == 0, err
        run = Path(out.splitlines()[-1]).parent
        rows = [r for part in sorted((run / "predictions").iterdir()) for r in pq.read_table(part).to_pylist()]
        effects = json.loads((run / "effects.json").read_text())["effects"]
        found[name] = rows, [(e["condition"], e["measure"], e["group"], e["verdict"]) for e in effects]
        assert "assumed, because it was not declared" in err
    rows, verdicts = found["function"]
    assert {v for *_, v in verdicts} > {"descriptive"}
    for name, (others, told) in found.items():
        for row, other in zip(rows, others, strict=True):
            assert (row["record_id"], row["condition"]) == (other["record_id"], other["condition"])
            assert np.allclose(row["probabilities"], other["probabilities"], atol=1e-4), name
        same = [pair for pair in zip(verdicts, told, strict=True) if pair[0] != pair[1]]
        assert not same, (name, same)
    assert found["two processes"] == found["function"]


def test_a_changed_network_is_another_model(module: str, tmp_path: Path) -> None:
    made = network()
    torch.save(made.state_dict(), tmp_path / "w.pth")
    request = asked(f"{module}:from_file", checkpoint="w.pth")
    before = open_model(request).digest
    assert open_model(request).digest == before
    state = {**made.state_dict(), "head.bias": made.state_dict()["head.bias"] + 0.01}
    torch.save(state, tmp_path / "w.pth")
    assert open_model(request).digest != before, "other weights under the same name"
    assert open_model(replace(request, declared=replace(UNIT, fit="letterbox"))).digest != before
    onnx = asked(write_onnx(tmp_path / "m.onnx", made))
    first = open_model(onnx).digest
    write_onnx(tmp_path / "m.onnx", network(seed=1))
    assert open_model(onnx).digest != first
    # Of a function nothing but its answers is known.
    predict = asked(
        "p", kind="callable", live=lambda images: np.full((len(images), 3), 1 / 3), declared=DeclaredInput()
    )
    other = replace(predict, live=lambda images: np.tile([0.2, 0.3, 0.5], (len(images), 1)))
    assert open_model(predict).digest != open_model(other).digest


@pytest.mark.parametrize(("name", "of"), [("one_output", "logits"), ("as_sigmoid", "probabilities")])
def test_one_sigmoid_tells_two_classes_apart(module: str, image: np.ndarray, name: str, of: str) -> None:
    request = asked(f"{module}:{name}", classes=("healthy", "ill"), answers=of)
    bundle = open_model(request)
    assert (bundle.classes, bundle.task) == (("healthy", "ill"), "binary")
    made = network(outputs=1)
    inputs = bundle.preprocessing.prepare(image)[None]
    with torch.inference_mode():
        expected = float(torch.sigmoid(made(inputs))[0, 0])
    assert np.allclose(softmax(bundle.logits(inputs).numpy())[0], [1 - expected, expected], atol=1e-5)
    with pytest.raises(
        ModelError, match=r"has 1 output, but 3 classes are named\. A network of one output \(a sigmoid\) has two"
    ):
        open_model(replace(request, classes=CLASSES))
    if of == "probabilities":
        with pytest.raises(UsageError, match=r"lies between 0 and 1 .* --answers probabilities or --answers logits"):
            open_model(replace(request, answers=None))


def test_two_outputs_are_binary_too(module: str) -> None:
    (Path(f"{module}.py")).write_text(
        (Path(f"{module}.py")).read_text() + "\n\ndef two():\n    return Net(outputs=2)\n"
    )
    request = asked(f"{module}:two", classes=("healthy", "ill"), task="binary")
    assert open_model(request).task == "binary"
    with pytest.raises(UsageError, match="3 classes, but --task binary"):
        open_model(asked(f"{module}:load", task="binary"))


def test_findings_of_a_network_of_sigmoids(module: str, image: np.ndarray) -> None:
    """Logits and probabilities of independent findings become the same log odds; what is a softmax is refused."""
    more = "\n\ndef sigmoids():\n    return nn.Sequential(Net(), nn.Sigmoid())\n\n\ndef one():\n    return Net(outputs=1)\n"
    Path(f"{module}.py").write_text(Path(f"{module}.py").read_text() + more)
    plain = open_model(asked(f"{module}:load", task="multi-label", answers="logits"))
    apart = open_model(
        asked(f"{module}:sigmoids", task="multi-label", answers="probabilities", operating_points=(0.4,))
    )
    inputs = plain.preprocessing.prepare(image)[None]
    assert np.allclose(plain.logits(inputs), network()(inputs).detach(), atol=1e-5)
    assert np.allclose(torch.sigmoid(apart.logits(inputs)), torch.sigmoid(network()(inputs)).detach(), atol=1e-5)
    assert (plain.task, plain.points, apart.points) == ("multi-label", (), (0.4, 0.4, 0.4))
    with pytest.raises(UsageError, match=r"All outputs of .* lie between 0 and 1, .* --answers probabilities or"):
        open_model(asked(f"{module}:sigmoids", task="multi-label"))
    with pytest.raises(ModelError, match=r"sum to 1: they are those of a softmax\. Use --task single-label"):
        open_model(asked(f"{module}:as_probabilities", task="multi-label", answers="probabilities"))
    with pytest.raises(ModelError, match=r"For independent sigmoids, use --task multi-label"):
        open_model(asked(f"{module}:sigmoids", answers="probabilities"))
    with pytest.raises(UsageError, match="has one output, but --task multi-label"):
        open_model(asked(f"{module}:one", classes=("healthy", "ill"), task="multi-label"))
    with pytest.raises(UsageError, match="is single-label, and only multi-label networks have operating points"):
        open_model(asked(f"{module}:load", operating_points=(0.5,)))


def test_published_orders_name_outputs_and_their_task(module: str) -> None:
    more = "\n\ndef chexnet():\n    return Net(outputs=14)\n"
    Path(f"{module}.py").write_text(Path(f"{module}.py").read_text() + more)
    found = open_model(asked(f"{module}:chexnet", classes=("chexnet",)))
    assert (len(found.classes), found.classes[6], found.task) == (14, "Pneumonia", "multi-label")
    assert any("each output is a finding of its own" in said for said in found.assumed)
    assert open_model(asked(f"{module}:chexnet", classes=("chexnet",), task="single-label")).task == "single-label"


def test_a_grey_network_gets_one_channel(module: str, image: np.ndarray) -> None:
    request = asked(f"{module}:grey")
    assert open_model(request).preprocessing.channels == 1
    assert np.allclose(probabilities(request, image), own(image, network(channels=1)), atol=1e-5)
    with pytest.raises(
        UsageError, match=r"reads one grey channel, and nothing states how grey values were scaled.*--scale unit"
    ):
        open_model(replace(request, declared=DeclaredInput(input_px=(SIDE,))))
    with pytest.raises(UsageError, match="reads 1 channels, but --channels 3"):
        open_model(replace(request, declared=replace(UNIT, channels=3)))


def test_an_8_bit_onnx_input_gets_0_to_255(tmp_path: Path, image: np.ndarray) -> None:
    made = network()
    file = write_onnx(tmp_path / "u.onnx", made, kind=2)
    bundle = open_model(asked(file, declared=DeclaredInput(fit="squash")))
    assert bundle.preprocessing.value_range == (0, 255) and bundle.preprocessing.size_px == (SIDE, SIDE)
    scaled = bundle.preprocessing.resize(image)
    with torch.inference_mode():
        expected = torch.softmax(made(torch.from_numpy(scaled.astype(np.float32))[None, None].repeat(1, 3, 1, 1)), 1)
    found = softmax(bundle.logits(bundle.preprocessing.prepare(image)[None]).numpy())
    assert np.allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "further", "says"),
    [
        ("{m}:lod", {}, r"has no 'lod'\. Did you mean 'load'"),
        ("{m}_x:load", {}, r"there is no module nets\w*_x in .*Start the command in the folder that contains it"),
        ("{m}:number", {}, "must be a function or another callable, found a int"),
        ("{m}:not_a_network", {}, r"must return a torch\.nn\.Module.*found int.*--as callable"),
        ("{m}:broken", {}, r"failed: ValueError\('no such weights'\)\. If it needs a file of weights"),
        ("{m}:leaves", {}, r"leaves failed: SystemExit\(3\)"),
        ("{m}:load", {"classes": ()}, r"classes of nets\w+:load are unknown.*--classes a,b,c or classes in \[model\]"),
        ("{m}:load", {"classes": ("a", "A", "b")}, "two different classes are needed"),
        ("{m}:load", {"classes": ("a", "b")}, r"has 3 outputs, but 2 classes are named.*in the order of the outputs"),
        ("{m}:load", {"declared": DeclaredInput(scale="unit")}, "size of the input .* is unknown.*--input-px SIDE"),
        ("{m}:load", {"declared": replace(UNIT, mean=(0.5,))}, "give either --scale, or --mean and --std"),
        ("{m}:load", {"declared": replace(UNIT, library="torch", interpolation="lanczos")}, "torch has no interpolation lanczos"),
        ("{m}:load", {"answers": "probabilities"}, r"declared to give probabilities, but gives .*--answers logits"),
        ("{m}:as_probabilities", {"answers": "logits"}, r"they are probabilities\. Use --answers probabilities"),
        ("{m}:Random", {}, "gives different answers to the same image"),
        ("{m}:load", {"kind": "onx"}, "Did you mean 'onnx'"),
        ("nowhere/x", {}, "No model is called 'nowhere/x'"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_one_sentence(module: str, model: str, further: dict[str, object], says: str) -> None:
    with pytest.raises((UsageError, ModelError), match=says):
        open_model(asked(model.format(m=module), **further))


def test_weights_of_another_precision_are_converted_and_it_is_said(module: str, image: np.ndarray) -> None:
    assert np.allclose(probabilities(asked(f"{module}:double"), image), own(image, network()), atol=1e-4)
    assert "weights of float64 are converted to float32" in open_model(asked(f"{module}:double")).assumed


def test_facts_are_checked_and_the_user_counts_more(module: str) -> None:
    source = Path(f"{module}.py")
    lines = {
        "odd": '{"clases": ["a", "b", "c"]}',
        "wrong": '{"classes": 5}',
        "scaled": '{"classes": ["a", "b", "c"], "input_px": [48, 56], "mean": 0.5, "std": [0.25]}',
    }
    text = "".join(f"\n\ndef {name}():\n    return Net(), {value}\n" for name, value in lines.items())
    source.write_text(source.read_text() + text)
    with pytest.raises(UnknownNameError, match="Did you mean 'classes'"):
        open_model(ModelRequest(model=f"{module}:odd"))
    with pytest.raises(UsageError, match="returns classes = 5 beside its network, which is not valid"):
        open_model(ModelRequest(model=f"{module}:wrong"))
    told = open_model(ModelRequest(model=f"{module}:scaled"))
    assert told.preprocessing.size_px == (48, 56)
    assert told.preprocessing.mean == (0.5, 0.5, 0.5) and told.preprocessing.std == (0.25, 0.25, 0.25)
    said = open_model(asked(f"{module}:scaled"))
    assert said.classes == CLASSES and said.preprocessing.size_px == (SIDE, SIDE)
    assert said.preprocessing.std == (1, 1, 1)


def test_programs_need_trust_and_weights_need_a_network(tmp_path: Path) -> None:
    made = network()
    for file in (write_script(tmp_path / "a.pt", made), write_pt2(tmp_path / "a.pt2", made)):
        with pytest.raises(UsageError, match=r"is a program: .*add --trust; otherwise ask for an ONNX file"):
            open_model(asked(file))
    torch.save(made.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"holds weights, but not the network.*--as package\.module:function"):
        open_model(asked(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "..\\secret.bin", "C:\\x", "link.bin"]
)
def test_weights_of_an_onnx_file_never_lie_outside_its_folder(tmp_path: Path, location: str) -> None:
    made = network()
    folder = tmp_path / "model"
    folder.mkdir()
    values = made.state_dict()["body.0.weight"].numpy()
    (tmp_path / "secret.bin").write_bytes(values.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    file = write_onnx(folder / "m.onnx", made, external={"body.0.weight": location})
    with pytest.raises(ModelError, match=r"is refused: its weights are said to lie in .* outside its folder"):
        open_model(asked(file))


def test_weights_beside_an_onnx_file_are_read_and_are_part_of_it(tmp_path: Path, image: np.ndarray) -> None:
    made = network()
    values = made.state_dict()["body.0.weight"].numpy()
    file = write_onnx(tmp_path / "m.onnx", made, external={"body.0.weight": "m.bin"})
    with pytest.raises(ModelError, match=r"'m\.bin', which is not beside it"):
        open_model(asked(file))
    (tmp_path / "m.bin").write_bytes(values.tobytes())
    assert np.allclose(probabilities(asked(file), image), own(image, made), atol=1e-5)
    before = open_model(asked(file)).digest
    (tmp_path / "m.bin").write_bytes((values * 1.5).tobytes())
    assert open_model(asked(file)).digest != before


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"PK\x03\x04", b"\xff" * 30, b"\x0a\xff\xff\xff\xff\x0f"])
def test_damaged_onnx_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(damage)
    with pytest.raises(ModelError, match=r"is refused|cannot open"):
        open_model(asked(tmp_path / "m.onnx"))


def test_shapes_of_an_onnx_file_count(tmp_path: Path) -> None:
    made = network()
    fixed = write_onnx(tmp_path / "m.onnx", made)
    with pytest.raises(UsageError, match=r"reads 64 x 64 pixels, but --input-px 32 was given\. Omit --input-px"):
        open_model(asked(fixed, declared=replace(UNIT, input_px=(32,))))
    with pytest.raises(ModelError, match="takes 4 images at a time"):
        open_model(asked(write_onnx(tmp_path / "four.onnx", made, shape=(4, 3, SIDE, SIDE))))
    with pytest.raises(ModelError, match=r"has 3 outputs, but 2 classes|one output \(n, 2\)"):
        open_model(asked(fixed, classes=("a", "b")))


def test_a_package_adds_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from dataclasses import replace\n\nfrom audit.models.callables import open_callable\n\n\n"
        "def constant(request):\n    import numpy as np\n\n    answer = np.array([0.5, 0.3, 0.2])\n"
        "    return open_callable(replace(request, live=lambda images: np.tile(answer, (len(images), 1))))\n"
    )
    site = install_plugin(
        tmp_path, "door_plugin", {"door_plugin.py": source}, "[audit.models]\nconstant = door_plugin:constant\n"
    )
    monkeypatch.syspath_prepend(str(site))
    assert "constant" in KINDS.names()
    bundle = open_model(ModelRequest(model="anything", kind="constant", classes=CLASSES))
    assert np.allclose(softmax(bundle.logits(torch.zeros(1, 1, 20, 30)).numpy()), [[0.5, 0.3, 0.2]], atol=1e-5)


# From Python, and what is absent


def small(manifest: Path, tmp_path: Path, **further: object) -> dict[str, object]:
    return {
        "data": manifest, "detector": "annotated", "boxes": manifest.parent / "boxes.json", "suite": "quick",
        "runs": tmp_path / "runs", "cache": tmp_path / "cache", "resamples": 100, "judge_images": 0,
        "relevance_images": 2, "gate": False, **further,
    }  # fmt: skip


def test_a_scikit_learn_pipeline_is_audited_from_python(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    manifest = write_cohort(4)
    files = sorted((manifest.parent / "images").glob("*.png"))
    table = np.stack([read_gray(file)[::8, ::8].ravel() for file in files])
    labels = [file.name.partition("-")[0] for file in files]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, labels)

    def predict(images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8 and images.shape[1:] == (96, 96)
        return pipeline.predict_proba(images[:, ::8, ::8].reshape(len(images), -1))

    order = tuple(pipeline.classes_)
    with pytest.raises(ModelError, match=r"takes images of one size alone, declare it with --input-px"):
        front.run_audit(model=predict, classes=order, **small(manifest, tmp_path))
    result = front.run_audit(model=predict, classes=order, input_px=(96,), **small(manifest, tmp_path))
    plan = json.loads((result.path / "plan.json").read_text())
    assert plan["model"]["classes"] == list(order)
    assert "gives no features" in plan["model"]["lacks"][0]
    rows = [r for p in (result.path / "predictions").iterdir() for r in pq.read_table(p).to_pylist()]
    clean = {tuple(np.round(r["probabilities"], 4)) for r in rows if r["condition"] == "clean"}
    expected = {tuple(np.round(row, 4)) for row in pipeline.predict_proba(table).astype(np.float32)}
    assert all(min(np.abs(np.subtract(a, b)).max() for b in expected) < 1e-4 for a in clean)
    # What is absent is done without, and said.
    relevance = json.loads((result.path / "relevance.json").read_text())["relevance"]
    assert relevance["preset"] == "occlusion" and "LRP is not possible" in relevance["note"]
    assert relevance["randomisation"] == []
    page = result.report.read_text()
    assert "gives no features" in page and "Occlusion of one patch after another" in page
    with pytest.raises(UsageError, match=r"cannot be sent to other processes.*workers=1"):
        front.run_audit(model=predict, classes=order, **small(manifest, tmp_path, workers=2))
    with pytest.raises(UsageError, match="found a int"):
        front.run_audit(model=5, classes=order, **small(manifest, tmp_path))


def test_a_run_without_relevance_asks_for_no_heatmap(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    """Occlusion asks a function, which may be a server, hundreds of times for each map."""
    asked_for: list[int] = []

    def predict(images: np.ndarray) -> np.ndarray:
        asked_for.append(len(images))
        bright = images.reshape(len(images), -1).mean(axis=1) / 255
        return np.stack([bright / 2, bright / 2, 1 - bright], axis=1)

    result = front.run_audit(model=predict, classes=CLASSES, **small(write_cohort(2), tmp_path, relevance_images=0))
    n_predictions = sum(pq.read_table(p).num_rows for p in (result.path / "predictions").iterdir())
    examples = 2 + 2 * 8  # what the door tries once, and what the function is recognised by, twice
    assert sum(asked_for) <= n_predictions + examples
    assert not list((result.path / "examples").glob("*relevance*"))


def test_a_live_module_is_audited_and_left_as_it_was(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    made = network().train()
    manifest = write_cohort(4)
    result = front.run_audit(
        model=made, classes=CLASSES, input_px=(SIDE,), scale="unit", **small(manifest, tmp_path, fit="letterbox")
    )
    assert made.training and all(p.requires_grad for p in made.parameters())
    relevance = json.loads((result.path / "relevance.json").read_text())["relevance"]
    assert relevance["preset"] == "epsilon-plus-flat", "LRP traces any plain network"
    assert "letterbox" in (result.path / "plan.json").read_text()
    assert "the whole image, padded with 0" in result.report.read_text()


@pytest.mark.slow
def test_a_live_network_of_many_layers_is_sent_to_other_processes(
    write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    made = build_network("densenet-small", len(CLASSES)).eval()
    assert len(made.state_dict()) > 256, "more tensors than files that can be sent at once"
    manifest, written = write_cohort(6), []
    for workers in (1, 2):
        asked_for = small(manifest, tmp_path, workers=workers, relevance_images=0, runs=tmp_path / f"runs-{workers}")
        result = front.run_audit(model=made, classes=CLASSES, input_px=(SIDE,), scale="unit", fit="squash", **asked_for)
        written.append((result.path / "effects.json").read_bytes())
    assert written[0] == written[1]


def test_a_network_without_gradients_is_occluded(
    module: str, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    result = front.run_audit(
        model=f"{module}:Opaque", classes=CLASSES, input_px=(SIDE,), scale="unit", **small(write_cohort(4), tmp_path)
    )
    relevance = json.loads((result.path / "relevance.json").read_text())["relevance"]
    assert relevance["preset"] == "occlusion" and "the network gives no gradients" in relevance["note"]


def test_answers_of_a_function_are_checked(tmp_path: Path) -> None:
    def opened(answer: Callable[[np.ndarray], object]) -> None:
        open_model(asked("f", kind="callable", live=answer, declared=DeclaredInput()))

    for answer, says in (
        (lambda x: np.zeros((len(x), 3)), r"rows that sum to 0"),
        (lambda x: np.full((len(x), 3), 0.5), r"rows that sum to 1\.5.*multi-label"),
        (lambda x: np.zeros(2 * len(x)), r"one row of probabilities for each of 2 images, found an array \(4,\)"),
        (lambda x: np.full((len(x), 3), np.nan), "not finite"),
        (lambda x: 1 / 0, r"failed on uint8 images \(2, 160, 128\): ZeroDivisionError"),
        (lambda x: sys.exit(3), r"failed on uint8 images \(2, 160, 128\): SystemExit\(3\)"),
        (lambda x: np.full((len(x), 4), 0.25), "has 4 outputs, but 3 classes"),
    ):
        with pytest.raises(ModelError, match=says):
            opened(answer)
    with pytest.raises(UsageError, match="gets images of 8 bits"):
        open_model(asked("f", kind="callable", live=lambda x: x))


def test_findings_that_sum_to_one_by_chance_end_no_run() -> None:
    """Of two sigmoids of one image the sum is 1 now and then: that is a softmax only where every first answer says so."""

    def sigmoids(images: np.ndarray) -> np.ndarray:
        bright = images.reshape(len(images), -1).mean(axis=1) / 255
        return np.stack([bright, np.full(len(images), 0.4)], axis=1)

    request = ModelRequest(model="f", kind="callable", live=sigmoids, classes=("a", "b"), task="multi-label")
    opened = open_model(request)
    image = torch.full((1, 1, 20, 20), 153.0, dtype=torch.float32).to(torch.uint8)
    assert sigmoids(image.numpy()[:, 0]).sum() == pytest.approx(1.0, abs=1e-6)
    assert torch.allclose(torch.sigmoid(opened.logits(image)), torch.tensor([[0.6, 0.4]]), atol=1e-5)
    with pytest.raises(ModelError, match="those of a softmax"):
        open_model(replace(request, live=lambda x: np.tile([0.6, 0.4], (len(x), 1))))


# The command line


def test_settings_of_a_model_stand_in_their_section(
    audit: Audit, write_cohort: Callable[..., Path], module: str, tmp_path: Path
) -> None:
    manifest = write_cohort(4)
    (tmp_path / "audit.toml").write_text(
        f'[run]\nmodel = "{module}:grey"\nsuite = "quick"\nresamples = 100\ndetector = "annotated"\n'
        f'boxes = "data/boxes.json"\njudge_images = 0\nrelevance_images = 2\n\n'
        '[model]\nclasses = ["normal", "pneumonia", "covid"]\ninput_px = [64]\nmean = [0.5]\nstd = [0.25]\nfit = "shorter-side"\n'
        "shorter_px = 72\ncrop = [0.0, 0.1, 1.0, 0.9]\n"
    )
    code, out, err = audit("run", "--data", manifest)
    assert code == 0, err
    told = err.splitlines()
    assert told[0].startswith("model: nets_") and told[0].endswith("single-label, outputs normal, pneumonia, covid")
    assert (
        "shorter side scaled to 72 px, then the centre, bilinear (PIL), 1 channel, values 0 to 1, mean 0.5, deviation 0.25"
        in told[1]
    )
    run = Path(out.splitlines()[-1]).parent
    steps = json.loads((run / "plan.json").read_text())["model"]["preprocessing"]
    assert (steps["size_px"], steps["shorter_px"], steps["crop"]) == ([64, 64], 72, [0.0, 0.1, 1.0, 0.9])
    (tmp_path / "audit.toml").write_text('[model]\nclases = ["a"]\n')
    code, _, err = audit("run", "--model", f"{module}:grey", "--data", manifest)
    assert code == 2 and "No key of [model]" in one_paragraph(err) and "Did you mean 'classes'" in err
    (tmp_path / "audit.toml").unlink()
    code, _, err = audit("run", "--model", f"{module}:grey", "--data", manifest, "--input-px", "big")
    assert code == 2 and "--input-px must be a list of integers, found 'big'" in one_paragraph(err)
    code, _, err = audit("run", "--model", f"{module}:load", "--classes", "a,b,c", "--input-px", "64")
    assert code == 2 and "does not state what it was trained on. Use --data MANIFEST" in one_paragraph(err)


def test_help_loads_no_torch() -> None:
    import subprocess

    program = "import sys, audit.cli.main, audit.run.settings; print(sorted({'torch', 'onnxruntime', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"


def test_errors_are_of_the_house() -> None:
    assert issubclass(ModelError, AuditError)
    with pytest.raises(AuditError):
        load_bundle(Path("nowhere"))


def test_a_function_gets_images_at_their_own_size(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    met: set[tuple[int, ...]] = set()

    def predict(images: np.ndarray) -> np.ndarray:
        met.add(images.shape[1:])
        bright = images.reshape(len(images), -1).mean(axis=1) / 255
        return np.stack([bright, 1 - bright], axis=1)

    manifest = write_cohort(4, classes=("normal", "covid"))
    result = front.run_audit(model=predict, classes=("normal", "covid"), **small(manifest, tmp_path))
    plan = json.loads((result.path / "plan.json").read_text())
    assert plan["model"]["preprocessing"]["size_px"] is None
    assert (96, 96) in met, "the size of the cohort's images"
    assert "images at their own size, 1 channel, values 0 to 255" in result.report.read_text()


# Bundles, and the libraries


def test_import_makes_a_bundle_that_answers_the_same(
    audit: Audit, module: str, tmp_path: Path, image: np.ndarray
) -> None:
    made, usual = network(), ["--classes", ",".join(CLASSES), "--input-px", SIDE, "--scale", "unit", "--fit", "squash"]
    torch.save(made.state_dict(), tmp_path / "weights.pth")
    write_onnx(tmp_path / "o.onnx", made)
    write_pt2(tmp_path / "p.pt2", made)
    write_script(tmp_path / "s.pt", made)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in torchvision_network().state_dict().items()}}, tmp_path / "r.pth"
    )
    for command, code_runs in (
        (["o.onnx"], False),
        (["p.pt2", "--trust"], True),
        (["s.pt", "--trust"], True),
        (["weights.pth", "--as", f"{module}:from_file"], True),
        (["r.pth", "--as", "resnet18"], False),
        ([f"{module}:load"], True),
    ):
        name = str(command[0]).partition(".")[0].partition(":")[0]
        code, out, err = audit("import", *command, *usual)
        assert code == 0, err
        assert out.splitlines()[-1] == f"models/{name}"
        assert f"input: {SIDE} × {SIDE} px, without keeping the aspect ratio" in out
        folder = tmp_path / "models" / name
        if code_runs:
            with pytest.raises(ModelError, match=r"repeat the command with --trust"):
                load_bundle(folder)
        bundle = load_bundle(folder, trust=True)
        expected = own(image, torchvision_network() if name == "r" else made)
        found = softmax(bundle.logits(bundle.preprocessing.prepare(image)[None]).numpy())[0]
        assert np.allclose(found, expected, atol=1e-4), name
        assert bundle.classes == CLASSES and bundle.task == "single-label"
        weights = next(
            p
            for p in folder.iterdir()
            if p.suffix in (".onnx", ".pt2", ".pt", ".pth") or p.name == "weights.safetensors"
        )
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        with pytest.raises(ModelError, match="have SHA-256"):
            load_bundle(folder, trust=True)


def torchvision_network() -> nn.Module:
    from audit.models.networks import build_network

    torch.manual_seed(3)
    return build_network("resnet18", 3).eval()


def test_what_import_cannot_take_is_one_sentence(audit: Audit, module: str, tmp_path: Path) -> None:
    made = network()
    torch.save(made.state_dict(), tmp_path / "w.pth")
    write_onnx(tmp_path / "o.onnx", made)
    classes = ["--classes", "a,b,c", "--input-px", SIDE, "--scale", "unit"]
    for command, code, says in (
        (["w.pth", *classes], 2, "holds weights, but not the network"),
        (["w.pth", "--as", "resnet18", *classes], 2, "do not fit torchvision resnet18 with 3 classes: "),
        (
            ["w.pth", "--as", "resnet", *classes],
            2,
            "No kind of model or network is called 'resnet'. Did you mean 'resnet50'",
        ),
        (["w.pth", "--as", "torchvision:resnet17", *classes], 2, "'resnet18'"),
        (["o.onnx", "--classes", "a,b"], 2, "outputs"),
        (["o.onnx", "--head", "x", *classes], 2, "--prefix, --head and --admit are for checkpoints of the DenseNets"),
        (["gone.onnx", *classes], 2, "does not exist"),
        (
            [f"{module}:predict", "--as", "callable", "--classes", "a,b,c"],
            2,
            "consists of code alone, which no bundle can hold",
        ),
    ):
        found, _, err = audit("import", *command)
        assert (found, says in one_paragraph(err)) == (code, True), err
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        ("timm:resnet18", "timm", "timm"),
        ("monai:DenseNet121", r"monai\.networks\.nets", "monai"),
        ("torchxrayvision:densenet121", "torchxrayvision", "torchxrayvision"),
        ("hf", "transformers", "huggingface"),
    ],
)
def test_a_library_that_is_not_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str, extra: str
) -> None:
    for name in ("timm", "monai", "torchxrayvision", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(UsageError, match=rf"needs the package {package}.*pip install 'imageaudit\[{extra}\]'"):
        open_model(asked(tmp_path, kind=kind))


def test_a_folder_of_hugging_face_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert with_kind(asked(tmp_path)).kind == "hf"
    with pytest.raises(ModelError, match=r"must hold config\.json and model\.safetensors.*found config\.json"):
        open_model(asked(tmp_path))
