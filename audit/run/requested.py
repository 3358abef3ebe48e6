"""The settings of a model as the request that opens it."""

from __future__ import annotations

from dataclasses import fields, replace

from audit.errors import UsageError
from audit.models.recorded import UNNAMED
from audit.models.requests import DeclaredInput, ModelRequest
from audit.run.settings import Settings


def requested_model(settings: Settings, live: object = None) -> ModelRequest:
    """Return which classifier the settings mean, and what they declare of it.

    Parameters
    ----------
    settings : Settings
        Of a run.
    live : object, optional
        The classifier itself, where Python code hands it over.
    """
    return ModelRequest(
        model=settings.model,
        kind=settings.kind,
        classes=settings.classes,
        task=settings.task or None,
        answers=settings.answers or None,
        operating_points=settings.operating_points,
        checkpoint=settings.checkpoint,
        trust=settings.trust,
        declared=declared_input(settings),
        models=settings.models,
        live=live,
    )


def requested_product(settings: Settings, live: object = None) -> ModelRequest | None:
    """Return the request of a product that is not loaded, whose images are emitted or whose answers are taken; None for a model that is.

    Raises
    ------
    UsageError
        If its own pipeline was to be checked: its answers are the pipeline's. Or if a form of images is chosen for a model that is loaded.
    """
    if not settings.emit and not settings.predictions:
        if settings.emit_as != "png":
            raise UsageError("--emit-as chooses what --emit FOLDER writes. Add --emit, or omit --emit-as.")
        return None
    if settings.check:
        raise UsageError(
            "--check compares a loaded model with its owner's pipeline. With --emit and --predictions the answers come from that pipeline "
            "itself; omit --check."
        )
    request = requested_model(settings, live)
    return replace(request, model=settings.model or UNNAMED, predictions=settings.predictions)


def declared_input(settings: Settings) -> DeclaredInput:
    """Return what the settings declare of the input: fields of the same names, of which an empty choice says nothing."""
    found = {field.name: getattr(settings, field.name) for field in fields(DeclaredInput)}
    for name in ("colour", "scale", "fit", "interpolation", "library"):
        found[name] = found[name] or None
    return DeclaredInput(**found)
