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
    data: Annotated[
        str | None, typer.Option(help="Manifest of the run; default: the manifest of the settings or of the model.")
    ] = None,
    columns: ColumnsOption = None,
    layout: LayoutOption = None,
    as_json: Json = False,
) -> None:
    """Resolve the pseudonym of an image: print its id, its file and every prediction. Needs the key and the manifest."""
    from audit.commands import case
    from audit.run.setting_sources import load_settings

    settings = load_settings({"data": data, "columns": columns, "layout": layout}, Path())
    raise typer.Exit(case.case(run, name, settings, as_json=as_json))
