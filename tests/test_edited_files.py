"""Files that somebody has edited, or whose kind is wrong: every reader refuses them in one bounded sentence, at once."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import math
import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.baseline.file import read_baseline
from audit.data.plan import Plan
from audit.data.pseudonyms import make_pseudonyms
from audit.data.reading import read_records
from audit.data.records import TextRegion
from audit.errors import MOST_MESSAGE, AuditError, ModelError, StoreError, TextError, shown_message
from audit.models.bundle import load_bundle
from audit.models.canary import check_canary
from audit.prediction.rows import prediction_rows
from audit.prediction.table import read_finished
from audit.relevance.heatmaps import pack_heatmaps, read_heatmaps
from audit.reports.findings.review import read_signoff
from audit.reports.reading.folder import read_run
from audit.run.setting_sources import load_settings
from audit.store.folder import RunFolder
from audit.store.table_schemas import PREDICTIONS_SCHEMA
from audit.suites.reader import load_suite
from audit.text.boxes import read_boxes
from audit.text.cache import RegionCache
from audit.training.datasets import build_manifest
from audit.training.recipes import load_recipe
from audit.viewing.cases import read_case

from .hostile_mutations import places, put_instead, vouch_for
from .test_datasets import NIH_ROWS, nih

PART = "predictions/part-00000.parquet"
LONG = "W" * 50_000


def is_fit(text: str) -> bool:
    """Say whether a terminal shows a text and does not obey it."""
    return not any(unicodedata.category(sign)[0] == "C" for sign in text)


def one_sentence(error: BaseException) -> str:
    """Return a message, which must be fit to print."""
    text = str(error)
    assert len(text) < 1000
    assert is_fit(text)
    return text


def change_column(path: Path, name: str, values: Callable[[list[Any]], list[Any]]) -> None:
    """Change the values of a column, its type as before."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    new = pa.array(values(table.column(place).to_pylist()), field.type)
    pq.write_table(table.set_column(place, field, new), path)


EDITED: Mapping[str, tuple[str, Any, str]] = {
    "another class": ("predicted", LONG, "the class WWW.*…, which the network does not have"),
    "an empty class": ("label", "", "the class , which the network does not have"),
    "too few outputs": ("logits", [0.5], "1 logits, but the network has 3 outputs"),
    "too many": ("probabilities", [0.1] * 9, "9 probabilities, but the network has 3 outputs"),
    "none": ("probabilities", [], "0 probabilities"),
    "holes in a list": ("logits", [0.1, None, 0.2], "lists with 1 empty places"),
    "not a number": ("probabilities", [0.1, math.nan, 0.2], "column probabilities is not a finite number"),
    "infinite": ("logits", [0.1, math.inf, 0.2], "column logits is not a finite number"),
    "an infinite share": ("changed_share", -math.inf, "column changed_share is not a finite number"),
    "a hole": ("predicted", None, "column predicted is empty in 1 rows"),
}


def test_a_case_under_a_condition_that_the_plan_lacks(kept: Path) -> None:
    change_column(kept / PART, "condition", lambda values: ["conjured", *values[1:]])
    vouch_for(kept)
    record = pq.read_table(kept / PART).column("record_id")[0].as_py()
    for read in (lambda: read_case(kept, record), lambda: read_finished(kept)):
        with pytest.raises(StoreError, match="conjured"):
            read()


@pytest.mark.parametrize("name", EDITED)
def test_predictions_that_no_network_makes(kept: Path, name: str) -> None:
    column, value, says = EDITED[name]
    change_column(kept / PART, column, lambda values: [value, *values[1:]])
    vouch_for(kept)
    run = RunFolder(kept)
    classes = run.read(Plan).model.classes
    record = pq.read_table(kept / PART).column("record_id")[0].as_py()
    with pytest.raises(StoreError, match=says) as raised:
        list(prediction_rows(run, classes, PREDICTIONS_SCHEMA.names))
    one_sentence(raised.value)
    if column in ("predicted", "probabilities", "changed_share"):
        with pytest.raises(StoreError, match=says):
            read_case(kept, record)
    if column in ("predicted", "label"):
        with pytest.raises(StoreError, match=says):
            read_run(kept)
    if column == "logits":
        with pytest.raises(StoreError, match=says):
            read_finished(kept)


