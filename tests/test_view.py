"""`audit view`: who may ask, what a page holds, and that its pictures are what was predicted."""

from __future__ import annotations

import html
import http.client
import io
import json
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from audit.errors import UsageError
from audit.prediction import shards
from audit.prediction.interrupts import Interrupted
from audit.prediction.table import read_finished
from audit.prediction.variants import Variant
from audit.run.revisited import revisit
from audit.run.settings import Settings
from audit.viewing.cases import MIN_DIGITS, find_image, read_case
from audit.viewing.images import image_columns
from audit.viewing.pictures import CasePictures
from audit.viewing.server import HOST, RunPages, ViewServer

from .conftest import Audit, cohort_in, know_tiny, one_paragraph, tiny_bundle_in
from .golden.make_report import RUN
from .large_run import large_run
from .report_runs import edit, finished_run, kept_run, seal

Served = tuple[ViewServer, list[str]]
HOSTILE = ["</script><script>document.title='owned'</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe{{7*7}}"]


@contextmanager
def served(run: Path, settings: Settings | None = None) -> Iterator[Served]:
    """Serve a run on a free port from a thread; yield the server, and what it said to whoever started it."""
    told: list[str] = []
    finished = read_finished(run)
    pages = RunPages(finished, CasePictures(finished, settings or Settings(), told.append))
    with ViewServer(pages, 0, told.append) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server, told
        finally:
            server.shutdown()
            thread.join(10)
    assert not thread.is_alive()


def ask(
    server: ViewServer, path: str, *, method: str = "GET", host: str | None = None, token: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """Send one request exactly as given; return status, body and headers."""
    lines = [f"{method} /{server.token if token is None else token}/{path} HTTP/1.1"]
    lines += [] if host == "" else [f"Host: {one}" for one in (host or f"{HOST}:{server.server_address[1]}").split("|")]
    with socket.create_connection((HOST, server.server_address[1]), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        body = answer.read()
    return answer.status, body, dict(answer.getheaders())


def data_of(run: Path) -> Path:
    return run.parent.parent / "data" / "manifest.csv"


def names_of(run: Path) -> list[str]:
    return pq.read_table(run / "records.parquet").column("record_id").to_pylist()


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str, int], np.ndarray]]:
    """Return a run whose pictures cover nothing, and every image that its prediction stage saw."""
    folder = tmp_path_factory.mktemp("seen")
    seen: dict[tuple[str, str, int], np.ndarray] = {}
    true = shards.variants

    def watched(scene: Any, *rest: Any) -> Iterator[Variant]:
        for variant in true(scene, *rest):
            seen[scene.record.name, variant.condition, variant.draw] = variant.image.copy()
            yield variant

    with pytest.MonkeyPatch.context() as patch:
        know_tiny(patch)
        patch.setattr(shards, "variants", watched)
        run = finished_run(
            cohort_in(folder / "data", 12), tiny_bundle_in(folder / "models"), folder, show_text=True, workers=1
        )
    return run, seen


@pytest.fixture
def private(small_run_made_once: Path, tiny_architecture: str) -> Path:
    """Return a run whose text may not be shown; nobody may change it."""
    return small_run_made_once


