"""Recall of the default text finder by size, script, contrast, turn and place, on strings painted where nothing was. Prints tables.

    python -m benchmarks.finder_recall [--images 60] [--seed 0] [--detector cascade] [--side 640] [--phantoms]

Up to three strings are painted on each radiograph of AUDIT_CXR_DIR (default ../shared/cxr), or on phantoms without text, from 2 % to a
third of the image high. What the finder marks on the same image unpainted is left alone and not counted, so that every further region that
lies on no string is false. A string counts as found when 70 % of its box is covered.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from statsmodels.stats.proportion import proportion_confint

from audit.data.images import read_gray
from audit.data.records import TextRegion
from audit.text.finders import DEFAULT_FINDER, make_finder
from audit.text.merging import intersection_px
from audit.text.scoring import COVERED_SHARE
from audit.training.phantom.cohort import CLASSES
from audit.training.phantom.image import ImageSpec, render
from audit.training.phantom.pathology import CLASS_FINDINGS
from audit.training.phantom.scanners import SOURCES

_LETTERS = "ABDEFGHKLMNPRSTUVXZ"
_WORDS = ("AP", "PORTABLE", "SUPINE", "SEDUTO", "ERECT 60", "12.03.2019", "14:25", "Left", "DG", "U-11")
_CYRILLIC = ("ЛЕЖА", "СТОЯ", "ПРАВ", "Л", "П", "Ж")
_GREEK = ("ΔΕΞΙΑ", "ΟΡΘΙΑ", "Δ", "Ω")
_SIZES = (0.02, 0.03, 0.045, 0.07, 0.1, 0.14, 0.18, 0.23, 0.28, 0.33)
_TRIES = 60


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A string on an image."""

    region: TextRegion
    """Where its ink is."""
    size: float
    """Height of a capital, as a share of the image's shorter side."""
    traits: tuple[tuple[str, str], ...]
    """(kind, value): what recall is told by."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default=DEFAULT_FINDER)
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--phantoms", action="store_true")
    options = parser.parse_args()
    finder = make_finder(options.detector)
    told: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    n_false, seconds = defaultdict[str, int](int), 0.0
    for number, clean in enumerate(_images(options)):
        before = finder.find(clean)
        image, strings = paint(clean, before, np.random.default_rng([options.seed, number]))
        began = time.process_time()
        regions = finder.find(image)
        seconds += time.process_time() - began
        for string in strings:
            hit = _covered(string.region, regions) >= COVERED_SHARE
            for trait in (("all", ""), *string.traits):
                told[trait].append(hit)
        known = [*before, *(string.region for string in strings)]
        n_false["painted"] += sum(all(not intersection_px(r, k) for k in known) for r in regions)
        n_false["unpainted"] += len(before)
    print("| strings | found | recall | 95 % interval |\n|---|---|---|---|")
    for (kind, value), hits in sorted(told.items()):
        low, high = proportion_confint(sum(hits), len(hits), method="wilson")
        print(f"| {kind} {value} | {sum(hits)}/{len(hits)} | {sum(hits) / len(hits):.3f} | [{low:.3f}, {high:.3f}] |")
    print(
        f"{options.images} images, {seconds / options.images:.2f} s of processor time each; {n_false['painted']} regions that painting "
        f"alone brought and that lie on no string; {n_false['unpainted']} regions on the unpainted images"
    )


def _images(options: argparse.Namespace) -> Iterator[NDArray[np.uint8]]:
    if options.phantoms:
        for index in range(options.images):
            yield bare_phantom(index, options.side, options.seed)
        return
    folder = Path(os.environ.get("AUDIT_CXR_DIR", "../shared/cxr"))
    with (folder / "manifest.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    for index in np.random.default_rng(options.seed).permutation(len(paths))[: options.images]:
        image = read_gray(folder / paths[index])
        scale = min(1.0, options.side / max(image.shape))
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        yield image if scale == 1 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def bare_phantom(index: int, side_px: int, seed: int) -> NDArray[np.uint8]:
    """Return a phantom without a letter."""
    spec = ImageSpec(
        seed=seed,
        index=index,
        patient=str(index),
        label=CLASSES[index % len(CLASSES)],
        findings=(CLASS_FINDINGS[CLASSES[index % len(CLASSES)]],),
        source=list(SOURCES)[index // len(CLASSES) % len(SOURCES)],
        letterings=(),
    )
    return render(spec, side_px, with_text=False).image


def paint(
    clean: NDArray[np.uint8], taken: Sequence[TextRegion], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Painted]]:
    """Paint up to three strings on a copy of an image (h, w), apart from `taken` and from each other."""
    image, painted = clean.copy(), list[Painted]()
    height, width = image.shape
    side = min(height, width)
    for size in rng.choice(_SIZES, size=3, replace=False):
        script, text = _string(size, rng)
        turn = int(rng.choice([0, 0, 0, 90, 180, 270, -15, 15]))
        mirrored = bool(rng.random() < 0.2)
        ink = _ink(text, script, size * side, rng, turn=turn, mirrored=mirrored)
        h, w = ink.shape
        place = str(rng.choice(["border", "border", "inside"]))
        box = _place((h, w), (height, width), place, [*taken, *(p.region for p in painted)], rng)
        if box is None:
            continue
        x0, y0 = box
        under = image[y0 : y0 + h, x0 : x0 + w].astype(np.float32)
        if (seen := _look(under, rng)) is None:
            continue
        look, level = seen
        lead = bool(rng.random() < 0.4)
        if lead:  # lead shares the image's blur
            ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), max(0.4, 0.0015 * side)), dtype=np.float32)
        image[y0 : y0 + h, x0 : x0 + w] = np.rint(under * (1 - ink) + level * ink).astype(np.uint8)
        rows, columns = np.nonzero(ink > 0.5)
        if not len(rows):
            continue
        region = TextRegion(
            x0=x0 + int(columns.min()),
            y0=y0 + int(rows.min()),
            x1=x0 + int(columns.max()) + 1,
            y1=y0 + int(rows.max()) + 1,
            text=text,
        )
        one = "letter" if len(text) == 1 else "word"
        traits = (
            ("size", f"{size:.3f}"),
            ("letters", f"{one}, {'a tenth or more' if size >= 0.1 else 'smaller'}"),
            ("script", script),
            ("look", look),
            ("turn", str(turn)),
            ("mirrored", str(mirrored)),
            ("place", place),
        )
        painted.append(Painted(region=region, size=float(size), traits=traits))
    return image, painted


def _string(size: float, rng: np.random.Generator) -> tuple[str, str]:
    script = str(rng.choice(["latin", "latin", "latin", "latin", "cyrillic", "greek"]))
    strings = {"latin": _WORDS, "cyrillic": _CYRILLIC, "greek": _GREEK}[script]
    if script == "latin" and rng.random() < 0.5:
        return script, _LETTERS[int(rng.integers(len(_LETTERS)))]
    # As long as the image allows.
    fitting = [s for s in strings if size * len(s) < 0.8]
    return (script, str(rng.choice(fitting))) if fitting else ("latin", "R")


def _ink(
    text: str, script: str, cap_px: float, rng: np.random.Generator, *, turn: int, mirrored: bool
) -> NDArray[np.float32]:
    """Return the coverage (h, w) of a string from 0 to 1, cut to what it fills."""
    scale = max(1.0, 24 / cap_px)  # small letters are drawn larger and shrunk
    drawn_px = cap_px * scale
    if script == "latin" and rng.random() < 0.5:
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
        thick = max(1, round(drawn_px * float(rng.uniform(0.08, 0.2))))
        (_, unit), _ = cv2.getTextSize("H", font, 1.0, 1)
        (w, h), below = cv2.getTextSize(text, font, drawn_px / unit, thick)
        canvas = np.zeros((h + below + 4 * thick, w + 4 * thick), np.uint8)
        cv2.putText(canvas, text, (2 * thick, h + 2 * thick), font, drawn_px / unit, 255, thick, cv2.LINE_AA)
    else:
        name = "DejaVuSans-Bold.ttf" if rng.random() < 0.5 else "DejaVuSans.ttf"
        face = ImageFont.truetype(name, round(drawn_px / 0.73))
        x0, y0, x1, y1 = face.getbbox(text)
        page = Image.new("L", (int(x1 - x0) + 8, int(y1 - y0) + 8), 0)
        ImageDraw.Draw(page).text((4 - x0, 4 - y0), text, font=face, fill=255)
        canvas = np.asarray(page, np.uint8)
    canvas = canvas[:, ::-1] if mirrored else canvas
    canvas = np.ascontiguousarray(np.rot90(canvas, turn // 90)) if turn % 90 == 0 else _tilted(canvas, turn)
    if scale > 1:
        size = (max(2, round(canvas.shape[1] / scale)), max(2, round(canvas.shape[0] / scale)))
        canvas = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    cut = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(cut.astype(np.float32) / 255, 2)


def _tilted(canvas: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    h, w = canvas.shape
    padded = np.pad(canvas, max(h, w) // 2)
    centre = (padded.shape[1] / 2, padded.shape[0] / 2)
    turned = cv2.warpAffine(padded, cv2.getRotationMatrix2D(centre, degrees, 1), padded.shape[::-1])
    return np.asarray(turned, np.uint8)


def _place(
    size: tuple[int, int],
    shape: tuple[int, int],
    place: str,
    taken: Sequence[TextRegion],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Draw an upper left corner: at a border, or around the middle; None if there is no room."""
    (h, w), (height, width) = size, shape
    if h >= height - 8 or w >= width - 8:
        return None
    for _ in range(_TRIES):
        if place == "inside":
            x0, y0 = (int(rng.uniform(0.25, 0.75) * side - part / 2) for side, part in ((width, w), (height, h)))
        else:
            x0, y0 = int(rng.integers(4, width - w - 3)), int(rng.integers(4, height - h - 3))
            edge = int(rng.integers(4))
            inset = int(rng.uniform(0.01, 0.06) * min(shape)) + 3
            x0, y0 = ((inset, y0), (width - w - inset, y0), (x0, inset), (x0, height - h - inset))[edge]
        box = TextRegion(x0=x0, y0=y0, x1=x0 + w, y1=y0 + h).padded(max(6, min(h, w) // 3), shape)
        inside = x0 >= 0 and y0 >= 0 and x0 + w <= width and y0 + h <= height
        if inside and all(not intersection_px(box, other) for other in taken):
            return x0, y0
    return None


def _look(under: NDArray[np.float32], rng: np.random.Generator) -> tuple[str, float] | None:
    """Choose how bright the ink is, so that it can be seen on nearly all that lies under it; None if no ink can."""
    darkest, brightest = (float(v) for v in np.percentile(under, (3, 97)))
    look = str(rng.choice(["white", "white", "white", "grey", "dark"]))
    if look == "grey" and brightest < 170:
        return "grey", brightest + float(rng.uniform(40, 80))
    if look != "dark" and brightest < 200:
        return "white", float(rng.uniform(235, 255))
    if darkest > 70:
        return "dark", float(rng.uniform(0, 15))
    return None


def _covered(region: TextRegion, found: Sequence[TextRegion]) -> float:
    inside = np.zeros((region.y1 - region.y0, region.x1 - region.x0), bool)
    for r in found:
        inside[
            max(0, r.y0 - region.y0) : max(0, r.y1 - region.y0), max(0, r.x0 - region.x0) : max(0, r.x1 - region.x0)
        ] = True
    return float(inside.mean())


if __name__ == "__main__":
    main()
