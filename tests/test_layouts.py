"""Each published data set as it lies on disk, in small: exact names, headers and spellings; and folders of classes."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from audit.data.layouts.found import label_of
from audit.data.layouts.guess import LAYOUTS
from audit.data.layouts.headers import read_headers
from audit.data.manifests import load_cohort
from audit.data.reading import TableOptions, TableReading, read_records
from audit.data.records import Record
from audit.errors import CohortError, UsageError
from audit.training.datasets import build_manifest

from . import image_encodings as made
from .conftest import Audit, one_paragraph, quick_audit
from .test_datasets import CHEXPERT, NIH_ROWS, nih, picture

MIMIC_HEAD = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)
MIMIC_FINDINGS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,"
    "Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
PADCHEST = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,MethodProjection,"
    "Pediatric,Modality_DICOM,Manufacturer_DICOM,Report,MethodLabel,Labels"
)
VINDR = "image_id,rad_id,Aortic enlargement,Cardiomegaly,Pneumonia,Other diseases,No finding"


def lines(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = ("\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read(
    root: Path, classes: Sequence[str] | None = None, layout: str = "auto"
) -> tuple[dict[str, Record], TableReading]:
    """Read a folder by its layout's name too, and with its images: both are the same."""
    records, reading = read_records(root, how=TableOptions(layout=layout), classes=classes)
    assert all(r.path.is_file() for r in records)
    load_cohort(root, how=TableOptions(layout=layout), classes=classes)
    return {r.id: r for r in records}, reading


def test_nih(tmp_path: Path) -> None:
    nih(tmp_path / "nih", NIH_ROWS)
    (tmp_path / "nih/images_001/images/00000001_000.png").unlink()
    records, reading = read(tmp_path / "nih")
    assert reading.form.startswith("NIH ChestX-ray14 (guessed from Data_Entry_2017_v2020.csv;")
    assert [(r.id[:8], r.label, r.split, r.age) for r in records.values()] == [
        ("00000001", "normal", "train", 58), ("00000002", "normal", "test", 81), ("00000003", "pneumonia", "train", None),
        ("00000004", None, "train", 12), ("00000005", "normal", "train", 33),
    ]  # fmt: skip
    assert records["00000003_000.png"].findings == ("Pneumonia", "Infiltration")
    assert any("1 image of the tables left out: not on disk" in w for w in reading.warnings)
    assert any("1 value of the column age is not understood" in w for w in reading.warnings), "nobody is 414 years old"
    named, other = read(tmp_path, ("no finding", "hernia"), "nih")
    assert "as requested" in other.form
    assert {r.label for r in named.values()} == {"no finding", "hernia", None}


def chexpert_row(path: str, view: str = "Frontal", **findings: str) -> str:
    names = CHEXPERT.split(",")[5:]
    return ",".join(
        [
            path,
            "Female",
            "60",
            view,
            "AP" if view == "Frontal" else "",
            *(findings.get(n.replace(" ", ""), "") for n in names),
        ]
    )