@pytest.mark.parametrize("column", PREDICTIONS_SCHEMA.names)
def test_a_prediction_column_of_another_type(kept: Path, column: str) -> None:
    table = pq.read_table(kept / PART)
    other = pa.array([["x"]] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, other), kept / PART)
    with pytest.raises(StoreError, match=f"column {column} must be of type .*, found list<"):
        list(RunFolder(kept).read_rows(PART))


@pytest.mark.parametrize("label", ["", "nobody's", None])
def test_records_of_no_class(kept: Path, label: str | None) -> None:
    change_column(kept / "records.parquet", "label", lambda values: [label, *values[1:]])
    vouch_for(kept)
    with pytest.raises(StoreError, match=r"a record of another class|is empty in 1 rows"):
        read_finished(kept)


@pytest.mark.parametrize("draws", [0, 1001, 2**40])
def test_more_draws_than_memory_are_refused_by_the_plan(kept: Path, draws: int) -> None:
    document = json.loads((kept / "plan.json").read_text())
    document["suite"]["conditions"][1]["draws"] = draws
    (kept / "plan.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match=r"suite.conditions\[1\].draws must be"):
        RunFolder(kept).read(Plan)


# A baseline and its table


@pytest.fixture
def baseline(kept: Path, tmp_path: Path, audit: Any) -> Path:
    code, _, err = audit("baseline", "accept", kept, "--file", tmp_path / "b.json")
    assert code == 0, err
    return tmp_path / "b.json"


def seal(file: Path, table: bytes | None = None, **fields: Any) -> None:
    """Write a baseline's files with hashes that vouch for whatever they hold."""
    document = {**json.loads(file.read_text()), **fields}
    if table is not None:
        file.with_suffix(".parquet").write_bytes(table)
        document["images_sha256"] = hashlib.sha256(table).hexdigest()
    document.pop("sha256")
    document["sha256"] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps(document))


