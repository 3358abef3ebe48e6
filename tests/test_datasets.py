"""Each publisher's folder as it unpacks, in small: exact names, headers and spellings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data.manifests import load_cohort
from audit.data.records import Record
from audit.errors import AuditError, CohortError, UnknownNameError
from audit.training.datasets import BUILDERS, build_manifest
from audit.training.datasets.covid import PAPER, summarise
from audit.training.datasets.published import sex

NIH_2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
NIH_2017 = NIH_2020 + ","
COHEN_MARCH = (
    "Patientid,offset,sex,age,finding,survival,view,modality,date,location,filename,doi, url,license,"
    "clinical notes,other notes"
)
COHEN_JUNE = (
    "patientid,offset,sex,age,finding,survival,intubated,intubation_present,went_icu,in_icu,needed_supplemental_O2,"
    "extubated,temperature,pO2_saturation,leukocyte_count,neutrophil_count,lymphocyte_count,view,modality,date,location,"
    "folder,filename,doi,url,license,clinical_notes,other_notes,"
)
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
_pixels = iter(range(10**6))


def picture(path: Path) -> None:
    """Write an image that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(next(_pixels))
    Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(path)


def build(name: str, root: Path, out: Path, **options: object) -> tuple[Sequence[Record], dict[str, int]]:
    """Build, read the manifest back with the engine's own reader, and return its records."""
    selection = build_manifest(name, root, out, **options)  # type: ignore[arg-type]
    cohort = load_cohort(out)
    assert [r.id for r in cohort.records] == [r.id for r in selection.records]
    return cohort.records, dict(selection.left_out)


