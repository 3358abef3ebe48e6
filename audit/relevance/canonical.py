"""A network in the form that LRP needs: the same function, in which every step is a module that can have a rule.

Rules are attached to modules, and each fault of the obvious use comes from a step that is none, or that is two at once:
functional ReLUs and poolings, which no hook sees; modules that are used twice; sums and products; a BatchNorm that
belongs to the convolution before it; a mean of signed convolution outputs, which may cross zero. The network is
traced (torch.fx), and rewritten step by step. What is rewritten is a copy: the audited network is only read.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812

from audit.errors import RelevanceError
from audit.relevance.layers import Add, Affine, Booked, Gate, Ledger, Mean, Standardise, plain_conv, scale_and_shift

_ACTIVATIONS: Mapping[type[nn.Module], tuple[Any, ...]] = {
    nn.ReLU: (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"),
    nn.ReLU6: (F.relu6,),
    nn.SiLU: (F.silu,),
    nn.GELU: (F.gelu,),
    nn.Hardswish: (F.hardswish,),
    nn.LeakyReLU: (F.leaky_relu,),
    nn.ELU: (F.elu,),
    nn.Mish: (F.mish,),
    nn.Sigmoid: (torch.sigmoid, F.sigmoid, "sigmoid"),
    nn.Hardsigmoid: (F.hardsigmoid,),
    nn.Tanh: (torch.tanh, F.tanh, "tanh"),
}
_POOLS: Mapping[type[nn.Module], tuple[Any, ...]] = {
    nn.AvgPool2d: (F.avg_pool2d,),
    nn.AdaptiveAvgPool2d: (F.adaptive_avg_pool2d,),
    nn.MaxPool2d: (F.max_pool2d, F.max_pool2d_with_indices, torch.max_pool2d),
    nn.AdaptiveMaxPool2d: (F.adaptive_max_pool2d,),
}
_GATES = (nn.Sigmoid, nn.Hardsigmoid)
_LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, *_ACTIVATIONS, *_POOLS, nn.Flatten)
_NOTHING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)
# They move numbers about or compute shapes; the gradient carries relevance through them as it is.
_STRUCTURE = {
    torch.flatten, torch.cat, torch.concat, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze,
    torch.chunk, torch.split, torch.stack, operator.getitem, getattr, operator.floordiv, operator.mod, operator.eq,
    "flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "size", "dim", "chunk",
    "split", "clone",
}  # fmt: skip
_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__name__ == "StochasticDepth" or super().is_leaf_module(m, module_qualified_name)


class CanonicalNetwork(nn.Module):
    """The same function as a network in evaluation mode, with its books.

    Parameters
    ----------
    network : nn.Module
        Maps (n, 3, h, w) to logits (n, k). Read, never changed.
    merged : bool
        Fold a BatchNorm into the convolution or dense layer that it follows; else every BatchNorm keeps a rule of its own.

    Raises
    ------
    RelevanceError
        If it cannot be traced, or holds a step that no rule is known for.
    """

    def __init__(self, network: nn.Module, *, merged: bool = True) -> None:
        super().__init__()
        self.ledger = Ledger()
        try:
            own = copy.deepcopy(network).eval()
            for parameter in own.parameters():
                parameter.requires_grad_(False)
            graph = _Tracer().trace(own)
        except Exception as error:  # fx reports what it cannot trace by exceptions of many types
            raise RelevanceError(
                f"LRP needs a network that torch.fx can trace; {type(network).__name__} depends on its input's values or "
                f"types ({error})."
            ) from error
        try:
            self.body = _Rewriting(own, graph, self.ledger).run(merged=merged)
        except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            # A step that is called in another way than the networks that the rules were written for do it.
            raise RelevanceError(f"LRP cannot rewrite a step of {type(network).__name__} ({error!r}).") from error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) to logits (n, k)."""
        logits: torch.Tensor = self.body(x)
        return logits