def test_a_case_shows_the_very_images_that_were_predicted(
    predicted: tuple[Path, dict[tuple[str, str, int], np.ndarray]], tiny_architecture: str
) -> None:
    run, seen = predicted
    settings = Settings(data=str(data_of(run)))
    compared = 0
    with served(run, settings) as (server, told):
        for name in names_of(run)[::9]:
            case = read_case(run, name)
            clean = None
            for row in case.rows:
                under = f"picture/{name}/{{}}?condition={row.condition}&draw={row.draw}"
                kind = "clean" if row.condition == "clean" else "edit"
                status, body, headers = ask(server, under.format(kind))
                if not row.applied:
                    assert status == 409
                    assert html.unescape(row.why_not) in body.decode()
                    continue
                assert (status, headers["Content-Type"]) == (200, "image/png"), body
                picture = np.asarray(Image.open(io.BytesIO(body)))
                was = seen[name, row.condition, row.draw]
                assert np.array_equal(picture, was), (name, row.condition, row.draw)
                clean = picture if kind == "clean" else clean
                if kind == "edit":
                    difference = np.asarray(Image.open(io.BytesIO(ask(server, under.format("difference"))[1])))
                    assert np.array_equal(difference, np.abs(was.astype(int) - clean.astype(int)))
                    beside = case.placebo_of(row)
                    status, body, _ = ask(server, under.format("placebo"))
                    if beside is not None and beside.applied:
                        shown = np.asarray(Image.open(io.BytesIO(body)))
                        assert np.array_equal(shown, seen[name, beside.condition, beside.draw])
                    else:
                        assert status == 409
                checked = json.loads(ask(server, f"check/{name}?condition={row.condition}&draw={row.draw}")[1])
                assert checked["same"] is True, checked
                compared += 1
        assert ask(server, f"picture/{names_of(run)[0]}/relevance")[0] == 200
    assert compared > 100
    assert told == []


def test_a_page_opens_with_its_token_alone(private: Path) -> None:
    with served(private) as (server, told):
        port, good = server.server_address[1], server.token
        assert server.server_address[0] == "127.0.0.1"
        assert len(good) >= 43, "256 bits"
        for token in (
            "",
            "x",
            good[:-1],
            good + "x",
            good.lower() if good.lower() != good else good.upper(),
            "%2e%2e",
            "\xe9" * 43,
        ):
            for path in ("", "images.json", "view.js", f"case/{names_of(private)[0]}"):
                status, body, _ = ask(server, path, token=token)
                assert status == 403, token
                assert good.encode() not in body
        for host in (
            "", "evil.example", f"evil.example:{port}", HOST, f"{HOST}:{port + 1}", f"{HOST}.evil.example:{port}", f"[::1]:{port}",
            f"{HOST}:{port}, evil.example",
        ):  # fmt: skip
            assert ask(server, "", host=host)[0] == 421, host
        assert ask(server, "", host=f"localhost:{port}")[0] == 200
        assert ask(server, "", host=f"{HOST}:{port}|evil.example")[0] == 421, "two of them"
        status, body, headers = ask(server, "")
        assert status == 200
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer", "the address holds the token"
        assert good.encode() not in body
        assert ask(server, "", method="HEAD")[:2] == (200, b"")
    with served(private) as (again, _):
        assert again.token != good
    assert told == []


def test_no_path_is_one_of_a_file_and_nothing_is_written(private: Path) -> None:
    before = everything(private.parent)
    name = names_of(private)[0]
    with served(private, Settings(data=str(data_of(private)))) as (server, _):
        for path in (
            "plan.json", "../plan.json", "..%2fplan.json", "case/../../plan.json", "case/..%2f..%2fplan.json", "case/%2e%2e/plan.json",
            "//etc/passwd", "picture//etc/passwd/clean", f"picture/{name}/../../plan.json", f"picture/{name}/nothing", "case/", "case/x",
            f"case/{name}/more", f"case/{name}%00", "report.css/", "view.html.j2", "..%5c..%5cplan.json", "case/" + "a" * 5000,
        ):  # fmt: skip
            status, body, _ = ask(server, path)
            assert status == 404, path
            assert b"schema_version" not in body
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert ask(server, "", method=method)[0] == 405
            assert ask(server, "", method=method, token="x")[0] == 403
        assert ask(server, "", method="BREW")[0] in (400, 501)
        for asked in (
            "",
            "?condition=nothing",
            "?draw=-1",
            "?draw=99999999999",
            "?condition=%00&draw=%F0%9F",
            f"?{'a=1&' * 15}",
        ):
            assert ask(server, f"case/{name}{asked}")[0] == 200, asked
        assert ask(server, f"case/{name}?{'a=1&' * 50}")[0] == 400
        for kind in ("clean", "edit", "placebo", "difference", "relevance"):
            ask(server, f"picture/{name}/{kind}")
    assert everything(private.parent) == before


