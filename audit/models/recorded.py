"""A product that cannot be loaded, as a classifier: its answers to emitted images are looked up by the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audit.data.bundle_record import RECORDED_KIND
from audit.data.images import pixel_hash
from audit.data.input_choices import Colour
from audit.data.pixels.facts import StoredImage
from audit.errors import ModelError, UsageError
from audit.models.answered import KEY_DIGITS, AnswerTable, read_answers
from audit.models.callables import GreyImages
from audit.models.classifier import Ability, Outputs
from audit.models.outputs import task_of_names
from audit.models.requests import DeclaredInput, ModelRequest, OpenedModel, class_names
from audit.models.tasks import foreign_task, operating_points

UNNAMED = "product"
"""What reports call a product without a name."""
WITHOUT_MAPS = (
    "No heatmaps are made: the product is not loaded, and only its answers to the emitted images are known. Where it looks is not "
    "measured. No verdict depends on heatmaps."
)
"""What is said where relevance is expected."""
NOT_LOADED = "not loaded, answers from a table"
"""What a plan states as its architecture."""


def image_key(image: StoredImage) -> str:
    """Return the name of an emitted image: it follows from the pixels alone, so an answer belongs to them whatever else changes."""
    return pixel_hash(image)[:KEY_DIGITS]


class RecordedClassifier:
    """Answers the images that a table answers.

    Parameters
    ----------
    table : AnswerTable or None
        The answers; None as long as there are none.
    outputs : Outputs
        What they are.
    what : str
        The file, for messages.
    colour : {"grey", "rgb"}
        Whether the images are emitted in colour.
    """

    def __init__(self, table: AnswerTable | None, outputs: Outputs, what: str, colour: Colour = "grey") -> None:
        self.table = table
        self._colour = colour
        self._outputs, self._what = outputs, what

    @property
    def outputs(self) -> Outputs:
        """Names and task of the outputs."""
        return self._outputs

    @property
    def wants(self) -> GreyImages:
        """Images as they are emitted: at their own size, in 8 bits."""
        n = 1 if self._colour == "grey" else 3
        return GreyImages(
            size_px=None, mean=(0.0,) * n, std=(1.0,) * n, fit="none", value_range=(0, 255), colour=self._colour
        )

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, k) of the answers to images (n, c, h, w).

        Raises
        ------
        ModelError
            If one was not answered.
        """
        names = [image_key(np.moveaxis(image, 0, -1) if len(image) > 1 else image[0]) for image in inputs.numpy()]
        places = np.full(len(names), -1) if self.table is None else self.table.places(names)
        if self.table is None or (places < 0).any():
            absent = [name for name, place in zip(names, places, strict=True) if place < 0]
            raise ModelError(
                f"{self._what} has no answer to an image of this audit ({absent[0]}). Its answers belong to another emission, or images, "
                "settings or installed packages have changed since. Emit the images again with --emit into another folder."
            )
        return torch.from_numpy(self.table.logits[places])

    def ability(self, name: Ability) -> Any | None:
        """Return None: nothing of the product is there but its answers."""
        del name
        return None


def open_recorded(request: ModelRequest) -> OpenedModel:
    """Open the table of a product's answers; none yet where `request.predictions` is empty.

    Raises
    ------
    UsageError
        If classes are unknown, something is declared that only a loaded model has, or the answers are wrong.
    """
    _check_request(request)
    if request.declared.colour == "bgr":
        raise UsageError("Images for a product are files, whose channels have one order. Use --colour rgb.")
    names = class_names(request)
    answers = request.answers or "probabilities"
    meant = request.task or task_of_names(names)
    table = read_answers(Path(request.predictions), names, answers, meant) if request.predictions else None
    task, guessed = foreign_task(request.model, request.task, names, len(names) if table is None else table.n_outputs)
    points = operating_points(request.model, request.operating_points, task, len(names))
    outputs = Outputs(names=names, task=task, points=points)
    return OpenedModel(
        classifier=RecordedClassifier(
            table, outputs, request.predictions or request.model, request.declared.colour or "grey"
        ),
        name=request.model,
        architecture=NOT_LOADED,
        content="" if table is None else table.sha256,
        answers=answers,
        assumed=guessed,
        provenance={} if table is None else {"n_answers": len(table.keys)},
    )


def _check_request(request: ModelRequest) -> None:
    """Refuse what a product that is not loaded cannot have.

    Raises
    ------
    UsageError
        For the first such declaration.
    """
    said = request.declared
    if request.live is not None:
        raise UsageError("predictions takes the answers of a product that is not loaded; pass its name as model.")
    kind = "" if request.kind == RECORDED_KIND else request.kind  # another process opens the same request again
    given = [
        flag
        for flag, value in {"--as": kind, "--checkpoint": request.checkpoint, "--trust": request.trust}.items()
        if value
    ]
    given += [
        f"--{name.replace('_', '-')}"
        for name, value in vars(said).items()
        if name != "colour" and value != getattr(DeclaredInput(), name)
    ]
    if given:
        raise UsageError(
            "With --emit and --predictions no model is loaded: images are written at their stored size, and the product prepares them by "
            f"itself. Omit {', '.join(given)}."
        )
