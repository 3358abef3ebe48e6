"""A product that cannot be loaded: its images are written, its answers taken from a table, and the verdicts are the loaded network's."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import audit as front
from audit.data.images import read_gray
from audit.data.pixels.writing import KEPT_TAGS, dicom_tags, encode_dicom, encode_png
from audit.errors import UsageError
from audit.gates.calibration import NOT_MEASURABLE, NOT_MEASURED
from audit.models.answered import read_answers
from audit.models.bundle import load_bundle
from audit.models.recorded import image_key
from audit.prediction.interrupts import Interrupted
from audit.prediction.table import read_finished
from audit.reports.reading.folder import read_run
from audit.run.settings import Settings
from audit.statistics.outputs import softmax
from audit.store import emission as store
from audit.viewing.cases import read_case
from audit.viewing.pictures import CasePictures, NotDrawnError

from .conftest import CLASSES, Audit, one_paragraph
from .forked_commands import started_anew, wait_until
from .report_runs import unfound_references

NAMES = ",".join(CLASSES)
SAME = ("effects.json", "controls.json", "conditions.json", "regions.parquet", "records.parquet")
Rows = dict[str, list[str]]


def asked(manifest: Path, *further: object) -> list[object]:
    """Return a command about no model, on a cohort of `write_cohort`."""
    usual: list[object] = ["run", "--data", manifest, "--suite", "quick", "--resamples", 100, "--detector", "annotated"]
    return [*usual, "--boxes", manifest.parent / "boxes.json", "--judge-images", 0, *further]


def product(emission: Path, bundle_folder: Path, *, batch: int, answers: str) -> Rows:
    """Answer every emitted image as a script of the product's owner does, which knows nothing of the audit but files.

    Rounding depends on what shares a batch with an image: with 16 the script forms the batches that the audit of a loaded network forms.
    """
    bundle, found = load_bundle(bundle_folder), {}
    for part in sorted((emission / "emission").glob("part-*.json")):
        for record in json.loads(part.read_text())["records"]:
            prepared = {}
            for entry in record:
                with Image.open(emission / "images" / entry["file"]) as picture:
                    prepared[entry["file"]] = bundle.preprocessing.prepare(np.array(picture))
            unique = {tensor.numpy().tobytes(): tensor for tensor in prepared.values()}
            inputs = list(unique.values())
            logits = [bundle.logits(torch.stack(inputs[i : i + batch])) for i in range(0, len(inputs), batch)]
            known = dict(zip(unique, torch.cat(logits).numpy(), strict=True))
            for file, tensor in prepared.items():
                row = known[tensor.numpy().tobytes()]
                values = row if answers == "logits" else softmax(row[None])[0]
                found[f"images/{file}"] = [repr(float(v)) for v in values]
    return found


def fill(table: Path, rows: Rows, classes: Iterable[str] = CLASSES) -> Path:
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *classes])
        writer.writerows([name, *values] for name, values in rows.items())
    return table


def run_of(out: str) -> Path:
    return Path(out.splitlines()[-1]).parent


@pytest.fixture
def emitted(audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Emit the images of a small cohort; return the manifest and the folder."""
    manifest = write_cohort(2)
    code, _, err = audit(*asked(manifest, "--emit", "product", "--classes", NAMES))
    assert code == 0, err
    return manifest, tmp_path / "product"


@pytest.fixture
def answered(emitted: tuple[Path, Path]) -> tuple[Path, Path, Rows]:
    """Answer them by their brightness."""
    manifest, folder = emitted
    rows = {}
    for name in sorted((folder / "images").iterdir()):
        bright = float(read_gray(name).mean()) / 255
        rows[f"images/{name.name}"] = [f"{v:.4f}" for v in (bright / 2, bright / 2, 1 - bright)]
    fill(folder / "answers.csv", rows)
    return manifest, folder, rows


