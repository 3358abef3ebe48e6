from __future__ import annotations

import hashlib
import io
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audit.errors import ModelError, UnknownNameError, UsageError
from audit.models import networks
from audit.training import transfer
from audit.training.transfer import (
    StartingWeights,
    fresh_head,
    head_of,
    imagenet_weights,
    keep_output_neurons,
    start_network,
    torch_generator,
)

NO_START = StartingWeights(state=None, statement="random", digest="random")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_kept_rows_are_equal_to_the_bit_and_others_are_fresh(data: st.DataObject) -> None:
    old = [f"old{i}" for i in range(data.draw(st.integers(1, 8)))]
    new = [f"new{i}" for i in range(data.draw(st.integers(1, 6)))]
    n_kept = data.draw(st.integers(0, min(len(old), len(new))))
    kept = dict(zip(data.draw(st.permutations(old))[:n_kept], data.draw(st.permutations(new))[:n_kept], strict=True))
    head = fresh_head(7, len(old), torch_generator(1))
    before = {k: v.clone() for k, v in head.state_dict().items()}
    result = keep_output_neurons(head, old, new, kept, torch_generator(2))
    fresh = fresh_head(7, len(new), torch_generator(2))
    source_of = {target: source for source, target in kept.items()}
    for i, name in enumerate(new):
        if name in source_of:
            j = old.index(source_of[name])
            assert torch.equal(result.weight[i], head.weight[j]) and torch.equal(result.bias[i], head.bias[j])
        else:
            assert torch.equal(result.weight[i], fresh.weight[i]) and torch.equal(result.bias[i], fresh.bias[i])
            assert not any(torch.equal(result.weight[i], row) for row in head.weight)
    assert all(torch.equal(before[k], v) for k, v in head.state_dict().items())
    assert result.weight.shape == (len(new), 7) and result.weight.requires_grad


def test_kept_neuron_gives_the_same_logit() -> None:
    head = fresh_head(5, 3, torch_generator(0))
    x = torch.randn(4, 5, generator=torch_generator(3))
    result = keep_output_neurons(head, ["a", "b", "c"], ["x", "y"], {"c": "x"}, torch_generator(1))
    torch.testing.assert_close(result(x)[:, 0], head(x)[:, 2])
    assert not torch.allclose(result(x)[:, 1], head(x)[:, 1])


def test_head_without_bias_keeps_zero() -> None:
    head = nn.Linear(4, 2, bias=False)
    result = keep_output_neurons(head, ["a", "b"], ["a", "c"], {"a": "a"}, torch_generator(1))
    assert result.bias[0] == 0 and result.bias[1] != 0


def test_head_keeps_its_type() -> None:
    head = nn.Linear(4, 2).double()
    assert keep_output_neurons(head, ["a", "b"], ["a"], {}, torch_generator(1)).weight.dtype == torch.float64


def test_wrong_mappings_are_refused() -> None:
    head = nn.Linear(4, 2)
    with pytest.raises(ModelError, match=r"2 outputs but 3 classes"):
        keep_output_neurons(head, ["a", "b", "c"], ["x"], {}, torch_generator(0))
    with pytest.raises(UnknownNameError, match=r"'Pneumonia'"):
        keep_output_neurons(head, ["Pneumonia", "b"], ["x"], {"Pneumonja": "x"}, torch_generator(0))
    with pytest.raises(UnknownNameError, match=r"'normal'"):
        keep_output_neurons(head, ["a", "b"], ["normal"], {"a": "norma"}, torch_generator(0))
    with pytest.raises(UsageError, match="Two output neurons"):
        keep_output_neurons(head, ["a", "b"], ["x"], {"a": "x", "b": "x"}, torch_generator(0))


def test_fresh_head_has_torchs_bounds() -> None:
    head = fresh_head(16, 400, torch_generator(0))
    weight, bound = head.weight.detach(), 1 / math.sqrt(16)
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.99 * bound
    assert abs(float(weight.mean())) < 0.01


def test_start_depends_on_its_generator_alone(tiny_architecture: str) -> None:
    torch.manual_seed(11)
    one = start_network(tiny_architecture, 3, NO_START, torch_generator(5)).state_dict()
    torch.manual_seed(12)
    two = start_network(tiny_architecture, 3, NO_START, torch_generator(5)).state_dict()
    other = start_network(tiny_architecture, 3, NO_START, torch_generator(6)).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["features.conv0.weight"], other["features.conv0.weight"])
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_head_of_refuses_another_head() -> None:
    network = nn.Module()
    network.add_module("classifier", nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ModelError, match="Sequential"):
        head_of(network)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_architecture: str) -> tuple[bytes, str, Path]:
    """Make a file as torchvision publishes it (old key names, 1000 outputs); return bytes, url, its place in the cache."""
    network = start_network(tiny_architecture, 1000, NO_START, torch_generator(9))
    old_names = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key): value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert any(".norm.1." in key for key in old_names)
    buffer = io.BytesIO()
    torch.save(old_names, buffer)
    data = buffer.getvalue()
    url = f"https://example.org/{tiny_architecture}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    monkeypatch.setattr(transfer, "_IMAGENET_URLS", {tiny_architecture: url})
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return data, url, tmp_path / "hub" / "checkpoints" / url.rsplit("/", 1)[-1]


