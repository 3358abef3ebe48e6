"""The page "Bring your model": each of its commands is run as it stands, in a folder with the files that it names."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from audit.data.images import read_gray
from audit.models.opening import open_model
from audit.models.requests import DeclaredInput, ModelRequest
from audit.statistics.outputs import softmax

from .conftest import Audit
from .door_models import CLASSES, SIDE, network, write_onnx, write_pt2, write_script

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "bring-your-model.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NEEDS = {"timm:": "timm", "monai:": "monai", "torchxrayvision:": "torchxrayvision", "vit-folder": "transformers"}


def blocks(kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if found == kind]


def commands() -> list[list[str]]:
    lines = [line for text in blocks("console") for line in text.splitlines()]
    assert all(line.startswith("audit ") for line in lines)
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def server() -> Iterator[str]:
    """Serve what `mypredict.py` of the page answers to a posted PNG; return the address."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import mypredict  # type: ignore[import-not-found]

            with Image.open(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"])))) as picture:
                row = mypredict.predict(np.array(picture)[None])[0]
            data = json.dumps(dict(zip(CLASSES, map(float, row), strict=True))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}/predict"
        finally:
            made.shutdown()
            thread.join()


@pytest.mark.slow
def test_every_command_of_the_page_runs(
    audit: Audit, write_cohort: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    shutil.move(write_cohort(4).parent, tmp_path / "images")
    head, *rows = (tmp_path / "images" / "manifest.csv").read_text().splitlines()
    assert head.startswith("path,")
    (tmp_path / "small.csv").write_text("\n".join([head, *(f"images/{row}" for row in rows)]) + "\n")
    for text in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", text)
        if name is not None:
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
    made = network()
    write_onnx(tmp_path / "net.onnx", made)
    write_pt2(tmp_path / "net.pt2", made)
    write_script(tmp_path / "script.pt", made)
    monkeypatch.syspath_prepend(str(tmp_path))
    import mynets  # type: ignore[import-not-found]

    from audit.models.networks import build_network

    torch.save(mynets.load().state_dict(), tmp_path / "weights.pth")
    torch.save(build_network("resnet18", 3).state_dict(), tmp_path / "resnet.pth")
    write_answers(tmp_path)
    for name, value in {
        "SUITE": "quick", "DETECTOR": "annotated", "BOXES": "images/boxes.json", "RESAMPLES": "100",
        "RELEVANCE_IMAGES": "0", "JUDGE_IMAGES": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AUDIT_{name}", value)
    done, last = 0, {}
    monkeypatch.setenv("MY_SERVER", server)
    for command in commands():
        needed = next((package for mark, package in _NEEDS.items() if mark in " ".join(command)), None)
        if needed is not None:  # tests/test_libraries.py opens those that are installed
            continue
        if "--predictions" in command:
            exec(compile(next(t for t in blocks("python") if t.startswith("# answer.py")), "answer.py", "exec"), {})
        code, out, err = audit(*command)
        assert code == 0, (command, err)
        assert out.splitlines()[-1].startswith(("runs/", "models/", "product/")), out
        last[" ".join(command)] = tmp_path / Path(out.splitlines()[-1]).parent
        done += 1
    assert done >= 14
    # A function, the same behind a server, and the same as a product are one classifier.
    same = [
        next(run for line, run in last.items() if part in line) for part in ("mypredict:", "myserver:", "--predictions")
    ]
    first, *others = ([e["verdict"] for e in json.loads((run / "effects.json").read_text())["effects"]] for run in same)
    assert others == [first, first]
    python = next(text for text in blocks("python") if "run_audit" in text)
    exec(compile(python, "page", "exec"), {})
    (tmp_path / "net.onnx").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises its newer exporter, which needs a further package
        exec(compile(next(text for text in blocks("python") if "torch.onnx.export" in text), "page", "exec"), {})
    exported = ModelRequest(model="net.onnx", classes=CLASSES, declared=DeclaredInput(scale="unit"))
    assert open_model(exported).logits(torch.zeros(3, 3, SIDE, SIDE)).shape == (3, len(CLASSES))
    for name in ("mynets", "mypredict", "myserver", "myfindings"):
        sys.modules.pop(name, None)


def write_answers(folder: Path) -> None:
    """Write what the owner of net.onnx has: a table of the answers of a pipeline."""
    request = ModelRequest(
        model=str(folder / "net.onnx"), classes=CLASSES, declared=DeclaredInput(input_px=(SIDE,), scale="unit")
    )
    bundle = open_model(request)
    lines = ["image," + ",".join(CLASSES)]
    for file in sorted((folder / "images" / "images").iterdir())[:5]:
        row = softmax(bundle.logits(bundle.preprocessing.prepare(read_gray(file))[None]).numpy())[0]
        lines.append(f"images/images/{file.name}," + ",".join(f"{value:.5f}" for value in np.asarray(row)))
    (folder / "answers.csv").write_text("\n".join(lines) + "\n")


def test_every_extra_that_the_page_names_is_one() -> None:
    import tomllib

    extras = tomllib.loads((PAGE.parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r"imageaudit\[(\w+)\]", PAGE.read_text()))
    assert named and named <= set(extras)
    assert importlib.util.find_spec("onnxruntime"), "ONNX needs no extra"


def test_options_that_the_page_names_are_there() -> None:
    import tomllib

    from audit.run.setting import declared_settings

    section = tomllib.loads(blocks("toml")[0])["model"]
    assert {s.name for s in declared_settings().values() if s.section == "model"} >= set(section)
    flags = {s.flag for s in declared_settings().values()} | {"--out"}
    used = set(re.findall(r"(--[a-z][a-z-]+)", PAGE.read_text()))
    assert used <= flags, used - flags
