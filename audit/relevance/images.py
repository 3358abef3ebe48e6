"""Relevance of stored images: by the network's layers where there are any, else by covering one patch after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.data.pixels.colour import like
from audit.errors import RelevanceError
from audit.models.bundle import Bundle
from audit.models.recorded import WITHOUT_MAPS
from audit.models.scaling import onto_image
from audit.relevance.lrp import Attributor
from audit.relevance.methods import Relevance, unconserved
from audit.relevance.presets import OCCLUSION
from audit.relevance.surrogates import PATCHES, Start

OPAQUE_IMAGES = 50
"""Images that get a map where only occlusion is possible: each costs `PATCHES` squared predictions."""
_MAP_PX = 128
_BATCH = 16
_METHOD = "occlusion of the stored image"


def mapped_images(bundle: Bundle, asked: int) -> int:
    """Return how many images get a map, at most, of those that were asked for."""
    if bundle.is_recorded:
        return 0
    return asked if _network_of(bundle) is not None else min(asked, OPAQUE_IMAGES)


class ImageAttributor:
    """Attributes stored images; every map shows the whole image, whatever part of it the input shows.

    Without a network, or where a function of the owner's decides what an input shows, patches of the stored image itself are
    covered, and everything that follows is asked again.

    Parameters
    ----------
    bundle : Bundle
        The classifier.
    preset : str
        See `audit.relevance.presets`.

    Raises
    ------
    UnknownNameError
        If no preset has that name.
    RelevanceError
        If the network is in training mode, or holds weights that are not finite; or there is none, and nothing else can be asked.
    """

    def __init__(self, bundle: Bundle, preset: str) -> None:
        if bundle.is_recorded:
            raise RelevanceError(WITHOUT_MAPS)
        self._bundle = bundle
        network = _network_of(bundle)
        self._inner = None if network is None else Attributor(network, preset)
        why = (
            f"the preprocessing function {bundle.preprocessing.function} does not tell which part of an image its input shows"
            if bundle.preprocessing.function
            else f"a {bundle.architecture} gives neither layers nor gradients"
        )
        self._why = "" if preset == OCCLUSION else _said(why)

    @property
    def preset(self) -> str:
        """The rules that are used, or the method that stands in for LRP."""
        return OCCLUSION if self._inner is None else self._inner.preset

    @property
    def method(self) -> str:
        """How the maps are made, in words."""
        return _METHOD if self._inner is None else self._inner.method

    @property
    def note(self) -> str:
        """Why this is not LRP; empty if it is, or if another method was asked for."""
        return self._why if self._inner is None else self._inner.note

    @property
    def logit_gap(self) -> float | None:
        """See `Attributor.logit_gap`."""
        return None if self._inner is None else self._inner.logit_gap

    def attribute(self, images: Sequence[NDArray[np.uint8]], start: Start) -> Relevance:
        """Attribute stored images, (h, w) or (h, w, 3), each of its own size.

        Raises
        ------
        RelevanceError
            If a map is not finite.
        """
        if self._inner is not None:
            try:
                return self._by_layers(self._inner, images, start)
            except (RuntimeError, TypeError, NotImplementedError) as error:
                # What a network of anybody's does under autograd shows itself here for the first time.
                first = next(iter(str(error).splitlines()), type(error).__name__)
                self._why = _said(f"the network gives no gradients ({first})")
                self._inner = None
        return self._by_occlusion(images, start)

    def _by_layers(self, attributor: Attributor, images: Sequence[NDArray[np.uint8]], start: Start) -> Relevance:
        wants = self._bundle.preprocessing
        found = attributor.attribute(torch.stack([wants.prepare(image) for image in images]), start)
        windows = [wants.window(image.shape) for image in images]
        maps = [
            found.maps[i] if window is None else onto_image(found.maps[i], window, image.shape)
            for i, (window, image) in enumerate(zip(windows, images, strict=True))
        ]
        return found.with_maps(np.stack(maps))

    def _by_occlusion(self, images: Sequence[NDArray[np.uint8]], start: Start) -> Relevance:
        rows = [self._occluded(image, start) for image in images]
        maps, logits = (torch.stack(parts) for parts in zip(*rows, strict=True))
        if not bool(torch.isfinite(logits).all()):
            raise RelevanceError("The classifier's outputs are not finite for an image.")
        return unconserved(maps, logits, start(logits))

    def _occluded(self, image: NDArray[np.uint8], start: Start) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the maps (s, h, w) and logits (k) of one image: what the outputs lose when a patch is covered with its mean."""
        wants, (height, width) = self._bundle.preprocessing, image.shape[:2]
        patch = _patches(height, width)
        mean = np.rint(image.mean(axis=(0, 1))).astype(np.uint8)
        clean = self._bundle.logits(wants.prepare(image)[None])
        losses = []
        for first in range(0, PATCHES**2, _BATCH):
            covered = [
                wants.prepare(np.where(like(image, patch == number), mean, image).astype(np.uint8))
                for number in range(first, first + _BATCH)
            ]
            losses.append(clean - self._bundle.logits(torch.stack(covered)))
        signs = start(clean)[0].sign()
        lost = signs @ torch.cat(losses).T.to(signs)
        grid = torch.from_numpy(_patches(_MAP_PX, _MAP_PX))
        return (lost / (_MAP_PX / PATCHES) ** 2)[:, grid], clean[0]


def _network_of(bundle: Bundle) -> nn.Module | None:
    found = None if bundle.preprocessing.function else bundle.classifier.ability("network")
    return found if isinstance(found, nn.Module) else None


def _patches(height: int, width: int) -> NDArray[np.int64]:
    """Return the number of the patch that each pixel (h, w) lies in."""
    rows = np.arange(height) * PATCHES // height
    columns = np.arange(width) * PATCHES // width
    return np.asarray(rows[:, None] * PATCHES + columns[None, :], dtype=np.int64)


def _said(why: str) -> str:
    return f"LRP is not possible: {why}. Occlusion of one patch after another is used instead, which does not conserve relevance."
