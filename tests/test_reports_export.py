"""Exports: the run's numbers in the forms of other tools, held against the rules of those forms."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from audit.reports.export.cyclonedx import cyclonedx
from audit.reports.export.mlflow import mlflow_numbers
from audit.reports.export.model_card import model_card
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView

from .conftest import Audit, one_paragraph
from .documents import plan_with
from .golden.make_report import RUN
from .report_runs import check, edit

HOSTILE = '</script>: \u202egnp\u2028---\n- {x: [1]} "q" \\ \U0001f600' + "W" * 300

TEXT = {"type": "string"}
# bom-1.6.schema.json: its required fields, and the fields of the records that are closed (additionalProperties: false).
CYCLONEDX: dict[str, Any] = {
    "type": "object",
    "required": ["bomFormat", "specVersion"],
    "additionalProperties": False,
    "properties": {
        "bomFormat": {"enum": ["CycloneDX"]},
        "specVersion": {"const": "1.6"},
        "serialNumber": {
            "type": "string",
            "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        },
        "version": {"type": "integer"},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d|Z)$"},
                "properties": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {"name": TEXT, "value": TEXT},
                    },
                },
            },
        },
        "components": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "name"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["machine-learning-model"]},
                    "bom-ref": {"type": "string", "pattern": "."},
                    "name": TEXT,
                    "version": TEXT,
                    "hashes": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["alg", "content"],
                            "additionalProperties": False,
                            "properties": {
                                "alg": {"enum": ["SHA-256"]},
                                "content": {"type": "string", "pattern": "^[a-fA-F0-9]{64}$"},
                            },
                        },
                    },
                    "modelCard": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "modelParameters": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "task": TEXT,
                                    "modelArchitecture": TEXT,
                                    "datasets": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["type"],
                                            "additionalProperties": False,
                                            "properties": {"type": {"enum": ["dataset"]}, "name": TEXT},
                                        },
                                    },
                                },
                            },
                            "quantitativeAnalysis": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "performanceMetrics": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "additionalProperties": False,
                                            "properties": {
                                                "type": TEXT,
                                                "value": TEXT,
                                                "slice": TEXT,
                                                "confidenceInterval": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "properties": {"lowerBound": TEXT, "upperBound": TEXT},
                                                },
                                            },
                                        },
                                    }
                                },
                            },
                            "considerations": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {"technicalLimitations": {"type": "array", "items": TEXT}},
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture(params=["as it is", "hostile"])
def view(request: pytest.FixtureRequest) -> RunView:
    """Return a kept run, and the same under names that would break a form that trusted them."""
    run = read_run(RUN)
    if request.param == "as it is":
        return run
    plan = plan_with(run.plan, model={"name": HOSTILE, "architecture": HOSTILE}, data={"name": HOSTILE})
    return dataclasses.replace(run, plan=plan)


def header(card: str) -> Any:
    """Parse the card's YAML header as a hub does."""
    yaml = pytest.importorskip("yaml")
    lines = card.splitlines()
    assert lines[0] == "---"
    return yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))


def test_cyclonedx_obeys_the_rules_of_its_schema(view: RunView) -> None:
    document = json.loads(cyclonedx(view))
    check(document, CYCLONEDX, "bom")
    assert cyclonedx(view) == cyclonedx(view)
    for broken in ({**document, "bomFormat": "x"}, {**document, "serialNumber": "1"}, {**document, "more": 1}):
        with pytest.raises(AssertionError):
            check(broken, CYCLONEDX, "bom")
    (component,) = document["components"]
    del component["name"]
    with pytest.raises(AssertionError):
        check(document, CYCLONEDX, "bom")


def test_cyclonedx_holds_the_runs_numbers(view: RunView) -> None:
    card = json.loads(cyclonedx(view))["components"][0]["modelCard"]
    accuracy = view.find("clean", "accuracy")
    assert accuracy is not None
    first = card["quantitativeAnalysis"]["performanceMetrics"][0]
    assert float(first["value"]) == pytest.approx(accuracy.estimate, rel=1e-5)
    assert float(first["confidenceInterval"]["lowerBound"]) == pytest.approx(accuracy.low, rel=1e-5)
    assert len(card["quantitativeAnalysis"]["performanceMetrics"]) == 1 + len(view.headline())


