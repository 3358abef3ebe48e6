"""Every network of the paper through every phase of its recipe, and what D and E start from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from audit.data.images import read_gray
from audit.errors import CohortError, ModelError, UnknownNameError
from audit.models.bundle import load_bundle
from audit.training.chain import NETWORKS, train_network
from audit.training.recipes import Recipe, Step, load_recipe


def shortened(step: Step) -> Step:
    phases = tuple(dataclasses.replace(phase, epochs=1) for phase in step.phases)
    return dataclasses.replace(step, phases=phases, copies={}, validation_share=0.3)


@pytest.fixture(scope="module")
def paper() -> Recipe:
    """Return the paper's recipe, with one epoch a phase, on small images."""
    recipe = load_recipe("paper")
    return dataclasses.replace(
        recipe,
        input_px=64,
        test_per_class=2,
        findings=shortened(recipe.findings),
        classes=shortened(recipe.classes),
    )


def document(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


@pytest.mark.slow
def test_every_phase_of_every_network(paper: Recipe, write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    """The paper's architectures, starts, rates and optimisers; one epoch of a few steps for every phase."""
    manifest = write_cohort(8)
    bundles = {}
    for name in ("chexnet", "A", "B", "C", "D", "E"):
        bundles[name] = load_bundle(train_network(name, manifest, paper, tmp_path / "models" / name))
    assert bundles["chexnet"].classes == NETWORKS["chexnet"].findings
    for name in "ABCDE":
        bundle = bundles[name]
        assert bundle.architecture == NETWORKS[name].architecture
        phases = bundle.metrics["curves"]["phases"]
        assert [end["epoch"] for end in phases] == [1, 2, 3, 4]
        assert [end["found"]["n_images"] for end in phases] == [6] * 4
        assert sum(map(sum, phases[-1]["found"]["confusion"]["counts"])) == 6
    assert len(list((tmp_path / "models").glob("findings-*"))) == 1, "B and C share their second step"


def test_the_papers_epochs_and_rates() -> None:
    recipe = load_recipe("paper")
    ends, total = [], 0
    for phase in recipe.classes.phases:
        total += phase.epochs
        ends.append(total)
    assert ends == [10, 58, 106, 154], "the abscissae of the paper's Figure 1"
    assert [p.rate for p in recipe.classes.phases] == [1e-3, 1e-4, 1e-5, 1e-5]
    assert [p.weight_decay for p in recipe.classes.phases] == [0.01, 0.01, 0.01, 0.0]
    assert [p.patience for p in recipe.classes.phases] == [None, 20, 20, None]
    assert [p.rate_factor_per_block for p in recipe.classes.phases] == [1, 0.1, 1, 1]
    assert (recipe.classes.batch, recipe.classes.optimiser, recipe.classes.momentum) == (9, "sgd", 0.9)
    assert dict(recipe.classes.copies) == {"normal": 30, "pneumonia": 8, "covid": 24}
    assert recipe.classes.moves_validation
    assert recipe.classes.augmentation.rotation_deg == 40
    assert int(recipe.classes.augmentation.shift_share * recipe.input_px) == 28
    assert [(p.trains, p.epochs, p.rate) for p in recipe.findings.phases] == [("head", 20, 1e-3), ("all", 90, 1e-4)]
    assert (recipe.findings.batch, recipe.findings.augmentation.flip_share) == (16, 0.5)
    assert (recipe.test_per_class, recipe.architecture) == (50, None)


@pytest.fixture
def small(tiny_architecture: str) -> Recipe:
    recipe = load_recipe("demo")
    return dataclasses.replace(
        recipe,
        architecture=tiny_architecture,
        input_px=64,
        test_per_class=2,
        findings=shortened(recipe.findings),
        classes=shortened(recipe.classes),
    )


def test_e_keeps_pneumonia_alone(
    small: Recipe, write_cohort: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.training import classes

    manifest = write_cohort(8)
    train_network("chexnet", manifest, small, tmp_path / "chexnet")
    heads: dict[str, torch.Tensor] = {}
    real = classes.run_step

    def spy(name: str, network: torch.nn.Module, *args: object, **options: object) -> object:
        heads[current] = network.get_parameter("classifier.weight").detach().clone()
        return real(name, network, *args, **options)

    monkeypatch.setattr(classes, "run_step", spy)
    for current in "DE":
        train_network(current, manifest, small, tmp_path / current)
    start = load_bundle(tmp_path / "chexnet").network.get_parameter("classifier.weight")
    assert torch.equal(heads["E"][1], start[6])
    assert torch.equal(heads["E"][[0, 2]], heads["D"][[0, 2]]), "the fresh neurons are the same"
    assert not torch.equal(heads["D"][1], heads["E"][1])
    assert document(tmp_path / "E")["provenance"]["starting_weights"] == "the bundle chexnet"


def test_what_d_cannot_start_from(small: Recipe, write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_cohort(8)
    with pytest.raises(ModelError, match=r"audit import FILE --as tiny .*audit train chexnet.*--checkpoint"):
        train_network("D", manifest, small, tmp_path / "D")
    train_network("chexnet", manifest, small, tmp_path / "chexnet")
    with pytest.raises(ModelError, match="has the architecture tiny, but densenet121 is required"):
        train_network("D", manifest, dataclasses.replace(small, architecture=None), tmp_path / "D")
    with pytest.raises(UnknownNameError, match="'Pneumonia'"):
        train_network("A", manifest, small, tmp_path / "A")
        train_network("E", manifest, small, tmp_path / "E", checkpoint=tmp_path / "A")
    with pytest.raises(CohortError, match="have the pixels of training images of the checkpoint"):
        # With another seed other patients are tested, of whom some trained the checkpoint.
        train_network("D", manifest, small, tmp_path / "D", seed=8)
    # Other images that are called alike are no reason, unless nothing but their names is known.
    for path in sorted((manifest.parent / "images").glob("*")):
        Image.fromarray(read_gray(path) ^ 1).save(path)
    train_network("D", manifest, small, tmp_path / "D", seed=8)
    table = tmp_path / "chexnet" / "splits.csv"
    table.write_text("".join(f"{line.rsplit(',', 1)[0]}\n" for line in table.read_text().splitlines()))
    with pytest.raises(CohortError, match="images that have the names of test images"):
        train_network("D", manifest, small, tmp_path / "D", seed=8)


def test_one_patient_in_a_class_is_said(small: Recipe, write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_cohort(8)
    manifest.write_text(manifest.read_text().replace("covid-0", "x").replace("images/x", "images/covid-0"))
    text = manifest.read_text()
    for number in (1, 2):
        text = text.replace(f",covid-{number},", ",x,")
    manifest.write_text(text)
    with pytest.raises(CohortError, match=r"covid"):
        train_network("A", manifest, small, tmp_path / "A")
