"""No identifier leaves the data: none in any file of a run, its exports and its logs; none in the pixels of its pictures."""

from __future__ import annotations

import base64
import csv
import json
import re
import socket
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from audit.data.records import Record, TextRegion
from audit.data.strings import MIN_PATIENTS, StringPolicy, normal_string, policy_for
from audit.prediction.covering import cover_text, covered_context, flatten_relevance
from audit.prediction.table import read_finished
from audit.prediction.variants import cohort_context, make_perturbations, read_scene, variants
from audit.provenance import portable_command, portable_path, without_paths
from audit.run.settings import Settings
from audit.suites.reader import load_suite
from audit.viewing.pictures import CasePictures
from audit.viewing.server import RunPages

from .conftest import CLASSES, Audit, draw_image, marker_box

N_PER_CLASS = 12
PLANTED = {
    "id": "IDKOWALSKI",
    "patient": "PATNOWAK",
    "file name": "FILEJANSEN",
    "folder of the image": "DIRMUELLER",
    "folder of the manifest": "SETGARCIA",
    "manifest's file name": "MANROSSI",
    "home folder and user": "HOMEDUBOIS",
    "host": "HOSTSVENSSON",
    "further column": "COLHORVAT",
    "site of few patients": "SITENOVAK",
    "source of one patient": "SRCFISCHER",
    "source of nine patients": "SRCMARTIN",
    "view": "VIEWRICCI",
    "sex": "SEXLOPEZ",
    "age": "AGEWEBER",
    "findings": "FINDKRAUSE",
    "name of a further column": "NAMEBAUER",
    "DICOM PatientName": "DCMPETROV",
    "DICOM PatientID": "DCMIDSILVA",
    "DICOM PatientBirthDate": "19700107",
    "DICOM AccessionNumber": "ACCPOPESCU",
    "DICOM overlay label": "OVLKIMURA",
    "PNG text": "PNGHANSEN",
    "string of one patient": "OCRSMITH",
    "string of nine patients": "OCRJONES",
    "string with digits": "MRN 77886",
    "date that was read": "1970-01-07",
    "kind in the file of boxes": "KINDMURPHY",
    "name of the file of boxes": "BOXEVANS",
    "unreadable image": "BADWILSON",
    "unusable lung mask": "MASKBROWN",
    "story of the bundle": "STORYMORETTI",
    "baseline's folder": "BASELARSEN",
}
SHOWN = "PORTABLE"
"""A string that the images of enough patients carry."""


