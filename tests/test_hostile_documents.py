"""TOML, JSON and Parquet from someone else: refused in one sentence, before they take memory or time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data.manifests import load_cohort
from audit.errors import AuditError, CohortError, ModelError, StoreError, UsageError
from audit.models.bundle import load_bundle
from audit.run.setting_sources import load_settings
from audit.store.documents import MAX_TOML_BYTES, parse_toml, read_json, read_toml, strict_json
from audit.store.folder import RunFolder
from audit.store.tables import MAX_COLUMNS, read_flat_table
from audit.suites.reader import load_suite
from audit.text import ppocr
from audit.text.boxes import read_boxes
from audit.training.recipes import load_recipe
from audit.training.resume import Keeper

BAD_TOML = {
    "nested": "a = " + "[" * 100_000,
    "inline": "a = " + "{b = " * 50_000,
    # Once half a megabyte of this took all memory there was.
    "dotted": "a" + ".a" * 200_000 + " = 1",
    "large": "# " + "x" * MAX_TOML_BYTES,
    "damaged": "a = ",
}
BAD_JSON = {
    "nested": "[" * 200_000,
    "objects": '{"a":' * 200_000,
    "nan": '{"schema_version": NaN}',
    "infinite": '{"schema_version": 1e999}',
    "digits": '{"schema_version": ' + "9" * 10_000 + "}",
    "damaged": "{",
}


@pytest.mark.parametrize("text", BAD_TOML.values(), ids=list(BAD_TOML))
def test_toml_is_bounded_wherever_it_is_read(tmp_path: Path, text: str) -> None:
    began = time.monotonic()
    file = tmp_path / "audit.toml"
    file.write_text(text)
    for read in (
        lambda: load_settings({}, tmp_path, {}),
        lambda: load_suite(str(file)),
        lambda: load_recipe(str(file)),
    ):
        with pytest.raises(UsageError, match=r"audit\.toml"):
            read()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=list(BAD_JSON))
def test_json_is_bounded_wherever_it_is_read(tmp_path: Path, write_bundle: Callable[..., Path], text: str) -> None:
    bundle = write_bundle()
    (bundle / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        load_bundle(bundle)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(StoreError, match=r"plan\.json"):
        RunFolder(tmp_path).read_json("plan.json")
    with pytest.raises(AuditError, match=r"plan\.json"):
        read_boxes(tmp_path / "plan.json")


def test_documents_larger_than_their_bound_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.store.documents.MAX_JSON_BYTES", 10)
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    assert read_json(tmp_path / "a.json") == [1, 2, 3]
    (tmp_path / "a.json").write_text("[1, 2, 3, 4]")
    with pytest.raises(ValueError, match="larger than"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ValueError, match="utf-8"):
        read_toml(tmp_path / "a.toml")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_document_or_a_value_error(text: str) -> None:
    for parse in (parse_toml, strict_json):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


def parquet(path: Path, /, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_a_text_that_is_repeated_without_end(tmp_path: Path) -> None:
    """Some kilobytes that would take three terabytes."""
    long = pa.array(["x" * 1_000_000]).dictionary_encode().take(pa.array([0] * 3_000_000))
    path = parquet(tmp_path / "m.parquet", path=long, label=pa.array([1] * 3_000_000))
    assert path.stat().st_size < 1_000_000
    began = time.monotonic()
    with pytest.raises(CohortError, match="when expanded"):
        load_cohort(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("column", ["path", "label", "patient"])
def test_texts_of_parquet_that_are_no_text(tmp_path: Path, column: str) -> None:
    good = pa.array(["abcd", "efgh"])
    bad = pa.StringArray.from_buffers(2, good.buffers()[1], pa.py_buffer(b"ab\xf2defgh"))
    path = parquet(
        tmp_path / "m.parquet", **{name: bad if name == column else good for name in ("path", "label", "patient")}
    )
    with pytest.raises(CohortError, match=r"cannot be read as a table.*UTF8"):
        load_cohort(path)


def test_tables_that_are_refused_by_their_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = parquet(tmp_path / "wide.parquet", **{f"c{i}": [1] for i in range(MAX_COLUMNS + 1)})
    with pytest.raises(CohortError, match=f"{MAX_COLUMNS + 1} columns"):
        load_cohort(wide)
    (tmp_path / "records.parquet").write_bytes(wide.read_bytes())
    with pytest.raises(StoreError, match=f"{MAX_COLUMNS + 1} columns"):
        list(RunFolder(tmp_path).read_rows("records.parquet"))
    nested = parquet(tmp_path / "nested.parquet", path=[["a"]], label=["x"])
    with pytest.raises(CohortError, match="contains lists or records"):
        load_cohort(nested)
    monkeypatch.setattr("audit.store.tables.MAX_ROWS", 2)
    with pytest.raises(CohortError, match="3 rows"):
        load_cohort(parquet(tmp_path / "long.parquet", path=list("abc"), label=list("abc")))
    monkeypatch.setattr("audit.store.tables.MAX_CSV_BYTES", 20)
    (tmp_path / "long.csv").write_text("path,label\n" + "a.png,covid\n" * 5)
    with pytest.raises(CohortError, match="71 bytes"):
        load_cohort(tmp_path / "long.csv")
    (tmp_path / "cut.parquet").write_bytes(wide.read_bytes()[:-20])
    with pytest.raises(CohortError, match="cannot be read as a table"):
        load_cohort(tmp_path / "cut.parquet")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.text(max_size=5)), st.one_of(st.none(), st.integers(-9, 9)), st.booleans()),
        max_size=30,
    )
)
def test_flat_tables_are_read_as_pandas_reads_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    kinds = pa.schema([("text", pa.string()), ("number", pa.int64()), ("flag", pa.bool_())])
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    pq.write_table(
        pa.table(dict(zip(kinds.names, map(list, columns), strict=True)), schema=kinds), path, row_group_size=7
    )
    pd.testing.assert_frame_equal(read_flat_table(path).to_pandas(), pd.read_parquet(path))


def test_a_checkpoint_to_resume_from_runs_nothing(tmp_path: Path) -> None:
    """Training's own scratch file is read by torch, with its list of harmless names."""

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "mark",)

    file = tmp_path / ".classes.checkpoint"
    keeper = Keeper(path=file, fingerprint="f", every_batches=1, writes=True)
    torch.save({"fingerprint": "f", "x": Evil()}, file)
    assert keeper.load() is None and not (tmp_path / "mark").exists()
    keeper.save({"x": 1})
    assert keeper.load() == {"fingerprint": "f", "x": 1}