@pytest.mark.parametrize("arrangement", ["one folder", "batches", "batches with train"])
def test_chexpert_of_every_archive(tmp_path: Path, arrangement: str) -> None:
    root = tmp_path / "chexpertchestxrays-u20210408"
    name = "CheXpert-v1.0-small" if arrangement == "one folder" else "CheXpert-v1.0"
    train = [
        chexpert_row(f"{name}/train/patient00001/study1/view1_frontal.jpg", Pneumonia="1.0", Edema="-1.0"),
        chexpert_row(f"{name}/train/patient00002/study1/view1_lateral.jpg", "Lateral", NoFinding="1.0"),
        chexpert_row(f"{name}/train/patient30000/study2/view1_frontal.jpg", Pneumonia="-1.0"),
        chexpert_row(f"{name}/train/patient30001/study1/view1_frontal.jpg", Pneumonia="1.0"),
    ]
    valid = [chexpert_row(f"{name}/valid/patient64541/study1/view1_frontal.jpg", NoFinding="1.0")]
    if arrangement == "one folder":
        tables, places = (
            root / name,
            {"1": root / name / "train", "3": root / name / "train", "6": root / name / "valid"},
        )
    else:
        inside = "train" if arrangement == "batches with train" else "."
        tables = root / "CheXpert-v1.0 batch 1 (validate & csv)"
        places = {
            "1": root / "CheXpert-v1.0 batch 2 (train 1)" / inside,
            "3": root / "CheXpert-v1.0 batch 3 (train 2)" / inside,
            "6": tables / "valid",
        }
    lines(tables / "train.csv", CHEXPERT, *train)
    lines(tables / "valid.csv", CHEXPERT, *valid)
    picture(places["1"] / "patient00001/study1/view1_frontal.jpg")
    picture(places["1"] / "patient00002/study1/view1_lateral.jpg")
    picture(places["3"] / "patient30000/study2/view1_frontal.jpg")
    picture(places["6"] / "patient64541/study1/view1_frontal.jpg")
    records, reading = read(root)
    assert reading.form.startswith("CheXpert (guessed from train.csv;")
    assert [(r.patient, r.label, r.view, r.split, r.findings) for r in records.values()] == [
        ("chexpert-patient00001", "pneumonia", "AP", "train", ("Pneumonia",)),
        ("chexpert-patient00002", "normal", "L", "train", ("No Finding",)),
        ("chexpert-patient30000", None, "AP", "train", ()),
        ("chexpert-patient64541", "normal", "AP", "validation", ("No Finding",)),
    ]
    assert any("1 image of the tables left out: not on disk" in w for w in reading.warnings)
    # The paper's selection finds the same files.
    chosen = build_manifest("chexpert", root, tmp_path / "m.csv")
    assert [r.id for r in chosen.records] == [f"{name}/train/patient00001/study1/view1_frontal.jpg"]
    assert chosen.left_out["not on disk"] == 1


def test_mimic(tmp_path: Path) -> None:
    root = tmp_path / "physionet.org/files"
    image = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
    lines(
        root / "mimic-cxr-2.0.0-metadata.csv.gz", MIMIC_HEAD,
        f"{image},10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,CHEST (PA AND LAT),postero-anterior,Erect",
        "174413ec,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531,CHEST (PA AND LAT),lateral,Erect",
        "2a2277a9,10000764,57375967,CHEST (PORTABLE AP),AP,3056,2544,21801025,1,,,",
    )  # fmt: skip
    lines(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz", f"subject_id,study_id,{MIMIC_FINDINGS}",
        "10000032,50414267,,,,,,,,,1.0,,,,,", "10000764,57375967,,,1.0,,,,,,,,,-1.0,,",
    )  # fmt: skip
    lines(
        root / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split",
        f"{image},50414267,10000032,train", "174413ec,50414267,10000032,train", "2a2277a9,57375967,10000764,validate",
    )  # fmt: skip
    picture(root / f"files/p10/p10000032/s50414267/{image}.jpg")
    picture(root / "files/p10/p10000764/s57375967/2a2277a9.jpg")
    records, reading = read(tmp_path, ("normal", "consolidation"))
    assert [(r.patient, r.label, r.view, r.split) for r in records.values()] == [
        ("mimic-10000032", "normal", "PA", "train"), ("mimic-10000764", "consolidation", "AP", "validation"),
    ]  # fmt: skip
    assert reading.form.startswith("MIMIC-CXR-JPG (guessed from mimic-cxr-2.0.0-metadata.csv.gz")
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    with pytest.raises(CohortError, match="no table of findings"):
        read(tmp_path)


