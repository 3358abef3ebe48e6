"""`audit mend` on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from audit.cli.settings import with_settings
from audit.cli.text import Json
from audit.run.settings import Settings


@with_settings
def mend_command(
    settings: Settings,
    run: Annotated[
        Path | None,
        typer.Option(help="Finished run of the model, whose suspects are mended; default: the model is audited first."),
    ] = None,
    suspect: Annotated[
        list[str] | None,
        typer.Option(
            help="What to mend: a condition, or words such as text; repeatable. Default: what exceeds its limit in the run."
        ),
    ] = None,
    method: Annotated[
        Literal["auto", "last-layer", "group-dro", "augment"],
        typer.Option(
            help="last-layer (minutes), group-dro (the last layer for the group that it serves worst), augment (the last phase of training "
            "again, with edited images), or auto: the better last layer if it is enough on validation images, else all."
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the new bundle; default: the model's with -mended. The old bundle is never changed."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a network that does not rely on a shortcut, audit it on the same test images, and compare.

    Only training and validation images are learnt from. After an interruption, the same command resumes. Exit codes: 0 mended, 1 not
    mended or worse, 3 partly mended or inconclusive, 4 could not be done.
    """
    from audit.commands import mending

    raise typer.Exit(
        mending.mend(
            settings,
            out or Path(settings.models) / f"{Path(settings.model).name}-mended",
            run=run,
            suspects=tuple(suspect or ()),
            method=method,
            as_json=as_json,
            command=["audit", *sys.argv[1:]],
        )
    )
