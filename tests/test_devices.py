"""Devices and batches: found or refused in one sentence; a memory that is too small halves the batch and changes no answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from audit.errors import UsageError
from audit.models import devices
from audit.models.bundle import Bundle, load_bundle
from audit.models.devices import DeviceClassifier, OutOfDeviceMemoryError, batch_of, device_of, find_device, on_device
from audit.models.identity import example_inputs
from audit.prediction.shards import Batches
from audit.prediction.table import read_finished

from .conftest import Audit, one_paragraph, quick_audit

CPU = torch.device("cpu")


@pytest.fixture
def bundle(known_bundle: Path) -> Bundle:
    return load_bundle(known_bundle)


class _Card(DeviceClassifier):
    """A card of the CPU's own memory, in which only some images fit; it counts what it was asked."""

    def __init__(self, classifier: Any, fits: int) -> None:
        super().__init__(classifier, CPU)
        self.fits, self.asked = fits, list[int]()
        inner = self._copy

        class Bounded(nn.Module):
            def forward(_self, inputs: torch.Tensor) -> torch.Tensor:  # noqa: N805
                self.asked.append(len(inputs))
                if len(inputs) > self.fits:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
                return inner(inputs)

        self._copy = Bounded()

    def ability(self, name: Any) -> Any:
        return torch.device("cuda") if name == "device" else super().ability(name)


def with_card(bundle: Bundle, fits: int) -> tuple[Bundle, _Card]:
    card = _Card(bundle.classifier, fits)
    return replace(bundle, classifier=card), card


@pytest.mark.parametrize(("fits", "size"), [(1, 1), (2, 2), (3, 2), (7, 5), (10, 10), (99, 10)])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(bundle: Bundle, fits: int, size: int) -> None:
    there, card = with_card(bundle, fits)
    inputs = example_inputs(bundle.preprocessing, 23)
    batches = Batches(there, 10)
    assert [batches.ask(one) for one in inputs] == list(range(23))
    found = batches.answers()
    assert batches.size == size
    np.testing.assert_allclose(found, bundle.logits(inputs).numpy(), atol=1e-5)
    assert max(n for n in card.asked if n <= fits) == min(size, 10)
    assert sum(n for n in card.asked if n <= fits) == 23, "every input once"


def test_one_image_that_does_not_fit_is_one_sentence(bundle: Bundle) -> None:
    there, _ = with_card(bundle, 0)
    batches = Batches(there, 4)
    batches.ask(example_inputs(bundle.preprocessing)[0])
    with pytest.raises(OutOfDeviceMemoryError, match=r"does not suffice for 1 image at a time.*--device cpu"):
        batches.answers()


def test_layers_and_features_are_those_of_the_cpu(bundle: Bundle) -> None:
    there, _ = with_card(bundle, 99)
    assert there.network is bundle.network
    inputs = example_inputs(bundle.preprocessing)
    features = there.classifier.ability("features")
    assert torch.equal(features(inputs), bundle.classifier.ability("features")(inputs))
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_the_machine_decides_what_auto_is(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == CPU
    assert on_device(bundle, "auto") is bundle and on_device(bundle, "cpu") is bundle
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == torch.device("cuda")
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="found 2, numbered from 0"):
        find_device("cuda:2")


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:-1", "cuda:1000", "CPU", "", "cpu\nx"])
def test_a_name_that_is_no_device(asked: str) -> None:
    with pytest.raises(UsageError, match="--device must be auto, cpu, cuda, cuda:N or mps, found"):
        find_device(asked)


def test_batches_are_larger_on_a_card(bundle: Bundle) -> None:
    there, _ = with_card(bundle, 99)
    assert (batch_of(bundle, "auto"), batch_of(there, "auto")) == (devices.USUAL_BATCH, devices.DEVICE_BATCH)
    assert batch_of(there, 7) == batch_of(bundle, 7) == 7
    assert device_of(there).type == "cuda" and device_of(bundle) == CPU


@pytest.mark.parametrize("asked", ["cuda", "cuda:1", "mps"])
def test_no_card_although_asked_for(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    code, out, err = audit(*quick_audit(write_cohort(6)), "--device", asked)
    assert (code, out) == (2, "")
    assert one_paragraph(err).endswith("Use --device cpu.")
    code, _, err = audit(*quick_audit(write_cohort(6)), "--batch-size", 0)
    assert code == 2 and "--batch-size must be an integer of at least 1 or auto, found 0" in one_paragraph(err)


def test_a_run_on_a_card_batches_across_images_and_states_it(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = quick_audit(write_cohort(7))
    code, out, err = audit(*asked)
    assert code == 0, err
    here = Path(out.splitlines()[-1]).parent
    met: list[_Card] = []

    def card(bundle: Bundle, _asked: str) -> Bundle:
        there, found = with_card(bundle, 20)
        met.append(found)
        return there

    monkeypatch.setattr("audit.run.preparation.on_device", card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    runs = []
    for name in ("one", "two"):
        code, out, err = audit(*asked, "--batch-size", 64, "--workers", 2, "--runs", name)
        assert code == 0, err
        runs.append(Path(out.splitlines()[-1]).parent)
    there = runs[0]
    plan, record = (json.loads((there / name).read_text()) for name in ("plan.json", "run.json"))
    assert (plan["model"]["device"], plan["model"]["batch_size"], record["device"]) == ("cuda", 64, "cuda (a card)")
    assert "device" not in json.loads((here / "plan.json").read_text())["model"]
    assert met[0].asked[:3] == [64, 32, 16], "halved once, for the whole shard"
    assert met[0].asked.count(16) > 3, "full batches, of several images"
    parts = [sorted((run / "predictions").iterdir()) for run in runs]
    assert [p.read_bytes() for p in parts[0]] == [p.read_bytes() for p in parts[1]]
    for condition, logits in read_finished(here).table.logits.items():
        np.testing.assert_allclose(read_finished(there).table.logits[condition], logits, atol=1e-5)


def test_the_script_for_cards_says_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit) as end:
        gpu.main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith("No card is at hand: ") and err.count("\n") == 1


def test_a_batch_of_ones_own_is_part_of_the_plan(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    asked = quick_audit(write_cohort(6))
    names = set()
    for further in ([], ["--batch-size", "16"], ["--batch-size", "4"], ["--batch-size", "4", "--workers", "2"]):
        code, out, err = audit(*asked, *further)
        assert code == 0, err
        names.add(Path(out.splitlines()[-1]).parent.name)
    assert len(names) == 2