@pytest.mark.slow
def test_the_same_bytes_as_from_the_loaded_network(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, tmp_path: Path
) -> None:
    manifest = write_cohort(6)  # 18 images are two shards
    codes, runs = {}, {}
    codes["loaded"], out, err = audit(*asked(manifest, "--model", "C", "--gate"))
    runs["loaded"] = run_of(out)
    hidden = shutil.move(known_bundle, tmp_path / "hidden")  # no model is within reach of either step
    code, out, err = audit(*asked(manifest, "--emit", "product", "--classes", NAMES))
    assert code == 0, err
    assert "repeat the command with --predictions product/answers.csv added" in out
    assert out.splitlines()[-1] == "product/answers.csv"
    emission = tmp_path / "product"
    for name, batch, answers in (("logits", 16, "logits"), ("one by one", 1, "probabilities")):
        table = fill(tmp_path / f"{answers}.csv", product(emission, Path(hidden), batch=batch, answers=answers))
        further = ["--predictions", table, "--emit", "product", "--answers", answers, "--classes", NAMES, "--gate"]
        codes[name], out, err = audit(*asked(manifest, *further))
        assert codes[name] in (0, 1, 3), err
        runs[name] = run_of(out)
    assert len(set(codes.values())) == 1
    for file in SAME:
        assert (runs["logits"] / file).read_bytes() == (runs["loaded"] / file).read_bytes(), file
    verdicts = [json.loads((runs[name] / "verdict.json").read_text()) for name in ("logits", "loaded")]
    said = [verdict.pop("calibration") for verdict in verdicts]
    assert verdicts[0] == verdicts[1]
    assert said == [NOT_MEASURABLE, NOT_MEASURED], "only that no head of a product can be trained is another sentence"
    predictions = [
        [r for part in sorted((runs[n] / "predictions").iterdir()) for r in pq.read_table(part).to_pylist()]
        for n in ("loaded", "logits")
    ]
    assert predictions[0] == predictions[1]
    effects = [json.loads((runs[n] / "effects.json").read_text())["effects"] for n in ("loaded", "one by one")]
    for one, other in zip(*effects, strict=True):
        assert one["verdict"] == other["verdict"]
        for key in ("estimate", "low", "high"):
            assert one[key] == pytest.approx(other[key], abs=1e-4), (one["condition"], one["measure"], key)
    # In `audit view` the images of a product that is not loaded are drawn again all the same; where it looks is not known.
    finished = read_finished(runs["logits"])
    pictures = CasePictures(finished, Settings(data=str(manifest)))
    case = read_case(runs["logits"], str(finished.table.record_ids[0]))
    same, why = pictures.check(case, case.row("text-mask-inpaint"))
    assert (same, "No prediction was computed again" in why) == (True, True)
    with pytest.raises(NotDrawnError, match="the product is not loaded"):
        pictures.draw(case, "relevance")


def test_every_variant_is_one_file_and_its_name_says_nothing(emitted: tuple[Path, Path]) -> None:
    from audit.prediction.variants import cohort_context, make_perturbations, read_scene, variants
    from audit.run.preparation import prepare
    from audit.run.texts import find_text

    manifest, folder = emitted
    settings = Settings(
        emit=str(folder), classes=CLASSES, data=str(manifest), suite="quick", detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
    )  # fmt: skip
    prepared = prepare(settings, judge_gates=False)
    found, records = find_text(prepared, settings, lambda: None)
    context, perturbations = cohort_context(records, found.regions, 0), make_perturbations(prepared.suite)
    expected = {
        v.image.tobytes() for r in records for v in variants(read_scene(r, context), prepared.suite, perturbations, 0)
    }
    files = sorted((folder / "images").iterdir())
    shown = set()
    for file in files:
        with Image.open(file) as picture:
            assert not picture.info, "nothing but pixels"
            shown.add(np.array(picture).tobytes())
    assert shown == expected
    assert len(files) == len(expected)
    assert expected >= {read_gray(record.path).tobytes() for record in records}, "the clean images, too"
    rows = list(csv.reader((folder / "answers.csv").read_text().splitlines()))
    assert rows == [["image", *CLASSES], *([f"images/{file.name}", "", "", ""] for file in files)]
    for path in folder.rglob("*"):
        text = path.name + ("" if path.suffix in ("", ".png", ".csv") else path.read_text())
        for secret in (
            *(r.id for r in records),
            *(r.patient for r in records),
            *(f"{c}-" for c in CLASSES),
            "manifest",
        ):
            assert secret not in text, (path, secret)


