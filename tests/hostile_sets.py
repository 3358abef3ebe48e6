"""Published data sets in small, as they unpack, for the fuzzer: each with its tables and a few images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .test_datasets import CHEXPERT, NIH_ROWS, nih, picture
from .test_layouts import MIMIC_FINDINGS, MIMIC_HEAD, PADCHEST, VINDR, lines


def make_sets(folder: Path) -> None:
    """Write NIH, CheXpert, MIMIC, PadChest, VinDr and RSNA below a folder."""
    nih(folder / "nih", NIH_ROWS)
    empty = ",".join([""] * 13)
    name = "CheXpert-v1.0-small/train/patient0000{}/study1/view1_frontal.jpg"
    _with_images(
        folder / "chexpert", "CheXpert-v1.0-small/train.csv",
        [CHEXPERT, f"{name.format(1)},Female,60,Frontal,AP,1.0{empty}", f"{name.format(2)},Male,30,Frontal,PA,1.0{empty}"],
        name.format(1), name.format(2),
    )  # fmt: skip
    _with_images(
        folder / "mimic", "mimic-cxr-2.0.0-metadata.csv",
        [MIMIC_HEAD, "aa,10000032,50414267,CHEST,PA,3056,2544,21800506,213014.531,CHEST,postero-anterior,Erect"],
        "files/p10/p10000032/s50414267/aa.jpg",
    )  # fmt: skip
    lines(
        folder / "mimic/mimic-cxr-2.0.0-chexpert.csv",
        f"subject_id,study_id,{MIMIC_FINDINGS}",
        "10000032,50414267,,,,,,,,,1.0,,,,,",
    )
    lines(
        folder / "mimic/mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", "aa,50414267,10000032,train"
    )
    _with_images(
        folder / "padchest", "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        [PADCHEST, "0,a.png,0,20140915,2053,839,1930.0,F,POSTEROANTERIOR,PA,x,No,CR,Maker,sin hallazgos,Physician,['normal']"],
        "0/a.png",
    )  # fmt: skip
    _with_images(
        folder / "vindr",
        "annotations/image_labels_train.csv",
        [VINDR, "aa,R1,0,1,1,0,0", "bb,R1,0,0,0,0,1"],
        "train/aa.png",
        "train/bb.png",
    )
    _with_images(
        folder / "rsna", "stage_2_train_labels.csv", ["patientId,x,y,width,height,Target", "a1,,,,,0", "b2,264.0,152.0,213.0,379.0,1"],
        "images/a1.png", "images/b2.png",
    )  # fmt: skip
    lines(folder / "rsna/stage_2_detailed_class_info.csv", "patientId,class", "a1,Normal", "b2,Lung Opacity")


def _with_images(folder: Path, table: str, rows: Sequence[str], *images: str) -> None:
    lines(folder / table, *rows)
    for image in images:
        picture(folder / image)
