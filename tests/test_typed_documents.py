"""Documents of a run as types: whatever is edited in one is a sentence that names the file, the place and what was found there."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data.plan import Identity, Plan, plan_hash
from audit.errors import StoreError
from audit.gates.document import VerdictDocument
from audit.run.schemas import DOCUMENTS
from audit.store.folder import RunFolder
from audit.store.pictures import ExamplesDocument
from audit.store.results import EffectsDocument
from audit.store.run_record import RunRecord
from audit.store.serialise import plain, to_json
from audit.store.typed import FormatError, RunDocument, typed

from .documents import PLAN, RECORD, plan_with
from .golden.make_report import RUN

KINDS = [kind for kind in DOCUMENTS if (RUN / kind.FILE).is_file()]  # the kept run was never reviewed


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every scalar."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))
    else:
        yield path


def stored(kind: type[RunDocument]) -> dict[str, Any]:
    document = json.loads((RUN / kind.FILE).read_text())
    del document["schema_version"]
    return dict(document)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_written_back_to_the_same_bytes(kind: type[RunDocument], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write(RunFolder(RUN).read(kind))
    stored_text = (RUN / kind.FILE).read_text(encoding="utf-8")
    if kind is ExamplesDocument:  # of the kept run's cases only the first were kept, on one line
        stored_text = to_json(json.loads(stored_text))
    assert (tmp_path / kind.FILE).read_text(encoding="utf-8") == stored_text


def test_a_plan_has_one_hash_before_it_is_written_and_after_it_was_read() -> None:
    assert plan_hash(PLAN) == RECORD.plan_hash
    told = {"training": {"provenance": {"by": "another tool"}, "metrics": {}}}
    same = plan_with(model=told, data={"notes": ["A note."]}, privacy={"key": None})
    assert plan_hash(same) == plan_hash(PLAN), "neither stories nor keys decide results"
    assert plan_hash(plan_with(seed=1)) != plan_hash(PLAN)
    assert plan_hash(plan_with(relevance={"start": "covid"})) != plan_hash(PLAN)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_value_of_another_kind_is_named_with_its_place(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    document = stored(kind)
    path = data.draw(st.sampled_from(sorted(leaves(document), key=str)))
    *above, last = path
    place = document
    for step in above:
        place = place[step]
    place[last] = [{"\u202ehostile": "W" * 1000}]
    try:
        typed(document, kind)
    except FormatError as error:
        told = str(error)
        assert len(told) < 400
        assert told.isprintable()
        named = [step for step in path if isinstance(step, str)]
        assert named[0] in told
        assert "must be" in told or "not known" in told or "has no" in told
    else:
        free = {"parameters", "provenance", "metrics", "config"}
        assert free & set(map(str, path)), f"{path} takes anything"


# Runs without ladders have no trends; those of earlier versions were computed by torch on the CPU.
LATER = {
    (EffectsDocument, "trends"),
    (RunRecord, "backend"),
    (RunRecord, "device"),
    (VerdictDocument, "searched"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_or_unknown_is_named(kind: type[RunDocument]) -> None:
    document = stored(kind)
    for name in document:
        less = copy.deepcopy(document)
        del less[name]
        if (kind, name) in LATER:
            assert typed(less, kind) is not None, "earlier runs without it are read"
            continue
        with pytest.raises(FormatError, match=f"^the document has no {name}$"):
            typed(less, kind)
    with pytest.raises(FormatError, match=r"^the document has a field zq, which is not known$"):
        typed({**document, "zq": 1}, kind)


def test_a_run_of_another_version_is_one_sentence(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    document = json.loads((RUN / "plan.json").read_text())
    document["data"]["n_images"] = "thirty"
    (tmp_path / "run" / "plan.json").write_text(json.dumps(document))
    with pytest.raises(StoreError) as raised:
        RunFolder(tmp_path / "run").read(Plan)
    assert str(raised.value) == (
        f"{tmp_path / 'run' / 'plan.json'} does not have the format of this version of audit: data.n_images must be an integer, "
        "found 'thirty'. Another version wrote it, or it was edited. Run the audit again."
    )


def test_a_baseline_keeps_of_a_plan_what_must_be_shared() -> None:
    import msgspec

    kept = json.loads(to_json(msgspec.convert(PLAN, Identity, from_attributes=True)))
    assert {part: sorted(kept[part]) for part in kept} == {
        "data": ["content_hash", "masks_hash", "records_hash"],
        "detector": ["config", "name", "version"],
        "model": ["classes", "digest", "name"],
        "privacy": ["key"],
        "suite": ["conditions", "name", "version"],
    }
    edits = [
        {k: v for k, v in c.items() if k in kept["suite"]["conditions"][0]} for c in plain(PLAN)["suite"]["conditions"]
    ]
    assert kept["suite"]["conditions"] == edits
