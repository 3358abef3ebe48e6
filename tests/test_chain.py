from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from audit.data.images import read_gray
from audit.errors import CohortError, ImageError, ModelError, StoreError, UnknownNameError
from audit.models.bundle import Bundle, load_bundle
from audit.models.outputs import CHEXNET
from audit.training import classes, findings
from audit.training.augmentation import Augmentation
from audit.training.chain import CLASSES, FINDINGS, NETWORKS, Progress, train_network
from audit.training.recipes import Phase, Recipe, Step
from audit.training.steps import weights_sha256
from audit.training.transfer import torch_generator


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recipe(tiny_architecture: str) -> Recipe:
    def step(batch: int) -> Step:
        return Step(
            batch=batch,
            optimiser="adamw",
            validation_share=0.25,
            augmentation=Augmentation(rotation_deg=10, shift_share=0.05, flip_share=0.5),
            phases=(
                Phase(name="head", trains="head", epochs=1, rate=1e-3),
                Phase(name="all", trains="all", epochs=1, rate=1e-3),
            ),
        )

    return Recipe(
        name="test",
        about="test",
        expected="test",
        cost="test",
        architecture=tiny_architecture,
        input_px=64,
        test_per_class=4,
        findings=step(8),
        classes=step(6),
    )


@pytest.fixture
def manifest(write_cohort: Callable[..., Path]) -> Path:
    return write_cohort(12)


def second_step(out: Path) -> Bundle:
    """Load the findings step that a network was made from."""
    return load_bundle(out / document(out)["provenance"]["findings_bundle"])


