"""`audit calibrate` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.cli.settings import setting_help
from audit.cli.text import Json

ModelOption = Annotated[str | None, typer.Option(help=setting_help("model"))]
DataOption = Annotated[str | None, typer.Option(help=setting_help("data"))]
TaskOption = Annotated[str | None, typer.Option(help=setting_help("task"))]
SplitOption = Annotated[str | None, typer.Option(help=setting_help("split"))]
SuiteOption = Annotated[str | None, typer.Option(help=setting_help("suite"))]
FinderOption = Annotated[str | None, typer.Option(help=setting_help("detector"))]
TrustOption = Annotated[bool | None, typer.Option("--trust", help=setting_help("trust"))]
IgnoreOption = Annotated[list[str] | None, typer.Option(help=setting_help("ignore_label"))]


def calibrate_command(
    zoo: Annotated[str | None, typer.Option(help="small (minutes) or full (hours); without --model.")] = None,
    model: ModelOption = None,
    data: DataOption = None,
    task: TaskOption = None,
    trust: TrustOption = None,
    split: SplitOption = None,
    suite: SuiteOption = None,
    detector: FinderOption = None,
    ignore_label: IgnoreOption = None,
    trials: Annotated[int, typer.Option(help="Networks for each kind and strength; with --model.")] = 5,
    workers: Annotated[
        int | None, typer.Option(help="Number of audits at a time; by default one for each core.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for networks, audits and results; repeat to resume.")] = Path(
        "calibration"
    ),
    as_json: Json = False,
) -> None:
    """Measure how often the audit finds a known shortcut and how often it errs: on a zoo, or on your own model and data."""
    from audit.commands import calibrating

    if model is None:
        if data is not None:
            raise typer.BadParameter("--data requires --model; without a model, the zoo brings its own images")
        raise typer.Exit(
            calibrating.zoo(zoo or "small", out, suite=suite or "standard", workers=workers, as_json=as_json)
        )
    if zoo is not None:
        raise typer.BadParameter("--zoo and --model exclude each other: a zoo has its own networks")
    from audit.run.setting_sources import load_settings

    given = {
        "model": model, "data": data, "task": task, "trust": trust, "split": split, "suite": suite, "detector": detector,
        "ignore_label": tuple(ignore_label) if ignore_label else None,
    }  # fmt: skip
    settings = load_settings(given, Path())
    raise typer.Exit(calibrating.own(settings, out, trials=trials, workers=workers, as_json=as_json))