def dicom(path: Path, pixels: np.ndarray, number: int) -> None:
    """Write a DICOM file with everything that says who it is, and an overlay plane that prints it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID = f"DCMPETROV^{number}", f"DCMIDSILVA{number}"
    dataset.PatientBirthDate, dataset.AccessionNumber = "19700107", "ACCPOPESCU"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels.tobytes()
    plane = np.zeros(pixels.shape, np.uint8)
    plane[40:48, 40:60] = 1
    for tag, kind, value in (
        (0x60000010, "US", plane.shape[0]), (0x60000011, "US", plane.shape[1]), (0x60000040, "CS", "G"),
        (0x60000050, "SS", [1, 1]), (0x60000100, "US", 1), (0x60000102, "US", 0), (0x60001500, "LO", "OVLKIMURA"),
        (0x60003000, "OW", np.packbits(plane.ravel(), bitorder="little").tobytes()),
    ):  # fmt: skip
        dataset.add_new(tag, kind, value)
    dataset.save_as(path, enforce_file_format=True)


def plant(home: Path) -> tuple[Path, Path]:
    """Write a cohort in which everything bears a name; return the manifest and the file of boxes."""
    folder = home / "SETGARCIA study"
    images = folder / "images" / "DIRMUELLER"
    images.mkdir(parents=True)
    rows, boxes = [], {}
    for i in range(N_PER_CLASS * len(CLASSES)):
        label, pixels = CLASSES[i % 3], draw_image(i, CLASSES[i % 3])
        path = images / f"FILEJANSEN_{i}.{'dcm' if i % 5 == 0 else 'png'}"
        if path.suffix == ".dcm":
            dicom(path, pixels, i)
        else:
            text = PngImagePlugin.PngInfo()
            text.add_text("Patient", "PNGHANSEN")
            Image.fromarray(pixels).save(path, pnginfo=text)
        x0, y0, x1, y1 = marker_box(label)
        texts = [SHOWN, "MRN 77886 DOB 1970-01-07"]
        texts += ["OCRSMITH JOHN"] if i in (0, 36) else []
        texts += ["OCRJONES"] if i < 9 else []
        boxes[str(path.relative_to(folder))] = [
            {"x0": x0, "y0": y0 + 4 * n, "x1": x1, "y1": y1 + 4 * n, "text": text, "kind": "KINDMURPHY"}
            for n, text in enumerate(texts)
        ]
        rows.append(
            {
                # Without an id the path is one.
                "id": f"IDKOWALSKI-{i}" if i % 2 else "",
                "path": str(path.relative_to(folder)),
                "label": label,
                # Sources of one and of nine patients.
                "source": "SRCFISCHER JOHN" if i == 0 else "SRCMARTIN" if i < 10 else "north" if i % 2 else "south",
                "view": "VIEWRICCI" if i % 7 == 0 else "PA",
                "sex": "SEXLOPEZ" if i % 5 == 0 else "female",
                "age": "AGEWEBER" if i % 6 == 0 else "045Y",
                "findings": "FINDKRAUSE",
                "site": f"SITENOVAK {i}" if i < 9 else "clinic",
                "patient_id": f"PATNOWAK-{i}",
                "patient_name": "COLHORVAT",
                "NAMEBAUER": "1",
                "lung_mask": "images/MASKBROWN.png" if i == 4 else "",
            }
        )
    (folder / "images" / "BADWILSON.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "images" / "MASKBROWN.png")
    rows.append({**rows[1], "id": "", "path": "images/BADWILSON.png"})
    manifest = folder / "MANROSSI.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "BOXEVANS.json").write_text(json.dumps({"images": boxes}))
    return manifest, folder / "BOXEVANS.json"


def said_in(path: Path) -> str:
    """Return everything that a file says: its bytes, its tables' cells, and what is packed into them."""
    data = path.read_bytes()
    text = data.decode("latin-1") + data.decode("utf-16-le", "ignore") + data.decode("utf-8", "ignore")
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        text += repr(table.to_pylist()) + repr(table.schema.metadata) + repr(pq.ParquetFile(path).metadata)
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as picture:
            text += repr(picture.info)
    for packed in re.findall(r"base64,([A-Za-z0-9+/=]+)", text):
        text += base64.b64decode(packed).decode("latin-1")
    return text + urllib.parse.unquote(text)


def found_in(text: str) -> list[str]:
    folded = text.casefold()
    return [what for what, name in PLANTED.items() if name.casefold() in folded]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "HOMEDUBOIS"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "HOMEDUBOIS")
    monkeypatch.setattr(socket, "gethostname", lambda: "HOSTSVENSSON")
    monkeypatch.setattr("platform.node", lambda: "HOSTSVENSSON")
    return home


