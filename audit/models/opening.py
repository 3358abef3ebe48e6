"""A model as it was asked for, whatever it is, becomes a `Bundle`: the one door of the audit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from audit.data.bundle_record import RECORDED_KIND
from audit.models.bundle import Bundle, find_bundle, load_bundle
from audit.models.kinds import open_directly, with_kind
from audit.models.preprocessing import declared_steps
from audit.models.recorded import open_recorded
from audit.models.requests import ModelRequest, OpenedModel
from audit.store.serialise import to_json


def open_model(request: ModelRequest) -> Bundle:
    """Open a bundle, or a model as its owner has it.

    Raises
    ------
    AuditError
        If it cannot be used; the message says what to do.
    """
    if request.predictions is not None:
        return bundle_of(replace(request, kind=RECORDED_KIND), open_recorded(request))
    known = with_kind(request)
    if not known.kind:
        return load_bundle(find_bundle(request.model, Path(request.models)), trust=request.trust)
    return bundle_of(known, open_directly(known))


def bundle_of(known: ModelRequest, opened: OpenedModel) -> Bundle:
    """Return a model that was opened directly as a bundle without a folder."""
    classifier = opened.classifier
    identity = [known.kind, classifier.outputs.names, declared_steps(classifier.wants), opened.content]
    return Bundle(
        name=opened.name,
        folder=None,
        request=known,
        architecture=opened.architecture,
        classifier=classifier,
        digest=hashlib.sha256(to_json(identity).encode()).hexdigest(),
        provenance={"opened_as": known.kind, **opened.provenance},
        metrics={},
        kind=known.kind,
        splits={},
        assumed=opened.assumed,
    )