def test_text_that_may_not_be_shown_is_covered_and_nobody_is_named(private: Path) -> None:
    run = private
    manifest = data_of(run)
    with served(run, Settings(data=str(manifest))) as (server, _):
        parts = [ask(server, path)[1] for path in ("", "images.json")]
        for name in names_of(run):
            parts += [ask(server, f"{what}/{name}?condition=text-mask-inpaint")[1] for what in ("case", "check")]
        case = read_case(run, names_of(run)[0])
        assert case.texts
        picture = np.asarray(Image.open(io.BytesIO(ask(server, f"picture/{case.image}/clean")[1])))
        for text in case.texts:
            assert text.text == ""
            assert set(np.unique(picture[text.y0 : text.y1, text.x0 : text.x1])) <= {90, 150}
    said = b"".join(parts).decode()
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    names = {row[0] for row in rows[1:]} | {Path(row[0]).name for row in rows[1:]} | {row[3] for row in rows[1:]}
    assert {"covid-1.png", "images/covid-1.png", "covid-1"} <= names
    for word in [*names, str(manifest), str(run.parent), "boxes.json", "COVID"]:
        assert word not in said, word


def without(run: Path, folder: Path) -> Path:
    """Copy a run with its data and its model, to be changed."""
    shutil.copytree(run.parent.parent, folder / "all")
    return folder / "all" / "runs" / run.name


