"""A model as it was asked for, whatever it is, becomes a `Bundle`: the one door of the audit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from audit.data.bundle_record import RECORDED_KIND, BundleRecord
from audit.models.bundle import Bundle, find_bundle, load_bundle
from audit.models.bundle_files import read_record
from audit.models.kinds import open_directly, with_kind
from audit.models.preprocessing import declared_steps
from audit.models.recorded import open_recorded
from audit.models.requests import ModelRequest, OpenedModel
from audit.models.stated import check_stated
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
    if (folder := _folder_of_bundle(request)) is not None:
        check_stated(folder, read_record(folder)[0], request)
        return load_bundle(folder, trust=request.trust)
    known = with_kind(request)
    return bundle_of(known, open_directly(known))


def _folder_of_bundle(request: ModelRequest) -> Path | None:
    """Return the folder of the bundle that is meant; None for a model as its owner has it."""
    if request.live is not None:
        return None
    if request.kind:  # only for one that is there: what `--as` says of it is held against what it states
        places = (Path(request.model), Path(request.models) / request.model)
        found = not places[0].is_file() and any((place / BundleRecord.FILE).is_file() for place in places)
    else:
        found = not with_kind(request).kind
    return find_bundle(request.model, Path(request.models)) if found else None


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
