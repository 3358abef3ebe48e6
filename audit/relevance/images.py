"""Relevance of stored images: by the network's layers where there are any, else by covering one patch after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.errors import RelevanceError
from audit.models.bundle import Bundle
from audit.models.devices import USUAL_BATCH
from audit.models.recorded import WITHOUT_MAPS
from audit.models.scaling import onto_image
from audit.models.torch_classifier import one_thread
from audit.prediction.shards import Batches
from audit.relevance.lrp import Attributor
from audit.relevance.methods import Relevance, unconserved
from audit.relevance.presets import OCCLUSION
from audit.relevance.start import start_relevance
from audit.relevance.surrogates import PATCHES, Start

_MAP_PX = 128
_METHOD = "occlusion"


class ImageAttributor:
    """Attributes stored images; every map shows the whole image, whatever part of it the input shows.

    Without a network, or where a function of the owner's decides what an input shows, patches of the image are covered, and the
    classifier is asked again for each.

    Parameters
    ----------
    bundle : Bundle
        The classifier.
    preset : str
        See `audit.relevance.presets`.
    batch : int
        Inputs that are predicted together by occlusion.

    Raises
    ------
    UnknownNameError
        If no preset has that name.
    RelevanceError
        If the network is in training mode, or holds weights that are not finite; or there is none, and nothing else can be asked.
    """

    def __init__(self, bundle: Bundle, preset: str, batch: int = USUAL_BATCH) -> None:
        if bundle.is_recorded:
            raise RelevanceError(WITHOUT_MAPS)
        self._bundle, self._batch = bundle, batch
        network = network_of(bundle)
        # Whatever answers fastest is asked for occlusion: an export, or the network on another device.
        self._inner = None if network is None or preset == OCCLUSION else Attributor(network, preset)
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

    def settle(self, image: NDArray[np.uint8]) -> None:
        """Choose the method on one image, as the first batch would: several processes then choose the same.

        Raises
        ------
        RelevanceError
            If its map is not finite.
        """
        if self._inner is not None:
            self.attribute([image], lambda logits: start_relevance(logits, self._bundle.classes))

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
        with one_thread():  # as predictions, so that the number of cores changes no digit
            found = attributor.attribute(torch.stack([wants.prepare(image) for image in images]), start)
        windows = [wants.window(image.shape) for image in images]
        maps = [
            found.maps[i] if window is None else onto_image(found.maps[i], window, image.shape)
            for i, (window, image) in enumerate(zip(windows, images, strict=True))
        ]
        return found.with_maps(np.stack(maps))

    def _by_occlusion(self, images: Sequence[NDArray[np.uint8]], start: Start) -> Relevance:
        rows = [self._occluded(image, start) for image in images]
        logits = torch.stack([row[1] for row in rows])
        if not bool(torch.isfinite(logits).all()):
            raise RelevanceError("The classifier's outputs are not finite for an image.")
        maps = torch.from_numpy(np.stack([row[0] for row in rows]))
        return unconserved(maps, logits, start(logits))

    def _occluded(self, image: NDArray[np.uint8], start: Start) -> tuple[NDArray[np.float32], torch.Tensor]:
        """Return the maps (s, h, w) and logits (k) of one image: what the outputs lose when a patch is covered with its mean.

        The image is covered once it is scaled, which it then is once and not for every patch; where a function of the owner's scales it,
        it is covered as it is stored.
        """
        wants = self._bundle.preprocessing
        scaled = wants.resize(image)
        mean = np.rint(scaled.mean(axis=(0, 1))).astype(scaled.dtype)
        batches = Batches(self._bundle, self._batch)
        with one_thread():
            batches.ask(wants.normalise(scaled))
            for rows, columns in patches(scaled.shape[0], scaled.shape[1]):
                covered = scaled.copy()
                covered[rows, columns] = mean
                batches.ask(wants.normalise(covered))
            answers = torch.from_numpy(batches.answers())
        clean = answers[0]
        lost = start(clean[None])[0].sign() @ (clean - answers[1:]).T
        found = np.zeros((len(lost), _MAP_PX, _MAP_PX), dtype=np.float32)
        for number, (rows, columns) in enumerate(patches(_MAP_PX, _MAP_PX)):
            found[:, rows, columns] = lost[:, number, None, None].numpy() / (_MAP_PX / PATCHES) ** 2
        window = wants.window(image.shape)
        return found if window is None else onto_image(found, window, image.shape), clean


def network_of(bundle: Bundle) -> nn.Module | None:
    """Return the network whose layers or gradients heatmaps can come from; None where there is none."""
    found = None if bundle.preprocessing.function else bundle.classifier.ability("network")
    return found if isinstance(found, nn.Module) else None


def patches(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each patch of an image, row by row; of an image of fewer pixels than patches some are empty."""
    rows, columns = (_edges(length) for length in (height, width))
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield slice(top, bottom), slice(left, right)


def _edges(length: int) -> list[int]:
    """Return where patches begin and end along a side: pixel y lies in patch y * PATCHES // length."""
    return [-(-number * length // PATCHES) for number in range(PATCHES + 1)]


def _said(why: str) -> str:
    return f"LRP is not possible: {why}. Occlusion of one patch after another is used instead, which does not conserve relevance."