def test_cards_header_is_yaml_and_holds_the_runs_numbers(view: RunView) -> None:
    card = model_card(view)
    found = header(card)
    (model,) = found["model-index"]
    assert model["name"] == " ".join(str(view.plan.model.name).split())
    (result,) = model["results"]
    assert result["task"]["type"] == found["pipeline_tag"] == "image-classification"
    assert set(result["dataset"]) == {"name", "type"}
    expected = [e for e in (view.find("clean", "accuracy"), *view.headline()) if e is not None]
    assert [m["type"] for m in result["metrics"]] == [e.measure for e in expected]
    assert [m["value"] for m in result["metrics"]] == [pytest.approx(e.estimate, abs=1e-6) for e in expected]
    assert all(
        m["name"].endswith(" ".join(view.title(e.condition).split()))
        for m, e in zip(result["metrics"], expected, strict=True)
    )
    assert "to be completed by a person" in card
    assert "\u202e" not in card, "nothing turns the text round"


def test_card_of_a_run_that_measured_nothing() -> None:
    silent = dataclasses.replace(read_run(RUN), effects=())
    assert header(model_card(silent))["model-index"][0]["results"][0]["metrics"] == []
    check(json.loads(cyclonedx(silent)), CYCLONEDX, "bom")


def test_mlflow_gets_the_runs_numbers(view: RunView) -> None:
    accuracy = view.find("clean", "accuracy")
    assert accuracy is not None
    parameters, metrics = mlflow_numbers(view)
    assert metrics["clean/accuracy"] == accuracy.estimate
    assert metrics["clean/accuracy_low"] == accuracy.low
    assert parameters["verdict"] == view.verdict.status
    assert max(map(len, parameters.values())) <= 500


def test_mlflow_admits_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    run = read_run(RUN)
    effect = run.headline()[0]
    names = ["../up", "a//b", "/abs", ".", "a#b", "a_b", HOSTILE, "é"]
    effects = [dataclasses.replace(effect, condition=name) for name in names]
    monkeypatch.setattr(RunView, "headline", lambda _: effects)
    _, metrics = mlflow_numbers(run)
    assert len(metrics) == 3 * (1 + len(names)), "no two names become one"
    for name in metrics:
        # What mlflow.utils.validation asks of a name.
        assert re.fullmatch(r"[\w .:/-]{1,250}", name), name
        assert posixpath.normpath(name) == name, "no path that leads elsewhere"
        assert not any(other.startswith(f"{name}/") for other in metrics), "a store of files keeps no file in a file"


class Recorder(types.ModuleType):
    """Stands for MLflow: keeps what it is given, or fails as a server does that is not there."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__("mlflow")
        self.fails, self.run, self.files, self.given = fails, "", [], {}

    @contextmanager
    def start_run(self, run_name: str) -> Iterator[Any]:
        if self.fails:
            raise OSError("no server\nat a long address")
        self.run = run_name
        yield types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))

    def log_params(self, parameters: dict[str, str]) -> None:
        self.given |= parameters

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.given |= metrics

    def log_artifact(self, path: str) -> None:
        self.files.append(Path(path).name)

    def get_tracking_uri(self) -> str:
        return "sqlite:///mlflow.db"


def test_export_logs_to_mlflow(audit: Audit, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit("report", kept)[0] == 0
    given = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", given)
    code, out, _ = audit("export", "mlflow", kept)
    assert (code, out) == (
        0,
        "logged 6 parameters, 6 metrics and 6 files to sqlite:///mlflow.db as abc\n",
    )
    assert given.run == "kept"
    assert given.given["clean/accuracy"] == pytest.approx(1 / 3)
    assert {"report.html", "effects.json"} <= set(given.files)


def test_export_that_fails_is_one_sentence(audit: Audit, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", Recorder(fails=True))
    code, out, err = audit("export", "mlflow", kept)
    assert (code, out) == (4, "")
    assert "MLflow rejected the run (OSError: no server). Check that MLFLOW_TRACKING_URI" in one_paragraph(err)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    code, _, err = audit("export", "mlflow", kept)
    assert (code, "not installed" in one_paragraph(err)) == (2, True)
    assert audit("export", "mlflow", kept, "--out", "x")[0] == 2
    edit(kept / "plan.json", lambda d: d.update(model={}))
    for form in ("mlflow", "model-card", "cyclonedx"):
        code, _, err = audit("export", form, kept)
        assert (code, "Another version" in one_paragraph(err)) == (4, True), form
