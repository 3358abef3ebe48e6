"""Figures 2 and 3 of the paper redone (Bassi & Attux 2021): where the network looks, with the words kept and masked.

For each class the correctly recognised image of most relevance inside words: LRP from the winning output, as the image is, and
with its words masked in black. Prints, over all images with words, the share of relevance inside them and the probabilities.

    python -m benchmarks.paper_words --model models/C [--data manifest.csv] [--ignore-label NAME] [--out words.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from audit.data.images import read_gray
from audit.perturbations.masking import MaskDraw, TextMask
from audit.perturbations.places import text_boxes
from audit.relevance.lrp import Attributor
from audit.relevance.regions import map_boxes, mass_inside
from audit.relevance.start import start_each
from audit.run.preparation import prepare
from audit.run.settings import Settings
from audit.statistics.outputs import softmax
from audit.text.cache import RegionCache
from audit.text.find import find_regions

SIDE_PX = 360
WARM, COLD = np.array([230, 97, 1]), np.array([45, 90, 170])


def painted(image: np.ndarray, relevance: np.ndarray, limit: float) -> np.ndarray:
    grey = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)[..., None].repeat(3, 2).astype(float)
    strength = cv2.resize(np.clip(relevance / limit, -1, 1), (SIDE_PX, SIDE_PX))[..., None]
    weight = np.sqrt(np.abs(strength)) * 0.8
    return (grey * (1 - weight) + np.where(strength >= 0, WARM, COLD) * weight).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", default="")
    parser.add_argument("--ignore-label", action="append", default=[])
    parser.add_argument("--preset", default="preset-a-flat")
    parser.add_argument("--out", type=Path, default=Path("words.png"))
    options = parser.parse_args()
    settings = Settings(model=options.model, data=options.data, ignore_label=tuple(options.ignore_label))
    prepared = prepare(settings, judge_gates=False)
    bundle = prepared.bundle
    records = prepared.cohort.records
    regions = find_regions(records, RegionCache(Path(settings.cache), prepared.finder), lambda: None).regions
    attributor, mask = Attributor(bundle.network, options.preset), TextMask(fill="black")
    rows = []
    for record in records:
        image = read_gray(record.path)
        height, width = image.shape
        boxes = text_boxes(regions[record.id], (height, width))
        if not boxes:
            continue
        masked = mask.apply(image, MaskDraw(boxes=boxes))
        pair = [bundle.preprocessing.prepare(i)[None] for i in (image, masked)]
        clean, edited = (attributor.attribute(i, start_each) for i in pair)
        winner = int(clean.logits[0].argmax())
        places = map_boxes(regions[record.id], image.shape, clean.maps.shape[2:])
        p = [softmax(f.logits)[0] for f in (clean, edited)]
        rows.append(
            {
                "label": record.label, "winner": bundle.classes[winner], "images": (image, masked), "p": [q[winner] for q in p],
                "maps": (clean.maps[0, winner].astype(float), edited.maps[0, winner].astype(float)),
                "mass": [mass_inside(f.maps[0, winner], places) or 0.0 for f in (clean, edited)],
                "words": " ".join(r.text for r in regions[record.id]),
                "area": np.mean([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in places]) / clean.maps[0, 0].size,
            }
        )  # fmt: skip
    lines = []
    for label in bundle.classes:
        mine = [r for r in rows if r["label"] == label]
        right = [r for r in mine if r["winner"] == label]
        if not right:
            continue
        mass = np.mean([r["mass"] for r in right], axis=0)
        p = np.mean([r["p"] for r in right], axis=0)
        flips = np.mean([r["p"][1] < 0.5 <= r["p"][0] for r in right])
        print(
            f"{label}: {len(right)} of {len(mine)} images with text are recognised; relevance inside it {mass[0]:.4f}, with the words "
            f"masked {mass[1]:.4f}; probability of the winner {p[0]:.3f}, masked {p[1]:.3f}; falls below a half in {flips:.3f}"
        )
        best = max(right, key=lambda r: r["mass"][0])
        print(
            f"  shown: {best['words']!r}, relevance inside text {best['mass'][0]:.3f}, p {best['p'][0]:.3f} -> {best['p'][1]:.3f}"
        )
        limit = float(np.quantile(np.abs(np.stack(best["maps"])), 0.995)) or 1.0
        frames = [painted(best["images"][0], np.zeros_like(best["maps"][0]), limit)]
        frames += [painted(i, m, limit) for i, m in zip(best["images"], best["maps"], strict=True)]
        lines.append(np.hstack(frames))
    Image.fromarray(np.vstack(lines)).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