def nih(root: Path, rows: Sequence[str], *, header: str = NIH_2020, name: str = "Data_Entry_2017_v2020.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    for i, row in enumerate(rows):
        picture(root / f"images_{1 + i % 2:03d}/images/{row.split(',')[0]}")
    (root / "test_list.txt").write_text("00000002_000.png\n")
    return root


NIH_ROWS = [
    "00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,No Finding,1,1,58,M,PA,2682,2749,0.143,0.143",
    "00000002_000.png,No Finding,0,2,81,F,AP,2500,2048,0.171,0.171",
    "00000003_000.png,Pneumonia|Infiltration,0,3,414,F,PA,2500,2048,0.171,0.171",
    "00000004_000.png,Hernia,0,4,12,F,PA,2500,2048,0.171,0.171",
    "00000005_000.png,No Finding,0,5,33,M,PA,2500,2048,0.171,0.171",
]


def test_chestxray14(tmp_path: Path) -> None:
    records, left_out = build("chestxray14", nih(tmp_path / "nih", NIH_ROWS), tmp_path / "m/nih.csv")
    by = {r.id: r for r in records}
    assert by["00000001_000.png"].findings == ("Cardiomegaly", "Emphysema")
    assert [by[f"0000000{i}_000.png"].label for i in range(1, 6)] == [None, "normal", "pneumonia", None, "normal"]
    assert by["00000003_000.png"].age is None, "nobody is 414 years old"
    assert (by["00000002_000.png"].sex, by["00000002_000.png"].view, by["00000002_000.png"].age) == ("F", "AP", 81)
    assert by["00000002_000.png"].split == "test"
    rest = [r for r in records if r.split != "test"]
    assert {r.split for r in rest} == {"train", "validation"}
    assert by["00000001_000.png"].split == by["00000001_001.png"].split, "a patient stays together"
    assert left_out == {}


def test_chestxray14_of_other_years(tmp_path: Path) -> None:
    rows = [re.sub(r",58,M,", ",058Y,M,", row) + "," for row in NIH_ROWS]
    root = nih(tmp_path / "nih", rows, header=NIH_2017, name="Data_Entry_2017.csv")
    records, _ = build("chestxray14", root.parent, tmp_path / "nih.csv")
    assert records[0].age == 58
    newest = nih(tmp_path / "new", NIH_ROWS, header=NIH_2020.replace("Gender", "Sex"))
    assert build("chestxray14", newest, tmp_path / "new.csv")[0][0].sex == "M"


def test_chestxray14_in_part(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih", NIH_ROWS)
    next(root.rglob("00000004_000.png")).unlink()
    (tmp_path / "no.txt").write_text("# seen by eye\n00000005_000.png  # arrow\n")
    records, left_out = build("chestxray14", root, tmp_path / "nih.csv", exclude=tmp_path / "no.txt")
    assert left_out == {"not on disk": 1, "excluded by name": 1}
    assert len(records) == 4


def test_cohen_of_every_era(tmp_path: Path) -> None:
    march, june, late = (tmp_path / name for name in ("march", "june", "late"))
    for root, header, rows in (
        (
            march,
            COHEN_MARCH,
            [
                '2,0,M,65,COVID-19,Y,PA,X-ray,2020,"Cho Ray Hospital, Vietnam",a.jpg,,https://www.nejm.org/x,,,',
                '3,0,F,70,"COVID-19, ARDS",N,AP Supine,X-ray,2020,Italy,b.png,,https://www.sirm.org/y,,,',
                "4,0,F,70,SARS,N,PA,X-ray,2004,Toronto,c.jpg,,,,,",
                "5,0,F,70,COVID-19,N,L,X-ray,2020,Italy,d.jpg,,,,,",
                "6,0,F,70,COVID-19,N,Axial,CT,2020,Italy,e.jpg,,,,,",
            ],
        ),
        (
            june,
            COHEN_JUNE,
            [
                "311a,?,M,65,COVID-19,,,,,,,,,,,,,PA,X-ray,2020,Spain,images,a.jpg,,,,Arrows mark it,,",
                "311b,3,M,66,COVID-19,,,,,,,,,,,,,AP,X-ray,2020,Spain,images,b.png,,,,,,",
                "311b,3,M,66,COVID-19,,,,,,,,,,,,,AP,X-ray,2020,Spain,images,b.png,,,,,,",
                "9,3,,,COVID-19,,,,,,,,,,,,,PA,X-ray,2020,Spain,volumes,v.nii.gz,,,,,,",
            ],
        ),
        (
            late,
            COHEN_JUNE.replace("finding,", "finding,RT_PCR_positive,"),
            [
                "481,0,F,44,Pneumonia/Viral/COVID-19,Y,Y,,,,,,,,,,,,AP semi erect,X-ray,2020,US,images,a.jpg,,,,,,",
                "480,0,F,44,Pneumonia/Viral/SARS,Y,Y,,,,,,,,,,,,AP,X-ray,2020,US,images,b.png,,,,,,",
            ],
        ),
    ):
        for name in "a.jpg", "b.png", "c.jpg", "d.jpg", "e.jpg":
            picture(root / "images" / name)
        (root / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    records, left_out = build("covid-chestxray-dataset", march, march / "m.csv")
    assert [(r.id, r.patient, r.view) for r in records] == [
        ("a.jpg", "cohen-2", "PA"),
        ("b.png", "cohen-3", "AP Supine"),
    ]
    assert records[0].site == "www.nejm.org | Cho Ray Hospital, Vietnam"
    assert left_out == {"not COVID-19": 1, "not a frontal X-ray": 2}
    records, left_out = build("covid-chestxray-dataset", june, june / "m.csv")
    assert [(r.id, r.patient, r.age) for r in records] == [("b.png", "cohen-311b", 66.0)]
    assert left_out == {"arrow in the notes": 1, "second row of the same file": 1, "not on disk": 1}
    records, _ = build("covid-chestxray-dataset", late, late / "m.csv")
    assert [r.id for r in records] == ["a.jpg"]


def chexpert(root: Path, n: int = 30, *, experts: int = 2) -> Path:
    folder = root / "CheXpert-v1.0-small"
    rows = {"train": [], "valid": []}

    def add(
        split: str, patient: int, *, age: int = 60, view: str = "frontal", pneumonia: str = "1.0", study: int = 1
    ) -> None:
        path = f"train/patient{patient:05d}/study{study}/view1_{view}.jpg".replace("train", split, 1)
        picture(folder / path)
        side = "AP" if view == "frontal" else ""
        findings = [""] * 14
        findings[7] = pneumonia
        line = ["CheXpert-v1.0-small/" + path, "Female", str(age), view.capitalize(), side, *findings]
        rows[split].append(",".join(line))

    for i in range(n):
        add("train", i)
        add("train", i, view="lateral")
        if i % 3 == 0:
            add("train", i, study=2)
    add("train", 900, age=18)
    add("train", 901, pneumonia="-1.0")
    add("train", 902, pneumonia="")
    for i in range(experts):
        add("valid", 64541 + i)
    add("valid", 64600, pneumonia="0.0")
    for split, lines in rows.items():
        (folder / f"{split}.csv").write_text("\n".join([CHEXPERT, *lines]) + "\n")
    return root


def test_chexpert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = chexpert(tmp_path / "stanford")
    records, left_out = build("chexpert", root, tmp_path / "m.csv")
    assert len(records) == 42
    assert {r.view for r in records} == {"AP"}
    assert {r.sex for r in records} == {"F"}
    assert left_out == {"no pneumonia": 3, "lateral": 30, "not older than 18": 1}
    monkeypatch.setattr("audit.training.datasets.chexpert.TRAIN_IMAGES", 17)
    drawn, left_out = build("chexpert", root, tmp_path / "m.csv", seed=1)
    train = [r for r in drawn if "/train/" in r.id]
    assert len(train) == 17
    assert left_out["not drawn"] == 23
    whole = Counter(r.patient for r in records)
    assert all(n == whole[p] for p, n in Counter(r.patient for r in train).items()), "whole patients are drawn"
    again, _ = build("chexpert", root, tmp_path / "m.csv", seed=1)
    other, _ = build("chexpert", root, tmp_path / "m.csv", seed=2)
    assert [r.id for r in again] == [r.id for r in drawn] != [r.id for r in other]


def lungs(root: Path, n: int = 30) -> None:
    montgomery = root / "NLM-MontgomeryCXRSet/MontgomerySet"
    shenzhen = root / "ChinaSet_AllFiles"
    readings = [
        "male 45yrs\nnormal",
        "femal  33yr\n\nnormal",
        "female 9month\nnormal",
        "male35yrs\nnormal",
        "male 42\nnormal",
    ]
    for i in range(n):
        picture(montgomery / f"CXR_png/MCUCXR_{i:04d}_0.png")
        (montgomery / "ClinicalReadings").mkdir(exist_ok=True)
        age = "008M" if i == 0 else f"{20 + i:03d}Y"
        text = f"Patient's Sex: {'O' if i == 1 else 'F'}\nPatient's Age: {age}\nnormal"
        (montgomery / f"ClinicalReadings/MCUCXR_{i:04d}_0.txt").write_text(text)
        picture(shenzhen / f"CXR_png/CHNCXR_{i:04d}_0.png")
        (shenzhen / "ClinicalReadings").mkdir(exist_ok=True)
        (shenzhen / f"ClinicalReadings/CHNCXR_{i:04d}_0.txt").write_text(readings[i % len(readings)])
    picture(montgomery / "CXR_png/MCUCXR_0200_1.png")
    picture(shenzhen / "CXR_png/CHNCXR_0500_1.png")
    picture(shenzhen / "CXR_png/CHNCXR_0300_0.png")


def test_montgomery_and_shenzhen(tmp_path: Path) -> None:
    lungs(tmp_path, 5)
    records, left_out = build("montgomery", tmp_path, tmp_path / "m.csv")
    assert [(r.sex, r.age) for r in records] == [("", 21), ("F", 22), ("F", 23), ("F", 24)]
    assert left_out == {"under age": 1, "tuberculosis": 1}
    records, left_out = build("shenzhen", tmp_path, tmp_path / "m.csv")
    assert [(r.id, r.sex, r.age) for r in records] == [
        ("CHNCXR_0000_0.png", "M", 45),
        ("CHNCXR_0001_0.png", "F", 33),
        ("CHNCXR_0003_0.png", "M", 35),
        ("CHNCXR_0004_0.png", "M", 42),
    ]
    assert left_out == {"under age": 1, "tuberculosis": 1, "age unknown": 1}
    assert {r.label for r in records} == {"normal"}


@pytest.fixture
def four_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "published"
    lungs(root, 20)
    chexpert(root, 30)
    cohen = root / "covid-chestxray-dataset-master"
    for i in range(40):
        picture(cohen / f"images/c{i}.png")
    rows = [
        f"{i // 2},0,{'M' if i % 4 < 2 else 'F'},{40 + i // 2},COVID-19,Y,PA,X-ray,2020,Italy,c{i}.png,,,,,"
        for i in range(40)
    ]
    (cohen / "metadata.csv").write_text("\n".join([COHEN_MARCH, *rows]) + "\n")
    monkeypatch.setattr("audit.training.datasets.covid.TEST_PER_CLASS", 8)
    return root


def test_covid_joins_and_splits(four_sets: Path, tmp_path: Path) -> None:
    records, left_out = build("covid", four_sets, tmp_path / "covid.csv")
    counts = Counter((r.label, r.split) for r in records)
    assert [counts[label, "test"] for label in ("normal", "pneumonia", "covid")] == [8, 8, 8]
    assert all(r.split == "test" for r in records if "/valid/" in r.id), "the radiologists' images are tested"
    seen: dict[str, set[str | None]] = {}
    for r in records:
        seen.setdefault(r.patient, set()).add(r.split)
    assert all(len(splits) == 1 for splits in seen.values())
    assert {r.source for r in records} == {"Montgomery", "Shenzhen", "CheXpert", "covid-chestxray-dataset"}
    assert left_out["montgomery: under age"] == 1
    first = (tmp_path / "covid.csv").read_bytes()
    build("covid", four_sets, tmp_path / "covid.csv")
    assert (tmp_path / "covid.csv").read_bytes() == first, "same seed, same bytes"
    build("covid", four_sets, tmp_path / "covid.csv", seed=5)
    assert (tmp_path / "covid.csv").read_bytes() != first


def test_summary_by_hand(four_sets: Path, tmp_path: Path) -> None:
    records, _ = build("covid", four_sets, tmp_path / "covid.csv")
    covid = next(row for row in summarise(records) if row.label == "covid")
    ages = [40 + p for p in range(20)]
    assert (covid.n_images, covid.n_patients, covid.male_share) == (40, 20, 0.5)
    assert covid.mean_age == pytest.approx(np.mean(ages))
    assert covid.sd_age == pytest.approx(np.std(ages, ddof=1))
    assert [(row.label, row.n_images) for row in PAPER] == [("normal", 370), ("pneumonia", 1255), ("covid", 439)]


def test_folders_and_columns_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'chexpert'"):
        build_manifest("chexprt", tmp_path, tmp_path / "m.csv")
    for name in BUILDERS:
        with pytest.raises(CohortError, match="does not exist"):
            build_manifest(name, tmp_path / "nowhere", tmp_path / "m.csv")
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(CohortError, match="does not look like"):
            build_manifest(name, tmp_path / "empty", tmp_path / "m.csv")
    root = nih(tmp_path / "nih", NIH_ROWS, header=NIH_2020.replace("View Position", "View"))
    with pytest.raises(CohortError, match="no column 'View Position'"):
        build_manifest("chestxray14", root, tmp_path / "m.csv")
    root = nih(tmp_path / "nih2", NIH_ROWS)
    (root / "test_list.txt").unlink()
    with pytest.raises(CohortError, match="official test list"):
        build_manifest("chestxray14", root, tmp_path / "m.csv")
    with pytest.raises(AuditError, match="excluded files"):
        build_manifest("chestxray14", root, tmp_path / "m.csv", exclude=tmp_path / "none.txt")
    assert not (tmp_path / "m.csv").exists()


def test_sexes() -> None:
    assert [sex(t) for t in ("F", "female", "Male", "O", "", "smith")] == ["F", "F", "M", "", "", ""]
