"""Make `report.html` from the finished run beside it, in `tiny-run`, as `tests/test_reports_golden.py` expects it.

    python -m tests.golden.make_report         # after a change of templates: the page anew, to be read in the diff
    python -m tests.golden.make_report --run   # after a change of what runs hold: the run anew too, half a minute

The run is kept, not repeated by the test, as predictions differ between machines in their last digits. It holds what reports
read: the heatmaps and the machine's name are taken out. In the page, the style, the script and the bytes of pictures are replaced by
their digests, so that the diff shows what a reader would see changed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

FOLDER = Path(__file__).parent
RUN, PAGE = FOLDER / "tiny-run", FOLDER / "report.html"
N_CASES = 2
SUITE = """\
name = "tiny"
version = 1
description = "One edit, its placebo, a part kept alone, a control."

[[condition]]
name = "text-mask-black"
perturbation = "text-mask"
role = "edit"
suspect = "the text"
placebo = "placebo-mask-black"
parameters = { fill = "black" }
question = "Is text needed?"

[[condition]]
name = "placebo-mask-black"
perturbation = "placebo-mask"
role = "placebo"
draws = 2
parameters = { fill = "black" }

[[condition]]
name = "letters-own"
perturbation = "paste-letters"
role = "control"
parameters = { source = "own" }
"""


def normalised(page: str) -> str:
    """Return a page with its style, script, policy and pictures replaced by digests."""

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    for tag in ("style", "script"):
        page = re.sub(
            rf"<{tag}>(.*?)</{tag}>", lambda m, tag=tag: f"<{tag}>left out</{tag}>", page, count=1, flags=re.S
        )
    page = re.sub(r"'sha256-[^']+'", "'sha256-left-out'", page)
    return re.sub(
        r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)", lambda m: f"data:image/{m[1]};digest,{digest(m[2])}", page
    )


def rendered() -> str:
    """Return the normalised page of the kept run."""
    from audit.reports.page.html import MAX_BYTES, within_budget
    from audit.reports.reading.folder import read_run

    return normalised(within_budget(read_run(RUN), MAX_BYTES).html.decode())


def audited(folder: Path) -> Path:
    """Audit 36 drawn images with an untrained network, enough for groups by class and word; return the run folder."""
    from audit.models.networks import build_network
    from audit.models.preprocessing import Preprocessing
    from audit.models.saving import save_bundle
    from audit.run.pipeline import run_audit
    from audit.run.settings import Settings
    from tests.conftest import CLASSES, draw_image, marker_box

    folder = folder / "36 films"  # the cohort's name is its folder's
    folder.mkdir()
    torch.manual_seed(0)
    network = build_network("densenet-small", len(CLASSES)).eval()
    story = {"provenance": {"network": "A", "starting_weights": "random weights"}, "metrics": _story()}
    bundle = save_bundle(
        folder / "models" / "A", network, name="A", architecture="densenet-small", classes=CLASSES, task="single-label",
        preprocessing=Preprocessing(size_px=(64, 64)), splits={}, **story,
    )  # fmt: skip
    rows, boxes = [], {}
    for i in range(36):
        label = CLASSES[i % 3]
        name = f"{i}.png"
        Image.fromarray(draw_image(i, label)).save(folder / name)
        x0, y0, x1, y1 = marker_box(label)
        boxes[name] = [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "text": f"<{label.upper()}>"}]
        source = "north & west" if i % 2 else "south"
        rows.append({"path": name, "label": label, "source": source, "patient_id": f"p{i}", "age": 30 + i})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "boxes.json").write_text(json.dumps({"schema_version": 1, "images": boxes}))
    (folder / "tiny.toml").write_text(SUITE)
    settings = Settings(
        model=str(bundle), data=str(folder / "manifest.csv"), suite=str(folder / "tiny.toml"), detector="annotated",
        boxes=str(folder / "boxes.json"), runs=str(folder / "runs"), cache=str(folder / "cache"), resamples=200,
        data_name="36 films",
    )  # fmt: skip
    return run_audit(settings, judge_gates=True, command=["audit", "run"], on_stage=lambda *_: lambda: None)[0]


def _story() -> dict[str, object]:
    epochs = [
        {"phase": "all", "epoch": e, "train_loss": 1 / e, "validation_loss": 1.2 / e, "validation_score": 1 - 0.5 / e}
        for e in (1, 2, 3)
    ]
    end = {"phase": "all", "epoch": 3, "best_epoch": 3, "validation_loss": 0.4, "found": {"accuracy": 0.75}}
    confusion = {"classes": ["normal", "pneumonia", "covid"], "counts": [[2, 0, 1], [0, 3, 0], [1, 1, 4]]}
    return {"curves": {"epochs": epochs, "phases": [end]}, "test": {"accuracy": 0.75, "confusion": confusion}}


def keep(made: Path) -> None:
    """Keep of a run what reports read, without what is of one machine."""
    from audit.store.folder import RunFolder

    shutil.rmtree(made / "relevance", ignore_errors=True)
    cases = json.loads((made / "examples" / "examples.json").read_text())
    (made / "examples" / "examples.json").write_text(json.dumps({**cases, "examples": cases["examples"][:N_CASES]}))
    for file in (made / "examples").glob("[0-9]*"):
        if int(file.name.split("-")[0]) > N_CASES:
            file.unlink()
    document = json.loads((made / "run.json").read_text())
    document |= {
        "files": RunFolder(made).hashes(), "git_commit": None, "platform": "a machine", "cpu_count": 2, "timings": {"predicting": 1.0},
        "python": "3", "packages": {"torch": "2"}, "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
    }  # fmt: skip
    (made / "run.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.copytree(made, RUN)


def main() -> None:
    """Rewrite the page, and the run if it is asked for."""
    if "--run" in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            keep(audited(Path(folder)))
    PAGE.write_text(rendered(), encoding="utf-8")
    print(PAGE.name)


if __name__ == "__main__":
    main()