def test_an_object_array_is_never_unpickled() -> None:
    """No reader of this project asks numpy to run pickles."""
    root = Path(__file__).parents[1]
    sources = {p: p.read_text() for folder in ("audit", "training", "reports") for p in (root / folder).rglob("*.py")}
    expected = {
        # The sentence that explains what to do with a TorchScript program names its reader, which opens one with --trust alone.
        "jit.load(": ["archives.py", "exported.py"],
        # What a process sends to those that it starts, as multiprocessing itself does; never a file's content.
        "pickle.load": ["cluster.py", "pool.py"],
    }
    for name in (
        "allow_pickle",
        "np.load(",
        "pickle.load",
        "read_pickle",
        "weights_only=False",
        "yaml.load",
        "jit.load(",
    ):
        users = sorted(p.name for p, text in sources.items() if name in text)
        assert users == expected.get(name, []), (name, users)
    for name in expected["pickle.load"]:
        (sender,) = (text for p, text in sources.items() if p.name == name)
        assert sender.count("pickle.load") == 1
        assert "read_bytes" not in sender and "open(" not in sender


def test_networks_that_onnx_runs_come_from_the_installed_package() -> None:
    pytest.importorskip("rapidocr")
    import rapidocr

    home = Path(str(rapidocr.__file__)).parent
    assert all(home in path.parents for path in ppocr._networks())


def test_documents_that_are_right_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": [1.5, None, "ü"]}))
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None, "ü"]}
    assert parse_toml('a.b = "1.2.3"') == {"a": {"b": "1.2.3"}}