class _Rewriting:
    """Turns a traced network into its canonical form, in a fixed order of passes."""

    def __init__(self, root: nn.Module, graph: fx.Graph, ledger: Ledger) -> None:
        self._root = fx.GraphModule(root, graph)
        self._graph = self._root.graph
        self._ledger = ledger
        # By node: the module that stands there from now on.
        self._steps: dict[fx.Node, nn.Module] = {}

    def run(self, *, merged: bool) -> fx.GraphModule:
        for node in list(self._graph.nodes):
            self._name(node)
        if merged:
            self._merge()
        self._pool_first()
        for node, module in self._steps.items():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                self._steps[node] = Affine.from_norm(module)
        return self._assembled()

    def _name(self, node: fx.Node) -> None:
        """Give a node its module, or find that it needs none."""
        if node.op in ("placeholder", "output", "get_attr"):
            return
        target = self._root.get_submodule(str(node.target)) if node.op == "call_module" else node.target
        if isinstance(target, nn.Module):
            self._name_module(node, target)
            return
        for kind, functions in (*_ACTIVATIONS.items(), *_POOLS.items()):
            if target in functions:
                self._steps[node] = _module_of(kind, node)
                node.args, node.kwargs = (node.args[0],), {}
                return
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        if target in _SUMS and all(isinstance(a, fx.Node) for a in node.args[:2]) and not _is_shape(node):
            self._steps[node] = Add()
        elif target in _PRODUCTS and not _is_shape(node):
            self._name_product(node)
        elif name == "mean":
            axes = node.args[1] if len(node.args) > 1 else node.kwargs["dim"]
            keepdim = bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False))
            self._steps[node] = Mean([axes] if isinstance(axes, int) else axes, keepdim=keepdim)  # type: ignore[arg-type]
            node.args, node.kwargs = (node.args[0],), {}
        elif name == "layer_norm":
            self._name_layer_norm(node)
        elif name in ("dropout", "stochastic_depth", "feature_dropout"):
            self._skip(node)
        elif target not in _STRUCTURE and not _is_shape(node):
            raise RelevanceError(f"LRP has no rule for the step {name!r} of this network.")

    def _name_module(self, node: fx.Node, module: nn.Module) -> None:
        if isinstance(module, _NOTHING) or type(module).__name__ == "StochasticDepth":
            self._skip(node)
        elif isinstance(module, nn.LayerNorm):
            weight = module.weight if module.weight is not None else torch.ones(module.normalized_shape)
            bias = module.bias if module.bias is not None else torch.zeros(module.normalized_shape)
            self._steps[node] = Standardise(module.normalized_shape, weight.detach(), bias.detach(), module.eps)
        elif isinstance(module, _LAYERS):
            # A copy for every use: a module that is used twice would mix up what its hooks remember.
            own = copy.deepcopy(module)
            if getattr(own, "inplace", False):
                setattr(own, "inplace", False)  # noqa: B010  # not every layer declares it
            self._steps[node] = own
        else:
            raise RelevanceError(f"LRP has no rule for the layer {type(module).__name__} of this network.")

    def _name_layer_norm(self, node: fx.Node) -> None:
        given = dict(zip(("x", "shape", "weight", "bias", "eps"), node.args, strict=False)) | dict(node.kwargs)
        weight, bias = self._constant(given.get("weight")), self._constant(given.get("bias"))
        shape = given.get("shape", given.get("normalized_shape"))
        assert isinstance(shape, (tuple, list))
        self._steps[node] = Standardise(
            shape,
            torch.ones(*shape) if weight is None else weight,
            torch.zeros(*shape) if bias is None else bias,
            float(given.get("eps", 1e-5)),  # type: ignore[arg-type]
        )
        node.args, node.kwargs = (node.args[0],), {}

    def _name_product(self, node: fx.Node) -> None:
        """Distinguish a gate from a layer scale; anything else has no rule."""
        a, b = node.args[:2]
        for signal, factor in ((a, b), (b, a)):
            constant = torch.tensor(float(factor)) if isinstance(factor, (int, float)) else self._constant(factor)
            if constant is not None:
                self._steps[node] = Affine(constant, torch.zeros_like(constant))
                node.args = (signal,)
                return
            if isinstance(factor, fx.Node) and isinstance(self._steps.get(factor), _GATES):
                self._steps[node] = Gate()
                node.args = (signal, factor)
                return
        raise RelevanceError("LRP has no rule for a product of two signals of this network (for example attention).")

    def _constant(self, value: Any) -> torch.Tensor | None:
        """Return the parameter or buffer that a node stands for, if it does."""
        if not isinstance(value, fx.Node) or value.op != "get_attr":
            return None
        found: Any = self._root
        for part in str(value.target).split("."):
            found = getattr(found, part)
        return found.detach() if isinstance(found, torch.Tensor) else None

    def _skip(self, node: fx.Node) -> None:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        self._graph.erase_node(node)

    def _merge(self) -> None:
        """Fold each BatchNorm into the convolution or dense layer before it, if nothing else reads that layer."""
        for node, norm in list(self._steps.items()):
            before = node.args[0]
            if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)) or not isinstance(before, fx.Node):
                continue
            layer = self._steps.get(before)
            if not isinstance(layer, (nn.Conv2d, nn.Linear)) or len(before.users) > 1:
                continue
            scale, shift = scale_and_shift(norm)
            bias = shift if layer.bias is None else shift + scale * layer.bias.detach()
            weight = layer.weight.detach() * scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
            if isinstance(layer, nn.Conv2d):
                self._steps[before] = plain_conv(layer, weight, bias)
            else:
                layer.weight, layer.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
            del self._steps[node]
            self._skip(node)

    def _pool_first(self) -> None:
        """Move an average pooling before the 1x1 convolution that feeds it: the same function, and its mean is of what a ReLU left."""
        for node, pool in list(self._steps.items()):
            before = node.args[0]
            if not isinstance(pool, nn.AvgPool2d) or pool.padding not in (0, (0, 0)) or not isinstance(before, fx.Node):
                continue
            layer = self._steps.get(before)
            if not isinstance(layer, nn.Conv2d) or layer.padding not in ((0, 0), "valid"):
                continue
            if layer.kernel_size == layer.stride == (1, 1) and len(before.users) == 1:
                self._steps[before], self._steps[node] = self._steps[node], self._steps[before]

    def _assembled(self) -> fx.GraphModule:
        """Put the modules into the graph, each with its books, in the order in which they are run."""
        modules = nn.Module()
        for number, node in enumerate(self._graph.nodes):
            if node in self._steps:
                module, name = self._steps[node], f"step{number:04d}"
                account = _account(module)
                modules.add_module(name, module if account is None else Booked(module, self._ledger, account))
                node.op, node.target = "call_module", name
            elif node.op == "get_attr":
                value = self._constant(node)
                if value is not None:
                    modules.register_buffer(f"constant{number:04d}", value)
                    node.target = f"constant{number:04d}"
        body = fx.GraphModule(modules, self._graph)
        body.graph.lint()
        return body.eval()


