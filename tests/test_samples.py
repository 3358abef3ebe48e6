from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from audit.data.records import Record
from audit.errors import ImageError
from audit.models.preprocessing import Preprocessing
from audit.training import samples as module
from audit.training.augmentation import Augmentation, augment
from audit.training.samples import Samples, resize_all

SIZE = Preprocessing(size_px=(64, 64))


def make(targets: torch.Tensor, copies: tuple[int, ...] = (), augmentation: Augmentation | None = None) -> Samples:
    rng = np.random.default_rng(0)
    return Samples(
        ids=tuple(f"r{i}" for i in range(len(targets))),
        images=[rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in targets],
        targets=targets,
        preprocessing=SIZE,
        augmentation=augmentation or Augmentation(),
        copies=copies,
    )


def test_balanced_epoch_is_exact_and_redrawn() -> None:
    labels = torch.tensor([0] * 10 + [1] * 40 + [2] * 12)
    samples = make(labels, copies=(3, 1, 2))
    assert samples.epoch_size() == 3 * 24
    used: set[tuple[int, int]] = set()
    for epoch in range(1, 30):
        order = samples.epoch_order(seed=0, epoch=epoch)
        rows = [tuple(row) for row in order.tolist()]
        assert len(set(rows)) == len(rows) == 72
        assert Counter(labels[order[:, 0]].tolist()) == {0: 24, 1: 24, 2: 24}
        used.update(rows)
    # every copy of every image has its turn: 30 + 40 + 24
    assert len(used) == 94


def test_papers_epoch() -> None:
    # 288 normal, 1,080 pneumonia and 345 COVID-19 images times 30, 8 and 24 (section 6.2)
    labels = torch.tensor([0] * 288 + [1] * 1080 + [2] * 345)
    blank = np.zeros((1, 1), dtype=np.uint8)
    samples = Samples(
        ids=tuple(map(str, range(len(labels)))),
        images=[blank] * len(labels),
        targets=labels,
        preprocessing=SIZE,
        augmentation=Augmentation(),
        copies=(30, 8, 24),
    )
    assert samples.epoch_size() == 3 * 8280
    assert 288 * 30 - 8280 == 360 and 1080 * 8 - 8280 == 360


def test_findings_epoch_visits_every_image_once() -> None:
    samples = make(torch.zeros(17, 15))
    order = samples.epoch_order(seed=0, epoch=1)
    assert sorted(order[:, 0].tolist()) == list(range(17)) and not order[:, 1].any()
    assert samples.epoch_size() == 17


def test_order_is_a_function_of_seed_and_epoch() -> None:
    samples = make(torch.tensor([0, 1] * 20), copies=(1, 1))
    first = samples.epoch_order(seed=0, epoch=1)
    np.testing.assert_array_equal(first, samples.epoch_order(seed=0, epoch=1))
    assert not np.array_equal(first, samples.epoch_order(seed=0, epoch=2))
    assert not np.array_equal(first, samples.epoch_order(seed=1, epoch=1))


def test_batches_are_what_the_pieces_give() -> None:
    movement = Augmentation(rotation_deg=40, shift_share=0.1, flip_share=0.5)
    samples = make(torch.tensor([0, 1, 0, 1]), copies=(2, 2), augmentation=movement)
    inputs, targets = samples.training_batch(np.array([[3, 1], [0, 0]]), seed=5, epoch=7)
    for row, (i, copy) in enumerate([(3, 1), (0, 0)]):
        moved = augment(samples.images[i], movement, seed=5, epoch=7, record_id=f"r{i}", copy=copy)
        assert torch.equal(inputs[row], SIZE.normalise(moved))
    assert targets.tolist() == [1, 0]
    plain = samples.plain_rows(np.array([2, 3]))
    assert torch.equal(plain, torch.stack([SIZE.prepare(samples.images[i]) for i in (2, 3)]))


def test_weights_give_every_class_the_same_say() -> None:
    labels = torch.tensor([0] * 2 + [1] * 5 + [2] * 3)
    weights = make(labels, copies=(1, 1, 1)).weights()
    for label in range(3):
        assert float(weights[labels == label].sum()) == pytest.approx(1 / 3)
    assert make(torch.zeros(4, 15)).weights().tolist() == [0.25] * 4


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_resized_in_memory_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(module, "MEMORY_LIMIT_BYTES", limit)
    rng = np.random.default_rng(1)
    records, scans = [], []
    for i in range(3):
        scans.append(rng.integers(0, 256, (90, 80 + i), dtype=np.uint8))
        Image.fromarray(scans[-1]).save(tmp_path / f"{i}.png")
        records.append(Record(id=f"r{i}", path=tmp_path / f"{i}.png", label=None, patient="p"))
    counted: list[int] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    images = resize_all(records, SIZE, scratch, counted.append)
    for record, scan in zip(records, scans, strict=True):
        np.testing.assert_array_equal(images[record.id], SIZE.resize(scan))
    assert counted == [1, 1, 1]
    assert [p.name for p in scratch.iterdir()] == (["resized.uint8"] if limit == 0 else [])


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    record = Record(id="r", path=tmp_path / "bad.png", label=None, patient="p")
    with pytest.raises(ImageError, match=r"bad\.png"):
        resize_all([record], SIZE, tmp_path, lambda _: None)