def test_padchest(tmp_path: Path) -> None:
    lines(
        tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", PADCHEST,
        "0,20536686640136348236148679891455886468_k6ga29.png,0,20140915,2053,839860488694,1930.0,F,POSTEROANTERIOR,PA,Manual "
        "review of DICOM fields,No,CR,ImagingDynamicsCompanyLtd,sin hallazgos,Physician,['normal']",
        "1,b.png,4,20140915,2054,8398,2013.0,M,,AP_horizontal,x,PED,DX,PhilipsMedicalSystems,x,RNN_model,"
        "\"['pneumonia', ' pleural effusion']\"",
        "2,c.png,4,20140915,2055,8399,,M,,L,x,No,DX,PhilipsMedicalSystems,x,RNN_model,[]",
    )  # fmt: skip
    picture(tmp_path / "0/20536686640136348236148679891455886468_k6ga29.png")
    picture(tmp_path / "4/b.png")
    picture(tmp_path / "4/c.png")
    records, reading = read(tmp_path)
    assert [(r.label, r.findings, r.sex, r.age, r.view, r.source) for r in records.values()] == [
        ("normal", ("No Finding",), "F", 84, "PA", "PadChest ImagingDynamicsCompanyLtd"),
        ("pneumonia", ("pneumonia", "pleural effusion"), "M", 1, "AP Supine", "PadChest PhilipsMedicalSystems"),
        (None, (), "M", None, "L", "PadChest PhilipsMedicalSystems"),
    ]
    assert "PadChest" in reading.form


def test_vindr_of_physionet_and_of_kaggle(tmp_path: Path) -> None:
    root = tmp_path / "vindr-cxr/1.0.0"
    lines(
        root / "annotations/image_labels_train.csv", VINDR,
        "aa,R1,0,1,1,0,0", "aa,R2,0,0,1,0,0", "aa,R3,0,0,0,0,1", "bb,R1,0,0,0,0,1", "bb,R2,0,0,0,0,1", "bb,R3,1,0,0,0,0",
    )  # fmt: skip
    lines(
        root / "annotations/image_labels_test.csv",
        VINDR.replace("rad_id,", "").replace("diseases", "disease"),
        "cc,0,0,0,0,1",
    )
    for name in ("train/aa", "train/bb", "test/cc"):
        picture(root / f"{name}.png")
    records, reading = read(tmp_path)
    assert [(r.id, r.label, r.findings, r.split, r.patient_known) for r in records.values()] == [
        ("aa", "pneumonia", ("Pneumonia",), "train", False), ("bb", "normal", ("No Finding",), "train", False),
        ("cc", "normal", ("No Finding",), "test", False),
    ]  # fmt: skip
    assert any("No patient column" in w for w in reading.warnings)
    kaggle = tmp_path / "kaggle"
    lines(
        kaggle / "train.csv", "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max",
        "aa,Cardiomegaly,3,R1,1,1,2,2", "aa,Cardiomegaly,3,R2,1,1,2,2", "aa,No finding,14,R3,,,,", "bb,No finding,14,R1,,,,",
    )  # fmt: skip
    picture(kaggle / "train/aa.png")
    picture(kaggle / "train/bb.png")
    found, _ = read(kaggle, ("normal", "cardiomegaly"))
    assert [(r.label, r.findings) for r in found.values()] == [
        ("cardiomegaly", ("Cardiomegaly",)),
        ("normal", ("No Finding",)),
    ]


def test_rsna(tmp_path: Path) -> None:
    lines(
        tmp_path / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target",
        "a1,,,,,0", "b2,264.0,152.0,213.0,379.0,1", "b2,562.0,152.0,256.0,453.0,1", "c3,,,,,0",
    )  # fmt: skip
    lines(
        tmp_path / "stage_2_detailed_class_info.csv", "patientId,class",
        "a1,Normal", "b2,Lung Opacity", "b2,Lung Opacity", "c3,No Lung Opacity / Not Normal",
    )  # fmt: skip
    for name in ("a1", "b2", "c3"):
        picture(tmp_path / f"stage_2_train_images/{name}.png")
    records, _ = read(tmp_path)
    assert [(r.patient, r.label) for r in records.values()] == [
        ("rsna-a1", "normal"),
        ("rsna-b2", "pneumonia"),
        ("rsna-c3", None),
    ]


