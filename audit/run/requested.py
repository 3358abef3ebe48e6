"""The settings of a model as the request that opens it."""

from __future__ import annotations

from dataclasses import fields

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


def declared_input(settings: Settings) -> DeclaredInput:
    """Return what the settings declare of the input: fields of the same names, of which an empty choice says nothing."""
    found = {field.name: getattr(settings, field.name) for field in fields(DeclaredInput)}
    for name in ("scale", "fit", "interpolation", "library"):
        found[name] = found[name] or None
    return DeclaredInput(**found)