def _account(module: nn.Module) -> str | None:
    """Return under what a step's own relevance is booked; None for steps that keep none."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return "bias"
    if isinstance(module, (Affine, Standardise)):
        return "shift"
    if isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d, Mean, Add)):
        return "stabiliser"
    return None


def _is_shape(node: fx.Node) -> bool:
    """Say whether a node computes with shapes, not with images."""
    first = node.args[0] if node.args else None
    return isinstance(first, int) or (
        isinstance(first, fx.Node)
        and (first.target in ("size", "dim", getattr) or (first.target is operator.getitem and _is_shape(first)))
    )


def _module_of(kind: type[nn.Module], node: fx.Node) -> nn.Module:
    """Make the module of a functional activation or pooling."""
    names: dict[type[nn.Module], tuple[str, ...]] = {
        nn.AvgPool2d: ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
        nn.AdaptiveAvgPool2d: ("output_size",),
        nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
        nn.AdaptiveMaxPool2d: ("output_size",),
        nn.LeakyReLU: ("negative_slope",),
        nn.ELU: ("alpha",),
    }
    given = dict(zip(names.get(kind, ()), node.args[1:], strict=False)) | {
        name: value for name, value in node.kwargs.items() if name in (*names.get(kind, ()), "approximate")
    }
    make: Callable[..., nn.Module] = kind
    if kind is nn.MaxPool2d:
        # A positional order of its own: the functional form has `ceil_mode` last, the module `return_indices` between.
        return nn.MaxPool2d(**given)  # type: ignore[arg-type]
    return make(**given)
