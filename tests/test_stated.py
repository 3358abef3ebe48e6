"""What is declared beside a bundle must be what the bundle states: equal ones change nothing, others are refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.bundle_record import BundleRecord
from audit.data.planned_model import InputSteps
from audit.errors import UsageError
from audit.models.requests import DeclaredInput, ModelRequest
from audit.models.stated import check_stated

from .conftest import Audit, one_paragraph
from .door_models import CLASSES, network, write_onnx

STEPS: Mapping[str, Any] = {
    "size_px": (64, 48), "mean": (0.5,) * 3, "std": (0.25,) * 3, "fit": "shorter-side", "shorter_px": 72, "interpolation": "bicubic",
    "library": "opencv", "crop": (0.0, 0.1, 1.0, 0.9), "clahe": 2.0, "value_range": (0.0, 255.0), "colour": "grey",
}  # fmt: skip
EQUAL: Mapping[str, Any] = {
    "input_px": (64, 48), "channels": 3, "colour": "grey", "mean": (0.5,), "std": (0.25, 0.25, 0.25), "value_range": (0, 255),
    "per_image": False, "fit": "shorter-side", "shorter_px": 72, "interpolation": "bicubic", "library": "opencv", "pad": 0,
    "crop": (0.0, 0.1, 1.0, 0.9), "clahe": 2.0,
}  # fmt: skip
OTHER: Mapping[str, Any] = {
    "input_px": (64,), "channels": 1, "colour": "rgb", "scale": "unit", "mean": (0.4,), "std": (0.2,), "value_range": (0, 1),
    "per_image": True, "fit": "letterbox", "shorter_px": 80, "interpolation": "bilinear", "library": "pil", "pad": 7,
    "crop": (0.0, 0.0, 1.0, 1.0), "clahe": 1.0, "preprocess": "mine:prepare",
}  # fmt: skip


def record(**further: Any) -> BundleRecord:
    steps = InputSteps(**{**STEPS, **further})
    return BundleRecord(
        schema_version=1, name="C", architecture="resnet18", classes=CLASSES, task="single-label", preprocessing=steps,
        weights_sha256="0" * 64,
    )  # fmt: skip


def told(**declared: Any) -> ModelRequest:
    return ModelRequest(model="C", declared=DeclaredInput(**declared))


def test_every_declaration_is_held_against_a_bundle() -> None:
    names = {field.name for field in fields(DeclaredInput)}
    assert OTHER.keys() == names, "a declaration that nobody tries"
    check_stated(Path("C"), record(), told(**EQUAL))
    for name, value in OTHER.items():
        with pytest.raises(UsageError, match=rf"states .*, but --{name.replace('_', '-')} .* was given\. Omit it"):
            check_stated(Path("C"), record(), told(**{name: value}))


@given(st.sampled_from(sorted(EQUAL)), st.sampled_from(sorted(set(OTHER) - {"preprocess", "scale"})))
def test_only_what_differs_is_named(same: str, other: str) -> None:
    if same == other:
        return
    with pytest.raises(UsageError) as error:
        check_stated(Path("C"), record(), told(**{same: EQUAL[same], other: OTHER[other]}))
    given_part = str(error.value).partition(", but ")[2]
    assert f"--{other.replace('_', '-')}" in given_part
    assert f"--{same.replace('_', '-')}" not in given_part


def test_a_scale_is_what_black_and_white_become() -> None:
    """A range of values and a mean can say the same in two ways: what counts is what the network gets."""
    plain = {"mean": (0.0,), "std": (1.0,), "value_range": (-1024.0, 1024.0), "clahe": 0.0}
    check_stated(Path("C"), record(**plain), told(scale="torchxrayvision"))
    check_stated(Path("C"), record(mean=(0.5,), std=(1 / 2048,), value_range=(0.0, 1.0)), told(scale="torchxrayvision"))
    with pytest.raises(
        UsageError, match=r"states --value-range -1024,1024 and --mean 0 and --std 1, but --scale symmetric was"
    ):
        check_stated(Path("C"), record(**plain), told(scale="symmetric"))


def test_of_an_input_that_a_function_prepares_only_its_form_is_stated() -> None:
    by = record(function="mine:prepare")
    check_stated(Path("C"), by, told(preprocess="mine:prepare", input_px=(64, 48), channels=3))
    with pytest.raises(UsageError, match=r"states --preprocess mine:prepare, but --fit shorter-side was given"):
        check_stated(Path("C"), by, told(fit="shorter-side"))


@pytest.mark.parametrize(
    ("further", "says"),
    [
        (
            {"classes": ("normal", "covid", "pneumonia")},
            "states --classes normal,pneumonia,covid, but --classes normal,covid,pneumonia",
        ),
        ({"answers": "probabilities"}, "states --answers logits, but --answers probabilities"),
        ({"kind": "onnx"}, "states the kind network, but --as onnx"),
        ({"checkpoint": "w.pth"}, "states its own weights, but --checkpoint w.pth"),
    ],
)
def test_of_the_network_too(further: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_stated(Path("C"), record(), ModelRequest(model="C", **further))
    check_stated(Path("C"), record(), ModelRequest(model="C", classes=CLASSES, answers="logits", kind="resnet18"))


def test_from_the_command_line(
    audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_cohort(2)
    made = write_onnx(tmp_path / "net.onnx", network())
    names = ["--classes", ",".join(CLASSES)]
    code, _, err = audit("import", made, *names, "--scale", "unit")
    assert code == 0, err
    plan = ["plan", "--model", "net", "--data", manifest, "--suite", "quick", "--detector", "annotated", "--boxes",
            manifest.parent / "boxes.json", "--relevance-images", 0, "--json"]  # fmt: skip
    code, plain, err = audit(*plan)
    assert code == 0, err
    code, same, err = audit(
        *plan, *names, "--scale", "unit", "--input-px", 64, "--fit", "squash", "--task", "single-label", "--as", "onnx"
    )
    assert code == 0, err
    assert json.loads(plain)["plan"]["model"] == json.loads(same)["plan"]["model"]
    code, _, err = audit(*plan, "--fit", "letterbox", "--input-px", 96)
    said = one_paragraph(err)
    assert code == 2
    assert (
        "The bundle models/net states --input-px 64 and --fit squash, but --input-px 96 and --fit letterbox were given. Omit them"
        in said
    )
    code, _, err = audit(*plan, "--classes", "a,b,c\x1b[2J")
    assert code == 2 and "\x1b" not in err
    (tmp_path / "audit.toml").write_text('[model]\nlibrary = "torch"\n')
    code, _, err = audit(*plan)
    assert code == 2 and "states --library pil, but --library torch was given" in one_paragraph(err)
    (tmp_path / "audit.toml").unlink()
    code, _, err = audit(*plan, "--task", "multi-label")
    assert code == 2 and "is single-label, but --task multi-label was given" in one_paragraph(err)
