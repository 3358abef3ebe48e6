"""Processor time of the default text finder against EasyOCR's plain `readtext` at 1,024 px. Prints the ratio; at least 8 wanted.

    python -m benchmarks.finder_speed IMAGE... [--threads 1]

Without images it draws phantoms of 1,024 px.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import easyocr
    import torch

    from audit.data.images import read_gray
    from audit.text.easyocr_finder import weights_folder
    from audit.text.finders import DEFAULT_FINDER, make_finder
    from audit.training.phantom.cohort import make_phantoms

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        files = options.images
        if not files:
            make_phantoms(Path(temporary), task="classes", n_images=4, size_px=1024)
            files = sorted((Path(temporary) / "images").iterdir())
        images = [at_1024(read_gray(file)) for file in files]
    finder = make_finder(DEFAULT_FINDER)
    folder = weights_folder()
    storage = {} if folder is None else {"model_storage_directory": str(folder), "download_enabled": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = easyocr.Reader(["en"], gpu=False, verbose=False, **storage)
        # One of each before the clock starts: sessions open, kernels are chosen.
        finder.find(images[0])
        reader.readtext(images[0][:200, :200])
        ours = processor_time(lambda image: len(finder.find(image)), images)
        plain = processor_time(lambda image: len(reader.readtext(image)), images)
    for name, (seconds, found) in (("easyocr readtext", plain), (DEFAULT_FINDER, ours)):
        print(f"{name}: {seconds / len(images):.2f} s of processor time an image, {found} regions")
    print(f"ratio {plain[0] / ours[0]:.1f} on {len(images)} images of 1,024 px")


def at_1024(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = 1024 / max(image.shape)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def processor_time(find: object, images: list[NDArray[np.uint8]]) -> tuple[float, int]:
    began = time.process_time()
    found = sum(find(image) for image in images)  # type: ignore[operator]
    return time.process_time() - began, found


if __name__ == "__main__":
    main()
