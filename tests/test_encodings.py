"""How well the encoding of the files predicts the class or the source, against a naive replica and known values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.data import encodings
from audit.data.encodings import encoding_of, encoding_table
from audit.data.images import look
from audit.data.manifests import load_cohort
from audit.data.pixels.facts import ImageFacts
from audit.data.records import Record
from tests import image_encodings as made

PNG = ImageFacts(
    format="PNG", depth=8, samples=1, photometric_interpretation="grey", compression="deflate", decoder="x"
)
DICOM = replace(PNG, format="DICOM", depth=12, photometric_interpretation="MONOCHROME2")


def record(name: str, label: str | None, patient: str = "", source: str = "s") -> Record:
    return Record(id=name, path=Path(name), label=label, patient=patient or name, source=source)


def test_one_encoding_a_class_predicts_the_class() -> None:
    records = [record(f"a{i}", "a") for i in range(20)] + [record(f"b{i}", "b") for i in range(30)]
    facts = {r.id: PNG if r.label == "a" else DICOM for r in records}
    table = encoding_table(records, facts, target="class")
    assert table is not None
    assert (table.accuracy, table.p, table.n_patients) == (1.0, 1 / 200, 50)
    assert 0.3 < table.chance < 0.6
    assert [(r.n_images, dict(r.by_target)) for r in table.rows] == [(30, {"b": 30}), (20, {"a": 20})]
    assert encoding_table(records, facts, target="source") is None, "one source"
    assert encoding_table(records, dict.fromkeys(facts, PNG), target="class") is None, "one encoding"


def test_encodings_that_are_mixed_alike_predict_nothing() -> None:
    records = [record(f"{label}{i}", label) for label in "ab" for i in range(40)]
    facts = {r.id: PNG if int(r.id[1:]) % 2 else DICOM for r in records}
    table = encoding_table(records, facts, target="class")
    assert table is not None
    assert table.p > 0.05
    assert encodings.encoding_notes(records, facts) == []


def test_a_patient_does_not_predict_itself() -> None:
    """One patient a class with many images: nothing is left to learn from."""
    records = [record(f"{label}{i}", label, patient=label) for label in "ab" for i in range(30)]
    facts = {r.id: PNG if r.label == "a" else DICOM for r in records}
    table = encoding_table(records, facts, target="class")
    assert table is not None
    assert table.n_patients == 2
    assert table.p > 0.05


def test_records_without_a_class_take_no_part() -> None:
    records = [record("a", "a"), record("b", "b"), record("c", None)]
    table = encoding_table(records, {"a": PNG, "b": DICOM, "c": PNG}, target="class")
    assert table is not None
    assert sum(row.n_images for row in table.rows) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=25))
def test_the_accuracy_is_that_of_a_loop(pairs: list[tuple[int, int]]) -> None:
    codes, truth = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    n_classes = int(truth.max()) + 1
    hits: dict[int, list[bool]] = {}
    for i in range(len(pairs)):
        shares = []
        for c in range(n_classes):
            others = [j for j in range(len(pairs)) if j != i and truth[j] == c]
            shares.append(sum(codes[j] == codes[i] for j in others) / max(1, len(others)))
        hits.setdefault(int(truth[i]), []).append(int(np.argmax(shares)) == truth[i])
    assert encodings._accuracy(codes, truth) == pytest.approx(np.mean([np.mean(h) for h in hits.values()]))


def test_what_is_written_alike_has_one_encoding(tmp_path: Path) -> None:
    grey = made.picture()
    files = {
        "a.jpg": made.pillow(Image.fromarray(grey), "JPEG", quality=90),
        "b.jpg": made.pillow(Image.fromarray(255 - grey), "JPEG", quality=90),
        "c.jpg": made.pillow(Image.fromarray(grey), "JPEG", quality=30),
        "d.dcm": made.dicom_file(grey.astype(np.uint16) * 16, stored=12),
        "e.dcm": made.dicom_file(grey.astype(np.uint16) * 16, stored=12, WindowCenter=9, WindowWidth=99),
    }
    found = {}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        found[name] = encoding_of(look(tmp_path / name).facts)
    assert found["a.jpg"] == found["b.jpg"]
    assert len(set(found.values())) == 4
    assert found["e.dcm"].endswith("window")


def test_a_cohort_whose_classes_are_encoded_differently_says_so(
    write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_cohort(8)
    assert not [n for n in load_cohort(manifest).notes if "encoding" in n.lower()]
    for path in sorted((manifest.parent / "images").glob("normal-*")):
        grey = np.asarray(Image.open(path).convert("L"))
        path.write_bytes(
            made.dicom_file(grey.astype(np.uint16) * 16, stored=12, WindowCenter=[2048, 1], WindowWidth=[4096, 9])
        )
    notes = load_cohort(manifest).notes
    told = next(n for n in notes if n.startswith("The encoding of the image files alone predicts the class"))
    assert "DICOM, 12 bits, MONOCHROME2" in told
    assert "8 images: The file offers several windows; the first was applied." in notes
