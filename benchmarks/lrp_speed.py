"""LRP on DenseNet-121 at 224 px against one forward pass with its gradient to the input, and against zennit.

    python -m benchmarks.lrp_speed [--batch 8] [--repeats 5] [--without-zennit]

Processor time of one thread, the smallest of interleaved repeats; the baseline has frozen parameters and channels-last memory,
which is its fastest form. Peak memory is taken in a process of its own for each way.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from zennit.composites import EpsilonPlusFlat

from audit.relevance.lrp import Attributor
from audit.relevance.methods import Zennit
from audit.relevance.presets import PRESETS, find_preset
from audit.relevance.start import start_each, start_relevance
from audit.relevance.surrogates import Start

CLASSES = ("normal", "pneumonia", "covid")
BASE = "forward + input gradient"


def ways(batch: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return what is timed, by name: each makes a function that attributes one batch."""
    torch.manual_seed(0)
    network = torchvision.models.densenet121(weights=None, num_classes=len(CLASSES)).eval().requires_grad_(False)
    images = torch.randn(batch, 3, 224, 224)

    def winner(logits: torch.Tensor) -> torch.Tensor:
        return start_relevance(logits, CLASSES)

    def gradient() -> Callable[[], object]:
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)

        def call() -> None:
            seen = images.contiguous(memory_format=torch.channels_last).clone().requires_grad_(True)
            last(seen).max(1).values.sum().backward()

        return call

    def ours(name: str, start: Start) -> Callable[[], object]:
        attributor = Attributor(network, name)
        attributor.attribute(images[:1], start)
        return lambda: attributor.attribute(images, start)

    def zennit(name: str) -> Callable[[], object]:
        canonized = Zennit(network, find_preset(name))
        return lambda: canonized.attribute(images, winner)

    def stock() -> Callable[[], object]:
        own = copy.deepcopy(network)

        def call() -> None:
            seen = images.clone().requires_grad_(True)
            with EpsilonPlusFlat().context(own) as modified:
                logits = modified(seen)
                torch.autograd.grad(logits, seen, winner(logits.detach())[:, 0])

        return call

    return {
        BASE: gradient,
        **{f"ours, {name}": lambda name=name: ours(name, winner) for name in PRESETS},
        "ours, epsilon-plus-flat, a map for each of three outputs": lambda: ours("epsilon-plus-flat", start_each),
        **{
            f"zennit canonized, {name}": lambda name=name: zennit(name)
            for name in ("epsilon-plus-flat", "epsilon-alpha2-beta1-flat")
        },
        "zennit as it comes, epsilon-plus-flat": stock,
    }


def peak_mb() -> float:
    """Return this process's highest resident memory; unlike that of getrusage, without that of what started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-zennit", action="store_true")
    parser.add_argument("--peak", metavar="WAY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    todo = ways(options.batch)
    if options.peak:
        todo[options.peak]()()
        print(peak_mb())
        return
    if options.without_zennit:
        todo = {name: way for name, way in todo.items() if not name.startswith("zennit")}
    made = {name: make() for name, make in todo.items()}
    best = dict.fromkeys(todo, float("inf"))
    for _ in range(options.repeats):
        for name, way in made.items():
            start = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - start)
    print(f"DenseNet-121, 224 px, batch {options.batch}, one thread, smallest of {options.repeats} interleaved repeats")
    print(f"{'':58}  s/image  ratio  peak MB")
    for name, seconds in best.items():
        command = [sys.executable, __file__, "--batch", str(options.batch), "--peak", name]
        peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])
        print(f"{name:58}  {seconds / options.batch:7.3f}  {seconds / best[BASE]:5.2f}  {peak:7.0f}")


if __name__ == "__main__":
    main()
