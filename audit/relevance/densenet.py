"""LRP of torchvision's DenseNets in one explicit pass: no hooks, no autograd, the network only read.

Two facts make it short and fast. Whatever a convolution reads here follows a ReLU, so that half of the products of the
alpha-beta rules are zero and never computed. And the features of a dense block are read by BatchNorms alone, so
that the relevance of a feature u is u times a coefficient: the z-rule of relu(s u + t) hands down s u c where
(s u + t) c arrives, without a division that could blow up. Coefficients are summed over the readers.

Images go through one after the other: what is worked on stays in the processor's cache, which gains more than a
batch would, and memory does not grow with the batch.

Rows are pixels: a feature map (h, w, c) is a matrix (h w, c), and a 1x1 convolution a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812
from torchvision.models import DenseNet

from audit.relevance.books import Books
from audit.relevance.densenet_weights import Layer, Transition, column_sums, read_weights
from audit.relevance.presets import Preset

Rows = torch.Tensor
"""(h w, c)."""
Size = tuple[int, int]
"""(h, w)."""


@dataclass(frozen=True, kw_only=True)
class _LayerTape:
    """What the forward pass of one layer leaves."""

    a1: Rows
    z1: torch.Tensor
    y1: Rows
    a2: Rows
    z2: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class _TransitionTape:
    a: Rows
    pooled: Rows
    z: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Tape:
    """What the forward pass of one image leaves for its backward passes."""

    image: torch.Tensor
    """(1, 3, h, w)"""
    raw: torch.Tensor
    """(1, o, h, w) output of the first convolution."""
    active: torch.Tensor
    """(1, o, h, w) the same after BatchNorm and ReLU."""
    winners: torch.Tensor
    """(1, o, h, w) which of them the maximum pooling took."""
    blocks: tuple[Rows, ...]
    """Features of each dense block."""
    sizes: tuple[Size, ...]
    """Of each dense block."""
    layers: tuple[tuple[_LayerTape, ...], ...]
    """By block."""
    transitions: tuple[_TransitionTape, ...]
    """Between blocks."""
    top: Rows
    """What is averaged over the image for the dense layer."""
    pooled: torch.Tensor
    """(c,) what the dense layer reads."""
    logits: torch.Tensor
    """(k,)"""


class DenseNetLRP:
    """LRP of one DenseNet by one preset.

    Parameters
    ----------
    network : torchvision.models.DenseNet
        In evaluation mode; its weights are read once, here.
    preset : Preset
        The rules.

    Raises
    ------
    RelevanceError
        If a part of the network is not what torchvision's DenseNets have there.
    """

    def __init__(self, network: DenseNet, preset: Preset) -> None:
        self.preset = preset
        with torch.inference_mode():
            self._weights = read_weights(network, preset)

    @torch.inference_mode()
    def forward(self, image: torch.Tensor) -> Tape:
        """Predict one image (1, 3, h, w), and keep what the backward pass needs."""
        weights = self._weights
        stem = weights.stem
        image = image.contiguous(memory_format=torch.channels_last)
        raw = F.conv2d(image, stem.weight, stem.bias, stride=2, padding=3)
        active = torch.relu_(torch.addcmul(stem.shift[:, None, None], raw, stem.scale[:, None, None]))
        features, winners = F.max_pool2d(active, kernel_size=3, stride=2, padding=1, return_indices=True)
        size = (features.shape[2], features.shape[3])
        rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        blocks: list[Rows] = []
        sizes, layers, transitions = [], [], []
        for number, block in enumerate(weights.blocks):
            if number:
                step = _transition_forward(weights.transitions[number - 1], blocks[-1], size)
                size = (size[0] // 2, size[1] // 2)
                transitions.append(step[0])
                rows = step[1]
            full, tape = _block_forward(block, rows, size)
            blocks.append(full)
            sizes.append(size)
            layers.append(tape)
        top = torch.relu_(torch.addcmul(weights.shift, blocks[-1], weights.scale))
        pooled = top.mean(0)
        return Tape(
            image=image,
            raw=raw,
            active=active,
            winners=winners,
            blocks=tuple(blocks),
            sizes=tuple(sizes),
            layers=tuple(layers),
            transitions=tuple(transitions),
            top=top,
            pooled=pooled,
            logits=torch.addmv(weights.head_bias, weights.head, pooled),
        )

    @torch.inference_mode()
    def relevance(self, tape: Tape, start: torch.Tensor, books: Books) -> torch.Tensor:
        """Carry the relevance `start` (k,) of the logits back to the pixels.

        Returns
        -------
        tensor (h, w)
            Signed, summed over the channels of the image.
        """
        weights = self._weights
        sign = torch.copysign(torch.full_like(tape.logits, weights.preset.epsilon), tape.logits)
        quotient = start / (tape.logits + sign)
        books.bias += (quotient.double() * weights.head_bias.double()).sum()
        books.stabiliser += (quotient.double() * sign.double()).sum()
        # The mean hands to each of its pixels what it gave.
        coefficient = (quotient @ weights.head / len(tape.top)).expand_as(tape.top).contiguous()
        coefficient = _through_norm(coefficient, tape.top, weights.scale, weights.shift, books)
        for number in reversed(range(len(weights.blocks))):
            features, size = tape.blocks[number], tape.sizes[number]
            for layer, step in zip(reversed(weights.blocks[number]), reversed(tape.layers[number]), strict=True):
                _layer_backward(layer, step, features, coefficient, size, books)
            n_first = tape.layers[number][0].a1.shape[1]
            first = coefficient[:, :n_first]
            if number:
                relevance = features[:, :n_first] * first
                coefficient = _transition_backward(
                    weights.transitions[number - 1],
                    tape.transitions[number - 1],
                    relevance,
                    tape.sizes[number - 1],
                    size,
                    books,
                )
        return self._to_pixels(tape, first, books)

    def _to_pixels(self, tape: Tape, coefficient: Rows, books: Books) -> torch.Tensor:
        """Carry coefficients (h w, o) of the pooled stem to the image."""
        stem, size = self._weights.stem, tape.sizes[0]
        pooled = coefficient.reshape(1, *size, -1).permute(0, 3, 1, 2)
        unpooled = torch.ops.aten.max_pool2d_with_indices_backward(
            pooled, tape.active, [3, 3], [2, 2], [1, 1], [1, 1], False, tape.winners
        )
        unpooled = torch.ops.aten.threshold_backward(unpooled, tape.active, 0)
        books.shift += unpooled.sum((0, 2, 3)).double() @ stem.shift.double()
        relevance = unpooled * tape.raw * stem.scale[:, None, None]
        height, width = tape.image.shape[2:]
        odd = (_left_over(height), _left_over(width))
        if self.preset.first == "flat":
            # Every pixel under the kernel gets the same, all channels alike: one channel does for three.
            kernel = stem.weight.new_ones(1, 1, *stem.weight.shape[2:])
            reach = F.conv2d(tape.image.new_ones(1, 1, height, width), kernel, stride=2, padding=3)
            quotient = relevance.sum(1, keepdim=True) / reach
            return F.conv_transpose2d(quotient, kernel, stride=2, padding=3, output_padding=odd)[0, 0]
        sign = torch.copysign(torch.full_like(tape.raw, self.preset.epsilon), tape.raw)
        quotient = relevance / (tape.raw + sign)
        books.bias += quotient.sum((0, 2, 3)).double() @ stem.bias.double()
        books.stabiliser += (quotient * sign).double().sum()
        back = F.conv_transpose2d(quotient, stem.weight, stride=2, padding=3, output_padding=odd)
        return (back * tape.image).sum(1)[0]


def _left_over(side: int) -> int:
    """Return how many pixels a stride of 2 leaves at the end of a side, with a kernel of 7 and padding 3."""
    return (side - 1) % 2


def _block_forward(block: tuple[Layer, ...], rows: Rows, size: Size) -> tuple[Rows, tuple[_LayerTape, ...]]:
    n_first, n_full = rows.shape[1], len(block[-1].scale) + block[-1].grow.n_out
    features = rows.new_empty(len(rows), n_full)
    features[:, :n_first] = rows
    tape = []
    for layer in block:
        n_seen = len(layer.scale)
        a1 = torch.relu_(torch.addcmul(layer.shift, features[:, :n_seen], layer.scale))
        y1, z1 = layer.narrow.forward(a1, size)
        if layer.middle_scale is None or layer.middle_shift is None:
            a2 = torch.relu(y1)
        else:
            a2 = torch.relu_(torch.addcmul(layer.middle_shift, y1, layer.middle_scale))
        y2, z2 = layer.grow.forward(a2, size)
        features[:, n_seen : n_seen + layer.grow.n_out] = y2
        tape.append(_LayerTape(a1=a1, z1=z1, y1=y1, a2=a2, z2=z2))
    return features, tuple(tape)


def _layer_backward(
    layer: Layer, step: _LayerTape, features: Rows, coefficient: Rows, size: Size, books: Books
) -> None:
    """Add to the coefficients of a block's features what one layer hands down."""
    n_seen = len(layer.scale)
    new = slice(n_seen, n_seen + layer.grow.n_out)
    quotient = layer.grow.quotient(features[:, new] * coefficient[:, new], step.z2)
    books.keep(*layer.grow.kept(quotient, step.z2))
    back = layer.grow.backward(quotient, size)
    if layer.middle_scale is None or layer.middle_shift is None:
        relevance = back * step.a2
    else:
        relevance = _through_norm(back, step.a2, layer.middle_scale, layer.middle_shift, books) * step.y1
    quotient = layer.narrow.quotient(relevance, step.z1)
    books.keep(*layer.narrow.kept(quotient, step.z1))
    alive = _alive(layer.narrow.backward(quotient, size), step.a1)
    books.shift += column_sums(alive) @ layer.shift.double()
    coefficient[:, :n_seen].addcmul_(alive, layer.scale)


