"""A model that is not what the command says: one sentence that names the option, and exit code 2, for another command mends it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audit.errors import MOST_NAMES, CohortUsageError, ModelUsageError, UnknownNameError, UsageError, shown_names
from audit.models.bundle import find_bundle
from audit.models.networks import build_network
from audit.models.opening import open_model
from audit.models.requests import DeclaredInput, ModelRequest

from .conftest import Audit, one_paragraph
from .door_models import SIDE, network, write_onnx

ABC = ["--classes", "covid,normal,pneumonia"]


@pytest.fixture
def files(tmp_path: Path, write_cohort: Callable[..., Path]) -> Path:
    """Write models of several kinds, right and wrong ones; return a manifest."""
    made = network()
    write_onnx(tmp_path / "net.onnx", made)
    write_onnx(tmp_path / "one.onnx", network(channels=1), shape=("n", 1, SIDE, SIDE))
    (tmp_path / "text.onnx").write_text("this is no model at all, but a letter to its reader\n")
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "net.onnx").read_bytes()[:3000])
    torch.save(made.state_dict(), tmp_path / "w.pth")
    torch.save(build_network("resnet18", 3).state_dict(), tmp_path / "r18.pth")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("{}")
    (tmp_path / "exported").mkdir()
    write_onnx(tmp_path / "exported" / "a net.onnx", made)
    (tmp_path / "empty").mkdir()
    return write_cohort(2)


CASES = {
    "no such file": (["gone.onnx", *ABC], "gone.onnx does not exist"),
    "no such weights": (["gone.pth", "--as", "resnet18", *ABC], "gone.pth does not exist"),
    "no such program": (["gone.pt2", "--trust", *ABC], "gone.pt2 does not exist"),
    "a text called onnx": (["text.onnx", *ABC], "name that with --as"),
    "half a model": (["cut.onnx", *ABC], "if it is damaged, copy it again"),
    "too few classes": (["net.onnx", "--classes", "a,b"], "Name one class per output with --classes"),
    "no classes": (["net.onnx"], "--classes a,b,c"),
    "another size": (["net.onnx", *ABC, "--input-px", "32"], "Omit --input-px"),
    "other channels": (["net.onnx", *ABC, "--channels", "1", "--scale", "unit"], "Omit --channels"),
    "colours of one channel": (
        ["one.onnx", *ABC, "--scale", "unit", "--colour", "rgb"],
        "--colour rgb contradicts the input: one.onnx reads one grey channel",
    ),
    "no network named": (["w.pth", *ABC], "Name it: --as package.module:function"),
    "another network": (["w.pth", "--as", "resnet18", *ABC], "Name the network that the weights belong to with --as"),
    "more outputs": (["r18.pth", "--as", "resnet18", "--classes", "a,b"], "has 3 outputs: name as many classes with --classes"),
    "channels of torchvision": (["r18.pth", "--as", "resnet18", *ABC, "--channels", "1", "--scale", "unit"], "Omit --channels"),
    "a name of Hugging Face": (["google/vit-base-patch16-224", *ABC], "nothing is downloaded. Save the model into a folder"),
    "the same with --as": (["google/vit-base-patch16-224", "--as", "hf", *ABC], "save_pretrained(FOLDER)"),
    "no such bundle": (["D2"], "Bundles were looked for in models/. "),
    "a folder of Hugging Face": (["hub"], "must hold config.json and model.safetensors"),
    "a folder with a model": (["exported"], "`audit run --model 'exported/a net.onnx' --classes a,b,c`"),
    "an empty folder": (["empty"], "`audit import FILE --out models/NAME`"),
    "answers of another kind": (["net.onnx", *ABC, "--answers", "probabilities"], "--answers logits"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_another_command_mends_is_exit_code_2(audit: Audit, files: Path, case: str) -> None:
    command, says = CASES[case]
    code, out, err = audit("run", "--model", *command, "--data", files, "--suite", "quick")
    assert (code, says in one_paragraph(err), out) == (2, True, ""), err
    assert not Path("runs").exists()


def test_what_no_command_mends_is_exit_code_4(audit: Audit, files: Path) -> None:
    torch.save({**build_network("resnet18", 3).state_dict(), "fc.bias": torch.full((3,), float("nan"))}, "nan.pth")
    code, _, err = audit("run", "--model", "nan.pth", "--as", "resnet18", *ABC, "--data", files)
    assert code == 4 and "not finite" in one_paragraph(err)
    code, _, err = audit("run", "--model", "net.onnx", *ABC, "--data", files, "--runs", "/proc/none")
    assert code == 4


def test_a_folder_that_is_no_bundle_is_named_for_what_it_holds(files: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUsageError, match=r"as Hugging Face saves a model: `audit run --model .*hub --as hf`"):
        find_bundle(str(tmp_path / "hub"))
    (tmp_path / "empty" / "p.pt2").write_bytes(b"")
    with pytest.raises(ModelUsageError, match=r"p\.pt2 --classes a,b,c --trust`"):
        find_bundle(str(tmp_path / "empty"))


def test_import_does_not_advise_itself(audit: Audit, files: Path) -> None:
    code, _, err = audit("import", "w.pth", *ABC)
    assert code == 2 and "audit import" not in one_paragraph(err)


def test_a_usage_error_is_still_an_error_of_its_subject() -> None:
    from audit.errors import CohortError, ModelError

    assert issubclass(ModelUsageError, ModelError) and ModelUsageError.exit_code == 2 and ModelError.exit_code == 4
    assert issubclass(CohortUsageError, CohortError) and CohortUsageError.exit_code == 2 and CohortError.exit_code == 4


def test_labels_outside_the_classes_are_bounded(audit: Audit, files: Path) -> None:
    rows = files.read_text().splitlines()
    at = rows[0].split(",").index("label")
    many = [rows[0]]
    for i, row in enumerate(rows[1:] * 10):
        cells = row.split(",")
        cells[at] = f"wrong {i}"
        many.append(",".join(cells))
    head = rows[0].split(",")
    if "id" not in head:
        many = [many[0] + ",id"] + [f"{row},{i}" for i, row in enumerate(many[1:])]
    files.write_text("\n".join(many) + "\n")
    code, _, err = audit("run", "--model", "net.onnx", *ABC, "--data", files)
    said = one_paragraph(err)
    assert code == 2 and "and 52 more labels" in said and "--ignore-label 'wrong 0'" in said and len(said) < 1200


def test_names_are_listed_only_where_they_are_few() -> None:
    many = [f"vit_{i}_patch16" for i in range(MOST_NAMES + 1)]
    said = str(UnknownNameError("network of timm", "vit_7_patch61", many, "List them so."))
    assert "Did you mean 'vit_7_patch16'" in said and f"{len(many)} names are known. List them so." in said
    assert said.count("vit_") <= 4
    assert "Known: a, b." in str(UnknownNameError("suite", "z", ["a", "b"]))
    assert shown_names(map(str, range(100)), 3) == "0, 1, 2 and 97 more"


def test_a_library_is_listed_by_its_own_command(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "w.pth")
    request = ModelRequest(model=str(tmp_path / "w.pth"), kind="torchvision:resnet_18", classes=("a", "b"))
    with pytest.raises(UsageError, match=r"Did you mean 'resnet18'.*List them with `python -c") as found:
        open_model(request)
    command = re.search(r"`python -c \"(.*)\"`", str(found.value))
    assert command is not None
    compile(command.group(1), "command", "exec")


def test_channels_and_size_are_named_where_they_decide(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    one = {"declared": DeclaredInput(channels=3)}
    for weights, name, options, says in (
        (timm.create_model("resnet18", num_classes=3, in_chans=1), "resnet18", one, "--channels 1"),
        (timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=256), "vit_tiny_patch16_224", {}, "--input-px"),
        (timm.create_model("resnet18", num_classes=4), "resnet18", {}, "has 4 outputs"),
        (timm.create_model("resnet50", num_classes=3), "resnet18", {}, "--as"),
    ):  # fmt: skip
        torch.save(weights.state_dict(), tmp_path / "w.pth")
        request = ModelRequest(model=str(tmp_path / "w.pth"), kind=f"timm:{name}", classes=("a", "b", "c"), **options)
        with pytest.raises(ModelUsageError, match=says):
            open_model(request)


def test_what_was_assumed_at_import_is_said_by_every_later_run(
    audit: Audit, files: Path, write_cohort: Callable[..., Path]
) -> None:
    code, out, err = audit("import", "net.onnx", *ABC, "--out", "models/net")
    assert code == 0, err
    told = next(line for line in out.splitlines() if line.startswith("assumed, because it was not declared: "))
    assert "ImageNet's mean and deviation" in told
    stated = json.loads(Path("models/net/model.json").read_text())["provenance"]["assumed"]
    options = [
        "--data", files, "--suite", "quick", "--detector", "annotated", "--boxes", files.parent / "boxes.json",
        "--relevance-images", "0", "--judge-images", "0", "--resamples", "100",
    ]  # fmt: skip
    code, out, err = audit("run", "--model", "net", *options)
    assert code == 0, err
    assert told in err, "the same words"
    run = Path(out.splitlines()[-1]).parent
    assert json.loads((run / "plan.json").read_text())["model"]["assumed"] == stated
    page = " ".join((run / "report.html").read_text().split())
    assert "Not declared of the model, and assumed: " in page and "mean and deviation" in page
