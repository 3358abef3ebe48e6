"""Names made with a key: the same for the same key, and nothing to anyone without it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.pseudonyms import PLAIN, Pseudonyms, find_pseudonyms, key_path, make_pseudonyms, shown_path
from audit.errors import StoreError, UsageError

from .conftest import CLASSES, Audit, one_paragraph, quick_audit
from .report_runs import finished_run

ONE, OTHER = Pseudonyms(key=b"0123456789abcdef"), Pseudonyms(key=b"0123456789abcdeg")


@given(st.text(), st.text())
def test_names_are_keyed_and_tell_apart(a: str, b: str) -> None:
    expected = hmac.new(b"0123456789abcdef", b"image\0" + a.encode("utf-8", "surrogateescape"), hashlib.sha256)
    assert ONE.image(a) == expected.hexdigest()[:16]
    assert (ONE.image(a) == ONE.image(b)) is (a == b)
    assert ONE.image(a) != OTHER.image(a)
    assert ONE.image(a) != ONE.patient(a), "an image without a patient column must not give the patient's name away"
    assert (PLAIN.image(a), PLAIN.patient(a)) == (a, a)


def test_the_key_itself_is_never_shown() -> None:
    assert "0123" not in repr(ONE)
    assert ONE.fingerprint != OTHER.fingerprint
    assert len(str(ONE.fingerprint)) == 8
    assert PLAIN.fingerprint is None


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("AUDIT_KEY", "AUDIT_KEY_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield tmp_path / "home"


def test_a_key_is_made_once_for_its_owner_alone(home: Path) -> None:
    assert find_pseudonyms() is None
    assert not home.exists(), "looking makes nothing"
    made = make_pseudonyms()
    file = home / ".config/audit/key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().strip()) == 64
    assert list(file.parent.iterdir()) == [file]
    assert make_pseudonyms().fingerprint == made.fingerprint
    assert shown_path(file) == "~/.config/audit/key", "a log does not say whose home it is"


def test_processes_that_start_at_once_share_one_key(home: Path) -> None:
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(make_pseudonyms().fingerprint)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_where_the_key_comes_from(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert key_path() == tmp_path / "xdg/audit/key"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert key_path() == home / ".config/audit/key"
    monkeypatch.setenv("AUDIT_KEY_FILE", str(tmp_path / "mine"))
    first = make_pseudonyms()
    assert (tmp_path / "mine").is_file()
    monkeypatch.setenv("AUDIT_KEY", " 0123456789abcdef\n")
    assert make_pseudonyms().fingerprint == ONE.fingerprint != first.fingerprint
    assert not home.exists()


def test_keys_that_cannot_be_used(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUDIT_KEY", "hunter2")
    with pytest.raises(UsageError, match=r"AUDIT_KEY has 7 bytes; at least 16") as short:
        make_pseudonyms()
    assert "hunter2" not in str(short.value)
    monkeypatch.delenv("AUDIT_KEY")
    monkeypatch.setenv("AUDIT_KEY_FILE", str(tmp_path))
    with pytest.raises(StoreError, match="cannot be read"):
        make_pseudonyms()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUDIT_KEY_FILE", str(tmp_path / "file" / "key"))
    with pytest.raises(StoreError, match="AUDIT_KEY"):
        make_pseudonyms()
    monkeypatch.setenv("AUDIT_KEY_FILE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="0 bytes"):
        make_pseudonyms()


@pytest.fixture
def runs(
    write_cohort: Callable[..., Path], known_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """Return runs of one plan under two keys."""
    manifest, made = write_cohort(5), {}
    for key in ("first key of the test", "other key of the test"):
        monkeypatch.setenv("AUDIT_KEY", key)
        made[key.split()[0]] = finished_run(
            manifest, known_bundle, tmp_path / key.split()[0], suite="quick", relevance_images=0, judge_images=0
        )
    return made


def names(run: Path) -> list[str]:
    return pq.read_table(run / "records.parquet").column("record_id").to_pylist()


def test_the_key_decides_names_and_no_result(
    runs: dict[str, Path], audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = runs["first"], runs["other"]
    assert first.name == other.name, "the plan's hash is the same"
    assert not set(names(first)) & set(names(other))
    for file in ("effects.json", "controls.json", "conditions.json", "source_probe.json"):
        assert (first / file).read_bytes() == (other / file).read_bytes()
    changes = json.loads(audit("diff", first, other, "--json")[1])["changes"]
    assert all("pseudonyms were made with the key" in c["why_not"] and "AUDIT_KEY" in c["why_not"] for c in changes)
    assert audit("baseline", "accept", first)[0] == 0
    held = json.loads(audit("gate", other, "--baseline", "audit-baseline.json", "--json")[1])
    risen = {g["status"] for g in held["gates"] if "rise" in g["id"]}
    assert risen
    assert not risen & {"pass", "fail"}
    same = json.loads(audit("diff", first, "audit-baseline.json", "--json")[1])["changes"]
    assert any(c["change"] and c["change"]["estimate"] == 0 for c in same), "read back, its images have their names"


def test_another_key_does_not_go_on_with_a_run(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest, bundle = tmp_path / "data/manifest.csv", tmp_path / "models/C"
    again = {"suite": "quick", "relevance_images": 0, "judge_images": 0}
    with pytest.raises(StoreError, match="started with the key"):
        finished_run(manifest, bundle, tmp_path / "first", **again)
    plain = finished_run(manifest, bundle, tmp_path / "first", plain_ids=True, **again)
    assert plain != runs["first"]
    assert sorted(names(plain)) == sorted(
        f"images/{c}-{i}.png" for c in ("normal", "pneumonia", "covid") for i in range(5)
    )
    # Sources of few patients have their own names in the one, and neutral ones in the other.
    effects = [
        [e for e in json.loads((run / "effects.json").read_text())["effects"] if not e["group"].startswith("source=")]
        for run in (plain, runs["first"])
    ]
    assert effects[0] == effects[1]


def test_a_committed_baseline_cannot_be_guessed(runs: dict[str, Path], audit: Audit, tmp_path: Path) -> None:
    assert audit("baseline", "accept", runs["first"])[0] == 0
    document = json.loads((tmp_path / "audit-baseline.json").read_text())
    table = pq.read_table(tmp_path / "audit-baseline.parquet").to_pandas()
    images = list(dict.fromkeys(table["image"]))
    ids = sorted(f"images/{c}-{i}.png" for c in ("normal", "pneumonia", "covid") for i in range(5))
    assert len(images) == len(ids)
    known = [str(value) for part in document["identity"].values() for value in part.values() if isinstance(value, str)]
    guesses = {}
    for guess in [*ids, *(Path(i).name for i in ids), *(Path(i).stem for i in ids)]:
        for salt in ["", *known]:
            for how in ("sha256", "sha1", "md5", "blake2b", "sha512"):
                for message in (guess, f"{salt}\0{guess}", f"{salt}{guess}", f"{guess}{salt}"):
                    guesses[hashlib.new(how, message.encode()).hexdigest()[:16]] = guess
                guesses[hmac.new(salt.encode(), f"image\0{guess}".encode(), how).hexdigest()[:16]] = guess
    assert not set(images) & set(guesses), "nothing that stands in the file is the key"
    key = Pseudonyms(key=b"first key of the test")
    assert sorted(images) == sorted(map(key.image, ids)), "with the key every one is found"
    assert images == sorted(images), "the order of rows is that of the names, so that it tells nothing"
    # Nor does the order of the run's own files tell more than the pixels do.
    assert names(runs["first"]) != [key.image(i) for i in ids]
    joint = {hashlib.sha256(json.dumps(ids, indent=n).encode()).hexdigest() for n in (None, 2)}
    joint |= {hashlib.sha256((json.dumps(ids, indent=2) + "\n").encode()).hexdigest()}
    assert document["identity"]["data"]["records_hash"] not in joint, "nor can a list of all ids be tested"


def test_a_case_is_found_with_key_and_manifest(
    runs: dict[str, Path], audit: Audit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, manifest = runs["first"], tmp_path / "data/manifest.csv"
    monkeypatch.setenv("AUDIT_KEY", "first key of the test")
    name = Pseudonyms(key=b"first key of the test").image("images/covid-3.png")
    code, out, _ = audit("case", run, name, "--data", manifest, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["id"], found["patient"], found["label"]) == ("images/covid-3.png", "covid-1", "covid")
    assert found["path"] == str(tmp_path / "data/images/covid-3.png")
    rows = [r for p in (run / "predictions").glob("*") for r in pq.read_table(p).to_pylist() if r["record_id"] == name]
    assert len(found["predictions"]) == len(rows) > 5
    clean = next(r for r in rows if r["condition"] == "clean")
    assert found["predictions"][0]["probabilities"] == dict(zip(CLASSES, clean["probabilities"], strict=True))
    code, out, _ = audit("case", run, name[:6].upper(), "--data", manifest)
    assert code == 0
    assert "images/covid-3.png" in out
    assert "text-mask-inpaint" in out

    for asked, code, says in (
        (("ffffffffffffffff",), 2, "no image called"),
        ((name[:3],), 2, "at least its first 4 digits"),
        ((name, "--data", tmp_path / "none.csv"), 2, "does not exist"),
    ):
        further = () if "--data" in asked else ("--data", manifest)
        given = audit("case", run, *asked, *further)
        assert given[0] == code
        assert says in one_paragraph(given[2])
    code, out, _ = audit("case", run, name)
    assert (code, "covid-3" in out, "Use --data MANIFEST" in out) == (0, False, True), "predictions need no manifest"
    (tmp_path / "data/images/covid-3.png").rename(tmp_path / "data/images/moved.png")
    assert audit("case", run, name, "--data", manifest)[0] == 0, "no image is opened"
    lines = manifest.read_text().splitlines()
    (tmp_path / "data/more.csv").write_text("\n".join([*lines, lines[1].replace("normal-0", "left-out")]))
    left_out = Pseudonyms(key=b"first key of the test").image("images/left-out.png")
    code, out, _ = audit("case", run, left_out, "--data", tmp_path / "data/more.csv")
    assert (code, "left-out.png" in out, "has no predictions of this image" in out) == (0, True, True)
    (tmp_path / "data/less.csv").write_text("\n".join(line for line in lines if "covid-3" not in line))
    code, _, err = audit("case", run, name, "--data", tmp_path / "data/less.csv")
    assert (code, "No record of" in one_paragraph(err)) == (4, True)


def test_without_the_key_no_case_is_found(
    runs: dict[str, Path], audit: Audit, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ("case", runs["first"], names(runs["first"])[0], "--data", tmp_path / "data/manifest.csv")
    code, out, err = audit(*asked)
    assert (code, out) == (4, "")
    assert "no key was found" in one_paragraph(err)
    assert not home.exists(), "a key made now would be of no use"
    monkeypatch.setenv("AUDIT_KEY", "other key of the test")
    code, out, err = audit(*asked)
    assert (code, out) == (4, "")
    assert "the key in use is" in one_paragraph(err)


def test_the_first_run_says_that_it_made_a_key(
    audit: Audit, home: Path, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    manifest = write_cohort(3)
    code, _, err = audit(*quick_audit(manifest))
    assert code == 0
    made = next(line for line in err.splitlines() if "created the key" in line)
    assert "~/.config/audit/key" in made
    assert str(home) not in err
    assert "created the key" not in audit(*quick_audit(manifest))[2]
    assert os.environ.get("AUDIT_KEY") is None