def test_an_interrupted_emission_goes_on_and_keeps_what_is_there(
    audit: Audit, write_cohort: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from audit.prediction import emission as walker

    manifest = write_cohort(6)
    whole = asked(manifest, "--emit", "whole", "--classes", NAMES)
    assert audit(*whole)[0] == 0
    written: list[str] = []

    def stops(path: Path, data: bytes) -> None:
        if len(written) == 180:
            raise Interrupted(signal.SIGINT)
        written.append(path.name)
        real(path, data)

    real = walker.write_atomically
    monkeypatch.setattr(walker, "write_atomically", stops)
    assert audit(*asked(manifest, "--emit", "halves", "--classes", NAMES))[0] == 130
    assert len(list((tmp_path / "halves" / "emission").glob("part-*"))) == 1
    assert not (tmp_path / "halves" / "answers.csv").exists()
    code, _, err = audit(
        *asked(manifest, "--predictions", tmp_path / "whole" / "answers.csv", "--emit", "halves", "--classes", NAMES)
    )
    assert code == 4 and "Not all images were written" in err
    again: list[str] = []
    monkeypatch.setattr(walker, "write_atomically", lambda path, data: (again.append(path.name), real(path, data))[1])
    code, out, err = audit(*asked(manifest, "--emit", "halves", "--classes", NAMES))
    assert code == 0, err
    assert again and not set(again) & set(written), "nothing is written twice"
    assert contents(tmp_path / "halves") == contents(tmp_path / "whole")
    # Once more: nothing is left to do, and answers stay.
    (tmp_path / "halves" / "answers.csv").write_text("mine\n")
    code, out, err = audit(*asked(manifest, "--emit", "halves", "--classes", NAMES))
    assert code == 0 and "none was written" in out
    assert (tmp_path / "halves" / "answers.csv").read_text() == "mine\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_two_processes_and_a_kill_leave_the_same_emission(
    audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_cohort(11)
    assert audit(*asked(manifest, "--emit", "one", "--classes", NAMES))[0] == 0
    command = [str(a) for a in asked(manifest, "--emit", "two", "--classes", NAMES, "--workers", 2)]
    victim = started_anew(command, tmp_path)
    wait_until(victim.poll, lambda: len(list((tmp_path / "two").glob("images/*.png"))) >= 20)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    time.sleep(1)  # its processes end with it
    code, _, err = audit(*command)
    assert code == 0, err
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def changed(rows: Rows, place: int, values: list[str] | None) -> Rows:
    name = list(rows)[place]
    return {n: v for n, v in rows.items() if n != name or values is not None} | (
        {} if values is None else {name: values}
    )


BAD = {
    "missing row": (lambda r: changed(r, 3, None), 4, "lacks the answers to 1 of"),
    "open row": (lambda r: changed(r, 3, ["", "", ""]), 4, "lacks the answers to 1 of"),
    "half a row": (lambda r: changed(r, 0, ["0.5", "", "0.5"]), 2, "Row 2 (images/"),
    "a word": (lambda r: changed(r, 0, ["high", "0.5", "0.5"]), 2, "must hold numbers"),
    "a comma": (lambda r: changed(r, 0, ["0,2", "0,3", "0,5"]), 2, "with a point before the decimals"),
    "nan": (lambda r: changed(r, 0, ["nan", "0.5", "0.5"]), 2, "not finite"),
    "infinity": (lambda r: changed(r, 0, ["1e39", "0.5", "0.5"]), 2, "not finite"),
    "logits": (lambda r: changed(r, 0, ["3.1", "-0.5", "0"]), 2, "For logits, repeat with --answers logits"),
    "no sum": (lambda r: changed(r, 0, ["0.7", "0.5", "0.1"]), 2, "sum to 1"),
    "other images": (lambda r: {f"images/{i:032x}.png": v for i, v in enumerate(r.values())}, 4, "lacks the answers to"),
    "file names": (lambda r: {f"images/{i}.png": v for i, v in enumerate(r.values())}, 4, "name no image of an emission"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_answers_that_are_none_are_one_sentence(
    audit: Audit, answered: tuple[Path, Path, Rows], fault: str, tmp_path: Path
) -> None:
    manifest, folder, rows = answered
    make, expected, says = BAD[fault]
    fill(folder / "answers.csv", make(rows))
    code, _, err = audit(*asked(manifest, "--predictions", "product/answers.csv", "--classes", NAMES))
    assert (code, says in err) == (expected, True), err
    one_paragraph(err)
    assert not list((tmp_path / "runs").glob("*")), "refused before a run begins"


def test_tables_that_are_none_are_one_sentence(audit: Audit, answered: tuple[Path, Path, Rows]) -> None:
    manifest, folder, rows = answered

    def refused(*further: object, says: str, code: int = 2) -> None:
        found, _, err = audit(*asked(manifest, *further))
        assert (found, says in err) == (code, True), err
        one_paragraph(err)

    table = folder / "answers.csv"
    finish = ["--predictions", table, "--classes"]
    refused(
        *finish, "normal,pneumonia,flu", says="must have a column image and one for each class (normal, pneumonia, flu)"
    )
    refused(*finish, "normal,covid", says="Name all classes with --classes")
    refused(*finish, NAMES, "--answers", "logits", says="they are probabilities. Omit --answers logits")
    refused(*finish, NAMES, "--seed", 1, says="Changed since it was written: the seed (--seed)")
    refused(*finish, "covid,normal,pneumonia", says="the classes (normal, pneumonia, covid there)")
    refused(*finish, NAMES, "--input-px", 64, "--scale", "unit", says="Omit --input-px, --scale")
    refused(*finish, NAMES, "--check", table, says="omit --check")
    refused("--predictions", "none.csv", "--classes", NAMES, says="does not exist")
    refused("--predictions", folder, "--classes", NAMES, says="is a folder")
    refused("--predictions", table, says="The classes of product are unknown")
    refused("--model", "C", "--emit-as", "dicom", says="Add --emit, or omit --emit-as")
    refused("--emit", manifest.parent, "--classes", NAMES, says="is not empty, or not a folder")
    refused("--emit", manifest, "--classes", NAMES, says="is not empty, or not a folder")
    refused("--emit", folder, "--classes", NAMES, "--emit-as", "dicom", says="was begun with --emit-as png")
    refused("--predictions", table, "--emit", "nowhere", "--classes", NAMES, says="holds no images of --emit")
    elsewhere = shutil.copy(fill(folder / "half.csv", dict(list(rows.items())[:3])), "half.csv")
    refused("--predictions", elsewhere, "--classes", NAMES, says="has no answer to an image of this audit", code=4)
    twice = table.read_text() + table.read_text().splitlines()[4] + "\n"
    table.write_text(twice)
    refused(*finish, NAMES, says="answers 1 image more than once, the first in row 5 and in row")


def test_images_that_changed_since_are_noticed(audit: Audit, answered: tuple[Path, Path, Rows]) -> None:
    manifest, folder, _ = answered
    finish = asked(manifest, "--predictions", "product/answers.csv", "--classes", NAMES)
    first, second = sorted((folder / "images").iterdir())[:2]
    Image.fromarray(read_gray(first)).save(first, compress_level=1)
    second_bytes = second.read_bytes()
    assert audit(*finish)[0] == 0, "a file packed anew shows the same pixels"
    shutil.rmtree("runs")
    Image.fromarray(255 - read_gray(second)).save(second)
    code, _, err = audit(*finish)
    assert code == 4 and "1 image in product/images was changed since --emit" in err and second.name in err
    second.unlink()
    assert audit(*finish)[0] == 0, "images that were moved away are no matter"
    shutil.rmtree("runs")
    code, _, err = audit(*asked(manifest, "--emit", "product", "--classes", NAMES))
    assert (code, second.read_bytes()) == (0, second_bytes)
    original = next(iter(sorted((manifest.parent / "images").iterdir())))
    Image.fromarray(255 - read_gray(original)).save(original)
    code, _, err = audit(*finish)
    assert code == 2 and "Changed since it was written: the images of --data" in err


def test_what_is_done_without_is_said(audit: Audit, answered: tuple[Path, Path, Rows]) -> None:
    manifest, _, _ = answered
    code, out, err = audit(
        *asked(manifest, "--predictions", "product/answers.csv", "--classes", NAMES, "--model", "Lung Reader 2.1")
    )
    assert code == 0, err
    run = run_of(out)
    assert "not available: no heatmaps are made: the product is not loaded" in err
    plan = json.loads((run / "plan.json").read_text())
    assert plan["model"]["name"] == "Lung Reader 2.1"
    assert plan["relevance"]["max_images"] == 0
    assert "No heatmaps are made" in json.loads((run / "run.json").read_text())["relevance_note"]
    assert not (run / "relevance.json").exists() and not list(run.glob("examples/*relevance*"))
    page = (run / "report.html").read_text()
    for said in (
        "No heatmaps are made: the product is not loaded",
        "The product prepared and classified the files by itself",
        "It saw 8-bit grey files",
        "gives no features",
    ):
        assert said in page, said
    assert "Parity was not shown" not in page
    assert "the bundle has no training record" in page, "no standard calls its training filled"
    assert unfound_references(read_run(run)) == []
    assert "Relevance, relative to the heatmap" not in page and "No heatmap was made" in page
    assert "No heatmaps are made" in " ".join(out.split())
    # Other answers are another model; the same in another order, or semicolons, the same.
    table = Path("product/answers.csv")
    rows = table.read_text().splitlines()
    shuffled = Path("shuffled.csv")
    shuffled.write_text("\n".join([rows[0], *reversed(rows[1:])]).replace(",", ";").replace("images/", "C:\\out\\"))
    again = ["--classes", NAMES, "--model", "Lung Reader 2.1"]
    assert run_of(audit(*asked(manifest, "--predictions", shuffled, *again))[1]) == run
    shuffled.write_text("\n".join([rows[0], f"{rows[1].partition(',')[0]},0.2,0.3,0.5", *rows[2:]]))
    assert run_of(audit(*asked(manifest, "--predictions", shuffled, *again))[1]) != run


def test_settings_stand_in_a_file_too_and_a_plan_counts_images(
    audit: Audit, answered: tuple[Path, Path, Rows], tmp_path: Path
) -> None:
    manifest, folder, _ = answered
    n = len(list((folder / "images").iterdir()))
    (tmp_path / "audit.toml").write_text(
        '[run]\nemit = "product"\nmodel = "Reader"\n[model]\nclasses = ["normal", "pneumonia", "covid"]\n'
    )
    code, out, err = audit(*asked(manifest, "--json"))
    document = json.loads(out)
    assert (code, document["n_images"], document["n_originals"]) == (0, n, 6), err
    assert document["answers"] == "product/answers.csv"
    code, out, err = audit(*asked(manifest, "--predictions", document["answers"]))
    assert code == 0, err
    code, out, err = audit(*["plan", *asked(manifest)[1:]])
    assert code == 0 and "images for the product" in out, err
    with pytest.raises(UsageError, match="audit run --emit"):
        front.run_audit(model="Reader", emit="elsewhere", classes=CLASSES, data=manifest)
    result = front.run_audit(
        model="Reader", predictions=folder / "answers.csv", classes=CLASSES, data=manifest, suite="quick", detector="annotated",
        boxes=manifest.parent / "boxes.json", resamples=100, judge_images=0, gate=False,
    )  # fmt: skip
    assert result.report.is_file()


def test_one_probability_suffices_for_two_classes(
    audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    two = ("normal", "covid")
    manifest = write_cohort(2, classes=two)
    assert audit(*asked(manifest, "--emit", "product", "--classes", "normal,covid", "--task", "binary"))[0] == 0
    names = [f"images/{p.name}" for p in (tmp_path / "product" / "images").iterdir()]
    single = fill(tmp_path / "one.csv", {n: ["0.2"] for n in names}, ["covid"])
    both = fill(tmp_path / "two.csv", {n: ["0.8", "0.2"] for n in names}, ["covid", "normal"][::-1])
    found = [read_answers(table, two, "probabilities") for table in (single, both)]
    assert np.allclose(softmax(found[0].logits), softmax(found[1].logits), atol=1e-6)
    code, out, err = audit(
        *asked(manifest, "--predictions", single, "--emit", "product", "--classes", "normal,covid", "--task", "binary")
    )
    assert code == 0, err
    assert json.loads((run_of(out) / "plan.json").read_text())["model"]["task"] == "binary"


@given(st.lists(st.integers(0, 2**128 - 1), unique=True, max_size=40), st.randoms(use_true_random=False), st.data())
def test_an_answer_is_found_by_its_name_alone(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], random: object, data: st.DataObject
) -> None:
    names = [f"{n:032x}" for n in numbers]
    share = data.draw(st.lists(st.floats(0, 1), min_size=len(names), max_size=len(names)))
    rows = {name: [repr(p), repr(1 - p)] for name, p in zip(names, share, strict=True)}
    folder = tmp_path_factory.mktemp("table")
    shuffled = list(rows.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = read_answers(fill(folder / "a.csv", rows, ("no", "yes")), ("no", "yes"), "probabilities")
    other = read_answers(fill(folder / "b.csv", dict(shuffled), ("no", "yes")), ("no", "yes"), "probabilities")
    assert one.sha256 == other.sha256
    absent = f"{(max(numbers, default=0) + 1) % 2**128:032x}"
    places = one.places([*names, absent])
    assert (places[-1] == -1) == (absent not in rows)
    for name, place in zip(names, places, strict=False):
        wanted = np.clip(np.array([float(v) for v in rows[name]]), 1e-7, 1)
        assert np.allclose(softmax(one.logits[[place]])[0], wanted / wanted.sum(), atol=1e-6)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_written_images_are_read_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("written")
    for name, data in (("a.png", encode_png(image)), ("a.dcm", encode_dicom(image, {}, image_key(image)))):
        (folder / name).write_bytes(data)
        assert np.array_equal(read_gray(folder / name), image), name


def write_dicom(path: Path, image: np.ndarray) -> None:
    """Write 12 bits with a window, inverted, and everything that names a patient."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID = generate_uid(), generate_uid()
    d.PatientName, d.PatientID, d.PatientBirthDate = "Secret^Name", "SECRET7", "19330303"
    d.PatientSex, d.PatientAge, d.ViewPosition, d.Modality, d.BodyPartExamined = "F", "066Y", "PA", "DX", "CHEST"
    d.InstitutionName, d.StudyDate, d.AccessionNumber = "Secret Hospital", "20200102", "SECRET8"
    d.StudyDescription, d.ImageComments, d.Manufacturer = "SECRET9", "Secret comment", "A maker"
    d.ImageType, d.PixelSpacing = ["ORIGINAL", "PRIMARY", ""], [0.15, 0.15]
    d.add_new(0x00110010, "LO", "SECRET10")
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = *image.shape, 1, "MONOCHROME1"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    d.WindowCenter, d.WindowWidth = 2048, 4096
    d.PixelData = ((255 - image.astype(np.uint16)) * 16).tobytes()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.save_as(path, enforce_file_format=True)


def test_dicom_keeps_what_identifies_nobody(audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    import pydicom

    manifest = write_cohort(2)
    original = manifest.parent / "images" / "covid-0.png"
    write_dicom(original, read_gray(original))  # the name's ending decides nothing
    code, _, err = audit(*asked(manifest, "--emit", "product", "--emit-as", "dicom", "--classes", NAMES))
    assert code == 0, err
    files = sorted((tmp_path / "product" / "images").iterdir())
    made = [file for file in files if file.suffix == ".dcm"]
    assert 1 < len(made) < len(files), "PNG where the original is no DICOM"
    for file in made:
        data = file.read_bytes()
        assert b"secret" not in data.lower() and b"2020" not in data and b"1933" not in data
        d = pydicom.dcmread(file)
        assert (d.ViewPosition, d.PatientSex, d.PatientAge, d.Modality, d.Manufacturer) == (
            "PA",
            "F",
            "066Y",
            "DX",
            "A maker",
        )
        assert list(d.PixelSpacing) == [0.15, 0.15] and d.ImageType[0] == "DERIVED"
        assert d.PatientID == file.stem and d.StudyDate == "" and "WindowCenter" not in d
        assert {e.keyword for e in d} - set(KEPT_TAGS) <= {
            "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "StudyDate",
            "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientIdentityRemoved", "DeidentificationMethod",
            "SeriesNumber", "InstanceNumber", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
            "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
        }  # fmt: skip
        assert image_key(read_gray(file)) == file.stem
    assert len({pydicom.dcmread(file).StudyInstanceUID for file in made}) == len(made), (
        "no two are compared as one patient's"
    )
    assert dicom_tags(files[-1] if files[-1].suffix == ".png" else manifest.parent / "images" / "normal-0.png") is None
    rows = {f"images/{file.name}": ["0.2", "0.3", "0.5"] for file in files}
    fill(tmp_path / "product" / "answers.csv", rows)
    code, _, err = audit(*asked(manifest, "--predictions", "product/answers.csv", "--classes", NAMES))
    assert code == 0, err


def test_a_damaged_emission_is_one_sentence(audit: Audit, answered: tuple[Path, Path, Rows]) -> None:
    manifest, folder, _ = answered
    about, part = folder / "emission" / "emission.json", folder / "emission" / "part-00000.json"
    finish = asked(manifest, "--predictions", "product/answers.csv", "--classes", NAMES)
    for path, old, new in (
        (part, ".png", "/../../x.png"),
        (part, "{", "["),
        (about, '"form"', '"shape"'),
        (about, '"png"', '"gif"'),
    ):
        before = path.read_text()
        path.write_text(before.replace(old, new, 1))
        for command in (finish, asked(manifest, "--emit", "product", "--classes", NAMES)):
            code, _, err = audit(*command)
            assert code == 4 and "cannot be read" in err, err
            one_paragraph(err)
        path.write_text(before)
    assert store.EmissionFolder(folder).read() is not None
