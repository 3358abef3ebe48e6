"""Images a second in training, against the loop that one writes by hand for the same work. Prints both ratios.

The hand-written loop opens, resizes and moves each image whenever it is visited, runs the whole network for every batch, and
steps the optimiser; head-only phases freeze the backbone and still run it. Data, order, movements, batches and rates are
the same, and so are the losses, to 1e-3.

    python -m benchmarks.training_speed [--images 64] [--threads 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from audit.data.images import read_gray
from audit.data.records import Record
from audit.models.preprocessing import Preprocessing
from audit.training.augmentation import Augmentation, augment
from audit.training.loop import train
from audit.training.recipes import Phase, Step
from audit.training.samples import Samples, resize_all
from audit.training.scores import balanced_accuracy
from audit.training.transfer import StartingWeights, start_network, torch_generator

SIZE = Preprocessing(size_px=(128, 128))
NO_START = StartingWeights(state=None, statement="random", digest="random")
SEED = 0


def records(folder: Path, n: int) -> list[Record]:
    rng = np.random.default_rng(SEED)
    found = []
    for i in range(n):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (512, 512), dtype=np.uint8)).save(path)
        found.append(Record(id=f"r{i}", path=path, label="normal", patient=f"p{i}"))
    return found


def network() -> torch.nn.Module:
    return start_network("densenet121", 3, NO_START, torch_generator(SEED))


def ours(scans: list[Record], step: Step, folder: Path) -> tuple[float, float]:
    """Return seconds and the last training loss."""
    model, began = network(), time.perf_counter()
    pixels = resize_all(scans, SIZE, folder, lambda _: None)

    def samples(part: list[Record]) -> Samples:
        return Samples(
            ids=tuple(r.id for r in part),
            images=[pixels[r.id] for r in part],
            targets=torch.arange(len(part)) % 3,
            preprocessing=SIZE,
            augmentation=step.augmentation,
        )

    curves = train(
        model, samples(scans), samples(scans[:3]), step, loss="cross entropy", score=balanced_accuracy, seed=SEED
    )
    return time.perf_counter() - began, curves.epochs[-1].train_loss


def by_hand(scans: list[Record], step: Step) -> tuple[float, float]:
    """Return seconds and the last training loss."""
    model, phase = network(), step.phases[0]
    order_of = Samples(
        ids=tuple(r.id for r in scans),
        images=[],
        targets=torch.arange(len(scans)) % 3,
        preprocessing=SIZE,
        augmentation=step.augmentation,
    )
    began = time.perf_counter()
    if phase.trains == "head":
        for parameter in model.get_submodule("features").parameters():
            parameter.requires_grad_(False)
    moving = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(moving, lr=phase.rate, momentum=step.momentum)
    loss_sum = 0.0
    for epoch in range(1, phase.epochs + 1):
        model.train()
        if phase.trains == "head":
            model.get_submodule("features").eval()
        loss_sum = 0.0
        order = order_of.epoch_order(seed=SEED, epoch=epoch)
        for start in range(0, len(order), step.batch):
            rows = order[start : start + step.batch]
            images = []
            for i, copy in rows.tolist():
                image = SIZE.resize(read_gray(scans[i].path))
                moved = augment(image, step.augmentation, seed=SEED, epoch=epoch, record_id=scans[i].id, copy=copy)
                images.append(SIZE.normalise(moved))
            value = functional.cross_entropy(model(torch.stack(images)), torch.from_numpy(rows[:, 0].copy()) % 3)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            loss_sum += value.item() * len(rows)
        model.eval()
        with torch.no_grad():
            model(torch.stack([SIZE.prepare(read_gray(r.path)) for r in scans[:3]]))
    return time.perf_counter() - began, loss_sum / len(scans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = {
        "full training": Step(
            batch=16,
            optimiser="sgd",
            momentum=0.9,
            validation_share=0.1,
            augmentation=Augmentation(rotation_deg=10, shift_share=0.06, flip_share=0.5),
            phases=(Phase(name="all", trains="all", epochs=2, rate=1e-3),),
        ),
        "head only": Step(
            batch=16,
            optimiser="sgd",
            momentum=0.9,
            validation_share=0.1,
            augmentation=Augmentation(flip_share=0.5),
            phases=(Phase(name="head", trains="head", epochs=12, rate=1e-3),),
        ),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scans = records(folder, options.images)
        for name, step in cases.items():
            mine, theirs = [], []
            for _ in range(options.repeats):  # one after the other, so that a busy machine slows both
                mine.append(ours(scans, step, folder))
                theirs.append(by_hand(scans, step))
            assert abs(mine[0][1] - theirs[0][1]) <= 1e-3, "both must do the same work"
            visited = len(scans) * step.phases[0].epochs
            ratio = float(np.median([b / a for (a, _), (b, _) in zip(mine, theirs, strict=True)]))
            speeds = [visited / min(seconds for seconds, _ in runs) for runs in (mine, theirs)]
            print(f"{name}: {speeds[0]:.1f} images/s, by hand {speeds[1]:.1f}; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