def _forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(transfer.urllib.request, "urlopen", refuse)


def _check_loaded(start: StartingWeights, architecture: str) -> None:
    network = start_network(architecture, 3, start, torch_generator(1))
    source = start_network(architecture, 1000, NO_START, torch_generator(9)).state_dict()
    for key, value in network.state_dict().items():
        if not key.startswith("classifier."):
            assert torch.equal(value, source[key]), key
    assert head_of(network).out_features == 3


def test_cached_file_is_used(
    published: tuple[bytes, str, Path], monkeypatch: pytest.MonkeyPatch, tiny_architecture: str
) -> None:
    data, _, cache = published
    _forbid_network(monkeypatch)
    cache.parent.mkdir(parents=True)
    cache.write_bytes(data)
    start = imagenet_weights(tiny_architecture)
    assert cache.name in start.statement and start.digest == hashlib.sha256(data).hexdigest()
    _check_loaded(start, tiny_architecture)


def test_damaged_cache_is_not_trusted(
    published: tuple[bytes, str, Path], monkeypatch: pytest.MonkeyPatch, tiny_architecture: str
) -> None:
    data, _, cache = published
    _forbid_network(monkeypatch)
    cache.parent.mkdir(parents=True)
    cache.write_bytes(data[:-1])
    start = imagenet_weights(tiny_architecture)
    assert start.state is None and start.digest == "random"
    assert "random weights" in start.statement and "damaged" in start.statement and "no network" in start.statement


def test_download_is_checked_and_cached(
    published: tuple[bytes, str, Path], monkeypatch: pytest.MonkeyPatch, tiny_architecture: str
) -> None:
    data, url, cache = published
    asked: list[tuple[str, float]] = []
    answers = [b"a captive portal's login page", data]

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        asked.append((address, timeout))
        return io.BytesIO(answers[len(asked) - 1])

    monkeypatch.setattr(transfer.urllib.request, "urlopen", urlopen)
    refused = imagenet_weights(tiny_architecture, timeout_s=3)
    assert refused.state is None and "SHA-256" in refused.statement
    assert not cache.exists()
    start = imagenet_weights(tiny_architecture, timeout_s=3)
    assert asked == [(url, 3), (url, 3)]
    assert cache.read_bytes() == data and [p.name for p in cache.parent.iterdir()] == [cache.name]
    _check_loaded(start, tiny_architecture)


def test_given_file_wins(
    published: tuple[bytes, str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_architecture: str
) -> None:
    _forbid_network(monkeypatch)
    file = tmp_path / "mine.pth"
    file.write_bytes(published[0])
    start = imagenet_weights(tiny_architecture, file)
    assert "mine.pth" in start.statement and "torchvision's ImageNet file" in start.statement
    _check_loaded(start, tiny_architecture)


def test_safetensors_are_read(tmp_path: Path, tiny_architecture: str) -> None:
    import safetensors.torch

    network = start_network(tiny_architecture, 1000, NO_START, torch_generator(9))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    start = imagenet_weights(tiny_architecture, tmp_path / "w.safetensors")
    assert "not a known file" in start.statement
    _check_loaded(start, tiny_architecture)


def test_given_files_that_cannot_be_used(tmp_path: Path, tiny_architecture: str) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        imagenet_weights(tiny_architecture, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ModelError, match="neither a zip nor a pickle"):
        imagenet_weights(tiny_architecture, tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="no state dictionary"):
        imagenet_weights(tiny_architecture, tmp_path / "list.pth")
    torch.save({"features.conv0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    start = imagenet_weights(tiny_architecture, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="do not fit tiny"):
        start_network(tiny_architecture, 3, start, torch_generator(0))


def test_malicious_pickle_is_not_run(tmp_path: Path, tiny_architecture: str) -> None:
    target = tmp_path / "touched"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (target,))

    torch.save({"w": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match=r"names builtins\.getattr"):
        imagenet_weights(tiny_architecture, tmp_path / "evil.pth")
    assert not target.exists()


def test_unpublished_architecture_says_so() -> None:
    start = imagenet_weights("densenet-small")
    assert start.state is None and "no ImageNet weights are published for densenet-small" in start.statement


def test_every_published_name_carries_its_hash() -> None:
    assert set(transfer._IMAGENET_URLS) <= set(networks.ARCHITECTURES)
    assert [transfer._hash_prefix(url) for url in transfer._IMAGENET_URLS.values()] == [
        "a639ec97",
        "b2777c0a",
        "c1103571",
    ]
