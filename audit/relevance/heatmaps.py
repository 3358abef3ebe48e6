"""Heatmaps on disk: the maps of every output, one file per shard of images, so that they are never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from audit.errors import StoreError, shown_string
from audit.models.foreign import RefusedError
from audit.models.tensors import read_tensors


@dataclass(frozen=True, kw_only=True)
class Heatmaps:
    """Maps of one image."""

    outputs: NDArray[np.float32]
    """(k, h, w) of each output, signed; a single one where the network has too many outputs."""
    chosen: NDArray[np.float32]
    """(h, w) of the start that the run asked for."""
    bare: NDArray[np.float32]
    """(h, w) the same after the image's text was inpainted."""


def pack_heatmaps(maps: NDArray[np.float32], signs: NDArray[np.float32], bare: NDArray[np.float32]) -> bytes:
    """Return the file of a shard's maps (n, k, h, w), the signs (n, k) of the start, and the maps (n, h, w) without text.

    Maps are in half precision with a scale each: the rounding is a two-thousandth of what it rounds.
    """
    stored, scale = _scaled(np.concatenate([maps, bare[:, None]], axis=1))
    signs = np.ascontiguousarray(signs, dtype=np.float32)
    return save({"maps": stored, "scale": scale, "signs": signs})


def _scaled(maps: NDArray[np.float32]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    scale = np.abs(maps).max(axis=(2, 3), keepdims=True)
    scale[scale == 0] = 1.0
    return (maps / scale).astype(np.float16), np.ascontiguousarray(scale[:, :, 0, 0], dtype=np.float32)


def read_heatmaps(paths: Sequence[Path]) -> Iterator[Heatmaps]:
    """Yield the maps of image after image, in the order in which they were written.

    Raises
    ------
    StoreError
        If a shard is missing or damaged.
    """
    for path in paths:
        try:
            shard = {name: tensor.numpy() for name, tensor in read_tensors(path).items()}
            stored, scale, all_signs = shard["maps"], shard["scale"], shard["signs"]
            if (
                stored.ndim != 4
                or scale.shape != stored.shape[:2]
                or all_signs.shape != (len(stored), scale.shape[1] - 1)
            ):
                raise TypeError(f"its tensors have the shapes {stored.shape}, {scale.shape} and {all_signs.shape}")
            if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in (stored, scale, all_signs)):
                raise TypeError("a value is not a finite number")
        except (OSError, KeyError, TypeError, RefusedError) as error:
            raise StoreError(
                f"The heatmaps {path} cannot be read ({shown_string(str(error), 200)}). Delete the file and run the audit again."
            ) from error
        for maps, scales, signs in zip(stored, scale, all_signs, strict=True):
            outputs = maps.astype(np.float32) * scales[:, None, None]
            yield Heatmaps(outputs=outputs[:-1], chosen=np.tensordot(signs, outputs[:-1], axes=1), bare=outputs[-1])
