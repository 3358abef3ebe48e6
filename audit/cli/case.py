"""`audit case` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.cli.runs import RunArgument
from audit.cli.settings import ColumnsOption, LayoutOption
from audit.cli.text import Json


def case_command(
    run: RunArgument,
    name: Annotated[str, typer.Argument(help="Pseudonym of an image in the run, or its first digits.", metavar="NAME")],
    condition: Annotated[
        str | None, typer.Option(help="Only this condition, with the probability of every class.", metavar="CONDITION")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Manifest of the run, to name the image's file; default: the manifest of the settings or of the model."
        ),
    ] = None,
    columns: ColumnsOption = None,
    layout: LayoutOption = None,
    as_json: Json = False,
) -> None:
    """Show one image of a run: predictions under every condition, shift, placebo, text; with key and manifest also its id and file."""
    from audit.commands import case
    from audit.run.setting_sources import load_settings

    settings = load_settings({"data": data, "columns": columns, "layout": layout}, Path())
    raise typer.Exit(case.case(run, name, settings, condition=condition, as_json=as_json))
