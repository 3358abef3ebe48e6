"""A Python callable `predict(images) -> probabilities`, such as a scikit-learn pipeline or a request to a server."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs

from audit.errors import ModelError, UsageError
from audit.models.classifier import Ability, Outputs
from audit.models.identity import example_inputs, identified
from audit.models.logits import Answers, as_logits, check_answers
from audit.models.prepared_input import prepared_input
from audit.models.preprocessing import Preprocessing, Seen
from audit.models.references import load_reference
from audit.models.requests import ModelRequest, OpenedModel, class_names, model_name
from audit.models.tasks import foreign_task, operating_points

Predict = Callable[[np.ndarray], Any]
"""uint8 (n, h, w) or (n, h, w, 3) -> probabilities (n, k), or (n) of the second of two classes."""


class GreyImages(Preprocessing, frozen=True, kw_only=True):
    """Images as a callable gets them: 8 bits, without mean and deviation."""

    def normalise(self, image: Seen) -> torch.Tensor:
        """Turn a resized image into uint8 (channels, h, w); a function of the owner's keeps its own numbers."""
        if self.function:
            return Preprocessing.normalise(self, image)
        planes = torch.from_numpy(self.ordered(np.array(np.rint(image), dtype=np.uint8)))
        return planes.repeat(self.channels, 1, 1) if len(planes) == 1 else planes


class CallableClassifier:
    """A function of the user's own.

    Parameters
    ----------
    predict : callable
        Answers images.
    outputs : Outputs
        What it answers.
    wants : GreyImages
        The images that it gets.
    what : str
        Its name, for messages.
    answers : {"logits", "probabilities"}
        What its numbers are.
    """

    def __init__(self, predict: Predict, outputs: Outputs, wants: GreyImages, what: str, answers: Answers) -> None:
        self._predict, self._outputs, self._wants, self._what = predict, outputs, wants, what
        self._answers: Answers = answers

    @property
    def outputs(self) -> Outputs:
        """Names and task of the outputs."""
        return self._outputs

    @property
    def wants(self) -> GreyImages:
        """The images that it gets."""
        return self._wants

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of its probabilities (n, k) for images (n, c, h, w)."""
        values = asked(self._predict, inputs, self._what)
        task = self._outputs.task or "single-label"
        check_answers(values, len(self._outputs.names), self._answers, self._what, task, at_door=False)
        return as_logits(values, self._answers, self._outputs.task)

    def ability(self, name: Ability) -> Any | None:
        """Return None: a function has no layers that could be looked at."""
        del name
        return None


def asked(predict: Predict, inputs: torch.Tensor, what: str) -> torch.Tensor:
    """Return what a callable answers to images (n, c, h, w), as a matrix (n, outputs).

    Raises
    ------
    ModelError
        If it fails, or answers something else than one row for each image.
    """
    images = inputs.numpy()
    images = images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
    images = np.ascontiguousarray(images)
    try:
        found = predict(images)
        values = np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found, dtype=np.float64)
    except (Exception, SystemExit) as error:  # the user's code may raise anything, or end the process
        raise ModelError(
            f"The function {what} failed on {images.dtype} images {images.shape}: {error!r}. It gets uint8 (n, height, width), or (n, "
            "height, width, 3) with --channels 3, and must return probabilities (n, classes). If it takes images of one size "
            "alone, declare it with --input-px."
        ) from error
    if values.ndim not in (1, 2) or len(values) != len(images):
        raise ModelError(
            f"The function {what} must return one row of probabilities for each of {len(images)} images, found an array {values.shape}."
        )
    return torch.from_numpy(values.reshape(len(images), -1))


def open_callable(request: ModelRequest) -> OpenedModel:
    """Open `package.module:predict`, or a callable that Python code hands over."""
    own = request.live
    predict = _method_of(load_reference(request.model, "prediction function") if own is None else own)
    names = class_names(request, _classes_of(request.live))
    steps, assumed = _images(request)
    values = asked(predict, example_inputs(steps), request.model)
    answers: Answers = request.answers or "probabilities"
    task, guessed = foreign_task(request.model, request.task, names, values.shape[1])
    check_answers(values, len(names), answers, request.model, task)
    points = operating_points(request.model, request.operating_points, task, len(names))
    classifier = CallableClassifier(
        predict, Outputs(names=names, task=task, points=points), steps, request.model, answers
    )
    kind = (
        type(request.live).__name__
        if request.live is not None and not inspect.isfunction(request.live)
        else "Python function"
    )
    return OpenedModel(
        classifier=classifier,
        name=model_name(request),
        architecture=kind,
        content=identified(classifier, _source_sha256(predict), request.model, n_examples=8),
        answers=answers,
        assumed=(*guessed, *assumed),
    )


def _images(request: ModelRequest) -> tuple[GreyImages, tuple[str, ...]]:
    """Return the images that a callable gets: at their own size where none is declared."""
    if request.settled is not None:
        return GreyImages(**structs.asdict(request.settled)), ()
    said = request.declared
    if said.scale or said.mean or said.std or said.value_range or said.per_image:
        raise UsageError(
            f"The function {request.model} gets images of 8 bits, 0 to 255; --scale, --mean, --std, --value-range and --per-image do not "
            "apply. Scale values inside the function."
        )
    n = said.channels or (1 if said.colour in (None, "grey") else 3)
    if not said.input_px and not said.preprocess:
        if said.fit:
            raise UsageError(f"--fit {said.fit} needs the size of the input: add --input-px SIDE.")
        further: dict[str, Any] = {"crop": said.crop} if said.crop else {}
        further |= {"colour": said.colour} if said.colour else {}
        clahe = said.clahe or 0.0
        own = GreyImages(
            size_px=None, mean=(0.0,) * n, std=(1.0,) * n, fit="none", clahe=clahe, value_range=(0, 255), **further
        )
        return own, ("images are handed over at their own size",)
    plain = structs.replace(Preprocessing(size_px=None), mean=(0.0,) * n, std=(1.0,) * n, value_range=(0.0, 255.0))
    steps, assumed = prepared_input(request, channels=n, told=plain)
    return GreyImages(**structs.asdict(steps)), assumed


def _method_of(found: Any) -> Predict:
    """Return how a thing predicts: by `predict_proba`, as scikit-learn's classifiers do, else by calling it."""
    method = getattr(found, "predict_proba", None)
    if method is not None:
        predict: Predict = method
        return lambda images: predict(images.reshape(len(images), -1))
    if not callable(found):
        raise UsageError(f"A classifier must be callable or have predict_proba, found a {type(found).__name__}.")
    made: Predict = found
    return made


def _classes_of(live: Any) -> tuple[str, ...]:
    told = getattr(live, "classes_", None)
    return () if told is None else tuple(str(name) for name in told)


def _source_sha256(predict: Predict) -> str:
    """Return the SHA-256 of the file that a function stands in; of nothing where it stands in none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(predict))
        data = Path(file).read_bytes() if file else b""
    except (TypeError, OSError):
        data = b""
    return hashlib.sha256(data).hexdigest()