def test_rsna_reads_age_sex_and_view_from_the_headers(tmp_path: Path) -> None:
    """The challenge's tables tell none of these; nothing else of a header is read."""
    grey = made.picture()
    lines(
        tmp_path / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target",
        *(f"{name},,,,,0" for name in ("a1", "b2", "c3", "d4", "e5")),
    )  # fmt: skip
    folder = tmp_path / "stage_2_train_images"
    folder.mkdir()
    told = {"PatientName": "Surname^Given", "PatientID": "secret", "PatientBirthDate": "19600102"}
    (folder / "a1.dcm").write_bytes(made.dicom_file(grey, PatientAge="051Y", PatientSex="F", ViewPosition="PA", **told))
    # The challenge's own files give ages without a unit.
    with pydicom.config.disable_value_validation():
        (folder / "b2.dcm").write_bytes(
            made.dicom_file(255 - grey, PatientAge="7", PatientSex="M", ViewPosition="AP", **told)
        )
        odd = made.dicom_file(grey[::-1], PatientAge="old", PatientSex="\x1b[2JW", ViewPosition="Surname^Given" * 9)
        (folder / "c3.dcm").write_bytes(odd)
    (folder / "d4.dcm").write_bytes(made.dicom_file(grey[:, ::-1]))
    picture(folder / "e5.png")
    records, reading = read(tmp_path)
    assert [(r.age, r.sex, r.view) for r in records.values()] == [
        (51, "F", "PA"), (7, "M", "AP"), (None, "other", "other"), (None, "", ""), (None, "", ""),
    ]  # fmt: skip
    assert reading.columns["age"] == "PatientAge of the DICOM headers"
    assert any("1 value of the column age is not understood" in w for w in reading.warnings)
    said = repr((records, reading))
    assert "Surname" not in said and "secret" not in said and "1960" not in said


def test_headers_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "cut.dcm").write_bytes(made.dicom_file(made.picture(), PatientAge="051Y")[:300])
    (tmp_path / "noise.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 9)
    os.mkfifo(tmp_path / "pipe.dcm")
    assert read_headers([tmp_path / name for name in ("cut.dcm", "noise.dcm", "pipe.dcm", "missing.dcm")]) == {}


def test_patients_of_a_layout_that_are_nobody(tmp_path: Path) -> None:
    lines(
        tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", PADCHEST,
        *(f"{i},{i}.png,0,20140915,2053,{who},1930.0,F,x,PA,x,No,CR,M,x,Physician,['normal']" for i, who in enumerate(("", "nan", "8"))),
    )  # fmt: skip
    for i in range(3):
        picture(tmp_path / f"0/{i}.png")
    assert [r.patient for r in read(tmp_path)[0].values()] == ["0.png", "1.png", "padchest-8"]


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "folders"])
def test_each_layout_is_built_as_a_manifest_too(layout: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="does not look like"):
        build_manifest(layout, tmp_path, tmp_path / "m.csv")


def folders(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name)
    return root


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    root = folders(
        tmp_path / "chest_xray", "train/NORMAL/IM-0115-0001.png", "train/PNEUMONIA/person1_bacteria_1.png", "val/NORMAL/x.png",
        "test/PNEUMONIA/y.png", "__MACOSX/train/NORMAL/._x.png",
    )  # fmt: skip
    records, reading = read(tmp_path, ("normal", "pneumonia"))
    assert sorted((r.id, r.label, r.split) for r in records.values()) == [
        ("test/PNEUMONIA/y.png", "pneumonia", "test"), ("train/NORMAL/IM-0115-0001.png", "normal", "train"),
        ("train/PNEUMONIA/person1_bacteria_1.png", "pneumonia", "train"), ("val/NORMAL/x.png", "normal", "validation"),
    ]  # fmt: skip
    assert "a folder for each class (guessed from the folders NORMAL, PNEUMONIA below test, train, val;" in reading.form
    flat = folders(tmp_path / "flat", "covid/a.png", "covid/deep/b.png", "normal/c.png")
    assert {r.id: r.label for r in read(flat)[0].values()} == {
        "covid/a.png": "covid",
        "covid/deep/b.png": "covid",
        "normal/c.png": "normal",
    }
    with pytest.raises(CohortError, match="labels outside the classes"):
        load_cohort(root, classes=("healthy", "pneumonia"))


def test_a_manifest_in_the_folder_is_read(tmp_path: Path) -> None:
    folders(tmp_path, "a/x.png", "b/y.png")
    lines(tmp_path / "manifest.csv", "path,label", "a/x.png,covid")
    assert [r.label for r in read_records(tmp_path)[0]] == ["covid"]
    assert len(read_records(tmp_path, how=TableOptions(layout="folders"))[0]) == 2