def _transition_forward(transition: Transition, features: Rows, size: Size) -> tuple[_TransitionTape, Rows]:
    a = torch.relu_(torch.addcmul(transition.shift, features, transition.scale))
    height, width = size[0] // 2, size[1] // 2
    quads = a.view(*size, -1)[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
    pooled = quads.mean((1, 3)).reshape(height * width, -1)
    y, z = transition.narrow.forward(pooled, (height, width))
    return _TransitionTape(a=a, pooled=pooled, z=z), y


def _transition_backward(
    transition: Transition, step: _TransitionTape, relevance: Rows, size: Size, pooled_size: Size, books: Books
) -> Rows:
    quotient = transition.narrow.quotient(relevance, step.z)
    books.keep(*transition.narrow.kept(quotient, step.z))
    # A mean of four hands to each what it gave: a quarter of its coefficient.
    quarter = (transition.narrow.backward(quotient, pooled_size) / 4).view(*pooled_size, -1)
    height, width = pooled_size
    spread = relevance.new_zeros(*size, quarter.shape[2])
    spread[: 2 * height, : 2 * width] = quarter.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return _through_norm(spread.view(-1, quarter.shape[2]), step.a, transition.scale, transition.shift, books)


def _through_norm(coefficient: Rows, active: Rows, scale: torch.Tensor, shift: torch.Tensor, books: Books) -> Rows:
    """Carry the coefficients of relu(s u + t) to those of u; the shift's part leaves, and is booked."""
    alive = _alive(coefficient, active)
    books.shift += column_sums(alive) @ shift.double()
    return alive.mul_(scale)


def _alive(coefficient: Rows, active: Rows) -> Rows:
    """Silence, in place, what the ReLU silenced."""
    silenced: Rows = torch.ops.aten.threshold_backward.grad_input(coefficient, active, 0, grad_input=coefficient)
    return silenced
