"""`audit export`: a finished run in the form of another tool."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from audit.errors import UsageError
from audit.files import write_atomically

FORMS = ("mlflow", "model-card", "cyclonedx")


def export(form: str, path: Path, out: Path | None) -> int:
    """Write a run as `form`, to a file or standard output; `mlflow` logs to its tracking server instead.

    Raises
    ------
    UsageError
        If the form is unknown, or MLflow is asked for and not installed.
    """
    from reports.export import cyclonedx, mlflow_numbers, model_card
    from reports.runfolder import read_run

    if form not in FORMS:
        raise UsageError(f"A run is exported as one of {', '.join(FORMS)}; found {form!r}.")
    run = read_run(path)
    if form == "mlflow":
        try:
            mlflow = importlib.import_module("mlflow")
        except ImportError as error:
            raise UsageError("MLflow is not installed; `pip install mlflow`, and set MLFLOW_TRACKING_URI.") from error
        parameters, metrics = mlflow_numbers(run)
        with mlflow.start_run(run_name=path.name):
            mlflow.log_params(parameters)
            mlflow.log_metrics(metrics)
            if (path / "report.html").is_file():
                mlflow.log_artifact(str(path / "report.html"))
        sys.stdout.write(f"logged {len(metrics)} metrics to {mlflow.get_tracking_uri()}\n")
        return 0
    text = model_card(run) if form == "model-card" else cyclonedx(run)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        sys.stdout.write(f"{out}\n")
    return 0
