"""Back ends: what computes a network's logits. torch is the reference; ONNX Runtime stands in for it where it answers the same, faster.

On the processor it was measured on, ONNX Runtime takes a third to two thirds of torch's time for convolutional networks, and no less for
others, so that `auto` need not measure: a choice by a stopwatch would differ between two runs, and so would the last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from audit.errors import ModelError, UsageError
from audit.models.bundle import Bundle
from audit.models.classifier import Classifier, StandIn
from audit.models.exporting import NotExportedError, export_key, export_network, keep_export, kept_export
from audit.models.foreign import shown
from audit.models.torch_classifier import one_thread
from audit.statistics.outputs import probabilities_of
from audit.store.run_record import Backend

AskedBackend = Literal["auto", "torch", "onnxruntime"]
LIMIT = 1e-4
"""Largest difference of a probability between a back end and torch."""
PAYS = 300_000_000
"""Predictions times weights from which an export pays: a DenseNet-121 saves the second that it takes within some forty predictions."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FOLDER = "exports"
_USUAL_CUT = 0.5


@dataclass(frozen=True, kw_only=True)
class BackendChoice:
    """What decides a back end, beside the network."""

    asked: AskedBackend
    """As the settings say."""
    exclusive: bool
    """Whether exactly one class applies to an image; if not, each output has a probability of its own."""
    n_predictions: int
    """Predictions of the audit, at most."""
    probe: Callable[[], torch.Tensor]
    """Gives the prepared images (n, c, h, w) that both back ends are asked."""
    cache: Path
    """Folder of the cache."""


class ExportedClassifier(StandIn):
    """A torch classifier whose logits come from its export; its network and features are torch's.

    Parameters
    ----------
    classifier : Classifier
        The network in torch.
    exported : bytes
        The network as an ONNX model.

    Raises
    ------
    NotExportedError
        If ONNX Runtime cannot open the export.
    """

    def __init__(self, classifier: Classifier, exported: bytes) -> None:
        from audit.models.onnx_sessions import open_session

        super().__init__(classifier)
        self.exported = exported
        try:
            self._session = open_session(exported)
        except Exception as error:  # ONNX Runtime raises types of its own C++ side
            raise NotExportedError(f"ONNX Runtime cannot open its export ({_first_line(error)})") from error

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (n, k) for prepared images (n, c, h, w)."""
        images = np.ascontiguousarray(inputs.numpy(), dtype=np.float32)
        try:
            found = np.asarray(self._session.run(["logits"], {"images": images})[0])
        except Exception as error:  # as above
            raise ModelError(
                f"ONNX Runtime failed on {len(images)} images ({_first_line(error)}). Repeat the command with --backend torch."
            ) from error
        return torch.from_numpy(found)


def with_backend(bundle: Bundle, choice: BackendChoice) -> Bundle:
    """Return a network with the back end that computes its predictions, held against torch on the probe images each time.

    Raises
    ------
    UsageError
        If ONNX Runtime was asked for and cannot be used; `auto` takes torch instead.
    """
    if not isinstance(bundle.classifier.ability("network"), nn.Module):
        if choice.asked != "auto":
            raise UsageError(
                f"--backend {choice.asked} chooses what computes a torch network, but {bundle.name} ({bundle.architecture}) is none and "
                "answers in its own way. Omit --backend."
            )
        return replace(bundle, backend=Backend(name="own"))
    if choice.asked == "torch":
        return bundle
    small = _why_not_worth(bundle, choice) if choice.asked == "auto" else ""
    if small:
        return replace(bundle, backend=Backend(why=small))
    try:
        return _exported(bundle, choice)
    except NotExportedError as error:
        if choice.asked == "onnxruntime":
            raise UsageError(
                f"--backend onnxruntime cannot be used for {bundle.name}: {error}. Use --backend torch or auto."
            ) from error
        return replace(bundle, backend=Backend(why=f"ONNX Runtime cannot be used: {error}"))


def answered_by_export(bundle: Bundle, exported: bytes) -> Bundle:
    """Return a network whose predictions come from an export that was chosen before; another process has opened it anew."""
    return replace(bundle, classifier=ExportedClassifier(bundle.classifier, exported))


def export_of(bundle: Bundle) -> bytes | None:
    """Return the export that computes a network's predictions; None where there is none."""
    return bundle.classifier.exported if isinstance(bundle.classifier, ExportedClassifier) else None