@pytest.mark.slow
def test_planted_identifiers_are_in_no_file_of_a_run(
    audit: Audit, home: Path, write_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest, boxes = plant(home)
    story = {
        "manifest": f"../../{manifest.name}",
        "starting_weights": f"weights of {home}/STORYMORETTI/w.pth",
        "file": f"{home}/STORYMORETTI/w.pth",
        "steps": [{"from": "../STORYMORETTI/x y/w.pth"}],
    }
    write_bundle("C", provenance=story)
    asked = [
        "run",
        "--model",
        "C",
        "--data",
        manifest,
        "--detector",
        "annotated",
        f"--boxes={boxes}",
        "--suite",
        "quick",
    ]
    asked += ["--resamples", 100, "--judge-images", 0, "--relevance-images", 40, "--on-bad-image", "skip", "--gate"]
    asked += ["--cache", home / "cache"]
    logs = []

    def ran(*arguments: object) -> str:
        code, out, err = audit(*arguments)
        assert code in (0, 1, 3, 5), (arguments, err)  # 5: with another seed letters may fit on other images
        logs.append((" ".join(map(str, arguments[:2])), out + err))
        return out

    run = Path(ran(*asked).splitlines()[-1]).parent
    policy_text = said_in(run / "report.html")
    assert SHOWN in policy_text, "or the test would pass with no text at all"
    assert "Stripes cover" in policy_text
    places = []
    for form in ("model-card", "cyclonedx"):
        ran("export", form, run)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    ran("gate", run, "--junit", "junit.xml", "--sarif", "a.sarif", "--code-quality", "quality.json", "--github")
    ran("gate", run, "--json")
    (home / "BASELARSEN").mkdir()
    baseline = home / "BASELARSEN" / "audit-baseline.json"
    audit("baseline", "accept", run, "--file", baseline)
    Path("audit.toml").write_text(f'[gate]\nbaseline = "{baseline}"\n')
    later = Path(ran(*asked, "--seed", 1).splitlines()[-1]).parent
    ran("baseline", "show", "--json")
    ran("gate", later, "--baseline", baseline)
    ran("diff", later, run)
    ran("diff", later, run, "--json")
    ran("diff", later, baseline, "--md")
    ran("report", run)
    ran("report", run, later, "--compare", "--out", "compare.html")
    ran("verify", run)
    for folder in (run, later):
        places += [p for p in folder.rglob("*") if p.is_file()]
    places += [Path(n) for n in ("junit.xml", "a.sarif", "quality.json", "step.md", "compare.html")]
    places += [baseline, baseline.with_suffix(".parquet")]
    # Files for a product that is not loaded: of DICOM originals with tags, of others without.
    product = [a for a in asked if a not in ("--gate", "--model", "C")]
    ran(*product, "--emit", "product", "--emit-as", "dicom", "--classes", "normal,pneumonia,covid")
    places += [p for p in Path("product").rglob("*") if p.is_file()]
    assert {p.suffix for p in places} >= {
        ".dcm",
        ".csv",
        ".parquet",
        ".json",
        ".html",
        ".jpg",
        ".png",
        ".xml",
        ".md",
        ".safetensors",
    }
    # Every page of `audit view`, and what it says of images that cannot be drawn or compared.
    finished = read_finished(run)
    drawn = CasePictures(finished, Settings(model="C", data=str(manifest)))
    pages = RunPages(finished, drawn)
    shown = ["", "images.json"]
    shown += [
        f"{what}/{name}" for name in finished.table.record_ids.tolist()[::5] for what in ("case", "check", "picture")
    ]
    for path in shown:
        answer = pages.answer(path if "picture" not in path else f"{path}/edit", {"condition": "text-mask-inpaint"})
        text = answer.body.decode() if answer.kind != "image/png" else ""
        logs.append((f"view {path}", text))
    assert sum("agree with the run" in text for _, text in logs) == len(finished.table.record_ids[::5])
    leaks = {str(p): found for p in places if (found := found_in(said_in(p) + str(p.name)))}
    # The terminal lists the columns of the table by their names; no file does.
    leaks |= {log: found for log, text in logs if (found := found_in(text.replace("NAMEBAUER", "")))}
    assert leaks == {}
    assert "columns ignored: patient_name, NAMEBAUER" in logs[0][1]
    assert {r["source"] for r in pq.read_table(run / "records.parquet").to_pylist()} == {
        "north", "south", "source 1 (withheld)", "source 2 (withheld)",
    }  # fmt: skip

    # What was withheld is still told apart, and the groups of words are the same when the run is read back.
    regions = pq.read_table(run / "regions.parquet").to_pylist()
    assert {r["text"] for r in regions} == {SHOWN, ""}
    assert sum(r["withheld"] for r in regions) == sum(r["text"] == "" for r in regions) > 36
    table = read_finished(run).table
    assert {word: int(images.sum()) for word, images in table.words.items()} == {SHOWN: 36}
    assert set(table.groups["site"].tolist()) == {"", "clinic"}
    groups = {e["group"] for e in json.loads((run / "effects.json").read_text())["effects"]}
    assert {g for g in groups if g.startswith("word=")} == {f"word={SHOWN}"}
    notes = " ".join(json.loads((run / "plan.json").read_text())["data"]["notes"])
    assert "1 unreadable image left out" in notes
    assert "6 values of the column age are not understood" in notes
    assert "1 lung masks cannot be used" in notes


def test_plain_ids_and_a_name_of_the_data_are_asked_for(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    from .conftest import quick_audit

    manifest = write_cohort(3)
    out = audit(*quick_audit(manifest, "--plain-ids", "--data-name", "our films"))[1]
    run = Path(out.splitlines()[-1]).parent
    assert "images/covid-0.png" in said_in(run / "records.parquet")
    assert json.loads((run / "plan.json").read_text())["data"]["name"] == "our films"
    assert json.loads((run / "plan.json").read_text())["privacy"] == {
        "key": None,
        "plain_ids": True,
        "show_text": False,
    }
    code, out, _ = audit("case", run, "images/covid-0.png", "--data", manifest)
    assert (code, "covid-0" in out) == (0, True)


def people(n: int, *, known: bool = True) -> list[Record]:
    return [
        Record(id=f"r{i}", path=Path("x"), label="a", patient=f"p{i}" if known else f"r{i}", patient_known=known)
        for i in range(n)
    ]


def test_strings_are_shown_from_ten_patients_on() -> None:
    read = [(i, "Portable ") for i in range(MIN_PATIENTS)] + [(i, "SMITH") for i in range(MIN_PATIENTS - 1)]
    read += [(i, text) for i in range(20) for text in ("MRN 77886", "ROOM ٣", "III Ⅳ", "一九七〇", " ")]
    policy = policy_for(read, people(20))
    assert policy.shown == {"PORTABLE"}
    assert policy.shows(" portable")
    assert not policy.shows("PORTABLE SMITH")
    assert policy_for(read, people(20, known=False)).shown == set(), (
        "who is on an image must be known to count patients"
    )
    one = [replace(r, patient="same") for r in people(20)]
    assert policy_for(read, one).shown == set()


@given(st.lists(st.tuples(st.integers(0, 29), st.text(max_size=20)), max_size=80))
def test_what_passes_the_policy_never_tells_who(read: list[tuple[int, str]]) -> None:
    records = [replace(r, patient=f"p{i // 2}") for i, r in enumerate(people(30))]
    policy = policy_for(read, records)
    for text in {t for _, t in read}:
        carried = {records[i].patient for i, t in read if normal_string(t) == normal_string(text)}
        fine = len(carried) >= MIN_PATIENTS and not any(c.isnumeric() for c in text) and text.strip() != ""
        assert policy.shows(text) is fine
    regions = tuple(TextRegion(x0=0, y0=0, x1=1, y1=1, text=t) for _, t in read)
    assert all(not r.text or policy.shows(r.text) for r in policy.redact(regions))
    assert [bool(r.text) for r in policy.redact(regions)] == [policy.shows(r.text) for r in regions]
    assert policy.covered(regions) == tuple(r for r in regions if not policy.shows(r.text))


def written_cohort(folder: Path, ink: int) -> list[Record]:
    """Write images of two sources and classes whose withheld text is written with another pen each time."""
    folder.mkdir()
    records = []
    for i in range(8):
        label = CLASSES[i % 2]
        image = draw_image(i, label)
        image[60:72, 8:60] = np.random.default_rng((ink, i)).integers(0, 256, (12, 52))
        Image.fromarray(image).save(folder / f"{i}.png")
        records.append(
            Record(id=f"r{i}", path=folder / f"{i}.png", label=label, patient=f"p{i}", source="n" if i < 4 else "s")
        )
    return records


@pytest.mark.parametrize("suite", ["full"])
def test_pictures_do_not_depend_on_what_is_covered(tmp_path: Path, suite: str) -> None:
    """Whatever stands under the stripes, every picture of every edit is the same to the pixel."""
    shown = TextRegion(x0=4, y0=4, x1=18, y1=12, text="L")
    hidden = TextRegion(x0=9, y0=61, x1=59, y1=71, text="SMITH JOHN")
    conditions = load_suite(suite)
    perturbations = make_perturbations(conditions)
    drawn, plain = [], []
    for ink in (1, 2):
        records = written_cohort(tmp_path / str(ink), ink)
        regions = {r.id: (shown, hidden) for r in records}
        policy = StringPolicy(shown=frozenset({"L"}))
        context = cohort_context(records, regions, seed=0)
        pictures = covered_context(context, records, {r.id: policy.covered(regions[r.id]) for r in records})
        for record in records[:3]:
            drawn.append([v.image for v in variants(read_scene(record, pictures), conditions, perturbations, 0)])
            plain.append([v.image for v in variants(read_scene(record, context), conditions, perturbations, 0)])
    n = len(drawn) // 2
    names = [c.name for c in conditions.conditions for _ in range(c.draws)]
    for one, two in zip(drawn[:n], drawn[n:], strict=True):
        assert [name for name, a, b in zip(names, one, two, strict=True) if not np.array_equal(a, b)] == []
    assert any(not np.array_equal(a, b) for a, b in zip(plain[0], plain[n], strict=True)), "or nothing was hidden"


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30), st.integers(0, 5))
def test_nothing_is_left_of_a_covered_region(x0: int, y0: int, width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = (rng.integers(0, 256, (48, 50), np.uint8) for _ in range(2))
    region = TextRegion(x0=x0, y0=y0, x1=min(50, x0 + width), y1=min(48, y0 + height))
    outside = np.ones((48, 50), bool)
    outside[max(0, region.y0 - 20) : region.y1 + 20, max(0, region.x0 - 20) : region.x1 + 20] = False
    two[outside] = one[outside]
    inside = np.s_[region.y0 : region.y1, region.x0 : region.x1]
    assert np.array_equal(cover_text(one, [region])[inside], cover_text(two, [region])[inside])
    assert np.array_equal(cover_text(one, [region])[outside], one[outside])
    maps = rng.normal(size=(2, 48, 50)).astype(np.float32)
    flat = flatten_relevance(maps, [(region.x0, region.y0, region.x1, region.y1)])
    assert flat.sum() == pytest.approx(maps.sum(), abs=0.01)
    assert np.ptp(flat[0][inside]) == 0


@given(st.text("abC:./\\~ ", max_size=30))
def test_a_path_that_leaves_the_folder_keeps_its_last_part_alone(path: str) -> None:
    kept = portable_path(path)
    assert kept == path or not any(c in kept for c in "/\\")


def test_paths_in_commands_and_stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SMITH.csv").touch()
    (tmp_path / "audit").mkdir()
    command = [
        "audit",
        "run",
        "--model",
        "C",
        "--data",
        "SMITH.csv",
        "--boxes=/home/jane/b.json",
        "--level",
        "0.9",
        "-x",
        "..\\y",
    ]
    assert portable_command(command) == [
        "audit", "run", "--model", "C", "--data", "PATH", "--boxes=PATH", "--level", "0.9", "-x", "PATH",
    ]  # fmt: skip
    story = {
        "manifest": "a.csv",
        "w": "read from /home/jane/w.pth (x)",
        "n": 3,
        "l": ["~/a b/c.pt", "https://h.org/a/b"],
    }
    assert without_paths(story) == {"w": "read from w.pth (x)", "n": 3, "l": ["c.pt", "https://h.org/a/b"]}
