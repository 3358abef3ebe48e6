"""Labels of multi-label tasks: lists, columns of 0 and 1, and what is unknown."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.findings import (
    ABSENT,
    NONE_PRESENT,
    PRESENT,
    UNKNOWN,
    check_outputs,
    label_of_truth,
    truth_counts,
    truth_notes,
    truth_of_label,
    unknown_of_truth,
)
from audit.data.manifests import load_cohort
from audit.data.reading import TableOptions, read_records
from audit.errors import CohortError, ModelError, UnknownNameError, UsageError

OUTPUTS = ("Pneumonia", "Pleural Effusion", "Mass")


def rewritten(manifest: Path, columns: dict[str, Sequence[str]]) -> Path:
    """Give the first rows of a manifest other columns, and drop its own labels."""
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))[: len(next(iter(columns.values())))]
    for i, row in enumerate(rows):
        del row["label"], row["findings"]
        row |= {name: cells[i] for name, cells in columns.items()}
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def truths(manifest: Path, **how: object) -> list[tuple[int, ...]]:
    records, _ = read_records(manifest, classes=OUTPUTS, multi_label=True, **how)  # type: ignore[arg-type]
    return [r.truth for r in records]


def test_lists_name_what_is_present(write_cohort: Callable[..., Path]) -> None:
    cells = ["Pneumonia|pleural_effusion", "", "No Finding", "Pleural Effusion", "nan", " Pneumonia "]
    manifest = rewritten(write_cohort(2), {"findings": cells})
    # Nobody names a mass, so nobody looked for one.
    assert truths(manifest) == [(1, 1, -1), (-1, -1, -1), (0, 0, -1), (0, 1, -1), (-1, -1, -1), (1, 0, -1)]
    cohort = load_cohort(manifest, classes=OUTPUTS, multi_label=True)
    assert [r.label for r in cohort.records] == [
        "Pneumonia|Pleural Effusion", None, NONE_PRESENT, "Pleural Effusion", None, "Pneumonia",
    ]  # fmt: skip
    assert cohort.left_out == {"without any known label": 2}
    assert cohort.class_counts() == {"Pneumonia": 2, "Pleural Effusion": 2, "Mass": 0}
    assert len(cohort.labelled()) == 4


def test_columns_of_0_and_1_with_blank_and_minus_one_unknown(write_cohort: Callable[..., Path]) -> None:
    manifest = rewritten(
        write_cohort(2),
        {"pneumonia": ["1", "0.0", "-1", "", "NaN", "-1.0"], "Pleural_Effusion": ["1.0", "0", "1", "0", "1", ""]},
    )
    assert truths(manifest) == [(1, 1, -1), (0, 0, -1), (-1, 1, -1), (-1, 0, -1), (-1, 1, -1), (-1, -1, -1)]
    _, reading = read_records(manifest, classes=OUTPUTS, multi_label=True)
    assert reading.columns["Pneumonia"] == "pneumonia"
    assert not {"pneumonia", "Pleural_Effusion"} & set(reading.ignored)
    assert "label" not in reading.missing


def test_columns_count_more_than_lists_and_a_named_label_more_than_findings(write_cohort: Callable[..., Path]) -> None:
    manifest = rewritten(write_cohort(1), {"findings": ["Mass"] * 3, "target": ["Pneumonia"] * 3})
    assert truths(manifest) == [(-1, -1, 1)] * 3
    assert truths(manifest, how=TableOptions(columns={"label": "target"})) == [(1, -1, -1)] * 3
    both = rewritten(write_cohort(1), {"findings": ["Pneumonia"] * 3, "Mass": ["0"] * 3})
    assert truths(both) == [(-1, -1, 0)] * 3


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"Mass": ["1", "maybe", "0"]},
            r"Row 3 of .* has 'maybe' in the column of the output Mass\. Write 1 for present",
        ),
        ({"Mass": ["1", "2", "0"]}, "Row 3 .* '2'"),
        (
            {"findings": ["Mass", "Hernia|Mass", "Hernia"]},
            r"no output of the network: Hernia \(2 images\), first in row 3",
        ),
        ({"sth": ["1", "1", "1"]}, "has no labels: expected a column of 0 and 1 for each output"),
    ],
)
def test_what_is_not_understood_is_refused(
    write_cohort: Callable[..., Path], columns: dict[str, Sequence[str]], says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        truths(rewritten(write_cohort(1), columns))


def test_a_finding_without_an_output_can_be_left_out(write_cohort: Callable[..., Path]) -> None:
    manifest = rewritten(write_cohort(1), {"findings": ["Mass", "Hernia|Mass", "hernia"]})
    cohort = load_cohort(manifest, classes=OUTPUTS, multi_label=True, ignore_labels=["Hernia"])
    assert [r.truth[2] for r in cohort.records] == [1, 1, 0]


@pytest.mark.parametrize(
    ("ignored", "error", "says"),
    [("Hermia", UnknownNameError, "Did you mean 'Hernia'"), ("mass", UsageError, "is an output of the network")],
)
def test_a_label_to_ignore_that_cannot_be_meant_is_refused(
    ignored: str, error: type[Exception], says: str, write_cohort: Callable[..., Path]
) -> None:
    with pytest.raises(error, match=says):
        truths(rewritten(write_cohort(1), {"findings": ["Mass", "Hernia|Mass", ""]}), ignored=(ignored,))


def test_an_output_may_be_called_no_finding(write_cohort: Callable[..., Path]) -> None:
    manifest = rewritten(write_cohort(1), {"findings": ["No Finding", "Mass", ""]})
    records, _ = read_records(manifest, classes=("Mass", "No Finding"), multi_label=True)
    assert [r.truth for r in records] == [(0, 1), (1, 0), (-1, -1)]


def test_hash_knows_what_is_unknown(write_cohort: Callable[..., Path]) -> None:
    hashes = {
        load_cohort(
            rewritten(write_cohort(1), {"Mass": ["1", cell, "0"]}), classes=OUTPUTS, multi_label=True
        ).content_hash
        for cell in ("0", "-1", "1")
    }
    assert len(hashes) == 3


def test_counts_and_sentences_name_each_output() -> None:
    found = [(1, 0, -1), (-1, 0, -1), (0, 0, -1)]
    assert truth_counts(found, OUTPUTS) == {"Pneumonia": (1, 1, 1), "Pleural Effusion": (0, 3, 0), "Mass": (0, 0, 3)}
    said = " ".join(truth_notes(found, OUTPUTS))
    assert "Pneumonia 1 of 3 images" in said
    assert "No image has a label for Mass" in said
    assert "The labels of Pleural Effusion are the same" in said
    assert truth_notes([(1, 0, 1), (0, 1, 0)], OUTPUTS) == []


@given(st.lists(st.sampled_from([PRESENT, ABSENT, UNKNOWN]), min_size=3, max_size=3))
def test_labels_of_files_read_back(values: list[int]) -> None:
    truth = tuple(values)
    label = label_of_truth(truth, OUTPUTS)
    if label is None:
        assert set(truth) == {UNKNOWN}
    else:
        assert truth_of_label(label, unknown_of_truth(truth, OUTPUTS), OUTPUTS) == truth
    assert truth_of_label("Hernia", "", OUTPUTS) is None


@pytest.mark.parametrize("name", ["a|b", NONE_PRESENT])
def test_names_that_labels_cannot_hold(name: str) -> None:
    with pytest.raises(ModelError, match="must not contain"):
        check_outputs("C", ["Mass", name])
