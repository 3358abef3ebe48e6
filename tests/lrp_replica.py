"""LRP of a DenseNet, every rule written out: no hooks, no zennit, nothing joined or folded ahead, one image, float64."""

from __future__ import annotations

import torch
import torchvision
from torch import nn
from torch.nn import functional as F  # noqa: N812

from audit.relevance.presets import Preset
from audit.relevance.start import start_relevance

Tensor = torch.Tensor


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorm statistics and weights that training could have left, negative scales included."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.weight.data = torch.rand(n, generator=generator) * 1.2 - 0.1
            module.bias.data = torch.randn(n, generator=generator) * 0.2
            module.running_mean = torch.randn(n, generator=generator) * 0.1
            module.running_var = torch.rand(n, generator=generator) + 0.5
    return network.eval().requires_grad_(False)


def tiny(n_outputs: int = 3) -> nn.Module:
    """Return a DenseNet of two blocks of two layers."""
    torch.manual_seed(3)
    return lively(
        torchvision.models.DenseNet(
            growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=n_outputs
        )
    )


def images(n: int, side: int, seed: int = 1) -> Tensor:
    """Return noise as prepared images, (n, 3, side, side)."""
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def winner(logits: Tensor) -> Tensor:
    """Start with the largest output of each image alone."""
    return start_relevance(logits, [str(i) for i in range(logits.shape[1])])


def shares(x: Tensor, w: Tensor, r: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Hand relevance (1, o, h, w) down in proportion to x w, for x and w of given signs; what is zero hands down nothing."""
    z = F.conv2d(x, w, bias, stride=stride, padding=padding)
    s = torch.where(z == 0, 0.0, r / z)
    odd = [(side - 1) % stride for side in x.shape[2:]]
    return x * F.conv_transpose2d(s, w, stride=stride, padding=padding, output_padding=odd)


def through_conv(
    x: Tensor, w: Tensor, bias: Tensor, r: Tensor, preset: Preset, stride: int = 1, padding: int = 0
) -> Tensor:
    """Apply a preset's rule for convolutions; x is not negative."""
    assert (x >= 0).all()
    up = shares(x, w.clamp(min=0), r, bias.clamp(min=0), stride, padding)
    down = shares(x, w.clamp(max=0), r, bias.clamp(max=0), stride, padding)
    if preset.convolution == "alpha1-beta0":
        return up
    if preset.convolution == "alpha2-beta1":
        return 2 * up - down
    return epsilon_rule(x, w, bias, r, preset, stride, padding)


def epsilon_rule(x: Tensor, w: Tensor, bias: Tensor, r: Tensor, preset: Preset, stride: int, padding: int) -> Tensor:
    """Apply the epsilon rule to a convolution."""
    z = F.conv2d(x, w, bias, stride=stride, padding=padding)
    s = r / (z + torch.where(z >= 0, preset.epsilon, -preset.epsilon))
    odd = [(side - 1) % stride for side in x.shape[2:]]
    return x * F.conv_transpose2d(s, w, stride=stride, padding=padding, output_padding=odd)


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift (c,) of a BatchNorm."""
    s = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return s, norm.bias - norm.running_mean * s


def through_norm(r: Tensor, x: Tensor, norm: nn.Module) -> Tensor:
    """Apply the z-rule of a BatchNorm that a ReLU follows, whose input is x."""
    s, t = (v[None, :, None, None] for v in affine(norm))
    y = s * x + t
    return torch.where(y > 0, r * s * x / y, 0.0)


class Convolution:
    """A convolution and the BatchNorm after it, merged or not as the preset says."""

    def __init__(
        self, conv: nn.Module, norm: nn.Module | None, preset: Preset, stride: int = 1, padding: int = 0
    ) -> None:
        self.w, self.norm, self.preset = conv.weight, norm, preset
        self.stride, self.padding = stride, padding
        self.b = torch.zeros(len(conv.weight), dtype=conv.weight.dtype)
        if norm is not None and preset.merged:
            s, t = affine(norm)
            self.w, self.b, self.norm = conv.weight * s[:, None, None, None], t, None

    def forward(self, x: Tensor) -> Tensor:
        """Return what the next layer reads; with the ReLU, where a BatchNorm came first."""
        self.x = x
        self.y = F.conv2d(x, self.w, self.b, stride=self.stride, padding=self.padding)
        return (
            self.y
            if self.norm is None
            else (lambda s, t: s[None, :, None, None] * self.y + t[None, :, None, None])(*affine(self.norm))
        )

    def backward(self, r: Tensor) -> Tensor:
        """Carry relevance of the output to the input."""
        if self.norm is not None:
            r = through_norm(r, self.y, self.norm)
        return through_conv(self.x, self.w, self.b, r, self.preset, self.stride, self.padding)


def replica(network: nn.Module, image: Tensor, preset: Preset) -> Tensor:
    """Return the map (h, w) of the winning output of one image (1, 3, h, w)."""
    f = network.features
    stem = Convolution(f.conv0, f.norm0, preset, stride=2, padding=3)
    active = stem.forward(image).relu()
    x, winners = F.max_pool2d(active, 3, 2, 1, return_indices=True)
    tape = []
    for name, part in f.named_children():
        if name.startswith("denseblock"):
            for layer in part.children():
                narrow = Convolution(layer.conv1, layer.norm2, preset)
                grow = Convolution(layer.conv2, None, preset, padding=1)
                new = grow.forward(narrow.forward(layer.norm1(x).relu()).relu())
                tape.append((x, layer.norm1, narrow, grow))
                x = torch.cat([x, new], 1)
        elif name.startswith("transition"):
            conv = Convolution(part.conv, None, preset)
            active_here = part.norm(x).relu()
            tape.append((x, part.norm, active_here, conv))
            x = conv.forward(F.avg_pool2d(active_here, 2))
    top = f.norm5(x).relu()
    mean = top.mean((2, 3))
    logits = mean @ network.classifier.weight.T + network.classifier.bias
    k = int(logits.argmax())
    logit = logits[0, k]
    r_mean = mean * network.classifier.weight[k] * logit / (logit + torch.where(logit >= 0, 1, -1) * preset.epsilon)
    r = top / top.sum((2, 3), keepdim=True).clamp(min=1e-300) * r_mean[:, :, None, None]
    r = through_norm(r, x, f.norm5)
    for x, norm, first, second in reversed(tape):
        if isinstance(first, Convolution):
            n_old = x.shape[1]
            down = first.backward(second.backward(r[:, n_old:]))
            r = r[:, :n_old] + through_norm(down, x, norm)
        else:
            r = second.backward(r)
            pooled = second.x
            each = torch.where(pooled > 0, r / (4 * pooled), 0.0).repeat_interleave(2, 2).repeat_interleave(2, 3)
            spread = torch.zeros_like(first)
            spread[:, :, : each.shape[2], : each.shape[3]] = each
            r = through_norm(first * spread, x, norm)
    before_pool = torch.zeros_like(active).flatten(2)
    before_pool.scatter_add_(2, winners.flatten(2), r.flatten(2))
    r = before_pool.reshape(active.shape)
    if stem.norm is not None:
        r = through_norm(r, stem.y, stem.norm)
    if preset.first == "epsilon":
        return epsilon_rule(image, stem.w, stem.b, torch.where(active > 0, r, 0.0), preset, 2, 3).sum(1)[0]
    ones = torch.ones_like(f.conv0.weight)
    return shares(torch.ones_like(image), ones, r, torch.zeros_like(stem.b), 2, 3).sum(1)[0]