def test_a_publishers_own_table_is_pointed_to_its_folder(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih", NIH_ROWS)
    with pytest.raises(CohortError, match=r"no column label.*It is a table of NIH ChestX-ray14: --data .*nih reads"):
        read_records(root / "Data_Entry_2017_v2020.csv")


def test_folders_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        CohortError, match=r"does not look like any known data set. It contains nothing.*--layout: nih, chexpert"
    ):
        read_records(tmp_path / "empty")
    loose = folders(tmp_path / "loose", "a.png", "b.png")
    with pytest.raises(CohortError, match="does not look like"):
        read_records(loose)
    with pytest.raises(CohortError, match="does not look like RSNA"):
        read_records(loose, how=TableOptions(layout="rsna"))
    both = nih(tmp_path / "both/nih", NIH_ROWS).parent
    lines(both / "rsna/stage_2_train_labels.csv", "patientId,x,y,width,height,Target", "a1,,,,,0")
    with pytest.raises(CohortError, match=r"several data sets: nih, rsna.*--layout"):
        read_records(both)
    with pytest.raises(CohortError, match="None of the 1 images in the tables of RSNA"):
        read_records(both, how=TableOptions(layout="rsna"))
    with pytest.raises(UsageError, match="is a folder without a manifest"):
        read_records(loose, how=TableOptions(columns={"path": "x"}))


def test_classes_from_findings() -> None:
    assert label_of(("No Finding",), ("normal", "pneumonia")) == "normal"
    assert label_of(("Pneumonia", "Edema"), ("normal", "pneumonia")) == "pneumonia"
    assert label_of(("Pneumonia", "Edema"), ("edema", "pneumonia")) == "", "two of the classes are no class"
    assert label_of(("COVID-19",), ("covid", "normal")) == "covid"
    assert label_of((), ("normal",)) == "", "nothing said is not nothing found"
    assert label_of(("Pleural_Thickening",), ("pleural thickening",)) == "pleural thickening"


@pytest.mark.slow
def test_a_folder_is_audited(
    audit: Audit, known_bundle: Path, tmp_path: Path, write_cohort: Callable[..., Path]
) -> None:
    manifest = write_cohort(3)
    root = tmp_path / "set"
    for path in (manifest.parent / "images").iterdir():
        target = root / "test" / path.name.split("-")[0].upper() / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(path))).save(target)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        json.dumps(
            {"schema_version": 1, "images": {f"set/test/{p.parent.name}/{p.name}": [] for p in root.rglob("*.png")}}
        )
    )
    asked = quick_audit(manifest)
    asked[asked.index(manifest)] = root
    asked[asked.index(manifest.parent / "boxes.json")] = boxes
    code, _, err = audit(*asked)
    assert code == 0, one_paragraph(err)
    assert "data: a folder for each class (guessed from the folders COVID, NORMAL, PNEUMONIA below test" in err
    assert "columns missing: patient" in err


def test_grades_of_chexpert_are_labels_of_outputs(tmp_path: Path) -> None:
    root = tmp_path / "CheXpert-v1.0-small"
    rows = [
        chexpert_row("CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg", Edema="1.0", Fracture="0.0"),
        chexpert_row("CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg", Edema="-1.0", Pneumonia="1.0"),
    ]
    lines(root / "train.csv", CHEXPERT, *rows)
    for patient in ("patient00001", "patient00002"):
        picture(root / f"train/{patient}/study1/view1_frontal.jpg")
    records, reading = read_records(root, classes=("Edema", "fracture", "Hernia"), multi_label=True)
    assert [r.truth for r in records] == [(1, 0, -1), (-1, -1, -1)]
    assert any("without an output of that name, not used: Enlarged Cardiomediastinum" in w for w in reading.warnings)
    # Findings that are only listed: what no row names was not looked for.
    nih(tmp_path / "nih", NIH_ROWS)
    found, _ = read_records(tmp_path / "nih", classes=("Infiltration", "Fracture"), multi_label=True)
    assert [r.truth for r in found if r.id == "00000003_000.png"] == [(1, -1)]