def test_what_is_missing_is_one_sentence_that_names_no_file(
    private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = without(private, tmp_path)
    manifest = data_of(run)
    settings = Settings(data=str(manifest))
    first = read_case(run, names_of(run)[0])
    row = next(r for r in first.rows if r.condition == "text-mask-inpaint")
    record = revisit(read_finished(run), settings).records[0]

    def said(settings: Settings, kind: str = "edit", **about: Any) -> tuple[int, str, list[str]]:
        with served(run, settings) as (server, told):
            path = about.get("path") or f"picture/{first.image}/{kind}?condition={row.condition}"
            status, body, _ = ask(server, path)
        text = body.decode(errors="replace")
        if status != 200 or "check" in path:
            assert "Traceback" not in text
            assert str(tmp_path) not in text
            assert record.path.name not in text
        return status, text, told

    check = f"check/{first.image}?condition={row.condition}"
    assert json.loads(said(settings, path=check)[1]) == {
        "same": True,
        "said": "Edit and prediction were computed again and agree with the run.",
    }
    # No model: the picture is drawn, the heatmap is not.
    (run.parent.parent / "models").rename(tmp_path / "models-away")
    assert said(settings)[0] == 200
    status, text, told = said(settings, "relevance")
    assert (status, "the model of the run was moved" in text, len(told)) == (409, True, 1)
    assert "No prediction was computed again" in said(settings, path=check)[1]
    # No manifest that anybody knows, or another one, or none.
    assert "manifest of the run is unknown" in said(Settings())[1]
    status, text, told = said(Settings(data=str(tmp_path / "none.csv")))
    assert (status, "the manifest was moved" in text) == (409, True)
    assert "none.csv" in told[0], "who started the page is told which"
    less = manifest.with_name("less.csv")
    less.write_text("\n".join(line for line in manifest.read_text().splitlines() if "covid-1" not in line))
    assert "is not that of the run" in said(Settings(data=str(less)))[1]
    # Another key.
    with monkeypatch.context() as other:
        other.setenv("AUDIT_KEY", "another key than that of the run")
        assert "the key of the pseudonyms" in said(settings)[1]
    # Another image in its place, and none.
    picture = np.asarray(Image.open(record.path)).copy()
    picture[40:60, 40:60] = 0
    Image.fromarray(picture).save(record.path)
    found = json.loads(said(settings, path=check)[1])
    assert found["same"] is False
    assert "has changed since the run" in found["said"]
    record.path.unlink()
    status, text, told = said(settings)
    assert (status, "was moved, or cannot be read" in text) == (409, True)
    assert any(record.path.name in reason for reason in told)
    # An edit that this version makes in another way.
    changed = kept_plan(run, lambda plan: next(
        c for c in plan["suite"]["conditions"] if c["name"] == row.condition
    ).update(perturbation_version=99))  # fmt: skip
    assert changed
    shutil.copy(private.parent.parent / "data" / record.path.relative_to(run.parent.parent / "data"), record.path)
    assert "made by another version of audit" in said(settings)[1]


def kept_plan(run: Path, change: Callable[[Any], object]) -> bool:
    """Change the plan of a run, and set the hashes right."""
    edit(run / "plan.json", change)
    seal(run)
    return True


def test_foreign_words_stay_words(tmp_path: Path) -> None:
    run = kept_run(tmp_path)
    table = pq.read_table(run / "records.parquet")
    for column in ("source", "site", "view", "sex"):
        cells = pa.array([HOSTILE[i % 3] for i in range(table.num_rows)])
        table = table.set_column(table.schema.get_field_index(column), column, cells)
    pq.write_table(table, run / "records.parquet")
    seal(run)
    with served(run) as (server, _):
        pages = [ask(server, "")[1].decode()]
        _, body, headers = ask(server, "images.json")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Type"] == "application/json"
        outcomes = json.loads(body)["outcomes"]
        pages += [ask(server, f"case/{name}")[1].decode() for name in names_of(run)[:3]]
    for page in pages:
        assert "<script>document" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "exe49" not in page
    assert any("</script>" in word for word in outcomes), "which is no HTML there"
    assert not any("\u202e" in word for word in outcomes)


def test_a_reader_that_leaves_and_one_that_says_nothing_keep_nobody_waiting(
    private: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(private) as (server, told):
        address = (HOST, server.server_address[1])
        silent = [socket.create_connection(address) for _ in range(5)]
        for _ in range(10):
            leaving = socket.create_connection(address)
            leaving.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # a reset in place of an end
            leaving.sendall(f"GET /{server.token}/images.json HTTP/1.0\r\nHost: {HOST}:{address[1]}\r\n\r\n".encode())
            leaving.close()
        garbage = socket.create_connection(address)
        garbage.sendall(b"\x16\x03\x01\x02\x00\x01\xff\xfe\r\n\r\n")
        garbage.close()
        assert ask(server, "images.json")[0] == 200
        for one in silent:
            one.close()
    assert told == []
    assert capfd.readouterr() == ("", ""), "nothing is logged: addresses hold the token"


def test_the_table_says_what_the_cases_say(private: Path) -> None:
    finished = read_finished(private)
    columns = image_columns(finished)
    words = columns["outcomes"]
    for i, name in enumerate(columns["names"]):
        case = read_case(private, name)
        assert case.place == i
        assert (words[columns["label"][i]], words[columns["source"][i]]) == (case.label, case.source)
        assert words[columns["clean"][i]] == case.row("clean").predicted
        for column in columns["conditions"]:
            rows = [r for r in case.rows if r.condition == column["name"] and r.applied]
            if not rows:
                assert (column["predicted"][i], column["change"][i]) == (-1, -1)
                continue
            most = max(rows, key=lambda r: r.change)
            assert column["change"][i] == pytest.approx(1000 * most.change, abs=0.51)
            assert words[column["predicted"][i]] in {r.predicted for r in rows if most.change - r.change < 1e-6}


def test_twenty_thousand_images_are_served_in_columns(tmp_path: Path) -> None:
    run = large_run(RUN, tmp_path / "large", 20_000, n_parts=40)
    with served(run) as (server, _):
        _, body, _ = ask(server, "images.json")
        columns = json.loads(body)
        assert len(columns["names"]) == len(set(columns["names"])) == 20_000
        assert len(body) < 5_000_000
        small = image_columns(read_finished(RUN))
        n = len(small["names"])
        for column, like in zip(columns["conditions"], small["conditions"], strict=True):
            assert column["change"][: 2 * n] == 2 * like["change"]
        assert b"0000000000004e1f" in ask(server, "case/0000000000004e1f")[1], "the last image"
        assert read_case(run, "0000000000004e1f").rows


@given(
    st.lists(st.text("0123abcdef", min_size=6, max_size=8), min_size=1, max_size=30, unique=True),
    st.text("0123abcdefABG", max_size=8),
)
def test_an_image_is_found_by_the_beginning_of_its_name(names: list[str], asked: str) -> None:
    begun = [name for name in names if name.startswith(asked.lower())]
    if asked in names:
        assert find_image(Path("run"), names, asked, plain=False) == asked
    elif len(asked) >= MIN_DIGITS and len(begun) == 1:
        assert find_image(Path("run"), names, asked, plain=False) == begun[0]
    else:
        with pytest.raises(UsageError, match="image"):
            find_image(Path("run"), names, asked, plain=False)
    if asked not in names:
        with pytest.raises(UsageError):
            find_image(Path("run"), names, asked, plain=True)


def test_the_command_prints_an_address_and_ends_with_a_key(
    private: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    asked: list[int] = []

    def ended(server: ViewServer, *_: object) -> None:
        asked.append(server.server_address[1])
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(ViewServer, "serve_forever", ended)
    name = names_of(private)[3]
    code, out, err = audit("view", private, "--data", data_of(private))
    assert code == 0
    assert out.startswith(f"http://127.0.0.1:{asked[0]}/")
    assert out.count("\n") == 1, "standard output holds the address alone"
    assert "12 images" in err
    code, out, _ = audit("view", private, "--case", name[:6], "--condition", "text-mask-inpaint")
    assert (code, out.rstrip().endswith(f"/case/{name}?condition=text-mask-inpaint")) == (0, True)
    for further, says in (
        (("--case", name[:-1] + "zz"), f"Did you mean {name}"),
        (("--case", name, "--condition", "text-mask-inpant"), "Did you mean 'text-mask-inpaint'"),
        (("--port", asked[0]), ""),
    ):
        taken = socket.create_server((HOST, asked[0]))
        code, out, err = audit("view", private, *further)
        taken.close()
        assert (code, out) == (2, "")
        assert says in one_paragraph(err)


def test_a_case_on_the_terminal(private: Path, audit: Audit) -> None:
    name = names_of(private)[3]
    manifest = data_of(private)
    code, out, _ = audit("case", private, name[:7], "--data", manifest, "--json")
    found = json.loads(out)
    case = read_case(private, name)
    assert code == 0
    assert found["image"] == name
    assert [p["change"] for p in found["predictions"]] == [r.change for r in case.rows]
    for row in found["predictions"]:
        if row["change"] is not None and row["placebo_change"] is not None:
            assert row["beyond_placebo"] == pytest.approx(row["change"] - row["placebo_change"])
    assert f"--case {name}" in found["links"]["view"]
    assert found["text"]
    assert all(t["text"] == "" and t["withheld"] for t in found["text"])
    code, out, _ = audit("case", private, name, "--condition", "text-mask-inpaint")
    assert code == 0, "without a manifest the predictions are printed all the same"
    assert "file     unknown: The manifest of the run is unknown." in out
    assert out.count("Use --data MANIFEST.") == 1
    assert "letters-own" not in out
    assert "covid-0.png" not in out
    code, _, err = audit("case", private, name, "--condition", "text-mask-inpant")
    assert (code, "Did you mean 'text-mask-inpaint'" in one_paragraph(err)) == (2, True)
    code, _, err = audit("case", private, name[:-2] + "zz")
    assert (code, f"Did you mean {name}" in one_paragraph(err)) == (2, True)