def work_of(bundle: Bundle, n_predictions: int) -> int:
    """Return how much work predictions are, counted and not timed: their number times the weights of the network; 0 if it is none."""
    return n_predictions * _n_weights(bundle) if isinstance(bundle.classifier.ability("network"), nn.Module) else 0


def _n_weights(bundle: Bundle) -> int:
    return sum(parameter.numel() for parameter in bundle.network.parameters())


def _why_not_worth(bundle: Bundle, choice: BackendChoice) -> str:
    n_weights = _n_weights(bundle)
    if work_of(bundle, choice.n_predictions) < PAYS:
        return f"an export does not pay for {choice.n_predictions:,} predictions of a network of {n_weights:,} weights"
    convolving = (m for m in bundle.network.modules() if isinstance(m, _CONVOLUTIONS))
    if 2 * sum(p.numel() for m in convolving for p in m.parameters(recurse=False)) < n_weights:
        return "most weights of the network lie outside convolutions, and ONNX Runtime is not faster then"
    return ""


def _exported(bundle: Bundle, choice: BackendChoice) -> Bundle:
    """Return the network with its export: the kept one, or where that does not agree a new one."""
    device = bundle.classifier.ability("device")
    if device is not None and device.type != "cpu":
        raise NotExportedError(f"the network computes on {device}")
    if bundle.preprocessing.size_px is None:
        raise NotExportedError("the network takes images of any size")
    images = choice.probe()
    folder, key = choice.cache / _FOLDER, export_key(bundle.digest, tuple(images.shape[1:]))
    kept = kept_export(folder, key)
    with one_thread():
        if kept is not None:
            # Whatever is wrong with a file that somebody may have put there, a new export decides.
            with suppress(NotExportedError):
                return _agreeing(bundle, kept, images, choice)
        exported = export_network(bundle.network, images)
        agreeing = _agreeing(bundle, exported, images, choice)
    keep_export(folder, key, exported)
    return agreeing


def _agreeing(bundle: Bundle, exported: bytes, images: torch.Tensor, choice: BackendChoice) -> Bundle:
    """Return the network with an export that answers as torch does, alone and in a batch.

    Raises
    ------
    NotExportedError
        If it does not.
    """
    classifier = ExportedClassifier(bundle.classifier, exported)
    reference = bundle.classifier.logits(images)
    try:
        alone, together = classifier.logits(images[:1]), classifier.logits(images)
    except ModelError as error:
        raise NotExportedError(f"its export fails ({_first_line(error)})") from error
    if alone.shape != reference[:1].shape or together.shape != reference.shape:
        raise NotExportedError(
            f"its export answers with {tuple(together.shape)} numbers, and torch with {tuple(reference.shape)}"
        )
    expected = _probabilities(reference, choice)
    found = _probabilities(torch.cat([together, alone]), choice)
    gap = float(np.abs(found - np.concatenate([expected, expected[:1]])).max())
    if not gap <= LIMIT:  # nor if it is not a number
        raise NotExportedError(
            f"its probabilities differ from torch's by {gap:.2g} on {len(images)} probe images, more than {LIMIT:g}"
        )
    if not np.array_equal(_winners(found[: len(images)], choice), _winners(expected, choice)):
        raise NotExportedError(f"it predicts other classes than torch on {len(images)} probe images")
    why = f"its probabilities differ from torch's by at most {gap:.1e} on {len(images)} probe images"
    return replace(bundle, classifier=classifier, backend=Backend(name="onnxruntime", why=why))


def _probabilities(logits: torch.Tensor, choice: BackendChoice) -> np.ndarray[Any, Any]:
    return probabilities_of(logits.double().numpy(), exclusive=choice.exclusive)


def _winners(probabilities: np.ndarray[Any, Any], choice: BackendChoice) -> np.ndarray[Any, Any]:
    return probabilities.argmax(1) if choice.exclusive else probabilities > _USUAL_CUT


def _first_line(error: Exception) -> str:
    return shown(next(iter(str(error).splitlines()), type(error).__name__))