def written(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


WRONG: Mapping[str, tuple[Callable[[pa.Table, int, str], pa.Table], str]] = {
    "another type": (
        lambda t, i, name: t.set_column(i, name, pa.array([{"a": 1}] * t.num_rows)),
        "lists or records|must be of type",
    ),
    "dates": (
        lambda t, i, name: t.set_column(i, name, pa.array([0] * t.num_rows, pa.timestamp("us"))),
        "must be of type",
    ),
    "nothing": (lambda t, i, name: t.set_column(i, name, pa.nulls(t.num_rows, t.schema.field(i).type)), "is empty in"),
    "removed": (lambda t, i, _: t.remove_column(i), "has no column"),
    "twice": (lambda t, i, name: t.append_column(name, t.column(i)), "has 2 columns"),
    "renamed": (
        lambda t, i, name: t.rename_columns([LONG if n == name else n for n in t.column_names]),
        "has no column",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("column", ["condition", "measure", "output", "run", "image", "value"])
def test_a_baselines_table_of_wrong_types(baseline: Path, kind: str, column: str) -> None:
    change, says = WRONG[kind]
    table = pq.read_table(baseline.with_suffix(".parquet"))
    seal(baseline, written(change(table, table.schema.get_field_index(column), column)))
    with pytest.raises(StoreError, match=says) as raised:
        read_baseline(baseline)
    one_sentence(raised.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_baselines_values_are_numbers(baseline: Path, value: float) -> None:
    change_column(baseline.with_suffix(".parquet"), "value", lambda values: [*values[:-1], value])
    seal(baseline, baseline.with_suffix(".parquet").read_bytes())
    with pytest.raises(StoreError, match="not a finite number in every row"):
        read_baseline(baseline)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_value_in_a_baseline_is_read_or_refused(baseline: Path, data: st.DataObject) -> None:
    before = baseline.read_text()
    document = json.loads(before)
    container, step = data.draw(st.sampled_from(list(places(document))))
    container[step] = data.draw(st.sampled_from([LONG, "\ud800", None, -1, 1e300, [], {}, True, ["\u202e"]]))
    try:
        document["sha256"] = ""
        baseline.write_text(json.dumps(document))
        seal(baseline)
        read_baseline(baseline)
    except StoreError as error:
        one_sentence(error)
    finally:
        baseline.write_text(before)


# Boxes, cached regions, heatmaps, suites

BOX = {"x0": 1, "y0": 1, "x1": 9, "y1": 9}
BAD_BOXES: Mapping[str, object] = {
    "no table": [1],
    "words": {"boxes": LONG},
    "a long text": {**BOX, "text": LONG},
    "a text that is none": {**BOX, "text": {"a": LONG}},
    "half a character": {**BOX, "text": "\ud800"},
    "beyond any image": {**BOX, "x1": 10**30},
    "backwards": {**BOX, "x0": 99},
    "a polygon of words": {**BOX, "polygon": [[LONG, 1]]},
    "a polygon far away": {**BOX, "polygon": [[1e300, 1]]},
    "corners missing": {"box": [1, 2]},
    "unknown": {LONG: 1},
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_boxes_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    (tmp_path / "boxes.json").write_text(json.dumps({"images": {"x.png": [BAD_BOXES[name]]}}))
    with pytest.raises(TextError, match="does not have the expected form") as raised:
        read_boxes(tmp_path / "boxes.json")
    one_sentence(raised.value)


@pytest.mark.parametrize("path", [LONG, "a\0b", "\u202ex.png", "\ud800.png"])
def test_boxes_of_images_that_no_system_names(tmp_path: Path, path: str) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"images": {path: [BOX]}}))
    with pytest.raises(TextError, match="lists the image") as raised:
        read_boxes(tmp_path / "boxes.json")
    one_sentence(raised.value)


@pytest.mark.parametrize(
    "entry", [{"x0": "1"}, {"x1": 10**30}, {"polygon": [[1]]}, {"confidence": None}, {"kind": 5}, {"more": 1}]
)
def test_a_cached_region_of_wrong_types_is_found_again(tmp_path: Path, entry: dict[str, object]) -> None:
    class Finder:
        name, version, asked = "fake", "1", 0

        def config(self) -> dict[str, object]:
            return {}

        looks_up = False

        def find(self, image: Any) -> tuple[TextRegion, ...]:
            Finder.asked += 1
            return (TextRegion(x0=1, y0=2, x1=3, y1=4),)

    cache, image = RegionCache(tmp_path, Finder()), np.zeros((9, 9), np.uint8)
    found = cache.find(image)
    (file,) = tmp_path.rglob("*.json")
    whole = json.loads(file.read_text())
    assert cache.find(image) == found and Finder.asked == 1
    file.write_text(json.dumps([{**whole[0], **entry}]))
    assert cache.find(image) == found and Finder.asked == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: {**t, "maps": t["maps"][0]},
        lambda t: {**t, "scale": t["scale"][:, :1]},
        lambda t: {**t, "signs": t["signs"][:1]},
        lambda t: {**t, "signs": t["signs"] * float("nan")},
        lambda t: {**t, "maps": t["maps"].to(torch.int32)},
        lambda t: {"maps": t["maps"]},
        lambda t: {**t, "scale": t["scale"].to(torch.bfloat16)},
    ],
)
def test_heatmaps_of_wrong_shapes(tmp_path: Path, damage: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    from safetensors.torch import load_file, save_file

    file = tmp_path / "maps.safetensors"
    file.write_bytes(
        pack_heatmaps(np.ones((2, 3, 4, 5), np.float32), np.ones((2, 3), np.float32), np.ones((2, 4, 5), np.float32))
    )
    assert [m.outputs.shape for m in read_heatmaps([file])] == [(3, 4, 5)] * 2
    save_file({name: t.contiguous() for name, t in damage(load_file(file)).items()}, file)
    with pytest.raises(StoreError, match="cannot be read") as raised:
        list(read_heatmaps([file]))
    one_sentence(raised.value)


CONDITION = '[[condition]]\nname = "a"\nperturbation = "text-mask"\nrole = "edit"\n'
BAD_SUITES: Mapping[str, str] = {
    "draws": CONDITION + "draws = 1001",
    "many draws": CONDITION + f"draws = {10**60}",
    "a long name": CONDITION.replace('"a"', f'"{LONG}"'),
    "a long key": f"{LONG} = 1\n",
    "a long question": CONDITION + f'question = "{LONG}"',
    "a long title": f'name = "{LONG}"\n',
    "a title of numbers": "description = 5\n",
    "a long parameter": CONDITION + f'parameters = {{ fill = "{LONG}" }}',
    "a long role": CONDITION.replace('"edit"', f'"{LONG}"'),
    "a version without end": f"version = {10**400}\n",
    "a ladder without end": CONDITION + f'ladder = {{ parameter = "x", values = [1, {10**400}] }}',
    "a ladder of nothing": CONDITION + 'ladder = { parameter = "x", values = [nan, inf] }',
    "a ladder of words": CONDITION + f'ladder = "{LONG}"',
    "a missing role": f'[[condition]]\nname = "{LONG}"\n',
}


@pytest.mark.parametrize("name", BAD_SUITES)
def test_suites_without_bounds(tmp_path: Path, name: str) -> None:
    (tmp_path / "s.toml").write_text(BAD_SUITES[name])
    with pytest.raises(AuditError) as raised:
        load_suite(str(tmp_path / "s.toml"))
    one_sentence(raised.value)


# Strings that are no text, and messages


def test_half_a_character_in_any_document_is_read_or_refused(kept: Path, tmp_path: Path) -> None:
    """JSON can hold `\\ud800`, which no file name, terminal or page takes."""
    for file in sorted(kept.rglob("*.json")):
        whole = json.loads(file.read_text())
        spots = list(places(whole))
        for container_at in range(0, len(spots), max(1, len(spots) // 5)):
            document = copy.deepcopy(whole)
            container, step = list(places(document))[container_at]
            container[step] = "\ud800"
            file.write_text(json.dumps(document))
            vouch_for(kept)
            try:
                read_run(kept)
            except StoreError as error:
                one_sentence(error)
        file.write_text(json.dumps(whole))


@pytest.mark.parametrize("field", ["name", "architecture", "classes", "weights_sha256"])
def test_half_a_character_in_a_bundle(write_bundle: Callable[..., Path], field: str) -> None:
    folder = write_bundle()
    document = json.loads((folder / "model.json").read_text())
    document[field] = ["a", "b", "\ud800"] if field == "classes" else "\ud800"
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(AuditError) as raised:
        load_bundle(folder)
    one_sentence(raised.value)


@given(st.text(max_size=80).map(lambda text: text * 100))
def test_any_message_is_bounded_and_fit_for_a_terminal(text: str) -> None:
    shown = shown_message(text)
    assert len(shown) <= MOST_MESSAGE
    assert is_fit(shown.replace("\n", ""))
    if len(text) <= MOST_MESSAGE and is_fit(text):
        assert shown == text


def test_a_long_message_keeps_what_to_do() -> None:
    shown = shown_message("Found " + LONG + ". Remove it.")
    assert shown.startswith("Found WWW") and shown.endswith("Remove it.") and " … " in shown


def test_a_system_error_that_nobody_expected_is_a_sentence(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.commands import looking

    def fails() -> int:
        raise PermissionError(13, "Permission denied", "/a\u202eb")

    monkeypatch.setattr(looking, "doctor", fails)
    code, _, err = audit("doctor")
    assert code == 4
    assert err.startswith(
        "audit: The audit could not be completed: /a\N{REPLACEMENT CHARACTER}b: Permission denied. Check the file"
    )


# What is no file


def _list(folder: Path) -> Path:
    return nih(folder / "nih", NIH_ROWS) / "test_list.txt"


def _files(folder: Path, bundle: Path) -> Mapping[str, tuple[Path, Callable[[Path], object]]]:
    """Return files of every kind, each with what reads it."""
    network = load_bundle(bundle)
    return {
        "key": (folder / "key", lambda path: make_pseudonyms()),
        "excluded": (
            folder / "exclude.txt",
            lambda path: build_manifest("nih", _list(folder).parent, folder / "m.csv", exclude=path),
        ),
        "test list": (_list(folder), lambda path: build_manifest("nih", path.parent, folder / "m.csv")),
        "official list": (_list(folder), lambda path: build_manifest("chestxray14", path.parent, folder / "m.csv")),
        "table": (
            _list(folder).with_name("Data_Entry_2017_v2020.csv"),
            lambda path: build_manifest("chestxray14", path.parent, folder / "m.csv"),
        ),
        "splits": (bundle / "splits.csv", lambda path: load_bundle(bundle)),
        "record": (bundle / "model.json", lambda path: load_bundle(bundle)),
        "weights": (bundle / "weights.safetensors", lambda path: load_bundle(bundle)),
        "canary": (
            folder / "canary.safetensors",
            lambda path: check_canary(path, network.classifier),
        ),
        "boxes": (folder / "boxes.json", read_boxes),
        "suite": (folder / "s.toml", lambda path: load_suite(str(path))),
        "recipe": (folder / "r.toml", lambda path: load_recipe(str(path))),
        "settings": (folder / "audit.toml", lambda path: load_settings({}, folder, {})),
        "baseline": (folder / "b.json", read_baseline),
        "manifest": (folder / "m.csv", read_records),
        "columns": (folder / "m.parquet", read_records),
        "review": (folder / "review.json", lambda path: read_signoff(folder / "kept", path)),
        "document": (folder / "kept/plan.json", lambda path: read_run(folder / "kept")),
        "rows": (folder / "kept" / PART, lambda path: read_run(folder / "kept")),
        "heatmaps": (folder / "maps", lambda path: list(read_heatmaps([path]))),
    }


READERS = (
    "key", "excluded", "test list", "official list", "table", "splits", "record", "weights", "canary", "boxes", "suite", "recipe",
    "settings",
    "baseline", "manifest", "columns", "review", "document", "rows", "heatmaps",
)  # fmt: skip
# What is not there, or is no file, is in these the same as nothing.
OPTIONAL = {("settings", kind) for kind in ("pipe", "endless", "loop", "folder")} | {
    (name, kind) for name in ("test list", "canary") for kind in ("pipe", "endless", "loop", "folder")
}


@pytest.mark.parametrize("kind", ["pipe", "endless", "loop", "folder", "sparse"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_never_waited_for(
    name: str, kind: str, kept: Path, tmp_path: Path, write_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("AUDIT_KEY")
    assert kept == tmp_path / "kept"
    path, read = _files(tmp_path, write_bundle(splits={"a": "train"}))[name]
    put_instead(path, kind)
    began = time.monotonic()
    try:
        read(path)
    except AuditError as error:
        one_sentence(error)
    else:
        assert (name, kind) in OPTIONAL
    assert time.monotonic() - began < 20


def test_files_are_opened_in_one_way() -> None:
    """`open_regular` alone knows what is no file; the networks of an installed package are its own."""
    root = Path(__file__).parents[1]
    for folder in ("audit", "reports", "training"):
        for path in (root / folder).rglob("*.py"):
            found = re.findall(r"\.open\(\"rb\"\)|(?<!\))\.read_bytes\(\)", path.read_text())
            assert not found or path.name in ("files.py", "ppocr.py"), path


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer, not the file itself.*git lfs pull",
        ),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "a web page, not the file itself.*ownload the file again"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "the error message of a server"),
    ],
)
def test_what_stands_in_a_files_place_is_named(
    tmp_path: Path, write_bundle: Callable[..., Path], head: bytes, says: str
) -> None:
    """Everybody who clones without Git LFS, or downloads beyond a quota, has these files."""
    from audit.data.images import read_gray
    from audit.models.unpickling import read_checkpoint

    bundle = write_bundle()
    for path, read in (
        (tmp_path / "x.png", read_gray),
        (tmp_path / "x.dcm", read_gray),
        (tmp_path / "x.csv", read_records),
        (tmp_path / "x.parquet", read_records),
        (tmp_path / "x.pt", read_checkpoint),
        (tmp_path / "x.safetensors", read_checkpoint),
        (bundle / "weights.safetensors", lambda _: load_bundle(bundle)),
    ):
        path.write_bytes(head)
        with pytest.raises(AuditError, match=says) as raised:
            read(path)
        one_sentence(raised.value)


def test_a_network_that_predicts_nothing_is_refused(write_bundle: Callable[..., Path]) -> None:
    bundle = load_bundle(write_bundle())
    with pytest.raises(ModelError, match="predicts NaN or infinity"):
        bundle.logits(torch.full((1, 3, 64, 64), float("nan")))


def test_words_of_a_table_never_steer_the_terminal() -> None:
    from rich.console import Console

    from audit.commands.tables import printed

    console = Console(file=io.StringIO(), width=200)
    console.print(printed("[bold]a\x1b[2J\u202eb\nsecond\ud800"))
    assert (
        console.file.getvalue()
        == "[bold]a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b\nsecond\N{REPLACEMENT CHARACTER}\n"
    )  # type: ignore[attr-defined]


def test_only_the_printed_are_printed() -> None:
    """Commands give rich no text that was not made fit before."""
    root = Path(__file__).parents[1]
    for path in [*(root / "audit/commands").glob("*.py"), root / "reports/terminal.py"]:
        makers = re.findall(r"(?<![\w.])Text\((\w+)", path.read_text())
        assert set(makers) <= {"shown_lines", "line"}, path.name
