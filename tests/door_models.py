"""The same tiny network in every form in which somebody may have it."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES = ("normal", "pneumonia", "covid")
SIDE = 64
MODULE = '''
import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, channels=3, outputs=3, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.head = nn.Linear(16, outputs)
        with torch.no_grad():
            self.head.weight.mul_(20)

    def forward(self, x):
        return self.head(self.body(x))


def load():
    return Net()


def facts():
    return Net(), {"classes": ["normal", "pneumonia", "covid"], "input_px": 64, "scale": "unit", "fit": "squash"}


def grey():
    return Net(channels=1)


def from_file(path):
    network = Net(seed=5)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def one_output():
    return Net(outputs=1)


def as_probabilities():
    return nn.Sequential(Net(), nn.Softmax(1))


def as_sigmoid():
    return nn.Sequential(Net(outputs=1), nn.Sigmoid())


class Answer:
    def __init__(self, logits):
        self.logits = logits


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Net()

    def forward(self, pixel_values):
        return Answer(self.inner(pixel_values))


class Opaque(nn.Module):
    """Computes outside torch, so that no gradient comes back."""

    def __init__(self):
        super().__init__()
        self.inner = Net()

    def forward(self, x):
        return torch.from_numpy(self.inner(x.detach()).detach().numpy())


class Random(nn.Module):
    def forward(self, x):
        return torch.randn(len(x), 3)


def predict(images):
    """What `load` answers with scale unit, from 8 bits; probabilities."""
    inputs = torch.from_numpy(images.astype(np.float32) / np.float32(255.0))[:, None].repeat(1, 3, 1, 1)
    with torch.inference_mode():
        return torch.softmax(Net().eval()(inputs), 1).numpy()


def prepare(image):
    from PIL import Image

    small = np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), dtype=np.float32)
    return np.repeat((small / np.float32(255.0))[None], 3, axis=0)


def not_a_network():
    return 5


def broken():
    raise ValueError("no such weights")


def leaves():
    raise SystemExit(3)


def double():
    return Net().double()


number = 5
'''


def write_module(folder: Path, name: str) -> str:
    """Write the module into a folder under a name that no other test uses, and return the name."""
    (folder / f"{name}.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    return name


def network(*, channels: int = 3, outputs: int = 3, seed: int = 0) -> nn.Module:
    """Return the network of the module, without importing it."""
    space: dict[str, object] = {"__name__": "door_net"}
    exec(compile(MODULE, "door_net", "exec"), space)
    made = space["Net"](channels, outputs, seed)  # type: ignore[operator]
    assert isinstance(made, nn.Module)
    return made.eval()


# A protocol buffer by hand: the package `onnx` is not needed to write the six nodes of a network.


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _ints(name: str, values: Sequence[int]) -> bytes:
    return _bytes(5, _bytes(1, name) + b"".join(_number(8, v) for v in values) + _number(20, 7))


def _int(name: str, value: int) -> bytes:
    return _bytes(5, _bytes(1, name) + _number(3, value) + _number(20, 2))


def _node(kind: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    return _bytes(1, b"".join(_bytes(1, i) for i in inputs) + _bytes(2, output) + _bytes(4, kind) + attributes)


def _tensor(name: str, values: np.ndarray, location: str = "") -> bytes:
    head = b"".join(_number(1, n) for n in values.shape) + _number(2, 1) + _bytes(8, name)
    if location:
        entry = _bytes(13, _bytes(1, "location") + _bytes(2, location))
        return _bytes(5, head + entry + _number(14, 1))
    return _bytes(5, head + _bytes(9, values.astype("<f4").tobytes()))


def _value(field: int, name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, n) if isinstance(n, int) else _bytes(2, n)) for n in shape)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims))))


def write_onnx(
    path: Path,
    made: nn.Module,
    *,
    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE),
    softmax: bool = False,
    kind: int = 1,
    external: Mapping[str, str] | None = None,
) -> Path:
    """Write the network as ONNX.

    Parameters
    ----------
    shape : sequence
        Of the input; a text is a size that is open.
    softmax : bool
        Whether it ends in one.
    kind : int
        Type of the input: 1 for float, 2 for 8 bits, which are first cast.
    external : mapping
        Weight -> the file that it is said to lie in.
    """
    state = {name: value.numpy() for name, value in made.state_dict().items()}
    n_outputs = len(state["head.bias"])
    first = "x" if kind == 1 else "float"
    nodes = [
        *([_node("Cast", ["x"], "float", _int("to", 1))] if kind != 1 else []),
        _node("Conv", [first, "body.0.weight", "body.0.bias"], "a", _ints("strides", [2, 2])),
        _node("Relu", ["a"], "b"),
        _node("Conv", ["b", "body.2.weight", "body.2.bias"], "c", _ints("strides", [2, 2])),
        _node("Relu", ["c"], "d"),
        _node("GlobalAveragePool", ["d"], "e"),
        _node("Flatten", ["e"], "f"),
        _node("Gemm", ["f", "head.weight", "head.bias"], "g" if softmax else "y", _int("transB", 1)),
        *([_node("Softmax", ["g"], "y", _int("axis", 1))] if softmax else []),
    ]
    tensors = [_tensor(name, value, (external or {}).get(name, "")) for name, value in state.items()]
    graph = b"".join(nodes) + _bytes(2, "net") + b"".join(tensors)
    graph += _value(11, "x", kind, shape) + _value(12, "y", 1, [shape[0], n_outputs])
    model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 17))
    path.write_bytes(model)
    return path


def write_pt2(path: Path, made: nn.Module) -> Path:
    """Write the network as torch.export does."""
    count = torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(made, (torch.randn(2, 3, SIDE, SIDE),), dynamic_shapes=({0: count},))
    torch.export.save(program, path)
    return path


def write_script(path: Path, made: nn.Module) -> Path:
    """Write the network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it deprecated; files of it are there all the same
        torch.jit.trace(made, torch.randn(2, 3, SIDE, SIDE)).save(str(path))
    return path
