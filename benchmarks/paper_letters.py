"""The paper's own check of letters (Bassi & Attux 2021, section 8), on any network and data, with what the paper lacks.

A COVID-19 image gets the letters of a normal one ("L PA"): probabilities before and after, and LRP from the output `normal`
before and after. Beside that single image: the same over all of them, against letters of other COVID-19 images.

    python -m benchmarks.paper_letters --model models/C [--data manifest.csv] [--ignore-label NAME] [--out letters.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from audit.perturbations import NotApplicable, Scene, changed_pixels
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.pasting import PasteLetters
from audit.prediction.variants import cohort_context, read_scene
from audit.randomness import generator_for
from audit.relevance.lrp import Attributor
from audit.relevance.start import start_each
from audit.run.preparation import Preparation, prepare
from audit.run.settings import Settings
from audit.statistics.outputs import softmax
from audit.text.cache import RegionCache
from audit.text.find import find_regions

SIDE_PX = 420
WARM, COLD = np.array([230, 97, 1]), np.array([45, 90, 170])


def probabilities(prepared: Preparation, image: np.ndarray) -> np.ndarray:
    bundle = prepared.bundle
    return softmax(bundle.logits(bundle.preprocessing.prepare(image)[None]).numpy())[0]


def relevance(prepared: Preparation, image: np.ndarray, target: int) -> np.ndarray:
    inputs = prepared.bundle.preprocessing.prepare(image)[None]
    return (
        Attributor(prepared.bundle.network, "preset-a-flat").attribute(inputs, start_each).maps[0, target].astype(float)
    )


def painted(image: np.ndarray, relevances: np.ndarray, limit: float) -> np.ndarray:
    grey = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)[..., None].repeat(3, 2).astype(float)
    strength = cv2.resize(np.clip(relevances / limit, -1, 1), (SIDE_PX, SIDE_PX))[..., None]
    weight = np.sqrt(np.abs(strength)) * 0.8
    return (grey * (1 - weight) + np.where(strength >= 0, WARM, COLD) * weight).astype(np.uint8)


def normal_letters(scenes: dict[str, Scene]) -> Donor:
    """Return the normal image whose text is nearest to the paper's: most words among L and PA, then most regions."""
    normal = [s for s in scenes.values() if s.record.label == "normal" and s.regions]
    if not normal:
        raise SystemExit("No normal image carries text, so there are no letters to paste.")
    words = [({w for r in s.regions for w in r.text.upper().split()}, s) for s in normal]
    best = max(words, key=lambda pair: (len(pair[0] & {"L", "PA"}), -len(pair[0]), pair[1].record.id))[1]
    return Donor(record=best.record, regions=best.regions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", default="")
    parser.add_argument("--ignore-label", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("letters.png"))
    options = parser.parse_args()
    settings = Settings(model=options.model, data=options.data, ignore_label=tuple(options.ignore_label))
    prepared = prepare(settings, judge_gates=False)
    classes = list(prepared.bundle.classes)
    normal, covid = classes.index("normal"), classes.index("covid")
    records = prepared.cohort.records
    regions = find_regions(records, RegionCache(Path(settings.cache), prepared.finder), lambda: None).regions
    context = cohort_context(records, regions, seed=0)
    scenes = {r.id: read_scene(r, context) for r in records}
    donor = normal_letters(scenes)
    letters = " ".join(r.text for r in donor.regions)
    print(f"letters of a normal image: {letters!r}")

    moved: dict[str, list[np.ndarray]] = {"normal image's": [], "another COVID-19 image's": []}
    shown: tuple[float, Scene, np.ndarray] | None = None
    cases = [s for s in scenes.values() if s.record.label == "covid"]
    for scene in cases:
        clean = probabilities(prepared, scene.image)
        lent = Scene(**{**scene.__dict__, "donors": DonorPool([donor])})
        for name, perturbation, where in (
            ("normal image's", PasteLetters(source="other-class"), lent),
            ("another COVID-19 image's", PasteLetters(source="same-class"), scene),
        ):
            drawn = perturbation.draw(where, generator_for(0, scene.record.id, name))
            if isinstance(drawn, NotApplicable):
                continue
            edited = perturbation.apply(scene.image, drawn)
            change = probabilities(prepared, edited) - clean
            moved[name].append(change)
            right = int(clean.argmax()) == covid
            if where is lent and right and (shown is None or change[normal] > shown[0]):
                shown = float(change[normal]), scene, edited
    for name, changes in moved.items():
        mean = np.mean(changes, axis=0)
        print(
            f"{name:>24} letters on {len(changes)} COVID-19 images: p(normal) {mean[normal]:+.4f}, p(covid) {mean[covid]:+.4f}, "
            f"largest rise of p(normal) {max(c[normal] for c in changes):+.3f}"
        )
    if shown is None:
        raise SystemExit("No COVID-19 image is recognised as such, so there is none to show.")
    _, scene, edited = shown
    before, after = probabilities(prepared, scene.image), probabilities(prepared, edited)
    print(
        "the image that moved most: "
        + ", ".join(f"{c} {b:.3f} -> {a:.3f}" for c, b, a in zip(classes, before, after, strict=True))
    )
    maps = [relevance(prepared, image, normal) for image in (scene.image, edited)]
    inside = cv2.resize(changed_pixels(scene.image, edited).astype(np.uint8), maps[0].shape[::-1]) > 0
    for name, found in zip(("before", "after"), maps, strict=True):
        positive = np.clip(found, 0, None)
        print(
            f"relevance from the output normal, {name}: {positive[inside].sum() / positive.sum():.4f} of the positive part "
            f"lies where the letters go, which is {inside.mean():.4f} of the image"
        )
    limit = float(np.quantile(np.abs(np.stack(maps)), 0.995))
    frames = [painted(image, np.zeros_like(maps[0]), limit) for image in (scene.image, edited)]
    frames += [painted(image, found, limit) for image, found in zip((scene.image, edited), maps, strict=True)]
    Image.fromarray(np.hstack(frames)).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
