"""Tables as people keep them: each is read as the plain one is, or refused for its cause."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.columns import ALIASES, choose_columns
from audit.data.manifests import load_cohort
from audit.data.reading import NO_PATIENTS, TableOptions, TableReading, read_records
from audit.data.records import Record
from audit.errors import AuditError, CohortError, UnknownNameError, UsageError

from .conftest import Audit, one_paragraph, quick_audit

ROWS = [
    {
        "path": f"images/ä {i}.png",
        "label": ("normal", "covid")[i % 2],
        "patient": f"p{i // 2}",
        "site": "Zürich, Höngg",
        "age": str(i),
    }
    for i in range(6)
]


def text_of(rows: list[dict[str, str]], *, separator: str = ",", ending: str = "\n", quote_all: bool = False) -> str:
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(file, list(rows[0]), delimiter=separator, lineterminator=ending, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def written(folder: Path, content: str | bytes, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> list[Record]:
    return read_records(written(tmp_path, text_of(ROWS)))[0]


def trailing(text: str) -> str:
    return "\n".join(line + "," for line in text.splitlines()) + "\n"


def _with_notes(text: str, note: str) -> str:
    """Add a column of free text at the end of a table."""
    ending = "\r\n" if "\r\n" in text else "\n"
    first, *rows = text.removesuffix(ending).split(ending)
    return ending.join([f"{first},notes", *(f"{row},{note}" for row in rows)]) + ending


SPELLINGS: dict[str, Callable[[], bytes]] = {
    "semicolons": lambda: text_of(ROWS, separator=";").encode(),
    "tabs": lambda: text_of(ROWS, separator="\t").encode(),
    "bars": lambda: text_of(ROWS, separator="|").encode(),
    "BOM": lambda: text_of(ROWS).encode("utf-8-sig"),
    "UTF-16": lambda: text_of(ROWS).encode("utf-16"),
    "UTF-16 without a mark": lambda: text_of(ROWS).encode("utf-16-le"),
    "UTF-16 big-endian": lambda: text_of(ROWS).encode("utf-16-be"),
    "UTF-16, tabs, as Excel saves Unicode text": lambda: text_of(ROWS, separator="\t", ending="\r\n").encode("utf-16"),
    "code page 1252": lambda: text_of(ROWS, separator=";").encode("cp1252"),
    "sep=": lambda: ("sep=;\r\n" + text_of(ROWS, separator=";", ending="\r\n")).encode(),
    "sep= and BOM": lambda: ("sep=;\n" + text_of(ROWS, separator=";")).encode("utf-8-sig"),
    "trailing commas": lambda: trailing(text_of(ROWS)).encode(),
    "trailing commas but in the header": lambda: trailing(text_of(ROWS)).replace(",\n", "\n", 1).encode(),
    "quotes": lambda: text_of(ROWS, quote_all=True).encode(),
    "blank lines": lambda: ("\n\n" + text_of(ROWS).replace("\n", "\n\n")).encode(),
    "carriage returns within cells": lambda: _with_notes(text_of(ROWS), "seen \rby two\r").encode(),
    "carriage returns within cells, line ends of Windows": lambda: _with_notes(
        text_of(ROWS, ending="\r\n"), "seen \rby two\r"
    ).encode(),
    "invisible signs around": lambda: text_of(
        [{k: f"\u200b{v}\ufeff" if k not in ("path",) else v for k, v in row.items()} for row in ROWS]
    ).encode(),
    "old line ends": lambda: text_of(ROWS, ending="\r").encode(),
    "blanks around": lambda: text_of([{f" {k} ": f" {v} " for k, v in row.items()} for row in ROWS]).encode(),
    "no line end": lambda: text_of(ROWS).rstrip("\n").encode(),
    "packed": lambda: gzip.compress(text_of(ROWS).encode()),
    "capitals": lambda: text_of([{k.upper(): v for k, v in row.items()} for row in ROWS]).encode(),
    "back-slashes": lambda: text_of([{**row, "path": row["path"].replace("/", "\\")} for row in ROWS]).encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_table_however_it_is_written(spelling: str, tmp_path: Path, plain: list[Record]) -> None:
    assert read_records(written(tmp_path, SPELLINGS[spelling](), "other.csv"))[0] == plain


def test_excel_leaves_out_empty_cells_at_the_end(tmp_path: Path) -> None:
    records, reading = read_records(written(tmp_path, "path,label,patient,site\na.png,x,p1,s\nb.png,y\nc.png,z,p2\n"))
    assert [(r.label, r.site) for r in records] == [("x", "s"), ("y", ""), ("z", "")]
    assert any("2 rows have fewer cells than the header (first: row 3)" in w for w in reading.warnings)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"path,label\na.png,x\nb.png,y,z\n",
            r"row 3 has 3 cells and the header 2; put cells that contain the separator into quotes",
        ),
        (b'path,label\n"a.png,x\nb.png,y\n', "unexpected end of data"),
        (b"PK\x03\x04rest", "Excel workbook.*export it as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "Excel workbook"),
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"path,label\n", "no rows"),
        (b"path,label\nftp://h.org/a.png,x\nfile:///b/c.png,y\n", "2 rows of .* URLs .* first row 2: .*copy them"),
        (b"path,label\na.png,x\nfile:///b.png,x\n", "1 row of .* URL .* first row 3"),
        (b"path,label\nC:\\data\\a.png,x\n", "Row 2 .*path of another machine.*relative to the table"),
        (b"path,label\n\\\\server\\share\\a.png,x\n", "Row 2 .*path of another machine"),
        (b"path,label\n\x81\xff\x9d.png,x\n", "cannot be read as a table"),
        (b"label\nx\n", "no column path"),
        (b'"path,label"\n"a.png,x"\n', "no column path.*Its first line is one cell.*separated by commas"),
        (b"filename class\na.png x\n", "Its first line is one cell"),
        (
            b"path,label,patient\na.png,x,1.23E+15\n",
            r"Row 2 of .* patient 1.23E\+15: a spreadsheet has rounded the ids",
        ),
        (b'path,label,patient\na.png,x,p\nb.png,x,"1,2e+09"\n', r"Row 3 of .* rounded the ids"),
        (b"<!DOCTYPE html><html></html>", "a web page, not the file itself"),
        (b"path,path,label\na.png,b.png,x\n", "2 columns called 'path', which hold different values"),
    ],
)
def test_what_cannot_be_read_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=says) as refused:
        read_records(written(tmp_path, content))
    assert len(str(refused.value)) < 700


def test_drive_letters_and_blanks_are_found_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png ", "c.png"):
        (tmp_path / "images" / name).touch()
    table = 'path,label\nC:\\Users\\jane\\images\\a.png,x\n"images/b.png ",x\nC:\\Users\\jane\\images\\c.png,x\n'
    records, reading = read_records(written(tmp_path, table))
    assert [r.id for r in records] == ["images/a.png", "images/b.png ", "images/c.png"]
    assert all(r.path.is_file() for r in records)
    assert any("2 paths with a drive letter" in w for w in reading.warnings)


def test_a_name_that_has_a_back_slash_stays(tmp_path: Path) -> None:
    (tmp_path / "a\\b.png").touch()
    assert read_records(written(tmp_path, "path,label\na\\b.png,x\n"))[0][0].path.name == "a\\b.png"


@pytest.mark.parametrize(
    "header",
    [
        "Path,Target,Patient ID,Sex,Age", "image_path,label,PatientID,GENDER,Patient Age", "Image Index,class,subject_id,sex,age",
        "File Name,Diagnosis,patient-id,Patient Sex,Age (years)", "img.path,LABEL,Patient_Id,patientSex,AGE",
    ],
)  # fmt: skip
def test_columns_in_any_spelling(header: str, tmp_path: Path) -> None:
    record = read_records(written(tmp_path, f"{header}\na.png,x,7,Female,060Y\n"))[0][0]
    assert (record.id, record.label, record.patient, record.sex, record.age) == ("a.png", "x", "7", "F", 60)


def test_ages_in_another_unit(tmp_path: Path) -> None:
    records = read_records(written(tmp_path, "path,label,Age (months)\na.png,x,6\nb.png,x,2Y\n"))[0]
    assert [r.age for r in records] == [0.5, 2]


@given(st.sampled_from(sorted(ALIASES)), st.data())
def test_every_alias_is_its_column_whatever_its_case_and_blanks(column: str, data: st.DataObject) -> None:
    alias = data.draw(st.sampled_from(ALIASES[column]))
    spelt = "".join(
        data.draw(st.sampled_from([c, c.upper()])) if c != " " else data.draw(st.sampled_from(["", " ", "_", "-"]))
        for c in alias
    )
    needed = [name for name in ("path", "label") if name != column]
    use = choose_columns("m.csv", ["x", spelt, *needed], {})
    assert use.names[column] == spelt
    assert use.ignored == ("x",)


def test_no_alias_means_two_columns() -> None:
    every = ["".join(c for c in alias if c.isalnum()) for aliases in ALIASES.values() for alias in aliases]
    assert len(every) == len(set(every))


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    table = written(tmp_path, "file,path,truth,label,subject\na.png,no,x,no,7\n")
    given_names = {"path": "file", "label": "Truth", "patient": "-"}
    records, reading = read_records(table, how=TableOptions(columns=given_names))
    assert (records[0].id, records[0].label, records[0].patient_known) == ("a.png", "x", False)
    assert reading.columns == {"path": "file", "label": "truth"}
    assert reading.ignored == ("path", "label", "subject")
    assert "patient" in reading.missing
    with pytest.raises(UnknownNameError, match="Did you mean 'truth'"):
        read_records(table, how=TableOptions(columns={"label": "truht"}))
    with pytest.raises(UsageError, match="cannot be left out"):
        read_records(table, how=TableOptions(columns={"label": "-"}))


def test_what_is_read_is_told_before_the_first_image(tmp_path: Path) -> None:
    told: list[TableReading] = []
    with pytest.raises(AuditError, match="does not exist"):
        load_cohort(written(tmp_path, "Path;Label;note\x1b[2J\na.png;x;1\n"), on_table=told.append)
    assert told[0].form == "CSV separated by semicolons, UTF-8"
    assert told[0].warnings == (NO_PATIENTS,)
    lines = "\n".join(told[0].lines)
    assert "columns read: path (from Path), label (from Label)" in lines
    assert "columns missing: id, patient, findings" in lines
    assert "\x1b" not in lines


def test_what_is_not_understood_is_counted_and_not_quoted(tmp_path: Path) -> None:
    table = "path,label,age,sex,view\n" + "".join(f"{i}.png,x,{a},{s},{v}\n" for i, (a, s, v) in enumerate(
        [("412", "F", "PA"), ("SMITH", "smith", "jones"), ("", "", ""), ("060Y", "M", "AP"), ("1970-01-07", "M", "AP")]))  # fmt: skip
    records, reading = read_records(written(tmp_path, table))
    assert [r.age for r in records] == [None, None, None, 60, None]
    assert [r.sex for r in records] == ["F", "other", "", "M", "M"]
    assert [r.view for r in records] == ["PA", "other", "", "AP", "AP"]
    said = " ".join(reading.warnings)
    assert (
        "3 values of the column age are not understood and treated as unknown (first: row 2; written like '999', 'aaaaa', '9999-99-99'"
        in said
    )
    assert "1 value of the column sex is not understood and called 'other' (first: row 3" in said
    assert "smith" not in said.lower()


def test_parquet_of_every_kind(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "Image Path": pd.Categorical(["a.png", "b.png", "c.png"]),
            "label": pd.Categorical(["x", None, "y"]),
            "patient_id": [7.0, 8.0, np.nan],
            "age": [60, 61, 62],
            "boxes": [[1, 2], [], None],
            "when": pd.to_datetime(["2020-01-01"] * 3),
        }
    )
    frame.to_parquet(tmp_path / "m.parquet")
    records, reading = read_records(tmp_path / "m.parquet")
    assert [(r.id, r.label, r.patient) for r in records] == [
        ("a.png", "x", "7"),
        ("b.png", None, "8"),
        ("c.png", "y", "c.png"),
    ]
    assert reading.ignored == ("boxes", "when"), "lists in a column that is not read are nobody's business"
    assert any("1 image has no patient" in w for w in reading.warnings)
    twice = pa.Table.from_arrays(
        [pa.array(["a.png"]), pa.array(["x"]), pa.array(["x"])], names=["path", "label", "label"]
    )
    pq.write_table(twice, tmp_path / "twice.parquet")
    assert read_records(tmp_path / "twice.parquet")[0][0].label == "x"
    other = pa.Table.from_arrays(
        [pa.array(["a.png"]), pa.array(["x"]), pa.array(["y"])], names=["path", "label", "label"]
    )
    pq.write_table(other, tmp_path / "other.parquet")
    with pytest.raises(CohortError, match="2 columns called 'label', which hold different values"):
        read_records(tmp_path / "other.parquet")


def test_patients_that_a_spreadsheet_has_rewritten(tmp_path: Path) -> None:
    table = "path,label,patient,split\na.png,x,007,{}\nb.png,x,7,{}\nc.png,x,7.0,{}\nd.png,x,70,{}\n"
    _, reading = read_records(written(tmp_path, table.format("test", "test", "test", "train")))
    assert any("1 patient may be counted more than once" in w for w in reading.warnings)
    with pytest.raises(
        CohortError, match=r"1 patient of .* may be in more than one split.*'007' in train and '7' in test"
    ):
        read_records(written(tmp_path, table.format("train", "test", "test", "test")))
    different = "path,label,patient,split\na.png,x,10,train\nb.png,x,100,test\nc.png,x,1.5,test\nd.png,x,p-01,train\ne.png,x,p-10,test\n"
    assert not any("more than once" in w for w in read_records(written(tmp_path, different))[1].warnings)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "<NA>", "NaT", "null", "", " ", "-", "unknown"])
def test_words_for_nothing_are_no_patient(word: str, tmp_path: Path) -> None:
    """What a program writes for an empty cell would otherwise make one person of everybody whose id is missing."""
    table = (
        f"path,label,patient,source,site,id\na.png,x,{word},{word},{word},{word}\nb.png,y,{word},h,s,\nc.png,y,p,h,s,\n"
    )
    records, reading = read_records(written(tmp_path, table))
    assert [(r.patient, r.patient_known) for r in records] == [("a.png", False), ("b.png", False), ("p", True)]
    assert [(r.source, r.site, r.id) for r in records] == [
        ("unknown", "", "a.png"),
        ("h", "s", "b.png"),
        ("h", "s", "c.png"),
    ]
    assert any("2 images have no patient: each counts as a patient of its own" in w for w in reading.warnings)


def test_labels_that_are_none(tmp_path: Path) -> None:
    table = "path,label\na.png,nan\nb.png,<NA>\nc.png,\nd.png,None\ne.png,unknown\n"
    labels = [r.label for r in read_records(written(tmp_path, table))[0]]
    assert labels == [None, None, None, "None", "unknown"], "none and unknown may be classes"


def test_carriage_returns_are_counted(tmp_path: Path) -> None:
    _, reading = read_records(written(tmp_path, "path,label,notes\na.png,x,one \rtwo\nb.png,y,\rthree\n"))
    assert "2 carriage returns within lines were read as blanks." in reading.warnings
    ragged = written(tmp_path, "path,label,notes,more\na.png,x,one \rtwo\nb.png,y\n")
    records, reading = read_records(ragged)
    assert [r.label for r in records] == ["x", "y"]
    assert "1 carriage return within lines was read as blanks." in reading.warnings


def test_the_command_lists_columns_and_takes_names(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, tmp_path: Path
) -> None:
    manifest = write_cohort(3)
    frame = pd.read_csv(manifest).rename(columns={"label": "truth", "path": "Image Path"}).drop(columns="patient_id")
    frame.to_csv(manifest, index=False, sep=";")
    code, _, err = audit("plan", "--model", "C", "--data", manifest)
    assert (code, "--columns label=NAME" in one_paragraph(err)) == (4, True)
    asked = [*quick_audit(manifest)]
    asked[0] = "plan"
    asked = [a for a in asked if a not in ("--resamples", 100, "--judge-images", 0, "--relevance-images")] + [
        "--columns",
        "label=truth",
    ]
    code, out, err = audit(*asked)
    assert code == 0, err
    assert "columns read: path (from Image Path), label (from truth), findings, source" in err
    assert f"warning: {NO_PATIENTS}" in err
    assert "no row" not in err
    (tmp_path / "audit.toml").write_text('[columns]\nlabel = "truth"\n')
    code, out, _ = audit(*asked[:-2], "--json", "--ignore-label", "elsewhere")
    import json

    table = json.loads(out)["table"]
    assert (code, table["columns"]["label"], table["form"]) == (0, "truth", "CSV separated by semicolons, UTF-8")
    assert any("'elsewhere' occurs in no row; the labels are covid, normal, pneumonia" in w for w in table["warnings"])
    code, _, err = audit(*asked[:-2], "--columns", "label")
    assert (code, "--columns must be a table of strings" in err) == (2, True)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("t") / "m.csv"
    for data in (content, b"path,label\n" + content, content + text_of(ROWS).encode()):
        path.write_bytes(data)
        try:
            records, reading = read_records(path)
        except AuditError as error:
            assert len(str(error)) < 1500
        else:
            assert reading.n_rows == len(records) > 0
            assert all("\x1b" not in line for line in reading.lines)
