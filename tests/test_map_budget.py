"""Heatmaps by occlusion: what they are, how many are made by default, and that none is made twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit import run_audit
from audit.data.map_budget import LEAST_MAPS, USUAL_MAPS, default_maps, map_limit_in_words
from audit.data.plan import Plan
from audit.models.opening import open_model
from audit.models.requests import DeclaredInput, ModelRequest
from audit.relevance.budget import OCCLUSION_COST, plan_maps
from audit.relevance.images import ImageAttributor, patches
from audit.relevance.start import start_each
from audit.reports.page.html import render_html
from audit.run import examples, overlays, pipeline
from audit.store.folder import RunFolder

CLASSES = ("covid", "normal", "pneumonia")
SIDE = 64


class Function:
    """A function that reads the brightness of three places, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.asked.append(len(images))
        values = images[:, :48, :48].reshape(len(images), 48, 3, 16).mean(axis=(1, 3)) / 255 + 0.1
        return values / values.sum(axis=1, keepdims=True)


@pytest.fixture
def audited(write_cohort: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    manifest = write_cohort(4)

    def run(model: object, **further: object) -> Path:
        options = {
            "data": manifest, "detector": "annotated", "boxes": manifest.parent / "boxes.json", "suite": "quick",
            "runs": tmp_path / "runs", "cache": tmp_path / "cache", "resamples": 100, "judge_images": 0, "gate": False,
            "classes": CLASSES, "input_px": (SIDE,), **further,
        }  # fmt: skip
        return run_audit(model=model, **options).path  # type: ignore[arg-type]

    return run


@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_every_pixel_lies_in_one_patch(height: int, width: int) -> None:
    number = np.full((height, width), -1)
    for i, (rows, columns) in enumerate(patches(height, width)):
        assert (number[rows, columns] == -1).all()
        number[rows, columns] = i
    y, x = np.mgrid[:height, :width]
    assert (number == y * 16 // height * 16 + x * 16 // width).all()


@pytest.mark.parametrize("fit", ["squash", "letterbox", "shorter-side"])
def test_occlusion_is_what_covering_one_patch_after_another_does(fit: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (70, 100), dtype=np.uint8)
    request = ModelRequest(
        model="function", kind="callable", live=Function(), classes=CLASSES,
        declared=DeclaredInput(input_px=(SIDE, SIDE), fit=fit),
    )  # fmt: skip
    bundle = open_model(request)
    found = ImageAttributor(bundle, "epsilon-plus-flat", batch=7).attribute([image], start_each)
    seen = bundle.preprocessing.resize(image)
    clean = bundle.logits(bundle.preprocessing.normalise(seen)[None])[0]
    losses = np.zeros((3, 16, 16))
    for y in range(16):
        for x in range(16):
            covered = seen.copy()
            covered[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = round(float(seen.mean()))
            asked = bundle.logits(bundle.preprocessing.normalise(covered)[None])[0]
            losses[:, y, x] = clean.sign() * (clean - asked)
    assert np.allclose(found.logits[0], clean, atol=1e-6)
    if fit == "squash":
        per_patch = found.maps[0].reshape(3, 16, 8, 16, 8).sum(axis=(2, 4))
        assert np.allclose(per_patch, losses, atol=1e-5)
    elif fit == "shorter-side":  # what the input does not show is nobody's
        assert np.allclose(found.maps[0].sum(axis=(1, 2)), losses.sum(axis=(1, 2)), atol=1e-4)
        assert not found.maps[0][:, :, :15].any() and found.maps[0][:, :, 24:100].any()
    else:  # what lies on padding is left out
        shown = losses[:, 3:13].sum(axis=(1, 2))
        assert np.abs(found.maps[0].sum(axis=(1, 2)) - shown).max() <= np.abs(losses[:, (2, 13)]).sum()


@given(n=st.integers(0, 10**7), cost=st.integers(1, 10**4))
def test_maps_cost_no_more_than_the_predictions_but_for_the_first_few(n: int, cost: int) -> None:
    made = default_maps(n, cost)
    assert LEAST_MAPS <= made <= USUAL_MAPS
    assert made * cost <= n or made == LEAST_MAPS
    assert (made + 1) * cost > n or made == USUAL_MAPS
    assert default_maps(n, 0) == USUAL_MAPS


def test_an_explicit_number_is_obeyed_and_the_default_is_bounded(audited: Callable[..., Path]) -> None:
    function = Function()
    bounded = audited(function)
    plan = RunFolder(bounded).read(Plan)
    assert (plan.relevance.max_images, plan.relevance.cost, plan.data.n_images) == (LEAST_MAPS, OCCLUSION_COST, 12)
    limit = map_limit_in_words(plan)
    assert f"{LEAST_MAPS} of 12 images" in limit and "--relevance-images 12" in limit
    assert limit in " ".join(render_html(bounded).read_text().split())
    assert pq.read_table(bounded / "relevance.parquet").num_rows == LEAST_MAPS
    # Neither an example nor anything else has asked for a further map.
    n_predictions = sum(pq.read_table(p).num_rows for p in (bounded / "predictions").iterdir())
    assert sum(function.asked) <= n_predictions + LEAST_MAPS * OCCLUSION_COST + 2 + 2 * 8
    whole = audited(function, relevance_images=12)
    assert pq.read_table(whole / "relevance.parquet").num_rows == 12
    assert map_limit_in_words(RunFolder(whole).read(Plan)) == ""
    shown = [e["overlay"] is not None for e in json.loads((bounded / "examples/examples.json").read_text())["examples"]]
    drawn = [e["overlay"] is not None for e in json.loads((whole / "examples/examples.json").read_text())["examples"]]
    assert any(shown) and not all(shown) and all(drawn)


def test_networks_with_gradients_keep_the_usual_number(known_bundle: Path) -> None:
    bundle = open_model(ModelRequest(model=str(known_bundle)))
    assert plan_maps(bundle, "epsilon-plus-flat", "auto", n_predictions=1).n_images == USUAL_MAPS
    assert plan_maps(bundle, "epsilon-plus-flat", "auto", n_predictions=1).cost == 0
    assert plan_maps(bundle, "occlusion", "auto", n_predictions=1).n_images == LEAST_MAPS
    assert plan_maps(bundle, "occlusion", 30, n_predictions=1).n_images == 30
    assert plan_maps(bundle, "epsilon-plus-flat", 0, n_predictions=1).n_images == 0
    opaque = replace(bundle, kind="torch", classifier=_Opaque(bundle.classifier))
    assert plan_maps(opaque, "epsilon-plus-flat", "auto", n_predictions=1).cost == OCCLUSION_COST


class _Opaque:
    """A classifier whose network gives no gradients."""

    def __init__(self, classifier: object) -> None:
        self._classifier = classifier

    def __getattr__(self, name: str) -> object:
        return getattr(self._classifier, name)

    def ability(self, name: str) -> object:
        class Detached(torch.nn.Module):
            def forward(self, inputs: torch.Tensor) -> torch.Tensor:
                return inputs.detach().mean((1, 2, 3))[:, None].repeat(1, 3)

        return Detached().eval() if name == "network" else None


def test_examples_draw_the_maps_that_are_kept(
    audited: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlays, "ImageAttributor", _Refuses)
    run = audited(known_bundle, classes=(), input_px=())
    found = json.loads((run / "examples/examples.json").read_text())["examples"]
    assert found and all(e["overlay"] is not None for e in found)


class _Refuses:
    """An attributor of nothing."""

    def __init__(self, *_: object) -> None:
        """Be made as any other."""

    def attribute(self, *_: object) -> None:
        raise AssertionError("a map was made that the run had kept")


class _StoppedError(Exception):
    """What stands for a signal."""


def test_an_interrupted_run_draws_only_what_is_missing(
    audited: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = examples._example
    cases: list[int] = []

    def slowly(studio: object, disclosure: object, choice: object, case: int, *rest: object) -> object:
        if len(cases) == 5:
            raise _StoppedError
        cases.append(case)
        return real(studio, disclosure, choice, case, *rest)  # type: ignore[arg-type]

    whole = audited(known_bundle, classes=(), input_px=(), runs=known_bundle.parent / "whole")
    expected = {p.name: p.read_bytes() for p in (whole / "examples").iterdir()}
    monkeypatch.setattr(examples, "_example", slowly)
    first: list[list[int]] = []
    for _ in range(20):
        try:
            run = audited(known_bundle, classes=(), input_px=())
            break
        except _StoppedError:
            first.append(cases.copy())
            cases.clear()
    assert len(first) > 1 and first[0] == [1, 2, 3, 4, 5]
    every = [case for some in (*first, cases) for case in some]
    assert every == sorted(set(every)), "no case was drawn twice"
    assert {p.name: p.read_bytes() for p in (run / "examples").iterdir()} == expected


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    asked: list[int] = []
    real = pipeline.predict_all

    def predict_all(experiment: object, on_image: object, *, engine: object, own: object) -> list[str]:
        missing = [p for p in ["predictions/part-00000.parquet"] if not experiment.run.has(p)]  # type: ignore[attr-defined]
        asked.append(len(missing))
        return real(experiment, on_image, engine=engine, own=own)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "predict_all", predict_all)
    yield asked


def test_another_number_of_maps_asks_for_no_prediction_again(
    audited: Callable[..., Path], known_bundle: Path, counted: list[int]
) -> None:
    own = {"classes": (), "input_px": ()}
    first = audited(known_bundle, relevance_images=0, **own)
    second = audited(known_bundle, relevance_images=3, **own)
    assert first != second and counted == [1, 0]
    taken = json.loads((second / "predictions/taken.json").read_text())
    assert (taken["run"], taken["parts"]) == (first.name, ["predictions/part-00000.parquet"])
    part = "predictions/part-00000.parquet"
    assert (first / part).read_bytes() == (second / part).read_bytes()
    assert (first / "effects.json").read_bytes() == (second / "effects.json").read_bytes()
    # What decides a prediction does decide it, and a file that was changed is not used.
    audited(known_bundle, relevance_images=2, seed=1, **own)
    assert counted == [1, 0, 1]
    for run in (first, second):
        (run / part).write_bytes(b"changed")
    audited(known_bundle, relevance_images=2, **own)
    assert counted == [1, 0, 1, 1]
