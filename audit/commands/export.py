"""`audit export`: a finished run in the form of another tool."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from audit.commands.streams import lost_output
from audit.errors import StoreError, UsageError
from audit.store.numbers import counted
from audit.store.output import write_output

FORMS = ("mlflow", "model-card", "cyclonedx", "standards")
_LOGGED = ("report.html", "summary.md", "verdict.json", "effects.json", "plan.json", "run.json")


def export(form: str, path: Path, out: Path | None) -> int:
    """Write a run as `form`, to a file or standard output; `mlflow` logs to its tracking server instead.

    Raises
    ------
    UsageError
        If the form is unknown, MLflow is asked for and not installed, or given a file to write.
    StoreError
        If the run is not complete, or MLflow does not take it.
    """
    from audit.reports.export.cyclonedx import cyclonedx
    from audit.reports.export.mlflow import mlflow_numbers
    from audit.reports.export.model_card import model_card
    from audit.reports.export.standards import standards
    from audit.reports.reading.folder import read_run, understood

    if form not in FORMS:
        raise UsageError(f"The format must be one of {', '.join(FORMS)}; found {form!r}.")
    if form == "standards" and out is not None and out.suffix.lower() not in (".json", ".csv"):
        raise UsageError(
            f"Standards are written as .json or .csv, found {out.name}. Choose a name with one of these endings."
        )
    if form == "mlflow" and out is not None:
        raise UsageError("MLflow writes to MLFLOW_TRACKING_URI; --out is only for the other formats.")
    run = read_run(path)
    with understood(path):
        if form == "mlflow":
            numbers = mlflow_numbers(run)
        elif form == "standards":
            text = standards(run, as_table=out is not None and out.suffix.lower() == ".csv")
        else:
            text = model_card(run) if form == "model-card" else cyclonedx(run)
    if form == "mlflow":
        return _log(path, *numbers)
    if out is None:
        sys.stdout.write(text)
        lost = lost_output()
        if lost is not None:  # what is written is all that this command is for
            raise StoreError(f"Cannot write standard output: {lost.strerror}. Name a file with --out.")
    else:
        write_output(out, text.encode("utf-8", "backslashreplace"))
        sys.stdout.write(f"{out}\n")
    return 0


def _log(path: Path, parameters: dict[str, str], metrics: dict[str, float]) -> int:
    """Log a run's numbers and its own files; a run that MLflow took in part is marked as failed by MLflow."""
    mlflow: Any
    try:
        mlflow = importlib.import_module("mlflow")
    except ImportError as error:
        raise UsageError("MLflow is not installed. Run `pip install mlflow`, and set MLFLOW_TRACKING_URI.") from error
    try:
        with mlflow.start_run(run_name=path.resolve().name) as logged:
            mlflow.log_params(parameters)
            mlflow.log_metrics(metrics)
            files = [path / name for name in _LOGGED if (path / name).is_file()]
            for file in files:
                mlflow.log_artifact(str(file))
    except Exception as error:  # its stores raise what their servers, databases and file systems do
        reason = str(error).strip().splitlines() or [""]
        raise StoreError(
            f"MLflow rejected the run ({type(error).__name__}: {reason[0][:300]}). Check that MLFLOW_TRACKING_URI is "
            "a database, server or folder that can be reached."
        ) from error
    sys.stdout.write(
        f"logged {counted(len(parameters), 'parameter')}, {counted(len(metrics), 'metric')} and {counted(len(files), 'file')} to "
        f"{mlflow.get_tracking_uri()} as {logged.info.run_id}\n"
    )
    return 0
