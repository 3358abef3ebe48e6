"""`audit case`: which image a pseudonym in a run stands for; needs the key and the manifest."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from audit.data.plan import Plan
from audit.data.pseudonyms import FILE_VARIABLE, KEY_VARIABLE, PLAIN, Pseudonyms, find_pseudonyms
from audit.data.reading import TableOptions, read_records
from audit.data.records import Record
from audit.data.strings import shown_string
from audit.errors import CohortError, ModelError, StoreError, UsageError
from audit.prediction.rows import prediction_rows
from audit.run.cohorts import known_manifest
from audit.run.settings import Settings
from audit.store.folder import RunFolder, check_run
from audit.store.serialise import printed_json

_RECORDS = "records.parquet"
_MIN_DIGITS = 4
_MOST_CHARACTERS = 4096


def case(path: Path, name: str, settings: Settings, *, as_json: bool) -> int:
    """Print the record behind a name, with its predictions under every condition."""
    check_run(path)
    run = RunFolder(path)
    plan = run.read(Plan)
    names = _names(path, plan.privacy.key)
    manifest, options = _manifest(plan, settings)
    record = _record(
        path,
        manifest,
        options,
        name,
        names,
        classes=plan.model.classes,
        multi_label=plan.model.task == "multi-label",
        known={row["record_id"] for row in run.read_rows(_RECORDS, ["record_id"])},
    )
    predictions = _predictions(run, record.name, plan.model.classes, multi_label=plan.model.task == "multi-label")
    facts = {"image": record.name, "id": record.id, "patient": record.patient, "path": record.path}
    facts |= {"label": record.label, "source": record.source}
    if as_json:
        sys.stdout.write(printed_json({**facts, "predictions": predictions}))
        return 0
    for what, value in facts.items():
        sys.stdout.write(f"{what:<9}{shown_string(str(value), _MOST_CHARACTERS)}\n")
    if not predictions:
        sys.stdout.write(f"\n{path} has no predictions of this image: it was left out, or belongs to another split.\n")
        return 0
    width = max(len(p["condition"]) for p in predictions) + 2
    sys.stdout.write(f"\n{'condition':<{width}}{'draw':>4}  {'predicted':<20}probability\n")
    for p in predictions:
        said = shown_string(p["predicted"], 18)
        highest = max(p["probabilities"].values())
        outcome = f"{said:<20}{highest:.3f}" if p["applied"] else f"not applied: {p['why_not']}"
        sys.stdout.write(f"{p['condition']:<{width}}{p['draw']:>4}  {shown_string(outcome, _MOST_CHARACTERS)}\n")
    return 0


def _names(path: Path, fingerprint: str | None) -> Pseudonyms:
    """Return the key that the run's names were made with; without it none of them can be resolved."""
    if fingerprint is None:
        return PLAIN
    names = find_pseudonyms()
    if names is None or names.fingerprint != fingerprint:
        here = "no key was found" if names is None else f"the key in use is {names.fingerprint}"
        raise StoreError(
            f"The pseudonyms in {path} were made with the key {fingerprint}, but {here}. Without the first key they cannot be resolved. "
            f"Set {KEY_VARIABLE} to that key, or {FILE_VARIABLE} to its file."
        )
    return names


def _manifest(plan: Plan, settings: Settings) -> tuple[Path, TableOptions]:
    if settings.data:
        return Path(settings.data), TableOptions(columns=settings.columns, layout=settings.layout)
    from audit.models.bundle import find_bundle, load_bundle

    try:
        bundle = load_bundle(find_bundle(settings.model or plan.model.name, Path(settings.models)))
        manifest, _, options = known_manifest(bundle, settings)
    except (ModelError, UsageError) as error:
        raise UsageError(f"The manifest of the run is unknown. Use --data MANIFEST. ({error})") from error
    return manifest, options


def _record(
    path: Path,
    manifest: Path,
    options: TableOptions,
    asked: str,
    names: Pseudonyms,
    *,
    classes: Sequence[str],
    multi_label: bool,
    known: Collection[str],
) -> Record:
    """Find the record of the manifest whose name it is, or begins so; it may have been left out of the run."""
    records, _ = read_records(manifest, how=options, classes=classes, names=names, multi_label=multi_label)
    found = [record for record in records if record.name == asked]
    if not found and names.key is not None and len(asked) >= _MIN_DIGITS:
        found = [record for record in records if record.name.startswith(asked.lower())]
    if len(found) == 1:
        return found[0]
    if asked in known:
        raise CohortError(
            f"No record of {manifest} has the pseudonym {asked}, which is in the run: the run used another manifest, or ids have "
            "changed since. Use --data with the manifest of the run."
        )
    said = "no image" if not found else f"{len(found)} images"
    raise UsageError(
        f"{path} has {said} called {shown_string(asked)!r}. Pseudonyms are next to each picture of the report and in the column "
        f"record_id of {_RECORDS}; give one, or at least its first {_MIN_DIGITS} digits."
    )


def _predictions(
    run: RunFolder, name: str, classes: Sequence[str], *, multi_label: bool = False
) -> list[dict[str, Any]]:
    columns = ["record_id", "condition", "draw", "applied", "why_not", "predicted", "probabilities"]
    return [
        {**row, "probabilities": dict(zip(classes, row["probabilities"], strict=True))}
        for row in prediction_rows(run, classes, columns, multi_label=multi_label)
        if row.pop("record_id") == name
    ]