def document(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(manifest: Path, rows: list[dict[str, str]]) -> None:
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_table_is_the_papers() -> None:
    assert NETWORKS["C"].kept == {"No Finding": "normal", "Pneumonia": "pneumonia"}
    assert [len(NETWORKS[n].findings) for n in "ABCDE"] == [0, 15, 15, 0, 0]
    assert [NETWORKS[n].start for n in "ABCDE"] == ["imagenet"] * 3 + ["checkpoint"] * 2
    assert [NETWORKS[n].architecture for n in "ABCDE"] == ["densenet201"] * 3 + ["densenet121"] * 2
    assert [dict(NETWORKS[n].kept) for n in "ABD"] == [{}] * 3
    assert NETWORKS["E"].kept == {"Pneumonia": "pneumonia"}
    assert NETWORKS["chexnet"].findings == CHEXNET
    assert len(set(FINDINGS)) == 15 and FINDINGS.index("Pneumonia") == 6 and FINDINGS[-1] == "No Finding"
    assert CLASSES == ("normal", "pneumonia", "covid")


def test_bundle_says_what_was_done(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    told: list[Progress] = []
    out = train_network("C", manifest, recipe, tmp_path / "models" / "C", seed=3, on_progress=told.append)
    bundle = load_bundle(out)
    assert (bundle.name, bundle.classes, bundle.preprocessing.size_px) == ("C", CLASSES, (64, 64))
    provenance, metrics = bundle.provenance, bundle.metrics
    assert (out / provenance["manifest"]).resolve() == manifest.resolve()
    assert "random weights" in provenance["starting_weights"] and provenance["seed"] == 3
    assert provenance["recipe"]["classes"]["phases"][1]["rate"] == 1e-3
    assert provenance["kept_output_neurons"] == NETWORKS["C"].kept
    assert provenance["findings_weights_sha256"] == weights_sha256(second_step(out).network)

    # splits: exact, disjoint by patient, and every figure counted again from the files
    rows = {r["path"]: r for r in rows_of(manifest)}
    assert set(bundle.splits) == set(rows)
    for split in ("train", "validation", "test"):
        members = [rows[i] for i, s in bundle.splits.items() if s == split]
        assert metrics["counts"][split] == {c: sum(r["label"] == c for r in members) for c in CLASSES}
        assert metrics["patients"][split] == len({r["patient_id"] for r in members})
    assert metrics["counts"]["test"] == dict.fromkeys(CLASSES, 4)
    patients = {
        s: {rows[i]["patient_id"] for i, t in bundle.splits.items() if t == s} for s in ("train", "validation", "test")
    }
    second = second_step(out)
    assert second.classes == FINDINGS
    assert not {rows[i]["patient_id"] for i in second.splits} & patients["test"]
    assert not {rows[i]["patient_id"] for i, s in second.splits.items() if s == "train"} & patients["validation"]

    # test metrics: predict again with the bundle as an audit would
    matrix = [[0] * 3 for _ in CLASSES]
    for name in (i for i, s in bundle.splits.items() if s == "test"):
        inputs = bundle.preprocessing.prepare(read_gray(manifest.parent / name))[None]
        matrix[CLASSES.index(rows[name]["label"])][int(bundle.logits(inputs).argmax())] += 1
    assert metrics["test"]["confusion"]["counts"] == matrix
    assert metrics["test"]["accuracy"] == pytest.approx(sum(matrix[i][i] for i in range(3)) / 12)
    for curves in (metrics["curves"], second.metrics["curves"]):
        assert [row["phase"] for row in curves["epochs"]] == ["head", "all"]
    assert [end["epoch"] for end in metrics["curves"]["phases"]] == [1, 2]
    assert all(0 <= end["found"]["accuracy"] <= 1 for end in metrics["curves"]["phases"])
    table = (out / "curves.csv").read_text().splitlines()
    assert table[0].startswith("phase,epoch,train_loss,validation_loss") and len(table) == 3

    # progress: announced starts, complete counts
    assert any("random weights" in p.message for p in told if p.step == "backbone")
    for step in ("findings", "classes"):
        last = [p for p in told if p.step == step][-1]
        assert last.done == last.total > 0 and "epoch 2" in last.message
    assert sorted(p.name for p in out.iterdir()) == [
        "canary.safetensors",
        "curves.csv",
        "model.json",
        "splits.csv",
        "weights.safetensors",
    ]


def test_same_seed_same_weights(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    def weights(folder: str, seed: int) -> str:
        out = train_network("C", manifest, recipe, tmp_path / folder, seed=seed)
        return hashlib.sha256((out / "weights.safetensors").read_bytes()).hexdigest()

    torch.manual_seed(1)
    one = weights("one", 0)
    torch.manual_seed(2)
    assert weights("two", 0) == one
    assert weights("three", 1) != one


def test_c_starts_with_the_kept_neurons(
    manifest: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: dict[str, torch.Tensor] = {}
    real = classes.run_step

    def spy(name: str, network: torch.nn.Module, *args: object, **options: object) -> object:
        heads[f"{current} {name}"] = network.get_parameter("classifier.weight").detach().clone()
        return real(name, network, *args, **options)

    monkeypatch.setattr(classes, "run_step", spy)
    for current in ("B", "C"):
        train_network(current, manifest, recipe, tmp_path / current)
    old = second_step(tmp_path / "C").network.get_parameter("classifier.weight")
    assert torch.equal(heads["C classes"][0], old[FINDINGS.index("No Finding")])
    assert torch.equal(heads["C classes"][1], old[FINDINGS.index("Pneumonia")])
    # B and C share the second step and the fresh neuron of COVID-19, and differ in the kept ones alone
    assert second_step(tmp_path / "B").folder.resolve() == second_step(tmp_path / "C").folder.resolve()
    assert len(list(tmp_path.glob("findings-*"))) == 1, "trained once"
    assert torch.equal(heads["B classes"][2], heads["C classes"][2])
    assert not torch.equal(heads["B classes"][0], heads["C classes"][0])


def test_a_has_no_second_step(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = train_network("A", manifest, recipe, tmp_path / "A")
    assert load_bundle(out).name == "A" and not list(tmp_path.glob("findings-*"))
    assert "findings_bundle" not in document(out)["provenance"]


def test_finished_step_is_used_again(
    manifest: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "models" / "C"
    real = classes.run_step

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(classes, "run_step", crash)
    with pytest.raises(KeyboardInterrupt):
        train_network("C", manifest, recipe, out)
    assert len(list(out.parent.glob("findings-*/model.json"))) == 1 and not (out / "model.json").exists()
    monkeypatch.setattr(classes, "run_step", real)
    trained: list[str] = []
    second = findings.run_step
    monkeypatch.setattr(findings, "run_step", lambda *a, **k: trained.append(a[0]) or second(*a, **k))

    told: list[Progress] = []
    train_network("C", manifest, recipe, out, on_progress=told.append)
    assert not trained and any("is reused" in p.message for p in told)
    resumed = document(out)["weights_sha256"]
    assert document(train_network("C", manifest, recipe, tmp_path / "whole" / "C"))["weights_sha256"] == resumed
    assert trained == ["findings"]

    # another seed, another recipe, a damaged bundle: trained again
    train_network("C", manifest, recipe, out, seed=1)
    longer = dataclasses.replace(recipe.findings, batch=7)
    train_network("C", manifest, dataclasses.replace(recipe, findings=longer), out, seed=1)
    (second_step(out).folder / "weights.safetensors").write_bytes(b"damaged")
    train_network("C", manifest, dataclasses.replace(recipe, findings=longer), out, seed=1)
    assert len(trained) == 4
    # a change of the last step alone is no reason
    other = dataclasses.replace(recipe.classes, batch=5)
    train_network("C", manifest, dataclasses.replace(recipe, findings=longer, classes=other), out, seed=1)
    assert len(trained) == 4


def test_findings_from_another_manifest(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    rows = rows_of(manifest)
    folder = tmp_path / "findings"
    folder.mkdir()
    for i, row in enumerate(rows):
        grey = read_gray(manifest.parent / row["path"])
        Image.fromarray(grey ^ 1).save(folder / f"{i}.png")  # other images
        row["path"] = f"{i}.png"
        row["label"] = "anything"
        row["patient_id"] = f"other-{i}"
        row["findings"] = "Mass|Nodule" if i % 3 == 0 else row["findings"]
    rows[1]["findings"] = ""
    rows[2]["findings"] = "COVID-19"
    rewrite(folder / "manifest.csv", rows)
    out = train_network("C", manifest, recipe, tmp_path / "C", findings_manifest=folder / "manifest.csv")
    second = second_step(out)
    assert set(second.splits) == {r["path"] for i, r in enumerate(rows) if i not in (1, 2)}
    counts = second.metrics["counts"]
    assert counts["train"]["Mass"] + counts["validation"]["Mass"] == 12
    assert (out / document(out)["provenance"]["findings_manifest"]).resolve() == folder / "manifest.csv"

    # One image of the test, saved anew under another name and patient.
    tested = next(name for name, split in load_bundle(out).splits.items() if split == "test")
    learnt = next(name for name, split in second.splits.items() if split == "train")
    Image.fromarray(read_gray(manifest.parent / tested)).save(folder / learnt)
    with pytest.raises(CohortError, match=r"1 of the test images, first .*pixels of training images of manifest\.csv"):
        train_network("C", manifest, recipe, tmp_path / "C", findings_manifest=folder / "manifest.csv")
    next(row for row in rows if row["path"] == learnt)["findings"] = ""
    rewrite(folder / "manifest.csv", rows)
    train_network("C", manifest, recipe, tmp_path / "C", findings_manifest=folder / "manifest.csv")


def test_kept_finding_needs_images(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    rows = [{**r, "findings": "No Finding"} for r in rows_of(manifest)]
    rewrite(manifest, rows)
    with pytest.raises(CohortError, match="'Pneumonia'"):
        train_network("C", manifest, recipe, tmp_path / "C")
    train_network("B", manifest, recipe, tmp_path / "B")


def test_ignored_labels_take_part_in_the_findings_alone(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    rows = rows_of(manifest)
    other = {**rows[0], "label": "other", "findings": "Hernia", "patient_id": "someone-else"}
    names = []
    for i in range(2):
        names.append(f"images/other-{i}.png")
        Image.effect_noise((80, 80), 40 + i).save(manifest.parent / names[i])
    rewrite(manifest, [*rows, *({**other, "path": name} for name in names)])
    with pytest.raises(CohortError, match="--ignore-label other"):
        train_network("C", manifest, recipe, tmp_path / "C")
    out = train_network("C", manifest, recipe, tmp_path / "C", ignore_labels=("other",))
    assert not set(names) & set(load_bundle(out).splits)
    assert set(names) <= set(second_step(out).splits)
    assert document(out)["metrics"]["left_out"] == {"label other ignored": 2}


def test_bad_images_fail_or_are_counted(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    bad = rows_of(manifest)[0]["path"]
    (manifest.parent / bad).write_text("not an image")
    with pytest.raises(ImageError, match="normal-0"):
        train_network("A", manifest, recipe, tmp_path / "A")
    out = train_network("A", manifest, recipe, tmp_path / "A", on_bad_image="skip")
    assert document(out)["metrics"]["left_out"] == {"unreadable image": 1}
    assert bad not in load_bundle(out).splits


def test_given_backbone_is_used(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    from audit.training.transfer import StartingWeights, start_network

    blank = StartingWeights(state=None, statement="", digest="")
    source = start_network(recipe.architecture, 1000, blank, torch_generator(77))
    torch.save(source.state_dict(), tmp_path / "backbone.pth")
    frozen = tuple(dataclasses.replace(p, trains="head") for p in recipe.classes.phases)
    head_only = dataclasses.replace(recipe, classes=dataclasses.replace(recipe.classes, phases=frozen))
    out = train_network("A", manifest, head_only, tmp_path / "A", backbone_weights=tmp_path / "backbone.pth")
    state = load_bundle(out).network.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in source.state_dict().items() if k.startswith("features."))
    assert "backbone.pth" in document(out)["provenance"]["starting_weights"]
    with pytest.raises(ModelError, match=r"absent\.pth"):
        train_network("A", manifest, recipe, tmp_path / "A", backbone_weights=tmp_path / "absent.pth")


def test_wrong_use_is_answered_before_training(manifest: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="No network is called 'c'"):
        train_network("c", manifest, recipe, tmp_path / "C")
    copies = dataclasses.replace(recipe, classes=dataclasses.replace(recipe.classes, copies={"covit": 2}))
    with pytest.raises(UnknownNameError, match="'covid'"):
        train_network("C", manifest, copies, tmp_path / "C")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Cannot write"):
        train_network("C", manifest, recipe, tmp_path / "file")
    with pytest.raises(CohortError, match="test"):
        train_network("C", manifest, dataclasses.replace(recipe, test_per_class=11), tmp_path / "C")
    with pytest.raises(CohortError, match="does not exist"):
        train_network("C", tmp_path / "absent.csv", recipe, tmp_path / "C")
