"""ONNX models, run by ONNX Runtime on one thread; no code of the file runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audit.errors import ModelError, ModelUsageError, UsageError, shown_names
from audit.models.classifier import Ability, Outputs
from audit.models.foreign import shown
from audit.models.identity import example_inputs, files_sha256, identified
from audit.models.logits import Answers, as_logits, check_answers, find_answers
from audit.models.onnx_guard import check_onnx
from audit.models.onnx_sessions import open_session
from audit.models.prepared_input import prepared_input
from audit.models.preprocessing import Preprocessing
from audit.models.requests import ModelRequest, OpenedModel, class_names, model_name
from audit.models.tasks import foreign_task, operating_points

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_NOT_ONNX = "InvalidProtobuf"
"""What ONNX Runtime calls the error of a file of another format."""


class _Session:
    """An ONNX model whose images and answers were found among its inputs and outputs."""

    def __init__(self, path: Path, n_classes: int) -> None:
        try:
            self._session = open_session(str(path))
        except Exception as error:  # ONNX Runtime raises types of its own C++ side
            kind = ModelUsageError if type(error).__name__ == _NOT_ONNX else ModelError
            raise kind(
                f"ONNX Runtime cannot open {path} as an ONNX model: {' '.join(shown(str(error)).split())}. If it is another kind of model, "
                "name that with --as; if it is damaged, copy it again."
            ) from error
        self.path = path
        wanted = self._session.get_inputs()
        if len(wanted) != 1 or len(wanted[0].shape) != 4 or wanted[0].type not in _TYPES:
            found = ", ".join(f"{shown(i.name)} {i.type} {i.shape}" for i in wanted)
            raise ModelError(
                f"The model {path} must have one input of images, (n, channels, height, width) or (n, height, width, channels), of "
                f"floats or 8 bits; found {found}."
            )
        self._input, self.dtype = wanted[0].name, _TYPES[wanted[0].type]
        n, *rest = [size if isinstance(size, int) and size > 0 else None for size in wanted[0].shape]
        self._one_by_one = n == 1
        if n not in (None, 1):
            raise ModelError(
                f"The model {path} takes {n} images at a time. Export it with a variable number of images (dynamic axis 0), or 1."
            )
        self.last = rest[2] in (1, 3) and rest[0] not in (1, 3)
        channels, height, width = (rest[2], rest[0], rest[1]) if self.last else rest
        self.channels = channels
        self.size_px = (height, width) if height is not None and width is not None else None
        self._output = self._find_output(n_classes)

    def _find_output(self, n_classes: int) -> str:
        outputs = self._session.get_outputs()
        fitting = [o for o in outputs if len(o.shape) == 2 and o.shape[1] == n_classes]
        found = outputs if len(outputs) == 1 else fitting
        if len(found) != 1:
            every = shown_names(f"{shown(o.name)} {o.shape}" for o in outputs)
            raise ModelUsageError(
                f"The model {self.path} must have one output (n, {n_classes}) for {n_classes} classes, found {every}. Export it with the "
                "logits alone, or correct --classes."
            )
        name: str = found[0].name
        return name

    def answer(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the answers (n, outputs) to images (n, c, h, w)."""
        images = inputs.numpy()
        if self.last:
            images = np.moveaxis(images, 1, -1)
        if self.dtype == np.uint8:
            images = np.clip(np.rint(images), 0, 255)
        images = np.ascontiguousarray(images, dtype=self.dtype)
        batches = [images[i : i + 1] for i in range(len(images))] if self._one_by_one else [images]
        try:
            rows = [np.asarray(self._session.run([self._output], {self._input: batch})[0]) for batch in batches]
        except Exception as error:  # as above
            raise ModelUsageError(
                f"The model {self.path} does not take an input of {inputs.shape[1]} channels and {inputs.shape[3]} x "
                f"{inputs.shape[2]} pixels: {' '.join(shown(str(error)).split())}. Declare its input with --channels and --input-px."
            ) from error
        values = np.concatenate(rows).astype(np.float64)
        if values.ndim not in (1, 2) or len(values) != len(images):
            raise ModelError(
                f"The model {self.path} must answer {len(images)} images with one row each, found {values.shape}."
            )
        return torch.from_numpy(values.reshape(len(images), -1))


class OnnxClassifier:
    """An ONNX model as a classifier; it has no layers that could be looked at."""

    def __init__(self, session: _Session, outputs: Outputs, wants: Preprocessing, answers: Answers) -> None:
        self._session, self._outputs, self._wants = session, outputs, wants
        self._answers: Answers = answers

    @property
    def outputs(self) -> Outputs:
        """Names and task of the outputs."""
        return self._outputs

    @property
    def wants(self) -> Preprocessing:
        """The input that it wants."""
        return self._wants

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (n, k) for prepared images (n, c, h, w)."""
        return as_logits(self._session.answer(inputs), self._answers, self._outputs.task)

    def ability(self, name: Ability) -> Any | None:
        """Return the device; ONNX Runtime gives neither features nor gradients."""
        return torch.device("cpu") if name == "device" else None


def open_onnx(request: ModelRequest) -> OpenedModel:
    """Open an ONNX file."""
    path = Path(request.checkpoint or request.model)
    files = check_onnx(path)
    names = class_names(request)
    session = _Session(path, len(names))
    if session.channels not in (None, 1, 3):
        raise UsageError(f"{path} reads {session.channels} channels; 1 or 3 are expected.")
    told = None
    if session.dtype == np.uint8:
        n = session.channels or request.declared.channels or 3
        told = Preprocessing(size_px=session.size_px, mean=(0.0,) * n, std=(1.0,) * n, value_range=(0.0, 255.0))
    steps, assumed = prepared_input(request, channels=session.channels, size_px=session.size_px, told=told)
    values = session.answer(example_inputs(steps))
    task, guessed = foreign_task(request.model, request.task, names, values.shape[1])
    answers, further = find_answers(values, request.answers, request.model, task)
    check_answers(values, len(names), answers, request.model, task)
    points = operating_points(request.model, request.operating_points, task, len(names))
    classifier = OnnxClassifier(session, Outputs(names=names, task=task, points=points), steps, answers)
    return OpenedModel(
        classifier=classifier,
        name=model_name(request),
        architecture="ONNX model",
        content=identified(classifier, files_sha256({str(i): f for i, f in enumerate(files.values())}), request.model),
        answers=answers,
        files=files,
        assumed=(*guessed, *further, *assumed),
    )
