"""`audit history` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.cli.text import Json


def history_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, or a folder that contains them.", metavar="RUNS...|FOLDER")
    ],
    html: Annotated[Path | None, typer.Option(help="HTML page to write, with figures and tables.")] = None,
    as_json: Json = False,
) -> None:
    """Show how accuracy, effects, the false-alarm guard and the baseline moved over runs of the same images.

    Runs are listed by their start. A run that is not comparable with the newest one is named with the reason.
    """
    from audit.commands import history

    raise typer.Exit(history.history(runs, html=html, as_json=as_json))
